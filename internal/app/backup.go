package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/grid"
)

// backup writes the node's grid.
func (n *Node) backup(ctx context.Context, w io.Writer, skipCold bool) error {
	_, err := backup.Write(ctx, n.grid, w, backup.Options{SkipCold: skipCold, Lost: func(cache, key string, err error) {
		n.log.Warn("an entry is not in the backup", "cache", cache, "key", key, "error", err)
	}})
	return err
}

// ErrMisfit says that a backup does not fit a configuration.
var ErrMisfit = errors.New("the backup does not fit the configuration")

// RestoreInto fills the new grid that cfg, which is complete, says: a folder, or one on a NATS server. It refuses what a node of cfg could not open
// afterwards. No node may run there meanwhile.
func RestoreInto(ctx context.Context, cfg Config, from backup.Place, m backup.Manifest, progress func(backup.Progress), log *slog.Logger) (out backup.Restored, err error) {
	if cfg.Cluster.set() {
		return out, fmt.Errorf("%w: it has cluster:, and a backup is restored into the folder of a node alone; for a cluster, start its nodes with cluster.grow: true, "+
			"and name them with --to", ErrMisfit)
	}
	if err := fits(cfg, m); err != nil {
		return out, err
	}
	settings := cfg.grid(log)
	settings.Taking = m.Taking()
	if settings.Partitions == 0 {
		settings.Partitions = m.Partitions
	}
	g, err := grid.Open(ctx, settings)
	if err != nil {
		return out, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, g.Close(ctx))
	}()
	return backup.Restore(ctx, from, m, g, backup.RestoreOptions{
		Progress: progress,
		Skip:     isStoreReader,
	})
}

// fits reports every cache of a backup that a node of a configuration could not open.
func fits(cfg Config, m backup.Manifest) error {
	var faults []error
	for _, c := range m.Caches {
		have, named := cfg.Caches[c.Name]
		if named {
			want := have.cache(c.Name)
			if want.Class == "" {
				want.Class = grid.Durable
			}
			if want.Class != c.Class {
				faults = append(faults, fmt.Errorf("%w: caches.%s.class is %s, and the backup's cache is %s", ErrMisfit, c.Name, want.Class, c.Class))
			}
			if m.References && want.Store != c.Store {
				faults = append(faults, fmt.Errorf("%w: caches.%s.store is %q, and values of the backup's cache are in the store %q alone", ErrMisfit, c.Name, want.Store, c.Store))
			}
			c.Store = want.Store
		}
		if _, ok := cfg.Stores[c.Store]; c.Store != "" && !ok {
			faults = append(faults, fmt.Errorf("%w: the cache %s has the store %q, which is not under stores: (there is %s); add it, or give caches.%s another one",
				ErrMisfit, c.Name, c.Store, strings.Join(append(slices.Sorted(maps.Keys(cfg.Stores)), "no other"), ", "), c.Name))
		}
	}
	return errors.Join(faults...)
}
