package native_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Windows, transforms, norms and regions in the forms that ONNX's cases do not have.
func TestSignals(t *testing.T) {
	i64 := func(v int64) *tensor.Tensor { return tensor.Scalar(v) }
	ramp := of[float64]([]int{1, 4, 1}, 1, 2, 3, 4)
	image := of[float32]([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	first := of[int64]([]int{1}, 0)
	region := func(v ...float32) *tensor.Tensor { return of([]int{1, 4}, v...) }
	pool := func(p any) graph.Attrs {
		return graph.Attrs{"kernel_shape": []int64{2}, "strides": []int64{2}, "pads": []int64{1, 0}, "p": p}
	}
	unpool := graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}
	back := graph.Attrs{"onesided": int64(1), "inverse": int64(1)}
	cases := []operatorCase{
		{op: "HannWindow", in: list{i64(0)}, want: list{of[float32]([]int{0})}},
		{op: "HannWindow", attrs: graph.Attrs{"output_datatype": int64(tensor.Float64)}, in: list{tensor.Scalar[int32](4)}, want: list{tensor.Vector(0, 0.5, 1, 0.5)}},
		{op: "HannWindow", attrs: graph.Attrs{"output_datatype": int64(tensor.Float16), "periodic": int64(0)}, in: list{i64(3)}, want: list{tensor.Vector(half(0), half(1), half(0))}},
		{op: "BlackmanWindow", attrs: graph.Attrs{"output_datatype": int64(tensor.String)}, in: list{i64(3)}, err: "output of string"},
		{op: "HammingWindow", in: list{i64(-1)}, err: "a window of -1"},

		{op: "DFT", in: list{ramp}, want: list{of[float64]([]int{1, 4, 2}, 10, 0, -2, 2, -2, 0, -2, -2)}},
		{op: "DFT", attrs: graph.Attrs{"onesided": int64(1)}, in: list{ramp}, want: list{of[float64]([]int{1, 3, 2}, 10, 0, -2, 2, -2, 0)}},
		{op: "DFT", in: list{ramp, i64(2)}, want: list{of[float64]([]int{1, 2, 2}, 3, 0, -1, 0)}},
		{op: "DFT", in: list{of[float64]([]int{1, 1, 1}, 3), i64(3)}, want: list{of[float64]([]int{1, 3, 2}, 3, 0, 3, 0, 3, 0)}},
		{op: "DFT", attrs: graph.Attrs{"inverse": int64(1)}, in: list{of[float64]([]int{1, 4, 2}, 10, 0, -2, 2, -2, 0, -2, -2)}, want: list{of[float64]([]int{1, 4, 2}, 1, 0, 2, 0, 3, 0, 4, 0)}},
		{op: "DFT", opset: 20, in: list{of[float32]([]int{2, 1, 1}, 1, 3), nil, i64(0)}, want: list{of[float32]([]int{2, 1, 2}, 4, 0, -2, 0)}},
		{op: "DFT", opset: 20, in: list{of[float32]([]int{1, 2, 1}, 1, 3)}, want: list{of[float32]([]int{1, 2, 2}, 4, 0, -2, 0)}},
		{op: "DFT", attrs: graph.Attrs{"axis": int64(-1)}, in: list{ramp}, err: "is that of the numbers' parts"},
		{op: "DFT", attrs: back, in: list{of[float64]([]int{1, 3, 2}, 10, 0, -2, 2, -2, 0)}, want: list{of[float64]([]int{1, 4, 1}, 1, 2, 3, 4)}},
		{op: "DFT", attrs: back, in: list{of[float64]([]int{1, 3, 2}, 10, 7, -2, 2, -2, 7)}, want: list{of[float64]([]int{1, 4, 1}, 1, 2, 3, 4)}},
		{op: "DFT", attrs: back, in: list{of[float64]([]int{1, 2, 2}, 6, 0, -1.5, math.Sqrt(3)/2), i64(3)}, want: list{of[float64]([]int{1, 3, 1}, 1, 2, 3)}},
		{op: "DFT", attrs: back, in: list{of[float64]([]int{1, 1, 2}, 4, 0), i64(2)}, want: list{of[float64]([]int{1, 2, 1}, 2, 2)}},
		{op: "DFT", attrs: back, in: list{of[float64]([]int{1, 1, 2}, 4, 0)}, err: "a transform of 0 numbers"},
		{op: "DFT", in: list{ramp, i64(0)}, err: "a transform of 0 numbers"},
		{op: "STFT", in: list{ramp, i64(2), nil, i64(2)}, want: list{of[float64]([]int{1, 2, 2, 2}, 3, 0, -1, 0, 7, 0, -1, 0)}},
		{op: "STFT", attrs: graph.Attrs{"onesided": int64(0)}, in: list{of[float64]([]int{1, 2, 2}, 1, 1, 2, 0), i64(1), tensor.Vector(1.0, 2.0)}, want: list{of[float64]([]int{1, 1, 2, 2}, 5, 1, -3, 1)}},
		{op: "STFT", in: list{ramp, i64(0), nil, i64(2)}, err: "every 0"},
		{op: "STFT", in: list{ramp, i64(1), nil, i64(5)}, err: "frames of 5 every 1 of a signal of 4"},
		{op: "STFT", in: list{ramp, i64(1), tensor.Vector(1.0), i64(2)}, err: "the window has 1"},
		{op: "MelWeightMatrix", in: list{i64(2), i64(4), i64(0), tensor.Scalar[float32](0), tensor.Scalar[float32](10)}, err: "the sample rate is 0"},
		{op: "MelWeightMatrix", in: list{i64(2), i64(4), i64(8), tensor.Scalar[float32](0), tensor.Scalar[float32](1e9)}, err: "outside the spectrum"},

		{op: "LpPool", attrs: pool(int64(1)), in: list{of[float32]([]int{1, 1, 3}, -1, 2, -3)}, want: list{of[float32]([]int{1, 1, 2}, 1, 5)}},
		{op: "LpPool", attrs: pool(int64(3)), in: list{of[float64]([]int{1, 1, 3}, 1, 3, 3)}, want: list{of([]int{1, 1, 2}, 1, math.Cbrt(54))}},
		{op: "LpPool", opset: 1, attrs: pool(float32(2)), in: list{of[float32]([]int{1, 1, 3}, -1, 3, -4)}, want: list{of[float32]([]int{1, 1, 2}, 1, 5)}},
		{op: "LpPool", attrs: pool(int64(0)), in: list{of[float32]([]int{1, 1, 3}, 1, 2, 3)}, err: "p is 0"},
		{op: "GlobalLpPool", in: list{of[float32]([]int{1, 2, 2}, 3, -4, 0, 0)}, want: list{of[float32]([]int{1, 2, 1}, 5, 0)}},
		{op: "LpNormalization", in: list{of[float32]([]int{2, 2}, 3, -4, 0, 0)}, want: list{of[float32]([]int{2, 2}, 0.6, -0.8, 0, 0)}},
		{op: "LpNormalization", attrs: graph.Attrs{"axis": int64(0), "p": int64(1)}, in: list{of[float64]([]int{2, 2}, 1, -4, 3, 0)}, want: list{of[float64]([]int{2, 2}, 0.25, -1, 0.75, 0)}},

		{op: "MaxUnpool", attrs: unpool, in: list{of[float64]([]int{1, 1, 1, 2}, 5, 6), of[int64]([]int{1, 1, 1, 2}, 1, 6)}, want: list{of[float64]([]int{1, 1, 2, 4}, 0, 5, 0, 0, 0, 0, 6, 0)}},
		{op: "MaxUnpool", attrs: unpool, in: list{of[float64]([]int{1, 1, 1, 1}, 5), of[int64]([]int{1, 1, 1, 1}, 2), tensor.Vector[int64](1, 1, 2, 3)}, want: list{of[float64]([]int{1, 1, 2, 3}, 0, 0, 0, 5, 0, 0)}},
		{op: "MaxUnpool", attrs: unpool, in: list{of[float64]([]int{1, 1, 1, 1}, 5), of[int64]([]int{1, 1, 1, 1}, 4)}, err: "index 4 is outside [1,1,2,2]"},
		{op: "MaxUnpool", attrs: unpool, in: list{of[float64]([]int{1, 1, 1, 1}, 5), of[int64]([]int{1, 1, 1, 1}, 0), tensor.Vector[int64](1, 1, 2, 1)}, err: "what was pooled has [1,1,2,2]"},

		{op: "RoiAlign", attrs: graph.Attrs{"sampling_ratio": int64(1)}, in: list{image, region(0, 0, 2, 2), first}, want: list{of[float32]([]int{1, 1, 1, 1}, 2.5)}},
		{op: "RoiAlign", opset: 10, attrs: graph.Attrs{"mode": "max"}, in: list{image, region(0, 0, 1, 1), first}, want: list{of[float32]([]int{1, 1, 1, 1}, 1)}},
		{op: "RoiAlign", in: list{image, region(5, 5, 9, 9), first}, want: list{of[float32]([]int{1, 1, 1, 1}, 0)}},
		{op: "RoiAlign", in: list{image, region(nan, 0, 1, 1), first}, want: list{of[float32]([]int{1, 1, 1, 1}, 0)}},
		{op: "RoiAlign", in: list{image, region(0, 0, 1e9, 1e9), first}, err: "samples for each pixel"},
		{op: "RoiAlign", in: list{image, region(0, 0, 1, 1), of[int64]([]int{1}, 1)}, err: "region 0 is of image 1 of 1"},
		{op: "RoiAlign", attrs: graph.Attrs{"output_height": int64(0)}, in: list{image, region(0, 0, 1, 1), first}, err: "output_height 0"},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%s %d", c.op, i), c.run)
	}
}
