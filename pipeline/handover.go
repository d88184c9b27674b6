package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/millrace/millrace/grid"
)

// What nodes say to each other when one runs a batch for another. The owner of a batch first sends an offer, which is small; the batch follows where the
// answer has a ticket. Offers are JSON, since they are where versions meet; batches and what became of them are counted fields, since their bytes are the
// entries' own.

// handoverFormat is the number of what follows. A node that gets another one refuses.
const handoverFormat = 1

const (
	messageOffer   = 'o'
	messageBatch   = 'b'
	messageOutcome = 'r'
	messageStill   = 's'
)

var errHandover = errors.New("what another node says of a batch cannot be read")

// An offer asks a node whether it would run a batch of a pipeline now, with exactly this model.
type offer struct {
	Format   int    `json:"format"`
	Pipeline string `json:"pipeline"`
	// Definition is the digest of the pipeline's definition: the result depends on it.
	Definition string `json:"definition"`
	Version    int64  `json:"version"`
	Digest     string `json:"digest,omitempty"` // of the model's file
	// Any says that who offers opens no models, and takes the version that the node would use. The ticket says which.
	Any bool `json:"any,omitempty"`
}

// A ticket is the answer to an offer: a number with which the batch comes, or why not.
type ticket struct {
	Number uint64 `json:"number,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Busy says that the node may have time soon.
	Busy bool `json:"busy,omitempty"`
	// Version is the model's, where the offer left it open.
	Version int64 `json:"version,omitempty"`
}

func encodeOffer(o offer) ([]byte, error) {
	b, err := json.Marshal(o)
	return append([]byte{messageOffer}, b...), err
}

func decodeOffer(b []byte) (o offer, err error) {
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%w: an offer: %w", errHandover, err)
	}
	if o.Format != handoverFormat {
		return o, fmt.Errorf("%w: it has format %d, this node has %d", errHandover, o.Format, handoverFormat)
	}
	return o, nil
}

func decodeTicket(b []byte) (t ticket, err error) {
	if err := json.Unmarshal(b, &t); err != nil {
		return t, fmt.Errorf("%w: a ticket: %w", errHandover, err)
	}
	return t, nil
}

// handed is a batch on its way.
type handed struct {
	ticket uint64
	within time.Duration // how long the owner waits for it
	items  []*item       // that have key, revision, content type and value
}

// appendHead begins a batch of n items.
func (h handed) appendHead(b []byte, n int) []byte {
	b = append(b, messageBatch)
	b = binary.AppendUvarint(b, h.ticket)
	b = binary.AppendUvarint(b, uint64(max(0, h.within)))
	return binary.AppendUvarint(b, uint64(n))
}

// mostHead is how many bytes appendHead adds at most, and mostFields how many the fields of an item have beside their content.
const (
	mostHead   = 1 + 3*binary.MaxVarintLen64
	mostFields = 4 * binary.MaxVarintLen64
)

// handedSize is how many bytes an item has in a batch at most.
func handedSize(it *item) int {
	return mostFields + len(it.source.Key) + len(it.source.ContentType) + len(it.source.Value)
}

func (h handed) encode() []byte {
	size := mostHead
	for _, it := range h.items {
		size += handedSize(it)
	}
	b := h.appendHead(make([]byte, 0, size), len(h.items))
	for _, it := range h.items {
		b = appendText(b, it.source.Key)
		b = binary.AppendUvarint(b, uint64(it.source.Revision))
		b = appendText(b, it.source.ContentType)
		b = appendText(b, it.source.Value)
	}
	return b
}

// decodeHanded reads a batch of entries of a cache, after its first byte. The items have parts of b.
func decodeHanded(b []byte, cache string) (h handed, err error) {
	r := fields{rest: b}
	h.ticket = r.number(math.MaxUint64)
	h.within = time.Duration(r.number(math.MaxInt64))
	n := r.number(MaxBatch)
	for range n {
		it := &item{source: grid.Entry{Cache: cache, Key: string(r.text()), Revision: grid.Revision(r.number(math.MaxUint64)), ContentType: string(r.text()), Value: r.text()}}
		if r.err != nil {
			break
		}
		h.items = append(h.items, it)
	}
	return h, r.end("a batch")
}

// An outcome is what became of a batch: its items' results and faults, or why the node did not run it.
type outcome struct {
	refused string
	large   bool // refused, since the results are more than an answer has
	took    stopwatch
	items   []*item // that have value or fails
}

const (
	itemValue = 0
	itemFault = 1 // and more: the fault's code follows from it
)

// movable are the faults that come of the entry and the model alone, so that every node finds them. Any other has the owner of a batch run it itself, where it can.
var movable = []code{codeInput, codeOutput}

// told are the faults that a node tells of another's entry, by the number that stands for them.
var told = []code{codeInput, codeOutput, codeRun, codeLarge, codeTimeout}

// encodeStill asks whether a node has what it gave a ticket for.
func encodeStill(number uint64) []byte { return binary.AppendUvarint([]byte{messageStill}, number) }

func (o outcome) encode() []byte {
	b := []byte{messageOutcome, handoverFormat}
	b = appendText(b, o.refused)
	large := uint64(0)
	if o.large {
		large = 1
	}
	b = binary.AppendUvarint(b, large)
	for _, d := range []time.Duration{o.took.decode, o.took.run, o.took.encode} {
		b = binary.AppendUvarint(b, uint64(max(0, d)))
	}
	b = binary.AppendUvarint(b, uint64(len(o.items)))
	for _, it := range o.items {
		if it.fails == nil {
			b = appendText(append(b, itemValue), it.value)
		} else {
			b = appendText(append(b, itemFault+byte(slices.Index(told, it.fails.code))), it.fails.err.Error())
		}
	}
	return b
}

// decodeOutcome reads an outcome. Its items have parts of b.
func decodeOutcome(b []byte) (o outcome, err error) {
	if len(b) < 2 || b[0] != messageOutcome || b[1] != handoverFormat {
		return o, fmt.Errorf("%w: an outcome of another format", errHandover)
	}
	r := fields{rest: b[2:]}
	o.refused = string(r.text())
	o.large = r.number(1) == 1
	for _, d := range []*time.Duration{&o.took.decode, &o.took.run, &o.took.encode} {
		*d = time.Duration(r.number(math.MaxInt64))
	}
	n := r.number(MaxBatch)
	for range n {
		kind := r.number(uint64(itemFault + len(told) - 1))
		text := r.text()
		if r.err != nil {
			break
		}
		it := &item{value: text}
		if kind != itemValue {
			it.value, it.fails = nil, &fails{told[kind-itemFault], errors.New(string(text))}
		}
		o.items = append(o.items, it)
	}
	return o, r.end("an outcome")
}

func appendText[T string | []byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// fields reads counted fields; the first fault stays.
type fields struct {
	rest []byte
	err  error
}

func (f *fields) number(most uint64) uint64 {
	n, size := binary.Uvarint(f.rest)
	switch {
	case f.err != nil:
		return 0
	case size <= 0:
		f.err = errors.New("it ends in a number")
		return 0
	case n > most:
		f.err = fmt.Errorf("%d is more than %d", n, most)
		return 0
	}
	f.rest = f.rest[size:]
	return n
}

// text returns a part of what is read, which cannot grow into the next.
func (f *fields) text() []byte {
	n := f.number(math.MaxInt32)
	if f.err == nil && n > uint64(len(f.rest)) {
		f.err = fmt.Errorf("a text of %d bytes where %d are left", n, len(f.rest))
	}
	if f.err != nil {
		return nil
	}
	text := f.rest[:n:n]
	f.rest = f.rest[n:]
	return text
}

func (f *fields) end(what string) error {
	if f.err == nil && len(f.rest) > 0 {
		f.err = fmt.Errorf("%d bytes too many", len(f.rest))
	}
	if f.err != nil {
		return fmt.Errorf("%w: %s: %w", errHandover, what, f.err)
	}
	return nil
}
