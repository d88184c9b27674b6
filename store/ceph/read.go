//go:build ceph && cgo

package ceph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/name"
	"github.com/millrace/millrace/store/internal/objects"
	"github.com/millrace/millrace/store/internal/record"
)

const (
	// readBytes is what a get reads at first: all of a value that is smaller.
	readBytes = 128 << 10
	// headBytes is what a look at header and metadata reads at first.
	headBytes = 4 << 10
	// pageNames is how many names a list holds: RADOS lists in the order of hashes, so that a namespace with more is gone through once for
	// each so many.
	pageNames = 64 << 10
	// changes is how often a call begins anew because another writer came first.
	changes = 1000
)

// errChanged says that another writer came between two steps of a call.
var errChanged = errors.New("changed meanwhile")

// read reads into b from an offset on. Where version is not 0, the object has to have it still, else it is errChanged.
func read(io *rados.IOContext, object string, b []byte, offset, version uint64) (int, error) {
	if version == 0 {
		return io.Read(object, b, offset)
	}
	op := rados.CreateReadOp()
	defer op.Release()
	op.AssertVersion(version)
	step := op.Read(offset, b)
	if err := op.Operate(io, object, rados.OperationNoFlag); err != nil {
		if isChanged(err) || code(err) == unix.ENOENT {
			return 0, errChanged
		}
		return 0, err
	}
	return int(step.BytesRead), nil
}

// isChanged reports whether an operation failed because the object has another version than it was to have.
func isChanged(err error) bool {
	c := code(err)
	return c == unix.ERANGE || c == unix.EOVERFLOW
}

// head reads header and metadata of an object, and which version it has. It is store.ErrNotFound where there is no object. What it read beyond them is rest.
func (s *Store) head(io *rados.IOContext, object string, b []byte) (h record.Head, rest []byte, version uint64, err error) {
	for range changes {
		h, rest, version, err = headOnce(io, object, b)
		if !errors.Is(err, errChanged) {
			break
		}
	}
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		err = s.failed("read", err)
	}
	return h, rest, version, err
}

func headOnce(io *rados.IOContext, object string, b []byte) (record.Head, []byte, uint64, error) {
	n, err := io.Read(object, b, 0)
	if err != nil {
		return record.Head{}, nil, 0, err
	}
	version, err := io.GetLastVersion()
	if err != nil {
		return record.Head{}, nil, 0, err
	}
	b = b[:n]
	need, err := record.HeadBytes(b)
	if err != nil {
		return record.Head{}, nil, version, err
	}
	if need > n && n == cap(b) {
		more := make([]byte, need-n)
		m, err := read(io, object, more, uint64(n), version)
		if err != nil {
			return record.Head{}, nil, 0, err
		}
		b = append(b, more[:m]...)
	}
	h, err := record.DecodeHead(b)
	if err != nil {
		return record.Head{}, nil, version, err
	}
	return h, b[h.Bytes:], version, nil
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, namespace, key string) (store.Entry, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Entry{}, err
	}
	return call(ctx, s, namespace, func(io *rados.IOContext) (e store.Entry, err error) {
		for range changes {
			e, err = s.get(io, key)
			if !errors.Is(err, errChanged) {
				break
			}
		}
		if err != nil {
			err = fmt.Errorf("get %s: %w", quote(namespace, key), err)
		}
		return e, err
	})
}

func (s *Store) get(io *rados.IOContext, key string) (store.Entry, error) {
	b := buffers.Get().(*[]byte)
	defer buffers.Put(b)
	object := name.Of(key)
	h, rest, version, err := s.head(io, object, *b)
	if err == nil {
		err = h.CheckKey(key)
	}
	if err != nil {
		return store.Entry{}, err
	}
	if h.Deleted || h.Expired(s.c.Now()) {
		return store.Entry{}, store.ErrNotFound
	}
	var value []byte
	if missing := int(h.Size) - len(rest); missing > 0 && h.Bytes+len(rest) >= readBytes {
		value = make([]byte, h.Size)
		n, err := read(io, object, value[copy(value, rest):], uint64(h.Bytes+len(rest)), version)
		if errors.Is(err, errChanged) {
			return store.Entry{}, err
		} else if err != nil {
			return store.Entry{}, s.failed("read", err)
		}
		value = value[:len(rest)+n]
	} else {
		value = bytes.Clone(rest)
	}
	if err := h.CheckValue(value); err != nil {
		return store.Entry{}, err
	}
	return store.Entry{Info: h.Info, Value: value}, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, namespace, key string) (store.Info, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Info{}, err
	}
	return call(ctx, s, namespace, func(io *rados.IOContext) (store.Info, error) {
		h, _, _, err := s.head(io, name.Of(key), make([]byte, headBytes))
		if err == nil {
			err = h.CheckKey(key)
		}
		if err == nil && (h.Deleted || h.Expired(s.c.Now())) {
			err = store.ErrNotFound
		}
		if err != nil {
			return store.Info{}, fmt.Errorf("stat %s: %w", quote(namespace, key), err)
		}
		return h.Info, nil
	})
}

// List implements store.Store. The cluster lists in an order of its own: a list holds the names of up to 65,536 objects, and goes through all of
// the namespace's once for each so many.
func (s *Store) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return objects.List(ctx, s.copies(ctx, namespace, o), o, s.c.Now)
}

// copies gives all copies that o asks for, tombstones and expired ones too.
func (s *Store) copies(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[objects.Found, error] {
	groups := func(yield func([]string, error) bool) {
		if err := store.CheckNamespace(namespace); err != nil {
			yield(nil, err)
			return
		}
		prefix, from := name.Prefix(o.Prefix), ""
		if o.After != "" {
			from = name.Before(o.After)
		}
		for {
			least := from
			page, err := scan(ctx, s, namespace, &objects.Smallest{Max: s.page}, func(page *objects.Smallest, _, object string) {
				if strings.HasPrefix(object, prefix) && object >= least {
					page.Add(object)
				}
			})
			if err != nil {
				yield(nil, fmt.Errorf("list namespace %s: %w", namespace, err))
				return
			}
			groups, next := page.Groups()
			for _, group := range groups {
				if !yield(group, nil) {
					return
				}
			}
			if from = next; next == "" {
				return
			}
		}
	}
	return objects.Read(ctx, groups, s.c.Calls, o, func(ctx context.Context, object string) (store.Info, error) {
		return call(ctx, s, namespace, func(io *rados.IOContext) (store.Info, error) {
			h, _, _, err := s.head(io, object, make([]byte, headBytes))
			if err == nil && name.Of(h.Key) != object {
				err = fmt.Errorf("%w: it is the copy of key %q", store.ErrCorrupt, h.Key)
			}
			if err != nil {
				key, _, _ := name.Key(object)
				return store.Info{}, fmt.Errorf("list %s: %w", quote(namespace, key), err)
			}
			return h.Info, nil
		})
	})
}

// scan goes through the objects of a namespace, in no order, and returns what take has made of them. Where ctx ends before, take goes on for a while
// without the caller, so that it must use nothing but what it is given.
func scan[T any](ctx context.Context, s *Store, namespace string, into *T, take func(into *T, namespace, object string)) (*T, error) {
	return call(ctx, s, namespace, func(io *rados.IOContext) (*T, error) {
		it, err := io.Iter()
		if err != nil {
			return nil, s.failed("list the objects", err)
		}
		defer it.Close()
		for it.Next() {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			take(into, it.Namespace(), it.Value())
		}
		return into, s.failed("list the objects", it.Err())
	})
}

// Namespaces implements store.Store. It goes through the names of all objects of the pool.
func (s *Store) Namespaces(ctx context.Context) ([]string, error) {
	seen, err := scan(ctx, s, rados.AllNamespaces, &map[string]bool{}, func(seen *map[string]bool, namespace, _ string) {
		(*seen)[namespace] = true
	})
	if err != nil {
		return nil, err
	}
	var all []string
	for n := range *seen {
		// The pool's own objects are in the namespace without a name.
		if store.CheckNamespace(n) == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func quote(namespace, key string) string { return fmt.Sprintf("%s/%q", namespace, key) }
