//go:build linux

package grid_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// A folder that is removed, emptied or moved away under a running grid is noticed within 5 s: puts fail with the reason, and it is not ready. One that
// comes back is used again.
func TestFolderThatVanishes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		do   func(dir string) error
		undo func(dir string) error
	}{
		{"removed", os.RemoveAll, nil},
		{"emptied", func(dir string) error {
			return errors.Join(os.RemoveAll(filepath.Join(dir, "jetstream")), os.Remove(filepath.Join(dir, "LOCK")), os.Remove(filepath.Join(dir, "FORMAT")))
		}, nil},
		{"without its streams", func(dir string) error { return os.RemoveAll(filepath.Join(dir, "jetstream")) }, nil},
		{"moved", func(dir string) error { return os.Rename(dir, dir+"2") }, func(dir string) error { return os.Rename(dir+"2", dir) }},
		{"replaced", func(dir string) error { return errors.Join(os.Rename(dir, dir+"2"), os.CopyFS(dir, os.DirFS(dir+"2"))) }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "data")
			g := open(t, grid.Config{Dir: dir, Partitions: 1})
			c := cache(t, g, grid.CacheConfig{Name: "in"})
			if _, err := c.Put(t.Context(), "k", []byte("v"), grid.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := tt.do(dir); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			for {
				_, err := c.Put(t.Context(), "k", []byte("v"), grid.PutOptions{})
				if err == nil && time.Since(began) < 5*time.Second {
					continue
				}
				if !errors.Is(err, grid.ErrUnavailable) || !strings.Contains(err.Error(), "removed") {
					t.Fatalf("a put after %v: %v", time.Since(began), err)
				}
				break
			}
			if err := g.Ready(t.Context()); err == nil {
				t.Error("it says that it is ready")
			}
			if tt.undo != nil {
				if err := tt.undo(dir); err != nil {
					t.Fatal(err)
				}
				awaitReady(t, g)
			}
		})
	}
}
