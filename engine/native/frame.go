package native

import (
	"context"
	"fmt"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// A frame is the memory of one run of one plan: a tensor for each slot, most of them over one arena. A plan keeps
// the frames of finished runs for the next ones.
type frame struct {
	ctx  context.Context
	t    []*tensor.Tensor
	pool *pool
	loop loop
	job  job

	clock *clock // of a run that is measured

	planned, given int // in a plan of rows: the batch it was made for, and this run's

	product gemm.Product // the call in progress
	conv    gemm.ConvCall
	deep    gemm.IntegerDepthwiseCall

	convWeights gemm.ConvWeightCall
}

var _ gemm.Parallel = (*frame)(nil)

// data returns the elements of a slot, whose type the plan settled.
func data[T tensor.Element](f *frame, slot int) []T { return tensor.Data[T](f.t[slot]) }

// Workers returns how many parts of one call run at the same time at most.
func (f *frame) Workers() int { return f.pool.threads }

// Run calls t.Do for every i below n, on this goroutine and on the session's workers that are free at this moment.
func (f *frame) Run(n int, t gemm.Task) {
	if f.pool.threads == 1 || n == 1 {
		for i := range n {
			t.Do(i)
		}
		return
	}
	f.job.run(f.pool, n, t)
}

// part computes elements [lo, hi) of a loop; part numbers below the number of workers may run at the same time.
type part func(f *frame, lo, hi int)

// loop is a part over a range, cut into chunks.
type loop struct {
	f      *frame
	n      int
	chunks int
	do     part
}

func (l *loop) Do(i int) {
	lo, hi := l.n*i/l.chunks, l.n*(i+1)/l.chunks
	if lo < hi {
		l.do(l.f, lo, hi)
	}
}

// rows returns how many this run has of n planned elements, planes, lines or whatever else has the batch outermost. A
// single one belongs to the whole batch. In a plan for one size it is n.
func (f *frame) rows(n int) int {
	if f.given == f.planned || n == 1 {
		return n
	}
	if n%f.planned != 0 {
		panic(fmt.Sprintf("a loop of %d does not go over a batch of %d", n, f.planned))
	}
	return n / f.planned * f.given
}

// parallel runs do over [0, n) in chunks of at least grain. The way it is cut does not depend on timing. Parts must
// not call parallel themselves. In a plan of rows n is cut down to this run's batch.
func (f *frame) parallel(n, grain int, do part) {
	n = f.rows(n)
	chunks := min(f.pool.threads, (n+grain-1)/max(grain, 1))
	if chunks <= 1 {
		do(f, 0, n)
		return
	}
	if chunks < f.pool.threads {
		chunks = max(chunks, 1)
	} else if n >= 4*f.pool.threads*grain {
		chunks = 4 * f.pool.threads // evens out what the threads get
	}
	f.loop = loop{f: f, n: n, chunks: chunks, do: do}
	f.Run(chunks, &f.loop)
	f.loop.do = nil
}
