package grid_test

import (
	"errors"
	"flag"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/grid"
)

func TestMain(m *testing.M) {
	// A hundred histories with restarts take too long for every run; -rapid.checks overrides it.
	if err := flag.Set("rapid.checks", "15"); err != nil {
		panic(err)
	}
	// The server removes what a mirror reads by, and waits a while for the answer of a node that is gone. For what a mirror is to read by it waits 30 s. One that is stopped while it makes
	// a stream leaves the loops of that stream's files.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*stream).tryDeleteSourcingConsumer.func1"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*stream).setupMirrorConsumer.func3"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server/ats.Register.func1"))
}

// open opens a grid that the test's end closes.
func open(t testing.TB, cfg grid.Config) *grid.Grid {
	t.Helper()
	g, err := grid.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return g
}

// cache makes a cache in g.
func cache(t testing.TB, g *grid.Grid, config grid.CacheConfig) *grid.Cache {
	t.Helper()
	if err := g.CreateCache(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	c, err := g.Cache(t.Context(), config.Name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// next returns a listener's next event, within a minute.
func next(t testing.TB, l *grid.Listener) grid.Event {
	t.Helper()
	ctx, cancel := withTimeout(t, time.Minute)
	defer cancel()
	e, err := l.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestLifeOfAnEntry(t *testing.T) {
	t.Parallel()
	for _, cfg := range []grid.Config{{InMemory: true}, {Dir: t.TempDir()}} {
		t.Run(fmt.Sprintf("memory=%v", cfg.InMemory), func(t *testing.T) {
			ctx := t.Context()
			g := open(t, cfg)
			c := cache(t, g, grid.CacheConfig{Name: "digits"})
			l, err := c.Listen(ctx, grid.ListenOptions{Values: true})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()

			rev, err := c.Put(ctx, "a/b c", []byte("one"), grid.PutOptions{ContentType: "text/plain", Labels: map[string]string{"label": "7&=é"}})
			if err != nil {
				t.Fatal(err)
			}
			e, err := c.Get(ctx, "a/b c")
			if err != nil {
				t.Fatal(err)
			}
			if string(e.Value) != "one" || e.ContentType != "text/plain" || e.Revision != rev || e.Labels["label"] != "7&=é" || time.Since(e.Created) > time.Minute {
				t.Errorf("got %+v, want revision %d", e, rev)
			}
			if ev := next(t, l); ev.Type != grid.Created || ev.Entry.Key != "a/b c" || string(ev.Entry.Value) != "one" || ev.Entry.Revision != rev {
				t.Errorf("first event %+v", ev)
			}

			if _, err := c.Create(ctx, "a/b c", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrExists) {
				t.Errorf("create over an entry: %v", err)
			}
			var revErr *grid.RevisionError
			if _, err := c.Put(ctx, "a/b c", nil, grid.PutOptions{IfRevision: rev + 5}); !errors.As(err, &revErr) || revErr.Current != rev {
				t.Errorf("put on a wrong revision: %v", err)
			}
			rev2, err := c.Put(ctx, "a/b c", []byte("two"), grid.PutOptions{IfRevision: rev})
			if err != nil || rev2 <= rev {
				t.Fatalf("revision %d after %d: %v", rev2, rev, err)
			}
			if ev := next(t, l); ev.Type != grid.Updated || string(ev.Entry.Value) != "two" {
				t.Errorf("second event %+v", ev)
			}
			if n, err := c.Size(ctx); n != 1 || err != nil {
				t.Errorf("size %d, %v", n, err)
			}

			if _, err := c.Delete(ctx, "a/b c", grid.DeleteOptions{IfRevision: rev}); !errors.Is(err, grid.ErrRevision) {
				t.Errorf("delete on a wrong revision: %v", err)
			}
			gone, err := c.Delete(ctx, "a/b c", grid.DeleteOptions{IfRevision: rev2})
			if err != nil {
				t.Fatal(err)
			}
			if ev := next(t, l); ev.Type != grid.Removed || ev.Entry.Revision != gone {
				t.Errorf("third event %+v, want revision %d", ev, gone)
			}
			if _, err := c.Get(ctx, "a/b c"); !errors.Is(err, grid.ErrNotFound) {
				t.Errorf("get after delete: %v", err)
			}
			if _, err := c.Delete(ctx, "a/b c", grid.DeleteOptions{}); !errors.Is(err, grid.ErrNotFound) {
				t.Errorf("delete again: %v", err)
			}
			if _, err := c.Put(ctx, "a/b c", nil, grid.PutOptions{IfRevision: gone}); !errors.Is(err, grid.ErrRevision) {
				t.Errorf("put on the revision of a removal: %v", err)
			}
			if _, err := c.Create(ctx, "a/b c", []byte("three"), grid.PutOptions{}); err != nil {
				t.Errorf("create after delete: %v", err)
			}
			if ev := next(t, l); ev.Type != grid.Created {
				t.Errorf("fourth event %+v", ev)
			}
			if n, err := c.Size(ctx); n != 1 || err != nil {
				t.Errorf("size %d, %v", n, err)
			}
		})
	}
}
