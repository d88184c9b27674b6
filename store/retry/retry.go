// Package retry is a store that asks another one again when it was unavailable. When the store has been away for too long, what to do is
// left to its caller.
package retry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/store"
)

// Config says how often and how soon. The zero value is 5 attempts within at most 1.5 s of waiting.
type Config struct {
	// Attempts is how often a call is made at most, 1 to 100; 5 if 0.
	Attempts int
	// First is the longest wait before the second attempt; it doubles with each attempt. 100 ms if 0.
	First time.Duration
	// Longest bounds the wait before any attempt; 5 s if 0.
	Longest time.Duration
}

// Validate reports every fault at once, as a store.ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.Attempts >= 0 && c.Attempts <= 100, "attempts", "%d must be from 1 to 100, or 0 for 5", c.Attempts)
	l.Check(c.First >= 0, "first", "%v must not be negative", c.First)
	l.Check(c.Longest >= 0, "longest", "%v must not be negative", c.Longest)
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrConfig, err)
	}
	return nil
}

// Store decorates another store. Calls that end in a store.ErrUnavailable are made again, after a random part of a wait that doubles each
// time, so that many callers do not come back at once.
type Store struct {
	under store.Store
	c     Config
}

var _ store.Store = (*Store)(nil)

// New returns a store over another one, which Close closes too.
func New(under store.Store, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.First == 0 {
		c.First = 100 * time.Millisecond
	}
	if c.Longest == 0 {
		c.Longest = 5 * time.Second
	}
	return &Store{under, c}, nil
}

// again waits before attempt n+1 of a call whose attempt n, counted from 1, ended with err. It returns nil where there is to be one
// more, else the error to end with.
func (s *Store) again(ctx context.Context, n int, err error) error {
	if !store.Retryable(err) {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w, and before: %w", ctx.Err(), err)
	}
	if n >= s.c.Attempts {
		return fmt.Errorf("after %d attempts: %w", n, err)
	}
	longest := s.c.Longest
	if n < 32 {
		longest = min(longest, s.c.First<<(n-1))
	}
	wait := time.Duration(rand.Int64N(int64(longest) + 1))
	if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
		return fmt.Errorf("after %d attempts, with no time for another: %w", n, err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w, and before: %w", ctx.Err(), err)
	}
}

func (s *Store) do(ctx context.Context, call func() error) error {
	for n := 1; ; n++ {
		err := call()
		if err == nil {
			return nil
		}
		if err = s.again(ctx, n, err); err != nil {
			return err
		}
	}
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, namespace string, e store.Entry) error {
	return s.do(ctx, func() error { return s.under.Put(ctx, namespace, e) })
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return s.do(ctx, func() error { return s.under.Delete(ctx, namespace, key, revision) })
}

// Drop implements store.Store.
func (s *Store) Drop(ctx context.Context, namespace string) error {
	return s.do(ctx, func() error { return s.under.Drop(ctx, namespace) })
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, namespace, key string) (e store.Entry, err error) {
	err = s.do(ctx, func() error {
		e, err = s.under.Get(ctx, namespace, key)
		return err
	})
	return e, err
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, namespace, key string) (i store.Info, err error) {
	err = s.do(ctx, func() error {
		i, err = s.under.Stat(ctx, namespace, key)
		return err
	})
	return i, err
}

// Namespaces implements store.Store.
func (s *Store) Namespaces(ctx context.Context) (names []string, err error) {
	err = s.do(ctx, func() error {
		names, err = s.under.Namespaces(ctx)
		return err
	})
	return names, err
}

// Sweep implements store.Store. What an attempt did that failed half-way is not counted.
func (s *Store) Sweep(ctx context.Context, namespace string) (n int, err error) {
	err = s.do(ctx, func() error {
		n, err = s.under.Sweep(ctx, namespace)
		return err
	})
	return n, err
}

// PutAll implements store.Store. Only the entries that failed are written again.
func (s *Store) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	outcomes := make([]error, len(entries))
	left := make([]int, len(entries))
	for i := range left {
		left[i] = i
	}
	for n := 1; len(left) > 0; n++ {
		batch := make([]store.Entry, len(left))
		for j, i := range left {
			batch[j] = entries[i]
		}
		got := s.under.PutAll(ctx, namespace, batch)
		var failed []int
		for j, i := range left {
			outcomes[i] = nil
			if got != nil {
				outcomes[i] = got[j]
			}
			if n > 1 && errors.Is(outcomes[i], store.ErrStale) && overtaken(entries, outcomes, i) {
				outcomes[i] = nil
			}
			if store.Retryable(outcomes[i]) {
				failed = append(failed, i)
			}
		}
		if left = failed; len(left) == 0 {
			break
		}
		if again := s.again(ctx, n, outcomes[left[0]]); again != nil {
			// The wait was for all of them. Each has its own error, and that the context ended where it did.
			for _, i := range left {
				outcomes[i] = fmt.Errorf("%w", errors.Join(ctx.Err(), outcomes[i]))
			}
			break
		}
	}
	for _, err := range outcomes {
		if err != nil {
			return outcomes
		}
	}
	return nil
}

// overtaken reports whether an entry that is stale at a later attempt is so because of one behind it in its own batch, which was
// stored at an earlier attempt. In one attempt the entry would have been stored, and then replaced.
func overtaken(entries []store.Entry, outcomes []error, at int) bool {
	for i := at + 1; i < len(entries); i++ {
		if entries[i].Key == entries[at].Key && outcomes[i] == nil {
			over, _ := entries[i].Over("", entries[at].Info)
			if over {
				return true
			}
		}
	}
	return false
}

// List implements store.Store. It goes on after the last key that it gave; the attempts are counted anew with each key.
func (s *Store) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		o := o
		for n := 1; ; n++ {
			var broken error
			for i, err := range s.under.List(ctx, namespace, o) {
				if err != nil && store.Retryable(err) {
					broken = err
					break
				}
				if !yield(i, err) {
					return
				}
				if i.Key != "" {
					o.After, n = i.Key, 1
				}
			}
			if broken == nil {
				return
			}
			if err := s.again(ctx, n, broken); err != nil {
				yield(store.Info{}, err)
				return
			}
		}
	}
}

// Present asks a store that can tell whether what it keeps is still there (disk).
func (s *Store) Present() error {
	if under, ok := s.under.(interface{ Present() error }); ok {
		return under.Present()
	}
	return nil
}

// Close implements store.Store. It is not made again.
func (s *Store) Close() error { return s.under.Close() }
