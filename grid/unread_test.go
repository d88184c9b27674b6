package grid_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/grid"
)

// TestUnreadBatch: after a batch whose revisions nobody reads, Sequence is what the grid has of each key, so that a
// condition on it holds.
func TestUnreadBatch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	for round := range 20 {
		puts := make([]grid.Put, 200)
		for i := range puts {
			last, err := c.Sequence(ctx, fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			puts[i] = grid.Put{Key: fmt.Sprint(i), Value: []byte("v"), MsgID: fmt.Sprint(round, "/", i), ExpectLast: &last, Unread: true}
		}
		results, err := c.PutBatch(ctx, puts)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range results {
			if r.Err != nil {
				t.Fatalf("round %d, key %d: %v", round, i, r.Err)
			}
		}
	}
}
