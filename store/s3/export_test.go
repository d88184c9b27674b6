package s3

import (
	"context"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/record"
)

// Damage changes a byte of the object of a key.
func (s *Store) Damage(ctx context.Context, namespace, key string, head bool) error {
	object := s.object(namespace, key)
	b, etag, err := s.get(ctx, object, 0)
	if err != nil {
		return err
	}
	h, err := record.DecodeHead(b)
	if err != nil {
		return err
	}
	at := len(b) - 1
	if head {
		at = h.Bytes - 1
	}
	b[at] ^= 1
	_, err = s.put(ctx, object, b, etag)
	return err
}

// Seal leaves behind what a sweep does that is killed between its two steps.
func (s *Store) Seal(ctx context.Context, namespace, key string, revision uint64) error {
	h := record.Head{Info: store.Info{Key: key, Revision: revision, Deleted: true, Expires: s.c.Now().Add(time.Minute)}, Sealed: true}
	_, err := s.put(ctx, s.object(namespace, key), record.EncodeHead(h, nil), "")
	return err
}

// Unchecked opens a store without asking the server anything.
func Unchecked(c Config) *Store {
	s, err := dial(c.withDefaults(), false)
	if err != nil {
		panic(err)
	}
	return s
}
