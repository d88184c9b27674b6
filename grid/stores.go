package grid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// storeKeyPrefix is before the name of a store in the meta bucket, which has there which store it is: all nodes must have the same under one name.
const storeKeyPrefix = "store."

// StoreID returns the id of the store that the grid has under a name; "" for none. The name has letters, digits, _ and - alone.
func (g *Grid) StoreID(ctx context.Context, name string) (string, error) {
	value, _, err := g.metaGet(ctx, storeKeyPrefix+name)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("read which store is %s: %w", name, g.metaError(err))
	}
	return string(value), nil
}

// NoteStore has the grid note the id of a store under a name in place of the one that was there, "" for none, and returns what it has then: of two
// nodes that note at a time, one is faster.
func (g *Grid) NoteStore(ctx context.Context, name, id, before string) (string, error) {
	have, rev, err := g.metaGet(ctx, storeKeyPrefix+name)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return "", fmt.Errorf("read which store is %s: %w", name, g.metaError(err))
	}
	if string(have) != before {
		return string(have), nil
	}
	if before == "" {
		_, err = g.meta.Create(ctx, storeKeyPrefix+name, []byte(id))
	} else {
		_, err = g.meta.Update(ctx, storeKeyPrefix+name, []byte(id), rev)
	}
	if err != nil && !errors.Is(err, jetstream.ErrKeyExists) && !isReplaced(err) {
		return "", fmt.Errorf("note which store is %s: %w", name, g.metaError(err))
	}
	return g.StoreID(ctx, name)
}

// ErrLacking says that a store which a cache names is not on all nodes that own partitions. It comes with ErrConfig.
var ErrLacking = errors.New("nodes that own partitions lack the store")

// hearFor is how long a node has listened when it knows what the others have: each says it every memberEvery.
const hearFor = 2 * memberEvery

// haveStore returns an ErrConfig where a node that is there, and may own partitions of a cache, has no store of the name that the cache's configuration has: what it
// owned of the cache could neither leave memory nor come back. A node that is not there says so itself, when it starts.
func (g *Grid) haveStore(ctx context.Context, config CacheConfig) error {
	if config.Store == "" || g.cfg.Tiers == nil {
		return nil
	}
	here := g.cfg.Tiers.Stores()
	if !g.guest() && !slices.Contains(here, config.Store) {
		return fmt.Errorf("%w: %w", ErrConfig, lacksStore(config, here))
	}
	if g.alone() {
		return nil
	}
	if err := g.owners.heardAll(ctx); err != nil {
		return err
	}
	lacking := g.owners.members.lack(config.Store, g.node, time.Now())
	if len(lacking) == 0 {
		return nil
	}
	return fmt.Errorf("%w: cache %s: %w: %s: there is no %q among their stores; add stores.%s to their configuration files, as the other nodes have it, start them again, and then repeat this",
		ErrConfig, config.Name, ErrLacking, strings.Join(lacking, ", "), config.Store, config.Store)
}

// heardAll returns when this node has listened to the others for hearFor.
func (o *owners) heardAll(ctx context.Context) error {
	wait := time.NewTimer(hearFor - time.Since(o.listening))
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	case <-o.g.done:
		return ErrClosed
	}
}

// lack returns the names of the nodes other than self that are there, may own partitions, and have said that they have no store of a name.
func (m *members) lack(store, self string, now time.Time) (names []string) {
	all := m.alive(self, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, node := range m.keepersNow(all) {
		if stores, said := m.stores[node]; said && node != self && !slices.Contains(stores, store) {
			names = append(names, nameOf(node))
		}
	}
	return names
}

// hasStores notes what a node says of its stores.
func (m *members) hasStores(node, text string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stores[node] = strings.Split(text, ",")
}

// tellStores tells the other nodes which stores caches may name here.
func (o *owners) tellStores() {
	if t := o.g.cfg.Tiers; t != nil && !o.g.alone() {
		o.publish("stores " + o.g.node + " " + strings.Join(t.Stores(), ","))
	}
}
