package native_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// What holding the engines against each other does not reach, and what is wrong, of the operators of opsets 18 to 26 that place, cut
// and take bits.
func TestPlaces(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	h := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float16) }
	cache, row := f([]int{2, 3, 1}, 1, 2, 3, 4, 5, 6), f([]int{2, 1, 1}, 7, 8)
	circular := graph.Attrs{"mode": "circular"}
	to := func(d tensor.DType) graph.Attrs { return graph.Attrs{"to": int64(d)} }
	one := int32(0x3f800000)
	run(t, []operatorCase{
		{op: "TensorScatter", opset: 24, in: list{cache, row, int64s(2, 0)}, want: list{f([]int{2, 3, 1}, 1, 2, 7, 8, 5, 6)}},
		{op: "TensorScatter", opset: 24, in: list{cache, row}, want: list{f([]int{2, 3, 1}, 7, 2, 3, 8, 5, 6)}},
		{op: "TensorScatter", opset: 24, attrs: graph.Attrs{"axis": int64(1)}, in: list{of([]int{1, 2}, "a", "b"), of([]int{1, 1}, "c"), int64s(1)}, want: list{of([]int{1, 2}, "a", "c")}},
		{op: "TensorScatter", opset: 24, attrs: circular, in: list{f([]int{1, 3, 1}, 1, 2, 3), f([]int{1, 2, 1}, 7, 8), int64s(2)}, want: list{f([]int{1, 3, 1}, 8, 2, 7)}},
		{op: "TensorScatter", opset: 24, attrs: circular, in: list{f([]int{1, 3, 1}, 1, 2, 3), f([]int{1, 2, 1}, 7, 8), int64s(math.MaxInt64)}, want: list{f([]int{1, 3, 1}, 1, 7, 8)}},
		{op: "TensorScatter", opset: 24, attrs: circular, in: list{f([]int{1, 0, 1}), f([]int{1, 0, 1}), int64s(5)}, want: list{f([]int{1, 0, 1})}},
		{op: "TensorScatter", opset: 24, in: list{cache, row, int64s(3, 0)}, err: "write index 3 of 1 rows in a cache of 3"},
		{op: "TensorScatter", opset: 24, attrs: circular, in: list{cache, row, int64s(-1, 0)}, err: "write index -1"},
		{op: "TensorScatter", opset: 24, in: list{cache, row, int64s(0)}, err: "write_indices int64[1] for a batch of 2"},
		{op: "TensorScatter", opset: 24, in: list{cache, f([]int{2, 4, 1}, 0, 0, 0, 0, 0, 0, 0, 0)}, err: "an update float32[2,4,1]"},
		{op: "TensorScatter", opset: 24, in: list{cache, of([]int{2, 1, 1}, 1.0, 2)}, err: "an update float64[2,1,1] for a cache float32[2,3,1]"},
		{op: "TensorScatter", opset: 24, attrs: graph.Attrs{"axis": int64(0)}, in: list{cache, row}, err: "axis 0 of shape [2,3,1], whose first dimension is the batch"},
		{op: "TensorScatter", opset: 24, attrs: graph.Attrs{"mode": "spiral"}, in: list{cache, row}, err: `mode "spiral"`},

		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector[float32](1, 2, 3, 4, 5), int64s(2)}, want: list{tensor.Vector[float32](2, 3)}},
		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector[float32](1, 2), int64s(5)}, want: list{tensor.Vector[float32](0, 1, 2, 0, 0)}},
		{op: "CenterCropPad", opset: 18, attrs: graph.Attrs{"axes": []int64{-1, 0}}, in: list{f([]int{3, 2}, 1, 2, 3, 4, 5, 6), int64s(3, 1)}, want: list{f([]int{1, 3}, 3, 4, 0)}},
		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector("a", "b"), int64s(3)}, want: list{tensor.Vector("a", "b", "")}},
		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector[float32](1, 2), int64s(0)}, want: list{tensor.Vector[float32]()}},
		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector[float32](1, 2), int64s(2, 3)}, err: "2 sizes for 1 axes of shape [2]"},
		{op: "CenterCropPad", opset: 18, in: list{tensor.Vector[float32](1, 2), int64s(-2)}, err: "size -2 of axis 0"},
		{op: "CenterCropPad", opset: 18, attrs: graph.Attrs{"axes": []int64{3}}, in: list{tensor.Vector[float32](1, 2), int64s(2)}, err: "3"},

		{op: "BitCast", opset: 26, attrs: to(tensor.Int32), in: list{tensor.Vector[float32](1, 0)}, want: list{tensor.Vector(one, 0)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Float32), in: list{tensor.Vector(one)}, want: list{tensor.Vector[float32](1)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Uint64), in: list{tensor.Vector(math.Inf(-1))}, want: list{tensor.Vector[uint64](0xfff0000000000000)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Uint16), in: list{h(tensor.Vector[float32](1))}, want: list{tensor.Vector[uint16](0x3c00)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Int8), in: list{tensor.Vector[uint8](255, 1)}, want: list{tensor.Vector[int8](-1, 1)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Bool), in: list{tensor.Vector[uint8](0, 2)}, want: list{tensor.Vector(false, true)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Uint8), in: list{tensor.Vector(false, true)}, want: list{tensor.Vector[uint8](0, 1)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Float32), in: list{tensor.Vector[float32](3)}, want: list{tensor.Vector[float32](3)}},
		{op: "BitCast", opset: 26, attrs: to(tensor.Int64), in: list{tensor.Vector[float32](1)}, err: "float32 has 32 bits, int64 64"},
		{op: "BitCast", opset: 26, attrs: to(tensor.String), in: list{tensor.Vector[float32](1)}, err: "float32 to string"},
		{op: "BitCast", opset: 26, attrs: graph.Attrs{"to": int64(1 << 40)}, in: list{tensor.Vector[float32](1)}, err: "float32 to"},
		{op: "BitCast", opset: 26, in: list{tensor.Vector[float32](1)}, err: "float32 to"},
	})
}

// The same for those that are about images.
func TestNewerImages(t *testing.T) {
	f := func(shape []int, v ...float32) *tensor.Tensor { return of(shape, v...) }
	h := func(x *tensor.Tensor) *tensor.Tensor { return cast(t, x, tensor.Float16) }
	columns := f([]int{1, 4, 2}, 1, 2, 3, 4, 5, 6, 7, 8)
	summed := f([]int{1, 1, 2, 3}, 1, 5, 4, 5, 13, 8)
	picture := f([]int{1, 1, 2, 2}, 1, 2, 3, 4)
	kernel := f([]int{1, 1, 1, 1}, 2)
	nowhere := f([]int{1, 2, 2, 2}, 0, 0, 0, 0, 0, 0, 0, 0)
	pooled := graph.Attrs{"pooled_shape": []int64{1, 1}}
	run(t, []operatorCase{
		{op: "Col2Im", opset: 18, in: list{columns, int64s(2, 3), int64s(2, 2)}, want: list{summed}},
		{op: "Col2Im", opset: 18, in: list{h(columns), int64s(2, 3), int64s(2, 2)}, want: list{h(summed)}},
		{op: "Col2Im", opset: 18, in: list{of([]int{1, 2, 2}, int32(1), 2, 3, 4), int64s(3), int64s(2)}, want: list{of([]int{1, 1, 3}, int32(1), 5, 4)}},
		{op: "Col2Im", opset: 18, attrs: graph.Attrs{"dilations": []int64{2}, "pads": []int64{1, 1}}, in: list{f([]int{1, 2, 2}, 1, 2, 3, 4), int64s(2), int64s(2)}, want: list{f([]int{1, 1, 2}, 2, 3)}},
		{op: "Col2Im", opset: 18, in: list{columns, int64s(2, 4), int64s(2, 2)}, err: "at 3 places"},
		{op: "Col2Im", opset: 18, in: list{columns, int64s(2, 3), int64s(2)}, err: "columns [1,4,2] for images [2 3] of blocks [2]"},
		{op: "Col2Im", opset: 18, in: list{columns, int64s(2, 3), int64s(3, 1)}, err: "images [2 3]"},
		{op: "Col2Im", opset: 18, in: list{columns, int64s(0, 3), int64s(2, 2)}, err: "images [0 3] of blocks [2 2]"},
		{op: "Col2Im", opset: 18, in: list{columns, int64s(math.MaxInt64, math.MaxInt64), int64s(1, 1)}, err: "Col2Im"},

		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), int64s(1, 1, 1, 2)}, want: list{f([]int{1, 1, 2, 2}, -0.5, 0, 0.5, 0)}},
		{op: "AffineGrid", opset: 20, attrs: graph.Attrs{"align_corners": int64(1)}, in: list{f([]int{1, 2, 3}, 2, 0, 1, 0, 1, 3), int64s(1, 1, 1, 2)}, want: list{f([]int{1, 1, 2, 2}, -1, 2, 3, 2)}},
		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 3, 4}, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0), int64s(1, 1, 2, 1, 1)}, want: list{f([]int{1, 2, 1, 1, 3}, 0, 0, -0.5, 0, 0, 0.5)}},
		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), int64s(1, 1, 0, 2)}, want: list{f([]int{1, 0, 2, 2})}},
		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), int64s(2, 1, 1, 2)}, err: "maps [1,2,3] for a size of [2 1 1 2]"},
		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), int64s(1, 1, 2)}, err: "maps [1,2,3] for a size of [1 1 2]"},
		{op: "AffineGrid", opset: 20, in: list{f([]int{1, 2, 3}, 1, 0, 0, 0, 1, 0), int64s(1, 1, -1, 2)}, err: "a size of [1 1 -1 2]"},

		{op: "DeformConv", opset: 19, in: list{picture, kernel, nowhere}, want: list{f([]int{1, 1, 2, 2}, 2, 4, 6, 8)}},
		// Half a row down, which weighs two rows; below the last one there is nothing.
		{op: "DeformConv", opset: 19, in: list{picture, kernel, f([]int{1, 2, 2, 2}, 0.5, 0.5, 0.5, 0.5, 0, 0, 0, 0)}, want: list{f([]int{1, 1, 2, 2}, 4, 6, 3, 4)}},
		{op: "DeformConv", opset: 19, in: list{picture, kernel, f([]int{1, 2, 2, 2}, -inf, inf, nan, 1e30, 0, 0, 0, 0)}, want: list{f([]int{1, 1, 2, 2}, 0, 0, 0, 0)}},
		{op: "DeformConv", opset: 19, in: list{picture, kernel, nowhere, tensor.Vector[float32](1), f([]int{1, 1, 2, 2}, 0, 1, 0.5, 2)}, want: list{f([]int{1, 1, 2, 2}, 1, 5, 4, 17)}},
		{op: "DeformConv", opset: 19, in: list{picture, kernel, f([]int{1, 1, 2, 2}, 0, 0, 0, 0)}, err: "offsets [1,1,2,2], not [1,2,2,2]"},
		{op: "DeformConv", opset: 19, attrs: graph.Attrs{"offset_group": int64(2)}, in: list{picture, kernel, nowhere}, err: "1 channels in 2 groups of offsets"},
		{op: "DeformConv", opset: 19, attrs: graph.Attrs{"group": int64(2)}, in: list{picture, kernel, nowhere}, err: "in 2 groups for input [1,1,2,2]"},
		{op: "DeformConv", opset: 19, attrs: graph.Attrs{"kernel_shape": []int64{2, 1}}, in: list{picture, kernel, nowhere}, err: "kernel_shape [2 1]"},
		{op: "DeformConv", opset: 19, in: list{picture, kernel, nowhere, tensor.Vector[float32](1, 2)}, err: "a bias float32[2] for 1 filters"},
		{op: "DeformConv", opset: 19, in: list{picture, kernel, nowhere, nil, kernel}, err: "a mask float32[1,1,1,1], not [1,1,2,2]"},

		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{2, 5}, 0, 0, 0, 1, 1, 0, 1, 0, 1, 0)}, want: list{f([]int{2, 1, 1, 1}, 4, 2)}},
		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{1, 5}, 0, 5, 5, 9, 9)}, want: list{f([]int{1, 1, 1, 1}, 0)}},
		{op: "MaxRoiPool", opset: 22, attrs: graph.Attrs{"pooled_shape": []int64{1, 2}, "spatial_scale": float32(0.5)}, in: list{picture, f([]int{1, 5}, 0, 0, 0, 2, 0)}, want: list{f([]int{1, 1, 1, 2}, 1, 2)}},
		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{1, 5}, 1, 0, 0, 1, 1)}, err: "region 0 is of image 1 of 1"},
		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{1, 5}, nan, 0, 0, 1, 1)}, err: "region 0 is of image NaN of 1"},
		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{1, 5}, 0, inf, 0, 1, 1)}, err: "region 0 is at"},
		{op: "MaxRoiPool", opset: 22, in: list{picture, f([]int{1, 5}, 0, 0, 0, 1, 1)}, err: "pooled_shape []"},
		{op: "MaxRoiPool", opset: 22, attrs: pooled, in: list{picture, f([]int{1, 4}, 0, 0, 1, 1)}, err: "regions float32[1,4]"},
	})
}

func run(t *testing.T, cases []operatorCase) {
	for i, c := range cases {
		t.Run(fmt.Sprint(c.op, i), c.run)
	}
}
