package cold_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
)

// TestLeave: values that are told to leave memory do when the store and every reader have them (invariant 2), and come back as they were.
func TestLeave(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold"})
	var keys []string
	revs := map[string]grid.Revision{}
	for i := range 1000 {
		key := fmt.Sprint(i)
		keys = append(keys, key)
		revs[key] = put(t, c, key, "value of "+key)
	}
	// Values that leave are waited for, but not as long as a loaded machine may need to write a thousand.
	eventually(t, "the store has everything", func() bool { return stats(t, c).Tier.LagEntries == 0 })
	errs, err := c.Leave(ctx, keys, true)
	if err != nil || errors.Join(errs...) != nil {
		t.Fatal(err, errors.Join(errs...))
	}
	if s := stats(t, c); s.Cold != 1000 || s.Tier.Evictions != 1000 {
		t.Errorf("statistics %+v", s)
	}
	for _, key := range keys[:20] {
		if e := get(t, c, key); string(e.Value) != "value of "+key || e.Revision != revs[key] {
			t.Errorf("%s is %q at %d", key, e.Value, e.Revision)
		}
	}
	errs, err = c.Leave(ctx, []string{"0", "500", "nothing", ""}, true)
	if err != nil || errs[0] != nil || !errors.Is(errs[1], grid.ErrCold) || !errors.Is(errs[2], grid.ErrNotFound) || !errors.Is(errs[3], grid.ErrKey) {
		t.Error(err, errs)
	}
}

// TestLeaveWaits: what stands in the way is said by name, and nothing leaves before.
func TestLeaveWaits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	n := open(t, setup{})
	c := cache(t, n, grid.CacheConfig{Store: "cold"})
	r, err := n.Read(ctx, grid.ReaderConfig{Name: "classify", Cache: "c"})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "a", "value of a")
	stays := func(want string) {
		t.Helper()
		errs, err := c.Leave(ctx, []string{"a"}, true)
		if err != nil || !errors.Is(errs[0], grid.ErrStays) || !strings.Contains(errs[0].Error(), want) {
			t.Errorf("%v, %v; it should tell of %q", err, errs, want)
		}
		if s := stats(t, c); s.Cold != 0 {
			t.Errorf("%d left", s.Cold)
		}
	}
	stays("classify")
	changes, err := r.Next(ctx, 10)
	if err != nil {
		t.Fatal(err)
	}
	r.Done(changes)
	n.store.Down()
	put(t, c, "a", "second value of a")
	if changes, err = r.Next(ctx, 10); err != nil {
		t.Fatal(err)
	}
	r.Done(changes)
	stays("the store cold does not have it")
	n.store.Up()
	eventually(t, "it leaves", func() bool {
		errs, err := c.Leave(ctx, []string{"a"}, true)
		return err == nil && errs[0] == nil
	})
	if e := get(t, c, "a"); string(e.Value) != "second value of a" {
		t.Errorf("got %q", e.Value)
	}
	plain := cache(t, n, grid.CacheConfig{Name: "plain"})
	if _, err := plain.Leave(ctx, []string{"a"}, true); !errors.Is(err, grid.ErrNoEviction) {
		t.Errorf("of a cache without a store: %v", err)
	}
}

// TestWantedNoMore: what is wanted no more when the evictor has found a victim for it costs no value its place. A write that has come through is
// so for a moment: it counts as under way and as done.
func TestWantedNoMore(t *testing.T) {
	t.Parallel()
	n := open(t, setup{bug: cold.WantNoMore})
	c := cache(t, n, grid.CacheConfig{Store: "cold", MaxEntries: 2})
	put(t, c, "a", "value of a")
	put(t, c, "b", "value of b")
	eventually(t, "the store has both", func() bool { return stats(t, c).Tier.LagEntries == 0 })
	n.cold.Want("c", 1)
	if s := stats(t, c); s.Cold != 0 || s.Tier.Evictions != 0 {
		t.Errorf("statistics %+v", s)
	}
}
