package grid_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// TestOverNATS has two grids on one NATS server, and a NATS client beside them.
func TestOverNATS(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	url := natstest.URL(t)
	one := open(t, grid.Config{URL: url, Partitions: 4})
	two := open(t, grid.Config{URL: url})
	if two.Partitions() != 4 {
		t.Fatalf("the second grid has %d partitions, the first 4", two.Partitions())
	}
	for _, class := range []grid.Class{grid.Durable, grid.Volatile} {
		t.Run(string(class), func(t *testing.T) {
			name := "c-" + string(class)
			c1 := cache(t, one, grid.CacheConfig{Name: name, Class: class})
			c2, err := two.Cache(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			l, err := c2.Listen(ctx, grid.ListenOptions{Values: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			rev, err := c1.Put(ctx, "seven.png", []byte("7"), grid.PutOptions{ContentType: "image/png"})
			if err != nil {
				t.Fatal(err)
			}
			if e := next(t, l); e.Type != grid.Created || e.Entry.Revision != rev || e.Entry.ContentType != "image/png" {
				t.Errorf("event on the other grid: %+v", e)
			}
			if _, err := c2.Put(ctx, "seven.png", []byte("8"), grid.PutOptions{IfRevision: rev}); err != nil {
				t.Error(err)
			}
			if _, err := c1.Put(ctx, "seven.png", []byte("9"), grid.PutOptions{IfRevision: rev}); !errors.Is(err, grid.ErrRevision) {
				t.Errorf("put on a revision that the other grid replaced: %v", err)
			}

			// A NATS client reads and writes the same entries.
			nc, err := nats.Connect(url)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			js, err := jetstream.New(nc)
			if err != nil {
				t.Fatal(err)
			}
			kv, err := js.KeyValue(ctx, grid.Bucket("millrace", class, grid.Partition("seven.png", 4)))
			if err != nil {
				t.Fatal(err)
			}
			entry, err := kv.Get(ctx, name+"."+grid.Escape("seven.png"))
			if err != nil || string(entry.Value()) != "8" {
				t.Errorf("the NATS client reads %v, %v", entry, err)
			}
			theirs, err := kv.Put(ctx, name+"."+grid.Escape("seven.png"), []byte("10"))
			if err != nil {
				t.Fatal(err)
			}
			if e, err := c1.Get(ctx, "seven.png"); err != nil || uint64(e.Revision) != theirs || string(e.Value) != "10" {
				t.Errorf("what the NATS client wrote: %+v, %v", e, err)
			}
			if err := kv.Delete(ctx, name+"."+grid.Escape("seven.png")); err != nil {
				t.Fatal(err)
			}
			if _, err := c2.Get(ctx, "seven.png"); !errors.Is(err, grid.ErrNotFound) {
				t.Errorf("what the NATS client removed: %v", err)
			}
			for e := next(t, l); e.Type != grid.Removed; e = next(t, l) {
			}
			if err := one.Ready(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	if err := one.DeleteCache(ctx, "c-durable"); err != nil {
		t.Fatal(err)
	}
	if _, err := two.Cache(ctx, "c-durable"); err != nil && !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("a cache that the other grid deleted: %v", err)
	}
}

func TestServersThatDoNotDo(t *testing.T) {
	t.Parallel()
	if _, err := grid.Open(t.Context(), grid.Config{URL: "nats://127.0.0.1:1"}); !errors.Is(err, grid.ErrUnavailable) || !strings.Contains(err.Error(), "start it, or correct grid.url") {
		t.Errorf("open without a server: %v", err)
	}
	if _, err := grid.Open(t.Context(), grid.Config{URL: natstest.Start(t, 1<<20).URL()}); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "set max_payload to 8") {
		t.Errorf("open with a small max_payload: %v", err)
	}
	for name, url := range map[string]string{"one server": natstest.URL(t), "three": natstest.StartCluster(t, 3, nil).URLs()} {
		if _, err := grid.Open(t.Context(), grid.Config{URL: url, Name: "many", Replicas: 5}); !errors.Is(err, grid.ErrConfig) || !strings.Contains(err.Error(), "grid.replicas is 5") {
			t.Errorf("open with more replicas than servers, %s: %v", name, err)
		}
	}
}

// TestServerGoesAway stops the NATS server under a grid.
func TestServerGoesAway(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), MaxPayload: grid.MaxValueBytes + 64<<10,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	g := open(t, grid.Config{URL: s.ClientURL(), Timeout: 300 * time.Millisecond, Partitions: 1})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	s.Shutdown()
	s.WaitForShutdown()
	if _, err := c.Put(ctx, "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrUnavailable) {
		t.Errorf("put without a server: %v", err)
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, grid.ErrUnavailable) {
		t.Errorf("get without a server: %v", err)
	}
	results, err := c.PutBatch(ctx, []grid.Put{{Key: "a"}, {Key: "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if !errors.Is(r.Err, grid.ErrUnavailable) {
			t.Errorf("put %d without a server: %+v", i, r)
		}
	}
	if err := g.Ready(ctx); !errors.Is(err, grid.ErrUnavailable) {
		t.Errorf("ready without a server: %v", err)
	}
}

// TestManyKeysComeAndGo puts and removes keys; once their markers are over, nothing is left of
// them, in the streams and in this node's index.
func TestManyKeysComeAndGo(t *testing.T) {
	manyKeysComeAndGo(t, 20_000, grid.Config{InMemory: true, Partitions: 4, MarkerTTL: time.Second})
}

func manyKeysComeAndGo(t *testing.T, keys int, cfg grid.Config) {
	ctx := t.Context()
	g := open(t, cfg)
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	empty := heap()
	for i := 0; i < keys; i += 1000 {
		puts := make([]grid.Put, min(1000, keys-i))
		for j := range puts {
			puts[j] = grid.Put{Key: fmt.Sprint(i + j), Value: []byte("0123456789")}
		}
		results, err := c.PutBatch(ctx, puts)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
	if n, err := c.Size(ctx); n != int64(keys) || err != nil {
		t.Fatalf("size %d, %v", n, err)
	}
	full := heap()
	if err := c.Clear(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Size(ctx); n != 0 || err != nil {
		t.Fatalf("size %d after clear, %v", n, err)
	}
	deadline := time.Now().Add(cfg.MarkerTTL + 2*time.Minute)
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for grid.Known(g) > 0 {
		<-ticker.C
		if time.Now().After(deadline) {
			t.Fatalf("%d keys are known still", grid.Known(g))
		}
	}
	for n, leases := grid.Stored(ctx, t, g), uint64(g.Partitions()); n > leases; n = grid.Stored(ctx, t, g) {
		<-ticker.C
		if time.Now().After(deadline) {
			t.Fatalf("%d messages are stored still", n)
		}
	}
	left := heap()
	t.Logf("heap with no keys %d kB, with %d keys %d kB, after their markers %d kB", empty>>10, keys, full>>10, left>>10)
	if grown, most := int64(left)-int64(empty), int64(full-empty)/4+(8<<20); grown > most {
		t.Errorf("%d bytes stay, at most %d may", grown, most)
	}
}
