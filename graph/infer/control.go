package infer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// controlRules are operators with subgraphs, and those of sequences and optionals, which are not followed.
var controlRules = rulesOf(map[string]rule{
	"If":   inferIf,
	"Loop": inferLoop,
	"Scan": inferScan,
})

// run infers a subgraph from inputs, and returns what is known of its outputs.
func (c *call) run(g *graph.Graph, inputs []info) ([]*info, error) {
	if c.depth++; c.depth > 100 {
		return nil, c.fail("subgraphs nest more than 100 deep")
	}
	defer func() { c.depth-- }()
	// Where this is in a function, references in the subgraph are bound already.
	s := newInference(c.world, c.inference)
	ins := slices.Clone(g.Inputs)
	for i, v := range ins {
		if i < len(inputs) {
			merged, err := merge(&info{dtype: v.DType, shape: v.Shape, container: v.Container}, &inputs[i], c.lenient)
			if errors.Is(err, errShape) {
				s.notes = append(s.notes, fmt.Sprintf("%s: input %q of the subgraph is declared with shape %v and has %v, which counts", c.n.Op(), v.Name, v.Shape, inputs[i].shape))
				merged, err = &inputs[i], nil
			}
			if err != nil {
				return nil, c.fail("subgraph %q: input %q is declared as %v%v: %v", g.Name, v.Name, v.DType, v.Shape, err)
			}
			ins[i].DType, ins[i].Shape, ins[i].Container = merged.dtype, merged.shape, merged.container
		}
	}
	if err := s.graph(g, ins); err != nil {
		return nil, err
	}
	outs := make([]*info, len(g.Outputs))
	for i, v := range g.Outputs {
		if outs[i] = s.lookup(v.Name); outs[i] == nil {
			outs[i] = &info{dtype: v.DType, shape: v.Shape, container: v.Container}
		}
	}
	return outs, nil
}

// either returns what is known of a value that is a or b.
func either(a, b *info) info {
	out := info{dtype: a.dtype, container: a.container}
	if a.dtype != b.dtype || a.container != b.container {
		return info{}
	}
	if a.shape == nil || b.shape == nil || len(a.shape) != len(b.shape) {
		return out
	}
	out.shape = slices.Clone(a.shape)
	for i := range out.shape {
		if !sameDim(a.shape[i], b.shape[i]) {
			out.shape[i] = unknown
		}
	}
	return out
}

func inferIf(c *call) error {
	yes, no := c.attrs.Graph("then_branch"), c.attrs.Graph("else_branch")
	if yes == nil || no == nil {
		return c.fail("it lacks then_branch or else_branch")
	}
	a, err := c.run(yes, nil)
	if err != nil {
		return err
	}
	b, err := c.run(no, nil)
	if err != nil {
		return err
	}
	if len(a) != len(b) || len(c.out) > len(a) {
		return c.fail("branches with %d and %d outputs for %d", len(a), len(b), len(c.out))
	}
	cond := c.arg(0).vals
	for i := range c.out {
		switch {
		case len(cond) == 1 && cond[0].known && !cond[0].is(0):
			c.out[i] = *a[i]
		case len(cond) == 1 && cond[0].known:
			c.out[i] = *b[i]
		default:
			c.out[i] = either(a[i], b[i])
		}
	}
	return nil
}

// inferLoop goes through the body twice: with the first shapes of the states, and with what stays the same.
func inferLoop(c *call) error {
	body := c.attrs.Graph("body")
	if body == nil {
		return c.fail("it lacks body")
	}
	states := len(c.in) - 2
	if states < 0 || len(body.Outputs) < 1+states || len(c.out) > len(body.Outputs)-1 {
		return c.fail("%d states, a body with %d outputs, %d outputs", states, len(body.Outputs), len(c.out))
	}
	inputs := make([]info, 0, 2+states)
	inputs = append(inputs, info{dtype: tensor.Int64, shape: graph.Shape{}}, info{dtype: tensor.Bool, shape: graph.Shape{}})
	for i := range states {
		v := *c.arg(2 + i)
		v.vals = nil
		inputs = append(inputs, v)
	}
	outs, err := c.settle(body, inputs, 2, 1, states)
	if err != nil {
		return err
	}
	trips := unknown
	for i := range c.out {
		v := outs[1+i]
		if i < states {
			c.out[i] = either(&inputs[2+i], v)
			continue
		}
		c.out[i] = info{dtype: v.dtype}
		if v.shape != nil {
			c.out[i].shape = slices.Concat(graph.Shape{trips}, v.shape)
		}
	}
	return nil
}

// settle runs a body until the shapes of its states stay the same: at most twice, as what differs becomes unknown.
func (c *call) settle(body *graph.Graph, inputs []info, firstIn, firstOut, states int) ([]*info, error) {
	found := len(c.found)
	for range 3 {
		c.found = c.found[:found]
		outs, err := c.run(body, inputs)
		if err != nil {
			return nil, err
		}
		stable := true
		for i := range states {
			v := either(&inputs[firstIn+i], outs[firstOut+i])
			if v.shape.String() != inputs[firstIn+i].shape.String() || v.dtype != inputs[firstIn+i].dtype {
				inputs[firstIn+i] = v
				stable = false
			}
		}
		if stable {
			return outs, nil
		}
	}
	return c.run(body, inputs)
}

// inferScan: states first, then inputs that are gone through along an axis. Opset 8 had a batch dimension and the
// lengths as first input, and is not followed.
func inferScan(c *call) error {
	body := c.attrs.Graph("body")
	if body == nil {
		return c.fail("it lacks body")
	}
	if c.opset < 9 {
		return nil
	}
	scanned := int(c.attrs.Int("num_scan_inputs", 0))
	states := len(c.in) - scanned
	if scanned < 1 || states < 0 || len(body.Outputs) < states || len(c.out) > len(body.Outputs) {
		return c.fail("%d inputs of which %d are scanned, a body with %d outputs", len(c.in), scanned, len(body.Outputs))
	}
	inputs := make([]info, 0, len(c.in))
	for i := range states {
		v := *c.arg(i)
		v.vals = nil
		inputs = append(inputs, v)
	}
	axes := c.attrs.Ints("scan_input_axes", make([]int64, scanned))
	steps := unknown
	for i := range scanned {
		x := c.arg(states + i)
		v := info{dtype: x.dtype}
		if x.shape != nil && i < len(axes) {
			axis, err := c.axis(axes[i], len(x.shape))
			if err != nil {
				return err
			}
			joined, ok := mergeDim(steps, x.shape[axis])
			if !ok {
				return c.fail("scanned inputs of %v and %v steps", steps, x.shape[axis])
			}
			steps = joined
			v.shape = slices.Delete(slices.Clone(x.shape), axis, axis+1)
		}
		inputs = append(inputs, v)
	}
	outs, err := c.settle(body, inputs, 0, 0, states)
	if err != nil {
		return err
	}
	outAxes := c.attrs.Ints("scan_output_axes", make([]int64, len(outs)))
	for i := range c.out {
		v := outs[i]
		if i < states {
			c.out[i] = either(&inputs[i], v)
			continue
		}
		c.out[i] = info{dtype: v.dtype}
		if v.shape != nil && i-states < len(outAxes) {
			axis, err := c.axis(outAxes[i-states], len(v.shape)+1)
			if err != nil {
				return err
			}
			c.out[i].shape = slices.Insert(slices.Clone(v.shape), axis, steps)
		}
	}
	return nil
}
