package grid_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// TestNewest: every node says alike which entries were written last, whichever partitions they are in.
func TestNewest(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 4})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	var keys []string // the newest first
	write := func(key string) {
		t.Helper()
		if _, err := caches[0].Put(ctx, key, []byte(key), grid.PutOptions{ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
		keys = slices.DeleteFunc(keys, func(k string) bool { return k == key })
		keys = slices.Insert(keys, 0, key)
	}
	for i := range 40 {
		write(fmt.Sprintf("%c-%d", 'a'+i%2, i))
	}
	write("a-0")
	if _, err := caches[1].Delete(ctx, "b-39", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == "b-39" })
	ofA := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k[0] != 'a' })
	for i, c := range caches {
		for _, want := range []struct {
			prefix string
			keys   []string
		}{{"", keys[:7]}, {"", keys[:1]}, {"", keys}, {"a", ofA[:12]}, {"none", nil}} {
			infos, err := c.Newest(ctx, want.prefix, max(1, len(want.keys)))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, i := range infos {
				got = append(got, i.Entry.Key)
				if i.Entry.Value != nil || i.Size != len(i.Entry.Key) || i.Cold || i.Entry.ContentType != "text/plain" {
					t.Errorf("%+v", i)
				}
			}
			if diff := cmp.Diff(want.keys, got); diff != "" {
				t.Errorf("node %d: %q: %s", i, want.prefix, diff)
			}
		}
	}
}

// TestLookingIsNoUse: an entry that was only looked at is idle all the same.
func TestLookingIsNoUse(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := new(clock)
	c := cache(t, open(t, grid.Config{InMemory: true, Now: clock.now}), grid.CacheConfig{Name: "c"})
	if _, err := c.Put(ctx, "k", []byte("v"), grid.PutOptions{MaxIdle: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Size(ctx); err != nil { // the index has it: its time begins before the clock goes on
		t.Fatal(err)
	}
	look := map[string]func() error{
		"stat": func() error { _, err := c.Stat(ctx, "k"); return err },
		"peek": func() error { _, err := c.Peek(ctx, "k"); return err },
		"list": func() error {
			for _, err := range c.ListInfo(ctx, grid.ListOptions{}) {
				return err
			}
			return grid.ErrNotFound
		},
	}
	clock.advance(40 * time.Minute)
	if i, err := c.GetIf(ctx, "k", nil); err != nil || string(i.Entry.Value) != "v" {
		t.Errorf("%+v, %v", i, err)
	}
	clock.advance(40 * time.Minute)
	for name, look := range look {
		if err := look(); err != nil {
			t.Errorf("%s, 40 minutes after it was read: %v", name, err)
		}
	}
	if s, err := c.Stats(ctx); err != nil || s.Hits != 1 {
		t.Errorf("%+v, %v; want one hit", s, err)
	}
	clock.advance(30 * time.Minute)
	for name, look := range look {
		if err := look(); !errors.Is(err, grid.ErrNotFound) {
			t.Errorf("%s, 70 minutes after it was read: %v", name, err)
		}
	}
}
