// Package admin answers those who run a node: its metrics, its live numbers, Go's profiles and the document of the whole HTTP API.
// What a cache, a model or an inference is, is left to the protocols beside it.
package admin

import (
	"context"
	_ "embed"
	"net/http"
	"net/http/pprof"

	"github.com/millrace/millrace/serve"
)

// Config is what the handlers work with. The zero value answers the document alone.
type Config struct {
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Stats returns the live numbers of GET /rest/v2/stats.
	Stats func(ctx context.Context) (Stats, error)
	// Cluster returns what GET /rest/v2/cluster answers as JSON.
	Cluster func(ctx context.Context) any
	// Control returns what does the work of the paths below it, or why this node has none.
	Control func() (Cluster, error)
	// Grow answers /rest/v2/cluster/grow.
	Grow http.Handler
	// Profiles opens Go's profiles under /debug/pprof/.
	Profiles bool
}

//go:embed openapi.yaml
var openAPI []byte

// Handle hangs what cfg has under its paths; the other paths answer 404 like those that nobody has.
func Handle(routes *serve.Routes, cfg Config) {
	routes.Handle("/openapi.yaml", exact("/openapi.yaml", document))
	if cfg.Metrics != nil {
		routes.Handle("/metrics", exact("/metrics", cfg.Metrics.ServeHTTP))
	}
	if cfg.Stats != nil {
		routes.Handle("/rest/v2/stats", exact("/rest/v2/stats", answerStats(cfg.Stats)))
	}
	if cfg.Cluster != nil {
		routes.Handle(clusterPath, answerCluster(cfg.Cluster, cfg.Control))
	}
	if cfg.Grow != nil {
		routes.Handle("/rest/v2/cluster/grow", cfg.Grow)
	}
	if cfg.Profiles {
		routes.Handle("/debug/pprof/", profiles())
	}
}

// exact answers GET and HEAD of one path, and 404 for what is below it.
func exact(path string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.EscapedPath() != path {
			serve.WriteError(w, r, serve.NoRoute(r))
			return
		}
		if serve.Reads(w, r) {
			h(w, r)
		}
	})
}

func document(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	if r.Method != http.MethodHead {
		_, _ = w.Write(openAPI) // the caller is gone when this fails
	}
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serve.Reads(w, r) {
			serve.ExtendWrite(w, 0) // a profile takes as long as its caller asks
			mux.ServeHTTP(w, r)
		}
	})
}
