package native_test

import (
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Operators that came after opset 17, against their definitions by hand.
func TestNewerOperators(t *testing.T) {
	cos, sin := float32(math.Cos(0.5)), float32(math.Sin(0.5))
	swish := func(x, a float64) float32 { return float32(x / (1 + math.Exp(-a*x))) }
	root := float32(math.Sqrt((1 + 4 + 4) / 3.0))
	// Two heads of four elements at one place; the first two elements are turned by 0.5, or by nothing at position 0.
	heads := of([]int{1, 1, 8}, float32(1), 2, 3, 4, 5, 6, 7, 8)
	cosines, sines := of([]int{2, 1}, float32(1), cos), of([]int{2, 1}, float32(0), sin)
	rotary := func(more graph.Attrs) graph.Attrs {
		a := graph.Attrs{"num_heads": int64(2), "rotary_embedding_dim": int64(2)}
		for k, v := range more {
			a[k] = v
		}
		return a
	}
	turned := of([]int{1, 1, 8}, cos-2*sin, sin+2*cos, 3, 4, 5*cos-6*sin, 5*sin+6*cos, 7, 8)
	full := of([]int{1, 2}, cos, 1)
	cases := []operatorCase{
		{op: "Swish", opset: 24, attrs: graph.Attrs{"alpha": float32(2)}, in: list{tensor.Vector[float32](-1, 0, 3)}, want: list{tensor.Vector(swish(-1, 2), 0, swish(3, 2))}},
		{op: "RMSNormalization", opset: 23, attrs: graph.Attrs{"epsilon": float32(0)}, in: list{of([]int{2, 3}, float32(1), 2, -2, 2, -2, 1), tensor.Vector[float32](1, 2, 3)},
			want: list{of([]int{2, 3}, 1/root, 4/root, -6/root, 2/root, -4/root, 3/root)}},
		{op: "RMSNormalization", opset: 23, attrs: graph.Attrs{"epsilon": float32(0), "axis": int64(0)}, in: list{of([]int{3, 1}, float32(1), 2, -2), of([]int{3, 1}, float32(1), 2, 3)},
			want: list{of([]int{3, 1}, 1/root, 4/root, -6/root)}},
		{op: "RMSNormalization", opset: 23, in: list{of([]int{2, 3}, float32(1), 2, -2, 2, -2, 1), tensor.Vector(half(1), half(2), half(3))}, err: "float32 and float16"},
		{op: "RMSNormalization", opset: 23, in: list{of([]int{1, 3}, float32(1), 2, -2), tensor.Vector[float32](1, 2)}, err: "the scale is float32[2]"},
		{op: "RotaryEmbedding", opset: 23, attrs: rotary(nil), in: list{heads, cosines, sines, of([]int{1, 1}, int64(1))}, want: list{turned}},
		{op: "RotaryEmbedding", opset: 23, attrs: rotary(nil), in: list{heads, cosines, sines, of([]int{1, 1}, int64(0))}, want: list{heads}},
		{op: "RotaryEmbedding", opset: 23, attrs: rotary(nil), in: list{heads, cosines, sines, of([]int{1, 1}, int64(2))}, err: "position 2 in a cache of 2"},
		{op: "RotaryEmbedding", opset: 23, attrs: graph.Attrs{"interleaved": int64(1)}, in: list{of([]int{1, 1, 1, 4}, float32(1), 2, 3, 4), must3(full), of([]int{1, 1, 2}, sin, 0)},
			want: list{of([]int{1, 1, 1, 4}, cos-2*sin, sin+2*cos, 3, 4)}},
		{op: "RotaryEmbedding", opset: 23, in: list{of([]int{1, 1, 1, 4}, float32(1), 2, 3, 4), must3(full), of([]int{1, 1, 2}, sin, 0)},
			want: list{of([]int{1, 1, 1, 4}, cos-3*sin, 2, sin+3*cos, 4)}},
		{op: "RotaryEmbedding", opset: 23, in: list{heads, cosines, sines}, err: "shape [1,1,8] with num_heads 0"},
		{op: "CumProd", opset: 26, in: list{of([]int{2, 3}, int32(1), 2, 3, 4, 5, 6), tensor.Scalar[int64](1)}, want: list{of([]int{2, 3}, int32(1), 2, 6, 4, 20, 120)}},
		{op: "CumProd", opset: 26, attrs: graph.Attrs{"exclusive": int64(1), "reverse": int64(1)}, in: list{of([]int{2, 3}, 1.0, 2, 3, 4, 5, 6), tensor.Scalar[int64](-2)},
			want: list{of([]int{2, 3}, 4.0, 5, 6, 1, 1, 1)}},
		{op: "CumProd", opset: 26, in: list{tensor.Vector(true), tensor.Scalar[int64](0)}, err: "bool"},
		{op: "StringConcat", opset: 20, in: list{of([]int{2, 1}, "a", "b"), tensor.Vector("x", "", "z")}, want: list{of([]int{2, 3}, "ax", "a", "az", "bx", "b", "bz")}},
		{op: "RegexFullMatch", opset: 20, attrs: graph.Attrs{"pattern": "a|b+"}, in: list{tensor.Vector("a", "bb", "ab", "bb\n", "")}, want: list{tensor.Vector(true, true, false, false, false)}},
		{op: "RegexFullMatch", opset: 20, attrs: graph.Attrs{"pattern": "("}, in: list{tensor.Vector("a")}, err: "missing closing"},
		{op: "StringSplit", opset: 20, attrs: graph.Attrs{"delimiter": ","}, in: list{tensor.Vector("a,b,,c", "", "d")},
			want: list{of([]int{3, 4}, "a", "b", "", "c", "", "", "", "", "d", "", "", ""), tensor.Vector[int64](4, 1, 1)}},
		{op: "StringSplit", opset: 20, attrs: graph.Attrs{"maxsplit": int64(1)}, in: list{tensor.Vector(" a \t b  c ", "  ", "d ")},
			want: list{of([]int{3, 2}, "a", "b  c ", "", "", "d", ""), tensor.Vector[int64](2, 0, 1)}},
	}
	for _, c := range cases {
		t.Run(c.op, c.run)
	}
}

// must3 gives a matrix a first dimension of 1.
func must3(t *tensor.Tensor) *tensor.Tensor {
	return tensor.Must(t.Reshape(append([]int{1}, t.Shape()...)...))
}
