package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/store/disk"
)

// some makes a grid of a few parts and backs it up.
func some(t *testing.T) (dir string, m backup.Manifest, want map[string]grid.Entry) {
	t.Helper()
	g := open(t, grid.Config{Partitions: 4})
	c := cache(t, g, grid.CacheConfig{Name: "d", MaxEntryBytes: grid.MaxValueBytes})
	for i := range 40 {
		put(t, c, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 100), grid.PutOptions{})
	}
	dir = t.TempDir()
	return dir, save(t, g, backup.NewDir(dir), backup.Options{}), entries(t, c)
}

// TestDamage: a byte that changed, a part that was cut or is missing, in any part, is found before anything is written.
func TestDamage(t *testing.T) {
	dir, m, _ := some(t)
	if len(m.Parts) != 4 {
		t.Fatalf("%d parts", len(m.Parts))
	}
	verify := func() error {
		m, err := backup.Open(t.Context(), backup.NewDir(dir))
		if err != nil {
			return err
		}
		return backup.Verify(t.Context(), backup.NewDir(dir), m, nothing)
	}
	if err := verify(); err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Parts {
		path := filepath.Join(dir, p.Name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{0, len(whole) / 2, len(whole) - 1} {
			bad := append([]byte(nil), whole...)
			bad[at] ^= 0x10
			write(t, path, bad)
			if err := verify(); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), p.Name) {
				t.Errorf("%s, byte %d: %v", p.Name, at, err)
			}
		}
		write(t, path, whole[:len(whole)-1])
		if err := verify(); !errors.Is(err, backup.ErrDamaged) {
			t.Errorf("%s cut: %v", p.Name, err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := verify(); !errors.Is(err, backup.ErrDamaged) || !strings.Contains(err.Error(), p.Name+" is missing") {
			t.Errorf("%s missing: %v", p.Name, err)
		}
		write(t, path, whole)
	}
	manifest := filepath.Join(dir, backup.ManifestName)
	whole, err := os.ReadFile(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]error{
		strings.Replace(string(whole), `"format": 1`, `"format": 2`, 1):         backup.ErrNewer,
		string(whole[:len(whole)/2]):                                            backup.ErrDamaged,
		strings.Replace(string(whole), `"partitions": 4`, `"partitions": 5`, 1): backup.ErrDamaged,
		strings.Replace(string(whole), m.Parts[2].Name, m.Parts[1].Name, 1):     backup.ErrDamaged,
		strings.Replace(string(whole), m.Parts[2].SHA256[:8], "zz", 1):          backup.ErrDamaged,
	} {
		write(t, manifest, []byte(text))
		if err := verify(); !errors.Is(err, want) {
			t.Errorf("%.60q: %v, want %v", text, err, want)
		}
	}
	if err := os.Remove(manifest); err != nil {
		t.Fatal(err)
	}
	if err := verify(); !errors.Is(err, backup.ErrNone) {
		t.Errorf("without a manifest: %v", err)
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInterrupted: a restore that was cut short leaves a grid that no node opens, and that the same backup alone goes on with; a grid that is in use takes none.
func TestInterrupted(t *testing.T) {
	dir, m, want := some(t)
	cfg := grid.Config{Dir: t.TempDir(), Partitions: 2}
	taking := cfg
	taking.Taking = m.Taking()
	g := open(t, taking)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := backup.Restore(ctx, backup.NewDir(dir), m, g, backup.RestoreOptions{
		Skip: func(string, string) bool { return false }, Progress: func(backup.Progress) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("cut short: %v", err)
	}
	shut(t, g)
	if _, err := grid.Open(t.Context(), cfg); !errors.Is(err, grid.ErrUnfinished) {
		t.Fatalf("a node opens a part of a grid: %v", err)
	}
	other := taking
	other.Taking = &grid.Taking{Backup: "another"}
	if _, err := grid.Open(t.Context(), other); !errors.Is(err, grid.ErrNotNew) {
		t.Fatalf("another backup: %v", err)
	}
	g, _ = restore(t, backup.NewDir(dir), cfg)
	shut(t, g)
	if _, err := grid.Open(t.Context(), taking); !errors.Is(err, grid.ErrNotNew) {
		t.Fatalf("a second time: %v", err)
	}
	g = open(t, cfg)
	c, err := g.Cache(t.Context(), "d")
	if err != nil {
		t.Fatal(err)
	}
	same(t, "after an interruption", entries(t, c), want)
}

// TestPlaces: folders, tar files and stores keep a backup; one that is there is not written over, what an interrupted one left is.
func TestPlaces(t *testing.T) {
	g := open(t, grid.Config{Partitions: 2})
	c := cache(t, g, grid.CacheConfig{Name: "d"})
	for i := range 20 {
		put(t, c, fmt.Sprint(i), "v", grid.PutOptions{})
	}
	want := entries(t, c)
	s, err := disk.Open(disk.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dir := t.TempDir()
	left := []string{"part-00000009", ".millrace-KILLED"} // what a killed process was writing
	for _, name := range left {
		write(t, filepath.Join(dir, name), []byte("left"))
	}
	file := filepath.Join(t.TempDir(), "b.tar")
	write(t, file+".part", []byte("left"))
	for name, place := range map[string]func() backup.Place{
		"dir":   func() backup.Place { return backup.NewDir(dir) },
		"file":  func() backup.Place { return backup.NewFile(file) },
		"store": func() backup.Place { return backup.NewStore(s, "") },
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := backup.Open(t.Context(), place()); !errors.Is(err, backup.ErrNone) {
				t.Fatalf("before: %v", err)
			}
			to := place()
			save(t, g, to, backup.Options{})
			if err := to.Close(); err != nil {
				t.Fatal(err)
			}
			from := place()
			defer from.Close()
			again, _ := restore(t, from, grid.Config{})
			c, err := again.Cache(t.Context(), "d")
			if err != nil {
				t.Fatal(err)
			}
			same(t, name, entries(t, c), want)
			if name == "store" {
				return // each has a name of its own there
			}
			if err := place().Begin(t.Context(), "x"); !errors.Is(err, backup.ErrThere) {
				t.Errorf("over a backup: %v", err)
			}
		})
	}
	for _, name := range left {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s, which was left, is still there", name)
		}
	}
	strange := t.TempDir()
	write(t, filepath.Join(strange, "letter.txt"), nil)
	if err := backup.NewDir(strange).Begin(t.Context(), "x"); !errors.Is(err, backup.ErrThere) {
		t.Errorf("into a folder with something else: %v", err)
	}
}
