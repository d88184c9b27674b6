package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
)

var (
	// ErrNone says that there is no pipeline of a name.
	ErrNone = errors.New("no such pipeline")
	// ErrInFile says that a pipeline is the configuration file's, which alone can change it.
	ErrInFile = errors.New("the pipeline is in the configuration file")
)

// An Origin is where a pipeline is defined.
type Origin string

// The origins of pipelines.
const (
	File Origin = "file" // the node's configuration
	Grid Origin = "grid" // made at run time; all nodes have it
)

// ManagerConfig is what a Manager needs beside the grid.
type ManagerConfig struct {
	// Models lends the models, and Metrics counts. Both are required.
	Models  Models
	Metrics *Metrics
	// Fixed are the pipelines of the node's configuration. They hide those of the same name that were made at run time.
	Fixed []Config
	// Work is what this node does of its pipelines.
	Work   Work
	Logger *slog.Logger
}

// A Manager keeps a node's pipelines and runs them: those of its configuration, and those that were made at run time, which are kept in the
// grid with what is paused, so that every node has them and a restart changes nothing. It is safe for concurrent use.
type Manager struct {
	cfg   ManagerConfig
	grid  *grid.Grid
	cache *grid.Cache
	log   *slog.Logger

	changing sync.Mutex        // one change at a time: held from reading what the grid has until the node does it
	told     map[string]string // what was logged of records that are not run here, by name; guarded by changing
	mu       sync.Mutex
	units    map[string]*unit
	running  bool
	trials   chan struct{} // has an element for each that is under way
	desk     *desk
}

// unit is a pipeline that the manager keeps. What changes is guarded by Manager.mu.
type unit struct {
	cfg    Config
	origin Origin
	paused bool
	hides  bool  // the grid keeps another of its name
	unfit  error // why it cannot run beside the node's others
	p      *Pipeline
	fault  error // why it does not run though it should
	cancel context.CancelFunc
	done   chan struct{}
}

// One is a pipeline of a node as it is now.
type One struct {
	Config Config
	Origin Origin
	// Hides says that it is of the configuration file, and that the grid keeps another of its name, which this node does not run.
	Hides  bool
	Status Status
	// Snapshot is what it has done on this node since it was made.
	Snapshot Snapshot
}

// Manage opens a manager, which runs nothing yet. The caches of its fixed pipelines have to be there.
func Manage(ctx context.Context, g *grid.Grid, cfg ManagerConfig) (*Manager, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := ValidateAll(cfg.Fixed); err != nil {
		return nil, err
	}
	m := &Manager{cfg: cfg, grid: g, log: cfg.Logger, units: map[string]*unit{}, told: map[string]string{}, trials: make(chan struct{}, mostTrials)}
	m.desk = newDesk(g, m.log, m.runs)
	if err := m.openRecords(ctx); err != nil {
		return nil, err
	}
	for _, c := range cfg.Fixed {
		p, err := New(ctx, g, cfg.Models, cfg.Metrics, c)
		if err != nil {
			return nil, err
		}
		p.desk, p.work = m.desk, m.cfg.Work
		m.units[c.Name] = &unit{cfg: p.Config(), origin: File, p: p}
	}
	return m, m.refresh(ctx)
}

// Run runs the pipelines until ctx ends, and finishes what they have begun. It follows what other nodes make, change, pause and remove.
func (m *Manager) Run(ctx context.Context) error {
	if m.cfg.Work == WorkHere {
		if err := m.desk.open(); err != nil {
			return err
		}
		defer m.desk.stop()
	}
	m.mu.Lock()
	m.running = true
	for _, u := range m.units {
		m.start(u)
	}
	m.mu.Unlock()
	m.follow(ctx)
	m.changing.Lock()
	defer m.changing.Unlock()
	m.mu.Lock()
	m.running = false
	units := slices.Collect(maps.Values(m.units))
	m.mu.Unlock()
	m.stop(units...)
	return nil
}

// start begins a unit's work where it should be done. The caller holds mu.
func (m *Manager) start(u *unit) {
	if !m.running || m.cfg.Work == WorkNone || u.paused || u.unfit != nil || u.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	u.cancel, u.done = cancel, make(chan struct{})
	go func(done chan struct{}) {
		defer close(done)
		m.run(ctx, u)
	}(u.done)
}

// stop ends the work of units, all at a time. The caller holds changing.
func (m *Manager) stop(units ...*unit) {
	var ending []*unit
	m.mu.Lock()
	for _, u := range units {
		if u.cancel != nil {
			u.cancel()
			ending = append(ending, u)
		}
	}
	m.mu.Unlock()
	for _, u := range ending {
		<-u.done
		m.mu.Lock()
		u.cancel, u.done = nil, nil
		m.mu.Unlock()
	}
}

// runAgain is the pause before a pipeline that the grid refused is begun again.
const runAgain = 2 * time.Second

// run runs one pipeline until ctx ends. What keeps it from running is its state, and is tried again: it holds up itself alone.
func (m *Manager) run(ctx context.Context, u *unit) {
	for {
		err := m.runOnce(ctx, u)
		if ctx.Err() != nil {
			if err != nil {
				m.log.Error("pipeline did not end well", "pipeline", u.cfg.Name, "error", err)
			}
			m.failed(u, nil)
			return
		}
		if err == nil {
			err = errors.New("it ended by itself")
		}
		m.log.Error("pipeline is blocked", "pipeline", u.cfg.Name, "error", err)
		m.failed(u, err)
		if pause(ctx, runAgain) != nil {
			m.failed(u, nil)
			return
		}
	}
}

func (m *Manager) failed(u *unit, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	u.fault = err
}

func (m *Manager) runOnce(ctx context.Context, u *unit) error {
	m.mu.Lock()
	p := u.p
	m.mu.Unlock()
	if p == nil {
		var err error
		if err = m.makeCaches(ctx, u.cfg); err != nil {
			return err
		}
		if p, err = New(ctx, m.grid, m.cfg.Models, m.cfg.Metrics, u.cfg); err != nil {
			return err
		}
		p.desk, p.work = m.desk, m.cfg.Work
		m.mu.Lock()
		u.p = p
		m.mu.Unlock()
	}
	m.failed(u, nil)
	return p.Run(ctx)
}

// makeCaches makes those of a pipeline's caches that are not there.
func (m *Manager) makeCaches(ctx context.Context, c Config) error {
	for _, name := range []string{c.From, c.To, c.Errors} {
		if err := m.grid.CreateCache(ctx, grid.CacheConfig{Name: name}); err != nil && !errors.Is(err, grid.ErrCacheExists) {
			return fmt.Errorf("pipeline %s: cache %s: %w", c.Name, name, err)
		}
	}
	return nil
}

// runs returns a pipeline that runs on this node, or nil.
func (m *Manager) runs(name string) *Pipeline {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.units[name]; u != nil && u.cancel != nil && !u.paused {
		return u.p
	}
	return nil
}

// List returns the node's pipelines by name.
func (m *Manager) List() []One {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]One, 0, len(m.units))
	for _, name := range slices.Sorted(maps.Keys(m.units)) {
		out = append(out, m.units[name].describe(m.cfg.Work))
	}
	return out
}

// Get returns one, or ErrNone.
func (m *Manager) Get(name string) (One, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.units[name]; u != nil {
		return u.describe(m.cfg.Work), nil
	}
	return One{}, fmt.Errorf("%w: %s", ErrNone, name)
}

func (u *unit) describe(work Work) One {
	one := One{Config: u.cfg, Origin: u.origin, Hides: u.hides}
	if u.p != nil {
		one.Status, one.Snapshot = u.p.Status(), u.p.Snapshot()
	} else {
		one.Status = Status{State: Waiting, Reason: toBegin}
	}
	if work == WorkNone {
		one.Status.Reason = "nothing: other nodes run it"
	}
	switch {
	case u.paused && u.cancel == nil:
		one.Status.State, one.Status.Reason = Paused, "until it is resumed"
	case u.unfit != nil && u.cancel == nil:
		one.Status.State, one.Status.Reason = Blocked, u.unfit.Error()
	case u.fault != nil:
		one.Status.State, one.Status.Reason = Blocked, u.fault.Error()
	}
	return one
}
