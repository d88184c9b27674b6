package native_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// rowCase is a small graph whose rows are alone.
type rowCase struct {
	op    string
	attrs graph.Attrs
	opset int64 // 17 where it is 0
	in    []any // a shape ([]int, float32, with the batch before it), a graph.Value with it, or a constant
	outs  int   // 1 where it is 0
}

func row(d ...int) []int { return d }

func rowOf(d tensor.DType, size ...int) graph.Value {
	return graph.Value{DType: d, Shape: append(graph.Shape{batch}, graph.Dims(size...)...)}
}

func int64s(v ...int64) *tensor.Tensor { return tensor.Vector(v...) }

func (c rowCase) graph() *graph.Graph {
	g := &graph.Graph{Name: c.op, Opset: map[string]int64{"": max(c.opset, 17)}}
	if c.opset > 0 {
		g.Opset[""] = c.opset
	}
	var in []string
	for i, v := range c.in {
		name := fmt.Sprintf("x%d", i)
		switch v := v.(type) {
		case []int:
			p := rowOf(tensor.Float32, v...)
			p.Name = name
			g.Inputs = append(g.Inputs, p)
		case graph.Value:
			v.Name = name
			g.Inputs = append(g.Inputs, v)
		case *tensor.Tensor:
			g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: v})
		case nil:
			name = ""
		}
		in = append(in, name)
	}
	var out []string
	for i := range max(1, c.outs) {
		name := fmt.Sprintf("y%d", i)
		out = append(out, name)
		g.Outputs = append(g.Outputs, graph.Value{Name: name})
	}
	g.Nodes = []*graph.Node{node(c.op, c.attrs, in, out...)}
	return g
}

func rowCases() []rowCase {
	half, i64, i32 := tensor.Float16, tensor.Int64, tensor.Int32
	cases := []rowCase{
		{op: "Clip", in: []any{row(3), tensor.Scalar[float32](-0.5), tensor.Scalar[float32](0.5)}},
		{op: "Clip", in: []any{rowOf(i64, 3), tensor.Scalar[int64](1), nil}},
		{op: "Cast", attrs: graph.Attrs{"to": int64(tensor.Int32)}, in: []any{row(3, 2)}},
		{op: "Cast", attrs: graph.Attrs{"to": int64(tensor.Float32)}, in: []any{rowOf(half, 300)}},
		{op: "Cast", attrs: graph.Attrs{"to": int64(tensor.String)}, in: []any{rowOf(i64, 2)}},
		{op: "CastLike", in: []any{rowOf(tensor.Bool, 7), int64s(1)}},
		{op: "Dropout", in: []any{row(4)}, outs: 2},
		{op: "Not", in: []any{rowOf(tensor.Bool, 4)}},
		{op: "BitwiseNot", opset: 18, in: []any{rowOf(i32, 4)}},
		{op: "Gelu", opset: 20, in: []any{row(5)}},
		{op: "Mish", opset: 18, in: []any{row(5)}},
		{op: "Conv", in: []any{row(3, 9, 7), ramp(5, 3, 3, 3), ramp(5)}},
		{op: "Conv", in: []any{row(3, 9), ramp(5, 3, 3)}},
		{op: "Conv", in: []any{row(2, 3, 4, 5), ramp(5, 2, 2, 2, 2)}},
		{op: "Conv", attrs: graph.Attrs{"group": int64(4), "strides": []int64{2, 2}, "pads": []int64{1, 1, 1, 1}}, in: []any{row(4, 9, 7), ramp(4, 1, 3, 3)}},
		{op: "Conv", in: []any{rowOf(tensor.Float64, 2, 5, 5), made(value("", tensor.Float64, 3, 2, 2, 2), 0, 1)}},
		{op: "Conv", in: []any{rowOf(half, 2, 5, 5), made(value("", half, 3, 2, 2, 2), 0, 1)}},
		{op: "ConvTranspose", in: []any{row(3, 5, 4), ramp(3, 2, 3, 3), ramp(2)}},
		{op: "ConvTranspose", in: []any{row(3, 5, 4, 2), ramp(3, 2, 3, 3, 2)}},
		{op: "MaxPool", attrs: graph.Attrs{"kernel_shape": []int64{2, 2}}, in: []any{row(3, 6, 5)}, outs: 2},
		{op: "MaxPool", attrs: graph.Attrs{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}, "strides": []int64{2, 2}}, in: []any{row(3, 6, 5)}},
		{op: "AveragePool", attrs: graph.Attrs{"kernel_shape": []int64{2, 2}}, in: []any{row(3, 6, 5)}},
		{op: "GlobalAveragePool", in: []any{row(3, 6, 5)}},
		{op: "GlobalAveragePool", in: []any{row(1, 6, 5)}},
		{op: "GlobalMaxPool", in: []any{row(3, 6, 5)}},
		{op: "BatchNormalization", in: []any{row(3, 4, 4), ramp(3), ramp(3), ramp(3), tensor.Vector[float32](1, 2, 3)}},
		{op: "InstanceNormalization", in: []any{row(3, 4, 4), ramp(3), ramp(3)}},
		{op: "GroupNormalization", opset: 21, attrs: graph.Attrs{"num_groups": int64(2)}, in: []any{row(4, 3), ramp(4), ramp(4)}},
		{op: "LayerNormalization", in: []any{row(5, 8), ramp(8), ramp(8)}, outs: 3},
		{op: "LRN", attrs: graph.Attrs{"size": int64(3)}, in: []any{row(5, 8)}},
		{op: "DepthToSpace", attrs: graph.Attrs{"blocksize": int64(2)}, in: []any{row(8, 2, 3)}},
		{op: "SpaceToDepth", attrs: graph.Attrs{"blocksize": int64(2)}, in: []any{row(2, 4, 6)}},
		{op: "PRelu", in: []any{row(3, 4), ramp(3, 1)}},
		{op: "Mod", in: []any{rowOf(i64, 4), int64s(3)}},
		{op: "Pow", in: []any{row(4), int64s(2)}},
		{op: "Pow", in: []any{row(4), rowOf(i32, 4)}},
		{op: "Pow", in: []any{rowOf(i64, 3), tensor.Vector[float32](2, 0.5, 1)}},
		{op: "Where", in: []any{rowOf(tensor.Bool, 3), row(3), ramp(1, 3)}},
		{op: "Where", in: []any{rowOf(tensor.Bool, 1), row(3), row(3)}},
		{op: "Sum", in: []any{row(3), ramp(3), row(1)}},
		{op: "Mean", in: []any{row(3), row(3)}},
		{op: "BitShift", attrs: graph.Attrs{"direction": "LEFT"}, in: []any{rowOf(tensor.Uint8, 3), rowOf(tensor.Uint8, 1)}},
		{op: "MatMul", in: []any{row(17), ramp(17, 9)}},
		{op: "MatMul", in: []any{row(300), ramp(300)}},
		{op: "MatMul", in: []any{row(4, 17), ramp(17, 9)}},
		{op: "MatMul", in: []any{row(4, 3, 17), ramp(1, 4, 17, 9)}},
		{op: "MatMul", in: []any{row(3, 7), row(7, 5)}},
		{op: "MatMul", in: []any{row(2, 3, 7), row(2, 7, 5)}},
		{op: "MatMul", in: []any{ramp(3, 7), row(7, 5)}},
		{op: "MatMul", in: []any{rowOf(i32, 6), made(value("", i32, 6, 4), 0, 1)}},
		{op: "MatMul", in: []any{rowOf(i64, 2, 3, 6), rowOf(i64, 2, 6, 4)}},
		{op: "Gemm", attrs: graph.Attrs{"alpha": float32(0.5)}, in: []any{row(300), ramp(300, 40), ramp(40)}},
		{op: "Gemm", attrs: graph.Attrs{"transB": int64(1), "beta": float32(2)}, in: []any{row(30), ramp(7, 30), row(7)}},
		{op: "Gemm", in: []any{row(30), ramp(30, 7), row(1)}},
		{op: "Gemm", in: []any{rowOf(half, 30), made(value("", half, 30, 7), 0, 1), made(value("", half, 1, 7), 0, 2)}},
		{op: "Gemm", attrs: graph.Attrs{"alpha": float32(3)}, in: []any{rowOf(tensor.Float64, 5), made(value("", tensor.Float64, 5, 7), 0, 1), rowOf(tensor.Float64, 7)}},
		{op: "Softmax", in: []any{row(5, 6)}},
		{op: "Softmax", attrs: graph.Attrs{"axis": int64(1)}, in: []any{row(5, 6)}},
		{op: "Softmax", opset: 11, in: []any{row(5, 6)}},
		{op: "LogSoftmax", in: []any{row(5, 6)}},
		{op: "Hardmax", in: []any{row(5, 6)}},
		{op: "ArgMax", attrs: graph.Attrs{"axis": int64(1), "keepdims": int64(0)}, in: []any{row(5)}},
		{op: "ArgMin", attrs: graph.Attrs{"axis": int64(-1)}, in: []any{row(5, 2)}},
		{op: "TopK", in: []any{row(5, 4), int64s(2)}, outs: 2},
		{op: "CumSum", in: []any{row(5, 4), tensor.Scalar[int64](1)}},
		{op: "CumProd", opset: 26, in: []any{row(5, 4), tensor.Scalar[int64](1)}},
		{op: "ReduceSum", in: []any{row(5, 4), int64s(1)}},
		{op: "ReduceSum", attrs: graph.Attrs{"keepdims": int64(0)}, in: []any{row(5), int64s(1)}},
		{op: "ReduceSum", in: []any{row(1), int64s(1)}},
		{op: "ReduceMean", attrs: graph.Attrs{"axes": []int64{-1}}, in: []any{row(5, 4)}},
		{op: "ReduceMax", opset: 20, in: []any{rowOf(tensor.Bool, 5, 4), int64s(2)}},
		{op: "Transpose", attrs: graph.Attrs{"perm": []int64{0, 2, 1}}, in: []any{row(20, 18)}},
		{op: "Transpose", attrs: graph.Attrs{"perm": []int64{0, 3, 1, 2}}, in: []any{row(2, 3, 4)}},
		{op: "Concat", attrs: graph.Attrs{"axis": int64(1)}, in: []any{row(3), row(1)}},
		{op: "Concat", attrs: graph.Attrs{"axis": int64(1)}, in: []any{row(1), row(1)}},
		{op: "Concat", attrs: graph.Attrs{"axis": int64(-1)}, in: []any{row(4, 3), row(4, 2), row(4, 1)}},
		{op: "Split", attrs: graph.Attrs{"axis": int64(1)}, in: []any{row(6, 2)}, outs: 3},
		{op: "Slice", in: []any{row(6, 5), int64s(1, -1), int64s(5, -100), int64s(1, 2), int64s(2, -1)}},
		{op: "Slice", in: []any{row(6), int64s(0), int64s(1 << 40), int64s(0)}},
		{op: "Pad", in: []any{row(3), int64s(0, 1, 0, 2)}},
		{op: "Pad", attrs: graph.Attrs{"mode": "reflect"}, in: []any{row(3, 4), int64s(0, 1, 2, 0, 2, -1)}},
		{op: "Pad", attrs: graph.Attrs{"mode": "edge"}, in: []any{row(), int64s(0, 0)}},
		{op: "Resize", in: []any{row(2, 3, 4), nil, tensor.Vector[float32](1, 1, 2, 1.5)}},
		{op: "Resize", attrs: graph.Attrs{"mode": "linear"}, in: []any{row(2, 3, 4), nil, tensor.Vector[float32](1, 1, 2, 1.5)}},
		{op: "Resize", attrs: graph.Attrs{"mode": "cubic", "coordinate_transformation_mode": "align_corners"}, in: []any{rowOf(tensor.Uint8, 2, 3, 4), nil, tensor.Vector[float32](1, 1, 2, 1.5)}},
		{op: "Upsample", opset: 9, in: []any{row(2, 3, 4), tensor.Vector[float32](1, 1, 2, 2)}},
		{op: "Tile", in: []any{row(3, 2), int64s(1, 2, 3)}},
		{op: "Gather", attrs: graph.Attrs{"axis": int64(1)}, in: []any{row(5, 2), int64s(4, 0, -1)}},
		{op: "Gather", in: []any{ramp(5, 3), rowOf(i64, 4)}},
		{op: "Gather", in: []any{ramp(5), rowOf(i32)}},
		{op: "OneHot", in: []any{rowOf(i32, 3), tensor.Scalar[int64](5), tensor.Vector[float32](0, 1)}},
		{op: "OneHot", attrs: graph.Attrs{"axis": int64(1)}, in: []any{rowOf(i64, 3), tensor.Scalar[int64](5), tensor.Vector[float32](0, 1)}},
		{op: "Identity", in: []any{row(3)}},
		{op: "Flatten", in: []any{row(3, 2)}},
		{op: "Squeeze", in: []any{row(1, 3), int64s(1)}},
		{op: "Unsqueeze", in: []any{row(3), int64s(2)}},
		{op: "Reshape", in: []any{row(6), int64s(-1, 2, 3)}},
		{op: "Reshape", in: []any{row(6), int64s(0, 3, 2)}},
		{op: "Expand", in: []any{row(1, 3), int64s(1, 4, 1)}},
		{op: "ConstantOfShape", in: nil}, // needs a computed shape: TestComputedShapes
	}
	for _, op := range []string{"Relu", "Neg", "Abs", "Sign", "Sqrt", "Exp", "Log", "Erf", "Sigmoid", "Tanh", "Softplus", "Softsign", "Sin", "Cos", "Tan",
		"Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "HardSwish", "Reciprocal", "Floor", "Ceil", "Round", "LeakyRelu", "Elu", "Celu",
		"Selu", "HardSigmoid", "ThresholdedRelu", "Shrink", "IsNaN", "IsInf"} {
		cases = append(cases, rowCase{op: op, in: []any{row(37)}}, rowCase{op: op, in: []any{rowOf(half, 5)}})
	}
	for _, op := range []string{"Add", "Sub", "Mul", "Div", "Min", "Max", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"} {
		cases = append(cases, rowCase{op: op, in: []any{row(3, 4), ramp(4)}}, rowCase{op: op, in: []any{row(3, 1), row(1, 4)}},
			rowCase{op: op, in: []any{tensor.Scalar[float32](0.5), row()}}, rowCase{op: op, in: []any{rowOf(half, 3), rowOf(half, 3)}})
	}
	for _, op := range []string{"And", "Or", "Xor"} {
		cases = append(cases, rowCase{op: op, in: []any{rowOf(tensor.Bool, 3), rowOf(tensor.Bool, 1)}})
	}
	for _, op := range []string{"BitwiseAnd", "BitwiseOr", "BitwiseXor"} {
		cases = append(cases, rowCase{op: op, opset: 18, in: []any{rowOf(i64, 3), int64s(1, 2, 4)}})
	}
	for _, op := range []string{"ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSumSquare", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"} {
		cases = append(cases, rowCase{op: op, opset: 18, in: []any{row(3, 4), int64s(1)}}, rowCase{op: op, opset: 18, in: []any{row(3, 4), int64s(1, 2)}})
	}
	return cases
}

// TestRowOperators runs each operator that plans of rows may have by such a plan, and holds it to the bits of a plan for each size.
func TestRowOperators(t *testing.T) {
	left := native.RowOperators()
	for i, c := range rowCases() {
		left = slices.DeleteFunc(left, func(op string) bool { return op == c.op })
		if len(c.in) == 0 {
			continue
		}
		t.Run(fmt.Sprintf("%s %d", c.op, i), func(t *testing.T) {
			for _, threads := range []int{1, 3} {
				if n := agree(t, c.graph(), threads, 3, 50, 5, 8, 33, 7, 6); n > 3 { // 4, 8, 64
					t.Errorf("%d plans for seven sizes", n)
				}
			}
		})
	}
	if len(left) > 0 {
		t.Errorf("no case for %v", left)
	}
}
