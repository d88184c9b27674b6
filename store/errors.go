package store

import (
	"errors"
	"fmt"
)

// The errors that callers tell apart. They arrive wrapped: compare with errors.Is. All but ErrUnavailable stay what they are when the
// same call is made again.
var (
	// ErrNotFound says that a key has no value: it was never stored, was deleted, or has expired.
	ErrNotFound = errors.New("not in the store")
	// ErrStale says that what is stored is newer than what was to be written; the error is a *StaleError.
	ErrStale = errors.New("the store has a newer revision")
	// ErrUnavailable says that the store could not be asked, or did not answer in time. It may work when it is tried again.
	ErrUnavailable = errors.New("store unavailable")
	// ErrCorrupt says that what is stored is damaged, or was not written by a store of this version. The message names the copy.
	ErrCorrupt = errors.New("stored copy is damaged")
	// ErrInvalid says that a key, namespace or entry is over a limit of this package.
	ErrInvalid = errors.New("not storable")
	// ErrFull says that the store has no room; nothing was stored.
	ErrFull = errors.New("store is full")
	// ErrDenied says that the store refused who asked, or that its bucket or pool is not there.
	ErrDenied = errors.New("store refused the request")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store is closed")
	// ErrConfig says that a store's configuration is faulty; the message lists every fault.
	ErrConfig = errors.New("store configuration not usable")
	// ErrLocked says that another process has the store open, and it is of a kind that one process alone may use.
	ErrLocked = errors.New("store is in use")
	// ErrNotBuilt says that this program was built without a store; the message names the build that has it.
	ErrNotBuilt = errors.New("store is not in this program")
)

// Retryable reports whether a call that failed with err may succeed when it is made again.
func Retryable(err error) bool { return errors.Is(err, ErrUnavailable) }

// StaleError is a write that came too late. It is an ErrStale.
type StaleError struct {
	Namespace, Key string
	// Revision is what was to be written, and Current what is stored; Deleted says that it is a tombstone.
	Revision, Current uint64
	Deleted           bool
}

func (e *StaleError) Error() string {
	what := "a value"
	if e.Deleted {
		what = "a tombstone"
	}
	return fmt.Sprintf("write %s/%q: %v: %s of revision %d, against %d", e.Namespace, e.Key, ErrStale, what, e.Current, e.Revision)
}

// Is makes errors.Is(err, ErrStale) true.
func (e *StaleError) Is(target error) bool { return target == ErrStale }
