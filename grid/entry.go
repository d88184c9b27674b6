package grid

import (
	"maps"
	"slices"
	"time"
)

// A Revision numbers an entry's visible changes: it grows with each write of the key, by more than one, and is what clients
// compare (an ETag, a condition, a place to resume from). It stays when the value moves to a store and back.
type Revision uint64

// A Sequence is where a message stands in its partition's stream: the condition of the next write of its key.
type Sequence uint64

// Entry is one value of a cache with what is known of it. The bytes and the map belong to whoever
// received the entry.
type Entry struct {
	Cache, Key  string
	Value       []byte
	ContentType string
	// Revision is the number that the last write got; it grows with each write of the key.
	Revision Revision
	// Created is when this revision was written. Lists of keys leave it out.
	Created time.Time
	// Lifespan and MaxIdle are 0 where the entry has none; Expires is then zero.
	Lifespan, MaxIdle time.Duration
	Expires           time.Time
	Labels            map[string]string

	source source
}

// source is which change a reader made an entry from.
type source struct {
	revision Revision
	fence    uint64
	reader   string
}

// clone copies what an entry's owner may change.
func (e Entry) clone() Entry {
	e.Value, e.Labels = slices.Clone(e.Value), maps.Clone(e.Labels)
	return e
}
