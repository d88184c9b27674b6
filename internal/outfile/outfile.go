// Package outfile writes the files that a command is asked for. Before long work it finds out whether the file can be written, and
// it replaces a file as a whole. What is written is left to the caller.
package outfile

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Check returns why Write could not write the file, such as a folder that is missing, a folder in the file's place, or one that is
// read-only. It leaves nothing behind, and does not touch a file that is there.
func Check(path string) error {
	t, err := look(path)
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	switch {
	case t.special:
		return nil
	case t.old != nil:
		f, err := os.OpenFile(t.path, os.O_WRONLY, 0)
		if err != nil {
			return fmt.Errorf("cannot write %s: %w", path, reason(err))
		}
		return f.Close()
	}
	if err := CheckDir(filepath.Dir(t.path)); err != nil {
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	return nil
}

// CheckDir returns why no file can be made in a folder.
func CheckDir(dir string) error {
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s: make it first", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	}
	f, err := temporary(dir)
	if err != nil {
		return fmt.Errorf("no file can be made in folder %s: %w", dir, reason(err))
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// Write gives write a file and puts it in place of path when it is whole and synced: whoever reads sees the old file or the new one. A device or a pipe is
// written to as it is. Where the file can be written but not replaced, as one that is mounted by itself, it is overwritten.
func Write(path string, write func(io.Writer) error) error {
	t, err := look(path)
	if err == nil {
		err = t.write(write)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// target is what stands at a path.
type target struct {
	path    string      // without links
	old     os.FileInfo // nil where there is nothing
	special bool        // neither a file nor a folder
}

func look(path string) (target, error) {
	t := target{path: path}
	if path == "" {
		return t, errors.New("the file has no name")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(path); err == nil {
			return t, errors.New("it is a link to what is not there")
		}
		if os.IsPathSeparator(path[len(path)-1]) {
			return t, errors.New("that is the name of a folder: name a file")
		}
		return t, nil
	case err != nil:
		return t, reason(err)
	case info.IsDir():
		return t, errors.New("it is a folder: name a file in it")
	}
	t.old, t.special = info, !info.Mode().IsRegular()
	t.path, err = filepath.EvalSymlinks(path)
	return t, err
}

func (t target) write(write func(io.Writer) error) error {
	if t.special {
		return fill(t.path, os.O_WRONLY, write)
	}
	f, err := temporary(filepath.Dir(t.path))
	if err != nil {
		if t.old == nil {
			return reason(err)
		}
		return fill(t.path, os.O_WRONLY|os.O_TRUNC, write)
	}
	err = fillFile(f, write)
	if err == nil && t.old != nil {
		err = os.Chmod(f.Name(), t.old.Mode().Perm())
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), t.path); err != nil {
		return t.overwrite(f.Name(), err)
	}
	return syncDir(filepath.Dir(t.path))
}

// overwrite copies a file that cannot be moved into its place. Where that fails too the file is kept, and the error says where.
func (t target) overwrite(from string, why error) error {
	in, err := os.Open(from)
	if err == nil {
		err = fill(t.path, os.O_WRONLY|os.O_TRUNC|os.O_CREATE, func(w io.Writer) error { _, err := io.Copy(w, in); return err })
		err = errors.Join(err, in.Close())
	}
	if err != nil {
		return fmt.Errorf("%w; the content is in %s: %w", why, from, err)
	}
	return os.Remove(from)
}

// temporaryPrefix begins the names of files that are being written.
const temporaryPrefix = ".millrace-"

// IsTemporary reports whether a name is that of a file which Write has not ended: that of a process that was killed, where none writes.
func IsTemporary(name string) bool { return strings.HasPrefix(name, temporaryPrefix) }

// temporary makes a file with a name of its own.
func temporary(dir string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, temporaryPrefix+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
}

func fill(path string, flag int, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, flag, 0o644)
	if err != nil {
		return reason(err)
	}
	return fillFile(f, write)
}

// fillFile writes, syncs where that can be, and closes.
func fillFile(f *os.File, write func(io.Writer) error) error {
	buf := bufio.NewWriterSize(f, 1<<18)
	err := write(buf)
	if err == nil {
		err = buf.Flush()
	}
	if err == nil {
		if err = f.Sync(); cannotSync(err) {
			err = nil
		}
	}
	return errors.Join(err, f.Close())
}

// syncDir makes the name of a new file lasting, where the folder can be opened for that.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // the file is in place; a folder that cannot be opened cannot be synced
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !cannotSync(err) {
		return err
	}
	return nil
}

// cannotSync reports whether the file is of a kind that has no sync, as pipes and some folders.
func cannotSync(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrInvalid) || errors.Is(err, syscall.EINVAL)
}

// reason is an error without the operation and the path, which the caller names.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
