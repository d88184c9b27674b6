//go:build ceph && cgo

package ceph

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/name"
	"github.com/millrace/millrace/store/internal/objects"
	"github.com/millrace/millrace/store/internal/record"
)

// createBytes is how large a copy may be that is written as a new object at first, without a look whether there is one: for a new key that is one way to
// the cluster in place of two.
const createBytes = 64 << 10

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, namespace string, e store.Entry) error {
	if err := e.Check(namespace); err != nil {
		return err
	}
	if e.Deleted {
		e = store.Entry{Info: e.Tombstone(s.c.Now())}
	}
	// Encoded before the call, which may go on when the caller has its value back.
	b := record.Encode(e)
	return s.write(ctx, namespace, e.Info, b)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, namespace, key string, revision uint64) error {
	return s.Put(ctx, namespace, store.Entry{Info: store.Info{Key: key, Revision: revision, Deleted: true}})
}

// PutAll implements store.Store. As many entries are under way at a time as the store may have calls.
func (s *Store) PutAll(ctx context.Context, namespace string, entries []store.Entry) []error {
	return objects.PutAll(entries, s.c.Calls, func(e store.Entry) error { return s.Put(ctx, namespace, e) })
}

// write stores the bytes b of a copy, unless what is stored is newer.
func (s *Store) write(ctx context.Context, namespace string, i store.Info, b []byte) error {
	_, err := call(ctx, s, namespace, func(io *rados.IOContext) (struct{}, error) {
		return struct{}{}, s.writeOver(ctx, io, namespace, i, b)
	})
	var stale *store.StaleError
	if err != nil && !errors.As(err, &stale) {
		err = fmt.Errorf("write %s: %w", quote(namespace, i.Key), err)
	}
	return err
}

func (s *Store) writeOver(ctx context.Context, io *rados.IOContext, namespace string, i store.Info, b []byte) error {
	object := name.Of(i.Key)
	look := len(b) > createBytes
	buffer := make([]byte, headBytes)
	for range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		version := uint64(0)
		if look {
			h, _, v, err := s.head(io, object, buffer)
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
				version = v
			}
		}
		err := replace(io, object, version, func(op *rados.WriteOp) { op.WriteFull(b) })
		if !errors.Is(err, errChanged) {
			return s.failed("write", err)
		}
		look = true
	}
	return fmt.Errorf("%w: other writers came first %d times", store.ErrUnavailable, changes)
}

// replace changes an object that has a version still, or with version 0 makes one that is not there. It is errChanged where it is otherwise.
func replace(io *rados.IOContext, object string, version uint64, change func(*rados.WriteOp)) error {
	op := rados.CreateWriteOp()
	defer op.Release()
	if version == 0 {
		op.Create(rados.CreateExclusive)
	} else {
		op.AssertVersion(version)
	}
	change(op)
	// A full cluster is to say so: by default librados waits until there is room.
	err := op.Operate(io, object, rados.OperationFullTry)
	if c := code(err); err != nil && (isChanged(err) || version == 0 && c == unix.EEXIST || version != 0 && c == unix.ENOENT) {
		return errChanged
	}
	return err
}

// Drop implements store.Store.
func (s *Store) Drop(ctx context.Context, namespace string) error {
	if err := store.CheckNamespace(namespace); err != nil {
		return err
	}
	for {
		// As many names as fit into memory at a time, until there are none.
		page, err := scan(ctx, s, namespace, &[]string{}, func(page *[]string, _, object string) {
			if len(*page) < s.page {
				*page = append(*page, object)
			}
		})
		if err != nil {
			return fmt.Errorf("drop namespace %s: %w", namespace, err)
		}
		if len(*page) == 0 {
			return nil
		}
		var failed firstError
		objects.Each(len(*page), s.c.Calls, func(i int) {
			if failed.get() != nil {
				return
			}
			_, err := call(ctx, s, namespace, func(io *rados.IOContext) (struct{}, error) {
				err := io.Delete((*page)[i])
				if code(err) == unix.ENOENT {
					err = nil
				}
				return struct{}{}, s.failed("remove object "+(*page)[i], err)
			})
			failed.set(err)
		})
		if err := failed.get(); err != nil {
			return fmt.Errorf("drop namespace %s: %w", namespace, err)
		}
	}
}

// Sweep implements store.Store.
func (s *Store) Sweep(ctx context.Context, namespace string) (int, error) {
	var old []objects.Found
	var swept atomic.Int64
	var failed firstError
	flush := func() {
		objects.Each(len(old), s.c.Calls, func(i int) {
			done, err := s.sweepOne(ctx, namespace, old[i].Name)
			if done {
				swept.Add(1)
			}
			failed.set(err)
		})
		old = old[:0]
	}
	for f, err := range s.copies(ctx, namespace, store.ListOptions{}) {
		if err != nil {
			return int(swept.Load()), err
		}
		// What is damaged is left as it is: it may be wanted for a look, and it keeps older revisions away.
		if now := s.c.Now(); f.Err == nil && (f.Expired(now) || f.Deleted && !now.Before(f.Expires)) {
			old = append(old, f)
		}
		if len(old) == pageNames/16 {
			flush()
		}
		if err := failed.get(); err != nil {
			break
		}
	}
	flush()
	return int(swept.Load()), failed.get()
}

// sweepOne removes a tombstone, or makes one of an expired value, unless a writer came meanwhile.
func (s *Store) sweepOne(ctx context.Context, namespace, object string) (bool, error) {
	done, err := call(ctx, s, namespace, func(io *rados.IOContext) (bool, error) {
		h, _, version, err := s.head(io, object, make([]byte, headBytes))
		if errors.Is(err, store.ErrNotFound) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		switch now := s.c.Now(); {
		case h.Expired(now):
			b := record.Encode(store.Entry{Info: h.Tombstone(now)})
			err = replace(io, object, version, func(op *rados.WriteOp) { op.WriteFull(b) })
		case h.Deleted && !now.Before(h.Expires):
			err = replace(io, object, version, (*rados.WriteOp).Remove)
		default:
			return false, nil
		}
		if errors.Is(err, errChanged) {
			return false, nil
		}
		return err == nil, s.failed("sweep", err)
	})
	if err != nil {
		return false, fmt.Errorf("sweep object %s/%s: %w", namespace, object, err)
	}
	return done, nil
}

// firstError keeps the first error of several goroutines.
type firstError struct {
	mu  sync.Mutex
	err error
}

func (f *firstError) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

func (f *firstError) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}
