package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/internal/bench"
	"github.com/millrace/millrace/internal/client"
)

// clusterGapRows are how long puts are not acknowledged when one node of three ends: the longest of all keys, whose partitions are led by all nodes.
func clusterGapRows(ctx context.Context, o options) (rows []Row, err error) {
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
	rounds := 10
	if o.short {
		rounds = 1
	}
	for _, way := range []struct {
		name   string
		by     syscall.Signal
		target float64
	}{
		{"kill -9", syscall.SIGKILL, 6},
		{"orderly stop", syscall.SIGTERM, 1},
	} {
		var gaps []float64
		for round := range rounds {
			gap, err := c.gap(ctx, round%clusterSize, way.by)
			if err != nil {
				return rows, fmt.Errorf("%s: %w", way.name, err)
			}
			gaps = append(gaps, gap.Seconds())
		}
		// Of ten, or one, the longest stands for the 99th of a hundred.
		longest := slices.Max(gaps)
		rows = append(rows, alone(fmt.Sprintf("longest time without an acknowledged put at a node's %s, the longest of %d", way.name, rounds), "s", []float64{longest}, way.target))
	}
	return rows, nil
}

// gap ends a node under puts through another one, and starts it again. Each writer has a key of its own.
func (c *nodes) gap(ctx context.Context, victim int, by syscall.Signal) (longest time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	const writers = 32
	through := c.clients[(victim+1)%len(c.clients)]
	writing, stop := context.WithCancel(ctx)
	var mu sync.Mutex
	acked := make([]time.Time, writers)
	var group sync.WaitGroup
	began := time.Now()
	for w := range writers {
		acked[w] = began
		group.Go(func() {
			for writing.Err() == nil {
				_, err := through.Put(writing, bench.Source, "gap"+itoa(w), make([]byte, 784), client.PutOptions{ContentType: "application/octet-stream"})
				if err == nil {
					mu.Lock()
					now := time.Now()
					longest = max(longest, now.Sub(acked[w]))
					acked[w] = now
					mu.Unlock()
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	defer group.Wait()
	defer stop() // first
	all := func() error {
		mu.Lock()
		defer mu.Unlock()
		for w, at := range acked {
			if !at.After(began) {
				return fmt.Errorf("writer %d has no put acknowledged", w)
			}
		}
		return nil
	}
	if err := waitUntil(ctx, all); err != nil {
		return 0, err
	}
	mu.Lock()
	longest = 0 // the first puts are not what is measured
	mu.Unlock()
	if err := c.end(victim, by); err != nil {
		return 0, err
	}
	mu.Lock()
	began = time.Now()
	mu.Unlock()
	if err := waitUntil(ctx, all); err != nil {
		return 0, err
	}
	stop()
	group.Wait()
	if err := c.start(victim); err != nil {
		return 0, err
	}
	return longest, c.wait(ctx)
}
