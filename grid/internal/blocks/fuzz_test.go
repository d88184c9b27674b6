package blocks

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/minio/highwayhash"
)

// block writes records of subjects, which have the sequences from 1 on.
func block(t testing.TB, subjects ...string) (sums, []byte) {
	t.Helper()
	s, err := newSums("S", 1)
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i, subject := range subjects {
		b = s.appendRecord(b, uint64(i+1), int64(i), subject, "NATS/1.0\r\nA: b\r\n\r\n")
	}
	return s, b
}

// Whatever is in a block's file, every byte of it is in one record or one gap, in order, and a record that is written is read.
func FuzzScan(f *testing.F) {
	_, b := block(f, "$KV.a.c.k1", "$KV.a.c.k2", "$KV.a.c.k3")
	f.Add(b, 5, byte(0xff))
	f.Add(b, 60, byte(1))
	f.Add(b[:len(b)-3], 0, byte(0))
	f.Add([]byte{}, 0, byte(0))
	f.Add(bytes.Repeat([]byte{0, 0, 0, 30}, 40), 7, byte(9))
	f.Fuzz(func(t *testing.T, b []byte, at int, with byte) {
		b = bytes.Clone(b)
		if at >= 0 && at < len(b) {
			b[at] ^= with
		}
		s, whole := block(t, "last")
		b = append(b, whole...)
		type piece struct{ from, to int }
		var pieces []piece
		found := false
		gaps := s.scan(b, func(r record) {
			pieces = append(pieces, piece{r.from, r.to})
			found = found || r.to == len(b) && string(r.subject) == "last"
		})
		for _, g := range gaps {
			pieces = append(pieces, piece{g.from, g.to})
		}
		sum := 0
		for _, p := range pieces {
			if p.from < 0 || p.to <= p.from || p.to > len(b) {
				t.Fatalf("a piece from %d to %d of %d", p.from, p.to, len(b))
			}
			sum += p.to - p.from
		}
		if sum != len(b) {
			t.Fatalf("%d of %d bytes are in a record or a gap", sum, len(b))
		}
		if !found && len(gaps) == 0 {
			t.Fatal("the last record is neither read nor in a gap")
		}
	})
}

// An index.db is read or refused, whatever is in it.
func FuzzState(f *testing.F) {
	f.Add([]byte{11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{11, 1, 1, 1, 1, 1, 1, 1, 1, 1, 'a', 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8})
	f.Add([]byte{11, 4, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0, 0, 0, 255, 255, 255, 15})
	f.Fuzz(func(t *testing.T, body []byte) {
		key := sha256.Sum256([]byte("S"))
		h, err := highwayhash.New64(key[:])
		if err != nil {
			t.Fatal(err)
		}
		h.Write(body)
		s, err := parseState(h.Sum(bytes.Clone(body)), "S")
		if (s == nil) != (err != nil) {
			t.Fatalf("%v, %v", s, err)
		}
		if s != nil && (len(s.sum) != sumSize || len(body) == 0 || body[0] != stateMagic) {
			t.Fatalf("%+v", s)
		}
	})
}
