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
	// written is the last sequence that this node got acknowledged.
	written atomic.Uint64
}

func (f *flow) init() { f.flight = semaphore.NewWeighted(flightMax) }

// wrote notes that a write was acknowledged.
func (f *flow) wrote(seq Sequence) {
	for {
		old := f.written.Load()
		if uint64(seq) <= old || f.written.CompareAndSwap(old, uint64(seq)) {
			return
		}
	}
}

// weight is a write's share of flightMax.
func (w *write) weight() int64 { return min(1+int64(len(w.value))>>13, flightMax) }
