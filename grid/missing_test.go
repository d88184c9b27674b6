package grid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
)

// folderOf80 makes a grid of 16 partitions with 80 keys, as a stop in order leaves it, or a kill.
func folderOf80(t *testing.T, killed bool) (dir string, revisions []grid.Revision) {
	t.Helper()
	dir = t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 16})
	c := cache(t, g, grid.CacheConfig{Name: "readings"})
	for i := range 80 {
		rev, err := c.Put(t.Context(), sensor(i), []byte("v"), grid.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		revisions = append(revisions, rev)
	}
	if killed {
		return crashed(t, dir), revisions
	}
	if err := g.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir, revisions
}

// crashed copies a folder in use, which is what a killed process leaves.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return image
}

func streamDir(dir, name string) string {
	return filepath.Join(dir, "jetstream", "$G", "streams", name)
}

// Partitions and descriptions whose files are all gone are missed, before a start and at it.
func TestMissingStreamIsKnown(t *testing.T) {
	for _, killed := range []bool{false, true} {
		for _, gone := range [][]string{
			{"KV_millrace-d-2"}, {"KV_millrace-d-2/msgs"}, {"KV_millrace-d-15", "KV_millrace-d-8"}, {"KV_millrace-meta"}, {"KV_millrace-meta", "KV_millrace-d-15"},
		} {
			t.Run(fmt.Sprint(killed, gone), func(t *testing.T) {
				dir, before := folderOf80(t, killed)
				for _, name := range gone {
					if err := os.RemoveAll(streamDir(dir, name)); err != nil {
						t.Fatal(err)
					}
				}
				want := func(what string, found []grid.Damage) {
					t.Helper()
					if len(found) != len(gone) {
						t.Errorf("%s: %+v", what, found)
					}
					for _, d := range found {
						if !d.Missing || !d.Everything || !strings.Contains(strings.Join(gone, " "), d.Stream) || (d.Class == grid.Durable) != strings.Contains(d.Stream, "-d-") {
							t.Errorf("%s: %+v", what, d)
						}
					}
				}
				found, err := grid.Examine(dir)
				if err != nil {
					t.Fatal(err)
				}
				want("before the start", found.Damages)
				var log bytes.Buffer
				g := open(t, grid.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelError}))})
				want("at the start", g.Damages())
				if g.Partitions() != 16 {
					t.Errorf("%d partitions", g.Partitions())
				}
				if strings.Count(log.String(), "files of") != len(gone) {
					t.Errorf("the log:\n%s", log.String())
				}
				c := cache(t, g, grid.CacheConfig{Name: "readings"})
				whole := 0
				for i := range 80 {
					_, err := c.Get(t.Context(), sensor(i))
					if err != nil && !errors.Is(err, grid.ErrNotFound) {
						t.Fatal(err)
					}
					if err == nil {
						whole++
					}
				}
				lost := strings.Count(strings.Join(gone, " "), "-d-")
				if (whole < 80) != (lost > 0) || whole < 40 {
					t.Errorf("%d of 80 keys are there", whole)
				}
				// Everything can be put again, with revisions above those that were lost.
				for i := range 80 {
					if rev, err := c.Put(t.Context(), sensor(i), []byte("again"), grid.PutOptions{}); err != nil || rev <= before[i] {
						t.Fatalf("%s at %d, which was at %d: %v", sensor(i), rev, before[i], err)
					}
				}
				if err := g.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if found, err := grid.Examine(dir); err != nil || len(found.Damages) > 0 || len(found.Faults) > 0 {
					t.Errorf("after the start: %+v, %v", found, err)
				}
			})
		}
	}
}

// A first start that was killed while it made the streams has lost nothing.
func TestUnfinishedFirstStartMissesNothing(t *testing.T) {
	dir := t.TempDir()
	g := open(t, grid.Config{Dir: dir, Partitions: 4})
	if err := g.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(streamDir(dir, "KV_millrace-d-3")); err != nil {
		t.Fatal(err)
	}
	if found, err := grid.Examine(dir); err != nil || len(found.Damages) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

// A stream's description that is damaged or gone is made again by a start, which says so and loses nothing.
func TestDescriptionIsMadeAgain(t *testing.T) {
	for _, file := range []string{"KV_millrace-d-2/meta.inf", "KV_millrace-d-2/meta.sum", "KV_millrace-meta/meta.inf", "KV_millrace-meta/meta.sum"} {
		for how, hurt := range map[string]func(path string) error{
			"removed":   os.Remove,
			"truncated": func(path string) error { return os.Truncate(path, 7) },
			"flipped": func(path string) error {
				flip(t, path, 5, 2)
				return nil
			},
		} {
			t.Run(file+" "+how, func(t *testing.T) {
				dir, _ := folderOf80(t, false)
				if err := hurt(streamDir(dir, file)); err != nil {
					t.Fatal(err)
				}
				if found, err := grid.Examine(dir); err != nil || len(found.Damages) > 0 || len(found.Faults) != 1 || !strings.Contains(found.Faults[0], "a start makes it again") {
					t.Errorf("before the start: %+v, %v", found, err)
				}
				var log bytes.Buffer
				g := open(t, grid.Config{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))})
				if told := strings.Count(log.String(), "it is made again"); told != 1 {
					t.Errorf("told %d times:\n%s", told, log.String())
				}
				if n, err := cacheOf(t, g, "readings").Size(t.Context()); err != nil || n != 80 || len(g.Damages()) > 0 {
					t.Errorf("%d of 80 keys, %v, %+v", n, err, g.Damages())
				}
				if err := g.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				if found, err := grid.Examine(dir); err != nil || len(found.Faults) > 0 {
					t.Errorf("after the start: %+v, %v", found, err)
				}
			})
		}
	}
}
