package native

import (
	"context"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/tensor"
)

var _ engine.Profiler = (*Session)(nil)

// A clock measures the steps of one run, on the goroutine that runs them.
type clock struct {
	last  time.Time
	steps []nodeTime
}

// nodeTime is how long the steps of a node took that follow each other.
type nodeTime struct {
	node *pnode
	time time.Duration
}

func (c *clock) start() { c.last = time.Now() }

// tick gives the time since the last tick to a node.
func (c *clock) tick(n *pnode) {
	now := time.Now()
	if k := len(c.steps); k > 0 && c.steps[k-1].node == n {
		c.steps[k-1].time += now.Sub(c.last)
	} else {
		c.steps = append(c.steps, nodeTime{n, now.Sub(c.last)})
	}
	c.last = now
}

// Profile runs once and tells how long each step took; see engine.Profiler. Element-wise nodes that run together are one step, as are nodes that were joined when the session was opened.
func (s *Session) Profile(ctx context.Context, in []*tensor.Tensor) (engine.Profile, error) {
	c := &clock{}
	began := time.Now()
	dynamic, err := s.run(ctx, in, make([]*tensor.Tensor, len(s.prog.out)), c)
	if err != nil {
		return engine.Profile{}, err
	}
	p := engine.Profile{Total: time.Since(began), Steps: make([]engine.StepTime, len(c.steps))}
	for i, t := range c.steps {
		step := engine.StepTime{Op: t.node.node.Op(), Time: t.time}
		for _, id := range t.node.out {
			if id >= 0 {
				step.Values = append(step.Values, s.prog.names[id])
			}
		}
		p.Steps[i] = step
	}
	if dynamic {
		p.Note = "shapes depend on values here, so the nodes were measured one by one; when it serves, those that can be planned together are faster"
	}
	return p, nil
}
