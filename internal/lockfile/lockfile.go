// Package lockfile keeps a folder to one process at a time, by a file LOCK in it that names who has it. What is in the folder is left to
// its owner.
package lockfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// Name is the file in the folder.
const Name = "LOCK"

// Lock is a folder that this process has.
type Lock struct {
	file *flock.Flock
	held os.FileInfo // of the file that is locked
}

// Take locks a folder, and writes down that this process has it. Where another process has it the error wraps locked, and names that process.
func Take(dir string, locked error) (*Lock, error) {
	path := filepath.Join(dir, Name)
	file := flock.New(path, flock.SetPermissions(0o600))
	got, err := file.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	if !got {
		who := "another process"
		if b, err := os.ReadFile(path); err == nil && len(b) > 0 {
			who = strings.TrimSpace(string(b))
		}
		return nil, fmt.Errorf("%w: %s is open in %s; stop it, or use another folder", locked, dir, who)
	}
	exe, err := os.Executable()
	if err != nil {
		exe = "?"
	}
	who := fmt.Sprintf("process %d (%s)\n", os.Getpid(), filepath.Base(exe))
	// On a full disk the name is missed, the lock is not.
	if err := os.WriteFile(path, []byte(who), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return nil, errors.Join(fmt.Errorf("write %s: %w", path, err), file.Close())
	}
	held, err := os.Stat(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at %s: %w", path, err), file.Close())
	}
	return &Lock{file, held}, nil
}

// Check says that the folder is not what it was when it was locked: it was removed, emptied or replaced meanwhile. What is written there now is lost,
// also where the system takes it.
func (l *Lock) Check() error {
	now, err := os.Stat(l.file.Path())
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(l.held, now) {
		return fmt.Errorf("%w: %s was removed, emptied or replaced", ErrGone, filepath.Dir(l.file.Path()))
	}
	if err != nil {
		return fmt.Errorf("look at the lock: %w", err)
	}
	return nil
}

// ErrGone says that a folder is not there any more while it is in use.
var ErrGone = errors.New("the folder is gone")

// Close gives the folder back. The file stays, since removing it would race with another process; empty it names nobody.
func (l *Lock) Close() error {
	err := os.Truncate(l.file.Path(), 0)
	return errors.Join(err, l.file.Close())
}
