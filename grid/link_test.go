package grid_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// TestRestartOfTheServer: readers wait while the server in the process is restarted, a write that was answered is kept, and
// listeners hear of what came after.
func TestRestartOfTheServer(t *testing.T) {
	g := open(t, grid.Config{Dir: t.TempDir()})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	l, err := c.Listen(t.Context(), grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := c.Put(t.Context(), "before", []byte("1"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	var answered atomic.Int64
	more := func() { // traffic goes on
		for from := answered.Load(); answered.Load() < from+20; {
			runtime.Gosched()
		}
	}
	stop := make(chan struct{})
	revisions := map[string]grid.Revision{}
	group.Go(func() error {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return nil
			default:
			}
			key := fmt.Sprint(n)
			rev, err := c.Put(t.Context(), key, []byte(key), grid.PutOptions{})
			if err == nil {
				revisions[key] = rev
				answered.Add(1)
			} else if !errors.Is(err, grid.ErrUnavailable) {
				return fmt.Errorf("put %s: %w", key, err)
			}
		}
	})
	group.Go(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			if _, err := c.Get(t.Context(), "before"); err != nil {
				return fmt.Errorf("a read did not wait for the server: %w", err)
			}
		}
	})
	for range 3 {
		more()
		if err := grid.Restart(g); err != nil {
			t.Fatal(err)
		}
	}
	more()
	close(stop)
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for key, rev := range revisions {
		e, err := c.Get(t.Context(), key)
		if err != nil || e.Revision != rev || string(e.Value) != key {
			t.Fatalf("%s has revision %d and value %q: %v; want %d", key, e.Revision, e.Value, err, rev)
		}
	}
	if _, err := c.Put(t.Context(), "last", []byte("x"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for left, last := len(revisions), false; left > 0 || !last; {
		e, err := l.Next(ctx)
		if err != nil {
			t.Fatalf("%d events of acknowledged puts did not come: %v", left, err)
		}
		if revisions[e.Entry.Key] == e.Entry.Revision {
			left--
		}
		last = last || e.Entry.Key == "last"
	}
}

// A block that somebody else wrote may have any header, and names twice: the first counts, as in a read of the entry.
func TestHeaderBlocks(t *testing.T) {
	every := strings.Join([]string{
		"Nats-Marker-Reason: x", "KV-Operation: PUT", "Millrace-Type: a/b", "Millrace-Labels: a=b", "Millrace-Revision: 5", "Millrace-Lifespan: 1h",
		"Nats-TTL: 5", "Millrace-Max-Idle: 1s", "Millrace-Source: 1 2 p", "Nats-Msg-Id: p/c/k/1", "Nats-Msg-Size: 3", "Other: 1",
	}, "\r\n") + "\r\n"
	for name, test := range map[string]struct {
		block    string
		revision grid.Revision
		kind     string
	}{
		"none":       {"", 7, ""},
		"empty":      {"NATS/1.0\r\n\r\n", 7, ""},
		"every":      {"NATS/1.0\r\n" + every + "\r\n", 5, "a/b"},
		"every two":  {"NATS/1.0\r\n" + every + every + "\r\n", 5, "a/b"},
		"twice":      {"NATS/1.0\r\nMillrace-Type: first\r\nMillrace-Type: second\r\n\r\n", 7, "first"},
		"many":       {"NATS/1.0\r\n" + strings.Repeat("A: 1\r\n", 5000) + "Millrace-Type: x\r\n\r\n", 7, "x"},
		"no number":  {"NATS/1.0\r\nMillrace-Revision: x\r\n\r\n", 7, ""},
		"no newline": {"NATS/1.0", 7, ""},
	} {
		if rev, kind := grid.ReadHeaders(test.block); rev != test.revision || kind != test.kind {
			t.Errorf("%s: revision %d, type %q; want %d and %q", name, rev, kind, test.revision, test.kind)
		}
	}
}
