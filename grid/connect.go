package grid

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
)

// connect opens a connection to the server in this process, or to one outside.
func (g *Grid) connect(what string, more ...nats.Option) (*nats.Conn, error) {
	opts := append([]nats.Option{
		nats.Name(g.cfg.Name + " " + what),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			g.cfg.Logger.Warn("nats", "connection", what, "error", err)
			if errors.Is(err, nats.ErrPermissionViolation) {
				g.denied(err)
			}
		}),
	}, more...)
	access, err := g.cfg.Access.options()
	if err != nil {
		return nil, err
	}
	opts = append(opts, access...)
	if g.server != nil {
		opts = append(opts, nats.InProcessServer(g.server))
	}
	nc, err := nats.Connect(g.cfg.URL, opts...)
	if err != nil {
		return nil, g.connectError(err)
	}
	if size := nc.MaxPayload(); size < maxPayload {
		nc.Close()
		return nil, fmt.Errorf("%w: the NATS server's max_payload is %d; set max_payload to %d or more in the configuration of all its servers, and start them again", ErrConfig, size, maxPayload)
	}
	return nc, nil
}

// connectError says why a server did not take a connection.
func (g *Grid) connectError(err error) error {
	sentinel, what := ErrUnavailable, ""
	switch {
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, syscall.ECONNREFUSED):
		what = ": no NATS server takes connections there; start it, or correct grid.url"
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		sentinel, what = ErrConfig, ": it does not know who this node says that it is; see credentials, nkey, user and token"
	case errors.Is(err, nats.ErrSecureConnRequired):
		sentinel, what = ErrConfig, ": it wants TLS; write tls:// and name its authority as tls.ca"
	case strings.Contains(err.Error(), "x509:"), strings.Contains(err.Error(), "tls:"):
		sentinel, what = ErrConfig, ": see tls.ca, tls.cert and tls.key"
	case strings.Contains(err.Error(), "tls error") && g.cfg.Access.Cert == "":
		// With TLS 1.3 a server refuses a client without a certificate after the handshake, and what is read of that may be that the connection is gone.
		sentinel, what = ErrConfig, ": it may want a certificate of this node; see tls.cert and tls.key"
	}
	return fmt.Errorf("%w: connect to NATS at %s: %w%s", sentinel, redacted(g.cfg.URL), err, what)
}
