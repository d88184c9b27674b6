package store

import (
	"fmt"
	"time"
)

// Info is what is known of an entry beside its value.
type Info struct {
	Key string
	// Revision is what copies are compared by. It is never 0.
	Revision uint64
	// Deleted says that this is a tombstone: it has no value and none of the fields below but Expires, which is when it may be swept.
	Deleted bool
	// Created is when this revision was written, to the nanosecond and without a zone; zero if not known.
	Created time.Time
	// Expires is from when on no copy of this revision may be given out; zero is never.
	Expires time.Time
	// Lifespan and MaxIdle are kept for whoever wrote them. The store goes by Expires alone.
	Lifespan, MaxIdle time.Duration
	ContentType       string
	Labels            map[string]string
	// Extra is for what the writer wants back with the entry and nobody else reads.
	Extra map[string]string
	// Size is the value's length. Writers need not set it.
	Size int64
}

// Entry is an Info with its value.
type Entry struct {
	Info
	Value []byte
}

// Expired reports whether i is a value whose time is over.
func (i Info) Expired(now time.Time) bool {
	return !i.Deleted && !i.Expires.IsZero() && !now.Before(i.Expires)
}

// Over says whether a write of i is to replace the copy old: false with no error where old is what i would make of it, and false with
// a *StaleError where old is newer.
func (i Info) Over(namespace string, old Info) (bool, error) {
	switch {
	case i.Revision > old.Revision, i.Revision == old.Revision && i.Deleted && !old.Deleted:
		return true, nil
	case i.Revision == old.Revision && i.Deleted == old.Deleted:
		return false, nil
	}
	return false, &StaleError{Namespace: namespace, Key: i.Key, Revision: i.Revision, Current: old.Revision, Deleted: old.Deleted}
}

// Tombstone returns what is stored in place of an entry of this key and revision that was deleted or has expired.
func (i Info) Tombstone(now time.Time) Info {
	return Info{Key: i.Key, Revision: i.Revision, Deleted: true, Expires: now.Add(TombstoneLife)}
}

// Check says what of an entry no store can take, as an ErrInvalid.
func (e Entry) Check(namespace string) error {
	if err := CheckKey(namespace, e.Key); err != nil {
		return err
	}
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s/%q: %s", ErrInvalid, namespace, e.Key, fmt.Sprintf(format, args...))
	}
	if e.Revision == 0 {
		return wrong("the revision must not be 0")
	}
	if e.Deleted {
		return nil
	}
	if len(e.Value) > MaxValueBytes {
		return wrong("the value has %d bytes, of at most %d", len(e.Value), MaxValueBytes)
	}
	metadata := len(e.ContentType)
	for _, m := range []map[string]string{e.Labels, e.Extra} {
		for k, v := range m {
			metadata += len(k) + len(v) + 8
		}
	}
	if metadata > MaxMetadataBytes {
		return wrong("the content type, labels and extra fields have %d bytes, of at most %d", metadata, MaxMetadataBytes)
	}
	if e.Lifespan < 0 || e.MaxIdle < 0 {
		return wrong("the lifespan %v and max idle %v must not be negative", e.Lifespan, e.MaxIdle)
	}
	for _, at := range []time.Time{e.Created, e.Expires} {
		if !at.IsZero() && (at.Before(firstTime) || at.After(lastTime)) {
			return wrong("the time %v is not between the years 1970 and 2262", at)
		}
	}
	return nil
}

// Times are kept as nanoseconds since 1970, in which 0 is no time.
var (
	firstTime = time.Unix(0, 1)
	lastTime  = time.Unix(0, 1<<63-1)
)

// CheckKey says what is wrong with a key or its namespace, as an ErrInvalid.
func CheckKey(namespace, key string) error {
	if err := CheckNamespace(namespace); err != nil {
		return err
	}
	if len(key) == 0 || len(key) > MaxKeyBytes {
		return fmt.Errorf("%w: namespace %s: the key has %d bytes, and may have 1 to %d", ErrInvalid, namespace, len(key), MaxKeyBytes)
	}
	return nil
}

// CheckNamespace says what is wrong with the name of a namespace, as an ErrInvalid: it has 1 to 64 letters, digits, _ and -.
func CheckNamespace(name string) error {
	ok := len(name) >= 1 && len(name) <= 64
	for _, c := range []byte(name) {
		ok = ok && ('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-')
	}
	if !ok {
		return fmt.Errorf("%w: namespace %q: a name has 1 to 64 letters, digits, _ and -", ErrInvalid, name)
	}
	return nil
}
