package backup

import (
	"context"
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace/millrace/grid"
)

// loadRecords and loadBytes bound what is written together.
const (
	loadRecords = 1024
	loadBytes   = 8 << 20
)

// Open reads the manifest of a backup. It is ErrNone, ErrDamaged or ErrNewer.
func Open(ctx context.Context, from Place) (Manifest, error) {
	b, err := from.Get(ctx, ManifestName, maxManifest)
	if err != nil {
		return Manifest{}, err
	}
	return ReadManifest(b)
}

// Verify reads all parts of a backup and holds them against their sums and their form. It returns every fault: ErrDamaged for a part that is missing or not what was
// written.
func Verify(ctx context.Context, from Place, m Manifest, progress func(Progress)) error {
	z, err := newUnpacker()
	if err != nil {
		return err
	}
	defer z.Close()
	var faults []error
	at := begun(m)
	for _, p := range m.Parts {
		err := readPart(ctx, from, p, z, func(grid.Kept) error { return nil })
		switch {
		case errors.Is(err, ErrDamaged):
			faults = append(faults, err)
		case err != nil:
			return err
		}
		at.Records, at.Bytes = at.Records+int64(p.Records), at.Bytes+int64(p.Raw)
		progress(at)
	}
	return errors.Join(faults...)
}

func begun(m Manifest) Progress {
	records, raw, _ := m.Total()
	return Progress{Of: records, OfBytes: raw}
}

// readPart gives the records of a part, which is what the manifest says.
func readPart(ctx context.Context, from Place, p Part, z *zstd.Decoder, take func(grid.Kept) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b, err := from.Get(ctx, p.Name, maxPart)
	if errors.Is(err, ErrNone) {
		return fmt.Errorf("%w: %s is missing: %w", ErrDamaged, p.Name, err)
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", p.Name, err)
	}
	if len(b) != p.Bytes || sum(b) != p.SHA256 {
		return fmt.Errorf("%w: %s has %d bytes and not the sum that it was written with", ErrDamaged, p.Name, len(b))
	}
	raw, err := unpack(z, b)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	n := 0
	err = records(raw, func(k grid.Kept) error {
		n++
		return take(k)
	})
	if err == nil && (n != p.Records || len(raw) != p.Raw) {
		err = fmt.Errorf("%w: it has %d records, and the manifest says %d", ErrDamaged, n, p.Records)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	return nil
}

// Taking is what a grid is opened with that is to take the backup in.
func (m Manifest) Taking() *grid.Taking {
	t := &grid.Taking{Backup: m.ID, Above: m.Above}
	if m.References {
		t.ID = m.GridID
	}
	return t
}

// RestoreOptions say what is restored, and who hears of it.
type RestoreOptions struct {
	// Skip is called for each reader of a cache: one that is skipped has no place in the restored grid, and begins as a new one.
	Skip func(cache, reader string) bool
	// Progress is called now and then.
	Progress func(Progress)
	// Volatile restores entries of volatile caches into the memory of this process too, where the grid goes over to a cluster before it ends.
	Volatile bool
}

// Restored is what a restore has done.
type Restored struct {
	grid.LoadCounts
	Bytes int64 `json:"bytes"`
	// Volatile is how many entries, markers and positions of volatile caches were left out.
	Volatile int64 `json:"volatile"`
}

// Restore fills a grid that was opened with m.Taking. The caller has verified the backup. Interrupted, the same restore is done again from the beginning, which changes
// nothing of what is there. Entries of volatile caches are restored where the grid outlives this process: on a NATS server, or with o.Volatile.
func Restore(ctx context.Context, from Place, m Manifest, g *grid.Grid, o RestoreOptions) (Restored, error) {
	var out Restored
	for _, c := range m.Caches {
		if err := g.CreateCache(ctx, c); err != nil && !errors.Is(err, grid.ErrCacheExists) {
			return out, fmt.Errorf("restore cache %s: %w", c.Name, err)
		}
	}
	l, err := g.Loader()
	if err != nil {
		return out, err
	}
	z, err := newUnpacker()
	if err != nil {
		return out, err
	}
	defer z.Close()
	at := begun(m)
	for _, p := range m.Parts {
		if p.Class == grid.Volatile && g.Private() && !o.Volatile {
			out.Volatile += int64(p.Records)
		} else if err := load(ctx, l, from, p, z); err != nil {
			return out, err
		}
		at.Records, at.Bytes = at.Records+int64(p.Records), at.Bytes+int64(p.Raw)
		o.Progress(at)
	}
	if err := l.Finish(ctx, m.Partitions, func(cache, reader string) bool { return !o.Skip(cache, reader) }); err != nil {
		return out, err
	}
	out.LoadCounts, out.Bytes = l.Counts(), at.Bytes
	return out, nil
}

// load takes a part in.
func load(ctx context.Context, l *grid.Loader, from Place, p Part, z *zstd.Decoder) error {
	var some []grid.Kept
	bytes := 0
	flush := func() error {
		err := l.Load(ctx, p.Class, p.Partition, some)
		some, bytes = some[:0], 0
		return err
	}
	err := readPart(ctx, from, p, z, func(k grid.Kept) error {
		some, bytes = append(some, k), bytes+len(k.Value)
		if len(some) < loadRecords && bytes < loadBytes {
			return nil
		}
		return flush()
	})
	if err != nil {
		return err
	}
	return flush()
}
