package grid

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// purgedPrefix begins the keys that say up to where each partition was purged of a cache that was deleted. A purge removes the newest record of a key
// alone for good: after a kill the server reads its blocks through, and the one before it is there again. So each start purges again.
const purgedPrefix = "purged."

func (g *Grid) notePurged(ctx context.Context, cache string, class Class, upTo []Sequence) error {
	if class != Durable {
		return nil // it is in memory alone
	}
	b, err := json.Marshal(upTo)
	if err == nil {
		_, err = g.meta.Put(ctx, purgedPrefix+cache, b)
	}
	if err != nil {
		return fmt.Errorf("note up to where it is gone: %w", apiError(err))
	}
	return nil
}

// purgeAgain removes what a kill brought back of caches that were deleted.
func (g *Grid) purgeAgain(ctx context.Context) error {
	keys, err := g.meta.ListKeysFiltered(ctx, purgedPrefix+"*")
	if err != nil {
		return fmt.Errorf("read what was purged: %w", apiError(err))
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, strings.TrimPrefix(key, purgedPrefix))
	}
	for _, name := range names {
		entry, err := g.meta.Get(ctx, purgedPrefix+name)
		if err != nil {
			return fmt.Errorf("read what was purged of cache %s: %w", name, apiError(err))
		}
		var upTo []Sequence
		if err := json.Unmarshal(entry.Value(), &upTo); err != nil {
			return fmt.Errorf("%w: what was purged of cache %s: %q", ErrFormat, name, entry.Value())
		}
		parts, err := g.class(ctx, Durable)
		if err != nil {
			return err
		}
		for i, p := range parts {
			if i >= len(upTo) || upTo[i] == 0 {
				continue
			}
			if _, err := g.ask(ctx, p, question{Op: askForget, Cache: name, From: upTo[i]}); err != nil {
				return fmt.Errorf("purge cache %s again: %w", name, err)
			}
		}
	}
	return nil
}
