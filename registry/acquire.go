package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/model"
)

// A Handle lends an open model. Its holder calls Release once when it is done; until then the session stays open,
// even when the version is removed or replaced.
type Handle struct {
	model    *model.Model
	session  engine.Session
	registry *Registry
	version  *version
	released atomic.Bool
}

// Model returns the model that is lent.
func (h *Handle) Model() *model.Model { return h.model }

// Session returns the session that runs it. Only the registry closes it.
func (h *Handle) Session() engine.Session { return h.session }

// Release gives the model back. It may be called more than once.
func (h *Handle) Release() {
	if h.released.Swap(true) {
		return
	}
	r, v := h.registry, h.version
	r.mu.Lock()
	v.refs--
	var unused engine.Session
	if v.refs == 0 && (v.gone || r.cfg.CheckOnly) {
		unused, v.session, v.engine = v.session, nil, ""
	}
	r.mu.Unlock()
	r.close(v, unused)
}

func (r *Registry) close(v *version, s engine.Session) {
	if s == nil {
		return
	}
	if err := s.Close(); err != nil {
		r.log.Warn("close model", "model", v.Name, "version", v.Version, "error", err)
	}
}

// Acquire lends a version of a model; 0 is the one that serves: what Use chose, else the newest that can be run. It opens the model where it is not open. It
// returns ErrNoModel, or ErrFailed with the reason where the version (or every one) cannot be run, and ErrElsewhere on a node that runs none.
func (r *Registry) Acquire(ctx context.Context, name string, number int64) (*Handle, error) {
	if !r.cfg.CheckOnly {
		return r.borrow(ctx, name, number)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.models[name]) == 0 || number != 0 && r.models[name][number] == nil {
		return nil, noModel(name, number)
	}
	return nil, fmt.Errorf("model %s: %w", name, ErrElsewhere)
}

// borrow is Acquire, also where a node opens models only to check them.
func (r *Registry) borrow(ctx context.Context, name string, number int64) (*Handle, error) {
	if number != 0 {
		r.mu.Lock()
		v := r.models[name][number]
		r.mu.Unlock()
		if v == nil {
			return nil, noModel(name, number)
		}
		return r.acquire(ctx, v)
	}
	r.mu.Lock()
	if v := r.servingOpen(name); v != nil {
		h := r.lend(v)
		r.mu.Unlock()
		return h, nil
	}
	if v := r.pinned(name); v != nil {
		r.mu.Unlock()
		return r.acquire(ctx, v)
	}
	candidates := r.newestFirst(name)
	r.mu.Unlock()
	var first error
	for _, v := range candidates {
		h, err := r.acquire(ctx, v)
		if err == nil {
			return h, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if first == nil {
			first = err
		}
	}
	return nil, cmp.Or(first, noModel(name, 0))
}

// servingOpen returns the version that serves where it is open. The caller holds mu.
func (r *Registry) servingOpen(name string) *version {
	if v := r.serving(name); v != nil && v.session != nil {
		return v
	}
	return nil
}

// lend counts a use of an open version. The caller holds mu.
func (r *Registry) lend(v *version) *Handle {
	v.refs++
	r.clock++
	v.used = r.clock
	return &Handle{model: v.model, session: v.session, registry: r, version: v}
}

// acquire lends v, and opens it before where it is not open; callers that come meanwhile wait for that.
func (r *Registry) acquire(ctx context.Context, v *version) (*Handle, error) {
	for {
		r.mu.Lock()
		switch {
		case r.closed:
			r.mu.Unlock()
			return nil, engine.ErrClosed
		case v.gone:
			now := r.models[v.Name][v.Version]
			r.mu.Unlock()
			if now == nil {
				return nil, noModel(v.Name, v.Version)
			}
			v = now // pushed anew, or with other settings
			continue
		case v.failure != nil:
			err := v.failure
			r.mu.Unlock()
			return nil, fmt.Errorf("%w: %s version %d: %w", ErrFailed, v.Name, v.Version, err)
		case v.session != nil:
			h := r.lend(v)
			r.mu.Unlock()
			return h, nil
		case v.loading != nil:
			loading := v.loading
			r.mu.Unlock()
			select {
			case <-loading:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		loading := make(chan struct{})
		v.loading = loading
		r.mu.Unlock()
		err := r.load(ctx, v)
		close(loading)
		if err != nil {
			return nil, err
		}
	}
}

// load opens v and notes the outcome. It returns an error where that is not the model's: a context that ended, or a
// grid that does not answer. The next caller tries again then.
func (r *Registry) load(ctx context.Context, v *version) error {
	m, s, name, err := r.open(ctx, v)
	r.mu.Lock()
	v.loading = nil
	var unused []engine.Session
	var passing error
	switch {
	case err != nil && ctx.Err() != nil:
		passing = ctx.Err()
	case errors.Is(err, errDownload):
		passing = fmt.Errorf("open model %s version %d: %w", v.Name, v.Version, err)
	case err != nil:
		v.failure = err
		r.log.Error("model cannot be run", "model", v.Name, "version", v.Version, "error", err)
		r.notify()
	case v.gone || r.closed:
		unused = append(unused, s)
	default:
		v.model, v.session, v.engine = m, s, name
		unused = r.trim(v)
		r.notify()
	}
	r.mu.Unlock()
	for _, s := range unused {
		r.close(v, s)
	}
	return passing
}

func (r *Registry) open(ctx context.Context, v *version) (*model.Model, engine.Session, string, error) {
	m := v.fixed
	if m == nil {
		data, err := r.download(ctx, v.manifest)
		if err != nil {
			return nil, nil, "", err
		}
		if m, err = r.decode(v.manifest, data); err != nil {
			return nil, nil, "", err
		}
	}
	settings, set := r.Settings(ctx, v.Name)
	s, name, err := r.cfg.Open(ctx, m, settings, set)
	if err != nil {
		return nil, nil, "", err
	}
	return m, s, name, nil
}

// decode reads a model under the name and version that it is kept as.
func (r *Registry) decode(f manifest, data []byte) (*model.Model, error) {
	m, err := model.Decode(data)
	if err != nil {
		return nil, err
	}
	return m.With(f.Name, f.Version, f.Overrides)
}

// trim closes the sessions that were used longest ago and that nobody uses, beyond the limit. The version of
// each model that serves stays. The caller holds mu and closes what is returned.
func (r *Registry) trim(keep *version) []engine.Session {
	var idle []*version
	for name, vs := range r.models {
		newest := r.servingOpen(name)
		for _, v := range vs {
			if v.session != nil && v.refs == 0 && v != newest && v != keep {
				idle = append(idle, v)
			}
		}
	}
	if len(idle) <= r.cfg.MaxOpen {
		return nil
	}
	slices.SortFunc(idle, func(a, b *version) int { return cmp.Compare(a.used, b.used) })
	var unused []engine.Session
	for _, v := range idle[:len(idle)-r.cfg.MaxOpen] {
		unused = append(unused, v.session)
		v.session, v.engine = nil, ""
	}
	return unused
}
