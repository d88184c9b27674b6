package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/bench"
)

// clusterFlowRows are a pipeline's results a second with one, two and three nodes. All of them share this machine, so that what is shown is what a cluster costs:
// more nodes give more only where each has cores of its own. The short form leaves them out.
func clusterFlowRows(ctx context.Context, o options) (rows []Row, err error) {
	if o.short {
		return nil, nil
	}
	dir, program, end, err := programDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	const keys = 50_000
	type shape struct{ size, replicas int }
	shapes := []shape{{1, 1}, {2, 1}, {3, 1}, {3, 3}}
	for _, shape := range shapes {
		name := fmt.Sprintf("results a second, flood of %d keys over REST, %d nodes, %d replicas", keys, shape.size, shape.replicas)
		c, err := startNodes(ctx, program, filepath.Join(dir, fmt.Sprint(shape.size, "-", shape.replicas)), shape.size, shape.replicas)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", name, err)
		}
		var rates []float64
		for range o.rounds {
			took, err := c.flow(ctx, keys)
			if err != nil {
				return rows, errors.Join(fmt.Errorf("%s: %w", name, err), c.close())
			}
			rates = append(rates, float64(keys)/took.Seconds())
		}
		if err := c.close(); err != nil {
			return rows, err
		}
		rows = append(rows, told(name, "1/s", rates))
	}
	return rows, nil
}

// flow imports keys through all nodes, each its share, and waits until every result is there. It leaves no entries.
func (c *nodes) flow(ctx context.Context, keys int) (time.Duration, error) {
	const lines = 2048
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	bodies := make([][][]byte, len(c.clients))
	for at := 0; at < keys; at += lines {
		var body []byte
		for i := at; i < min(at+lines, keys); i++ {
			body = append(bulk.AppendLine(body, &bulk.Record{Key: "flow" + itoa(i), Value: make([]byte, 784), ContentType: "application/octet-stream"}), '\n')
		}
		node := at / lines % len(bodies)
		bodies[node] = append(bodies[node], body)
	}
	began := time.Now()
	group, importing := errgroup.WithContext(ctx)
	for i, cl := range c.clients {
		group.Go(func() error {
			for _, body := range bodies[i] {
				if _, err := cl.ImportLines(importing, bench.Source, body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	if err := c.results(ctx, keys); err != nil {
		return 0, err
	}
	took := time.Since(began)
	if err := c.clients[0].Clear(ctx, bench.Source); err != nil {
		return 0, err
	}
	return took, c.results(ctx, 0)
}

// results waits until there are so many.
func (c *nodes) results(ctx context.Context, n int) error {
	return waitUntil(ctx, func() error {
		d, err := c.clients[0].Cache(ctx, bench.Target)
		if err != nil {
			return err
		}
		if int(d.Size) != n {
			return fmt.Errorf("%d results of %d", d.Size, n)
		}
		return nil
	})
}
