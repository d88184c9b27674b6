package grid_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// namesMissing reports whether a text says that n1 and n2 are missing: of the cluster, or of the grid's description.
func namesMissing(text string) bool {
	return strings.Contains(text, "no node leads the cluster: 2 of 3 nodes with a voice have to be there, and 1 are; missing are n1, n2") ||
		strings.Contains(text, "the grid's description has no leader: of its replicas, on n0, n1, n2, only n0 is there, and it needs 2: start n1 or n2")
}

// TestNoMajority: with one node of three a put fails long before its time is over, and says which partition has no leader, which nodes have its replicas, and which are to be started; so do the
// states of the partitions, the reason for which the node is not ready, and what needs the grid's description. When one of the others is back, all is well again.
func TestNoMajority(t *testing.T) {
	t.Parallel()
	configs := clusterConfigs(t, 3)
	all := openAll(t, configs)
	even(t, all)
	c := cache(t, all[0], grid.CacheConfig{Name: "c"})
	cache(t, all[0], grid.CacheConfig{Name: "doomed"})
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
	var asking errgroup.Group
	for what, ask := range map[string]func() error{
		"make a cache":            func() error { return all[0].CreateCache(t.Context(), grid.CacheConfig{Name: "other"}) },
		"change a cache":          func() error { return all[0].UpdateCache(t.Context(), grid.CacheConfig{Name: "doomed", MaxEntries: 7}) },
		"delete a cache":          func() error { return all[0].DeleteCache(t.Context(), "doomed") },
		"look for a cache":        func() error { _, err := all[0].Cache(t.Context(), "other"); return err },
		"read what was decided":   func() error { _, _, err := all[0].Decision(t.Context(), "balance"); return err },
		"decide":                  func() error { return all[0].Decide(t.Context(), "balance", []byte("{}"), 0) },
		"note the id of a store":  func() error { _, err := all[0].NoteStore(t.Context(), "s", "id", ""); return err },
		"look for a store's name": func() error { _, err := all[0].StoreID(t.Context(), "s"); return err },
	} {
		asking.Go(func() error {
			err := ask()
			if !errors.Is(err, grid.ErrUnavailable) || !namesMissing(err.Error()) || strings.Contains(err.Error(), "nats:") || strings.Contains(err.Error(), "grid unavailable: grid unavailable") {
				t.Errorf("%s: %v", what, err)
			}
			return nil
		})
	}
	_ = asking.Wait() // its functions return nil

	even(t, append(all[:1:1], openAll(t, configs[1:2])...))
	put(t, c, "k", "again")
}
