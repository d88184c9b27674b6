package disk

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/record"
)

// commitBytes is how much of a batch is written at a time.
const commitBytes = 16 << 20

// The keys of Pebble: a letter, the namespace, a zero byte, and the key. Header and metadata stand apart from the value, so that a list and
// the look before a write read no values. A value is kept in parts, because Pebble reads, checks and decodes whole blocks: one large value
// would be read with each small one beside it. The first part has the key like the header, the others as partKey says.
const (
	headKey  = 'h'
	valueKey = 'v'
	restKey  = 'w'
)

// partBytes is how long a part of a value is, but the last.
const partBytes = 32 << 10

// parts is how many parts a value has.
func parts(size int64) int { return int((size + partBytes - 1) / partBytes) }

// partKey is the key of a value's n-th part. The key of the entry has its length before it, so that no two entries have one in common.
func partKey(namespace, key string, n int) []byte {
	if n == 0 {
		return rawKey(valueKey, namespace, key)
	}
	b := make([]byte, 0, 8+len(namespace)+len(key))
	b = append(append(append(b, restKey), namespace...), 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	return binary.BigEndian.AppendUint32(append(b, key...), uint32(n))
}

func rawKey(kind byte, namespace, key string) []byte {
	b := make([]byte, 0, 2+len(namespace)+len(key))
	b = append(b, kind)
	b = append(b, namespace...)
	b = append(b, 0)
	return append(b, key...)
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, namespace string, e store.Entry) error {
	return only(s.PutAll(ctx, namespace, []store.Entry{e}))
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return only(s.PutAll(ctx, namespace, []store.Entry{{Info: store.Info{Key: key, Revision: revision, Deleted: true}}}))
}

func only(outcomes []error) error {
	if outcomes == nil {
		return nil
	}
	return outcomes[0]
}

// PutAll implements store.Store. The entries become one write with one sync, or a few where they are large.
func (s *Store) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	outcomes := make([]error, len(entries))
	for from := 0; from < len(entries); {
		to, bytes := from, 0
		for to < len(entries) && (to == from || bytes+len(entries[to].Value) <= commitBytes) {
			bytes += len(entries[to].Value)
			to++
		}
		s.putSome(ctx, namespace, entries[from:to], bytes, outcomes[from:to])
		from = to
	}
	if slices.ContainsFunc(outcomes, func(err error) bool { return err != nil }) {
		return outcomes
	}
	return nil
}

// putSome writes entries at once and sets their outcomes.
func (s *Store) putSome(ctx context.Context, namespace string, entries []store.Entry, bytes int, outcomes []error) {
	fail := func(err error) {
		for i := range outcomes {
			if outcomes[i] == nil {
				outcomes[i] = err
			}
		}
	}
	for i, e := range entries {
		outcomes[i] = e.Check(namespace)
	}
	if err := s.enter(ctx); err != nil {
		fail(err)
		return
	}
	defer s.gate.Leave()
	keys := make([]string, len(entries))
	removing := true
	for i, e := range entries {
		keys[i] = e.Key
		removing = removing && e.Deleted
	}
	if err := s.Present(); err != nil {
		fail(err)
		return
	}
	// Deletes make room in the end, so that a full disk does not refuse them.
	if !removing {
		if err := s.hasRoom(bytes); err != nil {
			fail(err)
			return
		}
	}
	defer s.lock(namespace, keys)()
	batch := s.db.NewBatchWithSize(bytes + 1024*len(entries))
	defer batch.Close()
	written := map[string]store.Info{}
	for i, e := range entries {
		if outcomes[i] != nil {
			continue
		}
		old, ok := written[e.Key]
		if !ok {
			h, err := s.head(s.db, namespace, e.Key)
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				outcomes[i] = err
				continue
			}
			old = h.Info
		}
		write, err := e.Over(namespace, old)
		if !write {
			outcomes[i] = err
			continue
		}
		if e.Deleted {
			e = store.Entry{Info: e.Tombstone(s.c.Now())}
		}
		e.Size = int64(len(e.Value))
		if err := set(batch, namespace, e, old.Size); err != nil {
			outcomes[i] = s.failed("write "+quote(namespace, e.Key), err)
			continue
		}
		written[e.Key] = e.Info
	}
	if batch.Empty() {
		return
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		fail(s.failed("write to namespace "+namespace, err))
	}
}

// set adds an entry or tombstone to a batch, in place of a copy whose value had a size.
func set(batch *pebble.Batch, namespace string, e store.Entry, replaces int64) error {
	if err := batch.Set(rawKey(headKey, namespace, e.Key), record.EncodeHead(record.Head{Info: e.Info}, e.Value), nil); err != nil {
		return err
	}
	n := 0
	for part := range slices.Chunk(e.Value, partBytes) {
		if err := batch.Set(partKey(namespace, e.Key, n), part, nil); err != nil {
			return err
		}
		n++
	}
	for ; n < parts(replaces); n++ {
		if err := batch.Delete(partKey(namespace, e.Key, n), nil); err != nil {
			return err
		}
	}
	return nil
}

// lock locks keys for writing, in the order of their stripes, and returns what unlocks them.
func (s *Store) lock(namespace string, keys []string) (unlock func()) {
	stripes := make([]int, len(keys))
	for i, key := range keys {
		var h maphash.Hash
		h.SetSeed(s.seed)
		_, _ = h.WriteString(namespace)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(key)
		stripes[i] = int(h.Sum64() % uint64(len(s.stripes)))
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	for _, i := range stripes {
		s.stripes[i].Lock()
	}
	return func() {
		for _, i := range stripes {
			s.stripes[i].Unlock()
		}
	}
}

// Drop implements store.Store.
func (s *Store) Drop(ctx context.Context, namespace string) error {
	if err := store.CheckNamespace(namespace); err != nil {
		return err
	}
	if err := s.enter(ctx); err != nil {
		return err
	}
	defer s.gate.Leave()
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, kind := range []byte{headKey, valueKey, restKey} {
		if err := batch.DeleteRange(rawKey(kind, namespace, ""), behind(kind, namespace), nil); err != nil {
			return s.failed("drop namespace "+namespace, err)
		}
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return s.failed("drop namespace "+namespace, err)
	}
	return nil
}

// behind is what stands behind all keys of a namespace.
func behind(kind byte, namespace string) []byte {
	b := rawKey(kind, namespace, "")
	b[len(b)-1] = 1
	return b
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, namespace string) (int, error) {
	swept := 0
	for page, err := range s.pages(ctx, namespace, store.ListOptions{}) {
		if err != nil {
			return swept, err
		}
		var keys []string
		now := s.c.Now()
		for _, f := range page {
			// What is damaged is left as it is: it may be wanted for a look, and it keeps older revisions away.
			if f.err == nil && (f.Expired(now) || f.Deleted && !now.Before(f.Expires)) {
				keys = append(keys, f.Key)
			}
		}
		if len(keys) == 0 {
			continue
		}
		n, err := s.sweepSome(ctx, namespace, keys)
		swept += n
		if err != nil {
			return swept, err
		}
	}
	return swept, nil
}

func (s *Store) sweepSome(ctx context.Context, namespace string, keys []string) (int, error) {
	if err := s.enter(ctx); err != nil {
		return 0, err
	}
	defer s.gate.Leave()
	defer s.lock(namespace, keys)()
	batch := s.db.NewBatch()
	defer batch.Close()
	swept := 0
	for _, key := range keys {
		h, err := s.head(s.db, namespace, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		} else if err != nil {
			return 0, err
		}
		switch now := s.c.Now(); {
		case h.Expired(now):
			err = set(batch, namespace, store.Entry{Info: h.Tombstone(now)}, h.Size)
		case h.Deleted && !now.Before(h.Expires):
			err = batch.Delete(rawKey(headKey, namespace, key), nil)
		default:
			continue
		}
		if err != nil {
			return 0, s.failed("sweep "+quote(namespace, key), err)
		}
		swept++
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return 0, s.failed("sweep namespace "+namespace, err)
	}
	return swept, nil
}

func quote(namespace, key string) string { return fmt.Sprintf("%s/%q", namespace, key) }
