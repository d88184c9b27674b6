package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// migrate takes a grid of version 1 over: what the durable consumers had acknowledged becomes the positions of readers. It
// can be cut short at any point and begins again. Version 2 is written down last.
func (g *Grid) migrate(ctx context.Context) error {
	if g.found == formatVersion && (g.server == nil || g.server.lock == nil || g.server.lock.version == formatVersion) {
		return nil
	}
	g.mu.Lock()
	var parts []*partition
	for _, class := range g.classes {
		parts = append(parts, class...)
	}
	g.mu.Unlock()
	for _, p := range parts {
		if err := g.migrateConsumers(ctx, p); err != nil {
			return fmt.Errorf("take over the consumers of version 1: %w", err)
		}
	}
	if err := g.purgeOrphans(ctx, parts); err != nil {
		return fmt.Errorf("remove what deleted caches left behind: %w", err)
	}
	b, err := json.Marshal(gridState{ID: g.id, Format: formatVersion, Partitions: g.partitions, MarkerTTL: g.markerTTL})
	if err != nil {
		return fmt.Errorf("describe the grid: %w", err)
	}
	if _, err := g.meta.Put(ctx, gridKey, b); err != nil {
		return fmt.Errorf("describe the grid: %w", apiError(err))
	}
	g.cfg.Logger.Info("the grid was taken over from version 1", "version", formatVersion)
	if g.server != nil && g.server.lock != nil {
		return g.server.lock.setFormat()
	}
	return nil
}

// migrateConsumers turns the durable consumers of a partition into positions.
func (g *Grid) migrateConsumers(ctx context.Context, p *partition) error {
	stream, err := g.js.Stream(ctx, p.stream)
	if err != nil {
		return fmt.Errorf("open stream %s: %w", p.stream, apiError(err))
	}
	var found []*jetstream.ConsumerInfo
	list := stream.ListConsumers(ctx)
	for info := range list.Info() {
		found = append(found, info)
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list the consumers of %s: %w", p.stream, apiError(err))
	}
	for _, info := range found {
		cache, ok := strings.CutPrefix(info.Config.FilterSubject, p.prefix)
		cache, wild := strings.CutSuffix(cache, ".>")
		name := info.Config.Durable
		if !ok || !wild || name == "" || !readerName.MatchString(name) || !cacheName.MatchString(cache) {
			continue // a NATS client's own
		}
		if err := g.migrateConsumer(ctx, p, cache, name, Sequence(info.AckFloor.Stream)); err != nil {
			return err
		}
		if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("delete consumer %s of %s: %w", name, p.stream, apiError(err))
		}
	}
	return nil
}

func (g *Grid) migrateConsumer(ctx context.Context, p *partition, cache, name string, floor Sequence) error {
	at, err := g.readPosition(ctx, p, cache, name)
	if err != nil {
		return err
	}
	if !at.none() {
		return nil // from a migration that was cut short
	}
	at.Position = floor
	if _, err := g.writePosition(ctx, p, cache, name, at); err != nil && !isWrongSequence(err) { // another node may be at it
		return fmt.Errorf("write the position of %s: %w", name, err)
	}
	return nil
}

// purgeOrphans ends deletions of caches that a crash of version 1 cut short: it did not note them.
func (g *Grid) purgeOrphans(ctx context.Context, parts []*partition) error {
	for _, p := range parts {
		t := p.tenure()
		if t == nil {
			continue
		}
		t.index.mu.Lock()
		var orphans []string
		g.mu.Lock()
		for name := range t.index.spaces {
			if g.caches[name] == nil {
				orphans = append(orphans, name)
			}
		}
		g.mu.Unlock()
		t.index.mu.Unlock()
		for _, name := range orphans {
			if _, err := t.forget(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}
