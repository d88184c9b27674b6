package grid

import (
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// flightMax bounds what is on its way to a partition; a server refuses more than 10,000 messages.
const flightMax = 4096

// flow is what this node has under way to a partition's stream, and how far it has come.
type flow struct {
	flight *semaphore.Weighted
	// written is the last sequence that this node got acknowledged, in the stream that was made at born (Unix nanoseconds, 0
	// while that is not known).
	written atomic.Uint64
	born    atomic.Int64
	floors  floors
}

func (f *flow) init() { f.flight = semaphore.NewWeighted(flightMax) }

// wrote notes that a write was acknowledged.
func (f *flow) wrote(seq Sequence) {
	raise(&f.written, uint64(seq))
}

// of notes which stream this is: what was written to one that was lost is nobody's to wait for.
func (f *flow) of(born int64) {
	if old := f.born.Swap(born); old != 0 && old != born {
		f.written.Store(0)
		f.floors.slots.Store(nil)
	}
}

// weight is a write's share of flightMax.
func (w *write) weight() int64 { return min(1+int64(len(w.value))>>13, flightMax) }
