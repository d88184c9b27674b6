package grid_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

func TestConfigFaultsAreAllReported(t *testing.T) {
	err := grid.Config{Dir: "x", URL: "nats://localhost", Name: "a b", Partitions: 3, MaxBytes: -1, MarkerTTL: time.Millisecond, Timeout: -1}.Validate()
	if !errors.Is(err, grid.ErrConfig) {
		t.Fatalf("%v is no ErrConfig", err)
	}
	for _, word := range []string{"exactly one", `name: "a b"`, "partitions: 3", "max_bytes: -1", "marker_ttl: 1ms", "timeout: -1ns", "nats://localhost"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	err = grid.CacheConfig{Name: "c", Class: "solid", MaxEntries: -1, MaxEntryBytes: grid.MaxValueBytes + 1, Lifespan: -1}.Validate()
	for _, word := range []string{"solid", "max_entries: -1", "max_entry_bytes: 8388609", "lifespan: -1ns"} {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
}

func TestFolderIsLocked(t *testing.T) {
	dir := t.TempDir()
	g, err := grid.Open(t.Context(), grid.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	_, err = grid.Open(t.Context(), grid.Config{Dir: dir})
	if !errors.Is(err, grid.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d ", os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	open(t, grid.Config{Dir: dir})
}

// TestCrashIsToldOnce opens a copy of a folder that is in use, which is what a crash leaves.
func TestCrashIsToldOnce(t *testing.T) {
	dir, left := t.TempDir(), t.TempDir()
	put := func(dir string, log *slog.Logger, key string) {
		t.Helper()
		g := open(t, grid.Config{Dir: dir, Partitions: 2, Logger: log})
		c := cache(t, g, grid.CacheConfig{Name: "c"})
		if _, err := c.Put(t.Context(), key, []byte("v"), grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if key == "later" {
			if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	put(dir, nil, "first") // an orderly stop writes the summary that the crash makes old
	put(dir, nil, "later")
	for run, want := range []int{1, 0} {
		var log bytes.Buffer
		put(left, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})), "again")
		if told := strings.Count(log.String(), "not stopped in order"); told != want || strings.Contains(log.String(), "Filestore") {
			t.Errorf("run %d after the crash, want it told %d times:\n%s", run+1, want, log.String())
		}
	}
}

func TestFormatIsChecked(t *testing.T) {
	for _, content := range []string{"millrace-grid 3\n", "millrace-grid x\n", "something else", ""} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "FORMAT"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := grid.Open(t.Context(), grid.Config{Dir: dir}); !errors.Is(err, grid.ErrFormat) {
			t.Errorf("FORMAT %q: %v", content, err)
		}
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := grid.Open(t.Context(), grid.Config{Dir: dir}); !errors.Is(err, grid.ErrFormat) {
		t.Errorf("a NATS server's folder: %v", err)
	}
}

func TestWhatSurvivesARestart(t *testing.T) {
	ctx := t.Context()
	cfg := grid.Config{Dir: t.TempDir(), Partitions: 2}
	g := open(t, cfg)
	durable := grid.CacheConfig{Name: "durable", MaxEntries: 10, Lifespan: time.Hour}
	volatile := grid.CacheConfig{Name: "volatile", Class: grid.Volatile}
	d, v := cache(t, g, durable), cache(t, g, volatile)
	rev, err := d.Put(ctx, "k", []byte("v"), grid.PutOptions{ContentType: "text/plain"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Put(ctx, "k", []byte("v"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	before := d.Config()
	if err := g.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(ctx); err != nil {
		t.Errorf("close again: %v", err)
	}
	if _, err := d.Put(ctx, "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrClosed) {
		t.Errorf("put after close: %v", err)
	}
	if err := g.Ready(ctx); !errors.Is(err, grid.ErrClosed) {
		t.Errorf("ready after close: %v", err)
	}

	if _, err := grid.Open(ctx, grid.Config{Dir: cfg.Dir, Partitions: 4}); !errors.Is(err, grid.ErrConfig) {
		t.Errorf("open with other partitions: %v", err)
	}
	g = open(t, grid.Config{Dir: cfg.Dir})
	if g.Partitions() != 2 {
		t.Errorf("%d partitions, want 2", g.Partitions())
	}
	if err := g.Ready(ctx); err != nil {
		t.Error(err)
	}
	var names []string
	for config, err := range g.Caches(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, config.Name)
	}
	if got := strings.Join(names, " "); got != "durable volatile" {
		t.Errorf("caches %q", got)
	}
	if d, err = g.Cache(ctx, "durable"); err != nil {
		t.Fatal(err)
	}
	if d.Config() != before {
		t.Errorf("configuration %+v, want %+v", d.Config(), before)
	}
	e, err := d.Get(ctx, "k")
	if err != nil || string(e.Value) != "v" || e.Revision != rev || e.Lifespan != time.Hour || e.ContentType != "text/plain" {
		t.Errorf("durable entry %+v, %v", e, err)
	}
	if v, err = g.Cache(ctx, "volatile"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Get(ctx, "k"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("volatile entry after a restart: %v", err)
	}
	if _, err := v.Put(ctx, "k", []byte("v"), grid.PutOptions{}); err != nil {
		t.Error(err)
	}
}

func TestCachesAreMadeAlteredAndDeleted(t *testing.T) {
	ctx := t.Context()
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c", MaxEntries: 2})
	if err := g.CreateCache(ctx, grid.CacheConfig{Name: "c", MaxEntries: 2}); err != nil {
		t.Errorf("create again: %v", err)
	}
	if err := g.CreateCache(ctx, grid.CacheConfig{Name: "c", MaxEntries: 3}); !errors.Is(err, grid.ErrCacheExists) {
		t.Errorf("create with another configuration: %v", err)
	}
	if err := g.UpdateCache(ctx, grid.CacheConfig{Name: "none"}); !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("update a cache that is not there: %v", err)
	}
	if err := g.UpdateCache(ctx, grid.CacheConfig{Name: "c", Class: grid.Volatile}); !errors.Is(err, grid.ErrConfig) {
		t.Errorf("change the class: %v", err)
	}
	for i := range 3 {
		_, err := c.Put(ctx, fmt.Sprint(i), nil, grid.PutOptions{})
		if full := i == 2; errors.Is(err, grid.ErrFull) != full {
			t.Errorf("put %d of 2: %v", i+1, err)
		}
	}
	if _, err := c.Put(ctx, "1", []byte("again"), grid.PutOptions{}); err != nil {
		t.Errorf("put over an entry of a full cache: %v", err)
	}
	if err := g.UpdateCache(ctx, grid.CacheConfig{Name: "c", MaxEntries: 3, MaxBytes: 7}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "2", []byte("two"), grid.PutOptions{}); !errors.Is(err, grid.ErrFull) {
		t.Errorf("put over the bytes: %v", err)
	}
	if _, err := c.Put(ctx, "2", []byte("2"), grid.PutOptions{}); err != nil {
		t.Errorf("put within the bytes: %v", err)
	}
	if _, err := c.Delete(ctx, "0", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, "3", nil, grid.PutOptions{}); err != nil {
		t.Errorf("put after a removal: %v", err)
	}

	l, err := c.Listen(ctx, grid.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := g.DeleteCache(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Next(ctx); !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("listen to a deleted cache: %v", err)
	}
	if _, err := c.Put(ctx, "k", nil, grid.PutOptions{}); !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("put into a deleted cache: %v", err)
	}
	if err := g.DeleteCache(ctx, "c"); !errors.Is(err, grid.ErrNoCache) {
		t.Errorf("delete again: %v", err)
	}
	c = cache(t, g, grid.CacheConfig{Name: "c"})
	if n, err := c.Size(ctx); n != 0 || err != nil {
		t.Errorf("a new cache of that name has %d entries, %v", n, err)
	}
	if _, err := c.Get(ctx, "1"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("an entry of the deleted cache: %v", err)
	}
}
