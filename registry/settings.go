package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/grid"
)

// settingsPrefix begins the keys of models' settings, by the model's name.
const settingsPrefix = "settings/"

// Settings say how a model runs, on every node. What is left out is each node's own choice. The zero value is what a model has that nobody set.
type Settings struct {
	// Engine is "auto" or an engine's name, Device such as "cpu" or "cuda:0", and Threads how many one run may use.
	Engine  string `json:"engine,omitempty"`
	Device  string `json:"device,omitempty"`
	Threads int    `json:"threads,omitempty"`
	// TF32, Precision and MemoryLimit (bytes of a device's memory) are those of engine.Options.
	TF32        bool   `json:"tf32,omitempty"`
	Precision   string `json:"precision,omitempty"`
	MemoryLimit int64  `json:"memory_limit,omitempty"`
	// Keep is how many versions the grid keeps beside those in use.
	Keep int `json:"keep,omitempty"`
}

// Options are what the settings say of the model's sessions.
func (s Settings) Options() engine.Options {
	return engine.Options{Threads: s.Threads, Device: s.Device, TF32: s.TF32, Precision: s.Precision, MemoryLimit: s.MemoryLimit}
}

// Validate reports every fault at once, as fault.Errors. Which engines there are is asked of Config.Open, when a model is opened.
func (s Settings) Validate() error {
	var l fault.Errors
	l.Take(s.Options().Validate(), func(path string) (string, bool) { return path, true })
	l.Check(s.Keep >= 0, "keep", "%d must not be negative", s.Keep)
	return l.Err()
}

// Settings returns what the grid has of a model's settings, and whether somebody set them.
func (r *Registry) Settings(_ context.Context, name string) (Settings, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, set := r.settings[name]
	return s, set
}

// Configure sets how a model runs, on every node and over restarts, whether or not there is such a model yet. Versions that are open are opened anew: runs that
// are under way end with the old settings.
func (r *Registry) Configure(ctx context.Context, name string, s Settings) error {
	if err := CheckName(name, 0); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return fmt.Errorf("%w: settings of model %s: %w", ErrSettings, name, err)
	}
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	r.pushing.Lock()
	defer r.pushing.Unlock()
	if _, err := r.cache.Put(ctx, settingsPrefix+name, value, grid.PutOptions{ContentType: "application/json"}); err != nil {
		return fmt.Errorf("keep the settings of model %s: %w", name, err)
	}
	r.adopt(name, &s)
	return nil
}

// adopt brings settings into effect; nil is what nobody set. The sessions of the model end when nobody uses them any more, and what failed is tried again.
func (r *Registry) adopt(name string, s *Settings) {
	r.mu.Lock()
	old, was := r.settings[name]
	if s == nil && !was || s != nil && was && old == *s {
		r.mu.Unlock()
		return
	}
	if s == nil {
		delete(r.settings, name)
		s = &Settings{}
	} else {
		r.settings[name] = *s
	}
	type ended struct {
		v *version
		s engine.Session
	}
	var unused []ended
	old.Keep = s.Keep // which concerns no session
	for _, v := range r.newestFirst(name) {
		opened := v.session != nil || v.loading != nil || v.failure != nil
		if old == *s || !opened || v.Version < 1 || !v.kept() && v.fixed == nil {
			continue
		}
		unused = append(unused, ended{v, r.drop(v)})
		r.put(&version{manifest: v.manifest, fixed: v.fixed, source: v.source})
	}
	r.notify()
	r.mu.Unlock()
	for _, e := range unused {
		r.close(e.v, e.s)
	}
}

func (r *Registry) readSettings(ctx context.Context) error {
	for e, err := range r.cache.List(ctx, grid.ListOptions{Prefix: settingsPrefix}) {
		if err != nil {
			return err
		}
		r.foundSettings(e)
	}
	return nil
}

// followSettings brings a model's settings to what the grid has now.
func (r *Registry) followSettings(ctx context.Context, name string) error {
	e, err := r.cache.Get(ctx, settingsPrefix+name)
	switch {
	case err == nil:
		r.foundSettings(e)
	case errors.Is(err, grid.ErrNotFound):
		r.adopt(name, nil)
	default:
		return err
	}
	return nil
}

func (r *Registry) foundSettings(e grid.Entry) {
	var s Settings
	err := json.Unmarshal(e.Value, &s)
	if err == nil {
		err = s.Validate()
	}
	if err != nil {
		r.log.Error("the settings of a model are not valid", "key", e.Key, "error", err)
		return
	}
	r.adopt(strings.TrimPrefix(e.Key, settingsPrefix), &s)
}
