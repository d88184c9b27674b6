package native_test

import (
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// What opsets 18 to 27 added to older operators, with numbers worked out by hand.
func TestNewerForms(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	i64 := int64s
	attr := func(pairs ...any) graph.Attrs {
		a := graph.Attrs{}
		for i := 0; i < len(pairs); i += 2 {
			a[pairs[i].(string)] = pairs[i+1]
		}
		return a
	}
	one := int64(1)
	square := []int64{3, 3}
	inf := float32(math.Inf(1))
	run(t, []operatorCase{
		// 18: parts that are not alike, axes as inputs, reductions to the larger and smaller.
		{op: "Split", opset: 18, attrs: attr("num_outputs", int64(2)), in: list{tensor.Vector[float32](1, 2, 3)}, want: list{tensor.Vector[float32](1, 2), tensor.Vector[float32](3)}},
		{op: "ReduceMean", opset: 18, in: list{f([]int{2, 2}, 1, 2, 3, 4), i64(0)}, want: list{f([]int{1, 2}, 2, 3)}},
		{op: "ReduceProd", opset: 18, attrs: attr("noop_with_empty_axes", one), in: list{f([]int{2}, 3, 4), i64()}, want: list{f([]int{2}, 3, 4)}},
		{op: "ReduceSum", opset: 13, attrs: attr("noop_with_empty_axes", one), in: list{f([]int{2}, 3, 4), i64()}, want: list{f([]int{2}, 3, 4)}},
		{op: "ReduceMin", opset: 18, attrs: attr("keepdims", int64(0)), in: list{f([]int{2, 0}), i64(1)}, want: list{f([]int{2}, inf, inf)}},
		{op: "ScatterND", opset: 18, attrs: attr("reduction", "max"), in: list{tensor.Vector[float32](1, 5), of([]int{2, 1}, int64(0), 1), tensor.Vector[float32](3, 3)}, want: list{tensor.Vector[float32](3, 5)}},
		{op: "ScatterElements", opset: 18, attrs: attr("reduction", "min"), in: list{tensor.Vector[float32](1, 5), i64(0, 1), tensor.Vector[float32](3, 3)}, want: list{tensor.Vector[float32](1, 3)}},
		{op: "Pad", opset: 18, in: list{f([]int{1, 2}, 1, 2), i64(1, 0), tensor.Scalar[float32](9), i64(-1)}, want: list{f([]int{1, 3}, 9, 1, 2)}},
		{op: "LpPool", opset: 18, attrs: attr("kernel_shape", []int64{2}, "dilations", []int64{2}, "p", one), in: list{f([]int{1, 1, 4}, 1, -2, 3, 4)}, want: list{f([]int{1, 1, 2}, 4, 6)}},
		{op: "Resize", opset: 18, attrs: attr("mode", "linear", "antialias", one), in: list{f([]int{1, 1, 1, 4}, 1, 2, 3, 4), nil, tensor.Vector[float32](1, 1, 1, 0.5)},
			want: list{f([]int{1, 1, 1, 2}, 1.625, 3.375)}}, // weights of 1/8, 3/8, 3/8 and 1/8; beyond the edge is the edge again
		{op: "Resize", opset: 19, attrs: attr("mode", "linear", "coordinate_transformation_mode", "half_pixel_symmetric"), in: list{f([]int{1, 1, 1, 2}, 1, 2), nil, tensor.Vector[float32](1, 1, 1, 2)},
			want: list{f([]int{1, 1, 1, 4}, 1, 1.25, 1.75, 2)}},
		// 19: dilations, wrap, equality of strings.
		{op: "AveragePool", opset: 19, attrs: attr("kernel_shape", []int64{2}, "dilations", []int64{2}), in: list{f([]int{1, 1, 4}, 1, 2, 3, 4)}, want: list{f([]int{1, 1, 2}, 2, 3)}},
		{op: "Pad", opset: 19, attrs: attr("mode", "wrap"), in: list{tensor.Vector[float32](1, 2, 3), i64(2, 1)}, want: list{tensor.Vector[float32](2, 3, 1, 2, 3, 1)}},
		{op: "Equal", opset: 19, in: list{tensor.Vector("a", "b"), tensor.Vector("a", "c")}, want: list{tensor.Vector(true, false)}},
		{op: "Reshape", opset: 19, attrs: attr("allowzero", one), in: list{f([]int{0, 3}), i64(3, 0)}, want: list{f([]int{3, 0})}},
		// A window that would begin in the padding behind the last element is none.
		{op: "MaxPool", opset: 22, attrs: attr("kernel_shape", []int64{1, 1}, "strides", []int64{2, 2}, "ceil_mode", one), in: list{f([]int{1, 1, 2, 2}, 1, 2, 3, 4)}, want: list{f([]int{1, 1, 1, 1}, 1)}},
		{op: "AveragePool", opset: 22, attrs: attr("kernel_shape", square, "strides", square, "pads", []int64{1, 1, 1, 1}, "ceil_mode", one, "count_include_pad", one),
			in: list{f([]int{1, 1, 2, 2}, 9, 18, 27, 36)}, want: list{f([]int{1, 1, 1, 1}, 10)}},
		// 20: booleans, three dimensions, the axis as an input.
		{op: "ReduceMax", opset: 20, attrs: attr("keepdims", int64(0)), in: list{of([]int{2, 2}, true, false, false, false), i64(1)}, want: list{tensor.Vector(true, false)}},
		{op: "ReduceMin", opset: 20, attrs: attr("keepdims", int64(0)), in: list{of([]int{2, 2}, true, true, true, false), i64(1)}, want: list{tensor.Vector(true, false)}},
		{op: "GridSample", opset: 20, attrs: attr("align_corners", one), in: list{f([]int{1, 1, 2, 2, 2}, 1, 2, 3, 4, 5, 6, 7, 8), f([]int{1, 1, 1, 2, 3}, 0, 0, 0, 1, -1, 1)}, want: list{f([]int{1, 1, 1, 1, 2}, 4.5, 6)}},
		{op: "GridSample", opset: 20, attrs: attr("mode", "nearest", "align_corners", one), in: list{f([]int{1, 1, 2, 2, 2}, 1, 2, 3, 4, 5, 6, 7, 8), f([]int{1, 1, 1, 1, 3}, 0.9, -0.9, 0.9)}, want: list{f([]int{1, 1, 1, 1, 1}, 6)}},
		{op: "ConstantOfShape", opset: 20, attrs: attr("value", tensor.Vector(brain(2))), in: list{i64(2)}, want: list{tensor.Vector(brain(2), brain(2))}},
		// 21: a scale and bias for each channel, float16 scales of quantized products.
		{op: "GroupNormalization", opset: 21, attrs: attr("num_groups", one), in: list{f([]int{1, 2, 1}, -1, 1), tensor.Vector[float32](2, 3), tensor.Vector[float32](0, 1)}, want: list{f([]int{1, 2, 1}, -1.99999, 3.999985)}},
		{op: "GroupNormalization", opset: 18, attrs: attr("num_groups", one), in: list{f([]int{1, 2, 1}, -1, 1), tensor.Vector[float32](2), tensor.Vector[float32](1)}, want: list{f([]int{1, 2, 1}, -0.99999, 2.99999)}},
		{op: "QLinearMatMul", opset: 21, in: list{of([]int{1, 1}, uint8(5)), tensor.Scalar(half(0.5)), tensor.Scalar[uint8](1), of([]int{1, 1}, uint8(7)), tensor.Scalar(half(2)), tensor.Scalar[uint8](3),
			tensor.Scalar(half(4)), tensor.Scalar[uint8](2)}, want: list{of([]int{1, 1}, uint8(6))}},
		{op: "RoiAlign", opset: 22, attrs: attr("output_height", one, "output_width", one, "sampling_ratio", one, "coordinate_transformation_mode", "output_half_pixel"),
			in: list{cast(t, f([]int{1, 1, 2, 2}, 1, 2, 3, 4), tensor.BFloat16), cast(t, f([]int{1, 4}, 0, 0, 1, 1), tensor.BFloat16), i64(0)}, want: list{cast(t, f([]int{1, 1, 1, 1}, 2.5), tensor.BFloat16)}},
		{op: "EyeLike", opset: 22, attrs: attr("dtype", int64(tensor.BFloat16)), in: list{of([]int{1, 2}, int32(7), 7)}, want: list{of([]int{1, 2}, brain(1), brain(0))}},
		{op: "MaxPool", opset: 22, attrs: attr("kernel_shape", []int64{2}), in: list{of([]int{1, 1, 3}, brain(1), brain(3), brain(2))}, want: list{of([]int{1, 1, 2}, brain(3), brain(3))}},
		// 24: bfloat16, and the first of what is alike.
		{op: "TopK", opset: 24, in: list{tensor.Vector(brain(2), brain(2), brain(1)), i64(2)}, want: list{tensor.Vector(brain(2), brain(2)), i64(0, 1)}},
		{op: "TopK", opset: 24, attrs: attr("largest", int64(0)), in: list{tensor.Vector[uint64](1<<63, 5, 5), i64(2)}, want: list{tensor.Vector[uint64](5, 5), i64(1, 2)}},
		// 27: numbers of 16 bits.
		{op: "Range", opset: 27, in: list{tensor.Scalar(half(1)), tensor.Scalar(half(3)), tensor.Scalar(half(0.5))}, want: list{tensor.Vector(half(1), half(1.5), half(2), half(2.5))}},
		{op: "Range", opset: 27, in: list{tensor.Scalar(brain(4)), tensor.Scalar(brain(1)), tensor.Scalar(brain(-2))}, want: list{tensor.Vector(brain(4), brain(2))}},
		// What newer documents made clear.
		{op: "Clip", opset: 13, in: list{tensor.Vector[float32](-5, 0, 5), tensor.Scalar[float32](2), tensor.Scalar[float32](1)}, want: list{tensor.Vector[float32](1, 1, 1)}},
		{op: "Div", opset: 14, in: list{tensor.Vector[int32](-7, 7), tensor.Vector[int32](2, -2)}, want: list{tensor.Vector[int32](-3, -3)}},
		{op: "NonMaxSuppression", opset: 11, in: list{f([]int{1, 2, 4}, 0, 0, 1, 1, 0, 0.5, 1, 1), f([]int{1, 1, 2}, 0.9, 0.8), i64(9), tensor.Scalar[float32](0.5)}, want: list{of([]int{2, 3}, int64(0), 0, 0, 0, 0, 1)}},
	})
}
