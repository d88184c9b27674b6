package bench

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// A way is how the load reaches the node and how results come back. put is safe for concurrent use; next is for one goroutine.
type way interface {
	// put writes items under their keys, and returns when all are acknowledged.
	put(ctx context.Context, keys []string, values [][]byte) error
	// next waits for the next result event and returns its key.
	next(ctx context.Context) (string, error)
	// batch is how many items put takes at a time under load, and writers how many calls run at once.
	batch() int
	writers() int
	close()
}

// itemTimeout bounds the wait for one result: far more than any takes, so that a lost one is a failure and not a hang.
const itemTimeout = 30 * time.Second

// latencies puts n items one at a time and returns how long each took from before its put until its result's event.
func latencies(ctx context.Context, w way, n int, prefix string) ([]time.Duration, error) {
	times := make([]time.Duration, 0, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		key, value := prefix+strconv.Itoa(i), item(random)
		begun := time.Now()
		if err := w.put(ctx, []string{key}, [][]byte{value}); err != nil {
			return nil, fmt.Errorf("put %s: %w", key, err)
		}
		got, err := nextWithin(ctx, w)
		if err != nil {
			return nil, fmt.Errorf("result of %s: %w", key, err)
		}
		if got != key {
			return nil, fmt.Errorf("result of %s came where %s was put", got, key)
		}
		times = append(times, time.Since(begun))
	}
	return times, nil
}

// flood puts n distinct keys as fast as they are taken, and returns the time from the first put until every result's event.
func flood(ctx context.Context, w way, n int) (time.Duration, error) {
	random := rand.New(rand.NewPCG(3, 4))
	keys, values := make([]string, n), make([][]byte, n)
	for i := range n {
		keys[i], values[i] = "flood"+strconv.Itoa(i), item(random)
	}
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	batches := make(chan int)
	group.Go(func() error {
		defer close(batches)
		for i := 0; i < n; i += w.batch() {
			select {
			case batches <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range w.writers() {
		group.Go(func() error {
			for i := range batches {
				end := min(i+w.batch(), n)
				if err := w.put(ctx, keys[i:end], values[i:end]); err != nil {
					return fmt.Errorf("put %s: %w", keys[i], err)
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		seen := make(map[string]bool, n)
		for len(seen) < n {
			key, err := nextWithin(ctx, w)
			if err != nil {
				return fmt.Errorf("after %d of %d results: %w", len(seen), n, err)
			}
			if seen[key] {
				return fmt.Errorf("the result of %s came twice", key)
			}
			seen[key] = true
		}
		return nil
	})
	err := group.Wait()
	return time.Since(begun), err
}

func nextWithin(ctx context.Context, w way) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	return w.next(ctx)
}

// item is a picture's worth of random bytes.
func item(random *rand.Rand) []byte {
	b := make([]byte, itemBytes)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return b
}

// quantile returns the smallest time that a share q of all is not above.
func quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
