package infer

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// attentionRules are the layers of language models that have a state or a cache.
var attentionRules = rulesOf(map[string]rule{
	"Attention":       inferAttention,
	"LinearAttention": inferLinearAttention,

	"ai.onnx.preview.FlexAttention": func(c *call) error {
		q, v, shape := c.arg(0), c.arg(2), unknownOfRank(4)
		for i := range 3 {
			if s := c.arg(i).shape; s != nil && len(s) != 4 {
				return c.fail("input %d has shape %v, which is not of 4 dimensions", i, s)
			}
		}
		if q.shape != nil {
			copy(shape, q.shape[:3])
		}
		if v.shape != nil {
			shape[3] = v.shape[3]
		}
		c.set(0, v.dtype, shape)
		return nil
	},
	"CausalConvWithState": inferCausalConv,
})

// headsOf brings the shape of queries, keys or values to [batch, heads, rows, size]; all unknown where it is not known.
func (c *call) headsOf(i int, attr string) (graph.Shape, error) {
	x := c.arg(i).shape
	n := c.attrs.Int(attr, 0)
	switch len(x) {
	case 0:
		if x == nil {
			return unknownOfRank(4), nil
		}
	case 3:
		if n < 1 || x[2].Known() && x[2].Size%n != 0 {
			return nil, c.fail("shape %v with %s %d", x, attr, n)
		}
		size := unknown
		if x[2].Known() {
			size = known(x[2].Size / n)
		}
		return graph.Shape{x[0], known(n), x[1], size}, nil
	case 4:
		if n != 0 && x[1].Known() && x[1].Size != n {
			return nil, c.fail("shape %v with %s %d", x, attr, n)
		}
		return x, nil
	}
	return nil, c.fail("shape %v, which is not of 3 or 4 dimensions", x)
}

// sumDims adds lengths where they are known.
func (c *call) sumDims(a, b graph.Dim) (graph.Dim, error) {
	if a.Known() && b.Known() {
		n, err := sumOf(a.Size, b.Size)
		if err != nil {
			return unknown, c.fail("%w", err)
		}
		return known(n), nil
	}
	return unknown, nil
}

func inferAttention(c *call) error {
	q, err := c.headsOf(0, "q_num_heads")
	if err != nil {
		return err
	}
	k, err := c.headsOf(1, "kv_num_heads")
	if err != nil {
		return err
	}
	v, err := c.headsOf(2, "kv_num_heads")
	if err != nil {
		return err
	}
	keys := k[2]
	if c.has(4) {
		past := unknown
		if s := c.arg(4).shape; len(s) == 4 {
			past = s[2]
		}
		if keys, err = c.sumDims(past, keys); err != nil {
			return err
		}
	}
	dtype := c.arg(0).dtype
	switch c.arg(0).rank() {
	case 3:
		width, err := mulDims(q[1], v[3])
		if err != nil {
			return c.fail("%w", err)
		}
		c.set(0, dtype, graph.Shape{q[0], q[2], width})
	case 4:
		c.set(0, dtype, graph.Shape{q[0], q[1], q[2], v[3]})
	default:
		c.set(0, dtype, nil)
	}
	c.set(1, c.arg(1).dtype, graph.Shape{k[0], k[1], keys, k[3]})
	c.set(2, c.arg(2).dtype, graph.Shape{v[0], v[1], keys, v[3]})
	c.set(3, dtype, graph.Shape{q[0], q[1], q[2], keys})
	return nil
}

// inferLinearAttention: all are [batch, rows, heads*size], the state is [batch, heads, size of a key, size of a value].
func inferLinearAttention(c *call) error {
	for i := range 3 {
		if err := c.wantRank(i, 3, 3); err != nil {
			return err
		}
	}
	var s [3]graph.Shape
	for i, attr := range []string{"q_num_heads", "kv_num_heads", "kv_num_heads"} {
		var err error
		if s[i], err = c.headsOf(i, attr); err != nil {
			return err
		}
	}
	q, k, v := s[0], s[1], s[2]
	width, err := mulDims(q[1], v[3])
	if err != nil {
		return c.fail("%w", err)
	}
	c.set(0, c.arg(0).dtype, graph.Shape{q[0], q[2], width})
	state := c.arg(0).dtype
	if c.has(3) {
		state = c.arg(3).dtype
	}
	c.set(1, state, graph.Shape{k[0], k[1], k[3], v[3]})
	return nil
}

// inferCausalConv: the state is what the next call has before its input.
func inferCausalConv(c *call) error {
	x, w := c.arg(0), c.arg(1).shape
	for i := range 2 {
		if err := c.wantRank(i, 3, 3); err != nil {
			return err
		}
	}
	c.set(0, x.dtype, x.shape)
	state := slices.Clone(x.shape)
	if state == nil {
		state = unknownOfRank(3)
	}
	state[2] = unknown
	if len(w) == 3 && w[2].Known() {
		if w[2].Size < 1 {
			return c.fail("weights of shape %v", w)
		}
		state[2] = known(w[2].Size - 1)
	}
	dtype := x.dtype
	if dtype == tensor.Invalid {
		dtype = c.arg(3).dtype
	}
	c.set(1, dtype, state)
	return nil
}
