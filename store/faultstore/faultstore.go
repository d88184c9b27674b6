// Package faultstore makes any store slow, failing, or failing half-way, for tests of what stands on one. How to come through that is
// left to them, and to store/retry.
package faultstore

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

// Faults says what goes wrong, each call by itself. The zero value is nothing.
type Faults struct {
	// Before is the share of calls, 0 to 1, that fail before anything was done.
	Before float64
	// After is the share of calls that do their work and then fail. Of a batch a part is done, and a list ends in the middle.
	After float64
	// Delay is the longest time that a call waits before it begins; each waits a random part of it.
	Delay time.Duration
	// Err is the error of the calls that fail, store.ErrUnavailable if nil.
	Err error
}

// Store decorates another store. It is safe for concurrent use.
type Store struct {
	under store.Store

	mu     sync.Mutex
	random *rand.Rand
	faults Faults
	down   bool
	// hung is closed by Up; nil where calls do not hang.
	hung  chan struct{}
	calls int
}

var _ store.Store = (*Store)(nil)

// New returns a store over another one, whose faults come from a source with this seed.
func New(under store.Store, seed uint64, f Faults) *Store {
	return &Store{under: under, random: rand.New(rand.NewPCG(seed, seed)), faults: f}
}

// Set replaces the faults from the next call on.
func (s *Store) Set(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Down makes every call fail before it does anything, until Up.
func (s *Store) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// Hang makes every call wait until Up or the end of its context, like a server that was stopped and not ended.
func (s *Store) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hung == nil {
		s.hung = make(chan struct{})
	}
}

// Up ends Down and Hang.
func (s *Store) Up() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
	if s.hung != nil {
		close(s.hung)
		s.hung = nil
	}
}

// Calls returns how many calls there were, those that failed included.
func (s *Store) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// fate is what becomes of one call.
type fate struct {
	before, after error
	delay         time.Duration
	hung          chan struct{}
	// part is how much of a batch or list is done where after is set.
	part float64
}

func (s *Store) draw(what string) fate {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	err := s.faults.Err
	if err == nil {
		err = store.ErrUnavailable
	}
	f := fate{hung: s.hung, part: s.random.Float64()}
	f.delay = time.Duration(s.random.Float64() * float64(s.faults.Delay))
	switch at := s.random.Float64(); {
	case s.down:
		f.before = fmt.Errorf("%s: %w: it is down", what, err)
	case at < s.faults.Before:
		f.before = fmt.Errorf("%s: %w: it failed before", what, err)
	case at < s.faults.Before+s.faults.After:
		f.after = fmt.Errorf("%s: %w: it failed after", what, err)
	}
	return f
}

// begin waits as a call has to, and returns the error that it then ends with.
func (s *Store) begin(ctx context.Context, what string) (fate, error) {
	f := s.draw(what)
	if f.hung != nil {
		select {
		case <-f.hung:
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
	if f.delay > 0 {
		timer := time.NewTimer(f.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return f, ctx.Err()
		}
	}
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	return f, f.before
}

// call does a call that has nothing but an error.
func (s *Store) call(ctx context.Context, what string, do func() error) error {
	f, err := s.begin(ctx, what)
	if err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return f.after
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, namespace string, e store.Entry) error {
	return s.call(ctx, "put", func() error { return s.under.Put(ctx, namespace, e) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return s.call(ctx, "delete", func() error { return s.under.Delete(ctx, namespace, key, revision) })
}

// Drop implements store.Store.
func (s *Store) Drop(ctx context.Context, namespace string) error {
	return s.call(ctx, "drop", func() error { return s.under.Drop(ctx, namespace) })
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, namespace, key string) (e store.Entry, err error) {
	err = s.call(ctx, "get", func() error {
		e, err = s.under.Get(ctx, namespace, key)
		return err
	})
	return e, err
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, namespace, key string) (i store.Info, err error) {
	err = s.call(ctx, "stat", func() error {
		i, err = s.under.Stat(ctx, namespace, key)
		return err
	})
	return i, err
}

// Namespaces implements store.Store.
func (s *Store) Namespaces(ctx context.Context) (names []string, err error) {
	err = s.call(ctx, "namespaces", func() error {
		names, err = s.under.Namespaces(ctx)
		return err
	})
	return names, err
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, namespace string) (n int, err error) {
	err = s.call(ctx, "sweep", func() error {
		n, err = s.under.Sweep(ctx, namespace)
		return err
	})
	return n, err
}

// PutAll implements store.Store. A batch that fails half-way has its first part done, and some of that is answered as failed.
func (s *Store) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	if len(entries) == 0 {
		return s.under.PutAll(ctx, namespace, entries)
	}
	f, err := s.begin(ctx, "put all")
	outcomes := make([]error, len(entries))
	done := len(entries)
	switch {
	case err != nil:
		for i := range outcomes {
			outcomes[i] = err
		}
		return outcomes
	case f.after != nil:
		done = int(f.part * float64(len(entries)))
	}
	got := s.under.PutAll(ctx, namespace, entries[:done])
	if got == nil && f.after == nil {
		return nil
	}
	copy(outcomes, got)
	for i := range outcomes {
		if f.after != nil && outcomes[i] == nil && (i >= done || i%2 == 0) {
			outcomes[i] = f.after
		}
	}
	return outcomes
}

// List implements store.Store. One that fails half-way ends after at most 64 entries.
func (s *Store) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		f, err := s.begin(ctx, "list")
		if err != nil {
			yield(store.Info{}, err)
			return
		}
		left := int(f.part * 64)
		for i, err := range s.under.List(ctx, namespace, o) {
			if f.after != nil && left == 0 {
				yield(store.Info{}, f.after)
				return
			}
			left--
			if !yield(i, err) {
				return
			}
		}
	}
}

// Close implements store.Store. It never fails by itself.
func (s *Store) Close() error { return s.under.Close() }
