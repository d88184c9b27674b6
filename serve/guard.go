package serve

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
)

// A guard decides who may ask: by hosts, origins, cross-origin writes and tokens, in this order.
type guard struct {
	hosts   *hosts
	origins *origins
	cross   *http.CrossOriginProtection
	tokens  Tokens
	public  func(*http.Request) bool
}

func newGuard(cfg Config) (*guard, error) {
	hs, err := newHosts(cfg)
	if err != nil {
		return nil, err
	}
	o, err := newOrigins(cfg.CORS, len(cfg.Tokens) > 0)
	if err != nil {
		return nil, err
	}
	tokens, err := NewTokens(cfg.Tokens)
	if err != nil {
		return nil, err
	}
	g := &guard{hosts: hs, origins: o, cross: http.NewCrossOriginProtection(), tokens: tokens, public: cfg.Public}
	for _, origin := range o.list {
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("cors origin %q: %w", origin, err)
		}
	}
	return g, nil
}

func (g *guard) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.hosts.check(r); err != nil {
			WriteError(w, r, err)
			return
		}
		if g.origins.answer(w, r) {
			return
		}
		if err := g.checkOrigin(r); err != nil {
			WriteError(w, r, err)
			return
		}
		if err := g.checkToken(w, r); err != nil {
			WriteError(w, r, err)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// checkOrigin refuses writes that another site's page sent. Without tokens it also refuses pages of a name that was
// pointed at this machine (DNS rebinding), which look like our own.
func (g *guard) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin != "" && g.origins.any {
		return nil
	}
	if err := g.cross.Check(r); err != nil {
		return fmt.Errorf("%w: a page of %s may not write here; list its origin under http.cors", ErrOrigin, orUnknown(origin))
	}
	if origin == "" || g.tokens.Required() || isSafe(r.Method) || g.origins.allows(origin) {
		return nil
	}
	u, err := url.Parse(origin)
	if err != nil || !isAddress(u.Hostname()) {
		return fmt.Errorf("%w: a page of %s may not write here without a token; list its origin under http.cors", ErrOrigin, origin)
	}
	return nil
}

func orUnknown(origin string) string {
	if origin == "" {
		return "another site"
	}
	return origin
}

func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isAddress reports whether host is no name that somebody else's DNS could have pointed here.
func isAddress(host string) bool { return isLoopback(host) || net.ParseIP(host) != nil }

// checkToken takes the token from the Authorization header (RFC 6750).
func (g *guard) checkToken(w http.ResponseWriter, r *http.Request) error {
	if !g.tokens.Required() || g.public != nil && g.public(r) {
		return nil
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		w.Header().Set("WWW-Authenticate", `Bearer realm="millrace"`)
		return fmt.Errorf("%w: send Authorization: Bearer TOKEN", ErrToken)
	}
	err := g.tokens.Check(strings.TrimSpace(token))
	if err != nil {
		w.Header().Set("WWW-Authenticate", `Bearer realm="millrace", error="invalid_token"`)
	}
	return err
}

// origins is the CORS list.
type origins struct {
	list []string
	any  bool
}

// newOrigins returns the list of origins, or fault.Errors of those that are none by their places ("[1]").
func newOrigins(list []string, tokens bool) (*origins, error) {
	o := &origins{}
	var l fault.Errors
	for i, origin := range list {
		place := fmt.Sprintf("[%d]", i)
		if origin == "*" {
			l.Check(tokens, place, `"*" would let every web page write here; set tokens or name the origins`)
			o.any = true
			continue
		}
		u, err := url.Parse(origin)
		ok := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && strings.EqualFold(u.Scheme+"://"+u.Host, origin)
		l.Check(ok, place, "%q is not an origin such as https://example.com", origin)
		o.list = append(o.list, strings.ToLower(origin))
	}
	return o, l.Err()
}

func (o *origins) allows(origin string) bool {
	return origin != "" && (o.any || slices.Contains(o.list, strings.ToLower(origin)))
}

// corsExposed are the answer's headers that a page of another origin may read.
const corsExposed = "ETag, Last-Modified, X-Request-Id, timeToLiveSeconds, maxIdleTimeSeconds, Inference-Header-Content-Length, Retry-After, Location, Millrace-Cursor"

// answer sets the CORS headers, and answers a preflight request itself.
func (o *origins) answer(w http.ResponseWriter, r *http.Request) bool {
	if !o.any && len(o.list) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if !o.allows(origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsExposed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
