package backup

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/store"
)

// A Place is where a backup's files are. One that was opened for writing is for Receive, one for reading for Restore. It is for one goroutine.
type Place interface {
	// Begin prepares for the backup of an id. What an interrupted backup left in a folder or a file is removed; in a store it stays, beside those that are whole. A
	// whole one that is in the way is ErrThere.
	Begin(ctx context.Context, id string) error
	// Put writes a file, and the manifest as the last one: then the backup is there.
	Put(ctx context.Context, name string, b []byte) error
	// Get reads a file of at most so many bytes; ErrNone where it is not there.
	Get(ctx context.Context, name string, most int) ([]byte, error)
	// Close gives back what the place holds. A backup without a manifest is none.
	Close() error
}

var (
	_ Place = (*Dir)(nil)
	_ Place = (*File)(nil)
	_ Place = (*Store)(nil)
)

var partFile = regexp.MustCompile(`^part-[0-9]{8}$`)

// Dir is a folder with a backup's files.
type Dir struct{ path string }

// NewDir returns the place that a folder is.
func NewDir(path string) *Dir { return &Dir{path} }

// Path returns the folder.
func (d *Dir) Path() string { return d.path }

// Begin makes the folder. It takes one that is empty, or that has what an interrupted backup left.
func (d *Dir) Begin(context.Context, string) error {
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return err
	}
	files, err := os.ReadDir(d.path)
	if err != nil {
		return err
	}
	for _, f := range files {
		switch {
		case f.Name() == ManifestName:
			return fmt.Errorf("%w: in %s; name another folder, or remove it", ErrThere, d.path)
		case !partFile.MatchString(f.Name()) && !outfile.IsTemporary(f.Name()):
			return fmt.Errorf("%w: the folder %s has %s, which is no backup's; name an empty or a new folder", ErrThere, d.path, f.Name())
		}
	}
	for _, f := range files {
		if err := os.Remove(filepath.Join(d.path, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Put writes a file; it is on the disk when Put returns.
func (d *Dir) Put(_ context.Context, name string, b []byte) error {
	return outfile.Write(filepath.Join(d.path, name), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// Get reads a file.
func (d *Dir) Get(_ context.Context, name string, most int) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no %s in %s", ErrNone, name, d.path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readMost(f, name, most)
}

// Close does nothing.
func (d *Dir) Close() error { return nil }

// readMost reads a file that may be larger than it should be.
func readMost(r io.Reader, name string, most int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(most)+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%w: %s has more than %d bytes", ErrDamaged, name, most)
	}
	return b, err
}

// File is a tar with a backup's files. While it is written it is FILE.part.
type File struct {
	path  string
	f     *os.File
	tar   *tar.Writer
	files map[string]span // of one that is read
}

type span struct{ at, size int64 }

// NewFile returns the place that a tar file is.
func NewFile(path string) *File { return &File{path: path} }

func (t *File) part() string { return t.path + ".part" }

// Begin begins the file. A file that is there is ErrThere.
func (t *File) Begin(context.Context, string) error {
	if _, err := os.Lstat(t.path); err == nil {
		return fmt.Errorf("%w: %s; name another file, or remove it", ErrThere, t.path)
	}
	f, err := os.OpenFile(t.part(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	t.f, t.tar = f, tar.NewWriter(f)
	return nil
}

// Put writes a file. With the manifest the tar gets its name.
func (t *File) Put(_ context.Context, name string, b []byte) error {
	h := &tar.Header{Name: name, Size: int64(len(b)), Mode: 0o600, ModTime: time.Now().Truncate(time.Second), Format: tar.FormatPAX}
	if err := t.tar.WriteHeader(h); err != nil {
		return err
	}
	if _, err := t.tar.Write(b); err != nil || name != ManifestName {
		return err
	}
	if err := errors.Join(t.tar.Close(), t.f.Sync()); err != nil {
		return err
	}
	return os.Rename(t.part(), t.path)
}

// Get reads a file.
func (t *File) Get(_ context.Context, name string, most int) ([]byte, error) {
	if t.files == nil {
		if err := t.index(); err != nil {
			return nil, err
		}
	}
	at, ok := t.files[name]
	if !ok {
		return nil, fmt.Errorf("%w: there is no %s in %s", ErrNone, name, t.path)
	}
	return readMost(io.NewSectionReader(t.f, at.at, at.size), name, most)
}

// index finds where the files are.
func (t *File) index() error {
	f, err := os.Open(t.path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, partErr := os.Stat(t.part()); partErr == nil {
			return fmt.Errorf("%w: %s was interrupted; make it again", ErrNone, t.part())
		}
		return fmt.Errorf("%w: there is no file %s", ErrNone, t.path)
	}
	if err != nil {
		return err
	}
	t.f, t.files = f, map[string]span{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s is no tar: %w", ErrDamaged, t.path, err)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		t.files[h.Name] = span{at, h.Size}
	}
}

// Close closes the file.
func (t *File) Close() error {
	if t.f == nil {
		return nil
	}
	return t.f.Close()
}

// storePrefix begins the names of namespaces that are backups. The rest is the backup's id.
const storePrefix = "backup-"

// Store is a backup in a store: a namespace with its id. It does not close the store.
type Store struct {
	store store.Store
	id    string
}

// NewStore returns the place that a store is; an id chooses what is read, which else is the newest one.
func NewStore(s store.Store, id string) *Store { return &Store{s, id} }

// Begin chooses the namespace.
func (s *Store) Begin(_ context.Context, id string) error {
	s.id = id
	return store.CheckNamespace(storePrefix + id)
}

// Put writes a file.
func (s *Store) Put(ctx context.Context, name string, b []byte) error {
	return s.store.Put(ctx, storePrefix+s.id, store.Entry{Info: store.Info{Key: name, Revision: 1, Created: time.Now().UTC()}, Value: b})
}

// Get reads a file.
func (s *Store) Get(ctx context.Context, name string, most int) ([]byte, error) {
	if s.id == "" {
		if err := s.newest(ctx); err != nil {
			return nil, err
		}
	}
	e, err := s.store.Get(ctx, storePrefix+s.id, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("%w: the store has no %s of %s", ErrNone, name, s.id)
	case errors.Is(err, store.ErrCorrupt):
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, name, err)
	case err != nil:
		return nil, err
	case len(e.Value) > most:
		return nil, fmt.Errorf("%w: %s has %d bytes, of at most %d", ErrDamaged, name, len(e.Value), most)
	}
	return e.Value, nil
}

// newest chooses the newest whole backup: ids begin with their time.
func (s *Store) newest(ctx context.Context) error {
	all, err := s.store.Namespaces(ctx)
	if err != nil {
		return err
	}
	for _, name := range all {
		id, ok := strings.CutPrefix(name, storePrefix)
		if !ok || id <= s.id {
			continue
		}
		_, err := s.store.Stat(ctx, name, ManifestName)
		if err == nil {
			s.id = id
		} else if !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
			return err
		}
	}
	if s.id == "" {
		return fmt.Errorf("%w: the store has none", ErrNone)
	}
	return nil
}

// Close does nothing.
func (s *Store) Close() error { return nil }
