package serve

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Routes picks a handler by the longest prefix of the path as it was sent. Unlike http.ServeMux it neither decodes,
// cleans nor redirects, because a key may hold "..", "//" and "%2F". A prefix that ends in "/" takes what begins with
// it, and every other prefix takes its own path and what is below it.
type Routes struct{ routes []route }

type route struct {
	prefix  string
	handler http.Handler
}

// Handle adds a handler. All routes are added before the first request.
func (rs *Routes) Handle(prefix string, h http.Handler) {
	rs.routes = append(rs.routes, route{prefix, h})
	slices.SortStableFunc(rs.routes, func(a, b route) int { return len(b.prefix) - len(a.prefix) })
}

// ServeHTTP answers with the handler of r's path, or 404.
func (rs *Routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	for _, route := range rs.routes {
		if route.takes(path) {
			route.handler.ServeHTTP(w, r)
			return
		}
	}
	WriteError(w, r, NoRoute(r))
}

func (rt route) takes(path string) bool {
	rest, ok := strings.CutPrefix(path, rt.prefix)
	return ok && (rest == "" || strings.HasSuffix(rt.prefix, "/") || rest[0] == '/')
}

// NoRoute is the ErrRoute of r's path.
func NoRoute(r *http.Request) error {
	return fmt.Errorf("%w: %s; GET /openapi.yaml lists what there is", ErrRoute, r.URL.EscapedPath())
}
