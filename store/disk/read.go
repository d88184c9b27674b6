package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/record"
)

// pageEntries is how many entries of a list are read at a time; nothing is held open while they are given out.
const pageEntries = 512

// head reads header and metadata of a key; ErrNotFound where there is no copy at all.
func (s *Store) head(from pebble.Reader, namespace, key string) (record.Head, error) {
	b, done, err := from.Get(rawKey(headKey, namespace, key))
	if errors.Is(err, pebble.ErrNotFound) {
		return record.Head{}, fmt.Errorf("%w: %s", store.ErrNotFound, quote(namespace, key))
	} else if err != nil {
		return record.Head{}, s.failed("read "+quote(namespace, key), err)
	}
	h, err := parse(b, key)
	if err != nil {
		err = s.failed("read "+quote(namespace, key), err)
	}
	return h, errors.Join(err, done.Close())
}

func parse(b []byte, key string) (record.Head, error) {
	h, err := record.DecodeHead(b)
	if err == nil {
		err = h.CheckKey(key)
	}
	return h, err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, namespace, key string) (store.Entry, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Entry{}, err
	}
	if err := s.enter(ctx); err != nil {
		return store.Entry{}, err
	}
	defer s.gate.Leave()
	// Head and value have to be of the same moment.
	snapshot := s.db.NewSnapshot()
	defer snapshot.Close()
	h, err := s.live(snapshot, namespace, key)
	if err != nil {
		return store.Entry{}, err
	}
	value, err := s.value(snapshot, namespace, key, h.Size)
	if err != nil {
		return store.Entry{}, err
	}
	if err := h.CheckValue(value); err != nil {
		return store.Entry{}, s.failed("read "+quote(namespace, key), err)
	}
	return store.Entry{Info: h.Info, Value: value}, nil
}

// value reads the parts of a value. One that is missing is noticed by the checksum of the whole.
func (s *Store) value(from pebble.Reader, namespace, key string, size int64) ([]byte, error) {
	if size <= 0 {
		return nil, nil
	}
	value := make([]byte, 0, min(size, store.MaxValueBytes))
	for n := range parts(size) {
		b, done, err := from.Get(partKey(namespace, key, n))
		if errors.Is(err, pebble.ErrNotFound) {
			break
		} else if err != nil {
			return nil, s.failed("read "+quote(namespace, key), err)
		}
		value = append(value, b...)
		if err := done.Close(); err != nil {
			return nil, s.failed("read "+quote(namespace, key), err)
		}
	}
	return value, nil
}

// live is head for a key whose value may be given out.
func (s *Store) live(from pebble.Reader, namespace, key string) (record.Head, error) {
	h, err := s.head(from, namespace, key)
	if err == nil && (h.Deleted || h.Expired(s.c.Now())) {
		err = fmt.Errorf("%w: %s", store.ErrNotFound, quote(namespace, key))
	}
	return h, err
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, namespace, key string) (store.Info, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Info{}, err
	}
	if err := s.enter(ctx); err != nil {
		return store.Info{}, err
	}
	defer s.gate.Leave()
	h, err := s.live(s.db, namespace, key)
	if err != nil {
		return store.Info{}, err
	}
	return h.Info, nil
}

// found is one copy of a page, or why it cannot be read.
type found struct {
	store.Info
	err error
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for page, err := range s.pages(ctx, namespace, o) {
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			for _, f := range page {
				if err := ctx.Err(); err != nil {
					yield(store.Info{}, err)
					return
				}
				if f.err == nil && (f.Deleted && !o.Deleted || f.Expired(s.c.Now())) {
					continue
				}
				if !yield(f.Info, f.err) {
					return
				}
			}
		}
	}
}

// pages gives all copies of a namespace that o asks for, tombstones and expired ones too.
func (s *Store) pages(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[[]found, error] {
	return func(yield func([]found, error) bool) {
		for {
			page, err := s.page(ctx, namespace, o)
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(page, nil) || len(page) < pageEntries {
				return
			}
			o.After = page[len(page)-1].Key
		}
	}
}

func (s *Store) page(ctx context.Context, namespace string, o store.ListOptions) (page []found, err error) {
	if err := store.CheckNamespace(namespace); err != nil {
		return nil, err
	}
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.Leave()
	lower := rawKey(headKey, namespace, o.Prefix)
	if o.After >= o.Prefix && o.After != "" {
		lower = append(rawKey(headKey, namespace, o.After), 0)
	}
	upper := after(rawKey(headKey, namespace, o.Prefix))
	if bytes.Compare(lower, upper) >= 0 {
		return nil, nil
	}
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, s.failed("list namespace "+namespace, err)
	}
	defer func() {
		if closed := it.Close(); err == nil && closed != nil {
			page, err = nil, s.failed("list namespace "+namespace, closed)
		}
	}()
	start := len(rawKey(headKey, namespace, ""))
	for ok := it.First(); ok && len(page) < pageEntries; ok = it.Next() {
		key := string(it.Key()[start:])
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, s.failed("list "+quote(namespace, key), err)
		}
		h, err := parse(value, key)
		if err != nil {
			h.Info, err = store.Info{Key: key}, s.failed("list "+quote(namespace, key), err)
		}
		page = append(page, found{h.Info, err})
	}
	if err := it.Error(); err != nil {
		return nil, s.failed("list namespace "+namespace, err)
	}
	return page, nil
}

// after is the first key behind all that begin with prefix, whose first byte is a letter.
func after(prefix []byte) []byte {
	b := slices.Clone(prefix)
	for b[len(b)-1] == 0xff {
		b = b[:len(b)-1]
	}
	b[len(b)-1]++
	return b
}

// Namespaces implements store.Store.
func (s *Store) Namespaces(ctx context.Context) (names []string, err error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.Leave()
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: []byte{headKey}, UpperBound: []byte{headKey + 1}})
	if err != nil {
		return nil, s.failed("list the namespaces", err)
	}
	defer func() {
		if closed := it.Close(); err == nil && closed != nil {
			names, err = nil, s.failed("list the namespaces", closed)
		}
	}()
	for ok := it.First(); ok; {
		namespace, _, found := bytes.Cut(it.Key()[1:], []byte{0})
		if !found {
			return nil, s.failed("list the namespaces", fmt.Errorf("%w: there is a key %q", store.ErrCorrupt, it.Key()))
		}
		names = append(names, string(namespace))
		ok = it.SeekGE(behind(headKey, string(namespace)))
	}
	if err := it.Error(); err != nil {
		return nil, s.failed("list the namespaces", err)
	}
	// In the order of Pebble's keys a name comes before those that begin with it: that is the order of strings too.
	return names, nil
}
