// Package store is the contract of the cold tier behind a cache: what keeps values that left memory, by revision. When a value leaves or
// comes back is left to package cold, and how it is kept to the implementations: store/disk, store/s3 and store/ceph.
//
// A store keeps one copy for each key of a namespace; a cache is a namespace. The copy is a value with its revision, or the tombstone
// that a delete leaves. Copies only ever get newer: a write of an older revision than the copy's changes nothing and is an ErrStale, a
// write of the copy's own revision changes nothing and is a success, and where a value and a tombstone have the same revision, the
// tombstone counts as the newer one. So writes may be repeated, and may arrive late or in any order, and all orders end in the same copy.
//
// A value whose time is over is never given out, and Sweep makes it a tombstone of its revision, so that nothing older comes
// back in its place. Tombstones are swept when they are TombstoneLife old: what could still be under way of an older revision has to have
// ended by then.
package store

import (
	"context"
	"iter"
	"time"
)

// The limits that hold for every store.
const (
	// MaxKeyBytes is the longest key. A key may have any bytes.
	MaxKeyBytes = 1024
	// MaxValueBytes is the largest value.
	MaxValueBytes = 64 << 20
	// MaxMetadataBytes is the room for an entry's content type, labels and extra fields together. Each label and field counts 8 bytes
	// beside its texts.
	MaxMetadataBytes = 32 << 10
	// TombstoneLife is how long a tombstone stays.
	TombstoneLife = 24 * time.Hour
)

// A Store keeps entries. It is safe for concurrent use, by several processes too where its documentation does not say otherwise.
//
// Every method gives up when its context ends, and then returns an error that is the context's. Errors can be told apart by the sentinels
// of this package. After an error that is none of ErrStale, ErrInvalid, ErrFull and ErrClosed a write may have taken effect or not; writing the same
// again is always safe.
type Store interface {
	// Put stores e, unless what is stored is newer: then the error is a *StaleError. e.Deleted must be false. The store does not keep
	// e.Value after it returned.
	Put(ctx context.Context, namespace string, e Entry) error

	// Delete stores a tombstone of a revision, that of the delete itself, under the same condition as Put. The key need not be there.
	Delete(ctx context.Context, namespace, key string, revision uint64) error

	// PutAll stores many entries, and a tombstone for those that are Deleted; these need only their key and revision. Each has its own outcome: the
	// result is nil where all succeeded, else it has one element for each entry, nil for those that are stored. Entries of one key are
	// stored in their order. A store gains what it can from having them together.
	PutAll(ctx context.Context, namespace string, entries []Entry) []error

	// Get returns the entry of a key. It is ErrNotFound where there is none, or it was deleted or has expired; ErrCorrupt where what is
	// stored is damaged. The value belongs to the caller.
	Get(ctx context.Context, namespace, key string) (Entry, error)

	// Stat is Get without the value, which is not read nor checked for damage.
	Stat(ctx context.Context, namespace, key string) (Info, error)

	// List gives what is stored in the order of the keys' bytes. Where a copy is damaged it gives its key with an ErrCorrupt and goes
	// on; any other error is the last. Writes that are made meanwhile may be seen or not. A namespace that was never written is empty.
	List(ctx context.Context, namespace string, o ListOptions) iter.Seq2[Info, error]

	// Namespaces returns the names of those that may have something in them, sorted.
	Namespaces(ctx context.Context) ([]string, error)

	// Drop removes a namespace with all its copies and tombstones. Nothing may write to it meanwhile.
	Drop(ctx context.Context, namespace string) error

	// Sweep removes a namespace's tombstones that are old enough, and makes tombstones of values that have expired. It returns how many copies it
	// removed or changed. It is to be called now and then, by one process.
	Sweep(ctx context.Context, namespace string) (int, error)

	// Close gives back what the store holds, when the calls that are under way have ended. Calls that come later get ErrClosed; a
	// second Close does nothing.
	Close() error
}

// A Meter is a store that knows how much it has without counting it.
type Meter interface {
	// Meter returns what the store has, tombstones included, which may lag behind by some seconds.
	Meter(ctx context.Context) (Amount, error)
}

// Amount is how much a store has.
type Amount struct {
	// Copies is their number, and -1 where it is not known. Bytes are what they take.
	Copies, Bytes int64
}

// ListOptions says which part of a namespace is listed. The zero value is all of it.
type ListOptions struct {
	// Prefix is what the keys begin with.
	Prefix string
	// After is the key after which the list begins, exclusive, whether it is stored or not: the last key of the list before.
	After string
	// Deleted includes tombstones.
	Deleted bool
}
