// Package rest answers Millrace's REST: caches and their entries as Infinispan's REST v2 has them, listening by
// server-sent events, and models. It maps requests to the grid and the registry and keeps nothing itself; tokens, limits on
// connections and TLS are left to package serve.
package rest

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/graph"
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
	// CheckCache returns what one of both would make of a configuration; nothing changes.
	CheckCache(ctx context.Context, config grid.CacheConfig) (grid.CacheConfig, error)
	DeleteCache(ctx context.Context, name string) error
}

// Models is what the handler needs of *registry.Registry; version 0 is the next one for PushWith, all for Delete, and
// the one that serves otherwise.
type Models interface {
	PushWith(ctx context.Context, name string, version int64, onnx []byte, o registry.PushOptions) (registry.Info, error)
	Get(ctx context.Context, name string, version int64) (registry.Info, error)
	// Acquire lends a version, and opens it where it is not open.
	Acquire(ctx context.Context, name string, version int64) (*registry.Handle, error)
	Download(ctx context.Context, name string, version int64) ([]byte, registry.Info, error)
	List(ctx context.Context) ([]registry.Info, error)
	Delete(ctx context.Context, name string, version int64) error
	// Serving tells which version serves, Use chooses it (0 is always the newest), and UsePrevious undoes that.
	Serving(ctx context.Context, name string) (registry.Serving, error)
	Use(ctx context.Context, name string, version int64) (registry.Serving, error)
	UsePrevious(ctx context.Context, name string) (registry.Serving, error)
	// Settings are what the grid keeps of how a model runs, and Configure sets them.
	Settings(ctx context.Context, name string) (s registry.Settings, set bool)
	Configure(ctx context.Context, name string, s registry.Settings) error
}

// slowWithin is the default of Config.SlowClient.
const slowWithin = 30 * time.Second

// Config is what a Handler works with. Grid is required; without Models, Pipelines or Backup their addresses answer 404.
type Config struct {
	Grid      Grid
	Models    Models
	Pipelines Pipelines
	Backup    Backup
	// Evaluator computes the constants of a model of TensorFlow's; without it such models are refused.
	Evaluator graph.Evaluator
	// MaxModelBytes bounds the body of a model, 1 KiB to registry.MaxModelBytes (256 MiB), and twice that what an archive unpacks to.
	MaxModelBytes int64
	// KeepAlive is the time between comments on a quiet event stream (15 s).
	KeepAlive time.Duration
	// Listeners bounds the memory of all event streams together, with their sockets' buffers; nil bounds each at 64 MiB of values.
	Listeners *grid.Budget
	// SlowClient is how long a write to a stream may take before its connection is cut (30 s).
	SlowClient time.Duration
	// Logger gets what callers cannot see; nil discards it.
	Logger *slog.Logger
}

// Validate reports every fault at once, as fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.Grid != nil, "grid", "is required")
	l.Check(c.MaxModelBytes == 0 || c.MaxModelBytes >= 1<<10 && c.MaxModelBytes <= registry.MaxModelBytes,
		"max_model_bytes", "%d must be from %d to %d", c.MaxModelBytes, 1<<10, registry.MaxModelBytes)
	l.Check(c.KeepAlive >= 0, "keep_alive", "%v must not be negative", c.KeepAlive)
	l.Check(c.SlowClient >= 0, "slow_client", "%v must not be negative", c.SlowClient)
	if err := l.Err(); err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.MaxModelBytes == 0 {
		c.MaxModelBytes = 256 << 20
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 15 * time.Second
	}
	if c.SlowClient == 0 {
		c.SlowClient = slowWithin
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Prefixes are the paths that a Handler answers, for serve.Routes.
func Prefixes() []string {
	return []string{"/rest/v2"}
}

// A Handler answers REST. It is safe for concurrent use.
type Handler struct {
	cfg      Config
	imports  *semaphore.Weighted // that are under way
	backups  *semaphore.Weighted // one at a time
	drawings *semaphore.Weighted
	profiles *semaphore.Weighted // one at a time
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Handler{
		cfg: cfg.withDefaults(), imports: semaphore.NewWeighted(importsAtOnce), backups: semaphore.NewWeighted(1), drawings: semaphore.NewWeighted(drawingsAtOnce),
		profiles: semaphore.NewWeighted(profilesAtOnce),
	}, nil
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
	if rest, ok := strings.CutPrefix(path, "/rest/v2/pipelines/"); ok && h.cfg.Pipelines != nil {
		h.pipeline(w, r, rest)
		return
	}
	switch {
	case path == "/rest/v2/pipelines" && h.cfg.Pipelines != nil:
		h.pipelines(w, r)
	case path == "/rest/v2/backup" && h.cfg.Backup != nil:
		h.backup(w, r)
	case path == "/rest/v2/caches":
		h.caches(w, r)
	case path == "/rest/v2/models" && h.cfg.Models != nil:
		h.models(w, r)
	default:
		serve.WriteError(w, r, serve.NoRoute(r))
	}
}
