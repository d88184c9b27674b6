package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/millrace/fault/strictjson"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// maxConfigBytes bounds the body of a cache's configuration, and of a model's settings.
const maxConfigBytes = 64 << 10

// cacheConfig is grid.CacheConfig with the configuration file's keys and durations as text.
type cacheConfig struct {
	Name          string   `json:"name"`
	Class         string   `json:"class"`
	MaxEntries    int64    `json:"max_entries"`
	MaxBytes      int64    `json:"max_bytes"`
	MaxEntryBytes int64    `json:"max_entry_bytes"`
	Lifespan      duration `json:"lifespan"`
	MaxIdle       duration `json:"max_idle"`
	Evict         string   `json:"evict,omitempty"`
	Policy        string   `json:"policy,omitempty"`
	Store         string   `json:"store,omitempty"`
	Write         string   `json:"write,omitempty"`
	Preload       preload  `json:"preload,omitempty"`
	Consistency   string   `json:"consistency,omitempty"`
	Near          *near    `json:"near,omitempty"`
}

// near is grid.NearConfig; null is none.
type near struct {
	MaxEntries int64    `json:"max_entries,omitempty"`
	MaxBytes   int64    `json:"max_bytes,omitempty"`
	Staleness  duration `json:"staleness,omitempty"`
}

// preload is a word, or a number of entries, which JSON may have as a number too.
type preload string

func (p *preload) UnmarshalJSON(b []byte) error {
	var n json.Number
	if err := json.Unmarshal(b, &n); err == nil && len(b) > 0 && b[0] != '"' {
		*p = preload(n)
		return nil
	}
	return json.Unmarshal(b, (*string)(p))
}

// duration is a time such as "24h" in JSON.
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s, 5m or 24h", b)
	}
	*d = duration(v)
	return nil
}

func configOf(c grid.CacheConfig) cacheConfig {
	out := cacheConfig{
		Name: c.Name, Class: string(c.Class), MaxEntries: c.MaxEntries, MaxBytes: c.MaxBytes, MaxEntryBytes: c.MaxEntryBytes,
		Lifespan: duration(c.Lifespan), MaxIdle: duration(c.MaxIdle),
		Evict: string(c.Evict), Policy: string(c.Policy), Store: c.Store, Write: string(c.Write), Preload: preload(c.Preload),
		Consistency: string(c.Consistency),
	}
	if n := c.Near; n != (grid.NearConfig{}) {
		out.Near = &near{MaxEntries: n.MaxEntries, MaxBytes: n.MaxBytes, Staleness: duration(n.Staleness)}
	}
	return out
}

func (c cacheConfig) grid() grid.CacheConfig {
	out := grid.CacheConfig{
		Name: c.Name, Class: grid.Class(c.Class), MaxEntries: c.MaxEntries, MaxBytes: c.MaxBytes, MaxEntryBytes: c.MaxEntryBytes,
		Lifespan: time.Duration(c.Lifespan), MaxIdle: time.Duration(c.MaxIdle),
		Evict: grid.Evict(c.Evict), Policy: grid.Policy(c.Policy), Store: c.Store, Write: grid.Write(c.Write), Preload: string(c.Preload),
		Consistency: grid.Consistency(c.Consistency),
	}
	if n := c.Near; n != nil {
		out.Near = grid.NearConfig{MaxEntries: n.MaxEntries, MaxBytes: n.MaxBytes, Staleness: time.Duration(n.Staleness)}
	}
	return out
}

// readConfig reads a cache's configuration over what base says; an empty body changes nothing.
func readConfig(w http.ResponseWriter, r *http.Request, base cacheConfig) (grid.CacheConfig, error) {
	body, err := serve.ReadBody(w, r, maxConfigBytes, nil)
	if err != nil || len(body) == 0 {
		return base.grid(), err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && (strings.HasSuffix(kind, "xml") || strings.HasSuffix(kind, "yaml")) {
		return grid.CacheConfig{}, fmt.Errorf("%w: %s; a cache's configuration is JSON", serve.ErrMediaType, kind)
	}
	name := base.Name
	if err := strictjson.Decode(body, &base); err != nil {
		return grid.CacheConfig{}, fmt.Errorf("%w: cache configuration: %w", serve.ErrRequest, err)
	}
	if base.Name != name {
		return grid.CacheConfig{}, fmt.Errorf("%w: cache configuration: its name is %q, the path's %q", serve.ErrRequest, base.Name, name)
	}
	return base.grid(), nil
}

// caches lists the names, as Infinispan does.
func (h *Handler) caches(w http.ResponseWriter, r *http.Request) {
	if !serve.Reads(w, r) {
		return
	}
	names := []string{}
	for config, err := range h.cfg.Grid.Caches(r.Context()) {
		if err != nil {
			serve.WriteError(w, r, err)
			return
		}
		if !grid.IsSystem(config.Name) {
			names = append(names, config.Name)
		}
	}
	serve.WriteJSON(w, r, http.StatusOK, names)
}

// cache answers what is about a cache as a whole.
func (h *Handler) cache(w http.ResponseWriter, r *http.Request, escaped string) {
	var err error
	switch r.Method {
	case http.MethodGet:
		err = h.ask(w, r, escaped)
	case http.MethodHead:
		if _, err = h.open(r.Context(), escaped); err == nil {
			w.WriteHeader(http.StatusOK)
		}
	case http.MethodPost:
		err = h.make(w, r, escaped)
	case http.MethodPut:
		err = h.alter(w, r, escaped)
	case http.MethodDelete:
		err = h.drop(w, r, escaped)
	default:
		serve.MethodNotAllowed(w, r, "GET", "HEAD", "POST", "PUT", "DELETE")
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

func (h *Handler) ask(w http.ResponseWriter, r *http.Request, escaped string) error {
	q := r.URL.Query()
	action := q.Get("action")
	c, err := h.open(r.Context(), escaped)
	if err != nil {
		return err
	}
	switch action {
	case "listen":
		return h.listen(w, r, c)
	case "export":
		return h.export(w, r, c, q)
	case "keys", "entries":
		return h.list(w, r, c, q, action == "entries")
	case "config":
		serve.WriteJSON(w, r, http.StatusOK, configOf(c.Config()))
		return nil
	case "", "size", "stats":
	default:
		return fmt.Errorf("%w: action=%q is none of keys, entries, size, stats, config, listen, export", serve.ErrRequest, action)
	}
	stats, err := c.Stats(r.Context())
	if err != nil {
		return err
	}
	switch action {
	case "size":
		serve.WriteJSON(w, r, http.StatusOK, stats.Entries)
	case "stats":
		serve.WriteJSON(w, r, http.StatusOK, statsOf(stats))
	default:
		serve.WriteJSON(w, r, http.StatusOK, cacheDetail{Name: c.Name(), Size: stats.Entries, Config: configOf(c.Config()), Stats: statsOf(stats)})
	}
	return nil
}

type cacheDetail struct {
	Name   string      `json:"name"`
	Size   int64       `json:"size"`
	Config cacheConfig `json:"config"`
	Stats  cacheStats  `json:"stats"`
}

// cacheStats are grid.Stats, named as Infinispan names those that it has too.
type cacheStats struct {
	Entries int64  `json:"current_number_of_entries"`
	Bytes   int64  `json:"bytes"`
	Stores  uint64 `json:"stores"`
	Hits    uint64 `json:"hits"`
	Misses  uint64 `json:"misses"`
	Removes uint64 `json:"remove_hits"`
	Expired uint64 `json:"expired"`
	// HitRate is which share of the gets found an entry in memory; null before the first.
	HitRate *float64 `json:"hit_rate"`
	// InMemory and Cold are the entries by where their values are; the rest is of caches that have something behind them.
	InMemory   int64   `json:"current_number_of_entries_in_memory"`
	Cold       int64   `json:"cold"`
	ColdBytes  int64   `json:"cold_bytes"`
	ColdHits   uint64  `json:"cold_hits"`
	Evictions  uint64  `json:"evictions"`
	Loads      uint64  `json:"loads"`
	LoadErrors uint64  `json:"load_errors"`
	LagEntries int64   `json:"store_lag_entries"`
	LagBytes   int64   `json:"store_lag_bytes"`
	Lag        float64 `json:"store_lag_seconds"`
	// Near is the near cache of this node; absent where there is none.
	Near *grid.NearStats `json:"near,omitempty"`
}

func statsOf(s grid.Stats) cacheStats {
	out := cacheStats{
		Entries: s.Entries, Bytes: s.Bytes, Stores: s.Puts, Hits: s.Hits, Misses: s.Misses, Removes: s.Deletes, Expired: s.Expired,
		InMemory: s.InMemory, Cold: s.Cold, ColdBytes: s.ColdBytes, ColdHits: s.ColdHits, Near: s.Near,
	}
	if rate, ok := s.HitRate(); ok {
		out.HitRate = &rate
	}
	if t := s.Tier; t != nil {
		out.Evictions, out.Loads, out.LoadErrors = t.Evictions, t.Loads, t.LoadErrors
		out.LagEntries, out.LagBytes, out.Lag = t.LagEntries, t.LagBytes, t.Lag.Seconds()
	}
	return out
}

// make is POST: it creates a cache, clears one, fills one, or has values leave memory.
func (h *Handler) make(w http.ResponseWriter, r *http.Request, escaped string) error {
	switch action := r.URL.Query().Get("action"); action {
	case "clear":
		c, err := h.open(r.Context(), escaped)
		if err != nil {
			return err
		}
		if err := c.Clear(r.Context()); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case "evict":
		return h.evict(w, r, escaped)
	case "import":
		return h.importInto(w, r, escaped)
	case "":
	default:
		return fmt.Errorf("%w: action=%q; a POST without action creates the cache, clear empties it, evict has values leave memory, and import takes many entries", serve.ErrRequest, action)
	}
	name, err := cacheName(escaped)
	if err != nil {
		return err
	}
	if _, err := h.cfg.Grid.Cache(r.Context(), name); err == nil {
		return fmt.Errorf("%w: %s; PUT alters it", grid.ErrCacheExists, name)
	} else if !errors.Is(err, grid.ErrNoCache) {
		return err
	}
	config, err := readConfig(w, r, cacheConfig{Name: name})
	if err != nil {
		return err
	}
	if dry, err := isDryRun(r.URL.Query()); dry || err != nil {
		return h.checkCache(w, r, config, err)
	}
	if err := h.cfg.Grid.CreateCache(r.Context(), config); err != nil {
		return err
	}
	w.Header().Set("Location", "/rest/v2/caches/"+name)
	w.WriteHeader(http.StatusOK)
	return nil
}

// checkCache answers with what a configuration would be with its defaults, unless it is refused, or the request is.
func (h *Handler) checkCache(w http.ResponseWriter, r *http.Request, config grid.CacheConfig, refused error) error {
	if refused != nil {
		return refused
	}
	config, err := h.cfg.Grid.CheckCache(r.Context(), config)
	if err != nil {
		return err
	}
	serve.WriteJSON(w, r, http.StatusOK, configOf(config))
	return nil
}

// isDryRun reads whether a request is only to be checked.
func isDryRun(q url.Values) (bool, error) { return flag(q, "dry_run") }

// alter is PUT: what the body names changes, the rest stays.
func (h *Handler) alter(w http.ResponseWriter, r *http.Request, escaped string) error {
	c, err := h.open(r.Context(), escaped)
	if err != nil {
		return err
	}
	config, err := readConfig(w, r, configOf(c.Config()))
	if err != nil {
		return err
	}
	if dry, err := isDryRun(r.URL.Query()); dry || err != nil {
		return h.checkCache(w, r, config, err)
	}
	if err := h.cfg.Grid.UpdateCache(r.Context(), config); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (h *Handler) drop(w http.ResponseWriter, r *http.Request, escaped string) error {
	c, err := h.open(r.Context(), escaped)
	if err != nil {
		return err
	}
	if err := h.cfg.Grid.DeleteCache(r.Context(), c.Name()); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
