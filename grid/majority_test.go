package grid_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// TestNoMajority: with one node of three a put fails long before its time is over, and says which partition has no leader, which nodes have its replicas, and which are to be started; so do the
// states of the partitions and the reason for which the node is not ready. When one of the others is back, all is well again.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	even(t, all)
	c := cache(t, all[0], grid.CacheConfig{Name: "c"})
	put(t, c, "k", "before")
	for _, g := range all[1:] {
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	number := grid.Partition("k", 8)
	want := []string{"put c/k: ", "durable partition ", " has no leader: of its replicas, on n0, n1, n2, only n0 is there, and it needs 2: start n1 or n2"}
	says := func(what, text string, want ...string) {
		t.Helper()
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s says %q, without %q", what, text, part)
			}
		}
	}
	ctx, cancel := withTimeout(t, time.Minute)
	defer cancel()
	_, err := c.Put(ctx, "k", []byte("after"), grid.PutOptions{})
	if !errors.Is(err, grid.ErrUnavailable) {
		t.Fatal(err)
	}
	says("a put", err.Error(), want...)
	for _, write := range []func() error{
		func() error {
			results, err := c.PutBatch(ctx, []grid.Put{{Key: "k"}, {Key: "other"}})
			return errors.Join(err, results[0].Err)
		},
		func() error { _, err := c.Create(ctx, "new", nil, grid.PutOptions{}); return err },
		func() error { _, err := c.Delete(ctx, "k", grid.DeleteOptions{}); return err },
	} {
		err := write()
		if !errors.Is(err, grid.ErrUnavailable) {
			t.Fatal(err)
		}
		says("another write", err.Error(), want[1:]...)
	}
	// Until the last leader notices it answers that it has the write.
	short, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := c.Put(short, "k", nil, grid.PutOptions{}); err == nil || strings.Contains(err.Error(), "duplicate message id") {
		t.Error(err)
	}
	eventually(t, "nobody leads the partition", func() bool {
		s := all[0].PartitionStates(ctx)[number]
		return s.Error != nil && strings.Contains(s.Error.Error(), want[2]) && len(s.Replicas) == 3
	})
	eventually(t, "the node is not ready", func() bool { return all[0].Ready(ctx) != nil })
	says("ready", all[0].Ready(ctx).Error(), want[2])

	even(t, append(all[:1:1], openAll(t, configs[1:2])...))
	put(t, c, "k", "again")
}
