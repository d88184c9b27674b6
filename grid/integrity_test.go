package grid_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
)

// folderOf1000 makes a grid of one partition with 1,000 keys, each written twice, and returns its folder: as it lies while the grid is open, which is
// what a killed process leaves, or after a stop in order.
func folderOf1000(t *testing.T, killed bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	g, err := grid.Open(t.Context(), grid.Config{Dir: dir, Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	c := cache(t, g, grid.CacheConfig{Name: "readings"})
	for round := range 2 {
		for i := range 1000 {
			if _, err := c.Put(t.Context(), sensor(i), reading(i, round), grid.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if killed {
		image := filepath.Join(t.TempDir(), "image")
		if err := os.CopyFS(image, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		return image
	}
	return dir
}

func sensor(i int) string { return fmt.Sprintf("sensor-%04d", i) }

func reading(i, round int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "%d of round %d;", i, round), 20)
}

// lastIn returns the file of the partition's block that has a text last, and where.
func lastIn(t *testing.T, dir, text string) (path string, at int) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "KV_*-d-0", "msgs", "*.blk"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	for _, p := range slices.Backward(paths) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.LastIndex(b, []byte(text)); at >= 0 {
			return p, at
		}
	}
	t.Fatalf("%q is in none of %d blocks", text, len(paths))
	return "", 0
}

func flip(t *testing.T, path string, at, n int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		b[at+i] ^= 0xa5
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Bytes that were flipped on the disk cost the entries that they hit and no other, whatever they hit, and those keys are answered as damaged: today,
// after another restart, and until they are written again.
func TestFlippedBytesCostWhatTheyHit(t *testing.T) {
	for _, tt := range []struct {
		name   string
		killed bool
		// at is where bytes are flipped, from the subject of sensor-0500, and how many.
		at, n int
		// lost is how many keys are lost at most, and known of them that are known to be.
		lost, known int
	}{
		{"a value", false, 200, 16, 1, 1},
		{"a value, killed", true, 200, 16, 1, 1},
		{"the key", false, 30, 4, 1, 1},
		{"the key, killed", true, 30, 4, 1, 0},
		{"the length", false, -22, 4, 1, 1},
		{"the length, killed", true, -22, 4, 1, 0},
		{"the sequence", false, -18, 8, 1, 1},
		{"the sequence, killed", true, -18, 8, 1, 1},
		{"the border of two", false, 1000000, 0, 2, 2},
		{"many", false, 0, 4000, 12, 10},
		{"many, killed", true, 0, 4000, 12, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := folderOf1000(t, tt.killed)
			path, at := lastIn(t, dir, "$KV.millrace-d-0.readings.sensor-0500")
			if tt.n == 0 {
				_, next := lastIn(t, dir, "$KV.millrace-d-0.readings.sensor-0501")
				flip(t, path, next-30, 16)
			} else {
				flip(t, path, at+tt.at, tt.n)
			}
			damaged := map[string]bool{}
			for restart := range 2 {
				g, err := grid.Open(t.Context(), grid.Config{Dir: dir})
				if err != nil {
					t.Fatal(err)
				}
				c := cacheOf(t, g, "readings")
				gone := 0
				for i := range 1000 {
					e, err := c.Get(t.Context(), sensor(i))
					switch {
					case err == nil && bytes.Equal(e.Value, reading(i, 1)):
					case errors.Is(err, grid.ErrDamaged):
						damaged[sensor(i)] = true
						gone++
					case errors.Is(err, grid.ErrNotFound):
						gone++
					case err == nil && tt.killed && tt.known == 0: // what it had before: nobody knows that this key was written again
						gone++
					default:
						t.Fatalf("%s: %q, %v", sensor(i), e.Value, err)
					}
				}
				if gone == 0 || gone > tt.lost || len(damaged) < tt.known || tt.known > 1 && len(damaged) < 2 {
					t.Errorf("start %d: %d keys are gone, %d of them known: %v", restart, gone, len(damaged), damaged)
				}
				if found := g.Damages(); restart == 0 && (len(found) != 1 || found[0].Records < gone || found[0].Class != grid.Durable || found[0].From == 0) {
					t.Errorf("damages: %+v", found)
				} else if restart == 0 {
					if _, err := os.Stat(filepath.Join(found[0].Kept, found[0].File)); err != nil {
						t.Errorf("the block as it was: %v", err)
					}
				}
				s, err := c.Stats(t.Context())
				if err != nil || s.Damaged != int64(len(damaged)) {
					t.Errorf("%d keys are counted as damaged, %d are: %v", s.Damaged, len(damaged), err)
				}
				for k := range damaged {
					if restart == 0 {
						break
					}
					if _, err := c.Create(t.Context(), k, []byte("new"), grid.PutOptions{}); err != nil {
						t.Errorf("put what was damaged: %v", err)
					}
					if e, err := c.Get(t.Context(), k); err != nil || string(e.Value) != "new" {
						t.Errorf("what was put again: %q, %v", e.Value, err)
					}
				}
				if err := g.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// A block that is gone after a stop in order is missed, with its keys.
func TestMissingBlockIsKnown(t *testing.T) {
	dir := folderOf1000(t, false)
	path, _ := lastIn(t, dir, "$KV.millrace-d-0.readings.sensor-0500")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	g := open(t, grid.Config{Dir: dir})
	c := cacheOf(t, g, "readings")
	if _, err := c.Get(t.Context(), sensor(500)); !errors.Is(err, grid.ErrDamaged) {
		t.Errorf("an entry of the lost block: %v", err)
	}
	if found := g.Damages(); len(found) != 1 || !found[0].Missing || found[0].Records == 0 || !slices.ContainsFunc(found[0].Keys, func(k string) bool { return strings.HasPrefix(k, "readings/") }) {
		t.Errorf("%+v", found)
	}
	if _, err := c.Delete(t.Context(), sensor(500), grid.DeleteOptions{}); err != nil {
		t.Errorf("remove what is damaged: %v", err)
	}
	if _, err := c.Get(t.Context(), sensor(500)); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("after its removal: %v", err)
	}
}

// Nothing is found, and nothing is changed, where nothing is wrong: after a stop in order and after a kill that tore the last write.
func TestWholeFolderIsLeftAlone(t *testing.T) {
	for _, killed := range []bool{false, true} {
		dir := folderOf1000(t, killed)
		if killed {
			path, at := lastIn(t, dir, "$KV.")
			if err := os.Truncate(path, int64(at)+8); err != nil {
				t.Fatal(err)
			}
		}
		g := open(t, grid.Config{Dir: dir})
		if found := g.Damages(); len(found) != 0 {
			t.Errorf("killed %v: %+v", killed, found)
		}
		if _, err := os.Stat(filepath.Join(dir, "damaged")); !os.IsNotExist(err) {
			t.Errorf("killed %v: something was kept: %v", killed, err)
		}
		if n, err := cacheOf(t, g, "readings").Size(t.Context()); err != nil || n < 999 {
			t.Errorf("killed %v: %d entries, %v", killed, n, err)
		}
	}
}

func cacheOf(t *testing.T, g *grid.Grid, name string) *grid.Cache {
	t.Helper()
	c, err := g.Cache(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Examine tells what a start would find, and changes nothing.
func TestExamineChangesNothing(t *testing.T) {
	dir := folderOf1000(t, false)
	if found, err := grid.Examine(dir); err != nil || len(found.Damages) != 0 || len(found.Faults) != 0 || found.Records < 1000 || found.Killed != 0 {
		t.Errorf("a whole folder: %+v, %v", found, err)
	}
	path, at := lastIn(t, dir, "$KV.millrace-d-0.readings.sensor-0500")
	flip(t, path, at+200, 16)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := grid.Examine(dir)
	if err != nil || len(found.Damages) != 1 || !slices.Equal(found.Damages[0].Keys, []string{"readings/sensor-0500"}) || found.Lost() != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the block was changed: %v", err)
	}
	meta := filepath.Join(filepath.Dir(filepath.Dir(path)), "meta.inf")
	flip(t, meta, 20, 1)
	if found, err := grid.Examine(dir); err != nil || len(found.Faults) != 1 {
		t.Errorf("a damaged description: %+v, %v", found, err)
	}
	if _, err := grid.Examine(t.TempDir()); !errors.Is(err, grid.ErrFormat) {
		t.Errorf("a folder that is none: %v", err)
	}
	flip(t, meta, 20, 1)
	open(t, grid.Config{Dir: dir})
	if _, err := grid.Examine(dir); !errors.Is(err, grid.ErrLocked) {
		t.Errorf("a folder in use: %v", err)
	}
}
