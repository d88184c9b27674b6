package grid

import (
	"errors"
	"fmt"
)

// The errors that callers tell apart. They arrive wrapped: compare with errors.Is.
var (
	// ErrNotFound says that a key has no entry: it was never put, was removed, or has expired.
	ErrNotFound = errors.New("entry not found")
	// ErrDamaged says that a key had an entry that was damaged on the disk, and cannot be read any more. A put makes a new one, and a removal forgets
	// the damage.
	ErrDamaged = errors.New("entry damaged on the disk")
	// ErrNoCache says that no cache has this name (any more).
	ErrNoCache = errors.New("no such cache")
	// ErrCacheExists says that a cache of this name is there with another configuration.
	ErrCacheExists = errors.New("cache exists")
	// ErrExists says that a create-only write found an entry.
	ErrExists = errors.New("entry exists")
	// ErrRevision says that a write's condition did not hold; the error is a *RevisionError.
	ErrRevision = errors.New("revision differs")
	// ErrKey says that a key is empty or longer than MaxKeyBytes.
	ErrKey = errors.New("key not usable")
	// ErrCacheName says that a cache's name does not match [A-Za-z0-9_-]{1,64}.
	ErrCacheName = errors.New("cache name not usable")
	// ErrConfig says that a configuration is faulty; the message lists every fault.
	ErrConfig = errors.New("configuration not usable")
	// ErrTooLarge says that a value, its content type or its labels are over a limit.
	ErrTooLarge = errors.New("entry too large")
	// ErrLifespan says that an entry's lifespan or max idle is over MaxLifespan.
	ErrLifespan = errors.New("lifespan not usable")
	// ErrFull says that the cache, the grid or the disk has no room. Nothing was stored;
	// removing entries works still, and puts work again once there is room.
	ErrFull = errors.New("no room")
	// ErrStays says that a value cannot leave memory now; the message says what stands in the way.
	ErrStays = errors.New("value stays in memory")
	// ErrCold says that a value is not in memory.
	ErrCold = errors.New("value is in the store alone")
	// ErrNoEviction says that a cache has no store that its values could go to.
	ErrNoEviction = errors.New("cache has no store")
	// ErrClosed says that the grid, listener or reader was closed.
	ErrClosed = errors.New("closed")
	// ErrLocked says that another process has the grid's folder open.
	ErrLocked = errors.New("folder is in use")
	// ErrFormat says that the folder was written by a newer version, or is no grid's folder.
	ErrFormat = errors.New("folder format not usable")
	// ErrEventID says that an event id was not made by a grid with as many partitions.
	ErrEventID = errors.New("event id not usable")
	// ErrBehind says that a listener ended because more waited for it than there is room for (Budget). It can resume with the id of the last
	// event that its reader has.
	ErrBehind = errors.New("listener is too far behind")
	// ErrUnavailable says that the grid could not be asked, or did not answer in time. Whether
	// a write took effect is not known; repeating it with its condition or MsgID is safe.
	ErrUnavailable = errors.New("grid unavailable")
)

// RevisionError is a write whose condition on the revision did not hold. It is an ErrRevision.
type RevisionError struct {
	Cache, Key string
	// Want is the revision that the caller asked for, 0 for none.
	Want Revision
	// Current is the key's revision where it is known, else 0. A removed key has none either.
	Current Revision
}

func (e *RevisionError) Error() string {
	if e.Current == 0 {
		return fmt.Sprintf("put %s/%s: revision is not %d", e.Cache, e.Key, e.Want)
	}
	return fmt.Sprintf("put %s/%s: revision is %d, not %d", e.Cache, e.Key, e.Current, e.Want)
}

// Is makes errors.Is(err, ErrRevision) true.
func (e *RevisionError) Is(target error) bool { return target == ErrRevision }
