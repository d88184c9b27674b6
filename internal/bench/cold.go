package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
)

// DiskStore is a store in a folder, for Options.
func DiskStore(dir string) *app.StoreConfig {
	return &app.StoreConfig{Type: "disk", Dir: app.Path(filepath.Join(dir, "store")), MaxLagEntries: 100_000, MaxLagBytes: 256 << 20}
}

// Cache makes a cache of the node of OnNode.
func Cache(ctx context.Context, n *app.Node, cfg grid.CacheConfig) (*grid.Cache, error) {
	if err := n.Grid().CreateCache(ctx, cfg); err != nil {
		return nil, err
	}
	return n.Grid().Cache(ctx, cfg.Name)
}

// Puts are many entries under the keys Prefix0, Prefix1 and so on.
type Puts struct {
	Prefix string
	N      int
	// Size is that of a value.
	Size int
	// Batch is how many are put together, and Writers how many batches at a time; 256 and 4 if 0.
	Batch, Writers int
}

// Into puts them as fast as they are taken. Where the cache is full or its store behind, it tries again.
func (p Puts) Into(ctx context.Context, c *grid.Cache) error {
	if p.Batch == 0 {
		p.Batch, p.Writers = 256, 4
	}
	value := make([]byte, p.Size)
	for i := range value {
		value[i] = byte(i * 7)
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range p.Writers {
		group.Go(func() error {
			for {
				from := int(next.Add(int64(p.Batch))) - p.Batch
				if from >= p.N {
					return nil
				}
				var puts []grid.Put
				for i := from; i < min(from+p.Batch, p.N); i++ {
					puts = append(puts, grid.Put{Key: p.Prefix + strconv.Itoa(i), Value: value})
				}
				if err := putAll(ctx, c, puts); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func putAll(ctx context.Context, c *grid.Cache, puts []grid.Put) error {
	for len(puts) > 0 {
		results, err := c.PutBatch(ctx, puts)
		if err != nil {
			return err
		}
		var again []grid.Put
		for i, r := range results {
			if errors.Is(r.Err, grid.ErrFull) {
				again = append(again, puts[i])
			} else if r.Err != nil {
				return fmt.Errorf("put %s: %w", puts[i].Key, r.Err)
			}
		}
		puts = again
	}
	return nil
}

// AwaitStored waits until the cache's store has all that was put.
func AwaitStored(ctx context.Context, n *app.Node, cache string) error {
	return await(ctx, func() (bool, error) {
		positions, err := n.Grid().Positions(ctx, cache, cold.ReaderName(StoreName))
		if errors.Is(err, grid.ErrNoReader) {
			return false, nil
		}
		waits := func(p grid.Position) bool { return !p.Open || p.Changes > 0 }
		return err == nil && !slices.ContainsFunc(positions, waits), err
	})
}

func await(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hotKeys is how many keys are read while others are put.
const hotKeys = 100

// GetsWhilePut returns how long each get of some keys took, one after the other, while n other entries were put, by one caller, into a cache with a store on the
// disk. At most limit entries are in memory, so that the others leave it meanwhile; with 0 none has to.
func GetsWhilePut(ctx context.Context, o Options, n, limit int) (times []time.Duration, err error) {
	err = OnNode(ctx, o, "durable", func(ctx context.Context, node *app.Node) error {
		c, err := Cache(ctx, node, grid.CacheConfig{Name: "evicting", Store: StoreName, MaxEntries: int64(limit)})
		if err != nil {
			return err
		}
		if err := (Puts{Prefix: "hot", N: hotKeys, Size: itemBytes}).Into(ctx, c); err != nil {
			return err
		}
		var ended atomic.Bool
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error {
			defer ended.Store(true)
			if err := (Puts{Prefix: "other", N: n, Size: itemBytes, Batch: 64, Writers: 1}).Into(ctx, c); err != nil || limit == 0 {
				return err
			}
			return await(ctx, func() (bool, error) {
				s, err := c.Stats(ctx)
				return err == nil && s.Tier.Evictions >= uint64(n+hotKeys-limit), err
			})
		})
		group.Go(func() error {
			for i := 0; !ended.Load(); i++ {
				began := time.Now()
				if _, err := c.Get(ctx, "hot"+strconv.Itoa(i%hotKeys)); err != nil {
					return err
				}
				times = append(times, time.Since(began))
			}
			return nil
		})
		return group.Wait()
	})
	return times, err
}
