package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// listed is how many entries a list has here, in the short form too: the target is for so many.
const listed = 300_000

// listRows are action=entries of many keys over REST, from the request to the end of the answer.
func listRows(ctx context.Context, o options) ([]Row, error) {
	var seconds []float64
	err := bench.OnNode(ctx, bench.Options{Engine: "native"}, "durable", func(ctx context.Context, node *app.Node) error {
		const name = "listed"
		if err := node.Grid().CreateCache(ctx, grid.CacheConfig{Name: name}); err != nil {
			return err
		}
		c, err := node.Grid().Cache(ctx, name)
		if err != nil {
			return err
		}
		if err := fill(ctx, c); err != nil {
			return err
		}
		url := "http://" + node.Addr().String() + "/rest/v2/caches/" + name + "?action=entries"
		var body bytes.Buffer // one for all rounds: to make it is no part of a list
		for range o.rounds {
			n, took, err := list(ctx, url, &body)
			if err != nil {
				return err
			}
			if n != listed {
				return fmt.Errorf("the list had %d of %d entries", n, listed)
			}
			seconds = append(seconds, took.Seconds())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []Row{alone("entries of "+strconv.Itoa(listed)+" keys over REST", "s", seconds, 1)}, nil
}

// fill puts what is listed.
func fill(ctx context.Context, c *grid.Cache) error {
	const batch = 1000
	puts := make([]grid.Put, batch)
	for at := 0; at < listed; at += batch {
		for i := range puts {
			puts[i] = grid.Put{Key: "sensor-" + itoa(at+i), Value: fmt.Appendf(nil, `{"temperature":%d.5,"state":"open"}`, i),
				Options: grid.PutOptions{ContentType: "application/json"}}
		}
		done, err := c.PutBatch(ctx, puts)
		if err != nil {
			return err
		}
		for _, d := range done {
			if d.Err != nil {
				return d.Err
			}
		}
	}
	return nil
}

// list reads a whole list and returns how many entries it has, and how long it took until the last byte.
func list(ctx context.Context, url string, into *bytes.Buffer) (n int, took time.Duration, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("list: %s", resp.Status)
	}
	into.Reset()
	_, err = into.ReadFrom(resp.Body)
	took = time.Since(began)
	return bytes.Count(into.Bytes(), []byte(`{"key":"`)), took, err
}
