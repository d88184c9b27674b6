package archive

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace/millrace/store"
)

// Damaged is a copy that cannot be read.
type Damaged struct {
	Cache, Key string
	Err        error
	// Header says that the copy's header is damaged, which keeps the key from being written too.
	Header bool
}

// Advice says what can be done about it.
func (d Damaged) Advice() string {
	if d.Header {
		return "it keeps the key from being written: remove this object from the store by its own tools, then put the entry again"
	}
	return "put the entry again, or remove it: a newer revision takes its place"
}

// Verified is what a store was found to have.
type Verified struct {
	Entries    int64 `json:"entries"`
	Bytes      int64 `json:"bytes"`
	Tombstones int64 `json:"tombstones"`
	Damaged    int64 `json:"damaged"`
}

// Verify reads every copy of a store, or of one cache, and holds it against its checksums; what the store keeps of its grid too, which is not counted. Damaged is called with each that fails, and progress,
// which may be nil, with each that was read.
func Verify(ctx context.Context, s store.Store, cache string, damaged func(Damaged), progress func(Progress)) (out Verified, err error) {
	namespaces := []string{cache}
	if cache == "" {
		if namespaces, err = s.Namespaces(ctx); err != nil {
			return out, err
		}
	}
	for _, namespace := range namespaces {
		for e, err := range entries(ctx, s, namespace, store.ListOptions{Deleted: true}) {
			switch {
			case errors.Is(err, store.ErrCorrupt):
				out.Damaged++
				_, head := s.Stat(ctx, namespace, e.Key)
				damaged(Damaged{Cache: namespace, Key: e.Key, Err: err, Header: errors.Is(head, store.ErrCorrupt)})
				continue
			case err != nil:
				return out, fmt.Errorf("read cache %s: %w", namespace, err)
			case e.Deleted:
				out.Tombstones++
				continue
			}
			if namespace == store.GridNamespace { // no entries: what the store knows of its grid
				continue
			}
			out.Entries, out.Bytes = out.Entries+1, out.Bytes+int64(len(e.Value))
			if progress != nil {
				progress(Progress{Cache: namespace, Entries: out.Entries, Bytes: out.Bytes})
			}
		}
	}
	return out, ctx.Err()
}
