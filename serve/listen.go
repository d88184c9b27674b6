package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
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
