package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/name"
	"github.com/millrace/millrace/store/internal/objects"
	"github.com/millrace/millrace/store/internal/record"
)

// headBytes is what a look at header and metadata asks for at first.
const headBytes = 4 << 10

func (s *Store) object(namespace, key string) string {
	return s.c.Prefix + namespace + "/" + name.Of(key)
}

// head reads header and metadata of an object, and its ETag.
func (s *Store) head(ctx context.Context, object string) (record.Head, string, error) {
	for limit := headBytes; ; limit = record.MaxHeadBytes {
		b, etag, err := s.get(ctx, object, limit)
		if err != nil {
			return record.Head{}, "", err
		}
		need, err := record.HeadBytes(b)
		if err == nil && need > len(b) && limit < record.MaxHeadBytes {
			continue
		}
		h, err := record.DecodeHead(b)
		return h, etag, err
	}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, namespace, key string) (store.Entry, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Entry{}, err
	}
	if err := s.enter(ctx, namespace); err != nil {
		return store.Entry{}, err
	}
	defer s.gate.Leave()
	b, _, err := s.get(ctx, s.object(namespace, key), 0)
	var e store.Entry
	if err == nil {
		e, err = record.Decode(b, key)
	}
	if err == nil && (e.Deleted || e.Expired(s.c.Now())) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Entry{}, fmt.Errorf("get %s: %w", quote(namespace, key), ended(ctx, err))
	}
	return e, nil
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, namespace, key string) (store.Info, error) {
	if err := store.CheckKey(namespace, key); err != nil {
		return store.Info{}, err
	}
	if err := s.enter(ctx, namespace); err != nil {
		return store.Info{}, err
	}
	defer s.gate.Leave()
	h, _, err := s.head(ctx, s.object(namespace, key))
	if err == nil {
		err = h.CheckKey(key)
	}
	if err == nil && (h.Deleted || h.Expired(s.c.Now())) {
		err = store.ErrNotFound
	}
	if err != nil {
		return store.Info{}, fmt.Errorf("stat %s: %w", quote(namespace, key), ended(ctx, err))
	}
	return h.Info, nil
}

// ended adds that the context has, where it has: a request that is cut off then has an error of its own.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(err, ctx.Err()) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	return err
}

// List implements store.Store. Each entry costs a request, beside those for the names.
func (s *Store) List(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[store.Info, error] {
	return objects.List(ctx, s.copies(ctx, namespace, o), o, s.c.Now)
}

// copies gives all copies that o asks for, tombstones and expired ones too.
func (s *Store) copies(ctx context.Context, namespace string, o store.ListOptions) iter.Seq2[objects.Found, error] {
	folder := s.c.Prefix + namespace + "/"
	after := ""
	if o.After != "" {
		after = folder + name.Before(o.After)
	}
	names := func(yield func(string, error) bool) {
		for object, err := range s.names(ctx, namespace, folder+name.Prefix(o.Prefix), after, true) {
			if !yield(strings.TrimPrefix(object, folder), err) {
				return
			}
		}
	}
	return objects.Read(ctx, objects.Groups(names), s.c.Calls, o, func(ctx context.Context, n string) (store.Info, error) {
		h, _, err := s.head(ctx, folder+n)
		if err == nil && name.Of(h.Key) != n {
			err = fmt.Errorf("%w: it is the copy of key %q", store.ErrCorrupt, h.Key)
		}
		if err != nil {
			key, _, _ := name.Key(n)
			return store.Info{}, fmt.Errorf("list %s: %w", quote(namespace, key), ended(ctx, err))
		}
		return h.Info, nil
	})
}

// names gives the names of objects that begin with prefix and come after another one, by name; those below a further / as one.
func (s *Store) names(ctx context.Context, namespace, prefix, after string, all bool) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		check := namespace
		if !all {
			check = "any"
		}
		if err := s.enter(ctx, check); err != nil {
			yield("", err)
			return
		}
		// The list ends with its caller's loop: a caller that closes the store in the loop would wait for itself.
		s.gate.Leave()
		no := false
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		for info := range s.client.ListObjectsIter(ctx, s.c.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: all, StartAfter: after, FetchOwner: &no}) {
			if info.Err != nil {
				yield("", ended(ctx, failed(ctx, "list namespace "+namespace, info.Err)))
				return
			}
			if !yield(info.Key, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield("", err)
		}
	}
}

// Namespaces implements store.Store.
func (s *Store) Namespaces(ctx context.Context) ([]string, error) {
	var all []string
	for folder, err := range s.names(ctx, "", s.c.Prefix, "", false) {
		if err != nil {
			return nil, err
		}
		n, ok := strings.CutSuffix(strings.TrimPrefix(folder, s.c.Prefix), "/")
		if ok && store.CheckNamespace(n) == nil {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return all, nil
}

func quote(namespace, key string) string { return fmt.Sprintf("%s/%q", namespace, key) }
