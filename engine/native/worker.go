package native

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/engine/native/gemm"
)

// patience is how long a worker looks for more work during a run before it sleeps, and a caller for the end of its workers' work
// before it does: the steps of a run follow each other sooner than the system could wake a thread. Between runs a worker waits
// for as long as a loop takes to the next one.
const (
	patience = 30 * time.Microsecond
	between  = 3 * time.Microsecond
)

// A job is one call that several goroutines work on.
type job struct {
	task gemm.Task
	n    int
	next atomic.Int64
	left atomic.Int32   // workers that have it, or may still take it
	wg   sync.WaitGroup // the same, to sleep on
	mu   sync.Mutex
	fail string // the first panic of a part
}

// run does t with those of the pool's workers that are free.
func (j *job) run(p *pool, n int, t gemm.Task) {
	j.task, j.n, j.fail = t, n, ""
	j.next.Store(0)
	wanted := min(p.threads, n) - 1
	for _, w := range p.workers {
		if wanted == 0 {
			break
		}
		if w.offer(j) {
			wanted--
		}
	}
	j.work()
	// What is left is in the hands of workers that have begun: the others are not waited for.
	for _, w := range p.workers {
		if w.box.Load() == j && w.box.CompareAndSwap(j, awake) {
			j.left.Add(-1)
			j.wg.Done()
		}
	}
	if j.left.Load() != 0 {
		for begin := time.Now(); j.left.Load() != 0 && time.Since(begin) < patience; {
			pause()
		}
	}
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

// What a worker's box holds beside a job: awake where the worker looks into the box, asleep where it has to be woken. It is
// empty while the worker is busy.
var awake, asleep = new(job), new(job)

// A worker is a goroutine of a session.
type worker struct {
	box  atomic.Pointer[job]
	wake chan struct{} // takes one token for each change from asleep to a job
}

// offer puts j into the box of a worker that is free, and reports whether it was.
func (w *worker) offer(j *job) bool {
	state := w.box.Load()
	if state != awake && state != asleep {
		return false
	}
	j.left.Add(1)
	j.wg.Add(1)
	if !w.box.CompareAndSwap(state, j) {
		j.left.Add(-1)
		j.wg.Done()
		return false
	}
	if state == asleep {
		w.wake <- struct{}{}
	}
	return true
}

// run takes jobs until the pool is closed. It begins asleep.
func (w *worker) run(p *pool) {
	if !w.sleep() {
		return
	}
	for {
		j := w.take(p)
		if j == nil {
			return
		}
		j.work()
		w.box.Store(awake) // before the caller goes on, which may offer the next job at once
		j.left.Add(-1)
		j.wg.Done()
	}
}

// take waits for a job; nil says that the pool is closed.
func (w *worker) take(p *pool) *job {
	for begin, i := time.Now(), 1; ; i++ {
		state := w.box.Load()
		switch {
		case state != awake:
			if w.box.CompareAndSwap(state, nil) {
				return state
			}
		case i%8 != 0:
			pause()
		case p.closed.Load():
			return nil
		case time.Since(begin) > p.patience() && w.box.CompareAndSwap(awake, asleep):
			if !w.sleep() {
				return nil
			}
			begin = time.Now()
		}
	}
}

// sleep waits for whoever takes asleep out of the box; false says that the pool is closed.
func (w *worker) sleep() bool {
	_, open := <-w.wake
	return open
}

// A pool has the goroutines of one session beside the callers' own. An idle session's sleep on a channel.
type pool struct {
	threads int
	workers []*worker
	runs    atomic.Int32 // in progress
	closed  atomic.Bool
	wg      sync.WaitGroup
}

func newPool(threads int) *pool {
	p := &pool{threads: max(threads, 1)}
	for range p.threads - 1 {
		w := &worker{wake: make(chan struct{}, 1)}
		w.box.Store(asleep)
		p.workers = append(p.workers, w)
		p.wg.Go(func() { w.run(p) })
	}
	return p
}

func (p *pool) patience() time.Duration {
	if p.runs.Load() == 0 {
		return between
	}
	return patience
}

// close ends the workers. No job is in progress.
func (p *pool) close() {
	p.closed.Store(true)
	for _, w := range p.workers {
		close(w.wake)
	}
	p.wg.Wait()
}
