package cold_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// TestLimitHolds: while values are written over, leave and come back at once, no more of them are in memory than may be, at any moment.
func TestLimitHolds(t *testing.T) {
	t.Parallel()
	const limit, keys, clients = 8, 12, 6
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold", MaxEntries: limit})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var load errgroup.Group
	for client := range clients {
		load.Go(func() error {
			for i := 0; ctx.Err() == nil; i++ {
				key, other := fmt.Sprintf("%d-%d", client, rand.IntN(keys/clients)), fmt.Sprintf("%d-%d", rand.IntN(clients), rand.IntN(keys/clients))
				if _, err := c.Put(t.Context(), key, fmt.Append(nil, i), grid.PutOptions{}); err != nil {
					return err
				}
				if _, err := c.Get(t.Context(), other); err != nil && !errors.Is(err, grid.ErrNotFound) {
					return err
				}
			}
			return nil
		})
	}
	most := int64(0)
	for ctx.Err() == nil {
		most = max(most, n.cold.InMemory("c"), stats(t, c).InMemory)
	}
	if err := load.Wait(); err != nil {
		t.Error(err)
	}
	if s := stats(t, c); s.Tier.Evictions == 0 || s.Tier.Loads == 0 {
		t.Errorf("behind it: %+v: too little left and came back to prove anything", s.Tier)
	}
	if most > limit {
		t.Errorf("%d values were in memory, of at most %d", most, limit)
	}
}
