package tensorflow_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/tensor"
)

// elementType is one of TensorFlow's types of numbers, or its booleans.
type elementType struct {
	name     string
	signed   bool
	float    bool
	low, top float64 // the ends of integers, as far as a float64 has them
	of       func(v []float64) *tensor.Tensor
}

func numbersOf[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](v []float64) *tensor.Tensor {
	return convert(v, func(x float64) T { return T(int64(x)) })
}

var elementTypes = []elementType{
	{"DT_FLOAT", true, true, 0, 0, floatKinds[0].of}, {"DT_DOUBLE", true, true, 0, 0, floatKinds[1].of},
	{"DT_HALF", true, true, 0, 0, floatKinds[2].of}, {"DT_BFLOAT16", true, true, 0, 0, floatKinds[3].of},
	{"DT_INT8", true, false, -128, 127, numbersOf[int8]}, {"DT_INT16", true, false, -32768, 32767, numbersOf[int16]},
	{"DT_INT32", true, false, -1 << 31, 1<<31 - 1, numbersOf[int32]}, {"DT_INT64", true, false, -1 << 63, 1 << 63, numbersOf[int64]},
	{"DT_UINT8", false, false, 0, 255, numbersOf[uint8]}, {"DT_UINT16", false, false, 0, 65535, numbersOf[uint16]},
	{"DT_UINT32", false, false, 0, 1<<32 - 1, numbersOf[uint32]}, {"DT_UINT64", false, false, 0, 1 << 64, numbersOf[uint64]},
	{"DT_BOOL", false, false, 0, 1, func(v []float64) *tensor.Tensor { return convert(v, func(x float64) bool { return x != 0 }) }},
}

// ints32 is a constant list in the text form.
func ints32(name string, v ...int) string {
	return constText(name, "DT_INT32", []int{len(v)}, "int_val: ["+strings.Trim(strings.ReplaceAll(fmt.Sprint(v), " ", ","), "[]")+"]")
}

func int32Scalar(name string, v int) string {
	return constText(name, "DT_INT32", nil, fmt.Sprint("int_val: ", v))
}

// Every operator that only moves elements, and the common ones that compare or sum them, on every type of TensorFlow's.
func TestElementTypes(t *testing.T) {
	for _, e := range elementTypes {
		x := []float64{3, 1, 3, 0, 2, 3, 1, 0, 0, 2, 2, 1}
		if e.name == "DT_BOOL" {
			x = []float64{1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 1}
		}
		if e.signed {
			x[1], x[3] = -1, -5
		}
		in, err := e.of(x).Reshape(3, 4)
		if err != nil {
			t.Fatal(err)
		}
		at := func(places ...int) []float64 {
			out := make([]float64, len(places))
			for i, p := range places {
				if p >= 0 {
					out[i] = x[p]
				}
			}
			return out
		}
		T := "type: " + e.name
		tests := []struct {
			op, nodes string
			in        []string
			attrs     []string
			output    string
			shape     []int
			want      []float64
			numbers   bool // not of booleans
		}{
			{op: "GatherV2", nodes: ints32("i", 2, 0, 2) + int32Scalar("axis", 0), in: []string{"x", "i", "axis"}, attrs: []string{"Tparams", T, "Tindices", "type: DT_INT32", "Taxis", "type: DT_INT32"},
				shape: []int{3, 4}, want: at(8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11)},
			{op: "ConcatV2", nodes: int32Scalar("axis", -1), in: []string{"x", "x", "axis"}, attrs: []string{"N", "i: 2", "Tidx", "type: DT_INT32"}, shape: []int{3, 8},
				want: at(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11)},
			{op: "Pack", in: []string{"x", "x"}, attrs: []string{"N", "i: 2", "axis", "i: 1"}, shape: []int{3, 2, 4}, want: at(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11)},
			{op: "Transpose", nodes: ints32("p", 1, 0), in: []string{"x", "p"}, attrs: []string{"Tperm", "type: DT_INT32"}, shape: []int{4, 3}, want: at(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11)},
			{op: "ReverseV2", nodes: ints32("axes", 1), in: []string{"x", "axes"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{3, 4}, want: at(3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8)},
			{op: "Tile", nodes: ints32("n", 1, 2), in: []string{"x", "n"}, attrs: []string{"Tmultiples", "type: DT_INT32"}, shape: []int{3, 8},
				want: at(0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7, 4, 5, 6, 7, 8, 9, 10, 11, 8, 9, 10, 11)},
			{op: "Pad", nodes: constText("p", "DT_INT32", []int{2, 2}, "int_val: [1, 0, 0, 1]"), in: []string{"x", "p"}, attrs: []string{"Tpaddings", "type: DT_INT32"}, shape: []int{4, 5},
				want: at(-1, -1, -1, -1, -1, 0, 1, 2, 3, -1, 4, 5, 6, 7, -1, 8, 9, 10, 11, -1)},
			{op: "MirrorPad", nodes: constText("p", "DT_INT32", []int{2, 2}, "int_val: [0, 0, 2, 1]"), in: []string{"x", "p"}, attrs: []string{"Tpaddings", "type: DT_INT32", "mode", `s: "SYMMETRIC"`}, shape: []int{3, 7},
				want: at(1, 0, 0, 1, 2, 3, 3, 5, 4, 4, 5, 6, 7, 7, 9, 8, 8, 9, 10, 11, 11)},
			{op: "Slice", nodes: ints32("b", 1, 1) + ints32("s", -1, 2), in: []string{"x", "b", "s"}, attrs: []string{"Index", "type: DT_INT32"}, shape: []int{2, 2}, want: at(5, 6, 9, 10)},
			{op: "Split", nodes: int32Scalar("axis", 1), in: []string{"axis", "x"}, attrs: []string{"num_split", "i: 2"}, output: "out:1", shape: []int{3, 2}, want: at(2, 3, 6, 7, 10, 11)},
			{op: "Unpack", in: []string{"x"}, attrs: []string{"num", "i: 4", "axis", "i: 1"}, output: "out:2", shape: []int{3}, want: at(2, 6, 10)},
			{op: "ExpandDims", nodes: int32Scalar("axis", -1), in: []string{"x", "axis"}, attrs: []string{"Tdim", "type: DT_INT32"}, shape: []int{3, 4, 1}, want: x},
			{op: "BroadcastTo", nodes: ints32("s", 2, 3, 4), in: []string{"x", "s"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{2, 3, 4}, want: append(append([]float64{}, x...), x...)},
			{op: "GatherNd", nodes: constText("i", "DT_INT32", []int{2, 2}, "int_val: [2, 3, 0, 0]"), in: []string{"x", "i"}, attrs: []string{"Tparams", T, "Tindices", "type: DT_INT32"}, shape: []int{2}, want: at(11, 0)},
			{op: "SelectV2", nodes: constText("c", "DT_BOOL", []int{4}, "bool_val: [true, false, false, true]") + nodeText("z", "ZerosLike", []string{"x"}, "T", T), in: []string{"c", "x", "z"}, shape: []int{3, 4},
				want: at(0, -1, -1, 3, 4, -1, -1, 7, 8, -1, -1, 11)},
			{op: "Select", nodes: constText("c", "DT_BOOL", []int{3}, "bool_val: [true, false, true]") + nodeText("z", "OnesLike", []string{"x"}, "T", T) + nodeText("z2", "ZerosLike", []string{"x"}, "T", T), in: []string{"c", "x", "z2"}, shape: []int{3, 4},
				want: at(0, 1, 2, 3, -1, -1, -1, -1, 8, 9, 10, 11)},
			{op: "OneHot", nodes: ints32("i", 1, -1, 3, 0) + int32Scalar("depth", 3) + nodeText("c", "Reshape", []string{"x", "flat"}, "T", T, "Tshape", "type: DT_INT32") + ints32("flat", -1) +
				nodeText("on", "StridedSlice", []string{"c", "b0", "e0", "s0"}, "T", T, "Index", "type: DT_INT32", "shrink_axis_mask", "i: 1") + ints32("b0", 0) + ints32("e0", 1) + ints32("s0", 1) +
				nodeText("off", "StridedSlice", []string{"c", "b1", "e1", "s0"}, "T", T, "Index", "type: DT_INT32", "shrink_axis_mask", "i: 1") + ints32("b1", 7) + ints32("e1", 8),
				in: []string{"i", "depth", "on", "off"}, attrs: []string{"TI", "type: DT_INT32"}, shape: []int{4, 3}, want: at(7, 0, 7, 7, 7, 7, 7, 7, 7, 0, 7, 7)},
			{op: "Equal", nodes: nodeText("r", "ReverseV2", []string{"x", "axes"}, "T", T, "Tidx", "type: DT_INT32") + ints32("axes", 0), in: []string{"x", "r"}, shape: []int{3, 4}, want: equalPlaces(x)},
			{op: "Max", nodes: ints32("axes", 0), in: []string{"x", "axes"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{4}, want: columns(x, math.Max), numbers: true},
			{op: "Min", nodes: ints32("axes", 0), in: []string{"x", "axes"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{4}, want: columns(x, math.Min), numbers: true},
			{op: "Sum", nodes: ints32("axes", 0), in: []string{"x", "axes"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{4}, want: columns(x, func(a, b float64) float64 { return a + b }), numbers: true},
			{op: "Prod", nodes: ints32("axes", 0), in: []string{"x", "axes"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{4}, want: columns(x, func(a, b float64) float64 { return a * b }), numbers: true},
			{op: "Cumsum", nodes: int32Scalar("axis", 0), in: []string{"x", "axis"}, attrs: []string{"Tidx", "type: DT_INT32", "exclusive", "b: true", "reverse", "b: true"}, shape: []int{3, 4},
				want: []float64{x[4] + x[8], x[5] + x[9], x[6] + x[10], x[7] + x[11], x[8], x[9], x[10], x[11], 0, 0, 0, 0}, numbers: true},
			{op: "ArgMax", nodes: int32Scalar("axis", 1), in: []string{"x", "axis"}, attrs: []string{"Tidx", "type: DT_INT32"}, shape: []int{3}, want: []float64{0, 1, 1}, numbers: true},
			{op: "ArgMin", nodes: int32Scalar("axis", 0), in: []string{"x", "axis"}, attrs: []string{"Tidx", "type: DT_INT32", "output_type", "type: DT_INT32"}, shape: []int{4}, want: argMins(x), numbers: true},
			{op: "TopKV2", nodes: int32Scalar("k", 3), in: []string{"x", "k"}, output: "out:1", shape: []int{3, 3}, want: []float64{0, 2, 1, 1, 0, 2, 1, 2, 3}, numbers: true},
			{op: "ScatterNd", nodes: constText("i", "DT_INT32", []int{3, 1}, "int_val: [4, 1, 4]") + ints32("s", 6), in: []string{"i", "x", "s"}, attrs: []string{"Tindices", "type: DT_INT32"}, shape: []int{6, 4},
				want: []float64{0, 0, 0, 0, x[4], x[5], x[6], x[7], 0, 0, 0, 0, 0, 0, 0, 0, x[0] + x[8], x[1] + x[9], x[2] + x[10], x[3] + x[11], 0, 0, 0, 0}, numbers: true},
		}
		for _, tt := range tests {
			if tt.numbers && e.name == "DT_BOOL" {
				continue
			}
			t.Run(tt.op+" of "+e.name, func(t *testing.T) {
				shape, output := tt.shape, tt.output
				if output == "" {
					output = "out:0"
				}
				if tt.op == "ScatterNd" { // its shape has one number for each axis
					tt.nodes = strings.Replace(tt.nodes, ints32("s", 6), ints32("s", 6, 4), 1)
				}
				text := placeholderText("x", e.name, 3, 4) + tt.nodes + nodeText("out", tt.op, tt.in, append(tt.attrs, "T", T)...)
				checkOutput(t, tt.op+" of "+e.name, text, map[string]*tensor.Tensor{"x:0": in}, output, shape, tt.want)
			})
		}
	}
}

func columns(x []float64, join func(a, b float64) float64) []float64 {
	out := append([]float64{}, x[:4]...)
	for i, v := range x[4:] {
		out[i%4] = join(out[i%4], v)
	}
	return out
}

func argMins(x []float64) []float64 {
	out := make([]float64, 4)
	for c := range 4 {
		for r := range 3 {
			if x[4*r+c] < x[4*int(out[c])+c] {
				out[c] = float64(r)
			}
		}
	}
	return out
}

func equalPlaces(x []float64) []float64 {
	out := make([]float64, 12)
	for i := range out {
		out[i] = truth(x[i] == x[(2-i/4)*4+i%4])
	}
	return out
}

// Casts between any two types: floats to integers go towards zero, integers wrap.
func TestCasts(t *testing.T) {
	for _, from := range elementTypes {
		x := []float64{0, 1, 2, 77, 100, 127}
		if from.name == "DT_BOOL" {
			x = []float64{0, 1}
		}
		if from.signed {
			x = append(x, -1, -2, -100)
		}
		if from.float {
			x = append(x, 0.5, 1.5, 2.75, 99.5)
		}
		for _, to := range elementTypes {
			var given, want []float64
			for _, v := range x {
				w := v
				switch {
				case to.name == "DT_BOOL":
					w = truth(v != 0)
				case !to.float:
					w = math.Trunc(v)
					if w < 0 && !to.signed {
						if from.float {
							continue // not defined
						}
						w += to.top + 1
						if to.name == "DT_UINT64" {
							w = 1<<64 + v
						}
					}
				}
				given, want = append(given, v), append(want, w)
			}
			text := placeholderText("x", from.name, -1) + nodeText("out", "Cast", []string{"x"}, "SrcT", "type: "+from.name, "DstT", "type: "+to.name)
			name := "Cast of " + from.name + " to " + to.name
			rounded := make([]float64, len(want))
			for i, r := 0, to.of(want); i < len(want); i++ {
				if rounded[i] = numberAt(r, i); to.name == "DT_UINT64" || to.name == "DT_UINT32" {
					rounded[i] = want[i]
				}
			}
			checkOutput(t, name, text, map[string]*tensor.Tensor{"x:0": from.of(given)}, "out:0", []int{len(want)}, rounded)
		}
	}
}
