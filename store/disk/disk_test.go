package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/disk"
	"github.com/millrace/millrace/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		write(dir)
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, c disk.Config) *disk.Store {
	t.Helper()
	s, err := disk.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestSuite(t *testing.T) {
	dir := t.TempDir()
	storetest.Run(t, storetest.Under{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			s, err := disk.Open(disk.Config{Dir: dir, Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Kept: true,
		Damage: func(t *testing.T, s store.Store, namespace, key string, head bool) {
			if err := s.(*disk.Store).Damage(namespace, key, head); err != nil {
				t.Fatal(err)
			}
		},
	})
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	open(t, disk.Config{Dir: dir})
	_, err := disk.Open(disk.Config{Dir: dir})
	if !errors.Is(err, store.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("%s is open in process %d", dir, os.Getpid())) {
		t.Error(err)
	}
}

func TestFolder(t *testing.T) {
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "photo.png"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(disk.Config{Dir: other}); !errors.Is(err, store.ErrConfig) || !strings.Contains(err.Error(), "photo.png") {
		t.Errorf("a folder with something else: %v", err)
	}
	if files, err := os.ReadDir(other); err != nil || len(files) != 1 {
		t.Errorf("something was left in it: %v, %v", files, err)
	}
	newer := t.TempDir()
	if err := os.WriteFile(filepath.Join(newer, "FORMAT"), []byte("millrace-store 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Open(disk.Config{Dir: newer}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a later format: %v", err)
	}
	if _, err := disk.Open(disk.Config{Dir: filepath.Join(newer, "FORMAT", "x")}); err == nil {
		t.Error("a folder below a file is opened")
	}
}

func TestFull(t *testing.T) {
	s := open(t, disk.Config{Dir: t.TempDir(), MinFree: 1 << 62})
	if err := s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: "k", Revision: 1}}); !errors.Is(err, store.ErrFull) {
		t.Error(err)
	}
	// What makes room is let through.
	if err := s.Delete(t.Context(), "n", "k", 1); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	_, err := disk.Open(disk.Config{CacheBytes: -1, BufferBytes: 1, MinFree: -1})
	if !errors.Is(err, store.ErrConfig) {
		t.Error(err)
	}
	for _, field := range []string{"dir: ", "cache_bytes: ", "buffer_bytes: ", "min_free: "} {
		if !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
}

// A byte that changes in any of the files is never read as something else than what was written.
func TestDamagedFiles(t *testing.T) {
	dir := t.TempDir()
	s, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	value := func(i int) []byte { return bytes.Repeat(fmt.Appendf(nil, "%d ", i), 2000) }
	const count = 300
	for i := range count {
		if err := s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: fmt.Sprint(i), Revision: 1}, Value: value(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(s.Flush(), s.Close()); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 10 {
		path := tables[random.IntN(len(tables))]
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := bytes.Clone(good)
		bad[random.IntN(len(bad)*9/10)] ^= 1 << random.IntN(8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		refused += readDamaged(t, dir, count, value)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if refused == 0 {
		t.Error("no read met the damage")
	}
}

// readDamaged reads all and returns how many reads were refused.
func readDamaged(t *testing.T, dir string, count int, value func(int) []byte) (refused int) {
	s, err := disk.Open(disk.Config{Dir: dir})
	if err != nil {
		if !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("open: %v", err)
		}
		return 1
	}
	defer s.Close()
	for i := range count {
		e, err := s.Get(t.Context(), "n", fmt.Sprint(i))
		switch {
		case errors.Is(err, store.ErrCorrupt):
			if !strings.Contains(err.Error(), fmt.Sprintf("n/%q", fmt.Sprint(i))) {
				t.Errorf("the error does not name the key: %v", err)
			}
			refused++
		case err != nil:
			t.Errorf("get: %v", err)
		case !bytes.Equal(e.Value, value(i)):
			t.Errorf("key %d has another value", i)
		}
	}
	return refused
}
