package storetest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

// Memory is a store in memory, for tests: the plainest thing that keeps the contract.
type Memory struct {
	now func() time.Time

	mu     sync.Mutex
	spaces map[string]map[string]store.Entry
	closed bool
}

var _ store.Store = (*Memory)(nil)

// NewMemory returns an empty store that reads the time by now; nil is time.Now.
func NewMemory(now func() time.Time) *Memory {
	if now == nil {
		now = time.Now
	}
	return &Memory{now: now, spaces: map[string]map[string]store.Entry{}}
}

// begin locks the store for a call; the caller unlocks it where there is no error.
func (m *Memory) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return store.ErrClosed
	}
	return nil
}

// Put implements store.Store.
func (m *Memory) Put(ctx context.Context, namespace string, e store.Entry) error {
	return m.write(ctx, namespace, e)
}

// Delete implements store.Store.
func (m *Memory) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return m.write(ctx, namespace, store.Entry{Info: store.Info{Key: key, Revision: revision, Deleted: true}})
}

// PutAll implements store.Store.
func (m *Memory) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	outcomes := make([]error, len(entries))
	failed := false
	for i, e := range entries {
		outcomes[i] = m.write(ctx, namespace, e)
		failed = failed || outcomes[i] != nil
	}
	if !failed {
		return nil
	}
	return outcomes
}

func (m *Memory) write(ctx context.Context, namespace string, e store.Entry) error {
	if err := e.Check(namespace); err != nil {
		return err
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	if old, ok := m.spaces[namespace][e.Key]; ok {
		if write, err := e.Over(namespace, old.Info); !write {
			return err
		}
	}
	if e.Deleted {
		e = store.Entry{Info: e.Tombstone(m.now())}
	}
	if m.spaces[namespace] == nil {
		m.spaces[namespace] = map[string]store.Entry{}
	}
	e.Size = int64(len(e.Value))
	m.spaces[namespace][e.Key] = clone(e)
	return nil
}

// Get implements store.Store.
func (m *Memory) Get(ctx context.Context, namespace, key string) (store.Entry, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Entry{}, err
	}
	if err := m.begin(ctx); err != nil {
		return store.Entry{}, err
	}
	defer m.mu.Unlock()
	e, ok := m.spaces[namespace][key]
	if !ok || e.Deleted || e.Expired(m.now()) {
		return store.Entry{}, store.ErrNotFound
	}
	return clone(e), nil
}

// Stat implements store.Store.
func (m *Memory) Stat(ctx context.Context, namespace, key string) (store.Info, error) {
	e, err := m.Get(ctx, namespace, key)
	return e.Info, err
}

// List implements store.Store.
func (m *Memory) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		infos, err := m.list(ctx, namespace, o)
		for _, i := range infos {
			if err = ctx.Err(); err != nil {
				break
			}
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(store.Info{}, err)
		}
	}
}

func (m *Memory) list(ctx context.Context, namespace string, o store.ListOptions) ([]store.Info, error) {
	if err := store.CheckNamespace(namespace); err != nil {
		return nil, err
	}
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	var infos []store.Info
	for _, key := range slices.Sorted(maps.Keys(m.spaces[namespace])) {
		e := clone(m.spaces[namespace][key])
		if strings.HasPrefix(key, o.Prefix) && key > o.After && (o.Deleted || !e.Deleted) && !e.Expired(m.now()) {
			infos = append(infos, e.Info)
		}
	}
	return infos, nil
}

// Namespaces implements store.Store.
func (m *Memory) Namespaces(ctx context.Context) ([]string, error) {
	if err := m.begin(ctx); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.spaces)), nil
}

// Drop implements store.Store.
func (m *Memory) Drop(ctx context.Context, namespace string) error {
	if err := store.CheckNamespace(namespace); err != nil {
		return err
	}
	if err := m.begin(ctx); err != nil {
		return err
	}
	defer m.mu.Unlock()
	delete(m.spaces, namespace)
	return nil
}

// Sweep implements store.Store.
func (m *Memory) Sweep(ctx context.Context, namespace string) (int, error) {
	if err := store.CheckNamespace(namespace); err != nil {
		return 0, err
	}
	if err := m.begin(ctx); err != nil {
		return 0, err
	}
	defer m.mu.Unlock()
	n := 0
	for key, e := range m.spaces[namespace] {
		switch now := m.now(); {
		case e.Expired(now):
			m.spaces[namespace][key] = store.Entry{Info: e.Tombstone(now)}
			n++
		case e.Deleted && !now.Before(e.Expires):
			delete(m.spaces[namespace], key)
			n++
		}
	}
	return n, nil
}

// Close implements store.Store.
func (m *Memory) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	return nil
}

func clone(e store.Entry) store.Entry {
	e.Value, e.Labels, e.Extra = slices.Clone(e.Value), maps.Clone(e.Labels), maps.Clone(e.Extra)
	return e
}
