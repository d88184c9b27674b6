package s3

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/objects"
	"github.com/millrace/millrace/store/internal/record"
)

const (
	// createBytes is how large a copy may be that is written as a new object at first, without a look whether there is one.
	createBytes = 64 << 10
	// changes is how often a call begins anew because another writer came first.
	changes = 1000
	// sealLife is how long writers leave a seal alone, and removeTime how long the sweep that made it may take to remove it.
	sealLife   = time.Minute
	removeTime = 20 * time.Second
	// sealWait is how long a write waits for a seal to be removed.
	sealWait, sealPoll = 2 * time.Second, 20 * time.Millisecond
)

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, namespace string, e store.Entry) error {
	if err := e.Check(namespace); err != nil {
		return err
	}
	if err := s.enter(ctx, namespace); err != nil {
		return err
	}
	defer s.gate.Leave()
	if e.Deleted {
		e = store.Entry{Info: e.Tombstone(s.c.Now())}
	}
	err := s.write(ctx, namespace, e.Info, record.Encode(e))
	if err != nil && !errors.Is(err, store.ErrStale) {
		err = fmt.Errorf("write %s: %w", quote(namespace, e.Key), ended(ctx, err))
	}
	return err
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return s.Put(ctx, namespace, store.Entry{Info: store.Info{Key: key, Revision: revision, Deleted: true}})
}

// PutAll implements store.Store. As many entries are under way at a time as the store may have requests.
func (s *Store) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	return objects.PutAll(entries, s.c.Calls, func(e store.Entry) error { return s.Put(ctx, namespace, e) })
}

// write stores the bytes b of a copy, unless what is stored is newer.
func (s *Store) write(ctx context.Context, namespace string, i store.Info, b []byte) error {
	object := s.object(namespace, i.Key)
	look := len(b) > createBytes
	for range changes {
		etag := ""
		if look {
			h, tag, err := s.unsealed(ctx, object)
			switch {
			case errors.Is(err, store.ErrNotFound):
			case err != nil:
				return err
			default:
				if err := h.CheckKey(i.Key); err != nil {
					return err
				}
				if write, err := i.Over(namespace, h.Info); !write {
					return err
				}
				etag = tag
			}
		}
		if _, err := s.put(ctx, object, b, etag); !errors.Is(err, errChanged) {
			return failed(ctx, "write", err)
		}
		look = true
	}
	return fmt.Errorf("%w: other writers came first %d times", store.ErrUnavailable, changes)
}

// unsealed is head, which waits for the removal of a seal.
func (s *Store) unsealed(ctx context.Context, object string) (record.Head, string, error) {
	for began := time.Now(); ; {
		h, etag, err := s.head(ctx, object)
		if err != nil || !h.Sealed || !s.c.Now().Before(h.Expires) {
			return h, etag, err
		}
		if time.Since(began) > sealWait {
			return h, "", fmt.Errorf("%w: its tombstone is being swept", store.ErrUnavailable)
		}
		timer := time.NewTimer(sealPoll)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return h, "", ctx.Err()
		}
	}
}

// Drop implements store.Store.
func (s *Store) Drop(ctx context.Context, namespace string) error {
	what := "drop namespace " + namespace
	var names []minio.ObjectInfo
	remove := func() error {
		ctx, done, err := s.request(ctx)
		if err != nil {
			return err
		}
		defer done()
		results, err := s.client.RemoveObjectsWithIter(ctx, s.c.Bucket, slices.Values(names), minio.RemoveObjectsOptions{})
		if err != nil {
			return failed(ctx, what, err)
		}
		for r := range results {
			if err := failed(ctx, what+": remove "+r.ObjectName, r.Err); err != nil && !errors.Is(err, store.ErrNotFound) {
				return err
			}
		}
		names = names[:0]
		return nil
	}
	for object, err := range s.names(ctx, namespace, s.c.Prefix+namespace+"/", "", true) {
		if err != nil {
			return err
		}
		names = append(names, minio.ObjectInfo{Key: object})
		// As many as a request may have.
		if len(names) == 1000 {
			if err := remove(); err != nil {
				return ended(ctx, err)
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := remove(); err != nil {
		return ended(ctx, err)
	}
	return nil
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, namespace string) (int, error) {
	swept := 0
	var old []string
	flush := func() error {
		var mu sync.Mutex
		var failed error
		objects.Each(len(old), s.c.Calls, func(i int) {
			done, err := s.sweepOne(ctx, s.c.Prefix+namespace+"/"+old[i])
			mu.Lock()
			defer mu.Unlock()
			if done {
				swept++
			}
			if failed == nil && err != nil {
				failed = fmt.Errorf("sweep object %s/%s: %w", namespace, old[i], ended(ctx, err))
			}
		})
		old = old[:0]
		return failed
	}
	for f, err := range s.copies(ctx, namespace, store.ListOptions{}) {
		if err != nil {
			return swept, err
		}
		// What is damaged is left as it is: it may be wanted for a look, and it keeps older revisions away.
		if now := s.c.Now(); f.Err == nil && (f.Expired(now) || f.Deleted && !now.Before(f.Expires)) {
			old = append(old, f.Name)
		}
		if len(old) == 1000 {
			if err := flush(); err != nil {
				return swept, err
			}
		}
	}
	return swept, flush()
}

// sweepOne removes a tombstone, or makes one of an expired value, unless a writer came meanwhile.
func (s *Store) sweepOne(ctx context.Context, object string) (bool, error) {
	h, etag, err := s.head(ctx, object)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	now := s.c.Now()
	switch {
	case h.Expired(now):
		_, err = s.put(ctx, object, record.Encode(store.Entry{Info: h.Tombstone(now)}), etag)
	case h.Deleted && !now.Before(h.Expires):
		h.Sealed, h.Expires = true, now.Add(sealLife)
		if _, err = s.put(ctx, object, record.EncodeHead(h, nil), etag); err == nil {
			err = s.remove(ctx, object)
		}
	default:
		return false, nil
	}
	if errors.Is(err, errChanged) {
		return false, nil
	}
	return err == nil, failed(ctx, "sweep", err)
}

// remove removes an object that this store has sealed just now.
func (s *Store) remove(ctx context.Context, object string) error {
	ctx, done, err := s.request(ctx)
	if err != nil {
		return err
	}
	defer done()
	ctx, stop := context.WithTimeout(ctx, removeTime)
	defer stop()
	return s.client.RemoveObject(ctx, s.c.Bucket, object, minio.RemoveObjectOptions{})
}
