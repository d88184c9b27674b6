// Package registry keeps models and their versions: files that the configuration names, and models that were pushed,
// which live in the grid in chunks. It opens them on an engine and lends sessions to whoever runs them. What a model
// is, is left to package model, and what runs it to the engines.
package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
)

var (
	// ErrNoModel says that there is no model of that name, or not that version of it.
	ErrNoModel = errors.New("no such model")
	// ErrName says that a name or version cannot be a model's.
	ErrName = errors.New("model name or version is not valid")
	// ErrRefused says that a pushed model was not taken; the message has every reason. What was serving goes on.
	ErrRefused = errors.New("model is refused")
	// ErrVersionExists says that the version is there already: versions do not change.
	ErrVersionExists = errors.New("model version exists")
	// ErrTooLarge says that a model is larger than the limit.
	ErrTooLarge = errors.New("model is too large")
	// ErrFixed says that a model comes from the configuration, so that it cannot be removed here.
	ErrFixed = errors.New("model belongs to the configuration")
	// ErrInUse says that a version cannot be removed, since it was chosen to serve.
	ErrInUse = errors.New("model version is in use")
	// ErrSettings says that a model cannot run as it is asked; the message has every fault.
	ErrSettings = errors.New("settings of the model are not valid")
	// ErrElsewhere says that models run on other nodes (Config.CheckOnly).
	ErrElsewhere = errors.New("models run on other nodes")
	// ErrFailed says that a model that is kept cannot be run now; the message says why.
	ErrFailed = errors.New("model cannot be run")
)

// Cache is the name of the grid's cache that holds pushed models: one of the system's (grid.IsSystem).
const Cache = "_models"

// An Opener prepares a model for running: it chooses the engine, and what s leaves out. set says that s was set in the grid. It returns the engine's name.
type Opener func(ctx context.Context, m *model.Model, s Settings, set bool) (engine.Session, string, error)

// Config is what a Registry needs.
type Config struct {
	// Open is required.
	Open Opener
	// MaxBytes is the size of the largest model that may be pushed, at most MaxModelBytes; 0 is 1 GiB.
	MaxBytes int64
	// MaxOpen is how many versions that nobody uses stay open; 0 is 16. The newest of each model always does.
	MaxOpen int
	// Keep is how many versions of a model the grid keeps beside those in use, where its Settings do not say; DefaultKeep where it is nil or gives 0.
	Keep func(name string) int
	// InUse gives the versions of a model that somebody names, and reports whether that is known now. While it is not, none is removed.
	InUse func(name string) (numbers []int64, known bool)
	// CheckOnly is for a node that runs no models: what is pushed or chosen is opened to see that it can be run, and closed again, and Acquire returns ErrElsewhere.
	CheckOnly bool
	Logger    *slog.Logger
}

// DefaultKeep is how many versions of a model are kept beside those in use.
const DefaultKeep = 10

// MaxModelBytes is the most that Config.MaxBytes may say.
const MaxModelBytes = 2 << 30

// Validate reports every fault at once, as fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.Open != nil, "open", "is required")
	l.Check(c.MaxBytes >= 0 && c.MaxBytes <= MaxModelBytes, "max_bytes", "%d must be from 0 to %d", c.MaxBytes, MaxModelBytes)
	l.Check(c.MaxOpen >= 0, "max_open", "%d must be at least 0", c.MaxOpen)
	if err := l.Err(); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// A State is what a version can do now.
type State string

// The states of a version.
const (
	Ready    State = "ready"    // runs, or is opened when it is asked for
	Failed   State = "failed"   // cannot be run; Info.Reason says why
	Unloaded State = "unloaded" // kept, and opened when it is asked for
)

// Info describes one version of a model.
type Info struct {
	Model   *model.Model // nil where it could not be read
	Name    string
	Version int64
	State   State
	Reason  string // why it failed
	Engine  string // what runs it, where it is open
	Source  string // "pushed", or where the configuration has it from
	Digest  string
	Bytes   int64
	Created time.Time
	Latest  bool   // serves where no version is named
	By      string // who pushed it, as far as that is known
	Trained string // what it was trained with, as far as that is known
}

// A Registry keeps models. It is safe for concurrent use.
type Registry struct {
	cfg   Config
	cache *grid.Cache
	log   *slog.Logger

	mu       sync.Mutex
	models   map[string]map[int64]*version
	aliases  map[string]alias
	settings map[string]Settings
	clock    uint64 // orders the uses of versions
	changed  chan struct{}
	closed   bool

	pushing sync.Mutex // one change at a time: versions are given in order
	stop    context.CancelFunc
	watches sync.WaitGroup
}

// version is one version of one model. Registry.mu guards what changes.
type version struct {
	manifest
	fixed   *model.Model // of a model from the configuration
	source  string
	model   *model.Model
	session engine.Session
	engine  string
	failure error
	refs    int
	used    uint64
	gone    bool          // removed: closed when nobody uses it any more
	loading chan struct{} // closed when the load in progress has ended
}

// Open starts a registry on g, with the models that were pushed before. It makes the cache that holds them.
func Open(ctx context.Context, g *grid.Grid, cfg Config) (*Registry, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = 1 << 30
	}
	if cfg.MaxOpen == 0 {
		cfg.MaxOpen = 16
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := g.CreateCache(ctx, grid.CacheConfig{Name: Cache, MaxEntryBytes: grid.MaxValueBytes}); err != nil && !errors.Is(err, grid.ErrCacheExists) {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	cache, err := g.Cache(ctx, Cache)
	if err != nil {
		return nil, fmt.Errorf("open registry: %w", err)
	}
	r := &Registry{
		cfg: cfg, cache: cache, log: cfg.Logger, models: map[string]map[int64]*version{}, aliases: map[string]alias{}, settings: map[string]Settings{},
		changed: make(chan struct{}),
	}
	var listeners []*grid.Listener
	fail := func(err error) (*Registry, error) {
		for _, l := range listeners {
			l.Close()
		}
		return nil, fmt.Errorf("open registry: %w", err)
	}
	for _, prefix := range []string{manifestPrefix, aliasPrefix, settingsPrefix} {
		l, err := cache.Listen(ctx, grid.ListenOptions{IncludeCurrent: true, Prefix: prefix})
		if err != nil {
			return fail(err)
		}
		listeners = append(listeners, l)
	}
	if err := r.readSettings(ctx); err != nil {
		return fail(err)
	}
	if err := r.readAliases(ctx); err != nil {
		return fail(err)
	}
	if err := r.readManifests(ctx); err != nil {
		return fail(err)
	}
	watch, stop := context.WithCancel(context.WithoutCancel(ctx))
	r.stop = stop
	for _, l := range listeners {
		r.watches.Go(func() { r.watch(watch, l) })
	}
	return r, nil
}

// closeWithin is how long Close waits for the runs in progress.
const closeWithin = 5 * time.Second

// Close ends the registry and closes every session, after the runs in progress. Those that do not end within 5 s are left to the process's end,
// and are an error.
func (r *Registry) Close() error {
	r.stop()
	r.watches.Wait()
	r.mu.Lock()
	r.closed = true
	var open []engine.Session
	for _, vs := range r.models {
		for _, v := range vs {
			if v.session != nil {
				open = append(open, v.session)
				v.session = nil
			}
		}
	}
	r.mu.Unlock()
	closed := make(chan error, len(open))
	for _, v := range open {
		go func() { closed <- v.Close() }()
	}
	patience := time.NewTimer(closeWithin)
	defer patience.Stop()
	var faults []error
	for i := range open {
		select {
		case err := <-closed:
			faults = append(faults, err)
		case <-patience.C:
			return errors.Join(append(faults, fmt.Errorf("close the models: runs of %d of them go on after %v", len(open)-i, closeWithin))...)
		}
	}
	return errors.Join(faults...)
}

// Add keeps a model that the configuration names, under m's name and version. source says where it comes from. It is
// not stored in the grid, and opened when it is asked for.
func (r *Registry) Add(m *model.Model, source string) error {
	if err := CheckName(m.Name, m.Version); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.models[m.Name][m.Version] != nil {
		return fmt.Errorf("%w: version %d of model %s was pushed before; give the one from %s another number or name, or remove the pushed one",
			ErrVersionExists, m.Version, m.Name, source)
	}
	r.put(&version{
		manifest: manifest{Name: m.Name, Version: m.Version, Digest: m.Digest, Bytes: m.Bytes, Created: time.Now().UTC()},
		fixed:    m, source: source,
	})
	return nil
}

// AddFailed keeps a version that the configuration names and that could not be read, so that lists say why it is missing. Where there is a version of that
// number it stays.
func (r *Registry) AddFailed(name string, number int64, source string, reason error) error {
	if err := CheckName(name, number); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.models[name][number] == nil {
		r.put(&version{manifest: manifest{Name: name, Version: number, Created: time.Now().UTC()}, source: source, failure: reason})
	}
	return nil
}

// pushed is the source of versions that somebody pushed; all others are the configuration's.
const pushed = "pushed"

// place is the source of a version that the grid keeps, for people.
func (m manifest) place() string { return cmp.Or(m.Source, pushed) }

// kept reports whether the grid has the version; otherwise it is in a file of the configuration's alone.
func (v *version) kept() bool { return v.Push != "" }

// put adds a version and tells who waits. The caller holds mu.
func (r *Registry) put(v *version) {
	if r.models[v.Name] == nil {
		r.models[v.Name] = map[int64]*version{}
	}
	r.models[v.Name][v.Version] = v
	r.notify()
}

// drop takes a version out and tells who waits. The caller holds mu and closes the session that is returned.
func (r *Registry) drop(v *version) engine.Session {
	if r.models[v.Name][v.Version] != v {
		return nil
	}
	delete(r.models[v.Name], v.Version)
	if len(r.models[v.Name]) == 0 {
		delete(r.models, v.Name)
	}
	v.gone = true
	r.notify()
	if v.refs > 0 {
		return nil
	}
	s := v.session
	v.session = nil
	return s
}

func (r *Registry) notify() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed returns a channel that is closed when models come, go, or change their state. Ask for it before you look.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_. -]{0,126}[A-Za-z0-9_-]$|^[A-Za-z0-9_]$`)

// CheckName returns ErrName where a model cannot have that name or version; version 0 stands for the next or newest.
func CheckName(name string, version int64) error {
	if !nameRule.MatchString(name) {
		return fmt.Errorf("%w: name %q must be 1 to 128 letters, digits, '_', '-', '.' or spaces, and not begin with '-', '.' or a space", ErrName, name)
	}
	if version < 0 {
		return fmt.Errorf("%w: version %d of %q must be a positive number", ErrName, version, name)
	}
	return nil
}

// List describes all versions, by name and then from the newest.
func (r *Registry) List(context.Context) ([]Info, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []Info
	for _, name := range slices.Sorted(maps.Keys(r.models)) {
		for _, v := range r.newestFirst(name) {
			all = append(all, r.info(v))
		}
	}
	return all, nil
}

// Get describes one version; 0 is the one that serves where none is named. It opens the model where it is not open,
// to say what it is.
func (r *Registry) Get(ctx context.Context, name string, number int64) (Info, error) {
	h, err := r.borrow(ctx, name, number)
	if err == nil {
		defer h.Release()
		number = h.model.Version
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.models[name][number]
	if v == nil && number == 0 && len(r.models[name]) > 0 {
		if v = r.serving(name); v == nil {
			v = r.newestFirst(name)[0]
		}
	}
	if v == nil {
		if err == nil || !errors.Is(err, ErrNoModel) {
			err = noModel(name, number)
		}
		return Info{}, err
	}
	return r.info(v), nil
}

// newestFirst lists a model's versions. The caller holds mu.
func (r *Registry) newestFirst(name string) []*version {
	vs := slices.Collect(maps.Values(r.models[name]))
	slices.SortFunc(vs, func(a, b *version) int { return cmp.Compare(b.Version, a.Version) })
	return vs
}

// info describes v. The caller holds mu.
func (r *Registry) info(v *version) Info {
	i := Info{
		Model: v.model, Name: v.Name, Version: v.Version, State: Unloaded, Engine: v.engine, Source: v.source,
		Digest: v.Digest, Bytes: v.Bytes, Created: v.Created, By: v.By, Trained: v.Trained,
	}
	if i.Trained == "" && v.model != nil {
		i.Trained = trainedWith(v.model)
	}
	switch {
	case v.failure != nil:
		i.State, i.Reason = Failed, v.failure.Error()
	case v.session != nil:
		i.State = Ready
	}
	i.Latest = r.serving(v.Name) == v
	return i
}

func noModel(name string, version int64) error {
	if version == 0 {
		return fmt.Errorf("%w: %q", ErrNoModel, name)
	}
	return fmt.Errorf("%w: %q version %d", ErrNoModel, name, version)
}
