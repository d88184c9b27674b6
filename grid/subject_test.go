package grid_test

import (
	"errors"
	"hash/fnv"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
)

// The vectors of DESIGN.md, for clients that are not ours.
var subjectVectors = []struct {
	key, token string
	partition  int // of 8
}{
	{"42", "42", 3},
	{"a/b-c_D", "a/b-c_D", 6},
	{"seven.png", "seven=2Epng", 3},
	{"a b", "a=20b", 1},
	{"=", "=3D", 7},
	{"é", "=C3=A9", 3},
	{"\x00\xff", "=00=FF", 7},
	{"*.>", "=2A=2E=3E", 0},
	{"{user 7}/image", "=7Buser=207=7D/image", 0},
	{"{user 7}/label", "=7Buser=207=7D/label", 0},
	{"{}/x", "=7B=7D/x", 4},
}

func TestSubjectVectors(t *testing.T) {
	for _, v := range subjectVectors {
		if got := grid.Escape(v.key); got != v.token {
			t.Errorf("Escape(%q) = %q, want %q", v.key, got, v.token)
		}
		if got, err := grid.Unescape(v.token); got != v.key || err != nil {
			t.Errorf("Unescape(%q) = %q, %v, want %q", v.token, got, err, v.key)
		}
		if got := grid.Partition(v.key, 8); got != v.partition {
			t.Errorf("Partition(%q, 8) = %d, want %d", v.key, got, v.partition)
		}
	}
	if got := grid.Bucket("millrace", grid.Durable, 3); got != "millrace-d-3" {
		t.Errorf("durable bucket %q", got)
	}
	if got := grid.Bucket("millrace", grid.Volatile, 0); got != "millrace-v-0" {
		t.Errorf("volatile bucket %q", got)
	}
}

// FuzzUnescape holds that a token stands for one key and a key for one token, and that the
// partition is the standard library's FNV-1a of the token.
func FuzzUnescape(f *testing.F) {
	for _, v := range subjectVectors {
		f.Add(v.token)
	}
	for _, bad := range []string{"", "=", "=4", "=41", "=2e", "a.b", "a b", "=ZZ"} {
		f.Add(bad)
	}
	f.Fuzz(func(t *testing.T, token string) {
		key, err := grid.Unescape(token)
		if err != nil {
			if !errors.Is(err, grid.ErrKey) {
				t.Fatalf("Unescape(%q): %v is no ErrKey", token, err)
			}
			return
		}
		if got := grid.Escape(key); got != token {
			t.Fatalf("Escape(Unescape(%q)) = %q", token, got)
		}
		if strings.ContainsAny(key, "{") {
			return
		}
		h := fnv.New32a()
		h.Write([]byte(token))
		if got, want := grid.Partition(key, 256), int(h.Sum32()%256); got != want {
			t.Fatalf("Partition(%q, 256) = %d, want %d", key, got, want)
		}
	})
}

func TestBadNamesAndKeys(t *testing.T) {
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	for _, name := range []string{"", "a.b", "a b", "*", strings.Repeat("a", 65)} {
		if err := g.CreateCache(ctx, grid.CacheConfig{Name: name}); !errors.Is(err, grid.ErrCacheName) {
			t.Errorf("create cache %q: %v", name, err)
		}
		if _, err := g.Cache(ctx, name); !errors.Is(err, grid.ErrCacheName) {
			t.Errorf("open cache %q: %v", name, err)
		}
	}
	if _, err := g.Cache(ctx, "other"); !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("open a cache that is not there: %v", err)
	}
	c := cache(t, g, grid.CacheConfig{Name: strings.Repeat("c", 64), MaxEntryBytes: 10})
	for _, key := range []string{"", strings.Repeat("k", 1025)} {
		if _, err := c.Put(ctx, key, nil, grid.PutOptions{}); !errors.Is(err, grid.ErrKey) {
			t.Errorf("put %d bytes of key: %v", len(key), err)
		}
		if _, err := c.Get(ctx, key); !errors.Is(err, grid.ErrKey) {
			t.Errorf("get %d bytes of key: %v", len(key), err)
		}
		if _, err := c.Delete(ctx, key, grid.DeleteOptions{}); !errors.Is(err, grid.ErrKey) {
			t.Errorf("delete %d bytes of key: %v", len(key), err)
		}
	}
	// The longest key, all of it escaped, and every byte there is.
	long := strings.Repeat(".", 1024)
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	for _, key := range []string{long, all.String(), "..", "//", "a/../b", " "} {
		if _, err := c.Put(ctx, key, []byte("0123456789"), grid.PutOptions{}); err != nil {
			t.Fatalf("put %q: %v", key, err)
		}
		if e, err := c.Get(ctx, key); err != nil || e.Key != key || string(e.Value) != "0123456789" {
			t.Errorf("get %q: %+v, %v", key, e, err)
		}
	}
	if _, err := c.Put(ctx, "k", make([]byte, 11), grid.PutOptions{}); !errors.Is(err, grid.ErrTooLarge) {
		t.Errorf("put a value over the limit: %v", err)
	}
	if _, err := c.Put(ctx, "k", nil, grid.PutOptions{Labels: map[string]string{"l": strings.Repeat("x", grid.MaxLabelBytes)}}); !errors.Is(err, grid.ErrTooLarge) {
		t.Errorf("put labels over the limit: %v", err)
	}
	big := cache(t, g, grid.CacheConfig{Name: "big", MaxEntryBytes: grid.MaxValueBytes})
	if _, err := big.Put(ctx, "k", make([]byte, grid.MaxValueBytes), grid.PutOptions{}); err != nil {
		t.Errorf("put the largest value: %v", err)
	}
	if e, err := big.Get(ctx, "k"); err != nil || len(e.Value) != grid.MaxValueBytes {
		t.Errorf("get the largest value: %d bytes, %v", len(e.Value), err)
	}
}
