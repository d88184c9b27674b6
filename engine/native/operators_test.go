package native_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func of[T tensor.Element](shape []int, v ...T) *tensor.Tensor {
	return tensor.Must(tensor.Of(v, shape...))
}

var (
	nan   = float32(math.NaN())
	inf   = float32(math.Inf(1))
	half  = func(v float32) tensor.Half { return tensor.HalfOf(v) }
	brain = func(v float32) tensor.BHalf { return tensor.BHalfOf(v) }
)

// operatorCase is one operator with its inputs, and its outputs or what its error says.
type operatorCase struct {
	op    string
	opset int64 // 0: 17
	attrs graph.Attrs
	in    []*tensor.Tensor // nil: left out
	want  []*tensor.Tensor
	err   string
}

func (c operatorCase) run(t *testing.T) {
	n := node(c.op, c.attrs, nil)
	var in []*tensor.Tensor
	for _, x := range c.in {
		name := ""
		if x != nil {
			name = fmt.Sprintf("x%d", len(in))
			in = append(in, x)
		}
		n.Inputs = append(n.Inputs, name)
	}
	for i := range max(1, len(c.want)) {
		n.Outputs = append(n.Outputs, fmt.Sprintf("y%d", i))
	}
	opset := c.opset
	if opset == 0 {
		opset = 17
	}
	got, err := tryApply(t, opset, n, in...)
	if c.err != "" {
		if err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s%v: got %v; want %q", c.op, c.attrs, err, c.err)
		}
		return
	}
	if err != nil {
		t.Errorf("%s%v of %v: %v", c.op, c.attrs, c.in, err)
		return
	}
	for i, w := range c.want {
		if err := conformance.Alike(got[i], w); err != nil {
			t.Errorf("%s%v of %v: output %d: %v", c.op, c.attrs, c.in, i, err)
		}
	}
}

type list = []*tensor.Tensor

// What ONNX's cases do not have: other types, attributes and shapes, and what is wrong.
func TestOperators(t *testing.T) {
	axis := func(a int64) graph.Attrs { return graph.Attrs{"axis": a} }
	abc := of([]int{2, 3}, "a", "b", "c", "d", "e", "f")
	cases := []operatorCase{
		{op: "NonZero", in: list{tensor.Scalar[int32](5)}, want: list{of[int64]([]int{0, 1})}},
		{op: "NonZero", in: list{tensor.Scalar(false)}, want: list{of[int64]([]int{0, 0})}},
		{op: "NonZero", in: list{of[float32]([]int{2, 0})}, want: list{of[int64]([]int{2, 0})}},
		{op: "NonZero", in: list{tensor.Vector(float32(math.Copysign(0, -1)), nan, 0, -inf)}, want: list{of[int64]([]int{1, 2}, 1, 3)}},
		{op: "NonZero", in: list{tensor.Vector(half(0), half(0.5))}, want: list{of[int64]([]int{1, 1}, 1)}},
		{op: "NonZero", in: list{of([]int{2, 2}, true, false, true, true)}, want: list{of[int64]([]int{2, 3}, 0, 1, 1, 0, 0, 1)}},
		{op: "NonZero", in: list{tensor.Vector("a", "", "b")}, want: list{of[int64]([]int{1, 2}, 0, 2)}},
		{op: "NonZero", in: list{tensor.Vector[complex64](0, 1i)}, want: list{of[int64]([]int{1, 1}, 1)}},

		{op: "Compress", in: list{abc, tensor.Vector(false, true, false, false, true)}, want: list{tensor.Vector("b", "e")}},
		{op: "Compress", attrs: axis(-1), in: list{abc, tensor.Vector(true, false, true)}, want: list{of([]int{2, 2}, "a", "c", "d", "f")}},
		{op: "Compress", attrs: axis(0), in: list{abc, tensor.Vector(false)}, want: list{of[string]([]int{0, 3})}},
		{op: "Compress", attrs: axis(0), in: list{abc, tensor.Vector(false, false, true)}, err: "selects element 2 of 2"},
		{op: "Compress", attrs: axis(2), in: list{abc, tensor.Vector(true)}, err: "axis 2 is outside rank 2"},
		{op: "Compress", in: list{abc, tensor.Vector[int64](1)}, err: "not a list of booleans"},

		{op: "Unique", in: list{tensor.Vector(nan, 2, nan, -inf, 2)}, want: list{tensor.Vector(-inf, 2, nan), tensor.Vector[int64](3, 1, 0), tensor.Vector[int64](2, 1, 2, 0, 1), tensor.Vector[int64](1, 2, 2)}},
		{op: "Unique", attrs: graph.Attrs{"sorted": int64(0)}, in: list{tensor.Vector("b", "a", "b", "")}, want: list{tensor.Vector("b", "a", ""), tensor.Vector[int64](0, 1, 3), tensor.Vector[int64](0, 1, 0, 2), tensor.Vector[int64](2, 1, 1)}},
		{op: "Unique", in: list{tensor.Vector(half(2), half(nan), half(-1), half(2))}, want: list{tensor.Vector(half(-1), half(2), half(nan))}},
		{op: "Unique", in: list{of([]int{2, 2}, true, true, false, true)}, want: list{tensor.Vector(false, true), tensor.Vector[int64](2, 0)}},
		{op: "Unique", attrs: graph.Attrs{"axis": int64(1), "sorted": int64(0)}, in: list{of[uint8]([]int{2, 3}, 5, 1, 5, 0, 0, 0)}, want: list{of[uint8]([]int{2, 2}, 5, 1, 0, 0), tensor.Vector[int64](0, 1), tensor.Vector[int64](0, 1, 0)}},
		{op: "Unique", in: list{of[int64]([]int{0})}, want: list{of[int64]([]int{0}), of[int64]([]int{0}), of[int64]([]int{0}), of[int64]([]int{0})}},

		{op: "ReverseSequence", in: list{of([]int{3, 2}, "a", "b", "c", "d", "e", "f"), tensor.Vector[int64](3, 1)}, want: list{of([]int{3, 2}, "e", "b", "c", "d", "a", "f")}},
		{op: "ReverseSequence", attrs: graph.Attrs{"batch_axis": int64(0), "time_axis": int64(2)}, in: list{of[float32]([]int{1, 2, 3}, 1, 2, 3, 4, 5, 6), tensor.Vector[int64](2)}, want: list{of[float32]([]int{1, 2, 3}, 2, 1, 3, 5, 4, 6)}},
		{op: "ReverseSequence", in: list{abc, tensor.Vector[int64](3, 0, 0)}, err: "sequence 0 has length 3 of 2"},
		{op: "ReverseSequence", in: list{abc, tensor.Vector[int64](1)}, err: "for a batch of 3"},
		{op: "ReverseSequence", attrs: graph.Attrs{"batch_axis": int64(0)}, in: list{abc, tensor.Vector[int64](1, 1)}, err: "batch axis 0 and time axis 0"},

		{op: "EyeLike", attrs: graph.Attrs{"k": int64(1)}, in: list{of[int32]([]int{2, 3}, 1, 2, 3, 4, 5, 6)}, want: list{of[int32]([]int{2, 3}, 0, 1, 0, 0, 0, 1)}},
		{op: "EyeLike", attrs: graph.Attrs{"k": int64(-2), "dtype": int64(tensor.Float16)}, in: list{of[int32]([]int{2, 3}, 1, 2, 3, 4, 5, 6)}, want: list{tensor.Must(tensor.New(tensor.Float16, 2, 3))}},
		{op: "EyeLike", attrs: graph.Attrs{"k": int64(math.MinInt64)}, in: list{of([]int{1, 1}, true)}, want: list{of([]int{1, 1}, false)}},
		{op: "EyeLike", in: list{of([]int{1, 2}, false, true)}, want: list{of([]int{1, 2}, true, false)}},
		{op: "EyeLike", in: list{tensor.Vector[float32](1)}, err: "is no matrix"},

		{op: "Hardmax", opset: 11, in: list{of[float32]([]int{1, 2, 2}, 1, 3, 3, 0)}, want: list{of[float32]([]int{1, 2, 2}, 0, 1, 0, 0)}},
		{op: "Hardmax", opset: 13, in: list{of[float64]([]int{1, 2, 2}, 1, 3, 3, 0)}, want: list{of[float64]([]int{1, 2, 2}, 0, 1, 1, 0)}},
		{op: "Hardmax", in: list{tensor.Vector(half(1), half(2), half(2))}, want: list{tensor.Vector(half(0), half(1), half(0))}},
		{op: "Hardmax", in: list{tensor.Vector(inf, nan, nan)}, want: list{tensor.Vector[float32](0, 1, 0)}},
		{op: "Hardmax", in: list{of[float32]([]int{2, 0})}, want: list{of[float32]([]int{2, 0})}},

		{op: "Shrink", in: list{tensor.Vector(-1, -0.5, 0.25, 1, nan)}, want: list{tensor.Vector(-1, 0, 0, 1, nan)}},
		{op: "Shrink", attrs: graph.Attrs{"bias": float32(1), "lambd": float32(2)}, in: list{tensor.Vector[int8](-5, -2, 3)}, want: list{tensor.Vector[int8](-4, 0, 2)}},

		{op: "Det", in: list{of[float64]([]int{3, 3}, 0, 2, 0, 3, 0, 0, 0, 0, 4)}, want: list{tensor.Scalar(-24.0)}},
		{op: "Det", in: list{of[float32]([]int{2, 2, 2}, 1, 2, 2, 4, 1, 2, 3, 4)}, want: list{tensor.Vector[float32](0, -2)}},
		{op: "Det", in: list{of[float32]([]int{0, 0})}, want: list{tensor.Scalar[float32](1)}},
		{op: "Det", in: list{of[float32]([]int{1, 2}, 1, 2)}, err: "no square matrices"},

		{op: "MeanVarianceNormalization", attrs: graph.Attrs{"axes": []int64{-1}}, in: list{of[float64]([]int{2, 2}, 1, 3, 5, 5)}, want: list{of[float64]([]int{2, 2}, -1, 1, 0, 0)}},
		{op: "MeanVarianceNormalization", in: list{of[float32]([]int{2, 2}, 1, 3, 5, 5)}, err: "axis 2 is outside rank 2"},

		// Ties keep their order; the threshold itself is not over the threshold; NaN is no score; nothing is the default.
		{op: "NonMaxSuppression", in: list{of[float32]([]int{1, 3, 4}, 0, 0, 1, 1, 1, 1, 0, 0, 0, 2, 1, 4), of[float32]([]int{1, 1, 3}, 0.5, 0.5, 0.5), tensor.Scalar[int64](9)},
			want: list{of[int64]([]int{2, 3}, 0, 0, 0, 0, 0, 2)}},
		{op: "NonMaxSuppression", in: list{of[float32]([]int{1, 2, 4}, 0, 0, 1, 2, 0, 0, 1, 1), of[float32]([]int{1, 1, 2}, 0.5, 0.6), tensor.Vector[int64](9), tensor.Scalar[float32](0.5)},
			want: list{of[int64]([]int{2, 3}, 0, 0, 1, 0, 0, 0)}},
		{op: "NonMaxSuppression", attrs: graph.Attrs{"center_point_box": int64(1)}, in: list{of[float32]([]int{1, 3, 4}, 0, 0, 2, 2, 0.1, 0, 2, 2, 5, 5, 1, 1), of[float32]([]int{1, 2, 3}, 1, 2, 3, nan, 1, 0), tensor.Scalar[int64](2), tensor.Scalar[float32](0.5), tensor.Scalar[float32](0)},
			want: list{of[int64]([]int{3, 3}, 0, 0, 2, 0, 0, 1, 0, 1, 1)}},
		{op: "NonMaxSuppression", in: list{of[float32]([]int{1, 1, 4}, 0, 0, 1, 1), of[float32]([]int{1, 1, 1}, 1)}, want: list{of[int64]([]int{0, 3})}},
		{op: "NonMaxSuppression", in: list{of[float32]([]int{1, 1, 4}, 0, 0, 1, 1), of[float32]([]int{1, 1, 2}, 1, 1)}, err: "scores of shape [1,1,2]"},
		{op: "NonMaxSuppression", in: list{of[float32]([]int{1, 1, 4}, 0, 0, 1, 1), of[float32]([]int{1, 1, 1}, 1), tensor.Scalar[int64](1), tensor.Scalar[float32](2)}, err: "iou_threshold is 2"},

		{op: "IsNaN", in: list{tensor.Vector(nan, inf, 0)}, want: list{tensor.Vector(true, false, false)}},
		{op: "IsNaN", in: list{tensor.Vector(half(nan), half(inf))}, want: list{tensor.Vector(true, false)}},
		{op: "IsNaN", in: list{tensor.Vector(brain(nan), brain(1))}, want: list{tensor.Vector(true, false)}},
		{op: "IsInf", in: list{tensor.Vector(math.NaN(), math.Inf(1), math.Inf(-1), 0)}, want: list{tensor.Vector(false, true, true, false)}},
		{op: "IsInf", attrs: graph.Attrs{"detect_negative": int64(0)}, in: list{tensor.Vector(half(inf), half(-inf))}, want: list{tensor.Vector(true, false)}},
		{op: "IsInf", in: list{tensor.Vector[int32](1)}, err: "does not support IsInf (int32)"},

		{op: "BitwiseAnd", opset: 18, in: list{of[int8]([]int{2, 1}, -1, 6), tensor.Vector[int8](3, -4)}, want: list{of[int8]([]int{2, 2}, 3, -4, 2, 4)}},
		{op: "BitwiseOr", opset: 18, in: list{tensor.Vector[uint16](1, 2), tensor.Scalar[uint16](4)}, want: list{tensor.Vector[uint16](5, 6)}},
		{op: "BitwiseXor", opset: 18, in: list{tensor.Vector[int64](-1, 2), tensor.Vector[int64](1, 3)}, want: list{tensor.Vector[int64](-2, 1)}},
		{op: "BitwiseNot", opset: 18, in: list{tensor.Vector[int32](0, -1, 5)}, want: list{tensor.Vector[int32](-1, 0, -6)}},
		{op: "BitwiseNot", opset: 18, in: list{tensor.Vector[uint8](0, 255, 5)}, want: list{tensor.Vector[uint8](255, 0, 250)}},
		{op: "BitwiseAnd", opset: 18, in: list{tensor.Vector(true), tensor.Vector(false)}, err: "does not support BitwiseAnd (bool)"},
		{op: "BitShift", attrs: graph.Attrs{"direction": "LEFT"}, in: list{tensor.Vector[uint8](1, 200, 3), tensor.Vector[uint8](7, 1, 9)}, want: list{tensor.Vector[uint8](128, 144, 0)}},
		{op: "BitShift", attrs: graph.Attrs{"direction": "RIGHT"}, in: list{tensor.Vector[uint64](1<<63, 7), tensor.Vector[uint64](62, 1<<40)}, want: list{tensor.Vector[uint64](2, 0)}},
		{op: "BitShift", attrs: graph.Attrs{"direction": "LEFT"}, in: list{tensor.Vector[int32](1), tensor.Vector[int32](1)}, err: "does not support BitShift (int32)"},
		{op: "BitShift", in: list{tensor.Vector[uint8](1), tensor.Vector[uint8](1)}, err: "direction"},

		{op: "Mod", in: list{tensor.Vector[int8](-7, 7, -128), tensor.Vector[int8](3, -3, -1)}, want: list{tensor.Vector[int8](2, -2, 0)}},
		{op: "Mod", attrs: graph.Attrs{"fmod": int64(1)}, in: list{tensor.Vector[int64](-7, 7), tensor.Scalar[int64](3)}, want: list{tensor.Vector[int64](-1, 1)}},
		{op: "Mod", attrs: graph.Attrs{"fmod": int64(1)}, in: list{tensor.Vector(half(-7), half(5.5)), tensor.Scalar(half(3))}, want: list{tensor.Vector(half(-1), half(2.5))}},
		{op: "Mod", in: list{tensor.Vector[float32](1), tensor.Vector[float32](1)}, err: "without fmod"},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s %d", c.op, i), c.run)
	}
}

func TestQuantize(t *testing.T) {
	f := func(v ...float32) *tensor.Tensor { return tensor.Vector(v...) }
	s := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	axis0 := graph.Attrs{"axis": int64(0)}
	blocks := graph.Attrs{"axis": int64(1), "block_size": int64(2)}
	x23 := of[float32]([]int{2, 3}, 1, 2, 3, -4, 5, 6)
	cases := []operatorCase{
		// Halves are rounded to even, the range is kept, and NaN is the zero point.
		{op: "QuantizeLinear", in: list{f(0.5, 1.5, -0.5, 300, -1, nan, inf, -inf), s(1)}, want: list{tensor.Vector[uint8](0, 2, 0, 255, 0, 0, 255, 0)}},
		{op: "QuantizeLinear", in: list{f(0.5, 1.5, 2.5, -300), s(1), tensor.Scalar[int8](1)}, want: list{tensor.Vector[int8](1, 3, 3, -128)}},
		{op: "QuantizeLinear", in: list{f(1, 2), f(0.5), tensor.Vector[uint8](3)}, want: list{tensor.Vector[uint8](5, 7)}},
		{op: "QuantizeLinear", attrs: axis0, in: list{x23, f(1, 2), tensor.Vector[int8](0, -1)}, want: list{of[int8]([]int{2, 3}, 1, 2, 3, -3, 1, 2)}},
		{op: "QuantizeLinear", attrs: graph.Attrs{"axis": int64(-1)}, in: list{x23, f(1, 2, 3)}, want: list{of[uint8]([]int{2, 3}, 1, 1, 1, 0, 2, 2)}},
		{op: "QuantizeLinear", opset: 21, attrs: blocks, in: list{x23, of[float32]([]int{2, 2}, 1, 3, 2, 0.5), of[int16]([]int{2, 2}, 0, 1, 2, 3)}, want: list{of[int16]([]int{2, 3}, 1, 2, 2, 0, 4, 15)}},
		{op: "QuantizeLinear", opset: 21, attrs: graph.Attrs{"output_dtype": int64(tensor.Uint16)}, in: list{f(-1, 70000), s(1)}, want: list{tensor.Vector[uint16](0, 65535)}},
		{op: "QuantizeLinear", in: list{tensor.Vector[int32](5, -5, 1<<31-1), s(2)}, want: list{tensor.Vector[uint8](2, 0, 255)}},
		{op: "QuantizeLinear", opset: 19, in: list{tensor.Vector(half(5), half(3.4)), tensor.Scalar(half(2)), tensor.Scalar[int8](0)}, want: list{tensor.Vector[int8](2, 2)}},
		// In float16 the quotient is 100.5, in float32 a little more.
		{op: "QuantizeLinear", opset: 19, in: list{tensor.Vector(half(100.625)), tensor.Scalar(half(1.0009765625))}, want: list{tensor.Vector[uint8](100)}},
		{op: "QuantizeLinear", opset: 23, attrs: graph.Attrs{"precision": int64(tensor.Float32)}, in: list{tensor.Vector(half(100.625)), tensor.Scalar(half(1.0009765625))}, want: list{tensor.Vector[uint8](101)}},
		{op: "QuantizeLinear", in: list{tensor.Scalar[float32](7), s(2)}, want: list{tensor.Scalar[uint8](4)}},
		{op: "QuantizeLinear", in: list{of[float32]([]int{0, 3}), f(1, 2, 3)}, want: list{of[uint8]([]int{0, 3})}},
		{op: "QuantizeLinear", in: list{x23, f(1, 2)}, err: "scales of shape [2] for dimension 1 of [2,3]"},
		{op: "QuantizeLinear", in: list{x23, f(1, 2, 3), tensor.Vector[uint8](1, 2)}, err: "the zero point [2]"},
		{op: "QuantizeLinear", opset: 21, attrs: blocks, in: list{x23, of[float32]([]int{2, 3}, 1, 1, 1, 1, 1, 1)}, err: "must have shape [2,2]"},
		{op: "QuantizeLinear", in: list{x23, s(1), tensor.Scalar[int32](1)}, err: "quantization to int32"},
		{op: "QuantizeLinear", in: list{of[float64]([]int{1}, 1), s(1)}, err: "does not support QuantizeLinear (float64)"},

		{op: "DequantizeLinear", in: list{tensor.Vector[uint8](0, 3, 255), s(2), tensor.Scalar[uint8](128)}, want: list{f(-256, -250, 254)}},
		{op: "DequantizeLinear", in: list{tensor.Vector[int32](-1<<31, 7), s(0.5)}, want: list{f(-1<<30, 3.5)}},
		{op: "DequantizeLinear", attrs: axis0, in: list{of[int8]([]int{2, 2}, -1, 2, 3, -128), f(1, 2), tensor.Vector[int8](0, 1)}, want: list{of[float32]([]int{2, 2}, -1, 2, 4, -258)}},
		{op: "DequantizeLinear", opset: 21, attrs: blocks, in: list{of[uint16]([]int{1, 3}, 1, 2, 3), of[float32]([]int{1, 2}, 2, 10), of[uint16]([]int{1, 2}, 1, 0)}, want: list{of[float32]([]int{1, 3}, 0, 2, 30)}},
		{op: "DequantizeLinear", opset: 19, in: list{tensor.Vector[int8](-3, 3), tensor.Scalar(half(0.1))}, want: list{tensor.Vector(half(-3*half(0.1).Float32()), half(3*half(0.1).Float32()))}},
		{op: "DequantizeLinear", opset: 23, attrs: graph.Attrs{"output_dtype": int64(tensor.BFloat16)}, in: list{tensor.Vector[int16](-3), s(2)}, want: list{tensor.Vector(brain(-6))}},
		{op: "DequantizeLinear", in: list{tensor.Vector[int8](1), s(1), tensor.Scalar[uint8](1)}, err: "input 0 is int8, the zero point uint8"},

		{op: "DynamicQuantizeLinear", in: list{f(0, 0)}, want: list{tensor.Vector[uint8](0, 0), s(1), tensor.Scalar[uint8](0)}},
		{op: "DynamicQuantizeLinear", in: list{f(-1, 0, 1.55)}, want: list{tensor.Vector[uint8](0, 100, 255), s(0.01), tensor.Scalar[uint8](100)}},
		{op: "DynamicQuantizeLinear", in: list{of[float32]([]int{0})}, want: list{of[uint8]([]int{0}), s(1), tensor.Scalar[uint8](0)}},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s %d", c.op, i), c.run)
	}
}

// What lies outside, along one to three dimensions; NaN and huge places must not crash.
func TestGridSample(t *testing.T) {
	x := of[float64]([]int{1, 1, 4}, 1, 2, 3, 4)
	grid := of[float64]([]int{1, 5, 1}, -1, 0, 1, -1.5, 1e300)
	mode := func(m, p string, corners int64) graph.Attrs {
		return graph.Attrs{"mode": m, "padding_mode": p, "align_corners": corners}
	}
	row := func(v ...float64) list { return list{of([]int{1, 1, 5}, v...)} }
	cube := of[float32]([]int{1, 1, 2, 2, 2}, 0, 1, 2, 3, 4, 5, 6, 7)
	at := of[float32]([]int{1, 1, 1, 2, 3}, 0, 0, 0, 1, -1, 1)
	cases := []operatorCase{
		{op: "GridSample", opset: 20, attrs: mode("linear", "zeros", 1), in: list{x, grid}, want: row(1, 2.5, 4, 0.25, 0)},
		{op: "GridSample", opset: 20, attrs: mode("linear", "zeros", 0), in: list{x, grid}, want: row(0.5, 2.5, 2, 0, 0)},
		{op: "GridSample", opset: 20, attrs: mode("linear", "border", 0), in: list{x, grid}, want: row(1, 2.5, 4, 1, 4)},
		{op: "GridSample", opset: 20, attrs: mode("nearest", "reflection", 1), in: list{x, of[float64]([]int{1, 5, 1}, -1, 0, 1, -1.7, 3)}, want: row(1, 3, 4, 2, 1)},
		{op: "GridSample", opset: 20, attrs: mode("cubic", "border", 1), in: list{x, of[float64]([]int{1, 5, 1}, -1, 0, 1, -9, math.NaN())}, want: row(1, 2.5, 4, 1, 1)},
		{op: "GridSample", opset: 20, attrs: mode("linear", "border", 1), in: list{cube, at}, want: list{of[float32]([]int{1, 1, 1, 1, 2}, 3.5, 5)}},
		{op: "GridSample", opset: 20, attrs: mode("wavy", "border", 1), in: list{x, grid}, err: `mode "wavy"`},
		{op: "GridSample", opset: 20, attrs: mode("linear", "wrap", 1), in: list{x, grid}, err: `padding_mode "wrap"`},
		{op: "GridSample", opset: 20, in: list{x, of[float64]([]int{2, 1, 1}, 1, 1)}, err: "a grid of float64[2,1,1]"},
		{op: "GridSample", opset: 20, in: list{of[float64]([]int{1, 1, 0}), grid}, err: "nothing to sample"},
	}
	for i, c := range cases {
		t.Run(fmt.Sprint(i), c.run)
	}
}
