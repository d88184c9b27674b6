package onnxruntime_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// one is a graph of one node. in has its inputs: a value, a constant, nil, or the name of what the nodes before it make of
// an image x.
func one(opset int64, op string, attrs graph.Attrs, in []any, before ...*graph.Node) *graph.Graph {
	g := &graph.Graph{Name: op, Opset: map[string]int64{"": opset}, Nodes: before, Outputs: []graph.Value{{Name: "y"}}}
	n := &graph.Node{OpType: op, Attrs: attrs, Outputs: []string{"y"}}
	if len(before) > 0 {
		x := of(tensor.Float32, 1, 3, 8, 8)
		x.Name = "x"
		g.Inputs = append(g.Inputs, x)
	}
	for i, v := range in {
		name := string(rune('a' + i))
		switch v := v.(type) {
		case graph.Value:
			v.Name = name
			g.Inputs = append(g.Inputs, v)
		case *tensor.Tensor:
			g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: v})
		case string:
			name = v
		default:
			name = ""
		}
		n.Inputs = append(n.Inputs, name)
	}
	g.Nodes = append(g.Nodes, n)
	return g
}

func of(d tensor.DType, dims ...int) graph.Value {
	return graph.Value{DType: d, Shape: graph.Dims(dims...)}
}

// TestDoubts tells what the library gets wrong from what it does not, for one operator at a time.
func TestDoubts(t *testing.T) {
	const f32, f64, f16, i64, i32 = tensor.Float32, tensor.Float64, tensor.Float16, tensor.Int64, tensor.Int32
	ints := func(v ...int64) *tensor.Tensor { return tensor.Vector(v...) }
	floats := func(v ...float32) *tensor.Tensor { return tensor.Vector(v...) }
	kernel := func(k ...int64) graph.Attrs { return graph.Attrs{"kernel_shape": k} }
	padded := graph.Attrs{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}
	after := func(op, out string, in ...string) *graph.Node {
		return &graph.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	clip := after("Clip", "r", "x", "least")
	least := &graph.Node{OpType: "Constant", Attrs: graph.Attrs{"value_float": float32(-1)}, Outputs: []string{"least"}}
	no := &graph.Node{OpType: "Constant", Attrs: graph.Attrs{"value_float": float32(math.Inf(-1))}, Outputs: []string{"least"}}
	wrap, linear := graph.Attrs{"mode": "wrap"}, graph.Attrs{"mode": "linear"}
	corners := graph.Attrs{"mode": "linear", "coordinate_transformation_mode": "align_corners"}
	image := of(f32, 1, 3, 8, 8)
	for _, c := range []struct {
		name  string
		graph *graph.Graph
		want  bool
	}{
		{"pow of int64", one(17, "Pow", nil, []any{of(i64, 2), of(i64, 2)}), true},
		{"pow of int64 by 5", one(17, "Pow", nil, []any{of(i64, 2), ints(5)}), true},
		{"square of int64", one(17, "Pow", nil, []any{of(i64, 2), ints(2)}), false},
		{"pow of int64 by a float", one(17, "Pow", nil, []any{of(i64, 2), floats(2)}), false},
		{"pow of int32", one(17, "Pow", nil, []any{of(i32, 2), of(i32, 2)}), false},
		{"pow of float32", one(17, "Pow", nil, []any{of(f32, 2), of(f32, 2)}), false},
		{"gemm of unknown depth", one(17, "Gemm", graph.Attrs{"beta": float32(2)}, []any{of(f32, -1, -1), of(f32, -1, -1), floats(1)}), true},
		{"gemm of depth 0", one(17, "Gemm", graph.Attrs{"beta": float32(2)}, []any{of(f32, 2, 0), of(f32, 0, 3), floats(1)}), true},
		{"gemm by weights", one(17, "Gemm", graph.Attrs{"beta": float32(2)}, []any{of(f32, -1, -1), tensor.Must(tensor.New(f32, 4, 3)), floats(1)}), false},
		{"transposed gemm", one(17, "Gemm", graph.Attrs{"beta": float32(2), "transA": int64(1), "transB": int64(1)}, []any{of(f32, 0, 4), of(f32, 4, 0), floats(1)}), true},
		{"gemm without beta", one(17, "Gemm", nil, []any{of(f32, -1, -1), of(f32, -1, -1), floats(1)}), false},
		{"gemm without a bias", one(17, "Gemm", graph.Attrs{"beta": float32(2)}, []any{of(f32, -1, -1), of(f32, -1, -1)}), false},
		{"groups", one(21, "GroupNormalization", graph.Attrs{"num_groups": int64(1)}, []any{of(f32, 1, 2, 3), floats(1, 1), floats(0, 0)}), true},
		{"largest float", one(17, "ReduceMax", nil, []any{of(f32, 3)}), true},
		{"least half", one(17, "ReduceMin", nil, []any{of(f16, 3)}), true},
		{"largest integer", one(17, "ReduceMax", nil, []any{of(i64, 3)}), false},
		{"line pool", one(17, "MaxPool", kernel(2), []any{of(f32, 1, 1, 8)}), true},
		{"volume pool", one(17, "MaxPool", kernel(2, 2, 2), []any{of(f32, 1, 1, 8, 8, 8)}), true},
		{"pool", one(17, "MaxPool", kernel(2, 2), []any{image}), false},
		{"padded pool", one(17, "MaxPool", padded, []any{image}), true},
		{"automatic pool", one(17, "MaxPool", graph.Attrs{"kernel_shape": []int64{3, 3}, "auto_pad": "SAME_UPPER"}, []any{image}), true},
		{"padded pool of float64", one(17, "MaxPool", padded, []any{of(f64, 1, 3, 8, 8)}), false},
		{"padded pool after Relu", one(17, "MaxPool", padded, []any{"r"}, after("Relu", "r", "x")), false},
		{"padded pool after LeakyRelu", one(17, "MaxPool", padded, []any{"r"}, after("LeakyRelu", "r", "x")), true},
		{"padded pool after Swish", one(17, "MaxPool", padded, []any{"r"}, after("Sigmoid", "s", "x"), after("Mul", "r", "x", "s")), false},
		{"padded pool after a gate", one(17, "MaxPool", padded, []any{"r"}, after("Tanh", "t", "x"), after("Sigmoid", "s", "t"), after("Mul", "r", "x", "s")), true},
		{"padded pool after Clip", one(17, "MaxPool", padded, []any{"r"}, least, clip), false},
		{"padded pool after a Clip that does not", one(17, "MaxPool", padded, []any{"r"}, no, clip), true},
		{"padded pools in a row", one(17, "MaxPool", padded, []any{"r"}, after("Relu", "s", "x"), after("GlobalMaxPool", "t", "s"), after("Identity", "r", "t")), false},
		{"global pool", one(17, "GlobalMaxPool", nil, []any{image}), true},
		{"global pool of float64", one(17, "GlobalMaxPool", nil, []any{of(f64, 1, 3, 8, 8)}), true},
		{"wrapped more than once", one(19, "Pad", wrap, []any{of(f32, 2, 3), ints(0, 4, 0, 0)}), true},
		{"wrapped once", one(19, "Pad", wrap, []any{of(f32, 2, 3), ints(0, 3, 0, 9)}), false},
		{"wrapped after a crop", one(19, "Pad", wrap, []any{of(f32, 2, 3), ints(0, 3, 0, -1)}), true},
		{"wrapped along one axis", one(19, "Pad", wrap, []any{of(f32, -1, 3), ints(3, 0), nil, ints(1)}), false},
		{"wrapped along an unknown axis", one(19, "Pad", wrap, []any{of(f32, -1, 3), ints(1, 0, 0, 0)}), true},
		{"wrapped by an input", one(19, "Pad", wrap, []any{of(f32, 2, 3), of(i64, 4)}), true},
		{"reflected too far", one(19, "Pad", graph.Attrs{"mode": "reflect"}, []any{of(f32, 2, 3), ints(0, 3, 0, 0)}), true},
		{"reflected", one(19, "Pad", graph.Attrs{"mode": "reflect"}, []any{of(f32, 2, 3), ints(0, 2, 0, 2)}), false},
		{"padded", one(19, "Pad", nil, []any{of(f32, 2, 3), ints(0, 9, 0, -1)}), false},
		{"nearest by 2", one(13, "Resize", nil, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 2, 2)}), false},
		{"nearest by a half", one(13, "Resize", nil, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 0.5, 0.5)}), false},
		{"nearest by 1.5", one(13, "Resize", nil, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 1.5, 1)}), true},
		{"nearest to 9 of 30", one(13, "Resize", nil, []any{of(f32, 1, 1, 1, 30), nil, nil, ints(1, 1, 1, 9)}), true},
		{"nearest to 9 of 3", one(13, "Resize", nil, []any{of(f32, 1, 1, 1, 3), nil, nil, ints(1, 1, 1, 9)}), false},
		{"nearest to 9", one(13, "Resize", nil, []any{of(f32, 1, 1, 1, -1), nil, nil, ints(1, 1, 1, 9)}), true},
		{"nearest to what an input says", one(13, "Resize", nil, []any{of(f32, 1, 1, 1, 8), nil, of(f32, 4)}), true},
		{"linear by 1.5", one(13, "Resize", linear, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 1.5, 1)}), false},
		{"linear between corners by 1.5", one(13, "Resize", corners, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 1.5, 1)}), true},
		{"linear between corners by 2", one(13, "Resize", corners, []any{of(f32, -1, 3, -1, -1), nil, floats(1, 1, 2, 1)}), false},
		{"linear between corners to 9", one(13, "Resize", corners, []any{of(f32, 1, 1, 1, 7), nil, nil, ints(1, 1, 1, 9)}), false},
		{"upsample by 3", one(9, "Upsample", nil, []any{of(f32, -1, 3, -1, -1), floats(1, 1, 3, 3)}), false},
		{"upsample by 1.3", one(9, "Upsample", nil, []any{of(f32, -1, 3, -1, -1), floats(1, 1, 1.3, 3)}), true},
		{"text of floats", one(17, "Cast", graph.Attrs{"to": int64(tensor.String)}, []any{of(f32, 2)}), true},
		{"text of integers", one(17, "Cast", graph.Attrs{"to": int64(tensor.String)}, []any{of(i64, 2)}), false},
		{"like text", one(17, "CastLike", nil, []any{of(f32, 2), tensor.Vector("")}), true},
		{"integers of floats", one(17, "Cast", graph.Attrs{"to": int64(i64)}, []any{of(f32, 2)}), false},
		{"unpool to a shape", one(17, "MaxUnpool", kernel(2, 2), []any{image, of(i64, 1, 3, 8, 8), ints(1, 3, 17, 17)}), true},
		{"unpool", one(17, "MaxUnpool", kernel(2, 2), []any{image, of(i64, 1, 3, 8, 8)}), false},
		{"another operator", one(17, "Softmax", nil, []any{of(f32, 2)}), false},
		{"count between inputs", one(17, "Range", nil, []any{of(i64), of(i64), of(i64)}), true},
		{"count from a late number", one(17, "Range", nil, []any{tensor.Scalar(int64(1<<53 + 1)), tensor.Scalar(int64(1<<53 + 9)), tensor.Scalar(int64(1))}), true},
		{"count to 9", one(17, "Range", nil, []any{tensor.Scalar(int64(0)), tensor.Scalar(int64(9)), tensor.Scalar(int64(1))}), false},
		{"count of int32", one(17, "Range", nil, []any{of(i32), of(i32), of(i32)}), false},
		{"count in float32", one(17, "Range", nil, []any{of(f32), of(f32), of(f32)}), false},
		{"count of pixels", one(17, "Range", nil, []any{tensor.Scalar(int64(0)), "n", tensor.Scalar(int64(1))}, after("Size", "n", "x")), false},
		{"count of twice the pixels", one(17, "Range", nil, []any{tensor.Scalar(int64(0)), "m", tensor.Scalar(int64(1))}, after("Size", "n", "x"), after("Add", "m", "n", "n")), false},
		{"count from an input to pixels", one(17, "Range", nil, []any{of(i64), "n", tensor.Scalar(int64(1))}, after("Size", "n", "x")), true},
		{"count to a rounded sum", one(17, "Range", nil, []any{tensor.Scalar(int64(0)), "m", tensor.Scalar(int64(1))}, after("ReduceSum", "n", "x"), &graph.Node{OpType: "Cast", Attrs: graph.Attrs{"to": int64(i64)}, Inputs: []string{"n"}, Outputs: []string{"m"}}), true},
		{"in a branch", branched(), true},
		{"in a function", called(), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.graph.String()
			found := onnxruntime.Doubts(c.graph)
			if (len(found) > 0) != c.want || len(found) > 1 {
				t.Errorf("doubts: %v", found)
			}
			if c.graph.String() != before || len(c.graph.Values) > 0 {
				t.Error("the graph was changed")
			}
		})
	}
}

// branched has the node in a branch, of which the graph around it knows the type.
func branched() *graph.Graph {
	g := one(17, "If", nil, []any{of(tensor.Bool), of(tensor.Float32, 3)})
	g.Nodes[0].Inputs = g.Nodes[0].Inputs[:1]
	branch := func(op string) *graph.Graph {
		return &graph.Graph{Name: op, Outputs: []graph.Value{{Name: "z" + op}}, Nodes: []*graph.Node{{OpType: op, Inputs: []string{"b"}, Outputs: []string{"z" + op}}}}
	}
	g.Nodes[0].Attrs = graph.Attrs{"then_branch": branch("ReduceMax"), "else_branch": branch("ReduceSum")}
	return g
}

// called has the node in a function.
func called() *graph.Graph {
	g := one(17, "Largest", nil, []any{of(tensor.Float32, 3)})
	g.Nodes[0].Domain = "test"
	g.Opset["test"] = 1
	g.Functions = []*graph.Function{{Domain: "test", Name: "Largest", Inputs: []string{"p"}, Outputs: []string{"q"}, Opset: map[string]int64{"": 17},
		Nodes: []*graph.Node{{OpType: "ReduceMax", Inputs: []string{"p"}, Outputs: []string{"q"}}}}}
	return g
}

// cases are folders of ONNX's layout, one for each fault that was reported.
const cases = "testdata/doubts"

func TestDoubtsOfReports(t *testing.T) {
	entries, err := os.ReadDir(cases)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		g, err := onnx.Open(cases + "/" + e.Name() + "/model.onnx")
		if err != nil {
			t.Fatal(err)
		}
		if d := onnxruntime.Doubts(g); len(d) != 1 {
			t.Errorf("%s: %v", e.Name(), d)
		}
	}
}

// TestDoubtsDocumented holds the table of docs/engines.md against the rules.
func TestDoubtsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/engines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(text), "## Where onnxruntime is wrong")
	if !ok {
		t.Fatal("docs/engines.md does not say where onnxruntime is wrong")
	}
	for _, op := range onnxruntime.Doubtful() {
		found := false
		for line := range strings.Lines(table) {
			cells := strings.Split(line, "|")
			if len(cells) == 5 && strings.Contains(" "+strings.ReplaceAll(cells[1], ",", " ")+" ", " "+op+" ") && strings.TrimSpace(cells[3]) != "no" {
				found = true
			}
		}
		if !found {
			t.Errorf("the table has no row of %s that auto avoids", op)
		}
	}
}
