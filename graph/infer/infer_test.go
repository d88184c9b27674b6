package infer_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// sym makes a shape of lengths (int), symbols (string; "?" is unknown).
func sym(dims ...any) graph.Shape {
	s := graph.Shape{}
	for _, d := range dims {
		switch d := d.(type) {
		case int:
			s = append(s, graph.Dim{Size: int64(d)})
		case string:
			s = append(s, graph.Dim{Size: -1, Symbol: strings.Trim(d, "?")})
		}
	}
	return s
}

func ints(v ...int64) *tensor.Tensor { return tensor.Vector(v...) }

func mustGraph(t *testing.T, b *graph.Builder) *graph.Graph {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Dimensions go by symbol through operators, and through the arithmetic that models compute shapes with.
func TestSymbols(t *testing.T) {
	f32 := tensor.Float32
	tests := []struct {
		name  string
		build func(b *graph.Builder) string
		want  string
	}{
		{"dense", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 1, 28, 28))
			w := b.Init("w", tensor.Must(tensor.New(f32, 784, 10)))
			return b.Op("MatMul", nil, b.Op("Flatten", nil, x), w)
		}, "float32[N,10]"},
		{"convolution", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 1, "H", 28))
			w := b.Init("w", tensor.Must(tensor.New(f32, 16, 1, 5, 5)))
			return b.Op("Conv", graph.Attrs{"pads": []int64{2, 2, 2, 2}}, x, w)
		}, "float32[N,16,H,28]"},
		{"pooling an unknown length", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 1, "H", 28))
			return b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, x)
		}, "float32[N,1,?,14]"},
		{"reshape leaves the batch", func(b *graph.Builder) string {
			return b.Op("Reshape", nil, b.Input("x", f32, sym("N", 16, 4, 4)), b.Ints(-1, 256))
		}, "float32[N,256]"},
		{"reshape copies with 0", func(b *graph.Builder) string {
			return b.Op("Reshape", nil, b.Input("x", f32, sym("N", "T", 64)), b.Ints(0, 0, 8, -1))
		}, "float32[N,T,8,8]"},
		{"reshape by a computed shape", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", "T", 64))
			n := b.Op("Gather", nil, b.Op("Shape", nil, x), b.Init("zero", tensor.Scalar[int64](0)))
			to := b.Op("Concat", graph.Attrs{"axis": int64(0)}, b.Op("Unsqueeze", nil, n, b.Ints(0)), b.Ints(-1, 16, 4))
			return b.Op("Reshape", nil, x, to)
		}, "float32[N,T,16,4]"},
		{"reshape by a computed shape, rest a symbol", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", "T", 64))
			n := b.Op("Slice", nil, b.Op("Shape", nil, x), b.Ints(0), b.Ints(1))
			return b.Op("Reshape", nil, x, b.Op("Concat", graph.Attrs{"axis": int64(0)}, n, b.Ints(-1), b.Ints(64)))
		}, "float32[N,T,64]"},
		{"broadcast", func(b *graph.Builder) string {
			return b.Op("Add", nil, b.Input("x", f32, sym("N", 1, 5)), b.Input("y", f32, sym("T", 1)))
		}, "float32[N,T,5]"},
		{"broadcast of two symbols", func(b *graph.Builder) string {
			return b.Op("Add", nil, b.Input("x", f32, sym("N", 3)), b.Input("y", f32, sym("M", 3)))
		}, "float32[?,3]"},
		{"broadcast of a symbol and a length", func(b *graph.Builder) string {
			return b.Op("Add", nil, b.Input("x", f32, sym("N", 3)), b.Input("y", f32, sym(7, 3)))
		}, "float32[7,3]"},
		{"concat of a symbol", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 3))
			return b.Op("Concat", graph.Attrs{"axis": int64(1)}, x, x)
		}, "float32[N,6]"},
		{"expand", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", "T"))
			return b.Op("Expand", nil, b.Float(0), b.Op("Shape", nil, x))
		}, "float32[N,T]"},
		{"expand where a target is -1", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 1))
			to := b.Op("Concat", graph.Attrs{"axis": int64(0)}, b.Op("Shape", graph.Attrs{"end": int64(1)}, x), b.Ints(-1))
			ones := b.Op("ConstantOfShape", graph.Attrs{"value": ints(1)}, b.Ints(2))
			minus := b.Op("Mul", nil, ones, b.Ints(-1))
			return b.Op("Expand", nil, x, b.Op("Where", nil, b.Op("Equal", nil, to, minus), ones, to))
		}, "float32[N,1]"},
		{"resize by computed sizes", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 3, 8, 6))
			size := b.Op("Mul", nil, b.Op("Shape", graph.Attrs{"start": int64(2)}, x), b.Ints(2, 3))
			to := b.Op("Concat", graph.Attrs{"axis": int64(0)}, b.Op("Shape", graph.Attrs{"end": int64(2)}, x), size)
			return b.Op("Resize", nil, x, "", "", to)
		}, "float32[N,3,16,18]"},
		{"range over a length", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", "T"))
			t := b.Op("Squeeze", nil, b.Op("Shape", graph.Attrs{"start": int64(1)}, x))
			return b.Op("Range", nil, b.Init("from", tensor.Scalar[int64](0)), t, b.Init("step", tensor.Scalar[int64](1)))
		}, "int64[T]"},
		{"slice of all", func(b *graph.Builder) string {
			return b.Op("Slice", nil, b.Input("x", f32, sym("N", "T")), b.Ints(0), b.Ints(1<<63-1), b.Ints(1))
		}, "float32[N,T]"},
		{"slice of some", func(b *graph.Builder) string {
			return b.Op("Slice", nil, b.Input("x", f32, sym("N", 10)), b.Ints(-1), b.Ints(-1<<63), b.Ints(1), b.Ints(-3))
		}, "float32[N,4]"},
		{"transpose", func(b *graph.Builder) string {
			return b.Op("Transpose", graph.Attrs{"perm": []int64{1, 2, 0}}, b.Input("x", f32, sym("N", "T", 4)))
		}, "float32[T,4,N]"},
		{"an operator that nobody knows", func(b *graph.Builder) string {
			return b.Op("Relu", nil, b.Op("com.example.Secret", nil, b.Input("x", f32, sym("N"))))
		}, "invalid[...]"},
		{"a mean over axes", func(b *graph.Builder) string {
			return b.Op("ReduceMean", graph.Attrs{"axes": []int64{-1}, "keepdims": int64(0)}, b.Input("x", f32, sym("N", "T", 4)))
		}, "float32[N,T]"},
		{"a loss", func(b *graph.Builder) string {
			return b.Op("SoftmaxCrossEntropyLoss", nil, b.Input("x", f32, sym("N", 10)), b.Input("y", tensor.Int64, sym("N")))
		}, "float32[]"},
		{"a comparison", func(b *graph.Builder) string {
			x := b.Input("x", f32, sym("N", 10))
			return b.Op("Greater", nil, x, b.Float(0))
		}, "bool[N,10]"},
		{"a one-hot code", func(b *graph.Builder) string {
			on := b.Init("values", tensor.Vector[float32](0, 1))
			return b.Op("OneHot", nil, b.Input("y", tensor.Int64, sym("N")), b.Init("depth", tensor.Scalar[int64](10)), on)
		}, "float32[N,10]"},
		{"an attention's product", func(b *graph.Builder) string {
			q := b.Input("q", f32, sym("N", 8, "T", 16))
			k := b.Op("Transpose", graph.Attrs{"perm": []int64{0, 1, 3, 2}}, b.Input("k", f32, sym("N", 8, "S", 16)))
			return b.Op("Softmax", nil, b.Op("MatMul", nil, q, k))
		}, "float32[N,8,T,S]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := graph.NewBuilder("test")
			out := tt.build(b)
			b.Output(out)
			g := mustGraph(t, b)
			v := g.Outputs[0]
			if got := v.DType.String() + v.Shape.String(); got != tt.want {
				t.Errorf("inferred %s, want %s\n%v", got, tt.want, g.Values)
			}
		})
	}
}

// Contradictions are errors that name the node and what is wrong, and leave the graph as it was.
func TestContradictions(t *testing.T) {
	f32 := tensor.Float32
	x := func(b *graph.Builder, dims ...any) string { return b.Input(b.Unique("x")+"in", f32, sym(dims...)) }
	tests := []struct {
		name  string
		build func(b *graph.Builder) string
		want  string
	}{
		{"product", func(b *graph.Builder) string { return b.Op("MatMul", nil, x(b, "N", 3), x(b, 4, 5)) }, "shapes [N,3] and [4,5]"},
		{"sum", func(b *graph.Builder) string { return b.Op("Add", nil, x(b, 2, 3), x(b, 2, 4)) }, "cannot be broadcast"},
		{"types", func(b *graph.Builder) string { return b.Op("Add", nil, x(b, 2), b.Ints(1)) }, "types float32 and int64"},
		{"reshape", func(b *graph.Builder) string { return b.Op("Reshape", nil, x(b, 2, 3), b.Ints(4, -1)) }, "[2,3] cannot become [4,?]"},
		{"channels", func(b *graph.Builder) string { return b.Op("Conv", nil, x(b, "N", 3, 8, 8), x(b, 4, 2, 3, 3)) }, "2 channels, not 3"},
		{"kernel too large", func(b *graph.Builder) string { return b.Op("Conv", nil, x(b, "N", 2, 2, 2), x(b, 4, 2, 3, 3)) }, "does not fit"},
		{"axis", func(b *graph.Builder) string {
			return b.Op("Concat", graph.Attrs{"axis": int64(2)}, x(b, 2, 2))
		}, "axis 2 of a value of rank 2"},
		{"perm", func(b *graph.Builder) string {
			return b.Op("Transpose", graph.Attrs{"perm": []int64{0, 0}}, x(b, 2, 2))
		}, "axis 0 twice"},
		{"squeeze", func(b *graph.Builder) string { return b.Op("Squeeze", nil, x(b, 2, 2), b.Ints(0)) }, "is not 1"},
		{"index", func(b *graph.Builder) string { return b.Op("Gather", nil, x(b, 2, 2), b.Ints(2)) }, "index 2"},
		{"split", func(b *graph.Builder) string { return b.Ops("Split", 2, nil, x(b, 5), b.Ints(2, 2))[0] }, "parts [2 2]"},
		{"bias", func(b *graph.Builder) string { return b.Op("Gemm", nil, x(b, 2, 3), x(b, 3, 4), x(b, 5)) }, "does not fit"},
		{"target", func(b *graph.Builder) string {
			return b.Op("SoftmaxCrossEntropyLoss", nil, x(b, 2, 3), b.Init("y", ints(1, 2, 3)))
		}, "a target of shape [3]"},
		{"equation", func(b *graph.Builder) string {
			return b.Op("Einsum", graph.Attrs{"equation": "ij,jk->ik"}, x(b, 2, 3), x(b, 4, 5))
		}, "is both"},
		{"k", func(b *graph.Builder) string { return b.Ops("TopK", 2, nil, x(b, 3), b.Ints(4))[0] }, "k is 4"},
		{"statistics", func(b *graph.Builder) string {
			return b.Op("BatchNormalization", nil, x(b, 1, 3, 2, 2), x(b, 3), x(b, 3), x(b, 4), x(b, 3))
		}, "3 channels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := graph.NewBuilder("test")
			b.Output(tt.build(b))
			_, err := infer.Build(b)
			if !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got error %v; want one with %q", err, tt.want)
			}
			if !strings.Contains(err.Error(), "node ") {
				t.Errorf("error %v does not name the node", err)
			}
		})
	}
}

func TestDeclared(t *testing.T) {
	build := func(out graph.Value) *graph.Graph {
		return &graph.Graph{
			Opset:   map[string]int64{"": 17},
			Inputs:  []graph.Value{{Name: "x", DType: tensor.Float32, Shape: sym("N", 3)}},
			Nodes:   []*graph.Node{{Name: "act", OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"y"}}},
			Outputs: []graph.Value{out},
		}
	}
	g := build(graph.Value{Name: "y", DType: tensor.Float32, Shape: sym(4, "C")})
	if err := infer.Shapes(g); err != nil || g.Outputs[0].Shape.String() != "[4,3]" {
		t.Errorf("declared and found together: %v, %v; want [4,3]", g.Outputs[0], err)
	}
	for _, bad := range []graph.Value{
		{Name: "y", DType: tensor.Float32, Shape: sym("N", 4)},
		{Name: "y", DType: tensor.Float64, Shape: sym("N", 3)},
		{Name: "y", DType: tensor.Float32, Shape: sym("N")},
	} {
		g := build(bad)
		err := infer.Shapes(g)
		if !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), `"act"`) {
			t.Errorf("declared %v: got %v; want an error that names the node", bad, err)
		}
		if g.Outputs[0].String() != bad.String() || len(g.Values) != 0 {
			t.Errorf("the graph changed to %v on an error", g.Outputs[0])
		}
	}
	// The shapes of one run win over what is declared.
	g = build(graph.Value{Name: "y", DType: tensor.Float32, Shape: sym(1, 3)})
	if err := infer.Shapes(g, graph.Value{Name: "x", Shape: graph.Dims(8, 3)}); err != nil || g.Outputs[0].Shape.String() != "[8,3]" {
		t.Errorf("with an input of [8,3]: %v, %v", g.Outputs[0], err)
	}
	if err := infer.Shapes(g, graph.Value{Name: "z"}); !errors.Is(err, graph.ErrInvalid) {
		t.Errorf("an unknown input: %v", err)
	}
}

// A function's body tells the shapes of its call; attributes and defaults reach it.
func TestFunction(t *testing.T) {
	f := &graph.Function{
		Domain: "ai.millrace", Name: "Flat", Inputs: []string{"a"}, Outputs: []string{"c"}, Attrs: []string{"to"},
		Defaults: graph.Attrs{"axis": int64(1)},
		Nodes: []*graph.Node{
			{OpType: "Flatten", Inputs: []string{"a"}, Outputs: []string{"b"}, Attrs: graph.Attrs{"axis": graph.AttrRef("axis")}},
			{OpType: "Cast", Inputs: []string{"b"}, Outputs: []string{"c"}, Attrs: graph.Attrs{"to": graph.AttrRef("to")}},
		},
	}
	b := graph.NewBuilder("test")
	b.Function(f)
	x := b.Input("x", tensor.Float32, sym("N", 2, 3, 4))
	b.Output(b.Op("ai.millrace.Flat", graph.Attrs{"to": int64(tensor.Float64)}, x))
	b.Output(b.Op("ai.millrace.Flat", graph.Attrs{"to": int64(tensor.Int32), "axis": int64(3)}, x))
	g := mustGraph(t, b)
	if got := g.Outputs[0].DType.String() + g.Outputs[0].Shape.String(); got != "float64[N,24]" {
		t.Errorf("with the default: %s", got)
	}
	if got := g.Outputs[1].DType.String() + g.Outputs[1].Shape.String(); got != "int32[?,4]" {
		t.Errorf("with the attribute: %s", got)
	}
}

// Functions that call functions twice each do not take for ever.
func TestFunctionBomb(t *testing.T) {
	g := bomb(40)
	if err := infer.Shapes(g); !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), "steps") {
		t.Errorf("inference: %v", err)
	}
	if err := g.Inline(nil); !errors.Is(err, graph.ErrInvalid) || !strings.Contains(err.Error(), "nodes") {
		t.Errorf("inlining: %v", err)
	}
}

// bomb makes a graph of 2^n nodes by functions.
func bomb(n int) *graph.Graph {
	g := &graph.Graph{
		Inputs:  []graph.Value{{Name: "x", DType: tensor.Float32, Shape: sym(1)}},
		Outputs: []graph.Value{{Name: "y"}},
		Nodes:   []*graph.Node{{OpType: "F0", Domain: "d", Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
	for i := range n {
		next, domain := "Relu", ""
		if i < n-1 {
			next, domain = "F"+string(rune('0'+i+1)), "d"
		}
		g.Functions = append(g.Functions, &graph.Function{
			Domain: "d", Name: "F" + string(rune('0'+i)), Inputs: []string{"a"}, Outputs: []string{"c"},
			Nodes: []*graph.Node{
				{OpType: next, Domain: domain, Inputs: []string{"a"}, Outputs: []string{"b"}},
				{OpType: next, Domain: domain, Inputs: []string{"b"}, Outputs: []string{"c"}},
			},
		})
	}
	return g
}
