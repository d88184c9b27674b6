package serve

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
)

// A web page can point its own name at this machine after it was loaded (DNS rebinding). The browser then takes the node for that page's own
// site, and lets it read and write. The one thing that tells such a request from a friend's is the name in Host. So what is open to everybody
// on this machine answers to this machine's names alone, and to those that are listed.

// hosts are the names that a node without tokens answers to.
type hosts struct {
	listed   []string
	open     bool // no token is asked for
	loopback bool // the configured address is loopback's, for requests that say nothing of their connection
}

// newHosts returns the names of cfg, or fault.Errors of those that are none by their places ("[1]").
func newHosts(cfg Config) (*hosts, error) {
	host, _, _ := net.SplitHostPort(cfg.Listen)
	hs := &hosts{open: len(cfg.Tokens) == 0, loopback: cfg.Listen == "" || isLoopback(host)}
	var l fault.Errors
	for i, name := range cfg.Hosts {
		l.Check(isHostName(name), fmt.Sprintf("[%d]", i), "%q is not a host's name such as node.example.com, without scheme and port", name)
		hs.listed = append(hs.listed, hostOf(name))
	}
	return hs, l.Err()
}

func isHostName(s string) bool {
	if _, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return true
	}
	return s != "" && len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '.' && c != '_'
	})
}

// hostOf takes the port from what a Host header says, and writes names alike.
func hostOf(header string) string {
	host := header
	if name, _, err := net.SplitHostPort(header); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

// check returns ErrHost where r may come from a page that pointed its name here. Beyond loopback (Config.Insecure) an address is always
// right, and names are looked at once some are listed. No web page can leave Host out, so that HTTP/1.0 without it is let in.
func (hs *hosts) check(r *http.Request) error {
	if !hs.open || r.Host == "" {
		return nil
	}
	host := hostOf(r.Host)
	if isLoopback(host) || slices.Contains(hs.listed, host) {
		return nil
	}
	if !hs.onLoopback(r) {
		if _, err := netip.ParseAddr(host); err == nil || len(hs.listed) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: %q may be a name that a web page pointed at this machine; use 127.0.0.1 or localhost, or list the name under http.hosts, or set http.tokens",
		ErrHost, host)
}

// onLoopback reports whether r came in on an address of this machine alone.
func (hs *hosts) onLoopback(r *http.Request) bool {
	addr, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return hs.loopback
	}
	return addr.IP.IsLoopback()
}
