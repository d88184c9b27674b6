package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/bench"
	"github.com/millrace/millrace/internal/client"
)

// clusterJoinRows are what a fourth node costs that joins three which have 1 GB of entries: how fast its share comes to it, and how long puts take meanwhile.
func clusterJoinRows(ctx context.Context, o options) (rows []Row, err error) {
	const value = 16 << 10
	entries, label := 65_536, "1 GB"
	if o.short {
		entries, label = 8_192, "128 MB"
	}
	dir, program, end, err := programDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	c, err := startNodes(ctx, program, filepath.Join(dir, "nodes"), clusterSize, clusterSize)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if err := c.load(ctx, entries, value); err != nil {
		return nil, fmt.Errorf("load %s: %w", label, err)
	}
	before, err := c.latencies(ctx, func() error { return pause(ctx, 10*time.Second) })
	if err != nil {
		return nil, err
	}
	var took time.Duration
	var moved uint64
	during, err := c.latencies(ctx, func() (err error) {
		took, moved, err = c.join(ctx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("a fourth node joins: %w", err)
	}
	p99 := func(took []time.Duration) float64 { return took[len(took)*99/100].Seconds() * 1e3 }
	return []Row{
		told(fmt.Sprintf("a node joins three that have %s of entries: from its first move until all shares are even", label), "s", []float64{took.Seconds()}),
		told("the same: what comes to it", "MB/s", []float64{float64(moved) / 1e6 / took.Seconds()}),
		row("the same: puts meanwhile, 4 callers, p99", "ms", "before", []pair{{p99(during), p99(before)}}, 3, true),
	}, nil
}

// load puts entries of random-looking bytes through all nodes.
func (c *nodes) load(ctx context.Context, entries, size int) error {
	if err := c.clients[0].CreateCache(ctx, "loaded", client.CacheConfig{}); err != nil {
		return err
	}
	const callers = 16
	group, loading := errgroup.WithContext(ctx)
	for caller := range callers {
		group.Go(func() error {
			value := make([]byte, size)
			for i := caller; i < entries; i += callers {
				for j := range value {
					value[j] = byte(i * (j + 1) >> 3)
				}
				if _, err := c.clients[caller%len(c.clients)].Put(loading, "loaded", itoa(i), value, client.PutOptions{ContentType: "application/octet-stream"}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// latencies returns how long puts took, the shortest first, that four callers made while something was done.
func (c *nodes) latencies(ctx context.Context, do func() error) ([]time.Duration, error) {
	const callers = 4
	// Through the nodes that are there from the beginning.
	through := c.clients[:clusterSize]
	putting, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var took []time.Duration
	var group errgroup.Group
	for caller := range callers {
		group.Go(func() error {
			for i := 0; putting.Err() == nil; i++ {
				began := time.Now()
				_, err := through[caller%len(through)].Put(putting, bench.Source, fmt.Sprint("join", caller, "-", i%1000), make([]byte, 784), client.PutOptions{ContentType: "application/octet-stream"})
				if putting.Err() != nil {
					return nil
				}
				if err != nil {
					return err
				}
				mu.Lock()
				took = append(took, time.Since(began))
				mu.Unlock()
				if err := pause(putting, 5*time.Millisecond); err != nil {
					return nil // it is over
				}
			}
			return nil
		})
	}
	err := do()
	stop()
	if err := errors.Join(err, group.Wait()); err != nil {
		return nil, err
	}
	if len(took) == 0 {
		return nil, errors.New("no put was acknowledged")
	}
	slices.Sort(took)
	return took, nil
}

// join adds a node, and returns how long it took from the first move until the shares were even, and what is on the node then.
func (c *nodes) join(ctx context.Context) (took time.Duration, moved uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := c.add(clusterSize); err != nil {
		return 0, 0, err
	}
	name := fmt.Sprint("n", clusterSize)
	var began time.Time
	look := func() error {
		s, err := c.clients[0].Cluster(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == name && n.Connected })
		if at < 0 {
			return fmt.Errorf("%s is not there", name)
		}
		n := s.Nodes[at]
		if began.IsZero() && (len(s.Rebalancing.Current) > 0 || n.Replicas > 0) {
			began = time.Now()
		}
		replicas := 0
		for _, p := range s.Partitions {
			replicas += len(p.Replicas)
		}
		// What the controller says may be of a moment ago: it is even where the node has its share too.
		if s.Rebalancing.State != cluster.Evenly || n.Replicas < replicas/len(s.Nodes) {
			return fmt.Errorf("%s has %d replicas, and the shares are %s: %s", name, n.Replicas, s.Rebalancing.State, s.Rebalancing.Reason)
		}
		if n.Load == nil {
			return fmt.Errorf("%s has not told its load", name)
		}
		took, moved = time.Since(began), n.Load.Disk
		return nil
	}
	// Each look asks the leaders of all partitions: not as often as waitUntil would.
	for err = look(); err != nil; err = look() {
		if pause(ctx, 250*time.Millisecond) != nil {
			return 0, 0, err
		}
	}
	return took, moved, nil
}
