package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/grid"
)

// aliasPrefix begins the keys of what was chosen to serve, by the model's name.
const aliasPrefix = "alias/"

// alias is which version of a model serves where none is named. The zero value is what a model has that nobody chose for.
type alias struct {
	Version int64 `json:"version"` // 0 is the newest
	Before  int64 `json:"before"`  // what served before the last choice
	Chosen  bool  `json:"chosen"`  // somebody chose
}

// Serving is which version of a model serves where none is named.
type Serving struct {
	Version int64
	// Pinned says that it was chosen, so that newer ones do not serve.
	Pinned bool
}

// pinned returns the version that was chosen to serve, nil where none was or it is gone. The caller holds mu.
func (r *Registry) pinned(name string) *version {
	if n := r.aliases[name].Version; n != 0 {
		return r.models[name][n]
	}
	return nil
}

// serving returns the version that serves where none is named, nil where none can be run. The caller holds mu.
func (r *Registry) serving(name string) *version {
	if v := r.pinned(name); v != nil {
		return v
	}
	var newest *version
	for _, v := range r.models[name] {
		if v.failure == nil && (newest == nil || v.Version > newest.Version) {
			newest = v
		}
	}
	return newest
}

// Serving tells which version of a model serves, or ErrNoModel; version 0 where none can be run.
func (r *Registry) Serving(_ context.Context, name string) (Serving, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.models[name]) == 0 {
		return Serving{}, noModel(name, 0)
	}
	s := Serving{Pinned: r.pinned(name) != nil}
	if v := r.serving(name); v != nil {
		s.Version = v.Version
	}
	return s, nil
}

// Use chooses the version of a model that serves where none is named, on every node and over restarts; 0 is always the newest. The version is
// opened before: one that cannot be run (ErrFailed) changes nothing.
func (r *Registry) Use(ctx context.Context, name string, number int64) (Serving, error) {
	r.mu.Lock()
	now := r.aliases[name]
	known := len(r.models[name]) > 0
	r.mu.Unlock()
	if !known {
		return Serving{}, noModel(name, number)
	}
	if now.Version == number && now.Chosen {
		return r.Serving(ctx, name)
	}
	return r.choose(ctx, name, alias{Version: number, Before: now.Version, Chosen: true})
}

// UsePrevious undoes the last Use; again, it undoes that. It returns ErrNoModel where nobody chose.
func (r *Registry) UsePrevious(ctx context.Context, name string) (Serving, error) {
	r.mu.Lock()
	now := r.aliases[name]
	r.mu.Unlock()
	if !now.Chosen {
		return Serving{}, fmt.Errorf("%w: nobody chose a version of %q, so there is none to go back to", ErrNoModel, name)
	}
	return r.choose(ctx, name, alias{Version: now.Before, Before: now.Version, Chosen: true})
}

func (r *Registry) choose(ctx context.Context, name string, a alias) (Serving, error) {
	if a.Version != 0 {
		h, err := r.borrow(ctx, name, a.Version)
		if err != nil {
			return Serving{}, err
		}
		defer h.Release()
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()
	value, err := json.Marshal(a)
	if err != nil {
		return Serving{}, err
	}
	if _, err := r.cache.Put(ctx, aliasPrefix+name, value, grid.PutOptions{ContentType: "application/json"}); err != nil {
		return Serving{}, fmt.Errorf("choose the version of model %s: %w", name, err)
	}
	r.setAlias(name, a)
	r.log.Info("a version was chosen to serve", "model", name, "version", a.Version, "before", a.Before)
	return r.Serving(ctx, name)
}

// setAlias brings a choice into effect.
func (r *Registry) setAlias(name string, a alias) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a == (alias{}) {
		delete(r.aliases, name)
	} else {
		r.aliases[name] = a
	}
	r.notify()
}

func (r *Registry) readAliases(ctx context.Context) error {
	for e, err := range r.cache.List(ctx, grid.ListOptions{Prefix: aliasPrefix}) {
		if err != nil {
			return err
		}
		r.foundAlias(e)
	}
	return nil
}

func (r *Registry) readAlias(ctx context.Context, name string) error {
	e, err := r.cache.Get(ctx, aliasPrefix+name)
	switch {
	case err == nil:
		r.foundAlias(e)
	case errors.Is(err, grid.ErrNotFound):
		r.setAlias(name, alias{})
	default:
		return err
	}
	return nil
}

func (r *Registry) foundAlias(e grid.Entry) {
	var a alias
	if err := json.Unmarshal(e.Value, &a); err != nil {
		r.log.Error("the choice of a model's version is not valid", "key", e.Key, "error", err)
		return
	}
	r.setAlias(strings.TrimPrefix(e.Key, aliasPrefix), a)
}

// prune removes the oldest versions of a model that are more than are to be kept, but for those in use. What cannot be removed now is at the next push.
// The caller holds pushing.
func (r *Registry) prune(ctx context.Context, name string) {
	settings, _ := r.Settings(ctx, name)
	keep, used, known := settings.Keep, []int64(nil), true
	if keep == 0 && r.cfg.Keep != nil {
		keep = r.cfg.Keep(name)
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	if r.cfg.InUse != nil {
		used, known = r.cfg.InUse(name)
	}
	if !known {
		return
	}
	r.mu.Lock()
	var kept, gone []*version
	for _, v := range r.newestFirst(name) {
		if v.kept() {
			kept = append(kept, v)
		}
	}
	serving, a, last := r.serving(name), r.aliases[name], r.lastFromSource(name)
	for _, v := range kept[min(len(kept), keep):] {
		if v != serving && v != last && v.Version != a.Version && v.Version != a.Before && v.refs == 0 && !slices.Contains(used, v.Version) {
			gone = append(gone, v)
		}
	}
	r.mu.Unlock()
	for _, v := range gone {
		r.log.Info("an old version is removed", "model", name, "version", v.Version, "kept", keep)
	}
	if err := r.remove(ctx, gone); err != nil {
		r.log.Warn("old versions are not removed", "model", name, "error", err)
	}
}

// lastFromSource returns the newest version that came from the configuration and that the grid keeps. The caller holds mu.
func (r *Registry) lastFromSource(name string) *version {
	for _, v := range r.newestFirst(name) {
		if v.kept() && v.Source != "" {
			return v
		}
	}
	return nil
}

// Import takes the model that a source of the configuration has now as a new version, where it is another than it was last. It reports whether it is new.
// The errors are those of PushWith; what was serving goes on then.
func (r *Registry) Import(ctx context.Context, name string, data []byte, o PushOptions) (Info, bool, error) {
	sum := digest(data)
	r.mu.Lock()
	last := r.lastFromSource(name)
	if last != nil && last.Digest == sum && maps.Equal(last.Overrides, o.Overrides) {
		info := r.info(last)
		r.mu.Unlock()
		return info, false, nil
	}
	r.mu.Unlock()
	info, err := r.PushWith(ctx, name, 0, data, o)
	return info, err == nil, err
}

// Seed takes a model as the first version of its name, with the settings of o, unless the grid has one: that one stays, of which it returns the newest version. It
// reports whether it took the model. The other errors are those of PushWith.
func (r *Registry) Seed(ctx context.Context, name string, data []byte, o PushOptions) (Info, bool, error) {
	if info, ok := r.newestKept(name); ok {
		return info, false, nil
	}
	info, err := r.PushWith(ctx, name, 1, data, o)
	if errors.Is(err, ErrVersionExists) { // another node was faster
		if err := r.follow(ctx, manifest{Name: name, Version: 1}.key()); err != nil {
			return Info{}, false, err
		}
		if info, ok := r.newestKept(name); ok {
			return info, false, nil
		}
	}
	if err == nil && o.Settings != nil {
		err = r.Configure(ctx, name, *o.Settings)
	}
	return info, err == nil, err
}

// newestKept describes the newest version that the grid has.
func (r *Registry) newestKept(name string) (Info, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.newestFirst(name) {
		if v.kept() {
			return r.info(v), true
		}
	}
	return Info{}, false
}

// sameAs returns the version that the grid has under f's number, and whether it is of the same content and settings and from a configuration too.
func (r *Registry) sameAs(ctx context.Context, f manifest) (other manifest, same bool) {
	e, err := r.cache.Get(ctx, f.key())
	if err != nil || json.Unmarshal(e.Value, &other) != nil {
		return other, false
	}
	return other, other.Source != "" && other.Digest == f.Digest && maps.Equal(other.Overrides, f.Overrides)
}
