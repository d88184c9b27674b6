package pipeline

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

func handoverSeeds(t testing.TB) (offers, batches, outcomes [][]byte) {
	t.Helper()
	o, err := encodeOffer(offer{Format: handoverFormat, Pipeline: "p", Definition: "d", Version: 3, Digest: "x"})
	if err != nil {
		t.Fatal(err)
	}
	h := handed{ticket: 1<<64 - 1, within: time.Second, items: []*item{
		{source: grid.Entry{Cache: "in", Key: "a\xff", Revision: 7, ContentType: "application/json", Value: []byte("[1, 2]")}},
		{source: grid.Entry{Cache: "in", Key: "", Revision: 1<<64 - 1}},
	}}
	done := outcome{took: stopwatch{decode: 1, run: 2, encode: 3}, items: []*item{{value: []byte("{")}, {fails: &fails{codeInput, errors.New("no number")}}, {fails: &fails{codeOutput, errors.New("a NaN")}}}}
	return [][]byte{o[1:], []byte(`{"format":2}`)}, [][]byte{h.encode()[1:], handed{}.encode()[1:]},
		[][]byte{done.encode(), outcome{refused: "it has no time"}.encode(), outcome{refused: "too many bytes", large: true}.encode()}
}

// TestHandover: what is written is read again.
func TestHandover(t *testing.T) {
	offers, batches, outcomes := handoverSeeds(t)
	if o, err := decodeOffer(offers[0]); err != nil || o.Pipeline != "p" || o.Version != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	if _, err := decodeOffer(offers[1]); !errors.Is(err, errHandover) {
		t.Errorf("another format: %v", err)
	}
	h, err := decodeHanded(batches[0], "in")
	if err != nil || h.ticket != 1<<64-1 || len(h.items) != 2 || h.items[0].source.Key != "a\xff" || string(h.items[0].source.Value) != "[1, 2]" || h.items[1].source.Revision != 1<<64-1 {
		t.Errorf("%+v, %v", h, err)
	}
	size := mostHead
	for _, it := range h.items {
		size += handedSize(it)
	}
	if len(batches[0]) > size {
		t.Errorf("a batch of %d bytes is said to have %d at most", len(batches[0]), size)
	}
	o, err := decodeOutcome(outcomes[0])
	if err != nil || len(o.items) != 3 || string(o.items[0].value) != "{" || o.items[1].fails.code != codeInput || o.items[2].fails.err.Error() != "a NaN" || o.took.encode != 3 {
		t.Errorf("%+v, %v", o, err)
	}
	if o, err = decodeOutcome(outcomes[2]); err != nil || !o.large || o.refused != "too many bytes" {
		t.Errorf("%+v, %v", o, err)
	}
	for _, b := range [][]byte{nil, outcomes[0][:9], append(bytes.Clone(outcomes[0]), 0), {messageOutcome, 9}} {
		if _, err := decodeOutcome(b); !errors.Is(err, errHandover) {
			t.Errorf("%q: %v", b, err)
		}
	}
}

// FuzzHandover: no message makes a decoder fail in another way than by its error, and what is read is written as it was.
func FuzzHandover(f *testing.F) {
	offers, batches, outcomes := handoverSeeds(f)
	for _, of := range [][][]byte{offers, batches, outcomes} {
		for _, b := range of {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decodeOffer(b); err != nil && !errors.Is(err, errHandover) {
			t.Error(err)
		}
		if _, err := decodeTicket(b); err != nil && !errors.Is(err, errHandover) {
			t.Error(err)
		}
		if h, err := decodeHanded(b, "in"); err == nil {
			again, err := decodeHanded(h.encode()[1:], "in")
			if err != nil || !reflect.DeepEqual(h, again) {
				t.Errorf("%+v becomes %+v, %v", h, again, err)
			}
		} else if !errors.Is(err, errHandover) {
			t.Error(err)
		}
		if o, err := decodeOutcome(b); err == nil {
			again, err := decodeOutcome(o.encode())
			if err != nil || !reflect.DeepEqual(o, again) {
				t.Errorf("%+v becomes %+v, %v", o, again, err)
			}
		} else if !errors.Is(err, errHandover) {
			t.Error(err)
		}
	})
}

// TestHandoverTellsEveryFault: whatever an entry's fault is, the node that runs it for one that opens no models can tell it.
func TestHandoverTellsEveryFault(t *testing.T) {
	for c := range codes {
		o, err := decodeOutcome(outcome{items: []*item{{fails: &fails{c, errors.New("why")}}}}.encode())
		if err != nil || len(o.items) != 1 || o.items[0].fails == nil || o.items[0].fails.code != c || o.items[0].fails.err.Error() != "why" {
			t.Errorf("%s: %+v, %v", c, o, err)
		}
	}
}
