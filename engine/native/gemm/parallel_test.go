package gemm_test

import (
	"sync"

	"github.com/millrace/millrace/engine/native/gemm"
)

// parallel runs each part on a goroutine of its own.
type parallel int

func (p parallel) Workers() int { return int(p) }

func (p parallel) Run(n int, t gemm.Task) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { t.Do(i) })
	}
	wg.Wait()
}

// inline cuts the work for three workers and does it on one.
type inline struct{}

func (inline) Workers() int { return 3 }

func (inline) Run(n int, t gemm.Task) {
	for i := range n {
		t.Do(i)
	}
}

// counter has two workers and remembers the parts of the last call.
type counter struct{ parts int }

func (*counter) Workers() int { return 2 }

func (c *counter) Run(n int, t gemm.Task) {
	c.parts = n
	for i := range n {
		t.Do(i)
	}
}
