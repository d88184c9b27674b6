package serve

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// refusalTime is how long a connection over a limit may last: to say what it wants, and to hear why not.
const refusalTime = 10 * time.Second

// leastRefusing is how many connections may be in the way of being refused at least.
const leastRefusing = 256

// refusalLog is how often at most refusals are logged: who is refused must not fill the log.
const refusalLog = 10 * time.Second

// The limits on connections, as they are named in answers and metrics.
const (
	LimitConnections = "http.limits.connections"
	LimitPerAddress  = "http.limits.connections_per_address"
)

// Stats are counts since the server began, and how many connections there are now.
type Stats struct {
	// Connections that are open, but for those that are being refused, which are Refusing.
	Connections, Refusing int
	// Refused connections, by the limit that they were over.
	Refused map[string]uint64
	// Requests whose header or body did not come in time or at its rate.
	SlowHeaders, SlowBodies uint64
	// Idle connections that were closed.
	Idle uint64
	// Requests whose length was given in two ways, and that were refused.
	Ambiguous uint64
}

// A limitListener counts connections. Those over a limit are let in for a moment, within bounds of their own: each is told 503, whatever it asks,
// or is answered where it asks whether the node lives. So nobody's connection is cut without a word, and a node that is full says that it lives.
type limitListener struct {
	net.Listener
	cfg Config

	log        *slog.Logger
	mu         sync.Mutex
	logged     time.Time
	open       int
	perAddress map[netip.Prefix]int
	refusing   []*limitedConn // oldest first
	refused    map[string]uint64

	slowHeaders, slowBodies, idle, ambiguous atomic.Uint64
}

func newLimitListener(ln net.Listener, cfg Config, log *slog.Logger) *limitListener {
	return &limitListener{Listener: ln, cfg: cfg, log: log, perAddress: map[netip.Prefix]int{}, refused: map[string]uint64{}}
}

func (l *limitListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	lc := &limitedConn{Conn: c, listener: l, from: source(c.RemoteAddr()), plain: l.cfg.TLS.Cert == ""}
	if oldest := l.admit(lc); oldest != nil {
		oldest.Close()
	}
	if lc.over != "" {
		lc.until = time.Now().Add(refusalTime)
		if err := c.SetDeadline(lc.until); err != nil {
			lc.Close()
		}
	}
	return lc, nil
}

// admit counts c in, and says over which limit it is. As many connections may be in the way of being refused as are let in; it returns the one
// that has been for longest where there are more.
func (l *limitListener) admit(c *limitedConn) (oldest *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.open >= l.cfg.MaxConnections:
		c.over = LimitConnections
	case l.perAddress[c.from] >= l.cfg.MaxConnectionsPerAddress:
		c.over = LimitPerAddress
	default:
		l.open++
		l.perAddress[c.from]++
		return nil
	}
	l.refused[c.over]++
	if now := time.Now(); now.Sub(l.logged) > refusalLog {
		l.logged = now
		l.log.Warn("connections over a limit are refused", "limit", c.over, "from", c.from, "open", l.open, "refused", l.refused[c.over])
	}
	if len(l.refusing) >= max(l.cfg.MaxConnections, leastRefusing) {
		oldest = l.refusing[0]
		l.refusing = slices.Delete(l.refusing, 0, 1)
	}
	l.refusing = append(l.refusing, c)
	return oldest
}

func (l *limitListener) leave(c *limitedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.over != "" {
		if i := slices.Index(l.refusing, c); i >= 0 {
			l.refusing = slices.Delete(l.refusing, i, i+1)
		}
		return
	}
	l.open--
	if l.perAddress[c.from]--; l.perAddress[c.from] == 0 {
		delete(l.perAddress, c.from)
	}
}

func (l *limitListener) slowBody() { l.slowBodies.Add(1) }

// stats returns what was counted.
func (l *limitListener) stats() Stats {
	s := Stats{
		SlowHeaders: l.slowHeaders.Load(), SlowBodies: l.slowBodies.Load(), Idle: l.idle.Load(), Ambiguous: l.ambiguous.Load(),
		Refused: map[string]uint64{LimitConnections: 0, LimitPerAddress: 0},
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Connections, s.Refusing = l.open, len(l.refusing)
	for limit, n := range l.refused {
		s.Refused[limit] = n
	}
	return s
}

// source is whom an address belongs to: of IPv6 a network of 64 bits, which one machine can have whole.
func source(addr net.Addr) netip.Prefix {
	t, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() && !ip.IsLoopback() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// limitRequests answers what came over connections that are over a limit, and requests that could be read in two ways.
func limitRequests(h http.Handler, cfg Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, ok := r.Context().Value(connKey{}).(*limitedConn)
		if !ok {
			h.ServeHTTP(w, r)
			return
		}
		if c.framing.ambiguous.Load() {
			c.listener.ambiguous.Add(1)
			w.Header().Set("Connection", "close")
			WriteError(w, r, fmt.Errorf("%w: a request has Content-Length (in less than 100 characters) or Transfer-Encoding, not both: two programs could find its end in two places", ErrRequest))
			return
		}
		if c.over == "" {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Connection", "close")
		if cfg.Live != nil && cfg.Live(r) {
			h.ServeHTTP(w, r)
			return
		}
		Quiet(w)
		WriteError(w, r, c.listener.refusal(c.over))
	})
}

func (l *limitListener) refusal(limit string) error {
	if limit == LimitPerAddress {
		return fmt.Errorf("%w: %d connections from one address are open, the most of %s", ErrOverloaded, l.cfg.MaxConnectionsPerAddress, limit)
	}
	return fmt.Errorf("%w: %d connections are open, the most of %s", ErrOverloaded, l.cfg.MaxConnections, limit)
}

// A limitedConn is a connection that is counted.
type limitedConn struct {
	net.Conn
	listener *limitListener
	from     netip.Prefix
	plain    bool      // what is read is HTTP, not TLS
	over     string    // the limit that it is over
	until    time.Time // when it ends where it is
	framing  framing   // of what is read
	closed   atomic.Bool
	waiting  atomic.Bool // for a request, and not for its body or in a handler
}

func (c *limitedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.plain {
		c.framing.scan(p[:n])
	}
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) && c.waiting.CompareAndSwap(true, false) {
		c.late()
	}
	return n, err
}

// noteState is http.Server's ConnState.
func noteState(c net.Conn, state http.ConnState) {
	if lc, ok := plainConn(c).(*limitedConn); ok {
		lc.waiting.Store(state == http.StateNew || state == http.StateIdle)
	}
}

// late counts a request whose header did not come in time, and says so: net/http closes the connection without a word. A body that is late is the
// handler's to answer.
func (c *limitedConn) late() {
	switch {
	case c.framing.inHeader():
		c.listener.slowHeaders.Add(1)
		_ = c.Conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = io.WriteString(c.Conn, slowHeader) // it may be gone
	case c.over == "":
		c.listener.idle.Add(1)
	}
}

const slowHeaderBody = `{"error":"the request's header did not come within http.timeouts.header","code":"header_timeout"}` + "\n"

var slowHeader = fmt.Sprintf("HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
	len(slowHeaderBody), slowHeaderBody)

// The deadlines of a connection that is over a limit are never later than its end.

func (c *limitedConn) SetDeadline(t time.Time) error      { return c.Conn.SetDeadline(c.bound(t)) }
func (c *limitedConn) SetReadDeadline(t time.Time) error  { return c.Conn.SetReadDeadline(c.bound(t)) }
func (c *limitedConn) SetWriteDeadline(t time.Time) error { return c.Conn.SetWriteDeadline(c.bound(t)) }

func (c *limitedConn) bound(t time.Time) time.Time {
	if c.over != "" && (t.IsZero() || t.After(c.until)) {
		return c.until
	}
	return t
}

// CloseWrite lets net/http end a connection gently whose client writes still.
func (c *limitedConn) CloseWrite() error {
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *limitedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.listener.leave(c)
	}
	return c.Conn.Close()
}
