package archive

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/millrace/millrace/store"
)

// Progress says how far a call is.
type Progress struct {
	Cache          string
	Entries, Bytes int64
	// Resumed says that all before was there from a call that was cut short.
	Resumed bool
}

// ExportOptions say what goes into an archive.
type ExportOptions struct {
	// Cache limits it to one; empty is all.
	Cache string
	// Progress is called with each entry, and Damaged with each that cannot be read, which is left out; both may be nil.
	Progress func(Progress)
	Damaged  func(cache, key string, err error)
}

// Exported is what an archive has.
type Exported struct {
	Entries int64 `json:"entries"`
	Bytes   int64 `json:"bytes"`
	// Damaged entries were left out.
	Damaged int64 `json:"damaged"`
}

// PartName is where an archive is until it is whole.
func PartName(path string) string { return path + ".part" }

// Export writes what a store has to a file, which is there when it is whole. Until then it is in PartName, where a later call goes on
// that has the same options.
func Export(ctx context.Context, s store.Store, path string, o ExportOptions) (out Exported, err error) {
	owner, err := store.ReadOwner(ctx, s)
	if err != nil {
		return out, err
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return out, fmt.Errorf("%s is not a plain file: name another", path)
	}
	f, err := os.OpenFile(PartName(path), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return out, fmt.Errorf("make the archive: %w", err)
	}
	defer func() { err = errors.Join(err, ignoreClosed(f.Close())) }()
	lock := flock.New(PartName(path))
	if got, err := lock.TryLock(); err != nil {
		return out, fmt.Errorf("lock %s: %w", PartName(path), err)
	} else if !got {
		return out, fmt.Errorf("%s is being written by another process", PartName(path))
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	e := &exporter{s: s, o: o, file: f, head: Head{Version: version, Grid: owner.Of(), Made: time.Now().UTC().Truncate(time.Second)}}
	if err := e.begin(); err != nil {
		return e.out, err
	}
	if err := e.run(ctx); err != nil {
		return e.out, err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return e.out, fmt.Errorf("write the archive: %w", err)
	}
	if err := os.Rename(PartName(path), path); err != nil {
		return e.out, fmt.Errorf("put the archive in place: %w", err)
	}
	return e.out, syncFolder(filepath.Dir(path))
}

// Count returns how many entries a store has, or one cache of it, and how many bytes, as its list tells them.
func Count(ctx context.Context, s store.Store, cache string) (n, bytes int64, err error) {
	caches := []string{cache}
	if cache == "" {
		all, err := s.Namespaces(ctx)
		if err != nil {
			return 0, 0, err
		}
		caches = Caches(all)
	}
	for _, cache := range caches {
		for info, err := range s.List(ctx, cache, store.ListOptions{}) {
			if err != nil && !errors.Is(err, store.ErrCorrupt) {
				return n, bytes, err
			}
			n, bytes = n+1, bytes+info.Size
		}
	}
	return n, bytes, nil
}

type exporter struct {
	s    store.Store
	o    ExportOptions
	file *os.File
	head Head
	out  Exported
	buf  *bufio.Writer
	w    *Writer
	// cache and key are those of the last entry that is there; empty for none.
	cache, key string
}

// begin goes on behind what the file has of an archive of the same store, or begins one.
func (e *exporter) begin() error {
	info, err := e.file.Stat()
	if err != nil {
		return fmt.Errorf("look at the archive: %w", err)
	}
	var good int64
	if info.Size() > 0 {
		if good, err = e.look(); err != nil {
			return err
		}
	}
	if err := e.file.Truncate(good); err != nil {
		return fmt.Errorf("go on with the archive: %w", err)
	}
	if _, err := e.file.Seek(good, io.SeekStart); err != nil {
		return fmt.Errorf("go on with the archive: %w", err)
	}
	e.buf = bufio.NewWriterSize(e.file, 1<<18)
	if good > 0 {
		e.w = resume(e.buf, e.head, end{e.out.Entries, e.out.Bytes})
		e.progress(true)
		return nil
	}
	e.w, err = NewWriter(e.buf, e.head)
	return err
}

// look reads what the file has, and returns up to where it is good: 0 where it has not even a head.
func (e *exporter) look() (good int64, err error) {
	r, err := NewReader(e.file)
	if errors.Is(err, ErrCut) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w; remove it to begin anew", e.file.Name(), err)
	}
	if r.Head().Grid != e.head.Grid {
		return 0, fmt.Errorf("%s has entries of grid %q, and the store those of %q; remove it to begin anew", e.file.Name(), r.Head().Grid, e.head.Grid)
	}
	e.head = r.Head()
	good = r.Offset()
	for {
		cache, entry, err := r.Next()
		if err != nil {
			return good, nil //nolint:nilerr // the end, or what was under way
		}
		if e.o.Cache != "" && cache != e.o.Cache {
			return 0, fmt.Errorf("%s has entries of cache %s, and %s alone is wanted; remove it to begin anew", e.file.Name(), cache, e.o.Cache)
		}
		good, e.cache, e.key = r.Offset(), cache, entry.Key
		e.out.Entries, e.out.Bytes = e.out.Entries+1, e.out.Bytes+int64(len(entry.Value))
	}
}

func (e *exporter) run(ctx context.Context) error {
	all, err := e.s.Namespaces(ctx)
	if err != nil {
		return err
	}
	caches := Caches(all)
	if e.o.Cache != "" {
		if !slices.Contains(caches, e.o.Cache) {
			return fmt.Errorf("the store has nothing of a cache %s", e.o.Cache)
		}
		caches = []string{e.o.Cache}
	}
	for _, cache := range caches {
		o := store.ListOptions{}
		switch {
		case cache < e.cache:
			continue
		case cache == e.cache:
			o.After = e.key
		}
		if err := e.add(ctx, cache, o); err != nil {
			// What is whole is kept, for the next call to go on behind it.
			return errors.Join(err, e.buf.Flush())
		}
	}
	if err := e.w.Close(); err != nil {
		return err
	}
	return e.buf.Flush()
}

func (e *exporter) add(ctx context.Context, cache string, o store.ListOptions) error {
	for entry, err := range entries(ctx, e.s, cache, o) {
		if errors.Is(err, store.ErrCorrupt) {
			e.out.Damaged++
			if e.o.Damaged != nil {
				e.o.Damaged(cache, entry.Key, err)
			}
			continue
		}
		if err != nil {
			return err
		}
		if err := e.w.Add(cache, entry); err != nil {
			return err
		}
		e.cache = cache
		e.out.Entries, e.out.Bytes = e.out.Entries+1, e.out.Bytes+int64(len(entry.Value))
		e.progress(false)
	}
	return ctx.Err()
}

func (e *exporter) progress(resumed bool) {
	if e.o.Progress != nil {
		e.o.Progress(Progress{Cache: e.cache, Entries: e.out.Entries, Bytes: e.out.Bytes, Resumed: resumed})
	}
}

func ignoreClosed(err error) error {
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}

// syncFolder makes the name of a new file lasting, where the folder is of a kind that can be synced.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is in place; a folder that cannot be opened cannot be synced
	}
	defer d.Close()
	_ = d.Sync() // some file systems have none for folders
	return nil
}
