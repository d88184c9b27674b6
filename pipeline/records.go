package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

// RecordCache is the name of the grid's cache that holds the definitions of pipelines that were made at run time, under
// definitionPrefix, and which pipelines are paused, under pausedPrefix; the pipeline's name follows. It is one of the system's (grid.IsSystem).
const RecordCache = "_pipelines"

const (
	definitionPrefix = "definition/"
	pausedPrefix     = "paused/"
)

// openRecords makes the cache that holds them.
func (m *Manager) openRecords(ctx context.Context) error {
	err := m.grid.CreateCache(ctx, grid.CacheConfig{Name: RecordCache})
	if err == nil || errors.Is(err, grid.ErrCacheExists) {
		m.cache, err = m.grid.Cache(ctx, RecordCache)
	}
	if err != nil {
		return fmt.Errorf("open the pipelines that the grid keeps: %w", err)
	}
	return nil
}

// followAgain is the pause before a grid that did not answer is asked again.
const followAgain = 200 * time.Millisecond

// follow does what the records say, until ctx ends.
func (m *Manager) follow(ctx context.Context) {
	for told := false; ctx.Err() == nil; {
		err := m.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if !told {
			m.log.Warn("pipelines of other nodes are followed again when the grid answers", "error", err)
			told = true
		}
		if pause(ctx, followAgain) != nil {
			return
		}
	}
}

func (m *Manager) listen(ctx context.Context) error {
	l, err := m.cache.Listen(ctx, grid.ListenOptions{})
	if err != nil {
		return err
	}
	defer l.Close()
	for {
		// What came before the listener, or is told twice, costs a look.
		if err := m.refresh(ctx); err != nil {
			return err
		}
		if _, err := l.Next(ctx); err != nil {
			return err
		}
	}
}

// refresh brings the node to what the grid has.
func (m *Manager) refresh(ctx context.Context) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.refreshLocked(ctx)
}

// refreshLocked is refresh for who holds changing.
func (m *Manager) refreshLocked(ctx context.Context) error {
	r, err := m.records(ctx)
	if err != nil {
		return err
	}
	unfit := m.unfit(r.defined)
	m.mu.Lock()
	var ending []*unit
	for name, u := range m.units {
		if u.origin == File {
			continue
		}
		if c, ok := r.defined[name]; !ok || !reflect.DeepEqual(c.Definition(), u.cfg.Definition()) {
			ending = append(ending, u)
			delete(m.units, name)
		}
	}
	m.mu.Unlock()
	m.stop(ending...)
	for _, u := range ending {
		m.cfg.Metrics.forget(u.cfg.Name)
	}
	m.mu.Lock()
	for name, c := range r.defined {
		if m.units[name] == nil {
			m.units[name] = &unit{cfg: c, origin: Grid}
		}
	}
	var resting []*unit
	for name, u := range m.units {
		u.paused, u.hides, u.unfit = r.paused[name], r.hidden[name], unfit[name]
		if u.paused || u.unfit != nil {
			resting = append(resting, u)
		} else {
			m.start(u)
		}
	}
	m.mu.Unlock()
	m.stop(resting...)
	m.tell(r.hidden, unfit)
	return nil
}

// unfit says which pipelines that the grid keeps cannot run beside this node's file's, and why. Who made them could not see that: another node has
// another file, or the file was changed since.
func (m *Manager) unfit(defined map[string]Config) map[string]error {
	out := map[string]error{}
	together := slices.Clone(m.cfg.Fixed)
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		with := append(slices.Clip(together), defined[name])
		if err := ValidateAll(with); err != nil {
			out[name] = err
		} else {
			together = with
		}
	}
	return out
}

// tell logs once what of the grid's pipelines is not run on this node.
func (m *Manager) tell(hidden map[string]bool, unfit map[string]error) {
	now := map[string]string{}
	for name := range hidden {
		now[name] = "the configuration file has one of its name"
	}
	for name, err := range unfit {
		now[name] = err.Error()
	}
	for name, reason := range now {
		if m.told[name] != reason {
			m.log.Warn("a pipeline that the grid keeps is not run on this node", "pipeline", name, "reason", reason)
		}
	}
	m.told = now
}

// records are what the grid keeps of pipelines.
type records struct {
	defined map[string]Config
	paused  map[string]bool
	hidden  map[string]bool // have the name of one of the configuration file
}

// records reads what the grid has. A record that cannot be understood is reported and left out.
func (m *Manager) records(ctx context.Context) (records, error) {
	r := records{defined: map[string]Config{}, paused: map[string]bool{}, hidden: map[string]bool{}}
	for e, err := range m.cache.List(ctx, grid.ListOptions{}) {
		if err != nil {
			return r, fmt.Errorf("read the pipelines that the grid keeps: %w", err)
		}
		if name, ok := strings.CutPrefix(e.Key, pausedPrefix); ok {
			r.paused[name] = true
			continue
		}
		name, ok := strings.CutPrefix(e.Key, definitionPrefix)
		if !ok {
			continue
		}
		if m.fixed(name) {
			r.hidden[name] = true
			continue
		}
		d, err := ParseDefinition(e.Value)
		var c Config
		if err == nil {
			c, err = d.Config(name)
		}
		if err != nil {
			m.log.Error("the record of a pipeline cannot be used", "pipeline", name, "error", err)
			continue
		}
		c.Logger = m.log
		r.defined[name] = c.WithDefaults()
	}
	return r, nil
}

func (m *Manager) fixed(name string) bool {
	return slices.ContainsFunc(m.cfg.Fixed, func(c Config) bool { return c.Name == name })
}

// Put makes or changes a pipeline that the grid keeps, with the caches that it lacks, and reports whether it is new. It returns ErrConfig with
// every fault, or ErrInFile. The pipeline is there on this node when Put returns.
func (m *Manager) Put(ctx context.Context, name string, d Definition) (created bool, err error) {
	c, err := d.Config(name)
	if err != nil {
		return false, err
	}
	if m.fixed(name) {
		return false, fmt.Errorf("%w: %s; change it there and restart the node", ErrInFile, name)
	}
	m.changing.Lock()
	defer m.changing.Unlock()
	r, err := m.records(ctx)
	if err != nil {
		return false, err
	}
	all := r.defined
	old, was := all[name]
	together := slices.Clone(m.cfg.Fixed)
	for _, other := range slices.Sorted(maps.Keys(all)) {
		if other != name {
			together = append(together, all[other])
		}
	}
	if err := ValidateAll(append(together, c)); err != nil {
		return false, err
	}
	if err := m.makeCaches(ctx, c); err != nil {
		return false, err
	}
	value, err := json.Marshal(c.Definition())
	if err != nil {
		return false, err
	}
	if _, err := m.cache.Put(ctx, definitionPrefix+name, value, grid.PutOptions{ContentType: contentType}); err != nil {
		return false, fmt.Errorf("keep pipeline %s: %w", name, err)
	}
	if err := m.refreshLocked(ctx); err != nil {
		return !was, err
	}
	if was && old.From != c.From { // nobody reads there as this pipeline any more
		if err := m.forget(ctx, old.From, name); err != nil {
			return false, fmt.Errorf("remove the positions of pipeline %s in cache %s: %w", name, old.From, err)
		}
	}
	return !was, nil
}

// Offer has the grid keep a pipeline, unless it keeps one of that name: that one stays, and Offer reports whether it says the same. It returns ErrConfig
// where the pipeline cannot run beside the others.
func (m *Manager) Offer(ctx context.Context, c Config) (same bool, err error) {
	m.changing.Lock()
	defer m.changing.Unlock()
	value, err := json.Marshal(c.Definition())
	if err != nil {
		return false, err
	}
	for range 2 {
		r, err := m.records(ctx)
		if err != nil {
			return false, err
		}
		if have, ok := r.defined[c.Name]; ok {
			return reflect.DeepEqual(have.Definition(), c.Definition()), m.refreshLocked(ctx)
		}
		if err := ValidateAll(append(slices.Collect(maps.Values(r.defined)), c)); err != nil {
			return false, err
		}
		if err := m.makeCaches(ctx, c); err != nil {
			return false, err
		}
		_, err = m.cache.Create(ctx, definitionPrefix+c.Name, value, grid.PutOptions{ContentType: contentType})
		if err == nil {
			return true, m.refreshLocked(ctx)
		}
		if !errors.Is(err, grid.ErrExists) { // else another node was faster
			return false, fmt.Errorf("keep pipeline %s: %w", c.Name, err)
		}
	}
	return false, fmt.Errorf("%w: what the grid keeps of pipeline %s cannot be read; remove it, and make it anew", ErrConfig, c.Name)
}

// Delete removes a pipeline that the grid keeps, with its positions; its results stay. Of one that the configuration file hides it removes the
// definition alone, since the positions are those of the file's too. It returns ErrNone, or ErrInFile where only the file has it.
func (m *Manager) Delete(ctx context.Context, name string) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	r, err := m.records(ctx)
	if err != nil {
		return err
	}
	c, ok := r.defined[name]
	prefixes := []string{definitionPrefix, pausedPrefix}
	switch {
	case r.hidden[name]:
		prefixes = prefixes[:1] // the pause is the file's too
	case m.fixed(name):
		return fmt.Errorf("%w: %s; take it out there and restart the node", ErrInFile, name)
	case !ok:
		return fmt.Errorf("%w: %s", ErrNone, name)
	}
	for _, prefix := range prefixes {
		if _, err := m.cache.Delete(ctx, prefix+name, grid.DeleteOptions{}); err != nil && !errors.Is(err, grid.ErrNotFound) {
			return fmt.Errorf("remove pipeline %s: %w", name, err)
		}
	}
	if err := m.refreshLocked(ctx); err != nil || r.hidden[name] {
		return err
	}
	if err := m.forget(ctx, c.From, name); err != nil {
		return fmt.Errorf("remove the positions of pipeline %s: %w", name, err)
	}
	return nil
}

// forget removes the positions of a pipeline, once the other nodes have stopped it too. They stay where a node runs on: its configuration file has one of
// that name, which would begin anew without them.
func (m *Manager) forget(ctx context.Context, from, name string) error {
	const patience = 10 * time.Second // a node that has stopped, or stands still, keeps nobody waiting for longer
	for until := time.Now().Add(patience); time.Now().Before(until); {
		positions, err := m.grid.Positions(ctx, from, name)
		if errors.Is(err, grid.ErrNoReader) || errors.Is(err, grid.ErrNoCache) {
			return nil
		}
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(positions, func(at grid.Position) bool { return at.Open }) {
			return m.grid.DeleteReader(ctx, from, name)
		}
		if err := pause(ctx, leftPause); err != nil {
			return err
		}
	}
	m.log.Warn("another node still runs a pipeline of this name: its positions stay", "pipeline", name, "cache", from)
	return nil
}

// Pause stops a pipeline on every node until Resume, over restarts too. What it has begun is finished, within seconds; when Pause returns
// that is so on this node. It returns ErrNone.
func (m *Manager) Pause(ctx context.Context, name string) error {
	return m.change(ctx, name, func() error {
		_, err := m.cache.Put(ctx, pausedPrefix+name, []byte(`{}`), grid.PutOptions{ContentType: contentType})
		return err
	})
}

// Resume undoes Pause. It returns ErrNone.
func (m *Manager) Resume(ctx context.Context, name string) error {
	return m.change(ctx, name, func() error {
		_, err := m.cache.Delete(ctx, pausedPrefix+name, grid.DeleteOptions{})
		if errors.Is(err, grid.ErrNotFound) {
			return nil
		}
		return err
	})
}

func (m *Manager) change(ctx context.Context, name string, do func() error) error {
	m.changing.Lock()
	defer m.changing.Unlock()
	if _, err := m.Get(name); err != nil {
		if m.refreshLocked(ctx) != nil { // another node may have made it this moment
			return err
		}
		if _, err := m.Get(name); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return fmt.Errorf("pipeline %s: %w", name, err)
	}
	return m.refreshLocked(ctx)
}
