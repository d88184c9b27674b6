package native_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// What holding the engines against each other does not reach: hidden queries, short masks, the order of softcap and masks, types, and
// what is wrong.
func TestAttention(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	// Two keys whose scores are 0 and ln 3 with scale 1: the weights are 1/4 and 3/4.
	ln3 := float32(math.Log(3))
	q, k, v := f([]int{1, 1, 1, 1}, 1), f([]int{1, 1, 2, 1}, 0, ln3), f([]int{1, 1, 2, 1}, 4, 8)
	mode := func(n int64) graph.Attrs { return graph.Attrs{"scale": float32(1), "qk_matmul_output_mode": n} }
	one := []int{1, 1, 1, 1}
	causal := graph.Attrs{"is_causal": int64(1), "scale": float32(1)}
	two := f([]int{1, 1, 2, 1}, 1, 1)
	packed := graph.Attrs{"q_num_heads": int64(2), "kv_num_heads": int64(1), "scale": float32(1)}
	h := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float16) }
	d := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float64) }
	cases := []operatorCase{
		{op: "Attention", opset: 23, attrs: mode(0), in: list{q, k, v}, want: list{f(one, 7), k, v, f([]int{1, 1, 1, 2}, 0, ln3)}},
		{op: "Attention", opset: 23, attrs: mode(3), in: list{q, k, v}, want: list{f(one, 7), k, v, f([]int{1, 1, 1, 2}, 0.25, 0.75)}},
		{op: "Attention", opset: 23, attrs: mode(2), in: list{q, k, v, tensor.Vector(true, false)}, want: list{f(one, 4), k, v, f([]int{1, 1, 1, 2}, 0, -inf)}},
		{op: "Attention", opset: 23, attrs: mode(0), in: list{h(q), h(k), h(v)}, want: list{h(f(one, 7))}},
		{op: "Attention", opset: 23, attrs: mode(0), in: list{d(q), d(k), d(v)}, want: list{d(f(one, 7))}},
		{op: "Attention", opset: 23, attrs: graph.Attrs{"scale": float32(1), "softmax_precision": int64(tensor.Float64)}, in: list{q, k, v}, want: list{f(one, 7)}},
		// A mask of integers and of another width is added.
		{op: "Attention", opset: 23, attrs: mode(0), in: list{q, k, v, of([]int{1, 2}, int32(0), -1000)}, want: list{f(one, 4)}},
		{op: "Attention", opset: 23, attrs: mode(0), in: list{q, k, v, of([]int{1, 1}, float64(5))}, want: list{f(one, 7)}},
		// What is hidden stays hidden under softcap, and 1 is added after it.
		{op: "Attention", opset: 24, attrs: graph.Attrs{"scale": float32(1), "softcap": float32(0.5), "qk_matmul_output_mode": int64(2)}, in: list{q, k, v, tensor.Vector(1, -inf)},
			want: list{f(one, 4), k, v, f([]int{1, 1, 1, 2}, 1, -inf)}},
		// A query that sees nothing.
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, tensor.Vector(false, false)}, want: list{f(one, 0), k, v, f([]int{1, 1, 1, 2}, 0, 0)}},
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, tensor.Vector(-inf, -inf)}, want: list{f(one, 0)}},
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, nil, nil, nil, tensor.Vector[int64](0)}, want: list{f(one, 0)}},
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, nil, nil, nil, tensor.Vector[int64](1)}, want: list{f(one, 4)}},
		// From opset 24 on a mask may end before the keys do.
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, tensor.Vector(true)}, want: list{f(one, 4)}},
		{op: "Attention", opset: 24, attrs: mode(3), in: list{q, k, v, tensor.Vector[float32](7)}, want: list{f(one, 4)}},
		{op: "Attention", opset: 23, attrs: mode(3), in: list{q, k, v, tensor.Vector(true)}, want: list{f(one, 7)}},
		// Causal: from the first key on, after a past, and at the end of an outer cache.
		{op: "Attention", opset: 24, attrs: causal, in: list{two, k, v}, want: list{f([]int{1, 1, 2, 1}, 4, 7)}},
		{op: "Attention", opset: 24, attrs: causal, in: list{q, k, v}, want: list{f(one, 4)}},
		{op: "Attention", opset: 24, attrs: causal, in: list{q, f(one, ln3), f(one, 8), nil, f(one, 0), f(one, 4)}, want: list{f(one, 7), k, v}},
		{op: "Attention", opset: 24, attrs: causal, in: list{q, k, v, nil, nil, nil, tensor.Vector[int64](2)}, want: list{f(one, 7)}},
		{op: "Attention", opset: 24, attrs: causal, in: list{two, k, v, nil, nil, nil, tensor.Vector[int64](1)}, want: list{f([]int{1, 1, 2, 1}, 0, 4)}},
		// Two heads of queries to one of keys, packed.
		{op: "Attention", opset: 23, attrs: packed, in: list{f([]int{1, 1, 2}, 1, 0), f([]int{1, 2, 1}, 0, ln3), f([]int{1, 2, 2}, 4, 0, 8, 2)},
			want: list{f([]int{1, 1, 4}, 7, 1.5, 6, 1), k, f([]int{1, 1, 2, 2}, 4, 0, 8, 2), f([]int{1, 2, 1, 2}, 0, ln3, 0, 0)}},
		{op: "Attention", opset: 23, in: list{q, f([]int{1, 1, 0, 1}), f([]int{1, 1, 0, 1})}, want: list{f(one, 0)}},

		{op: "Attention", opset: 23, in: list{f([]int{1, 1, 2}, 1, 0), k, v}, err: "shape [1,1,2] with q_num_heads 0"},
		{op: "Attention", opset: 23, attrs: graph.Attrs{"q_num_heads": int64(2)}, in: list{q, k, v}, err: "with q_num_heads 2"},
		{op: "Attention", opset: 23, in: list{f([]int{1, 3, 1, 1}, 1, 1, 1), f([]int{1, 2, 1, 1}, 1, 1), f([]int{1, 2, 1, 1}, 1, 1)}, err: "3 heads of queries for 2 of keys"},
		{op: "Attention", opset: 23, in: list{q, k, f(one, 1)}, err: "queries [1,1,1,1], keys [1,1,2,1], values [1,1,1,1]"},
		{op: "Attention", opset: 23, in: list{q, k, v, nil, f(one, 1)}, err: "a past of keys or of values alone"},
		{op: "Attention", opset: 23, in: list{q, k, v, nil, f(one, 1), f([]int{1, 1, 1, 2}, 1, 1)}, err: "a past of float32[1,1,1,2]"},
		{op: "Attention", opset: 23, in: list{q, k, v, tensor.Vector(true, true, true)}, err: "a mask of shape [3]"},
		{op: "Attention", opset: 23, in: list{q, k, v, tensor.Vector("a", "b")}, err: "a mask of string"},
		{op: "Attention", opset: 24, in: list{q, k, v, nil, nil, nil, tensor.Vector[int64](3)}, err: "nonpad_kv_seqlen 0 is 3 of 2 keys"},
		{op: "Attention", opset: 24, in: list{q, k, v, nil, nil, nil, tensor.Vector[int32](1)}, err: "nonpad_kv_seqlen int32[1]"},
		{op: "Attention", opset: 23, attrs: mode(4), in: list{q, k, v}, err: "qk_matmul_output_mode 4"},
		{op: "Attention", opset: 23, attrs: graph.Attrs{"softmax_precision": int64(tensor.Float16)}, in: list{q, k, v}, err: "softmax_precision float16"},
		{op: "Attention", opset: 23, in: list{tensor.Vector[int32](1), tensor.Vector[int32](1), tensor.Vector[int32](1)}, err: "does not support Attention (int32)"},
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), c.run)
	}
}
