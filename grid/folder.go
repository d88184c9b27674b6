package grid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/lockfile"
)

// formatVersion is the version of the layout, in the folder's FORMAT file and in the grid's description. Version 1 had a
// durable consumer for each reader and partition in place of its position.
const formatVersion = 2

const formatWord = "millrace-grid"

// folder is a grid's folder, held by this process.
type folder struct {
	dir     string
	lock    *lockfile.Lock
	version int // that it was found in
	// is what is known of the cluster that it is of.
	is identity
}

// openFolder makes the folder where it is missing, locks it and checks its format and whose it is.
func openFolder(dir string, c *Cluster, resolve Resolve) (*folder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the grid's folder: %w", err)
	}
	lock, err := lockfile.Take(dir, ErrLocked)
	if err != nil {
		return nil, err
	}
	f := &folder{dir: dir, lock: lock}
	for _, check := range []func() error{f.checkFormat, func() error { return f.checkBelongs(c) }, func() error { return f.checkGiven(resolve) }} {
		if err := check(); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
	}
	return f, nil
}

func (f *folder) checkFormat() error {
	path := filepath.Join(f.dir, "FORMAT")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return f.initFormat()
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	word, number, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	version, err := strconv.Atoi(number)
	switch {
	case word != formatWord || err != nil || version < 1:
		return fmt.Errorf("%w: %s says %q", ErrFormat, path, b)
	case version > formatVersion:
		return fmt.Errorf("%w: %s has version %d, this program knows up to %d; use a newer one", ErrFormat, f.dir, version, formatVersion)
	}
	f.version = version
	return nil
}

// initFormat marks a new folder. A folder with other things in it is left alone.
func (f *folder) initFormat() error {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return fmt.Errorf("read %s: %w", f.dir, err)
	}
	for _, e := range entries {
		if e.Name() == "jetstream" {
			return fmt.Errorf("%w: %s holds a NATS server's data without a FORMAT file", ErrFormat, f.dir)
		}
	}
	return f.setFormat()
}

// setFormat marks the folder as one of this program's version.
func (f *folder) setFormat() error {
	path := filepath.Join(f.dir, "FORMAT")
	tmp := path + ".new"
	if err := writeSynced(tmp, fmt.Sprintf("%s %d\n", formatWord, formatVersion)); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f.version = formatVersion
	return nil
}

func writeSynced(path, text string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func (f *folder) close() error {
	if f == nil {
		return nil
	}
	return f.lock.Close()
}
