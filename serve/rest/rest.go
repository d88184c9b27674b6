// Package rest answers Millrace's REST: caches and their entries as Infinispan's REST v2 has them, listening by
// server-sent events, models, health and statistics. It maps requests to the grid and the registry and keeps nothing
// itself; tokens, limits on connections and TLS are left to package serve.
package rest

import (
	"context"
	_ "embed"
	"errors"
	"iter"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
)

// Grid is what the handler needs of *grid.Grid.
type Grid interface {
	Cache(ctx context.Context, name string) (*grid.Cache, error)
	Caches(ctx context.Context) iter.Seq2[grid.CacheConfig, error]
	CreateCache(ctx context.Context, config grid.CacheConfig) error
	UpdateCache(ctx context.Context, config grid.CacheConfig) error
	DeleteCache(ctx context.Context, name string) error
}

// Models is what the handler needs of *registry.Registry; version 0 is the next one for Push, all for Delete, and
// the one that serves otherwise.
type Models interface {
	Push(ctx context.Context, name string, version int64, onnx []byte) (registry.Info, error)
	Get(ctx context.Context, name string, version int64) (registry.Info, error)
	Download(ctx context.Context, name string, version int64) ([]byte, registry.Info, error)
	List(ctx context.Context) ([]registry.Info, error)
	Delete(ctx context.Context, name string, version int64) error
}

// Config is what a Handler works with. Grid is required; without Models, Metrics or Stats their addresses answer 404.
type Config struct {
	Grid   Grid
	Models Models
	// Ready returns why the node does not take traffic; nothing when it does.
	Ready func(ctx context.Context) []string
	// Stats returns the live numbers of GET /rest/v2/stats.
	Stats func(ctx context.Context) (Stats, error)
	// Metrics answers GET /metrics.
	Metrics http.Handler
	// Debug opens Go's profiles under /debug/pprof/.
	Debug bool
	// MaxModelBytes bounds the body of a model (256 MiB), and twice that what an archive unpacks to.
	MaxModelBytes int64
	// KeepAlive is the time between comments on a quiet event stream (15 s).
	KeepAlive time.Duration
	// SlowClient is how long a write to a stream may take before its connection is cut (30 s).
	SlowClient time.Duration
	// Logger gets what callers cannot see; nil discards it.
	Logger *slog.Logger
}

// Validate reports every fault at once.
func (c Config) Validate() error {
	var errs []error
	if c.Grid == nil {
		errs = append(errs, errors.New("rest: Grid is missing"))
	}
	if c.MaxModelBytes < 0 || c.KeepAlive < 0 || c.SlowClient < 0 {
		errs = append(errs, errors.New("rest: MaxModelBytes, KeepAlive and SlowClient must not be negative"))
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	if c.MaxModelBytes == 0 {
		c.MaxModelBytes = 256 << 20
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 15 * time.Second
	}
	if c.SlowClient == 0 {
		c.SlowClient = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

//go:embed openapi.yaml
var openAPI []byte

// Prefixes are the paths that a Handler answers, for serve.Routes.
func Prefixes() []string {
	return []string{"/rest/v2", "/v2/health", "/metrics", "/debug/pprof", "/openapi.yaml"}
}

// A Handler answers REST. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	gathers gathers
	pprof   *http.ServeMux
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	h := &Handler{cfg: cfg.withDefaults()}
	if cfg.Debug {
		h.pprof = http.NewServeMux()
		h.pprof.HandleFunc("/debug/pprof/", pprof.Index)
		h.pprof.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		h.pprof.HandleFunc("/debug/pprof/profile", pprof.Profile)
		h.pprof.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		h.pprof.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return h, nil
}

// ServeHTTP picks by the path as it was sent: what follows a cache's name and a slash is the key, whatever it holds.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/rest/v2/caches/"); ok {
		name, key, isEntry := strings.Cut(rest, "/")
		if isEntry {
			h.entry(w, r, name, key)
		} else {
			h.cache(w, r, name)
		}
		return
	}
	if rest, ok := strings.CutPrefix(path, "/rest/v2/models/"); ok && h.cfg.Models != nil {
		h.model(w, r, rest)
		return
	}
	switch {
	case path == "/rest/v2/caches":
		h.caches(w, r)
	case path == "/rest/v2/models" && h.cfg.Models != nil:
		h.models(w, r)
	case path == "/rest/v2/stats" && h.cfg.Stats != nil:
		h.stats(w, r)
	case path == "/v2/health/live":
		h.live(w, r)
	case path == "/v2/health/ready":
		h.ready(w, r)
	case path == "/metrics" && h.cfg.Metrics != nil:
		if reads(w, r) {
			h.cfg.Metrics.ServeHTTP(w, r)
		}
	case path == "/openapi.yaml":
		h.document(w, r)
	case strings.HasPrefix(path, "/debug/pprof/") && h.pprof != nil:
		if reads(w, r) {
			serve.ExtendWrite(w, 0) // a profile takes as long as its caller asks
			h.pprof.ServeHTTP(w, r)
		}
	default:
		serve.WriteError(w, r, serve.NoRoute(r))
	}
}

// reads reports whether the method is GET or HEAD, and answers 405 where it is not.
func reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodHead)
	return false
}

func (h *Handler) document(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-cache")
	if r.Method != http.MethodHead {
		_, _ = w.Write(openAPI) // the caller is gone when this fails
	}
}
