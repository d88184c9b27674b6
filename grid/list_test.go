package grid_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// putMany puts n entries whose keys and values tell their numbers.
func putMany(t testing.TB, c *grid.Cache, prefix string, n int, o grid.PutOptions) {
	t.Helper()
	puts := make([]grid.Put, 0, 512)
	for i := range n {
		puts = append(puts, grid.Put{Key: fmt.Sprintf("%s%06d", prefix, i), Value: []byte(strconv.Itoa(i)), Options: o})
		if len(puts) < cap(puts) && i < n-1 {
			continue
		}
		results, err := c.PutBatch(t.Context(), puts)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		puts = puts[:0]
	}
}

// TestListLong holds what a long list gives, which is read as the streams have it, against what was written: after updates, removals
// and expiry, beside another cache, with and without values, on the owner and on another node.
func TestListLong(t *testing.T) {
	t.Parallel()
	const n = 6000
	all := nodes(t, 2, grid.Config{URL: natstest.URL(t), Partitions: 4})
	caches := onEach(t, all, grid.CacheConfig{Name: "c"})
	others := onEach(t, all, grid.CacheConfig{Name: "other"})
	c := caches[0]
	putMany(t, c, "k", n, grid.PutOptions{ContentType: "text/plain", Labels: map[string]string{"a": "b"}})
	putMany(t, others[0], "k", 3000, grid.PutOptions{})
	want := map[string]string{}
	for i := range n {
		want[fmt.Sprintf("k%06d", i)] = strconv.Itoa(i)
	}
	for i := 0; i < n; i += 7 {
		key := fmt.Sprintf("k%06d", i)
		if _, err := c.Put(t.Context(), key, []byte("new"), grid.PutOptions{ContentType: "text/plain", Labels: map[string]string{"a": "b"}}); err != nil {
			t.Fatal(err)
		}
		want[key] = "new"
	}
	for i := 0; i < n; i += 11 {
		key := fmt.Sprintf("k%06d", i)
		if _, err := c.Delete(t.Context(), key, grid.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		delete(want, key)
	}
	if _, err := c.Put(t.Context(), "k000001", []byte("short"), grid.PutOptions{Lifespan: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	delete(want, "k000001")
	time.Sleep(2 * time.Millisecond) // the lifespan itself
	for node, c := range caches {
		var keys []string
		for e, err := range c.List(t.Context(), grid.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if string(e.Value) != want[e.Key] || e.ContentType != "text/plain" || e.Labels["a"] != "b" || e.Revision == 0 || e.Created.IsZero() {
				t.Fatalf("node %d: %s is %+v, want %q", node, e.Key, e, want[e.Key])
			}
			keys = append(keys, e.Key)
		}
		if len(keys) != len(want) || !slices.IsSorted(keys) {
			t.Fatalf("node %d: %d entries, want %d; sorted: %v", node, len(keys), len(want), slices.IsSorted(keys))
		}
		i := 0
		for info, err := range c.ListInfo(t.Context(), grid.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Entry.Key != keys[i] || info.Size != len(want[keys[i]]) || info.Entry.Value != nil || info.Entry.ContentType != "text/plain" {
				t.Fatalf("node %d: %+v, want %s with %d bytes", node, info, keys[i], len(want[keys[i]]))
			}
			i++
		}
		if i != len(keys) {
			t.Errorf("node %d: what is known of %d entries, want %d", node, i, len(keys))
		}
	}
}

// TestListPages reads a cache page by page, of every size and by keys and values: each entry comes once, in order, and the last page
// says that it is.
func TestListPages(t *testing.T) {
	t.Parallel()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	putMany(t, c, "a", 1500, grid.PutOptions{})
	putMany(t, c, "b", 20, grid.PutOptions{})
	for _, size := range []int{1, 7, 20, 750, 1500, 1519, 1520, 4000} {
		for _, prefix := range []string{"", "a", "b", "z"} {
			if size == 1 && prefix != "b" {
				continue
			}
			var got []string
			after, more := "", true
			for pages := 0; more; pages++ {
				more = false
				o := grid.ListOptions{Prefix: prefix, After: after, Limit: size, KeysOnly: size%2 == 0, More: func(last string) { after, more = last, true }}
				n := 0
				for e, err := range c.List(t.Context(), o) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, e.Key)
					n++
				}
				if n > size || more && (n != size || got[len(got)-1] != after) {
					t.Fatalf("prefix %q: a page of %d has %d, the last %q, more %v", prefix, size, n, after, more)
				}
			}
			want := map[string]int{"": 1520, "a": 1500, "b": 20}[prefix]
			if len(got) != want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != want || slices.ContainsFunc(got, func(k string) bool { return !strings.HasPrefix(k, prefix) }) {
				t.Errorf("prefix %q in pages of %d: %d keys, want %d", prefix, size, len(got), want)
			}
		}
	}
}

// TestListCost: a long list costs at most half of what asking for each key costs. It was the same before.
func TestListCost(t *testing.T) {
	g := open(t, grid.Config{Dir: t.TempDir()})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	const n = 40_000
	putMany(t, c, "k", n, grid.PutOptions{ContentType: "application/json"})
	var keys []string
	for e, err := range c.List(t.Context(), grid.ListOptions{KeysOnly: true}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	best := map[string]time.Duration{}
	for range 3 { // the best of three, on a machine that has other work
		for name, list := range map[string]func() int{
			"gets": func() (n int) {
				for _, err := range c.GetMany(t.Context(), keys) {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				return n
			},
			"list": func() (n int) {
				for _, err := range c.List(t.Context(), grid.ListOptions{}) {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				return n
			},
			"info": func() (n int) {
				for _, err := range c.ListInfo(t.Context(), grid.ListOptions{}) {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				return n
			},
		} {
			start := time.Now()
			if got := list(); got != n {
				t.Fatalf("%s: %d entries, want %d", name, got, n)
			}
			if took := time.Since(start); best[name] == 0 || took < best[name] {
				best[name] = took
			}
		}
	}
	t.Logf("%d entries: by key %v, as a list %v, without values %v", n, best["gets"], best["list"], best["info"])
	if 2*best["list"] > best["gets"] || 2*best["info"] > best["gets"] {
		t.Errorf("a list of %d entries took %v, without values %v, as %v for asking each", n, best["list"], best["info"], best["gets"])
	}
}
