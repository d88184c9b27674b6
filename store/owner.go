package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
)

// GridNamespace is where a store has what it keeps of the grid that it belongs to. No cache has this name.
const GridNamespace = "_grid"

const (
	ownerKey = "id"
	fromKey  = "from"
	storeKey = "store"
)

// Owner says which grid a store belongs to. Revisions of two grids cannot be compared, so that a store is one grid's.
type Owner struct {
	// Grid is the id of the grid; empty where the store is nobody's.
	Grid string
	// From is the grid that the copies are of, where the store is nobody's and they were imported or were another's; empty if not known.
	From string
}

// Of returns the grid that the copies are of; empty if not known.
func (o Owner) Of() string {
	if o.Grid != "" {
		return o.Grid
	}
	return o.From
}

// ReadOwner returns whom a store belongs to.
func ReadOwner(ctx context.Context, s Store) (o Owner, err error) {
	for key, into := range map[string]*string{ownerKey: &o.Grid, fromKey: &o.From} {
		e, err := s.Get(ctx, GridNamespace, key)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return Owner{}, fmt.Errorf("read whom the store belongs to: %w", err)
		}
		*into = string(e.Value)
	}
	return o, nil
}

// Claim makes a store that is nobody's a grid's, and returns whose it is then: where two grids claim it, one is faster.
func Claim(ctx context.Context, s Store, grid string) (Owner, error) {
	if err := putText(ctx, s, ownerKey, grid); err != nil {
		return Owner{}, err
	}
	return ReadOwner(ctx, s)
}

// ReadID returns the id that tells a store from any other, which is made once; "" where it has none yet.
func ReadID(ctx context.Context, s Store) (string, error) {
	e, err := s.Get(ctx, GridNamespace, storeKey)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", fmt.Errorf("read which store it is: %w", err)
	}
	return string(e.Value), nil
}

// MakeID gives a store an id where it has none, and returns the one that it has then: where two nodes make it, one is faster.
func MakeID(ctx context.Context, s Store) (string, error) {
	id, err := ReadID(ctx, s)
	if err != nil || id != "" {
		return id, err
	}
	if err := putText(ctx, s, storeKey, rand.Text()); err != nil {
		return "", err
	}
	return ReadID(ctx, s)
}

// SetFrom says which grid the copies of a store are of that is nobody's.
func SetFrom(ctx context.Context, s Store, grid string) error { return putText(ctx, s, fromKey, grid) }

// Release makes a store nobody's: the next grid that is made may take it with its copies. No node may have it open.
func Release(ctx context.Context, s Store) (Owner, error) {
	o, err := ReadOwner(ctx, s)
	if err != nil || o.Grid == "" {
		return o, err
	}
	if err := s.Drop(ctx, GridNamespace); err != nil {
		return o, fmt.Errorf("release the store: %w", err)
	}
	return o, SetFrom(ctx, s, o.Grid)
}

// IsEmpty reports whether a store has nothing of any cache, tombstones included.
func IsEmpty(ctx context.Context, s Store) (bool, error) {
	all, err := s.Namespaces(ctx)
	if err != nil {
		return false, err
	}
	for _, namespace := range all {
		if namespace == GridNamespace {
			continue
		}
		for _, err := range s.List(ctx, namespace, ListOptions{Deleted: true}) {
			if err != nil && !errors.Is(err, ErrCorrupt) {
				return false, err
			}
			return false, nil
		}
	}
	return true, nil
}

func putText(ctx context.Context, s Store, key, text string) error {
	err := s.Put(ctx, GridNamespace, Entry{Info: Info{Key: key, Revision: 1, ContentType: "text/plain"}, Value: []byte(text)})
	if err != nil {
		return fmt.Errorf("write what the store keeps of its grid: %w", err)
	}
	return nil
}
