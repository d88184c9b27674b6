package native

import (
	"errors"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A body is a subgraph of a node: a program of its own, whose inputs are those of the subgraph and then what it captures. It has its
// plans, as a session has.
type body struct {
	attr     string
	graph    *graph.Graph
	prog     *program
	formal   int   // inputs of the subgraph's own
	captured []int // which inputs of the node the others are
	s        *Session
}

// openBodies gives the bodies of s their plans. They share its goroutines and its account of idle memory.
func (s *Session) openBodies() {
	for _, n := range s.prog.nodes {
		for _, b := range n.bodies {
			b.s = &Session{e: s.e, prog: b.prog, pool: s.pool, idle: s.idle, nested: s.nested}
			b.s.plans.Store(&[]*plan{})
			b.s.openBodies()
		}
	}
}

// body returns the node's subgraph of that attribute.
func (c *prep) body(attr string) (*body, error) {
	i := slices.IndexFunc(c.n.bodies, func(b *body) bool { return b.attr == attr })
	if i < 0 {
		return nil, c.refuse("no attribute %s", attr)
	}
	return c.n.bodies[i], nil
}

// run runs b with these inputs, for the node c that runs at once. The results may share memory with the inputs.
func (b *body) run(c *prep, in []tensor.Value) ([]tensor.Value, error) {
	if len(in) != b.formal {
		return nil, c.errf("the subgraph %s takes %d inputs, not %d", b.attr, b.formal, len(in))
	}
	args := append(make([]tensor.Value, 0, len(b.prog.inputs)), in...)
	for _, at := range b.captured {
		v, err := c.got(at)
		if err != nil {
			return nil, err
		}
		args = append(args, v)
	}
	out, err := b.s.runValues(c.pl.ctx, args, c.pl.total)
	if err != nil {
		return nil, c.errf("in %s: %w", b.attr, err)
	}
	return out, nil
}

var errNoBox = errors.New("a sequence in place of a tensor")

// tensorOf returns the tensor of a value that must be one.
func tensorOf(v tensor.Value) (*tensor.Tensor, error) {
	if v.Kind != tensor.KindTensor {
		return nil, errNoBox
	}
	return v.Tensor, nil
}

// truth is the value of one boolean.
func truth(v tensor.Value) (bool, error) {
	t, err := tensorOf(v)
	if err != nil {
		return false, err
	}
	if t.DType() != tensor.Bool || t.Size() != 1 {
		return false, errors.New("a condition must be one boolean, not " + t.DType().String() + t.Shape().String())
	}
	return tensor.Data[bool](t)[0], nil
}
