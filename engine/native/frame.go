package native

import (
	"context"
	"sync"
	"sync/atomic"

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

	product gemm.Product // the call in progress
	conv    gemm.ConvCall

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

// parallel runs do over [0, n) in chunks of at least grain. The way it is cut does not depend on timing. Parts must
// not call parallel themselves.
func (f *frame) parallel(n, grain int, do part) {
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

// A job is one call that several goroutines work on.
type job struct {
	task gemm.Task
	n    int
	next atomic.Int64
	wg   sync.WaitGroup
	mu   sync.Mutex
	fail string // the first panic of a part
}

func (j *job) run(p *pool, n int, t gemm.Task) {
	j.task, j.n, j.fail = t, n, ""
	j.next.Store(0)
	for range min(p.threads, n) - 1 {
		j.wg.Add(1)
		select {
		case p.jobs <- j:
			continue
		default: // nobody is free: the caller does it
			j.wg.Done()
		}
		break
	}
	j.work()
	j.wg.Wait()
	j.task = nil
	if j.fail != "" {
		panic(j.fail)
	}
}

func (j *job) work() {
	defer func() {
		if p := recover(); p != nil {
			j.next.Store(int64(j.n))
			j.mu.Lock()
			if j.fail == "" {
				j.fail = panicText(p)
			}
			j.mu.Unlock()
		}
	}()
	for {
		i := int(j.next.Add(1)) - 1
		if i >= j.n {
			return
		}
		j.task.Do(i)
	}
}

// A pool has the goroutines of one session beside the callers' own. They wait on a channel, so an idle session uses
// no processor time.
type pool struct {
	threads int
	jobs    chan *job
	wg      sync.WaitGroup
}

func newPool(threads int) *pool {
	p := &pool{threads: max(threads, 1), jobs: make(chan *job)}
	for range p.threads - 1 {
		p.wg.Go(func() {
			for j := range p.jobs {
				j.work()
				j.wg.Done()
			}
		})
	}
	return p
}

func (p *pool) close() {
	close(p.jobs)
	p.wg.Wait()
}
