package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// purgedPrefix begins the keys that say up to where each partition was purged of a cache that was deleted. A purge removes for good only what was not
// overwritten: after a kill the server reads its blocks through, and the record before the purged one is there again. So who takes a partition purges
// it again. A name has one note, of its newest deletion: a list with an element a partition.
const purgedPrefix = "purged."

// purged is up to where a partition was purged, in the stream that was made at Born (Unix nanoseconds): in another one it says nothing.
type purged struct {
	Born int64    `json:"born"`
	UpTo Sequence `json:"up_to"`
}

// purge removes what a partition has of a cache up to a sequence: entries, markers and the positions of its readers.
func (p *partition) purge(ctx context.Context, stream jetstream.Stream, cache string, upTo Sequence) error {
	for _, subject := range []string{p.prefix + cache + ".>", p.subject(reserved, readerToken+"."+cache+".>")} {
		if err := stream.Purge(ctx, jetstream.WithPurgeSubject(subject), jetstream.WithPurgeSequence(uint64(upTo)+1)); err != nil {
			return fmt.Errorf("purge %s in %s: %w", cache, p.stream, apiError(err))
		}
	}
	return nil
}

func (g *Grid) notePurged(ctx context.Context, cache string, class Class, parts []purged) error {
	if class != Durable {
		return nil // it is in memory alone
	}
	b, err := json.Marshal(parts)
	if err == nil {
		_, err = g.meta.Put(ctx, purgedPrefix+cache, b)
	}
	if err != nil {
		return fmt.Errorf("note up to where cache %s is gone: %w", cache, g.metaError(err))
	}
	return nil
}

// purgeAgain removes from a partition what a kill brought back of caches that were deleted.
func (g *Grid) purgeAgain(ctx context.Context, p *partition) error {
	if p.class != Durable {
		return nil
	}
	keys, err := g.meta.ListKeysFiltered(ctx, purgedPrefix+"*")
	if err != nil {
		return fmt.Errorf("read which caches were deleted: %w", apiError(err))
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, strings.TrimPrefix(key, purgedPrefix))
	}
	if ctx.Err() != nil { // the list ended with it
		return fmt.Errorf("read which caches were deleted: %w", contextError(ctx))
	}
	if len(names) == 0 {
		return nil
	}
	stream, err := g.js.Stream(ctx, p.stream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", p.stream, apiError(err))
	}
	born := bornAt(stream)
	for _, name := range names {
		note, _, err := g.metaGet(ctx, purgedPrefix+name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read up to where cache %s is gone: %w", name, apiError(err))
		}
		var parts []purged
		if err := json.Unmarshal(note, &parts); err != nil {
			return fmt.Errorf("%w: up to where cache %s is gone: %q", ErrFormat, name, note)
		}
		if p.number >= len(parts) || parts[p.number].Born != born {
			continue
		}
		if err := p.purge(ctx, stream, name, parts[p.number].UpTo); err != nil {
			return err
		}
	}
	return nil
}
