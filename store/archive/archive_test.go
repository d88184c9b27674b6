package archive_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/archive"
	"github.com/millrace/millrace/store/disk"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// odd are entries of all kinds: any bytes in keys and labels, large and empty values.
func odd() map[string][]store.Entry {
	at := time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	return map[string][]store.Entry{
		"digits": {
			{Info: store.Info{Key: "\x00\xff", Revision: 3, Created: at, ContentType: "image/png"}, Value: []byte("png")},
			{Info: store.Info{Key: "a/../b", Revision: 1 << 60, Lifespan: time.Hour, Expires: at.AddDate(100, 0, 0), MaxIdle: 1500 * time.Millisecond}},
			{Info: store.Info{Key: strings.Repeat("k", store.MaxKeyBytes), Revision: 1, Labels: map[string]string{"a": "b", "\xfe": "\xff", "": "x"}, Extra: map[string]string{"source": "1"}}, Value: bytes.Repeat([]byte{1}, 300<<10)},
		},
		"z": {{Info: store.Info{Key: "only", Revision: 9}, Value: []byte{0}}},
	}
}

func fill(t testing.TB, s store.Store, all map[string][]store.Entry) {
	t.Helper()
	for cache, entries := range all {
		for _, err := range s.PutAll(t.Context(), cache, entries) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func export(t testing.TB, s store.Store, o archive.ExportOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.tar")
	if _, err := archive.Export(t.Context(), s, path, o); err != nil {
		t.Fatal(err)
	}
	return path
}

func importFile(ctx context.Context, s store.Store, path string) (archive.Imported, error) {
	f, err := os.Open(path)
	if err != nil {
		return archive.Imported{}, err
	}
	defer f.Close()
	return archive.Import(ctx, s, f, nil)
}

// same holds the entries of two stores against each other.
func same(t testing.TB, got, want store.Store) {
	t.Helper()
	for cache := range odd() {
		var keys []string
		for info, err := range want.List(t.Context(), cache, store.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, info.Key)
		}
		n := 0
		for _, err := range got.List(t.Context(), cache, store.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(keys) {
			t.Errorf("%s has %d entries, want %d", cache, n, len(keys))
		}
		for _, key := range keys {
			a, errA := got.Get(t.Context(), cache, key)
			b, errB := want.Get(t.Context(), cache, key)
			if d := cmp.Diff(b.Info, a.Info, cmpopts.EquateEmpty()); d != "" || !bytes.Equal(a.Value, b.Value) || errA != nil || errB != nil {
				t.Errorf("%s/%q: %v, %v: %.300s", cache, key, errA, errB, d)
			}
		}
	}
}

// TestRoundTrip: what is exported and imported is what was there, to the bit; what was removed is not.
func TestRoundTrip(t *testing.T) {
	ctx := t.Context()
	a, err := disk.Open(disk.Config{Dir: t.TempDir(), MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	fill(t, a, odd())
	if _, err := store.Claim(ctx, a, "grid A"); err != nil {
		t.Fatal(err)
	}
	if err := a.Delete(ctx, "digits", "removed", 5); err != nil {
		t.Fatal(err)
	}
	path := export(t, a, archive.ExportOptions{})
	b := storetest.NewMemory(nil)
	for range 2 { // again is the same
		out, err := importFile(ctx, b, path)
		if err != nil || out.Entries != 4 || out.Newer != 0 {
			t.Fatalf("%+v, %v", out, err)
		}
	}
	same(t, b, a)
	if o, err := store.ReadOwner(ctx, b); err != nil || o.Grid != "" || o.From != "grid A" {
		t.Errorf("the store is of %+v, %v", o, err)
	}
	if _, err := os.Stat(archive.PartName(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part is there still: %v", err)
	}
	// Any tar reads it, and no name leaves the folder.
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !filepath.IsLocal(h.Name) || len(filepath.Base(h.Name)) > 255 {
			t.Errorf("a file has the name %q", h.Name)
		}
	}
}

// TestNeverNewer: an import replaces nothing newer and brings back nothing that was removed.
func TestNeverNewer(t *testing.T) {
	ctx := t.Context()
	a, b := storetest.NewMemory(nil), storetest.NewMemory(nil)
	fill(t, a, odd())
	path := export(t, a, archive.ExportOptions{})
	if err := b.Put(ctx, "z", store.Entry{Info: store.Info{Key: "only", Revision: 10}, Value: []byte("newer")}); err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(ctx, "digits", "\x00\xff", 4); err != nil {
		t.Fatal(err)
	}
	out, err := importFile(ctx, b, path)
	if err != nil || out.Newer != 2 || out.Entries != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if e, err := b.Get(ctx, "z", "only"); err != nil || string(e.Value) != "newer" {
		t.Errorf("%q, %v", e.Value, err)
	}
	if _, err := b.Get(ctx, "digits", "\x00\xff"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what was removed: %v", err)
	}
	// An entry whose time is over while it was in the archive does not come back either.
	c := storetest.NewMemory(nil)
	soon := store.Entry{Info: store.Info{Key: "soon", Revision: 1, Expires: time.Now().Add(300 * time.Millisecond)}}
	if err := c.Put(ctx, "digits", soon); err != nil {
		t.Fatal(err)
	}
	path = export(t, c, archive.ExportOptions{})
	time.Sleep(time.Until(soon.Expires))
	if out, err := importFile(ctx, storetest.NewMemory(nil), path); err != nil || out.Expired != 1 || out.Entries != 0 {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestOtherGrid: entries of two grids do not come together.
func TestOtherGrid(t *testing.T) {
	ctx := t.Context()
	a, b := storetest.NewMemory(nil), storetest.NewMemory(nil)
	fill(t, a, odd())
	for s, id := range map[store.Store]string{a: "grid A", b: "grid B"} {
		if _, err := store.Claim(ctx, s, id); err != nil {
			t.Fatal(err)
		}
	}
	path := export(t, a, archive.ExportOptions{})
	if _, err := importFile(ctx, b, path); !errors.Is(err, archive.ErrOtherGrid) || !strings.Contains(err.Error(), "grid A") || !strings.Contains(err.Error(), "grid B") {
		t.Errorf("into another grid's: %v", err)
	}
	if o, err := store.Release(ctx, a); err != nil || o.Grid != "grid A" {
		t.Errorf("release: %+v, %v", o, err)
	}
	if o, err := store.ReadOwner(ctx, a); err != nil || o.Grid != "" || o.Of() != "grid A" {
		t.Errorf("after release: %+v, %v", o, err)
	}
	if _, err := importFile(ctx, a, path); err != nil {
		t.Errorf("into the one that it is of: %v", err)
	}
	c := storetest.NewMemory(nil)
	fill(t, c, odd())
	if _, err := importFile(ctx, c, path); !errors.Is(err, archive.ErrOtherGrid) {
		t.Errorf("beside entries of nobody knows which: %v", err)
	}
}

// TestResume: an export that is cut short anywhere goes on where it was, and ends in the same file.
func TestResume(t *testing.T) {
	ctx := t.Context()
	s := storetest.NewMemory(nil)
	all := odd()
	for i := range 40 {
		all["z"] = append(all["z"], store.Entry{Info: store.Info{Key: fmt.Sprintf("z%02d", i), Revision: 1}, Value: bytes.Repeat([]byte{byte(i)}, i*100)})
	}
	fill(t, s, all)
	want, err := os.ReadFile(export(t, s, archive.ExportOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, size := range []int{0, 1, 511, 512, 1024, 1536, 2048, 3000, 4096, len(want) / 2, len(want) - 5000, len(want) - 1024, len(want) - 1, len(want)} {
		path := filepath.Join(dir, fmt.Sprint(size))
		if err := os.WriteFile(archive.PartName(path), want[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		resumed := int64(0)
		out, err := archive.Export(ctx, s, path, archive.ExportOptions{Progress: func(p archive.Progress) {
			if p.Resumed {
				resumed = p.Entries
			}
		}})
		if err != nil || out.Entries != 44 {
			t.Fatalf("from %d bytes: %+v, %v", size, out, err)
		}
		if size > len(want)/2 && resumed == 0 {
			t.Errorf("from %d bytes it began anew", size)
		}
		b := storetest.NewMemory(nil)
		if out, err := importFile(ctx, b, path); err != nil || out.Entries != 44 {
			t.Fatalf("from %d bytes: import %+v, %v", size, out, err)
		}
		same(t, b, s)
	}
	// A call that fails leaves what it had.
	f := faultstore.New(s, 1, faultstore.Faults{})
	path := filepath.Join(dir, "fails")
	ctx, cancel := context.WithCancel(ctx)
	_, err = archive.Export(ctx, f, path, archive.ExportOptions{Progress: func(p archive.Progress) {
		if p.Entries == 10 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("an export that ends in the middle: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("there is a file that is not whole: %v", err)
	}
	from := int64(0)
	if _, err := archive.Export(t.Context(), s, path, archive.ExportOptions{Progress: func(p archive.Progress) {
		if p.Resumed {
			from = p.Entries
		}
	}}); err != nil || from < 10 {
		t.Errorf("it went on from %d: %v", from, err)
	}
}

// TestCut: an archive that ends too soon is told of, and what is good of it is in the store.
func TestCut(t *testing.T) {
	s := storetest.NewMemory(nil)
	fill(t, s, map[string][]store.Entry{"z": odd()["z"], "y": odd()["z"]})
	b, err := os.ReadFile(export(t, s, archive.ExportOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	for size := 0; size < len(b); size += 31 {
		out := storetest.NewMemory(nil)
		got, err := archive.Import(t.Context(), out, bytes.NewReader(b[:size]), nil)
		// Without the zeros behind it the file is whole.
		if err == nil && (got.Entries != 2 || size < len(b)-2048) || err != nil && !errors.Is(err, archive.ErrCut) && !errors.Is(err, archive.ErrFormat) {
			t.Fatalf("of %d bytes: %+v, %v", size, got, err)
		}
	}
}

// TestVerify: a copy whose bytes have changed on the disk is named, with what can be done; the rest is read.
func TestVerify(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	open := func() store.Store {
		s, err := disk.Open(disk.Config{Dir: dir, MinFree: 1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	fill(t, s, odd())
	if err := s.Delete(ctx, "z", "removed", 5); err != nil {
		t.Fatal(err)
	}
	if out, err := archive.Verify(ctx, s, "", func(d archive.Damaged) { t.Error(d) }, nil); err != nil || out.Entries != 4 || out.Tombstones != 1 || out.Damaged != 0 {
		t.Fatalf("%+v, %v", out, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := pebble.Open(filepath.Join(dir, "db"), &pebble.Options{FormatMajorVersion: pebble.FormatTableFormatV6})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"vz\x00only", "hdigits\x00a/../b"} {
		b, done, err := db.Get([]byte(key))
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Clone(b)
		b[len(b)-1] ^= 1
		if err := errors.Join(done.Close(), db.Set([]byte(key), b, pebble.Sync)); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer s.Close()
	found := map[string]archive.Damaged{}
	out, err := archive.Verify(ctx, s, "", func(d archive.Damaged) { found[d.Cache+"/"+d.Key] = d }, nil)
	if err != nil || out.Entries != 2 || out.Damaged != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if d := found["z/only"]; !errors.Is(d.Err, store.ErrCorrupt) || d.Header {
		t.Errorf("a damaged value: %+v", d)
	}
	if d := found["digits/a/../b"]; !errors.Is(d.Err, store.ErrCorrupt) || !d.Header {
		t.Errorf("a damaged header: %+v", d)
	}
	var left []string
	path := filepath.Join(t.TempDir(), "a.tar")
	exported, err := archive.Export(ctx, s, path, archive.ExportOptions{Damaged: func(cache, key string, err error) { left = append(left, cache+"/"+key) }})
	if err != nil || exported.Entries != 2 || exported.Damaged != 2 || len(left) != 2 {
		t.Errorf("%+v, %v, left out %v", exported, err, left)
	}
	if err := s.Put(ctx, "z", store.Entry{Info: store.Info{Key: "only", Revision: 10}, Value: []byte("again")}); err != nil {
		t.Errorf("the advice does not help: %v", err)
	}
}
