package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace/millrace/internal/lockfile"
	"github.com/millrace/millrace/store"
)

// format is what the FORMAT file says of the keys and values in the folder db.
const format = "millrace-store 1\n"

// folder is a store's folder, held by this process: LOCK, FORMAT, and Pebble's files in db.
type folder struct{ lock *lockfile.Lock }

func openFolder(dir string) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the store's folder: %w", err)
	}
	if err := foreign(dir); err != nil { // before anything is written there
		return nil, err
	}
	lock, err := lockfile.Take(dir, store.ErrLocked)
	if err != nil {
		return nil, err
	}
	done, err := formatted(dir)
	if err == nil && !done {
		err = begin(filepath.Join(dir, "FORMAT"))
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &folder{lock}, nil
}

// Check says why Open would refuse a folder, as far as its files tell: it is something else's, or of another version. A folder that
// is not there is none of both.
func Check(dir string) error {
	if err := foreign(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	_, err := formatted(dir)
	return err
}

func (f *folder) close() error { return f.lock.Close() }

// formatted reports whether a folder has its FORMAT file, and refuses that of another version.
func formatted(dir string) (bool, error) {
	path := filepath.Join(dir, "FORMAT")
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the store's format: %w", err)
	case string(b) != format:
		return false, fmt.Errorf("%w: %s says %.40q, and this program reads %q: use a newer one, or another folder", store.ErrCorrupt, path, b, strings.TrimSpace(format))
	}
	return true, nil
}

// foreign refuses a folder that has something, but not what a store begins with.
func foreign(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the store's folder: %w", err)
	}
	other := ""
	for _, f := range files {
		switch f.Name() {
		case "FORMAT":
			return nil
		case lockfile.Name, "FORMAT.new":
		default:
			other = f.Name()
		}
	}
	if other != "" {
		return fmt.Errorf("%w: the folder %s has %s but no file FORMAT: it is no store's, use another one", store.ErrConfig, dir, other)
	}
	return nil
}

// begin makes a folder a store's.
func begin(path string) error {
	// By a name of its own first: half a FORMAT file would keep the folder from being opened.
	if err := os.WriteFile(path+".new", []byte(format), 0o600); err != nil {
		return fmt.Errorf("write the store's format: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the store's format: %w", err)
	}
	return nil
}
