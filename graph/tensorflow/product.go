package tensorflow

import (
	"strings"
	"unicode"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// productOps multiply matrices.
var productOps = map[string]operator{
	"MatMul":      one(func(c *call) *value { return c.matmul(c.bool("transpose_a", false), c.bool("transpose_b", false)) }),
	"BatchMatMul": one(batchMatMul), "BatchMatMulV2": one(batchMatMul), "BatchMatMulV3": one(batchMatMul),
	"Einsum": one(einsum), "BiasAdd": one(biasAdd), "BiasAddV1": one(biasAdd),
}

func batchMatMul(c *call) *value { return c.matmul(c.bool("adj_x", false), c.bool("adj_y", false)) }

func (c *call) matmul(ta, tb bool) *value {
	a, b := c.arg(0), c.arg(1)
	to := a.dtype
	if len(c.in) > 1 && c.st.attrs.Has("Tout") { // of BatchMatMulV3
		to = c.dtype("Tout", 0)
	}
	if to != a.dtype {
		a, b = c.cast(a, to), c.cast(b, to)
	}
	c.same(a, b)
	if ta {
		a = c.flip(a)
	}
	if tb {
		b = c.flip(b)
	}
	return c.num("MatMul", nil, a, b)
}

// flip exchanges the last two axes.
func (c *call) flip(v *value) *value {
	rank := c.needRank(v)
	if rank < 2 {
		c.damaged("a matrix of rank %d", rank)
	}
	perm := identityPerm(rank)
	perm[rank-1], perm[rank-2] = perm[rank-2], perm[rank-1]
	return c.transpose(v, perm...)
}

func identityPerm(rank int) []int64 {
	perm := make([]int64, rank)
	for i := range perm {
		perm[i] = int64(i)
	}
	return perm
}

// einsum has TensorFlow's equation, in which letters may be any.
func einsum(c *call) *value {
	equation := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return -1
		}
		return r
	}, c.string("equation", ""))
	args := c.args(0)
	if len(args) == 0 {
		c.damaged("it has no inputs")
	}
	c.same(args...)
	if d := args[0].dtype; d.IsInteger() && d.Size() < 8 { // sums of which wrap
		return c.inType(tensor.Int64, func(in []*value) *value { return c.onnx("Einsum", graph.Attrs{"equation": equation}, in...) }, args...)
	}
	return c.num("Einsum", graph.Attrs{"equation": equation}, args...)
}

// biasAdd adds to the channels, which are last, or second in NCHW.
func biasAdd(c *call) *value {
	x, bias := c.pair()
	if strings.HasPrefix(c.string("data_format", "NHWC"), "NC") {
		var axes []int64
		for i := 1; i < c.needRank(x)-1; i++ {
			axes = append(axes, int64(i))
		}
		bias = c.unsqueeze(bias, axes...)
	}
	return c.num("Add", nil, x, bias)
}
