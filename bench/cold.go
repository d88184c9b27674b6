package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// coldRows are what caches that are larger than their memory cost those who read what is in it.
func coldRows(ctx context.Context, o options) ([]Row, error) {
	hit, err := hitRow(ctx, o)
	if err != nil {
		return nil, err
	}
	rows, err := evictRows(ctx, o)
	return append([]Row{hit}, rows...), err
}

// onColdNode calls work with a node that has a store on the disk.
func onColdNode(work func(bench.Options) error) (err error) {
	dir, err := os.MkdirTemp("", "millrace-bench-cold-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return work(bench.Options{Engine: "native", Store: bench.DiskStore(dir)})
}

// hitRow reads entries that are in memory, of a cache of which others have left it, and of one without limits.
func hitRow(ctx context.Context, o options) (r Row, err error) {
	const limit, most = 8_000, 10_000
	err = onColdNode(func(b bench.Options) error {
		return bench.OnNode(ctx, b, "durable", func(ctx context.Context, node *app.Node) error {
			var sides []side
			for _, cfg := range []grid.CacheConfig{{Name: "limited", MaxEntries: limit, Store: bench.StoreName}, {Name: "unlimited"}} {
				c, err := bench.Cache(ctx, node, cfg)
				if err != nil {
					return err
				}
				if err := (bench.Puts{Prefix: "k", N: most, Size: 784}).Into(ctx, c); err != nil {
					return err
				}
				if cfg.Store != "" {
					if err := bench.AwaitStored(ctx, node, cfg.Name); err != nil {
						return err
					}
				}
				var keys []string
				for i := 0; i < most && len(keys) < limit/2; i++ {
					if _, ok := c.Resident("k" + itoa(i)); ok {
						keys = append(keys, "k"+itoa(i))
					}
				}
				if len(keys) < limit/4 {
					return fmt.Errorf("only %d entries of %s are in memory", len(keys), cfg.Name)
				}
				next := 0
				sides = append(sides, func(ctx context.Context, n int) error {
					for range n {
						if _, err := c.Get(ctx, keys[next%len(keys)]); err != nil {
							return err
						}
						next++
					}
					return nil
				})
			}
			pairs, err := alternate(ctx, o, wallTime, sides[0], sides[1])
			r = row("cache get in process, of what stayed in memory when others left it", "us", "of a cache without limits",
				mapped(pairs, func(s float64) float64 { return s * 1e6 }), 1.1, true)
			return err
		})
	})
	return r, err
}

// evictRows read entries while very many others are put and leave memory, and while as many are put that stay.
func evictRows(ctx context.Context, o options) ([]Row, error) {
	n, rounds := 1_000_000, 1
	if o.short {
		n, rounds = 20_000, o.rounds
	}
	var tails []float64
	var pairs []pair
	for range rounds {
		var longest [2]time.Duration
		for i, limit := range []int{max(2_000, n/50), 0} {
			err := onColdNode(func(b bench.Options) error {
				times, err := bench.GetsWhilePut(ctx, b, n, limit)
				if err != nil {
					return err
				}
				longest[i] = slices.Max(times)
				if limit > 0 {
					tails = append(tails, milliseconds(bench.Quantile(times, 0.9999)))
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		pairs = append(pairs, pair{milliseconds(longest[0]), milliseconds(longest[1])})
	}
	what := fmt.Sprintf("cache get in process while %d entries leave memory", n)
	return []Row{
		alone(what+", p99.99", "ms", tails, 20),
		row(what+", the longest", "ms", "while as many are put and stay", pairs, 3, true),
	}, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
