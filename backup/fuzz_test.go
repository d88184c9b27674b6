package backup

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// FuzzPart: no bytes make the reader of parts fail otherwise than by ErrDamaged, or take more memory than a part may have; what it reads is what is written
// again.
func FuzzPart(f *testing.F) {
	z, err := newPacker()
	if err != nil {
		f.Fatal(err)
	}
	u, err := newUnpacker()
	if err != nil {
		f.Fatal(err)
	}
	var raw []byte
	for _, k := range []grid.Kept{
		{Cache: "d", Key: "k", Sequence: 7, Time: time.Unix(1, 2), Value: []byte("v"), Header: map[string]string{"Millrace-Type": "a/b"}},
		{Cache: "d", Key: "\x00\xff", Sequence: 1 << 62},
		{Cache: "d", Reader: "r", Sequence: 8, Value: []byte(`{"position":3}`)},
	} {
		raw = appendRecord(raw, k)
		f.Add(pack(z, raw), true)
		f.Add(raw, false)
	}
	f.Add([]byte(partMagic), true)
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, false)
	f.Fuzz(func(t *testing.T, b []byte, packed bool) {
		if packed {
			var err error
			if b, err = unpack(u, b); err != nil {
				if !errors.Is(err, ErrDamaged) {
					t.Fatal(err)
				}
				return
			}
		}
		err := records(b, func(k grid.Kept) error {
			again, rest, err := readRecord(appendRecord(nil, k))
			if err != nil || len(rest) > 0 || again.Key != k.Key || again.Reader != k.Reader || again.Sequence != k.Sequence || !again.Time.Equal(k.Time) ||
				!bytes.Equal(again.Value, k.Value) || len(again.Header) != len(k.Header) {
				t.Errorf("%+v is read as %+v, %v", k, again, err)
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Fatal(err)
		}
	})
}

// FuzzManifest: a manifest is read, or it is ErrDamaged or ErrNewer.
func FuzzManifest(f *testing.F) {
	part := `{"name":"part-00000001","class":"durable","partition":0,"records":1,"raw":9,"bytes":9,"sha256":"` + sum(nil) + `"}`
	for _, s := range []string{
		`{"format":1,"id":"x","grid":"g","partitions":8,"above":9,"caches":[{"name":"d"}],"parts":[` + part + `]}`,
		`{"format":1,"id":"x","partitions":3}`,
		`{"format":2}`, `{"format":1,"id":"x","partitions":1,"parts":[` + part + `,` + part + `]}`, `[]`, ``,
		`{"format":1,"id":"x","partitions":1,"caches":[{"name":"d"},{"name":"d"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := ReadManifest(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		for i, p := range m.Parts {
			if p.Name != partName(i+1) || p.Partition >= m.Partitions || p.Bytes > maxPart {
				t.Errorf("part %+v of %d partitions was taken", p, m.Partitions)
			}
		}
	})
}

// TestLargePart: what unpacks to more than a part has is refused before it takes the memory.
func TestLargePart(t *testing.T) {
	z, err := newPacker()
	if err != nil {
		t.Fatal(err)
	}
	u, err := newUnpacker()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unpack(u, pack(z, make([]byte, maxRaw+1))); !errors.Is(err, ErrDamaged) {
		t.Error(err)
	}
	if _, err := unpack(u, pack(z, make([]byte, maxRaw))); err != nil {
		t.Error(err)
	}
}
