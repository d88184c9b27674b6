package onnx_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/tensor"
)

func sameTensor(a, b *tensor.Tensor) bool {
	if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) {
		return false
	}
	if a.DType() == tensor.String {
		return cmp.Equal(tensor.Data[string](a), tensor.Data[string](b))
	}
	return bytes.Equal(a.Bytes(), b.Bytes())
}

var graphOpts = cmp.Options{
	cmp.Comparer(func(a, b *tensor.Tensor) bool { return a == b || a != nil && b != nil && sameTensor(a, b) }),
	cmpopts.EquateNaNs(),
}

// Every model of ONNX's own test cases and of PyTorch's exporters is read, and comes back the same from a file.
func TestGoldenRoundTrip(t *testing.T) {
	for name, dir := range map[string]func(testing.TB) string{
		"onnx":    onnxCases,
		"pytorch": func(t testing.TB) string { return sharedtest.Data(t, "pytorch") },
	} {
		t.Run(name, func(t *testing.T) {
			files := models(t, dir(t), ".onnx")
			for _, file := range files {
				g, err := onnx.Open(file)
				if err != nil {
					t.Errorf("%v", err)
					continue
				}
				first, err := onnx.Encode(g)
				if err != nil {
					t.Errorf("%s: %v", file, err)
					continue
				}
				again, err := onnx.Decode(first, onnx.Options{})
				if err != nil {
					t.Errorf("%s: what was written cannot be read: %v", file, err)
					continue
				}
				if diff := cmp.Diff(g, again, graphOpts); diff != "" {
					t.Errorf("%s changed on its way (-before +after):\n%s", file, diff)
				}
				second, err := onnx.Encode(again)
				if err != nil || !bytes.Equal(first, second) {
					t.Errorf("%s: writing twice gives other bytes (%v)", file, err)
				}
			}
			t.Logf("%d models", len(files))
		})
	}
}

// The tensors of the test cases are read and come back the same; sequences and optionals are refused.
func TestGoldenTensors(t *testing.T) {
	read, refused := 0, 0
	for _, file := range models(t, onnxCases(t), ".pb") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		tt, err := onnx.DecodeTensor(data)
		if err != nil {
			other := strings.Contains(file, "seq") || strings.Contains(file, "opt") || strings.Contains(file, "loop")
			if !other || !errors.Is(err, onnx.ErrFormat) && !errors.Is(err, onnx.ErrUnsupported) {
				t.Errorf("%s: %v", file, err)
			}
			refused++
			continue
		}
		read++
		enc, err := onnx.EncodeTensor("x", tt)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		back, err := onnx.DecodeTensor(enc)
		if err != nil || !sameTensor(tt, back) {
			t.Errorf("%s: %v came back as %v (%v)", file, tt, back, err)
		}
	}
	t.Logf("%d tensors read, %d refused", read, refused)
}

// Node names that come twice, which some exporters write, get numbers.
func TestDecodeSameNames(t *testing.T) {
	g, err := onnx.Decode(model(11, pb(1, "x"), 1, pb(1, "x", 2, "a", 3, "n", 4, "Relu"), 1, pb(1, "a", 2, "b", 3, "n", 4, "Relu"),
		1, pb(1, "b", 2, "c", 3, "n_2", 4, "Relu"), 1, pb(1, "c", 2, "y", 3, "n", 4, "Relu"), 12, pb(1, "y")), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range g.Nodes {
		names = append(names, n.Name)
	}
	if got := strings.Join(names, " "); got != "n n_3 n_2 n_5" {
		t.Errorf("names %s", got)
	}
}

// Every kind of attribute comes back as it was, and a type that has no place in a file is refused.
func TestAttributeKinds(t *testing.T) {
	sub := func() *graph.Graph {
		return &graph.Graph{Name: "sub", Nodes: []*graph.Node{}, Initializers: []graph.Initializer{{Name: "c", Tensor: tensor.Scalar(true)}},
			Inputs: []graph.Value{}, Outputs: []graph.Value{{Name: "c"}}, Values: []graph.Value{}}
	}
	attrs := graph.Attrs{
		"i": int64(-3), "f": float32(-1.5), "s": "\xff", "ints": []int64{1, -1}, "floats": []float32{}, "strings": []string{"", "b"},
		"t": tensor.Vector[float32](1, 2), "ts": []*tensor.Tensor{tensor.Scalar("x")}, "g": sub(), "gs": []*graph.Graph{sub(), sub()},
		"type": graph.Value{DType: tensor.Int64, Shape: graph.Shape{{Size: -1, Symbol: "N"}, {Size: -1}}, Container: "optional(sequence)"},
	}
	build := func(attrs graph.Attrs) *graph.Graph {
		return &graph.Graph{
			Opset: map[string]int64{"": 17, "d": 2}, IRVersion: 8, Producer: "test",
			Name: "g", Metadata: map[string]string{"b": "2", "a": "1"},
			Nodes:   []*graph.Node{{OpType: "Op", Domain: "d", Name: "n", Doc: "doc", Inputs: []string{""}, Outputs: []string{"y"}, Attrs: attrs}},
			Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Shape{}, Doc: "scalar"}},
		}
	}
	g := build(attrs)
	var buf bytes.Buffer
	if err := onnx.Write(&buf, g); err != nil {
		t.Fatal(err)
	}
	back, err := onnx.Decode(buf.Bytes(), onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(g, back, graphOpts, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("it changed on its way (-before +after):\n%s", diff)
	}
	for name, bad := range map[string]any{"Go type int": 3, "outside a function": graph.AttrRef("x"), "nil": (*tensor.Tensor)(nil),
		"unknown container": graph.Value{DType: tensor.Int64, Container: "bag"}} {
		if _, err := onnx.Encode(build(graph.Attrs{"a": bad})); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v; want an error with %q", bad, err, name)
		}
	}
	f := &graph.Function{Domain: "d", Name: "Op", Outputs: []string{"y"}, Attrs: []string{"a"}, Nodes: []*graph.Node{
		{OpType: "Secret", Domain: "e", Outputs: []string{"y"}, Attrs: graph.Attrs{"strange": graph.AttrRef("a")}}}}
	g = build(nil)
	g.Functions = []*graph.Function{f}
	if _, err := onnx.Encode(g); err == nil || !strings.Contains(err.Error(), "Function.Kinds") {
		t.Errorf("a reference of unknown kind: %v", err)
	}
	// The kind may come from a call, a default, or the function itself.
	g.Nodes[0].Attrs = graph.Attrs{"a": int64(1)}
	if _, err := onnx.Encode(g); err != nil {
		t.Error(err)
	}
	g.Nodes[0].Attrs = nil
	f.Kinds = map[string]string{"a": "FLOATS"}
	data, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := onnx.Decode(data, onnx.Options{}); err != nil || back.Functions[0].Kinds["a"] != "FLOATS" {
		t.Errorf("the kind came back as %v (%v)", back, err)
	}
}

// A graph without versions gets those that its operators need.
func TestEncodeVersions(t *testing.T) {
	for op, want := range map[string][2]int64{"Relu": {17, 8}, "BitwiseNot": {18, 8}, "Gelu": {20, 9}, "Swish": {24, 12}} {
		g := &graph.Graph{Inputs: []graph.Value{{Name: "x"}}, Outputs: []graph.Value{{Name: "y"}},
			Nodes: []*graph.Node{{OpType: op, Inputs: []string{"x"}, Outputs: []string{"y"}}}}
		data, err := onnx.Encode(g)
		if err != nil {
			t.Fatal(err)
		}
		back, err := onnx.Decode(data, onnx.Options{})
		if err != nil || back.Opset[""] != want[0] || back.IRVersion != want[1] {
			t.Errorf("%s: opset %d, IR version %d (%v); want %v", op, back.Opset[""], back.IRVersion, err, want)
		}
		if g.Opset != nil {
			t.Error("the graph itself changed")
		}
	}
}

// Names that tools write where a dimension has none say nothing of each other.
func TestDecodeUnnamed(t *testing.T) {
	x := graph.Value{Name: "x", DType: tensor.Float32}
	for _, symbol := range []string{"?", "-1", "None", "*", " ", "N", "unk__1", "null"} {
		x.Shape = append(x.Shape, graph.Dim{Size: -1, Symbol: symbol})
	}
	data, err := onnx.Encode(&graph.Graph{Inputs: []graph.Value{x}, Outputs: []graph.Value{x}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Decode(data, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range g.Inputs[0].Shape {
		want := ""
		if i == 5 || i == 6 {
			want = x.Shape[i].Symbol
		}
		if d.Size != -1 || d.Symbol != want {
			t.Errorf("%q became %q", x.Shape[i].Symbol, d.Symbol)
		}
	}
}
