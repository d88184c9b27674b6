package native_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

var smallTypes = []tensor.DType{tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ, tensor.Uint4,
	tensor.Int4, tensor.Float4E2M1, tensor.Float8E8M0, tensor.Uint2, tensor.Int2}

// everyCode has every element of a small type once, in rows of four.
func everyCode(d tensor.DType) *tensor.Tensor {
	n := 1 << d.Bits()
	raw := make([]byte, d.PackedSize(n))
	for i := range n {
		each := 8 / d.Bits()
		raw[i/each] |= byte(i) << (i % each * d.Bits())
	}
	return tensor.Must(tensor.Unpack(d, raw, n/4, 4))
}

// values are the numbers that a tensor of a small type stands for.
func values(x *tensor.Tensor) []float32 {
	out := make([]float32, x.Size())
	for i, b := range x.Bytes() {
		out[i] = tensor.SmallTable(x.DType())[b]
	}
	return out
}

// TestCastSmall casts every code to every numeric type and back, and from numbers of each type.
func TestCastSmall(t *testing.T) {
	to := func(d tensor.DType) graph.Attrs { return graph.Attrs{"to": int64(d)} }
	var cases []operatorCase
	for _, d := range smallTypes {
		all := everyCode(d)
		wide := of(all.Shape(), values(all)...)
		double := tensor.Must(tensor.New(tensor.Float64, all.Shape()...))
		for i, v := range values(all) {
			tensor.Data[float64](double)[i] = float64(v)
		}
		back := all.Clone()
		if d == tensor.Float8E4M3FN || d == tensor.Float8E5M2 {
			for i, v := range values(all) { // of the NaNs, one is made, with its sign; infinities stay with saturate 0
				if v != v {
					back.Bytes()[i] = all.Bytes()[i]&0x80 | map[tensor.DType]byte{tensor.Float8E4M3FN: 0x7f, tensor.Float8E5M2: 0x7e}[d]
				}
			}
		}
		exact := graph.Attrs{"to": int64(d), "saturate": int64(0)}
		cases = append(cases,
			operatorCase{op: "Cast", opset: 25, attrs: to(tensor.Float32), in: list{all}, want: list{wide}},
			operatorCase{op: "Cast", opset: 25, attrs: to(tensor.Float64), in: list{all}, want: list{double}},
			operatorCase{op: "Cast", opset: 25, attrs: exact, in: list{wide}, want: list{back}},
			operatorCase{op: "CastLike", opset: 25, attrs: graph.Attrs{"saturate": int64(0)}, in: list{wide, all}, want: list{back}},
			operatorCase{op: "CastLike", opset: 25, in: list{all, wide}, want: list{wide}},
			operatorCase{op: "Cast", opset: 25, attrs: to(d), in: list{all}, want: list{all}},
		)
	}
	one := func(d tensor.DType) *tensor.Tensor {
		x := tensor.Must(tensor.New(d, 2))
		x.Bytes()[0], x.Bytes()[1] = tensor.SmallOf(d, 1, tensor.Rounding{Saturate: true}), tensor.SmallOf(d, 1, tensor.Rounding{Saturate: true})
		return x
	}
	for _, d := range smallTypes {
		if d == tensor.Int2 { // has a 1 too, but let the range speak: -2 to 1
			cases = append(cases, operatorCase{op: "Cast", opset: 25, attrs: to(d), in: list{tensor.Vector[int32](2, -3, 5)}, want: list{tensor.Vector[tensor.I2](-2, 1, 1)}})
		}
		for _, from := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Float16, tensor.BFloat16, tensor.Int8, tensor.Int16, tensor.Int32,
			tensor.Int64, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64, tensor.Bool} {
			cases = append(cases,
				operatorCase{op: "Cast", opset: 25, attrs: to(d), in: list{cast(t, tensor.Vector[float32](1, 1), from)}, want: list{one(d)}},
				operatorCase{op: "Cast", opset: 25, attrs: to(from), in: list{one(d)}, want: list{cast(t, tensor.Vector[float32](1, 1), from)}})
		}
		for _, from := range smallTypes {
			cases = append(cases, operatorCase{op: "Cast", opset: 25, attrs: to(d), in: list{one(from)}, want: list{one(d)}})
		}
		cases = append(cases, operatorCase{op: "Cast", opset: 25, attrs: to(d), in: list{tensor.Vector("1", "1e0")}, want: list{one(d)}})
	}
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	hard := tensor.Vector(0.47892547, 1e6, 1e-7, nan, inf, -inf, -1e-7, -1e6)
	cases = append(cases,
		operatorCase{op: "Cast", opset: 19, attrs: to(tensor.Float8E4M3FN), in: list{hard}, want: list{tensor.Vector[tensor.E4M3FN](0x2f, 0x7e, 0, 0x7f, 0x7e, 0xfe, 0x80, 0xfe)}},
		operatorCase{op: "Cast", opset: 19, attrs: graph.Attrs{"to": int64(tensor.Float8E4M3FN), "saturate": int64(0)}, in: list{hard},
			want: list{tensor.Vector[tensor.E4M3FN](0x2f, 0x7f, 0, 0x7f, 0x7f, 0xff, 0x80, 0xff)}},
		operatorCase{op: "Cast", opset: 19, attrs: graph.Attrs{"to": int64(tensor.Float8E5M2), "saturate": int64(0)}, in: list{hard},
			want: list{tensor.Vector[tensor.E5M2](0x38, 0x7c, 0, 0x7e, 0x7c, 0xfc, 0x80, 0xfc)}},
		operatorCase{op: "Cast", opset: 24, attrs: graph.Attrs{"to": int64(tensor.Float8E8M0), "round_mode": "down"}, in: list{tensor.Vector[float32](0, 1.9, 3)},
			want: list{tensor.Vector[tensor.E8M0](0, 127, 128)}},
		operatorCase{op: "Cast", opset: 24, attrs: graph.Attrs{"to": int64(tensor.Float8E8M0), "round_mode": "sideways"}, in: list{hard}, err: `round_mode is "sideways"`},
		operatorCase{op: "Cast", opset: 25, attrs: to(tensor.Int4), in: list{tensor.Vector("x")}, err: "invalid syntax"},
		operatorCase{op: "Cast", opset: 25, attrs: to(tensor.Uint4), in: list{tensor.Vector[float32](-9, -1, 16, 2.5, 3.5)}, want: list{tensor.Vector[tensor.U4](7, 15, 0, 2, 4)}},
		operatorCase{op: "Cast", opset: 25, attrs: to(tensor.String), in: list{tensor.Vector[tensor.I4](-8, 7)}, want: list{tensor.Vector("-8", "7")}},
		operatorCase{op: "BitCast", opset: 26, attrs: to(tensor.Uint4), in: list{tensor.Vector[tensor.I4](-8, -1, 7)}, want: list{tensor.Vector[tensor.U4](8, 15, 7)}},
		operatorCase{op: "BitCast", opset: 26, attrs: to(tensor.Int4), in: list{tensor.Vector[tensor.E2M1](8, 15, 7)}, want: list{tensor.Vector[tensor.I4](-8, -1, 7)}},
		operatorCase{op: "BitCast", opset: 26, attrs: to(tensor.Float8E5M2), in: list{tensor.Vector[uint8](0x7c)}, want: list{tensor.Vector[tensor.E5M2](0x7c)}},
		operatorCase{op: "BitCast", opset: 26, attrs: to(tensor.Uint8), in: list{tensor.Vector[tensor.I4](1, 2)}, err: "int4 has 4 bits, uint8 8"},
	)
	run(t, cases)
}

// TestSmallInferred: what package infer says of a quantization's types is what the kernels give, which output_dtype names.
func TestSmallInferred(t *testing.T) {
	for _, c := range []struct {
		n    *graph.Node
		want tensor.DType
	}{
		{node("QuantizeLinear", graph.Attrs{"output_dtype": int64(tensor.Int2)}, []string{"x", "s"}, "y"), tensor.Int2},
		{node("QuantizeLinear", nil, []string{"x", "s", "z"}, "y"), tensor.Uint4},
		{node("DequantizeLinear", graph.Attrs{"output_dtype": int64(tensor.BFloat16)}, []string{"z", "s"}, "y"), tensor.BFloat16},
		{node("DequantizeLinear", nil, []string{"z", "s"}, "y"), tensor.Float32},
		{node("Cast", graph.Attrs{"to": int64(tensor.Float8E8M0)}, []string{"x"}, "y"), tensor.Float8E8M0},
		{node("CastLike", nil, []string{"x", "z"}, "y"), tensor.Uint4},
	} {
		g := &graph.Graph{
			Opset: map[string]int64{"": 25}, Nodes: []*graph.Node{c.n}, Outputs: []graph.Value{{Name: "y"}},
			Initializers: []graph.Initializer{{Name: "s", Tensor: tensor.Scalar[float32](1)}, {Name: "z", Tensor: tensor.Scalar[tensor.U4](2)}},
			Inputs:       []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{}}},
		}
		inferred := g.Clone()
		if err := infer.Shapes(inferred); err != nil || inferred.Outputs[0].DType != c.want {
			t.Errorf("%s: inferred %v (%v), want %v", c.n.OpType, inferred.Outputs[0].DType, err, c.want)
		}
		out := make([]*tensor.Tensor, 1)
		if err := open(t, g, 1).Run(t.Context(), list{tensor.Scalar[float32](3)}, out); err != nil || out[0].DType() != c.want {
			t.Errorf("%s: computed %v (%v), want %v", c.n.OpType, out[0], err, c.want)
		}
	}
}

// TestMoveSmall moves elements of each small type as the same moves move the numbers of their places.
func TestMoveSmall(t *testing.T) {
	for _, d := range smallTypes {
		x := tensor.Must(tensor.New(d, 2, 3))
		for i := range x.Bytes() {
			x.Bytes()[i] = tensor.SmallOfInteger(tensor.Uint2, byte(i))
			if d == tensor.Int2 {
				x.Bytes()[i] = tensor.SmallOfInteger(d, byte(i))
			}
		}
		at := func(shape []int, places ...int) *tensor.Tensor {
			y := tensor.Must(tensor.New(d, shape...))
			for i, p := range places {
				y.Bytes()[i] = x.Bytes()[p]
			}
			return y
		}
		zero := func(y *tensor.Tensor, places ...int) *tensor.Tensor {
			for _, p := range places {
				y.Bytes()[p] = 0
			}
			return y
		}
		fill := at([]int{1}, 1)
		run(t, []operatorCase{
			{op: "Identity", opset: 25, in: list{x}, want: list{x}},
			{op: "Constant", opset: 25, attrs: graph.Attrs{"value": x}, want: list{x}},
			{op: "ConstantOfShape", opset: 25, attrs: graph.Attrs{"value": fill}, in: list{int64s(2, 2)}, want: list{at([]int{2, 2}, 1, 1, 1, 1)}},
			{op: "Reshape", opset: 25, in: list{x, int64s(3, 2)}, want: list{at([]int{3, 2}, 0, 1, 2, 3, 4, 5)}},
			{op: "Flatten", opset: 25, in: list{x}, want: list{x}},
			{op: "Unsqueeze", opset: 25, in: list{x, int64s(0)}, want: list{at([]int{1, 2, 3}, 0, 1, 2, 3, 4, 5)}},
			{op: "Squeeze", opset: 25, in: list{at([]int{1, 2}, 4, 5)}, want: list{at([]int{2}, 4, 5)}},
			{op: "Transpose", opset: 25, in: list{x}, want: list{at([]int{3, 2}, 0, 3, 1, 4, 2, 5)}},
			{op: "Slice", opset: 13, in: list{x, int64s(1), int64s(3), int64s(1)}, want: list{at([]int{2, 2}, 1, 2, 4, 5)}},
			{op: "Concat", opset: 13, attrs: graph.Attrs{"axis": int64(1)}, in: list{x, at([]int{2, 1}, 5, 0)}, want: list{at([]int{2, 4}, 0, 1, 2, 5, 3, 4, 5, 0)}},
			{op: "Gather", opset: 13, attrs: graph.Attrs{"axis": int64(1)}, in: list{x, int64s(2, 0)}, want: list{at([]int{2, 2}, 2, 0, 5, 3)}},
			{op: "Split", opset: 18, attrs: graph.Attrs{"axis": int64(1)}, in: list{x, int64s(1, 2)}, want: list{at([]int{2, 1}, 0, 3), at([]int{2, 2}, 1, 2, 4, 5)}},
			{op: "Expand", opset: 13, in: list{at([]int{1, 2}, 1, 2), int64s(2, 2)}, want: list{at([]int{2, 2}, 1, 2, 1, 2)}},
			{op: "Tile", opset: 13, in: list{at([]int{2}, 1, 2), int64s(2)}, want: list{at([]int{4}, 1, 2, 1, 2)}},
			{op: "Pad", opset: 25, in: list{at([]int{2}, 1, 2), int64s(1, 1)}, want: list{zero(at([]int{4}, 0, 1, 2, 0), 0, 3)}},
			{op: "Pad", opset: 25, in: list{at([]int{2}, 1, 2), int64s(1, 0), at([]int{}, 3)}, want: list{at([]int{3}, 3, 1, 2)}},
			{op: "Shape", opset: 25, in: list{x}, want: list{int64s(2, 3)}},
			{op: "Size", opset: 25, in: list{x}, want: list{tensor.Scalar[int64](6)}},
		})
		t.Run(fmt.Sprintf("%v in bodies", d), func(t *testing.T) { smallBodies(t, d, x) })
	}
}

// smallBodies passes a tensor through If, Loop and Scan.
func smallBodies(t *testing.T, d tensor.DType, x *tensor.Tensor) {
	value := func(name string, d tensor.DType, dims ...int) graph.Value {
		return graph.Value{Name: name, DType: d, Shape: graph.Dims(dims...)}
	}
	same := func(out string) *graph.Graph {
		return &graph.Graph{Nodes: []*graph.Node{node("Identity", nil, []string{"x"}, out)}, Outputs: []graph.Value{value(out, d, 2, 3)}}
	}
	body := &graph.Graph{
		Inputs:  []graph.Value{value("i", tensor.Int64), value("c", tensor.Bool), value("v", d, 2, 3)},
		Nodes:   []*graph.Node{node("Identity", nil, []string{"c"}, "c2"), node("Identity", nil, []string{"v"}, "v2"), node("Identity", nil, []string{"v"}, "s")},
		Outputs: []graph.Value{value("c2", tensor.Bool), value("v2", d, 2, 3), value("s", d, 2, 3)},
	}
	scan := &graph.Graph{
		Inputs:  []graph.Value{value("r", d, 3)},
		Nodes:   []*graph.Node{node("Identity", nil, []string{"r"}, "r2")},
		Outputs: []graph.Value{value("r2", d, 3)},
	}
	twice := tensor.Must(tensor.Concat(tensor.Must(x.Reshape(1, 2, 3)), tensor.Must(x.Reshape(1, 2, 3))))
	g := &graph.Graph{
		Opset:        map[string]int64{"": 25},
		Initializers: []graph.Initializer{{Name: "two", Tensor: tensor.Scalar[int64](2)}, {Name: "yes", Tensor: tensor.Scalar(true)}},
		Inputs:       []graph.Value{value("x", d, 2, 3), {Name: "which", DType: tensor.Bool, Shape: graph.Shape{}}},
		Nodes: []*graph.Node{
			node("If", graph.Attrs{"then_branch": same("a"), "else_branch": same("b")}, []string{"which"}, "y"),
			node("Loop", graph.Attrs{"body": body}, []string{"two", "yes", "y"}, "z", "zs"),
			node("Scan", graph.Attrs{"body": scan, "num_scan_inputs": int64(1)}, []string{"z"}, "rows"),
		},
		Outputs: []graph.Value{{Name: "zs"}, {Name: "rows"}},
	}
	s := open(t, g, 1)
	out := make([]*tensor.Tensor, 2)
	if err := s.Run(t.Context(), list{x, tensor.Scalar(false)}, out); err != nil {
		t.Fatal(err)
	}
	for i, want := range []*tensor.Tensor{twice, x} {
		if out[i].DType() != d || !out[i].Shape().Equal(want.Shape()) || string(out[i].Bytes()) != string(want.Bytes()) {
			t.Errorf("output %d is %v, want %v", i, out[i], want)
		}
	}
}

// TestQuantizeSmall holds quantization to small types against what each number is by the formula.
func TestQuantizeSmall(t *testing.T) {
	f := func(v ...float32) *tensor.Tensor { return tensor.Vector(v...) }
	s := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	as := func(d tensor.DType) graph.Attrs { return graph.Attrs{"output_dtype": int64(d)} }
	blocks := graph.Attrs{"axis": int64(1), "block_size": int64(2)}
	e := func(v ...tensor.E8M0) *tensor.Tensor { return tensor.Vector(v...) }
	x := of([]int{2, 3}, 1, 2, 3, -4, 5, float32(-6))
	run(t, []operatorCase{
		{op: "QuantizeLinear", opset: 21, in: list{f(-100, -9, 0.5, 1.5, 7, 100), s(1), tensor.Scalar[tensor.I4](1)}, want: list{tensor.Vector[tensor.I4](-8, -8, 1, 3, 7, 7)}},
		{op: "QuantizeLinear", opset: 21, attrs: as(tensor.Uint4), in: list{f(-1, 3, 40), s(2)}, want: list{tensor.Vector[tensor.U4](0, 2, 15)}},
		{op: "QuantizeLinear", opset: 25, attrs: as(tensor.Int2), in: list{f(-5, -1, 0.4, 9), s(1)}, want: list{tensor.Vector[tensor.I2](-2, -1, 0, 1)}},
		{op: "QuantizeLinear", opset: 25, in: list{f(-5, 0, 0.6, 9), s(1), tensor.Scalar[tensor.U2](1)}, want: list{tensor.Vector[tensor.U2](0, 1, 2, 3)}},
		{op: "QuantizeLinear", opset: 19, in: list{f(0, 1, 2, 100000, 200), s(2), tensor.Scalar[tensor.E4M3FN](0)}, want: list{tensor.Vector[tensor.E4M3FN](0, 0x30, 0x38, 0x7e, 0x6c)}},
		{op: "QuantizeLinear", opset: 19, attrs: graph.Attrs{"saturate": int64(0)}, in: list{f(1, 1e6), s(1), tensor.Scalar[tensor.E5M2](0)}, want: list{tensor.Vector[tensor.E5M2](0x3c, 0x7c)}},
		{op: "QuantizeLinear", opset: 23, attrs: as(tensor.Float4E2M1), in: list{f(0, 2.4, -5, 30), s(2)}, want: list{tensor.Vector[tensor.E2M1](0, 2, 12, 7)}},
		{op: "QuantizeLinear", opset: 23, attrs: graph.Attrs{"axis": int64(1), "block_size": int64(2), "output_dtype": int64(tensor.Float4E2M1)},
			in: list{x, tensor.Must(tensor.Of([]tensor.E8M0{127, 128, 129, 128}, 2, 2))}, want: list{of([]int{2, 3}, []tensor.E2M1{2, 4, 3, 10, 2, 13}...)}},
		{op: "QuantizeLinear", opset: 25, attrs: as(tensor.Float8E8M0), in: list{f(1), s(1)}, err: "quantization to float8e8m0"},
		{op: "QuantizeLinear", opset: 21, attrs: as(tensor.Uint4), in: list{f(1), s(1), tensor.Scalar[tensor.I4](0)}, err: "output_dtype is 21, the zero point int4"},
		{op: "QuantizeLinear", opset: 23, attrs: graph.Attrs{"precision": int64(tensor.Float16), "output_dtype": int64(tensor.Uint16)}, in: list{f(2049), s(1)}, want: list{tensor.Vector[uint16](2048)}},

		// 1*2 + 0.5*4 by the scales 2 and 3, over 4, and what is too large.
		{op: "QLinearMatMul", opset: 21, in: list{of([]int{2, 2}, []tensor.E4M3FN{0x38, 0x30, 0x7e, 0}...), s(2), tensor.Scalar[tensor.E4M3FN](0),
			of([]int{2, 1}, []tensor.E5M2{0x40, 0x44}...), s(3), tensor.Scalar[tensor.E5M2](0), s(4), tensor.Scalar[tensor.E4M3FN](0)},
			want: list{of([]int{2, 1}, []tensor.E4M3FN{0x4c, 0x7e}...)}},
		{op: "QLinearMatMul", opset: 21, in: list{of([]int{1, 1}, tensor.E4M3FN(0x38)), s(2), tensor.Scalar[tensor.E4M3FN](1),
			of([]int{1, 1}, tensor.E4M3FN(0x38)), s(3), tensor.Scalar[tensor.E4M3FN](0), s(4), tensor.Scalar[tensor.E4M3FN](0)}, err: "a zero point of float8 that is not 0"},
		{op: "QLinearMatMul", opset: 21, in: list{of([]int{1, 1}, tensor.E4M3FNUZ(0x40)), s(2), tensor.Scalar[tensor.E4M3FNUZ](0x80), // NaN
			of([]int{1, 1}, tensor.E4M3FNUZ(0x40)), s(3), tensor.Scalar[tensor.E4M3FNUZ](0), s(4), tensor.Scalar[tensor.E4M3FNUZ](0)}, err: "a zero point of float8 that is not 0"},
		{op: "QLinearMatMul", opset: 21, in: list{of([]int{1, 1}, tensor.E4M3FN(0x38)), s(2), tensor.Scalar[tensor.E4M3FN](0),
			of([]int{1, 1}, tensor.E4M3FN(0x38)), s(3), tensor.Scalar[tensor.E4M3FN](0), s(4), tensor.Scalar[uint8](0)}, err: "numbers of float8e4m3fn for a result of uint8"},
		{op: "IsNaN", opset: 20, in: list{tensor.Vector[tensor.E4M3FN](0x7f, 0x7e)}, want: list{tensor.Vector(true, false)}},
		{op: "IsInf", opset: 20, attrs: graph.Attrs{"detect_negative": int64(0)}, in: list{tensor.Vector[tensor.E5M2](0x7c, 0xfc, 0x7d)}, want: list{tensor.Vector(true, false, false)}},

		{op: "DequantizeLinear", opset: 21, in: list{tensor.Vector[tensor.I4](-8, 7), s(0.5), tensor.Scalar[tensor.I4](1)}, want: list{f(-4.5, 3)}},
		{op: "DequantizeLinear", opset: 21, in: list{tensor.Vector[tensor.U4](0, 15), s(2)}, want: list{f(0, 30)}},
		{op: "DequantizeLinear", opset: 25, in: list{tensor.Vector[tensor.I2](-2, 1), s(2), tensor.Scalar[tensor.I2](-1)}, want: list{f(-2, 4)}},
		{op: "DequantizeLinear", opset: 25, in: list{tensor.Vector[tensor.U2](0, 3), s(2)}, want: list{f(0, 6)}},
		{op: "DequantizeLinear", opset: 19, in: list{tensor.Vector[tensor.E4M3FN](0x7e, 0x38), s(2), tensor.Scalar[tensor.E4M3FN](0)}, want: list{f(896, 2)}},
		{op: "DequantizeLinear", opset: 23, in: list{tensor.Vector[tensor.E2M1](1, 15), s(2)}, want: list{f(1, -12)}},
		{op: "DequantizeLinear", opset: 23, attrs: graph.Attrs{"output_dtype": int64(tensor.Float16)}, in: list{tensor.Vector[tensor.E5M2](0x3c), e(128)}, want: list{tensor.Vector(half(2))}},
		{op: "DequantizeLinear", opset: 21, attrs: blocks, in: list{of([]int{2, 3}, []tensor.I4{1, 2, 3, -4, 5, -6}...), of([]int{2, 2}, float32(1), 10, 2, 3)},
			want: list{of([]int{2, 3}, float32(1), 2, 30, -8, 10, -18)}},
		{op: "DequantizeLinear", opset: 21, in: list{tensor.Vector[tensor.I4](1), s(1), tensor.Scalar[tensor.U4](0)}, err: "input 0 is int4, the zero point uint4"},
	})
}
