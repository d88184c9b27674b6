// Package serve holds what every network protocol of Millrace shares: the table from errors to codes, request ids,
// limits, tokens, cross-origin protection, TLS and a server that finishes what it accepted. What a request means is
// left to the protocols in its subfolders, and wiring to internal/app.
package serve

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/fault"
)

// Config is how a Server listens and what it lets in. The zero value listens on 127.0.0.1:8080 with the defaults
// that each field names.
type Config struct {
	// Listen is host:port; "127.0.0.1:8080" where it is empty. Beyond loopback it needs Tokens or Insecure.
	Listen string
	// Insecure allows to listen beyond loopback without a token.
	Insecure bool
	// TLS turns encryption on where both files are named. They are read again when they change.
	TLS TLS
	// Tokens are the bearer tokens that are let in, at least 16 characters each; none lets everybody in.
	Tokens []string
	// Public says which requests need no token; nil lets none through without.
	Public func(*http.Request) bool
	// CORS are the origins, such as "https://example.org", whose pages may read and write; "*" needs Tokens.
	CORS []string
	// Hosts are the names, beside loopback's, that the Host of a request may have where no token is asked for. Without Tokens a request on a
	// loopback address with another Host is refused: a web page may have pointed its name here.
	Hosts []string
	// MaxConnections that are open at a time (1,024); those beyond get 503 and are closed.
	MaxConnections int
	// MaxConnectionsPerAddress that are open at a time from one address, of IPv6 from one network of 64 bits (512); those beyond get 503 too.
	MaxConnectionsPerAddress int
	// Live says which requests are answered over those limits too: whether the server lives. nil is none.
	Live func(*http.Request) bool
	// MaxHeaderBytes of a request, 4 KiB to 1 MiB (64 KiB).
	MaxHeaderBytes int
	// ReadHeaderTimeout for a request's header (10 s).
	ReadHeaderTimeout time.Duration
	// ReadTimeout for a whole request with its body (60 s). Handlers of large bodies extend it as data comes.
	ReadTimeout time.Duration
	// MinBodyRate is how many bytes of a body must come in a second (1,024), in the mean of the time that is spent waiting for it, once that is more
	// than ReadHeaderTimeout.
	MinBodyRate int64
	// WriteTimeout for an answer (60 s). Handlers that stream extend it as data goes.
	WriteTimeout time.Duration
	// IdleTimeout closes a connection that waits for its next request (120 s).
	IdleTimeout time.Duration
	// DrainTimeout is how long a stop waits for requests in progress (30 s).
	DrainTimeout time.Duration
	// AccessLog logs every request at level Info. Without it those below status 500 are logged at Debug.
	AccessLog bool
}

// TLS names the files of a certificate chain and its key, in PEM.
type TLS struct {
	Cert string
	Key  string
}

// DefaultListen is the address of a Config that names none.
const DefaultListen = "127.0.0.1:8080"

func (c Config) withDefaults() Config {
	c.Listen = cmp.Or(c.Listen, DefaultListen)
	c.MaxConnections = cmp.Or(c.MaxConnections, 1024)
	c.MaxConnectionsPerAddress = cmp.Or(c.MaxConnectionsPerAddress, 512)
	c.MinBodyRate = cmp.Or(c.MinBodyRate, 1024)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 64<<10)
	c.ReadHeaderTimeout = cmp.Or(c.ReadHeaderTimeout, 10*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 60*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 60*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 120*time.Second)
	c.DrainTimeout = cmp.Or(c.DrainTimeout, 30*time.Second)
	return c
}

// Validate reports every fault of c at once, as fault.Errors. It reads no file: New does.
func (c Config) Validate() error {
	var l fault.Errors
	at := func(path string) func(string) (string, bool) {
		return func(p string) (string, bool) { return path + p, true }
	}
	l.Take(CheckListen(cmp.Or(c.Listen, DefaultListen), len(c.Tokens) > 0, c.Insecure), at("listen"))
	l.Check((c.TLS.Cert == "") == (c.TLS.Key == ""), "tls", "needs both cert and key")
	_, err := NewTokens(c.Tokens)
	l.Take(err, at("tokens"))
	_, err = newOrigins(c.CORS, len(c.Tokens) > 0)
	l.Take(err, at("cors"))
	_, err = newHosts(c)
	l.Take(err, at("hosts"))
	l.Check(c.MaxConnections >= 0, "max_connections", "%d must be at least 0", c.MaxConnections)
	l.Check(c.MaxConnectionsPerAddress >= 0, "max_connections_per_address", "%d must be at least 0", c.MaxConnectionsPerAddress)
	l.Check(c.MinBodyRate >= 0, "min_body_rate", "%d must be at least 0", c.MinBodyRate)
	l.Check(c.MaxHeaderBytes == 0 || c.MaxHeaderBytes >= 4<<10 && c.MaxHeaderBytes <= 1<<20,
		"max_header_bytes", "%d must be from %d to %d", c.MaxHeaderBytes, 4<<10, 1<<20)
	for _, t := range []struct {
		name string
		d    time.Duration
	}{
		{"read_header_timeout", c.ReadHeaderTimeout}, {"read_timeout", c.ReadTimeout}, {"write_timeout", c.WriteTimeout},
		{"idle_timeout", c.IdleTimeout}, {"drain_timeout", c.DrainTimeout},
	} {
		l.Check(t.d >= 0, t.name, "%v must not be negative", t.d)
	}
	return l.Err()
}

// A Server answers HTTP requests with one handler. Its methods are safe for concurrent use; Run is called once.
type Server struct {
	cfg      Config
	log      *slog.Logger
	handler  http.Handler
	certs    *certificates // nil without TLS
	draining chan struct{}
	limits   atomic.Pointer[limitListener] // while it runs
}

// New returns a server that answers with h behind the protections of cfg. It reads the files of TLS, and does not listen yet. Its error
// holds fault.Errors.
func New(cfg Config, h http.Handler, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("http server: %w", err)
	}
	cfg = cfg.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	guard, err := newGuard(cfg)
	if err != nil {
		return nil, fmt.Errorf("http server: %w", err)
	}
	s := &Server{cfg: cfg, log: log, draining: make(chan struct{})}
	if cfg.TLS.Cert != "" {
		if s.certs, err = newCertificates(cfg.TLS, log); err != nil {
			return nil, fmt.Errorf("http server: %w", err)
		}
	}
	s.handler = observe(limitRequests(guard.wrap(h), cfg), log, cfg)
	return s, nil
}

// Handler returns the handler with everything around it, as Run serves it.
func (s *Server) Handler() http.Handler { return s.handler }

// Listen opens the configured address.
func (s *Server) Listen(ctx context.Context) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	return ln, nil
}

// Run serves on ln until ctx ends, then closes ln, tells streams to end, and waits for what was accepted, at most
// DrainTimeout: then it cuts what is left and returns an error. It owns ln.
func (s *Server) Run(ctx context.Context, ln net.Listener) error {
	if err := s.checkListener(ln); err != nil {
		return errors.Join(err, ln.Close())
	}
	hs := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: s.cfg.ReadHeaderTimeout,
		ReadTimeout:       s.cfg.ReadTimeout,
		WriteTimeout:      s.cfg.WriteTimeout,
		IdleTimeout:       s.cfg.IdleTimeout,
		MaxHeaderBytes:    s.cfg.MaxHeaderBytes,
		ConnContext:       withConn,
		ConnState:         noteState,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), drainKey{}, (<-chan struct{})(s.draining))
		},
	}
	limited := newLimitListener(ln, s.cfg, s.log)
	s.limits.Store(limited)
	var serving net.Listener = limited
	if s.certs != nil {
		hs.TLSConfig = &tls.Config{
			MinVersion:     tls.VersionTLS12,
			NextProtos:     []string{"h2", "http/1.1"},
			GetCertificate: s.certs.get,
		}
		serving = tls.NewListener(limited, hs.TLSConfig)
	}
	failed := make(chan error, 1)
	go func() { failed <- hs.Serve(serving) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve http on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	close(s.draining)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.DrainTimeout)
	defer cancel()
	err := hs.Shutdown(drain)
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		s.log.Warn("http server ended otherwise than by its stop", "error", ended)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("stop serving http: requests were cut after %s: %w", s.cfg.DrainTimeout, err), hs.Close())
	}
	return nil
}

// Stats returns what the server counted since Run.
func (s *Server) Stats() Stats {
	if l := s.limits.Load(); l != nil {
		return l.stats()
	}
	return Stats{}
}

// checkListener holds a listener that somebody else opened against the rule of CheckListen.
func (s *Server) checkListener(ln net.Listener) error {
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return nil
	}
	return CheckListen(addr.String(), len(s.cfg.Tokens) > 0, s.cfg.Insecure)
}

type drainKey struct{}

// Draining returns a channel that closes when the server of this request begins to stop, so that a stream ends
// itself; nil, which blocks for ever, outside a Server.
func Draining(ctx context.Context) <-chan struct{} {
	c, _ := ctx.Value(drainKey{}).(<-chan struct{})
	return c
}
