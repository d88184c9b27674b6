package main

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// cacheRows are puts and gets of one caller, of 784 bytes: in the process here, over one loopback connection there.
func cacheRows(ctx context.Context, o options) ([]Row, error) {
	n := 20_000
	if o.short {
		n = 3_000
	}
	value := make([]byte, 784)
	var puts, gets []pair
	for range o.rounds {
		var put, get pair
		err := bench.OnNode(ctx, bench.Options{Engine: "native"}, "durable", func(ctx context.Context, node *app.Node) error {
			if err := node.Grid().CreateCache(ctx, grid.CacheConfig{Name: "plain"}); err != nil {
				return err
			}
			c, err := node.Grid().Cache(ctx, "plain")
			if err != nil {
				return err
			}
			if put.own, err = rate(n, func(i int) error {
				_, err := c.Put(ctx, "k"+itoa(i), value, grid.PutOptions{})
				return err
			}); err != nil {
				return err
			}
			get.own, err = rate(n, func(i int) error {
				_, err := c.Get(ctx, "k"+itoa(i))
				return err
			})
			return err
		})
		if err != nil {
			return nil, err
		}
		if put.peer, get.peer, err = redisRates(ctx, n, value); err != nil {
			return nil, err
		}
		puts, gets = append(puts, put), append(gets, get)
	}
	return []Row{
		row("cache put in process, durable", "1/s", "Redis SET, appendfsync everysec", puts, 1, false),
		row("cache get in process", "1/s", "Redis GET", gets, 1.5, false),
	}, nil
}

func redisRates(ctx context.Context, n int, value []byte) (put, get float64, err error) {
	s, err := startRedis(ctx, true)
	if err != nil {
		return 0, 0, err
	}
	defer s.stop()
	c, err := s.client()
	if err != nil {
		return 0, 0, err
	}
	defer c.Close()
	if put, err = rate(n, func(i int) error {
		return c.Do(ctx, c.B().Set().Key("k"+itoa(i)).Value(rueidis.BinaryString(value)).Build()).Error()
	}); err != nil {
		return 0, 0, err
	}
	get, err = rate(n, func(i int) error {
		got, err := c.Do(ctx, c.B().Get().Key("k"+itoa(i)).Build()).AsBytes()
		if err == nil && len(got) != len(value) {
			err = fmt.Errorf("%d bytes came back", len(got))
		}
		return err
	})
	return put, get, err
}

// rate calls do n times and returns how many it did a second.
func rate(n int, do func(i int) error) (float64, error) {
	began := time.Now()
	for i := range n {
		if err := do(i); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}
