package native_test

import (
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestLinearAttention(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	h := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float16) }
	b := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.BFloat16) }
	rule := func(name string, more ...any) graph.Attrs {
		a := graph.Attrs{"update_rule": name, "q_num_heads": int64(1), "kv_num_heads": int64(1), "scale": float32(1)}
		for i := 0; i < len(more); i += 2 {
			a[more[i].(string)] = more[i+1]
		}
		return a
	}
	two, one := []int{1, 2, 1}, []int{1, 1, 1, 1}
	q, k, v, past := f(two, 1, 2), f(two, 1, 1), f(two, 3, 4), f(one, 2)
	decay, beta := f(two, 0, float32(math.Log(0.5))), f(two, 1, 0.5)
	const op = "LinearAttention"
	run(t, []operatorCase{
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, k, v}, want: list{f(two, 3, 14), f(one, 7)}},
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, k, v, past}, want: list{f(two, 5, 18), f(one, 9)}},
		{op: op, opset: 27, attrs: rule("gated"), in: list{q, k, v, nil, decay}, want: list{f(two, 3, 11), f(one, 5.5)}},
		{op: op, opset: 27, attrs: rule("delta"), in: list{q, k, v, nil, nil, beta}, want: list{f(two, 3, 7), f(one, 3.5)}},
		{op: op, opset: 27, attrs: rule("gated_delta"), in: list{q, k, v, past, decay, beta}, want: list{f(two, 3, 5.5), f(one, 2.75)}},
		// The state keeps its own type.
		{op: op, opset: 27, attrs: rule("linear"), in: list{h(q), h(k), h(v)}, want: list{h(f(two, 3, 14)), h(f(one, 7))}},
		{op: op, opset: 27, attrs: rule("linear"), in: list{h(q), h(k), h(v), past}, want: list{h(f(two, 5, 18)), f(one, 9)}},
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, k, v, b(past)}, want: list{f(two, 5, 18), b(f(one, 9))}},
		{op: op, opset: 27, attrs: rule("linear"), in: list{h(q), h(k), h(v), b(past)}, want: list{h(f(two, 5, 18)), b(f(one, 9))}},
		// Two heads of queries to one of keys, a decay for each element of a key, one beta.
		{op: op, opset: 27, attrs: rule("linear", "q_num_heads", int64(2)), in: list{f([]int{1, 1, 2}, 1, 2), f([]int{1, 1, 1}, 1), f([]int{1, 1, 2}, 3, 4)},
			want: list{f([]int{1, 1, 4}, 3, 4, 6, 8), f([]int{1, 1, 1, 2}, 3, 4)}},
		{op: op, opset: 27, attrs: rule("gated"), in: list{f([]int{1, 1, 2}, 1, 1), f([]int{1, 1, 2}, 0, 0), f([]int{1, 1, 1}, 9), f([]int{1, 1, 2, 1}, 4, 8), f([]int{1, 1, 2}, 0, float32(math.Log(0.5)))},
			want: list{f([]int{1, 1, 1}, 8), f([]int{1, 1, 2, 1}, 4, 4)}},
		{op: op, opset: 27, attrs: rule("delta", "q_num_heads", int64(2), "kv_num_heads", int64(2)), in: list{f([]int{1, 1, 2}, 1, 1), f([]int{1, 1, 2}, 1, 1), f([]int{1, 1, 2}, 4, 8), nil, nil, f([]int{1, 1, 1}, 0.5)},
			want: list{f([]int{1, 1, 2}, 2, 4), f([]int{1, 2, 1, 1}, 2, 4)}},
		// Without a scale it is one over the root of a key's size.
		{op: op, opset: 27, attrs: rule("linear", "scale", float32(0)), in: list{f([]int{1, 1, 4}, 1, 0, 0, 0), f([]int{1, 1, 4}, 1, 0, 0, 0), f([]int{1, 1, 1}, 6)}, want: list{f([]int{1, 1, 1}, 3)}},
		{op: op, opset: 27, attrs: rule("linear"), in: list{f([]int{1, 0, 1}), f([]int{1, 0, 1}), f([]int{1, 0, 1}), past}, want: list{f([]int{1, 0, 1}), past}},

		{op: op, opset: 27, attrs: graph.Attrs{"q_num_heads": int64(1), "kv_num_heads": int64(1)}, in: list{q, k, v}, err: "update_rule gated_delta needs input 4, decay"},
		{op: op, opset: 27, attrs: rule("delta"), in: list{q, k, v, nil, decay, beta}, err: "update_rule delta takes no decay"},
		{op: op, opset: 27, attrs: rule("gated"), in: list{q, k, v, nil, decay, beta}, err: "update_rule gated takes no beta"},
		{op: op, opset: 27, attrs: rule("best"), in: list{q, k, v}, err: `update_rule "best" is none of`},
		{op: op, opset: 27, attrs: rule("linear", "q_num_heads", int64(0)), in: list{q, k, v}, err: "q_num_heads 0"},
		{op: op, opset: 27, attrs: rule("linear", "kv_num_heads", int64(2)), in: list{q, k, v}, err: "kv_num_heads 2"},
		{op: op, opset: 27, attrs: rule("linear", "kv_num_heads", int64(2)), in: list{q, f([]int{1, 2, 2}, 1, 1, 1, 1), f([]int{1, 2, 2}, 1, 1, 1, 1)}, err: "of 1 heads, keys [1,2,2] and values [1,2,2] of 2"},
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, k, f([]int{1, 1, 1}, 1)}, err: "values [1,1,1]"},
		{op: op, opset: 27, attrs: rule("linear"), in: list{past, past, past}, err: "has shape [1,1,1,1]"},
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, k, v, f([]int{1, 1, 1, 2}, 1, 2)}, err: "a past of float32[1,1,1,2], not [1,1,1,1]"},
		{op: op, opset: 27, attrs: rule("gated"), in: list{q, k, v, nil, f([]int{1, 2, 3}, 0, 0, 0, 0, 0, 0)}, err: "decay of [1,2,3] for 1 heads of 1"},
		{op: op, opset: 27, attrs: rule("gated"), in: list{q, k, v, nil, f([]int{1, 1, 1}, 0)}, err: "decay of float32[1,1,1] for queries [1,2,1]"},
		{op: op, opset: 27, attrs: rule("delta"), in: list{q, k, v, nil, nil, f([]int{1, 2, 2}, 1, 1, 1, 1)}, err: "beta of [1,2,2] for 1 heads"},
		{op: op, opset: 27, attrs: rule("linear"), in: list{q, h(k), v}, err: "float32 and float16"},
	})
}

func TestCausalConvWithState(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	h := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float16) }
	x, w, past := f([]int{1, 2, 3}, 1, 2, 3, 4, 5, 6), f([]int{2, 1, 2}, 10, 1, 0, 1), f([]int{1, 2, 1}, 7, 8)
	act := func(name string) graph.Attrs { return graph.Attrs{"activation": name} }
	const op = "CausalConvWithState"
	silu := float32(1 / (1 + math.Exp(-1)))
	run(t, []operatorCase{
		{op: op, opset: 27, in: list{x, w}, want: list{f([]int{1, 2, 3}, 1, 12, 23, 4, 5, 6), f([]int{1, 2, 1}, 3, 6)}},
		{op: op, opset: 27, attrs: act("none"), in: list{x, w, tensor.Vector[float32](100, 200), past}, want: list{f([]int{1, 2, 3}, 171, 112, 123, 204, 205, 206), f([]int{1, 2, 1}, 3, 6)}},
		{op: op, opset: 27, in: list{h(x), h(w), nil, h(past)}, want: list{h(f([]int{1, 2, 3}, 71, 12, 23, 4, 5, 6)), h(f([]int{1, 2, 1}, 3, 6))}},
		{op: op, opset: 27, attrs: act("silu"), in: list{f([]int{1, 1, 2}, 0, 1), f([]int{1, 1, 1}, 1)}, want: list{f([]int{1, 1, 2}, 0, silu), f([]int{1, 1, 0})}},
		{op: op, opset: 27, attrs: act("swish"), in: list{f([]int{1, 1, 1}, 1), f([]int{1, 1, 1}, 1)}, want: list{f([]int{1, 1, 1}, silu)}},
		// A state that is longer than the input keeps a part of what it was.
		{op: op, opset: 27, in: list{f([]int{1, 1, 1}, 5), f([]int{1, 1, 3}, 1, 1, 1), nil, f([]int{1, 1, 2}, 3, 4)}, want: list{f([]int{1, 1, 1}, 12), f([]int{1, 1, 2}, 4, 5)}},
		{op: op, opset: 27, in: list{f([]int{1, 1, 0}), f([]int{1, 1, 2}, 1, 1), nil, f([]int{1, 1, 1}, 3)}, want: list{f([]int{1, 1, 0}), f([]int{1, 1, 1}, 3)}},

		{op: op, opset: 27, in: list{x, f([]int{1, 1, 2}, 1, 1)}, err: "input [1,2,3] with weights [1,1,2]"},
		{op: op, opset: 27, in: list{x, f([]int{2, 2, 1}, 1, 1, 1, 1)}, err: "input [1,2,3] with weights [2,2,1]"},
		{op: op, opset: 27, in: list{x, w, tensor.Vector[float32](1)}, err: "a bias float32[1] for 2 channels"},
		{op: op, opset: 27, in: list{x, w, nil, x}, err: "a past of float32[1,2,3], not [1,2,1]"},
		{op: op, opset: 27, attrs: act("relu"), in: list{x, w}, err: `activation "relu" is none of none, silu, swish`},
		{op: op, opset: 27, in: list{x, cast(t, w, tensor.Float64)}, err: "float32 and float64"},

		{op: "Range", opset: 27, in: list{h(tensor.Scalar[float32](1)), h(tensor.Scalar[float32](3)), h(tensor.Scalar[float32](0.5))}, want: list{h(tensor.Vector[float32](1, 1.5, 2, 2.5))}},
		{op: "Range", opset: 27, attrs: graph.Attrs{"stash_type": int64(tensor.Float16)}, in: list{tensor.Scalar[float32](1), tensor.Scalar[float32](3), tensor.Scalar[float32](1)}, err: "stash_type 10"},
	})
}
