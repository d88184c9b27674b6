package grid_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/grid"
)

// smallDisk mounts a file system of so many MiB. It needs root: a local run without it skips, CI
// fails.
func smallDisk(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small tmpfs: %v", err)
		}
		t.Skipf("mounting a small tmpfs needs root (run the tests as root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// awaitReady waits until the grid takes puts again.
func awaitReady(t *testing.T, g *grid.Grid) {
	t.Helper()
	ctx, cancel := withTimeout(t, 30*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := g.Ready(ctx)
		if err == nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("not ready: %v", err)
		}
	}
}

// fill puts until there is no room, and returns how many entries were acknowledged.
func fill(t *testing.T, c *grid.Cache, from int) int {
	t.Helper()
	value := bytes.Repeat([]byte("x"), 100_000)
	for i := from; ; i++ {
		ctx, cancel := withTimeout(t, 20*time.Second)
		_, err := c.Put(ctx, fmt.Sprint(i), value, grid.PutOptions{})
		cancel()
		if errors.Is(err, grid.ErrFull) {
			return i
		}
		if err != nil {
			t.Fatalf("put %d: %v", i, err)
		}
	}
}

// allThere checks that the entries from the first to before the last are there.
func allThere(t *testing.T, c *grid.Cache, first, last int) {
	t.Helper()
	for i := first; i < last; i++ {
		if e, err := c.Get(t.Context(), fmt.Sprint(i)); err != nil || len(e.Value) != 100_000 {
			t.Errorf("entry %d of %d: %d bytes, %v", i, last, len(e.Value), err)
		}
	}
}

func TestFullDisk(t *testing.T) {
	ctx := t.Context()
	dir := smallDisk(t, 48)
	g := open(t, grid.Config{Dir: dir, Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	n := fill(t, c, 0)
	if n < 200 {
		t.Fatalf("only %d entries of 100 kB went to a disk of 48 MiB", n)
	}
	if err := g.Ready(ctx); !errors.Is(err, grid.ErrFull) {
		t.Errorf("ready on a full disk: %v", err)
	}
	allThere(t, c, 0, n)
	// Removals need no room, and make some.
	for i := range n / 2 {
		if _, err := c.Delete(ctx, fmt.Sprint(i), grid.DeleteOptions{}); err != nil {
			t.Fatalf("delete %d on a full disk: %v", i, err)
		}
	}
	awaitReady(t, g)
	more := fill(t, c, n)
	if more < n+10 {
		t.Errorf("%d entries more after %d were removed", more-n, n/2)
	}
	allThere(t, c, n/2, more)
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	g = open(t, grid.Config{Dir: dir})
	c, err := g.Cache(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	allThere(t, c, n/2, more)
}

// TestFrozenStreams fills the disk from outside, so that a write fails inside the server.
func TestFrozenStreams(t *testing.T) {
	ctx := t.Context()
	dir := smallDisk(t, 48)
	g := open(t, grid.Config{Dir: dir, Partitions: 2, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	v := cache(t, g, grid.CacheConfig{Name: "v", Class: grid.Volatile})
	put := func(c *grid.Cache, key string) {
		t.Helper()
		if _, err := c.Put(ctx, key, bytes.Repeat([]byte("x"), 100_000), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		put(c, fmt.Sprint(i))
	}
	put(v, "before")
	reader := read(t, g, grid.ReaderConfig{Name: "p", Cache: "c", Start: grid.StartNew})
	l, err := c.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	lv, err := v.Listen(ctx, grid.ListenOptions{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer lv.Close()

	filler := filepath.Join(dir, "filler")
	fillDisk(t, filler)
	n := fill(t, c, 20)
	if err := g.Ready(ctx); !errors.Is(err, grid.ErrFull) {
		t.Errorf("ready with frozen streams: %v", err)
	}
	allThere(t, c, 0, n)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	awaitReady(t, g)
	allThere(t, c, 0, n)

	// Whoever listened or read goes on.
	put(c, "after")
	put(v, "after")
	for e := next(t, l); e.Entry.Key != "after"; e = next(t, l) {
	}
	for e := next(t, lv); e.Entry.Key != "after"; e = next(t, lv) {
	}
	for found := false; !found; {
		changes := take(t, reader, 10)
		for _, m := range changes {
			found = found || m.Entry.Key == "after"
		}
		reader.Done(changes)
	}
	if n, err := v.Size(ctx); n != 1 || err != nil {
		t.Errorf("the volatile cache has %d entries, %v", n, err)
	}
}

func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for size := len(block); size > 0; {
		if _, err := f.Write(block[:size]); err != nil {
			if !errors.Is(err, unix.ENOSPC) {
				t.Fatal(err)
			}
			size /= 2
		}
	}
}
