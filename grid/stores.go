package grid

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// storeKeyPrefix is before the name of a store in the meta bucket, which has there which store it is: all nodes must have the same under one name.
const storeKeyPrefix = "store."

// StoreID returns the id of the store that the grid has under a name; "" for none. The name has letters, digits, _ and - alone.
func (g *Grid) StoreID(ctx context.Context, name string) (string, error) {
	value, _, err := g.metaGet(ctx, storeKeyPrefix+name)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("read which store is %s: %w", name, apiError(err))
	}
	return string(value), nil
}

// NoteStore has the grid note the id of a store under a name in place of the one that was there, "" for none, and returns what it has then: of two
// nodes that note at a time, one is faster.
func (g *Grid) NoteStore(ctx context.Context, name, id, before string) (string, error) {
	have, rev, err := g.metaGet(ctx, storeKeyPrefix+name)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("read which store is %s: %w", name, apiError(err))
	}
	if string(have) != before {
		return string(have), nil
	}
	if before == "" {
		_, err = g.meta.Create(ctx, storeKeyPrefix+name, []byte(id))
	} else {
		_, err = g.meta.Update(ctx, storeKeyPrefix+name, []byte(id), rev)
	}
	if err != nil && !errors.Is(err, jetstream.ErrKeyExists) && !isWrongSequence(err) {
		return "", fmt.Errorf("note which store is %s: %w", name, apiError(err))
	}
	return g.StoreID(ctx, name)
}
