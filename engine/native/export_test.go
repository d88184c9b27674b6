package native

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/tensor"
)

// PlanCount is how many plans a session remembers.
func PlanCount(s engine.Session) int { return len(*s.(*Session).plans.Load()) }

// AddOperator adds an operator that copies its input, and panics at this element, to the table. The function that it
// returns takes it out again.
func AddOperator(name string, at int) func() {
	operators[name] = &operator{prepare: func(c *prep) error {
		o, err := c.out(0, tensor.Float32, c.in[0].shape)
		if err != nil {
			return err
		}
		s, n := c.in[0].slot, c.in[0].size()
		do := part(func(f *frame, lo, hi int) {
			for i := lo; i < hi; i++ {
				if i == at {
					panic("as asked")
				}
				data[float32](f, o)[i] = data[float32](f, s)[i]
			}
		})
		c.do(func(f *frame) { f.parallel(n, 1, do) })
		return nil
	}}
	return func() { delete(operators, name) }
}
