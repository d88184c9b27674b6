package native_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// bytesOf returns any numbers of an 8-bit type.
func bytesOf(r *rand.Rand, d tensor.DType, dims ...int) *tensor.Tensor {
	x := tensor.Must(tensor.New(d, dims...))
	for i := range x.Bytes() {
		x.Bytes()[i] = byte(r.Uint32())
	}
	return x
}

// float64Of is cast of a number less its zero point, which broadcasts.
func float64Of(t *testing.T, x, zero *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	return apply(t, 17, node("Sub", nil, []string{"x0", "x1"}, "y0"), cast(t, x, tensor.Float64), cast(t, zero, tensor.Float64))[0]
}

// Products and convolutions of 8-bit integers are what they are in float64, in which they are exact.
func TestIntegerProducts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	types := []tensor.DType{tensor.Int8, tensor.Uint8}
	for range 60 {
		dt, du := types[r.IntN(2)], types[r.IntN(2)]
		m, k, n := 1+r.IntN(5), r.IntN(300), 1+r.IntN(5)
		a, b := bytesOf(r, dt, 2, m, k), bytesOf(r, du, k, n)
		azero, bzero := bytesOf(r, dt), bytesOf(r, du, n)
		wide := azero
		if r.IntN(2) == 0 && m > 1 {
			azero = bytesOf(r, dt, m)
			wide = tensor.Must(azero.Reshape(m, 1))
		}
		got := apply(t, 17, node("MatMulInteger", nil, []string{"x0", "x1", "x2", "x3"}, "y0"), a, b, azero, bzero)[0]
		want := apply(t, 17, node("MatMul", nil, []string{"x0", "x1"}, "y0"), float64Of(t, a, wide), float64Of(t, b, bzero))[0]
		if err := conformance.Alike(got, cast(t, want, tensor.Int32)); err != nil {
			t.Fatalf("MatMulInteger of %v and %v: %v", a.Shape(), b.Shape(), err)
		}

		attrs := graph.Attrs{"pads": []int64{1, 0, 0, 2}, "strides": []int64{1, int64(1 + r.IntN(2))}, "group": int64(1 + r.IntN(2))}
		group := int(attrs.Int("group", 1))
		x, w := bytesOf(r, dt, 2, 2*group, 4, 5), bytesOf(r, du, 2*group, 2, 3, 2)
		xzero, wzero := bytesOf(r, dt), bytesOf(r, du, 2*group)
		filters := tensor.Must(wzero.Reshape(2*group, 1, 1, 1))
		got = apply(t, 17, node("ConvInteger", attrs, []string{"x0", "x1", "x2", "x3"}, "y0"), x, w, xzero, wzero)[0]
		want = apply(t, 17, node("Conv", attrs, []string{"x0", "x1"}, "y0"), float64Of(t, x, xzero), float64Of(t, w, filters))[0]
		if err := conformance.Alike(got, cast(t, want, tensor.Int32)); err != nil {
			t.Fatalf("ConvInteger of %v and %v: %v", x.Shape(), w.Shape(), err)
		}

		// The quantized ones scale that, with a bias.
		scale, bias := make([]float32, 2*group), make([]int32, 2*group)
		for i := range scale {
			scale[i], bias[i] = 0.01+r.Float32(), int32(r.IntN(1000))
		}
		yzero := bytesOf(r, du)
		got = apply(t, 17, node("QLinearConv", attrs, []string{"x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8"}, "y0"),
			x, tensor.Scalar[float32](0.02), xzero, w, tensor.Vector(scale...), wzero, tensor.Scalar[float32](1.7), yzero, tensor.Vector(bias...))[0]
		sums := tensor.Data[float64](want)
		plane := want.Size() / 2 / (2 * group)
		for i, v := range sums {
			f := i / plane % (2 * group)
			sums[i] = (v + float64(bias[f])) * 0.02 * float64(scale[f]) / 1.7
		}
		checkQuantized(t, got, want, cast(t, yzero, tensor.Float64))
	}
}

// TestIntegerSums holds products and convolutions with weights that are constants, which have kernels of their own, against the same ones with weights
// that are inputs, which are computed by the definition: with zero points on both sides, one or one for each column, or none; in groups, and depthwise.
func TestIntegerSums(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	types := []tensor.DType{tensor.Int8, tensor.Uint8}
	for i := range 200 {
		dt, du := types[r.IntN(2)], types[r.IntN(2)]
		n := node("MatMulInteger", nil, nil, "y0")
		shape, columns := []int{1 + r.IntN(3), 1 + r.IntN(70), 1 + r.IntN(300)}, 1+r.IntN(40)
		weights := []int{shape[2], columns}
		if i%2 == 0 {
			groups := 1 + r.IntN(3)
			per, filters := 1+r.IntN(4), 1+r.IntN(20)
			if i%4 == 0 {
				groups, per, filters = 2+r.IntN(3), 1, 1+r.IntN(2)
			}
			n = node("ConvInteger", graph.Attrs{"pads": []int64{1, 0, 2, 1}, "strides": []int64{1, int64(1 + r.IntN(2))}, "group": int64(groups)}, nil, "y0")
			shape, columns = []int{1 + r.IntN(2), groups * per, 3 + r.IntN(9), 3 + r.IntN(9)}, groups*filters
			weights = []int{columns, per, 1 + r.IntN(3), 1 + r.IntN(3)}
		}
		in := list{bytesOf(r, dt, shape...), bytesOf(r, du, weights...)}
		if r.IntN(4) > 0 {
			in = append(in, bytesOf(r, dt))
			switch r.IntN(4) {
			case 0:
				in = append(in, bytesOf(r, du))
			case 1:
				in = append(in, bytesOf(r, du, columns))
			case 2: // small weights, so that they fit into int8 less their zero points
				in = append(in, tensor.Must(tensor.New(du, columns)))
				for _, x := range []*tensor.Tensor{in[1], in[3]} {
					for j, b := range x.Bytes() {
						x.Bytes()[j] = b & 63
					}
				}
			}
		}
		for j := range in {
			n.Inputs = append(n.Inputs, fmt.Sprintf("x%d", j))
		}
		want := apply(t, 17, n, in...)[0]
		b := graph.NewBuilder("sums")
		args := []string{b.Input("x", dt, graph.Dims(shape...)), b.Init("w", in[1])}
		given := list{in[0]}
		for j, x := range in[2:] {
			if j == 0 && r.IntN(2) == 0 {
				args, given = append(args, b.Input("zero", dt, graph.Dims(x.Shape()...))), append(given, x)
				continue
			}
			args = append(args, b.Init(fmt.Sprint("zero", j), x))
		}
		b.Output(b.Name(b.Op(n.OpType, n.Attrs, args...), "y"))
		for _, threads := range []int{1, 3} {
			got, _ := runGraph(t, tensorGraph(b), threads, given...)
			if err := conformance.Alike(got, want); err != nil {
				t.Fatalf("%s of %v %v and %v %v, attributes %v, %d inputs: %v", n.OpType, dt, shape, du, weights, n.Attrs, len(in), err)
			}
		}
	}
}

// checkQuantized compares with exact quotients; what is halfway may go either way.
func checkQuantized(t *testing.T, got, exact, zero *tensor.Tensor) {
	t.Helper()
	low, high := 0.0, 255.0
	if got.DType() == tensor.Int8 {
		low, high = -128, 127
	}
	for i, g := range tensor.Data[float64](cast(t, got, tensor.Float64)) {
		v := tensor.Data[float64](exact)[i] + tensor.Data[float64](zero)[0]
		if math.Abs(g-min(max(v, low), high)) > 0.5001 {
			t.Fatalf("element %d is %v; want about %v", i, g, v)
		}
	}
}

func TestQuantizedOperators(t *testing.T) {
	f := func(v ...float32) *tensor.Tensor { return tensor.Vector(v...) }
	s := func(v float32) *tensor.Tensor { return tensor.Scalar(v) }
	u := func(v uint8) *tensor.Tensor { return tensor.Scalar(v) }
	eye := of[uint8]([]int{2, 2}, 1, 0, 0, 1)
	cases := []operatorCase{
		// A scale for each row of the left side and for each column of the right one; halves to even.
		{op: "QLinearMatMul", in: list{of[uint8]([]int{2, 2}, 1, 2, 3, 4), f(1, 2), u(0), eye, f(1, 0.5), tensor.Vector[uint8](0, 0), s(2), u(10)},
			want: list{of[uint8]([]int{2, 2}, 10, 10, 13, 12)}},
		{op: "QLinearMatMul", in: list{of[int8]([]int{1, 2}, -128, 127), s(1), tensor.Scalar[int8](0), eye, s(2), u(0), s(1), tensor.Scalar[int8](0)},
			want: list{of[int8]([]int{1, 2}, -128, 127)}},
		{op: "QLinearMatMul", opset: 21, in: list{of[uint8]([]int{1, 2}, 3, 4), tensor.Scalar(half(1)), u(1), eye, tensor.Scalar(half(1)), u(0), tensor.Scalar(half(1)), u(0)},
			want: list{of[uint8]([]int{1, 2}, 2, 3)}},
		{op: "QLinearMatMul", in: list{eye, s(1), u(0), eye, s(1), u(0), f(1, 2), u(0)}, err: "must be scalars"},
		{op: "QLinearMatMul", in: list{eye, s(1), u(0), eye, f(1, 2, 3), u(0), s(1), u(0)}, err: "a scale of shape [3]"},
		{op: "QLinearMatMul", in: list{eye, s(1), u(0), eye, s(1), u(0), s(1)}, err: "input 7 is missing"},
		{op: "MatMulInteger", in: list{eye, of[int8]([]int{2, 1}, -1, 3)}, want: list{of[int32]([]int{2, 1}, -1, 3)}},
		{op: "MatMulInteger", in: list{eye, tensor.Vector[int8](-1, 3)}, want: list{tensor.Vector[int32](-1, 3)}},
		{op: "MatMulInteger", in: list{eye, eye, tensor.Scalar[int8](1)}, err: "numbers of uint8 with a zero point of int8"},
		{op: "MatMulInteger", in: list{eye, eye, tensor.Vector[uint8](1, 2, 3)}, err: "a zero point of shape [3]"},
		{op: "MatMulInteger", in: list{of[int32]([]int{1, 1}, 1), eye}, err: "does not support MatMulInteger (int32)"},
		{op: "ConvInteger", in: list{of[uint8]([]int{1, 1, 2}, 1, 2), of[uint8]([]int{1, 1, 3}, 1, 2, 3)}, err: "does not fit"},
		{op: "QLinearConv", in: list{of[uint8]([]int{1, 1, 2}, 1, 2), s(1), u(0), of[uint8]([]int{1, 1, 1}, 3), s(1), u(0), s(1), u(0), f(1)}, err: "the bias is float32"},
	}
	for _, c := range cases {
		t.Run(c.op, c.run)
	}
}

// Every number is divided by the scale of its own place, in tensors of many numbers too: one scale, one for each place of an axis, or for each block.
func TestQuantizePlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		shape := tensor.Shape{1 + r.IntN(4), 1 + r.IntN(40), 1 + r.IntN(30)}
		axis := r.IntN(3)
		attrs, scales := graph.Attrs{"axis": int64(axis)}, tensor.Shape{}
		block := shape[axis]
		switch r.IntN(3) {
		case 0:
			scales = tensor.Shape{shape[axis]}
		case 1:
			block = 1 + r.IntN(block)
			attrs["block_size"], scales = int64(block), shape.Clone()
			scales[axis] = (shape[axis] + block - 1) / block
		}
		scale, zero, x := tensor.Must(tensor.New(tensor.Float32, scales...)), bytesOf(r, tensor.Uint8, scales...), tensor.Must(tensor.New(tensor.Int32, shape...))
		for i := range scale.Size() {
			tensor.Data[float32](scale)[i] = 0.1 + r.Float32()
		}
		bytes := tensor.Must(tensor.New(tensor.Uint8, shape...))
		floats := tensor.Must(tensor.New(tensor.Float8E5M2, shape...))
		for i := range x.Size() {
			at := []int{i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]}
			k := 0
			switch len(scales) {
			case 1:
				k = at[axis]
			case 3:
				at[axis] /= block
				k = (at[0]*scales[1]+at[1])*scales[2] + at[2]
			}
			v := int32(r.IntN(400) - 200)
			tensor.Data[int32](x)[i] = v
			q := float64(float32(v) / tensor.Data[float32](scale)[k])
			bytes.Bytes()[i] = uint8(min(max(math.RoundToEven(q)+float64(zero.Bytes()[k]), 0), 255))
			floats.Bytes()[i] = tensor.SmallOf(tensor.Float8E5M2, q, tensor.Rounding{Saturate: true})
		}
		to := attrs.Clone()
		to["output_dtype"] = int64(tensor.Float8E5M2)
		for _, c := range []struct {
			attrs graph.Attrs
			in    []*tensor.Tensor
			want  *tensor.Tensor
		}{
			{attrs, []*tensor.Tensor{x, scale, zero}, bytes},
			{attrs, []*tensor.Tensor{cast(t, x, tensor.Float32), scale, zero}, bytes},
			{to, []*tensor.Tensor{cast(t, x, tensor.Float32), scale}, floats},
		} {
			got := apply(t, 21, node("QuantizeLinear", c.attrs, []string{"x0", "x1", "x2"}[:len(c.in)], "y0"), c.in...)[0]
			if err := conformance.Alike(got, c.want); err != nil {
				t.Fatalf("%v%v by scales of %v along %d: %v", c.in[0].DType(), shape, scales, axis, err)
			}
		}
	}
}

// What DynamicQuantizeLinear makes of many numbers is what its definition says of each, whatever vectors the processor has; NaN is zero, and so
// are all beside an infinity.
func TestDynamicQuantizeLinear(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for n := range 70 {
		x := make([]float32, n)
		low, high := float32(0), float32(0)
		for i := range x {
			x[i] = float32(r.NormFloat64()*3 + float64(n%5))
			if n%7 == 6 && r.IntN(20) == 0 {
				x[i] = []float32{nan, inf, -inf}[r.IntN(3)]
			}
			low, high = min(low, x[i]), max(high, x[i])
		}
		scale := (high - low) / 255
		if scale == 0 {
			scale = 1
		}
		saturated := func(v float64) float64 {
			if v != v {
				return 0
			}
			return min(max(math.RoundToEven(v), 0), 255)
		}
		zero := saturated(float64(-low / scale))
		got := apply(t, 17, node("DynamicQuantizeLinear", nil, []string{"x0"}, "y0", "y1", "y2"), tensor.Vector(x...))
		if s, z := tensor.Data[float32](got[1])[0], tensor.Data[uint8](got[2])[0]; math.Float32bits(s) != math.Float32bits(scale) && s == s || float64(z) != zero {
			t.Fatalf("of %v the scale is %v and the zero point %d, not %v and %v", x, s, z, scale, zero)
		}
		for i, v := range x {
			if want := saturated(math.RoundToEven(float64(v/scale)) + zero); float64(tensor.Data[uint8](got[0])[i]) != want {
				t.Fatalf("element %d of %v is %d, not %v", i, x, tensor.Data[uint8](got[0])[i], want)
			}
		}
	}
}
