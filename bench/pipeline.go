package main

import (
	"context"
	"errors"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// pipelineRows are section "pipeline": put to result event, and results a second, in both classes of caches.
func pipelineRows(ctx context.Context, o options) ([]Row, error) {
	data, err := bench.DenseNet()
	if err != nil {
		return nil, err
	}
	path, remove, err := tempModel(data)
	if err != nil {
		return nil, err
	}
	single, flood := 3000, 100_000
	if o.short {
		single, flood = 500, 20_000
	}
	var rows []Row
	for _, class := range []struct {
		name    string
		durable bool
		peer    string
		flood   float64
	}{
		{"durable", true, "Redis Streams, appendfsync everysec", 1},
		{"volatile", false, "Redis Streams, no persistence", 0.9},
	} {
		var latency, rate []pair
		for range o.rounds {
			var own, peer [2]float64
			err := bench.OnNode(ctx, bench.Options{Engine: "native"}, class.name, func(ctx context.Context, n *app.Node) error {
				w, err := bench.OpenDirect(ctx, n)
				if err != nil {
					return err
				}
				defer w.Close()
				own, err = measure(ctx, w, single, flood)
				return err
			})
			if err != nil {
				return rows, errors.Join(err, remove())
			}
			w, err := openRedis(ctx, class.durable, path)
			if err != nil {
				return rows, errors.Join(err, remove())
			}
			peer, err = measure(ctx, w, single, flood)
			w.Close()
			if err != nil {
				return rows, errors.Join(err, remove())
			}
			latency, rate = append(latency, pair{own[0], peer[0]}), append(rate, pair{own[1], peer[1]})
		}
		rows = append(rows,
			row("put to result event, p50, one at a time, "+class.name, "us", class.peer, latency, 0.4, true),
			row("results a second, flood of "+itoa(flood)+" keys, "+class.name, "1/s", class.peer, rate, class.flood, false))
	}
	return rows, remove()
}

// measure returns the median latency in microseconds and the results a second.
func measure(ctx context.Context, w bench.Way, single, flood int) (values [2]float64, err error) {
	if _, err := bench.Latencies(ctx, w, single/5, "warm"); err != nil {
		return values, err
	}
	times, err := bench.Latencies(ctx, w, single, "single")
	if err != nil {
		return values, err
	}
	values[0] = bench.Quantile(times, 0.5).Seconds() * 1e6
	took, err := bench.Flood(ctx, w, flood)
	values[1] = float64(flood) / took.Seconds()
	return values, err
}
