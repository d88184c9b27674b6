package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// agreesWithGrid reports whether there is a grid that this node can have, and returns why it cannot. Where nobody leads its description, or nobody can be asked, it reports false.
func (g *Grid) agreesWithGrid(ctx context.Context, js jetstream.JetStream) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unknown := func(err error) (bool, error) {
		g.cfg.Logger.Debug("look for the grid's description", "error", err)
		return false, nil
	}
	// Without a leader a replica answers too, for 10 s after its start. Where this node's folder was emptied it is one of those that a leader must do without.
	stream, err := js.Stream(ctx, "KV_"+g.metaBucket())
	if err != nil {
		return unknown(err)
	}
	if !ofLeader(stream.CachedInfo()) {
		return unknown(fmt.Errorf("%w: it has no leader", ErrUnavailable))
	}
	kv, err := js.KeyValue(ctx, g.metaBucket())
	if err != nil {
		return unknown(err)
	}
	entry, err := kv.Get(ctx, gridKey)
	if err != nil {
		return unknown(err)
	}
	var have gridState
	if err := json.Unmarshal(entry.Value(), &have); err != nil {
		return false, fmt.Errorf("%w: the grid's description %q: %w", ErrFormat, entry.Value(), err)
	}
	if have.Replicas == 0 { // that of a node alone, which the cluster is taking over
		return false, nil
	}
	if err := g.fits(have); err != nil {
		return false, err
	}
	if err := g.hasStoresFor(ctx, js, kv); errors.Is(err, ErrConfig) {
		return false, err
	} else if err != nil {
		return unknown(err)
	}
	return true, nil
}

// hasStoresFor returns an ErrConfig where a cache of the grid has a store that this node lacks. What a replica says that lags is not enough: the leader says how many caches there are.
func (g *Grid) hasStoresFor(ctx context.Context, js jetstream.JetStream, kv jetstream.KeyValue) error {
	if g.cfg.Tiers == nil {
		return nil
	}
	here := g.cfg.Tiers.Stores()
	stream, err := js.Stream(ctx, "KV_"+g.metaBucket())
	if err != nil {
		return fmt.Errorf("read the caches: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter("$KV."+g.metaBucket()+"."+cachePrefix+"*"))
	if err != nil {
		return fmt.Errorf("read the caches: %w", err)
	}
	watch, err := kv.Watch(ctx, cachePrefix+"*")
	if err != nil {
		return fmt.Errorf("read the caches: %w", err)
	}
	for seen := 0; ; seen++ {
		select {
		case entry := <-watch.Updates():
			if entry == nil {
				if all := len(info.State.Subjects); seen < all {
					err = fmt.Errorf("%w: a replica has %d of %d caches", ErrUnavailable, seen, all)
				}
				return errors.Join(err, watch.Stop())
			}
			if entry.Operation() != jetstream.KeyValuePut {
				continue
			}
			var config CacheConfig
			if err := json.Unmarshal(entry.Value(), &config); err != nil {
				return errors.Join(fmt.Errorf("%w: the configuration %s: %w", ErrFormat, entry.Key(), err), watch.Stop())
			}
			if config.Store != "" && !slices.Contains(here, config.Store) {
				return errors.Join(fmt.Errorf("%w: %w: %w", ErrConfig, errRefused, lacksStore(config, here)), watch.Stop())
			}
		case <-ctx.Done():
			return errors.Join(contextError(ctx), watch.Stop())
		}
	}
}

// lacksStore says that this node has no store of a name.
func lacksStore(config CacheConfig, here []string) error {
	return fmt.Errorf("cache %s: this node has no store %q, but %s", config.Name, config.Store, cmp.Or(strings.Join(here, ", "), "none"))
}
