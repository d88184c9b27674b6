package tensorflow_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// importText imports a file in the text form, through its ONNX file.
func importText(t *testing.T, name, text string, opts tensorflow.Options) (*graph.Graph, []string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	opts.Evaluator = native.Evaluator()
	res, err := tensorflow.Import(t.Context(), path, opts)
	if err != nil {
		return nil, nil, err
	}
	file, err := onnx.Encode(res.Graph)
	if err != nil {
		t.Fatal(err)
	}
	g, err := onnx.Decode(file, onnx.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return g, res.Notes, nil
}

// runAll runs a graph on every engine that is here and returns what each output is, which must be the same.
func runAll(t *testing.T, g *graph.Graph, in map[string]*tensor.Tensor) map[string]map[string]*tensor.Tensor {
	t.Helper()
	all := map[string]map[string]*tensor.Tensor{}
	for name, e := range engines(t) {
		s, err := e.Open(t.Context(), g, engine.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		defer s.Close()
		out, err := engine.Run(t.Context(), s, in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		all[name] = out
	}
	return all
}

// An input with a default in its signature may be left out, or be fed like the others.
func TestDefaults(t *testing.T) {
	const model = `saved_model_schema_version: 1 meta_graphs { meta_info_def { tags: "serve" }
graph_def {
	node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { dim { size: -1 } } } } }
	node { name: "s" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { } } } }
	node { name: "y" op: "Mul" input: "x" input: "s" attr { key: "T" value { type: DT_FLOAT } } }
}
signature_def { key: "serving_default" value {
	inputs { key: "x" value { name: "x:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } } } }
	inputs { key: "scale" value { name: "s:0" dtype: DT_FLOAT tensor_shape { } } }
	outputs { key: "y" value { name: "y:0" dtype: DT_FLOAT tensor_shape { dim { size: -1 } } } }
	defaults { key: "scale" value { DEFAULT } }
} } }`
	with := func(def string) string { return strings.Replace(model, "DEFAULT", def, 1) }
	g, notes, err := importText(t, "saved_model.pbtxt", with(`dtype: DT_FLOAT tensor_shape { } float_val: 3`), tensorflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(notes, "\n"), `input "scale" may be left out`) {
		t.Errorf("%q", notes)
	}
	for name, out := range runAll(t, g, map[string]*tensor.Tensor{"x": tensor.Vector[float32](1, 2)}) {
		if got := tensor.Data[float32](out["y"]); len(got) != 2 || got[0] != 3 || got[1] != 6 {
			t.Errorf("%s: %v", name, got)
		}
	}
	// Asked for by name, it is an input like the others.
	g, _, err = importText(t, "saved_model.pbtxt", with(`dtype: DT_FLOAT tensor_shape { } float_val: 3`), tensorflow.Options{Inputs: []string{"x", "scale"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range runAll(t, g, map[string]*tensor.Tensor{"x": tensor.Vector[float32](1, 2), "scale": tensor.Scalar[float32](5)}) {
		if got := tensor.Data[float32](out["y"]); got[1] != 10 {
			t.Errorf("%s: %v", name, got)
		}
	}
	for def, want := range map[string]string{
		`dtype: DT_INT32 tensor_shape { } int_val: 3`:                                        `input "scale" is float32, and its default`,
		`dtype: DT_FLOAT tensor_shape { dim { size: 2 } } float_val: 3`:                      "its shape is [2], the input's []",
		`dtype: DT_FLOAT tensor_shape { dim { size: 1073741824 } } float_val: 3`:             "few of its elements are in the file",
		`dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 1 } } float_val: [1, 2]`: "default of input",
	} {
		if _, _, err := importText(t, "saved_model.pbtxt", with(def), tensorflow.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", def, err, want)
		}
	}
}

// A function in the form of TensorFlow 0.11 and before names the results of its nodes.
func TestOldFunction(t *testing.T) {
	g, _, err := importText(t, "graph.pbtxt", `
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } attr { key: "shape" value { shape { dim { size: 4 } } } } }
node { name: "y" op: "f" input: "x" }
library { function {
	signature { name: "f" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "Sub" type: DT_FLOAT } }
	node { ret: "k" op: "Const" attr { key: "dtype" value { type: DT_INT32 } } attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { } int_val: 2 } } } }
	node { ret: "TopK" ret: "TopK_o1" op: "TopKV2" arg: "a" arg: "k" attr { key: "T" value { type: DT_FLOAT } } }
	node { ret: "i" op: "Cast" arg: "TopK_o1" dep: "TopK" attr { key: "SrcT" value { type: DT_INT32 } } attr { key: "DstT" value { type: DT_FLOAT } } }
	node { ret: "Sub" op: "Sub" arg: "TopK" arg: "i" attr { key: "T" value { type: DT_FLOAT } } }
} }
versions { producer: 15 }`, tensorflow.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, out := range runAll(t, g, map[string]*tensor.Tensor{"x:0": tensor.Vector[float32](1, 9, 3, 7)}) {
		if got := tensor.Data[float32](out["y:0"]); len(got) != 2 || got[0] != 8 || got[1] != 4 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func optionsFor(outputs ...string) tensorflow.Options { return tensorflow.Options{Outputs: outputs} }
