package serve

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrExposed says that a server would be reachable from other machines by everybody.
var ErrExposed = errors.New("refused to listen beyond loopback without a token")

// CheckListen returns ErrExposed where addr (host:port) is beyond loopback and neither tokens nor insecure allow it.
// It looks up no name: of names only localhost counts as loopback.
func CheckListen(addr string, tokens, insecure bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT, such as %s", addr, DefaultListen)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%q: %q is not a port from 0 to 65535", addr, port)
	}
	if tokens || insecure || isLoopback(host) {
		return nil
	}
	return &exposed{addr}
}

// exposed is an ErrExposed of an address.
type exposed struct{ addr string }

func (e *exposed) Error() string {
	return e.addr + " is reached from other machines: set http.tokens, or http.insecure (--insecure) to allow it without"
}

// Is makes errors.Is(err, ErrExposed) true.
func (e *exposed) Is(target error) bool { return target == ErrExposed }

// isLoopback reports whether a host without port is of this machine alone.
func isLoopback(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}

const (
	// refusalsAtOnce is how many refused connections are told so at a time; those beyond are closed in silence.
	refusalsAtOnce = 32
	// refusalTime bounds the telling.
	refusalTime = time.Second
)

const refusalBody = `{"error":"too many connections; try again later","code":"overloaded"}` + "\n"

var refusal = fmt.Sprintf("HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"+
	"Retry-After: 1\r\nContent-Length: %d\r\n\r\n%s", len(refusalBody), refusalBody)

// A limitListener closes the connections over its limit, with a 503 where the protocol is plain.
type limitListener struct {
	net.Listener
	slots    chan struct{}
	refusing chan struct{}
	tell     bool
	told     sync.WaitGroup
}

func newLimitListener(ln net.Listener, limit int, tell bool) *limitListener {
	return &limitListener{Listener: ln, slots: make(chan struct{}, limit), refusing: make(chan struct{}, refusalsAtOnce), tell: tell}
}

// wait returns when every refused connection is closed.
func (l *limitListener) wait() { l.told.Wait() }

func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitedConn{Conn: c, release: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			l.refuse(c)
		}
	}
}

func (l *limitListener) refuse(c net.Conn) {
	select {
	case l.refusing <- struct{}{}:
	default:
		c.Close() // nothing was promised on it, and there is nobody to tell
		return
	}
	l.told.Go(func() {
		defer func() { <-l.refusing }()
		defer c.Close()
		if !l.tell || c.SetDeadline(time.Now().Add(refusalTime)) != nil {
			return
		}
		if _, err := io.WriteString(c, refusal); err != nil {
			return
		}
		// Closing while the request is unread would reset the connection and lose the answer.
		if t, ok := c.(*net.TCPConn); ok && t.CloseWrite() == nil {
			_, _ = io.CopyN(io.Discard, c, unreadBytes)
		}
	})
}

type limitedConn struct {
	net.Conn
	release func()
}

// CloseWrite lets net/http end a connection gently whose client writes still.
func (c *limitedConn) CloseWrite() error {
	if t, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return t.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *limitedConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}
