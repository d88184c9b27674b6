// Package limittest holds readers of other people's files to what they may take. What they must say of a damaged file is left to
// their own tests.
package limittest

import (
	"runtime"
	"runtime/metrics"
	"sync"
	"testing"
	"time"
)

// What a reader may take of a file, whatever is in it.
const (
	Time   = time.Second
	Memory = 64 << 20 // and four times the file
)

// Hold runs read, which reads files of that many bytes, and fails the test where it takes too long or too much memory. It runs it again
// before it says so: a machine that is busy, or garbage that nobody has collected yet, is no fault of the reader.
func Hold(tb testing.TB, size int, read func()) {
	tb.Helper()
	hold(tb, size, Time, read)
}

func hold(tb testing.TB, size int, limit time.Duration, read func()) {
	tb.Helper()
	most := uint64(4*size + Memory)
	took, made := once(read)
	if took > limit {
		if again, _ := once(read); again > limit {
			tb.Errorf("a file of %d bytes took %v of the processor, more than %v", size, min(took, again), limit)
		}
	}
	// All that was made is more than what was there at once.
	if made <= most {
		return
	}
	if held := Peak(most, read); held > most {
		tb.Errorf("a file of %d bytes took %d bytes of memory, more than %d", size, held, most)
	}
}

// Peak returns how much the heap grew at most while read ran, about. It runs it up to five times, until that is at most enough, and the least counts.
func Peak(enough uint64, read func()) uint64 {
	held := peak(read)
	for tries := 1; tries < 5 && held > enough; tries++ {
		held = min(held, peak(read))
	}
	return held
}

// once returns the time and the memory of a run, the time by whichever clock shows less: the processor's, which a busy machine does not stretch, also
// counts what others of this process do.
func once(read func()) (time.Duration, uint64) {
	before := metric("/gc/heap/allocs:bytes")
	began, cpu := time.Now(), CPU()
	read()
	cpu = CPU() - cpu
	return min(time.Since(began), cpu), metric("/gc/heap/allocs:bytes") - before
}

// peak returns how much the heap grew at most while read ran, with the collector at work all the time. What is made while it is at work counts
// too, so that it may be too much, and what is there for less than a millisecond may be missing.
func peak(read func()) uint64 {
	runtime.GC()
	base := live()
	most := base
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			runtime.GC()
			most = max(most, live())
			select {
			case <-done:
				return
			default:
			}
		}
	})
	read()
	close(done)
	wg.Wait()
	return most - base
}

// live returns what the collector found in use when it last ran.
func live() uint64 { return metric("/gc/heap/live:bytes") }

// metric reads a number of the runtime's, which does not stop the world as runtime.ReadMemStats does.
func metric(name string) uint64 {
	s := []metrics.Sample{{Name: name}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
