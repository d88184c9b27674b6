package record_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/record"
)

func entry() store.Entry {
	return store.Entry{Info: store.Info{
		Key: "a\x00b/ü", Revision: 1<<63 + 5, Created: time.Unix(1700000000, 123456789).UTC(), Expires: time.Unix(1800000000, 1).UTC(),
		Lifespan: time.Hour, MaxIdle: time.Minute, ContentType: "image/png",
		Labels: map[string]string{"label": "7", "": "empty"}, Extra: map[string]string{"fence": "12"},
	}, Value: []byte("a value")}
}

func TestRoundTrip(t *testing.T) {
	for name, e := range map[string]store.Entry{
		"all":       entry(),
		"bare":      {Info: store.Info{Key: "k", Revision: 1}, Value: []byte{}},
		"tombstone": {Info: entry().Tombstone(time.Unix(5, 6).UTC()), Value: []byte{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := record.Decode(record.Encode(e), e.Key)
			e.Size = int64(len(e.Value))
			if diff := cmp.Diff(e, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// Each single byte that differs is noticed, in header, metadata and value.
func TestEveryByteCounts(t *testing.T) {
	good := record.Encode(entry())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, err := record.Decode(bad, entry().Key); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("byte %d of %d: %v", i, len(good), err)
		}
	}
	for n := range good {
		if _, err := record.Decode(good[:n], entry().Key); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("the first %d of %d bytes: %v", n, len(good), err)
		}
	}
	if _, err := record.Decode(append(good, 0), entry().Key); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := record.Decode(good, "other"); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("another key's copy: %v", err)
	}
}

// The largest head that a valid entry can have is one that is read.
func TestLargestHead(t *testing.T) {
	e := entry()
	e.Key, e.ContentType, e.Extra = strings.Repeat("\xff", store.MaxKeyBytes), "", nil
	for _, size := range []int{0, 1, 200, 20000} {
		e.Labels = map[string]string{}
		for room := store.MaxMetadataBytes; room >= size+10; room -= size + 10 {
			e.Labels[string([]byte{byte(len(e.Labels)), byte(len(e.Labels) >> 8)})] = strings.Repeat("v", size)
		}
		if err := e.Check("n"); err != nil {
			t.Fatal(err)
		}
		if _, err := record.Decode(record.Encode(e), e.Key); err != nil {
			t.Errorf("%d labels of %d bytes: %v", len(e.Labels), size, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, e := range []store.Entry{entry(), {Info: store.Info{Key: "k", Revision: 1}}, {Info: entry().Tombstone(time.Unix(5, 6))}} {
		f.Add(record.Encode(e), true)
		f.Add(record.Encode(e), false)
	}
	f.Add([]byte("MRS1"), true)
	f.Fuzz(func(t *testing.T, b []byte, mend bool) {
		// With the right checksum in place the metadata's decoder is reached.
		if mend {
			b = record.Mend(b)
		}
		h, err := record.DecodeHead(b)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%v is no ErrCorrupt", err)
			}
			return
		}
		if h.Bytes > len(b) || h.Bytes > record.MaxHeadBytes || h.Key == "" {
			t.Fatalf("%d bytes give %+v", len(b), h)
		}
		again, err := record.DecodeHead(record.EncodeHead(h, nil))
		if err != nil || again.Key != h.Key || again.Revision != h.Revision || !again.Expires.Equal(h.Expires) {
			t.Fatalf("%+v became %+v, %v", h, again, err)
		}
	})
}
