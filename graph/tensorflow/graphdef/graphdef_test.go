package graphdef_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/internal/limittest"
)

const text = `# a comment
node {
  name: "x" op: 'Placeholder'
  device: "/job:w/task:0" # ignored
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } dim { size: 3 name: "w" } } } }
}
node < name: "c"
  op: "Const",
  attr: { key: "value" value: { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 4 } } float_val: [1.5, -2e1f] } } }
  attr: { key: "i" value: { list { i: [0x10, -3] i: 017 } } }
  attr: { key: "b" value: { b: true } }
  attr: { key: "s" value: { s: "a\n\x41\102" "\"more\u00e9" } }
  attr: { key: "f" value: { f: -inf } }
  attr: { key: "n" value: { f: nan } }
  unknown_field { a: 1 b { c: "}" } [type.googleapis.com/x.Y] { z: 2 } }
  input: "x" input: "^x"
>
versions { producer: 22 min_consumer: 12 }
library { function {
  signature { name: "f" input_arg { name: "a" type: DT_INT32 } output_arg { name: "r" type_attr: "T" } }
  node_def { name: "n" op: "Neg" input: "a" attr { key: "T" value { placeholder: "T" } } }
  ret { key: "r" value: "n:y:0" }
  control_ret { key: "n" value: "n" }
} }
`

// The text form says the same as the binary one.
func TestText(t *testing.T) {
	if !graphdef.IsText([]byte(text)) {
		t.Error("it is not taken for text")
	}
	data, err := graphdef.Binary(graphdef.GraphDef, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if graphdef.IsText(data) {
		t.Error("the binary form is taken for text")
	}
	g, err := graphdef.DecodeGraph(data)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 2 || g.Nodes[1].Name != "c" || g.Producer != 22 || g.MinConsumer != 12 || fmt.Sprint(g.Nodes[1].Inputs) != "[x ^x]" {
		t.Fatalf("%+v", g)
	}
	a := g.Nodes[1].Attrs
	ints, err1 := a.Ints("i", nil)
	b, err2 := a.Bool("b", false)
	s, err3 := a.String("s", "")
	f, err4 := a.Float("f", 0)
	n, err5 := a.Float("n", 0)
	v, err6 := a.Tensor("value")
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(ints, b, f, n); got != "[16 -3 15] true -Inf NaN" {
		t.Error(got)
	}
	if s != "a\nAB\"moreé" {
		t.Errorf("%q", s)
	}
	value, err := v.Decode()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(value); got != "float32[4]{1.5 -20 -20 -20}" {
		t.Error(got)
	}
	shape, ok, err := g.Nodes[0].Attrs.Shape("shape")
	if err != nil || !ok || shape.String() != "[?,3]" {
		t.Error(shape, ok, err)
	}
	fn := g.Functions[0]
	if fn.Name != "f" || fn.Return["r"] != "n:y:0" || fmt.Sprint(fn.ControlReturn) != "[n]" || fn.Inputs[0].Type != graphdef.Int32 || fn.Outputs[0].TypeAttr != "T" {
		t.Errorf("%+v", fn)
	}
	bound, err := fn.Nodes[0].Attrs.With(mustAttrs(t, `attr { key: "T" value { type: DT_INT64 } }`))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := bound.Type("T", 0); d != graphdef.Int64 || err != nil {
		t.Error(d, err)
	}
	if left, err := fn.Nodes[0].Attrs.With(nil); err != nil || left.Has("T") {
		t.Error("an attribute that refers to nothing is there", err)
	}
}

func mustAttrs(t *testing.T, attrs string) graphdef.Attrs {
	t.Helper()
	data, err := graphdef.Binary(graphdef.GraphDef, []byte(`node { name: "n" op: "o" `+attrs+` }`))
	if err != nil {
		t.Fatal(err)
	}
	g, err := graphdef.DecodeGraph(data)
	if err != nil {
		t.Fatal(err)
	}
	return g.Nodes[0].Attrs
}

// Faults of the text form come with their line.
func TestTextFaults(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"node {\n name: \"x\n\" }", "line 2: name: not a valid TensorFlow file: a string is not closed"},
		{"node {\n name: \"x\"", "line 2: not a valid TensorFlow file: node is not closed"},
		{"node { name: 5 }", "name is \"5\", which does not fit"},
		{"node 5", "expected a colon or a brace after node"},
		{"node { attr { value { i: 1.5 } } }", "i is \"1.5\", which is no integer"},
		{"node { attr { value { type: DT_NOTHING } } }", "no data type"},
		{"\n\n}", "line 3"},
		{"node { name: \"\\q\" }", "there is no escape"},
		{"node { name: \"\\xZ\" }", "is damaged"},
		{"versions { producer: }", "producer has no value"},
		{"[a.b", "not closed"},
		{strings.Repeat("library{function{node_def{attr{value{list{func{attr{value{list{func{attr{value", 20), "nest more than"},
		{strings.Repeat("x {", 70), "nest more than"},
	} {
		if _, err := graphdef.Binary(graphdef.GraphDef, []byte(tt.text)); err == nil || !errors.Is(err, graphdef.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.40q gives %v, want %q", tt.text, err, tt.want)
		}
	}
}

// Tensors of every type and form.
func TestTensors(t *testing.T) {
	for _, tt := range []struct{ tensor, want string }{
		{`dtype: DT_INT32 tensor_shape { dim { size: 3 } } int_val: 7`, "int32[3]{7 7 7}"},
		{`dtype: DT_INT8 tensor_shape { dim { size: 2 } } int_val: [-1, 2]`, "int8[2]{-1 2}"},
		{`dtype: DT_UINT16 tensor_shape { } int_val: 65535`, "uint16[]{65535}"},
		{`dtype: DT_QUINT8 tensor_shape { } int_val: 255`, "uint8[]{255}"},
		{`dtype: DT_INT64 tensor_shape { dim { size: 2 } } int64_val: -9223372036854775808`, "int64[2]{-9223372036854775808 -9223372036854775808}"},
		{`dtype: DT_UINT32 tensor_shape { } uint32_val: 4294967295`, "uint32[]{4294967295}"},
		{`dtype: DT_UINT64 tensor_shape { } uint64_val: 18446744073709551615`, "uint64[]{18446744073709551615}"},
		{`dtype: DT_BOOL tensor_shape { dim { size: 2 } } bool_val: [true, false]`, "bool[2]{true false}"},
		{`dtype: DT_HALF tensor_shape { } half_val: 15360`, "float16[]{1}"},
		{`dtype: DT_BFLOAT16 tensor_shape { } half_val: 16256`, "bfloat16[]{1}"},
		{`dtype: DT_DOUBLE tensor_shape { dim { size: 2 } } double_val: 0.1`, "float64[2]{0.1 0.1}"},
		{`dtype: DT_STRING tensor_shape { dim { size: 2 } } string_val: "a" string_val: "b"`, `string[2]{"a" "b"}`},
		{`dtype: DT_COMPLEX64 tensor_shape { dim { size: 2 } } scomplex_val: [1, 2]`, "complex64[2]{(1+2i) (1+2i)}"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: 2 } } tensor_content: "\000\000\200?\000\000\000@"`, "float32[2]{1 2}"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: 0 } dim { size: 5 } }`, "float32[0,5]{}"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: 2 } }`, "float32[2]{0 0}"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: 1 } } float_val: [1, 2]`, "2 elements are stored"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: 3 } } tensor_content: "\000\000\200?\000"`, "shape does not fit"},
		{`dtype: DT_RESOURCE tensor_shape { }`, "a tensor of type DT_RESOURCE"},
		{`dtype: DT_FLOAT tensor_shape { unknown_rank: true }`, "a tensor's shape is [...]"},
		{`dtype: DT_FLOAT tensor_shape { dim { size: -1 } }`, "a tensor's shape is [?]"},
	} {
		attr := fmt.Sprintf("attr { key: %q value { tensor { %s } } }", "v", tt.tensor)
		v, err := mustAttrs(t, attr).Tensor("v")
		if err == nil {
			var value fmt.Stringer
			if value, err = v.Decode(); err == nil {
				if got := value.String(); got != tt.want {
					t.Errorf("%s gives %s, want %s", tt.tensor, got, tt.want)
				}
				continue
			}
		}
		if !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s gives %v, want %s", tt.tensor, err, tt.want)
		}
	}
}

// A SavedModel's signatures, objects and operators.
func TestSavedModel(t *testing.T) {
	data, err := graphdef.Binary(graphdef.SavedModel, []byte(`
saved_model_schema_version: 1
meta_graphs {
  meta_info_def { tags: "serve" tags: "gpu" tensorflow_version: "2.21.0" stripped_op_list { op { name: "TopKV2" output_arg { name: "values" } output_arg { name: "indices" } } } }
  graph_def { node { name: "x" op: "Placeholder" } }
  saver_def { filename_tensor_name: "save/Const:0" restore_op_name: "save/restore_all" }
  signature_def { key: "serving_default" value {
    inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } } } }
    outputs { key: "y" value { coo_sparse { values_tensor_name: "v:0" } } }
    defaults { key: "z" value { dtype: DT_INT32 tensor_shape { } int_val: 3 } }
    method_name: "tensorflow/serving/predict"
  } }
  asset_file_def { tensor_info { name: "f:0" } filename: "words.txt" }
  object_graph_def {
    nodes { children { node_id: 1 local_name: "w" } user_object { identifier: "_generic" } }
    nodes { variable { name: "dense/kernel" dtype: DT_FLOAT } }
    concrete_functions { key: "f" value { bound_inputs: [1, 0] } }
  }
}`))
	if err != nil {
		t.Fatal(err)
	}
	all, err := graphdef.DecodeSavedModel(data)
	if err != nil {
		t.Fatal(err)
	}
	m := all[0]
	s := m.Signatures["serving_default"]
	if fmt.Sprintln(m.Tags, m.TensorFlow, m.Saver.Restore, m.Assets, len(m.Ops[0].Outputs)) != "[serve gpu] 2.21.0 save/restore_all map[f:0:words.txt] 2\n" {
		t.Errorf("%+v", m)
	}
	if in := s.Inputs["x"]; in.Name != "x:0" || in.Shape.String() != "[?]" || s.Outputs["y"].Kind != "a sparse tensor" || s.Defaults["z"] == nil {
		t.Errorf("%+v", s)
	}
	o := m.Objects
	if len(o.Nodes) != 2 || o.Nodes[0].Kind != "user" || o.Nodes[0].Children[0].Node != 1 || o.Nodes[1].Variable != "dense/kernel" || fmt.Sprint(o.Bound["f"]) != "[1 0]" {
		t.Errorf("%+v", o)
	}
}

// Kinds of attributes that do not fit, and those that are left out.
func TestAttrs(t *testing.T) {
	a := mustAttrs(t, `attr { key: "i" value { i: 5 } } attr { key: "none" value { } } attr { key: "l" value { list { s: "a" } } }`)
	if _, err := a.Float("i", 1); err == nil || !strings.Contains(err.Error(), `attribute "i" is of kind int, not float`) {
		t.Error(err)
	}
	if _, err := a.Ints("l", nil); err == nil {
		t.Error("a list of strings is one of integers")
	}
	if v, err := a.Int("none", 7); v != 0 || err != nil {
		t.Error(v, err)
	}
	if v, err := a.Int("left out", 7); v != 7 || err != nil {
		t.Error(v, err)
	}
	if s, err := a.Strings("l"); fmt.Sprint(s) != "[a]" || err != nil {
		t.Error(s, err)
	}
}

// A file of very many tiny parts is refused before it takes more memory than it justifies.
func TestBudget(t *testing.T) {
	data := bytes.Repeat(protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), nil), 4<<20)
	if _, err := graphdef.DecodeGraph(data); err == nil || !strings.Contains(err.Error(), "more parts than its size can justify") {
		t.Error(err)
	}
}

// FuzzDecode: every file is read or refused.
func FuzzDecode(f *testing.F) {
	for _, kind := range []string{graphdef.GraphDef, graphdef.MetaGraphDef, graphdef.SavedModel} {
		data, err := graphdef.Binary(kind, []byte(text))
		if err == nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		limittest.Hold(t, len(data), func() { decodeAll(data) })
	})
}

func decodeAll(data []byte) {
	if g, err := graphdef.DecodeGraph(data); err == nil {
		touch(g)
	}
	if m, err := graphdef.DecodeMeta(data); err == nil {
		touch(m.Graph)
	}
	if ms, err := graphdef.DecodeSavedModel(data); err == nil {
		for _, m := range ms {
			touch(m.Graph)
		}
	}
}

// touch decodes what is decoded on demand.
func touch(g *graphdef.Graph) {
	for _, n := range g.Nodes {
		for _, a := range n.Attrs {
			_, _ = n.Attrs.Int(a.Name, 0)
			_, _ = n.Attrs.Func(a.Name)
			_, _ = n.Attrs.Funcs(a.Name)
			_, _ = n.Attrs.Shapes(a.Name)
			v, err := n.Attrs.Tensor(a.Name)
			if err != nil || v == nil {
				continue
			}
			if stored, err := v.Stored(); err == nil && stored >= v.Shape.Size() {
				_, _ = v.Decode()
			}
			_, _ = v.Last()
		}
	}
}

// FuzzText: every text is turned into a binary file, or refused.
func FuzzText(f *testing.F) {
	f.Add([]byte(text))
	f.Add([]byte(`library { function { signature { name: "f" output_arg { name: "b_o1" } } node { ret: "b" ret: "b_o1" op: "TopK" arg: "a" dep: "b" } } }`))
	f.Add([]byte(`node: { name: "a" 'b' } node <> [x.y/z]: 5; library { function { ret { key: "a" } } }`))
	f.Fuzz(func(t *testing.T, data []byte) {
		limittest.Hold(t, len(data), func() {
			for _, kind := range []string{graphdef.GraphDef, graphdef.SavedModel} {
				if out, err := graphdef.Binary(kind, data); err == nil {
					_, _ = graphdef.DecodeGraph(out)
				}
			}
		})
	})
}
