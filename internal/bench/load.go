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

// A Way is how load reaches a system and how results come back. Put is safe for concurrent use; Next is for one goroutine.
type Way interface {
	// Put writes items under their keys, and returns when all are acknowledged.
	Put(ctx context.Context, keys []string, values [][]byte) error
	// Next waits for the next result event and returns its key.
	Next(ctx context.Context) (string, error)
	// Batch is how many items Put takes at a time under load, and Writers how many calls run at once.
	Batch() int
	Writers() int
	Close()
}

// itemTimeout bounds the wait for one result: far more than any takes, so that a lost one is a failure and not a hang.
const itemTimeout = 30 * time.Second

// Latencies puts n items one at a time and returns how long each took from before its put until its result's event.
func Latencies(ctx context.Context, w Way, n int, prefix string) ([]time.Duration, error) {
	times := make([]time.Duration, 0, n)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range n {
		key, value := prefix+strconv.Itoa(i), item(random)
		begun := time.Now()
		if err := w.Put(ctx, []string{key}, [][]byte{value}); err != nil {
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

// Flood puts n distinct keys as fast as they are taken, and returns the time from the first put until every result's event.
func Flood(ctx context.Context, w Way, n int) (time.Duration, error) {
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
		for i := 0; i < n; i += w.Batch() {
			select {
			case batches <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range w.Writers() {
		group.Go(func() error {
			for i := range batches {
				end := min(i+w.Batch(), n)
				if err := w.Put(ctx, keys[i:end], values[i:end]); err != nil {
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

func nextWithin(ctx context.Context, w Way) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, itemTimeout)
	defer cancel()
	return w.Next(ctx)
}

// item is a picture's worth of random bytes.
func item(random *rand.Rand) []byte {
	b := make([]byte, itemBytes)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], random.Uint64())
	}
	return b
}

// Quantile returns the smallest time that a share q of all is not above.
func Quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
