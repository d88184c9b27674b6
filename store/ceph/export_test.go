//go:build ceph && cgo

package ceph

import (
	"context"

	"github.com/ceph/go-ceph/rados"

	"github.com/millrace/millrace/store/internal/name"
	"github.com/millrace/millrace/store/internal/record"
)

// Damage changes a byte of the object of a key.
func (s *Store) Damage(ctx context.Context, namespace, key string, head bool) error {
	_, err := call(ctx, s, namespace, func(io *rados.IOContext) (struct{}, error) {
		b := make([]byte, 1<<20)
		n, err := io.Read(name.Of(key), b, 0)
		if err != nil {
			return struct{}{}, err
		}
		h, err := record.DecodeHead(b[:n])
		if err != nil {
			return struct{}{}, err
		}
		at := n - 1
		if head {
			at = h.Bytes - 1
		}
		return struct{}{}, io.Write(name.Of(key), []byte{b[at] ^ 1}, uint64(at))
	})
	return err
}

// SetPage sets how many names a list holds.
func (s *Store) SetPage(n int) { s.page = n }

// Raw calls do with a context of librados in a namespace: what a program without a store would use.
func (s *Store) Raw(ctx context.Context, namespace string, do func(*rados.IOContext) error) error {
	_, err := call(ctx, s, namespace, func(io *rados.IOContext) (struct{}, error) { return struct{}{}, do(io) })
	return err
}
