package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/millrace/millrace/store"
)

// ErrOtherGrid says that an archive and a store have entries of two grids, whose revisions cannot be compared.
var ErrOtherGrid = errors.New("the archive is of another grid")

const (
	// importEntries and importBytes are how much is stored together; a value that is larger goes alone.
	importEntries = 256
	importBytes   = 8 << 20
)

// Imported is what became of an archive.
type Imported struct {
	// Entries are in the store now, or were there before.
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Newer are those of which the store has a newer revision, or that were removed: they stay as they are in the store.
	Newer int64 `json:"newer"`
	// Expired are those whose time was over.
	Expired int64 `json:"expired"`
}

// Import stores what an archive has, and never in place of a newer revision. It can be cut short and made again: what is there is not
// written twice. A store that is nobody's notes of which grid the entries are; one that has entries of another grid is refused with an
// ErrOtherGrid. Progress, which may be nil, is called now and then with what was read.
func Import(ctx context.Context, s store.Store, in io.Reader, progress func(Progress, int64)) (out Imported, err error) {
	r, err := NewReader(in)
	if err != nil {
		return out, err
	}
	if err := fits(ctx, s, r.Head().Grid); err != nil {
		return out, err
	}
	i := importer{s: s, out: &out}
	for {
		cache, e, err := r.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			// What was good stays.
			return out, errors.Join(err, i.flush(ctx))
		}
		if err != nil {
			return out, i.flush(ctx)
		}
		if err := i.add(ctx, cache, e); err != nil {
			return out, err
		}
		if progress != nil {
			progress(Progress{Cache: cache, Entries: r.seen.Entries, Bytes: r.seen.Bytes}, r.Offset())
		}
	}
}

// fits refuses a store that has entries of another grid, and notes whose they are in one that has none.
func fits(ctx context.Context, s store.Store, grid string) error {
	owner, err := store.ReadOwner(ctx, s)
	if err != nil {
		return err
	}
	have := owner.Of()
	if have == grid {
		return nil
	}
	if have == "" {
		empty, err := store.IsEmpty(ctx, s)
		if err != nil {
			return err
		}
		if empty {
			return store.SetFrom(ctx, s, grid)
		}
		have = "nobody knows which"
	}
	if grid == "" {
		grid = "nobody knows which"
	}
	return fmt.Errorf("%w: it is of %s, and the store's entries are of %s; revisions of two grids cannot be compared: import into an empty store", ErrOtherGrid, grid, have)
}

// importer gathers entries of one cache.
type importer struct {
	s     store.Store
	cache string
	some  []store.Entry
	bytes int64
	out   *Imported
}

func (i *importer) add(ctx context.Context, cache string, e store.Entry) error {
	if e.Expired(time.Now()) {
		i.out.Expired++
		return nil
	}
	size := int64(len(e.Value))
	if cache != i.cache || len(i.some) == importEntries || i.bytes+size > importBytes {
		if err := i.flush(ctx); err != nil {
			return err
		}
	}
	i.cache, i.some, i.bytes = cache, append(i.some, e), i.bytes+size
	return nil
}

func (i *importer) flush(ctx context.Context) error {
	if len(i.some) == 0 {
		return nil
	}
	outcomes := i.s.PutAll(ctx, i.cache, i.some)
	for n, e := range i.some {
		var err error
		if outcomes != nil {
			err = outcomes[n]
		}
		switch {
		case err == nil:
			i.out.Entries, i.out.Bytes = i.out.Entries+1, i.out.Bytes+int64(len(e.Value))
		case errors.Is(err, store.ErrStale):
			i.out.Newer++
		default:
			return fmt.Errorf("store %s: %w", quote(i.cache, e.Key), err)
		}
	}
	clear(i.some)
	i.some, i.bytes = i.some[:0], 0
	return nil
}
