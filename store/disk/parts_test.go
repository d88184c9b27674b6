package disk_test

import (
	"bytes"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/disk"
)

// TestParts: no part of a value is long, since Pebble reads a small value with what stands beside it; a value that is replaced by a shorter
// one, removed or dropped leaves none behind; and keys that begin alike do not get at each other's parts.
func TestParts(t *testing.T) {
	s := open(t, disk.Config{Dir: t.TempDir()})
	const part = 32 << 10
	other := bytes.Repeat([]byte{9}, 3*part)
	odd := "k\x00\x01k\x00\x00\x00\x01" // much like the key of a part of k
	if err := s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: odd, Revision: 1}, Value: other}); err != nil {
		t.Fatal(err)
	}
	revision := uint64(0)
	for _, size := range []int{0, 1, part - 1, part, part + 1, 5*part + 7, 2 * part, 1, 300 * part, 0, 3 * part} {
		revision++
		value := make([]byte, size)
		for i := range value {
			value[i] = byte(i/part + i)
		}
		if err := s.Put(t.Context(), "n", store.Entry{Info: store.Info{Key: "k", Revision: revision}, Value: value}); err != nil {
			t.Fatal(err)
		}
		e, err := s.Get(t.Context(), "n", "k")
		if err != nil || !bytes.Equal(e.Value, value) {
			t.Fatalf("a value of %d bytes came back as %d: %v", size, len(e.Value), err)
		}
		count, longest, err := s.Parts("n")
		if want := 3 + (size+part-1)/part; err != nil || count != want || longest > part {
			t.Fatalf("with %d bytes there are %d parts of at most %d bytes, want %d: %v", size, count, longest, want, err)
		}
	}
	if err := s.Delete(t.Context(), "n", "k", revision+1); err != nil {
		t.Fatal(err)
	}
	if e, err := s.Get(t.Context(), "n", odd); err != nil || !bytes.Equal(e.Value, other) {
		t.Fatalf("the other key has %d bytes: %v", len(e.Value), err)
	}
	if count, _, err := s.Parts("n"); err != nil || count != 3 {
		t.Fatalf("%d parts are left of one removed and one of three: %v", count, err)
	}
	if err := s.Drop(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	if count, _, err := s.Parts("n"); err != nil || count != 0 {
		t.Fatalf("%d parts are left of a namespace that was dropped: %v", count, err)
	}
}
