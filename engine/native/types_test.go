package native_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// cast converts a tensor by the engine itself, whose Cast ONNX's cases hold.
func cast(t *testing.T, x *tensor.Tensor, to tensor.DType) *tensor.Tensor {
	t.Helper()
	return apply(t, 17, node("Cast", graph.Attrs{"to": int64(to)}, []string{"x0"}, "y0"), x)[0]
}

// apply runs one operator.
func apply(t *testing.T, opset int64, n *graph.Node, in ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	out, err := tryApply(t, opset, n, in...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryApply(t *testing.T, opset int64, n *graph.Node, in ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	g := &graph.Graph{Opset: map[string]int64{"": opset, n.Domain: opset}, Nodes: []*graph.Node{n}}
	for i, x := range in {
		g.Inputs = append(g.Inputs, value(fmt.Sprintf("x%d", i), x.DType(), x.Shape()...))
	}
	for _, name := range n.Outputs {
		g.Outputs = append(g.Outputs, graph.Value{Name: name})
	}
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Threads: 2})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	out := make([]*tensor.Tensor, len(g.Outputs))
	return out, s.Run(t.Context(), in, out)
}

var (
	floatTypes  = []tensor.DType{tensor.Float16, tensor.BFloat16, tensor.Float32, tensor.Float64}
	signedTypes = append([]tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64}, floatTypes...)
	allNumbers  = append([]tensor.DType{tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64}, signedTypes...)
	wideNumbers = append([]tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64}, floatTypes...)
)

// TestTypes runs operators in every type that ONNX allows them, and compares with float64.
func TestTypes(t *testing.T) {
	vec := func(dims ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Float64, dims...))
		for i := range tensor.Data[float64](x) {
			tensor.Data[float64](x)[i] = float64(i*5%7 + 1) // whole, so that each type has them
		}
		return x
	}
	small := vec(2, 3)
	for _, c := range []struct {
		op    string
		attrs graph.Attrs
		types []tensor.DType
		in    []*tensor.Tensor
		outs  int
	}{
		{op: "Add", types: allNumbers, in: []*tensor.Tensor{small, vec(3)}},
		{op: "Sub", types: signedTypes, in: []*tensor.Tensor{small, vec(2, 1)}},
		{op: "Mul", types: allNumbers, in: []*tensor.Tensor{small, vec(1)}},
		{op: "Div", types: floatTypes, in: []*tensor.Tensor{small, vec(3)}},
		{op: "Min", types: allNumbers, in: []*tensor.Tensor{small, vec(3), vec(2, 1)}},
		{op: "Max", types: allNumbers, in: []*tensor.Tensor{small, vec(3), vec(2, 1)}},
		{op: "Sum", types: floatTypes, in: []*tensor.Tensor{small, vec(3), vec(2, 1)}},
		{op: "Mean", types: floatTypes, in: []*tensor.Tensor{small, vec(3), vec(2, 1)}},
		{op: "Abs", types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "Neg", types: signedTypes, in: []*tensor.Tensor{small}},
		{op: "Sign", types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "Relu", types: signedTypes, in: []*tensor.Tensor{small}},
		{op: "Sqrt", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "Sigmoid", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "Erf", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "Clip", types: allNumbers, in: []*tensor.Tensor{small, tensor.Scalar(2.0), tensor.Scalar(4.0)}},
		{op: "Pow", types: append([]tensor.DType{tensor.Int32, tensor.Int64}, floatTypes...), in: []*tensor.Tensor{small, tensor.Scalar(2.0)}},
		{op: "MatMul", types: wideNumbers, in: []*tensor.Tensor{small, vec(3, 4)}},
		{op: "Gemm", attrs: graph.Attrs{"transB": int64(1)}, types: wideNumbers, in: []*tensor.Tensor{small, vec(4, 3), vec(4)}},
		{op: "Conv", types: floatTypes, in: []*tensor.Tensor{vec(1, 2, 5, 4), vec(3, 2, 2, 2), vec(3)}},
		{op: "ConvTranspose", types: floatTypes, in: []*tensor.Tensor{vec(1, 2, 3, 4), vec(2, 1, 2, 2)}},
		{op: "MaxPool", attrs: graph.Attrs{"kernel_shape": []int64{2, 2}}, types: append([]tensor.DType{tensor.Int8, tensor.Uint8}, floatTypes...), in: []*tensor.Tensor{vec(1, 2, 5, 4)}},
		{op: "AveragePool", attrs: graph.Attrs{"kernel_shape": []int64{2, 2}}, types: floatTypes, in: []*tensor.Tensor{vec(1, 2, 5, 4)}},
		{op: "GlobalAveragePool", types: floatTypes, in: []*tensor.Tensor{vec(1, 2, 4, 4)}},
		{op: "Softmax", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "LayerNormalization", types: floatTypes, in: []*tensor.Tensor{small, vec(3), vec(3)}},
		{op: "InstanceNormalization", types: floatTypes, in: []*tensor.Tensor{vec(1, 2, 5), vec(2), vec(2)}},
		{op: "BatchNormalization", types: floatTypes, in: []*tensor.Tensor{vec(2, 2, 5), vec(2), vec(2), vec(2), vec(2)}},
		{op: "ReduceSum", types: wideNumbers, in: []*tensor.Tensor{small}},
		{op: "ReduceMax", attrs: graph.Attrs{"axes": []int64{1}}, types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "ReduceProd", attrs: graph.Attrs{"axes": []int64{0}}, types: wideNumbers, in: []*tensor.Tensor{small}},
		{op: "CumSum", types: wideNumbers, in: []*tensor.Tensor{small, tensor.Scalar[int64](1)}},
		{op: "Transpose", types: allNumbers, in: []*tensor.Tensor{vec(5, 6)}},
		{op: "Concat", attrs: graph.Attrs{"axis": int64(0)}, types: allNumbers, in: []*tensor.Tensor{small, vec(1, 3)}},
		{op: "Tile", types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector[int64](2, 3)}},
		{op: "Expand", types: allNumbers, in: []*tensor.Tensor{vec(3), tensor.Vector[int64](2, 3)}},
		{op: "Pad", attrs: graph.Attrs{"mode": "edge"}, types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector[int64](1, 1, 0, 2)}},
		{op: "Where", types: allNumbers, in: []*tensor.Tensor{tensor.Vector(true, false, true), small, vec(3)}},
		{op: "Gather", types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector[int64](1, -2, 1)}},
		{op: "Einsum", attrs: graph.Attrs{"equation": "ij,kj->ik"}, types: allNumbers, in: []*tensor.Tensor{small, vec(2, 3)}},
		{op: "GatherND", types: allNumbers, in: []*tensor.Tensor{small, tensor.Must(tensor.Of([]int64{1, -2, 0, 0}, 2, 2))}},
		{op: "ScatterND", types: allNumbers, in: []*tensor.Tensor{small, tensor.Must(tensor.Of([]int64{1, -1}, 2, 1)), vec(2, 3)}},
		{op: "ScatterND", attrs: graph.Attrs{"reduction": "add"}, types: allNumbers, in: []*tensor.Tensor{small, tensor.Must(tensor.Of([]int64{1, -1}, 2, 1)), vec(2, 3)}},
		{op: "ScatterElements", attrs: graph.Attrs{"reduction": "max"}, types: allNumbers, in: []*tensor.Tensor{small, tensor.Must(tensor.Of([]int64{1, -1}, 1, 2)), vec(1, 2)}},
		{op: "GatherElements", attrs: graph.Attrs{"axis": int64(1)}, types: allNumbers, in: []*tensor.Tensor{small, tensor.Must(tensor.Of([]int64{1, -1}, 1, 2))}},
		{op: "Compress", attrs: graph.Attrs{"axis": int64(1)}, types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector(true, false, true)}},
		{op: "Unique", types: allNumbers, in: []*tensor.Tensor{small}, outs: 4},
		{op: "NonZero", types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "ReverseSequence", types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector[int64](2, 0, 1)}},
		{op: "EyeLike", types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "Shrink", attrs: graph.Attrs{"lambd": float32(2), "bias": float32(1)}, types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "Hardmax", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "Det", types: floatTypes, in: []*tensor.Tensor{vec(2, 2, 2)}},
		{op: "MeanVarianceNormalization", attrs: graph.Attrs{"axes": []int64{0}}, types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "IsNaN", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "IsInf", types: floatTypes, in: []*tensor.Tensor{small}},
		{op: "TopK", types: allNumbers, in: []*tensor.Tensor{small, tensor.Vector[int64](2)}, outs: 2},
		{op: "Trilu", types: allNumbers, in: []*tensor.Tensor{small}},
		{op: "Resize", attrs: graph.Attrs{"mode": "linear"}, types: floatTypes, in: []*tensor.Tensor{vec(1, 4), tensor.Vector[float32](), tensor.Vector[float32](1, 2)}},
	} {
		t.Run(c.op, func(t *testing.T) {
			n := node(c.op, c.attrs, nil)
			for i := range c.in {
				n.Inputs = append(n.Inputs, fmt.Sprintf("x%d", i))
			}
			for i := range max(1, c.outs) {
				n.Outputs = append(n.Outputs, fmt.Sprintf("y%d", i))
			}
			want := apply(t, 17, n, c.in...)
			for _, d := range c.types {
				in := append([]*tensor.Tensor(nil), c.in...)
				for i, x := range in {
					if x.DType() == tensor.Float64 {
						in[i] = cast(t, x, d)
					}
				}
				got, err := tryApply(t, 17, n, in...)
				if err != nil {
					t.Errorf("%v: %v", d, err)
					continue
				}
				for i := range got {
					w := want[i]
					if w.DType() == tensor.Float64 {
						w = cast(t, w, d)
					}
					if err := conformance.Alike(got[i], w); err != nil {
						t.Errorf("%v, output %d: %v", d, i, err)
					}
				}
			}
		})
	}
}

// TestConvolutionForms compares float32, which goes through the matrix kernels, with float64, which is computed by
// definition, for made-up attributes.
func TestConvolutionForms(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 150 {
		spatial := 1 + r.IntN(3)
		groups := 1 + r.IntN(3)
		in, out := groups*(1+r.IntN(3)), groups*(1+r.IntN(3))
		if r.IntN(4) == 0 { // each channel by itself
			groups, in, out = 4, 4, 4*(1+r.IntN(2))
		}
		attrs := graph.Attrs{"group": int64(groups)}
		x, w := []int{1 + r.IntN(3), in}, []int{out, in / groups}
		var strides, dilations, pads, ends []int64
		for range spatial {
			x, w = append(x, 6+r.IntN(7)), append(w, 1+r.IntN(3))
			strides, dilations = append(strides, int64(1+r.IntN(3))), append(dilations, int64(1+r.IntN(2)))
			pads, ends = append(pads, int64(r.IntN(3))), append(ends, int64(r.IntN(3)))
		}
		attrs["strides"], attrs["dilations"] = strides, dilations
		switch r.IntN(4) {
		case 0:
			attrs["auto_pad"] = []string{"SAME_UPPER", "SAME_LOWER", "VALID"}[r.IntN(3)]
		default:
			attrs["pads"] = append(pads, ends...)
		}
		op := "Conv"
		bias := out
		if r.IntN(2) == 0 {
			op, w[0], w[1], bias = "ConvTranspose", in, out/groups, out
		}
		n := node(op, attrs, []string{"x0", "x1", "x2"}, "y0")
		wide := []*tensor.Tensor{noise(r, x...), noise(r, w...), noise(r, bias)}
		var narrow []*tensor.Tensor
		for _, v := range wide {
			narrow = append(narrow, cast(t, v, tensor.Float32))
		}
		want, err := tryApply(t, 17, n, wide...)
		got, err32 := tryApply(t, 17, n, narrow...)
		if (err == nil) != (err32 == nil) {
			t.Fatalf("%s %v %v %v: float64 %v, float32 %v", op, x, w, attrs, err, err32)
		}
		if err != nil {
			continue // a transposed convolution with more padding than output
		}
		if err := conformance.Within(got[0], cast(t, want[0], tensor.Float32), conformance.Tolerance{Abs: 1e-5, Rel: 1e-4}); err != nil {
			t.Fatalf("%s of %v by %v, %v: %v", op, x, w, attrs, err)
		}
	}
}

// TestPoolForms does the same for pools, whose float32 has short ways.
func TestPoolForms(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		spatial := 1 + r.IntN(3)
		x := []int{1 + r.IntN(2), 1 + r.IntN(3)}
		var kernel, strides, dilations, pads, ends []int64
		for range spatial {
			k := int64(1 + r.IntN(3))
			x, kernel = append(x, 6+r.IntN(9)), append(kernel, k)
			strides, dilations = append(strides, int64(1+r.IntN(3))), append(dilations, int64(1+r.IntN(2)))
			pads, ends = append(pads, r.Int64N(k)), append(ends, r.Int64N(k))
		}
		attrs := graph.Attrs{"kernel_shape": kernel, "strides": strides, "pads": append(pads, ends...), "dilations": dilations, "ceil_mode": int64(r.IntN(2))}
		n := node("MaxPool", attrs, []string{"x0"}, "y0", "y1")
		switch r.IntN(3) {
		case 0:
			n.Outputs = n.Outputs[:1]
		case 1:
			n = node("AveragePool", attrs, []string{"x0"}, "y0")
			attrs["count_include_pad"] = int64(r.IntN(2))
		}
		wide := noise(r, x...)
		want := apply(t, 19, n, wide)
		got := apply(t, 19, n, cast(t, wide, tensor.Float32))
		for i := range got {
			w := want[i]
			if i == 0 {
				w = cast(t, w, tensor.Float32)
			}
			if err := conformance.Alike(got[i], w); err != nil {
				t.Fatalf("%s of %v, %v, output %d: %v", n.OpType, x, attrs, i, err)
			}
		}
	}
}

func noise(r *rand.Rand, dims ...int) *tensor.Tensor {
	x := tensor.Must(tensor.New(tensor.Float64, dims...))
	for i := range tensor.Data[float64](x) {
		tensor.Data[float64](x)[i] = float64(float32(r.NormFloat64())) // the same in both types
	}
	return x
}
