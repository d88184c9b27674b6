//go:build cgo

package onnxruntime_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// errNotPassed says that the library's Go wrapper cannot pass a case as its file has it: see port.
var errNotPassed = errors.New("its wrapper cannot pass it")

// alone runs a file's own bytes in the library, with nothing of ours around it but its settings.
func alone(data []byte, inputs []graph.Value, outputs []string, in []*tensor.Tensor) (out []*tensor.Tensor, err error) {
	if len(inputs) == 0 {
		return nil, errNotPassed
	}
	settings, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer settings.Destroy()
	if err := errors.Join(settings.SetIntraOpNumThreads(1), settings.SetInterOpNumThreads(1), settings.SetLogSeverityLevel(ort.LoggingLevelFatal)); err != nil {
		return nil, err
	}
	var names []string
	values := make([]ort.Value, len(in))
	for i, v := range inputs {
		names = append(names, v.Name)
		if in[i].Rank() == 0 {
			return nil, errNotPassed
		}
		if values[i], err = onnxruntime.ToValue(in[i]); err != nil {
			return nil, err
		}
		defer values[i].Destroy()
	}
	s, err := ort.NewDynamicAdvancedSessionWithONNXData(data, names, outputs, settings)
	if err != nil {
		return nil, err
	}
	defer s.Destroy()
	results := make([]ort.Value, len(outputs))
	if err := s.Run(values, results); err != nil {
		return nil, err
	}
	for _, v := range results {
		defer v.Destroy()
		if v.GetONNXType() != ort.ONNXTypeTensor || len(v.GetShape()) == 0 {
			return nil, errNotPassed
		}
		if _, raw := v.(*ort.CustomDataTensor); raw { // 16-bit numbers, of which the wrapper copies half
			return nil, errNotPassed
		}
		var shape tensor.Shape
		for _, d := range v.GetShape() {
			shape = append(shape, int(d))
		}
		t, err := onnxruntime.FromValue(v, shape, tensor.Invalid)
		if err != nil {
			return nil, err
		}
		out = append(out, t.Clone())
	}
	return out, nil
}

// same reports how two tensors differ in a bit; NaNs are alike.
func same(a, b *tensor.Tensor) error {
	if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) {
		return fmt.Errorf("%v%v and %v%v", a.DType(), a.Shape(), b.DType(), b.Shape())
	}
	switch x := a.Raw().(type) {
	case []float32:
		y := tensor.Data[float32](b)
		for i := range x {
			if math.Float32bits(x[i]) != math.Float32bits(y[i]) && (x[i] == x[i] || y[i] == y[i]) {
				return fmt.Errorf("element %d is %v and %v", i, x[i], y[i])
			}
		}
	case []string:
		if !slices.Equal(x, tensor.Data[string](b)) {
			return fmt.Errorf("%v and %v", a, b)
		}
	default:
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			return fmt.Errorf("%v and %v", a, b)
		}
	}
	return nil
}

// drawing are the operators whose results are not the same twice.
var drawing = []string{"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}

// holdItself runs a file through the engine, as a model of ours, and by itself. It returns false where that cannot be compared.
func holdItself(t *testing.T, library engine.Engine, data []byte, in map[string]*tensor.Tensor) bool {
	t.Helper()
	g, err := onnx.Decode(data, onnx.Options{})
	if err != nil {
		return false
	}
	var outputs []string
	for _, v := range g.Outputs {
		outputs = append(outputs, v.Name)
	}
	inputs := slices.DeleteFunc(g.Placeholders(), func(v graph.Value) bool { return in[v.Name] == nil })
	args := make([]*tensor.Tensor, len(inputs))
	for i, v := range inputs {
		args[i] = in[v.Name]
	}
	random := false
	graph.Walk(g.Nodes, func(n *graph.Node) { random = random || slices.Contains(drawing, n.OpType) })
	if random {
		return false
	}
	want, err := alone(data, inputs, outputs, args)
	if err != nil {
		return false // it does not run there, or not from Go
	}
	m, err := model.New(g)
	if err != nil {
		t.Errorf("the library runs the file, and it is no model of ours: %v", err)
		return true
	}
	s, err := library.Open(t.Context(), m.Graph, engine.Options{Threads: 1})
	if err != nil {
		t.Errorf("the library runs the file, and the engine does not: %v", err)
		return true
	}
	defer s.Close()
	got := make([]*tensor.Tensor, len(want))
	if err := s.Run(t.Context(), args, got); err != nil {
		t.Errorf("the library runs the file, and the engine does not: %v", err)
		return true
	}
	for i := range want {
		if err := same(got[i], want[i]); err != nil {
			t.Errorf("output %q through the engine and by itself: %v", outputs[i], err)
		}
	}
	return true
}

// TestFileItself: what the engine changes in a graph for the library changes no bit of what the file's own bytes give there, on each of ONNX's cases.
func TestFileItself(t *testing.T) {
	const dir = "/usr/share/libonnx-testdata/data"
	library := open(t)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: apt-get install libonnx-testdata", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "*", "model.onnx"))
	if err != nil || len(files) < 1000 {
		t.Fatalf("%d cases in %s: %v", len(files), dir, err)
	}
	held := 0
	for _, file := range files {
		t.Run(filepath.Base(filepath.Dir(file)), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g, err := onnx.Decode(data, onnx.Options{})
			if err != nil {
				return
			}
			in := map[string]*tensor.Tensor{}
			for i, v := range g.Placeholders() {
				raw, err := os.ReadFile(filepath.Join(filepath.Dir(file), "test_data_set_0", fmt.Sprintf("input_%d.pb", i)))
				if err != nil {
					return // of another input's number, or none
				}
				if in[v.Name], err = onnx.DecodeTensor(raw); err != nil || in[v.Name].DType() != v.DType {
					return
				}
			}
			if holdItself(t, library, data, in) {
				held++
			}
		})
	}
	t.Logf("%d of %d files were held against themselves", held, len(files))
	if held < 790 {
		t.Errorf("only %d of %d files were held against themselves", held, len(files))
	}
}

// TestNetsThemselves is the same for the nets that PyTorch exported, quantized ones among them.
func TestNetsThemselves(t *testing.T) {
	library := open(t)
	folder := sharedtest.Data(t, "pytorch", "models")
	files, err := filepath.Glob(filepath.Join(folder, "*", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no nets in %s: %v", folder, err)
	}
	held := 0
	for _, file := range files {
		name := filepath.Base(filepath.Dir(file))
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := os.ReadFile(filepath.Join(filepath.Dir(file), "data.npz"))
			if err != nil {
				t.Fatal(err)
			}
			arrays, err := media.ReadNPZ(bytes.NewReader(raw), int64(len(raw)), 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			in := map[string]*tensor.Tensor{}
			for name, a := range arrays {
				if input, ok := strings.CutPrefix(name, "0.in."); ok {
					in[input] = a
				}
			}
			if holdItself(t, library, data, in) {
				held++
			} else if !slices.Contains([]string{"if_loop-opset11", "mlp_external", "mlp_float16-dynamo-opset20"}, name) { // a scalar, data beside the file, 16-bit outputs
				t.Error("it could not be held against itself")
			}
		})
	}
	t.Logf("%d of %d nets were held against themselves", held, len(files))
}

// TestQuantizedThemselves is the same for nets with weights quantized by channel, as the library's own tool writes them: pairs of QuantizeLinear and
// DequantizeLinear around each operator, which the library joins into integer arithmetic.
func TestQuantizedThemselves(t *testing.T) {
	library := open(t)
	for _, signed := range []bool{false, true} {
		for _, op := range []string{"Conv", "MatMul", "Gemm"} {
			for _, declared := range []bool{false, true} {
				t.Run(fmt.Sprint(op, " signed ", signed, " declared ", declared), func(t *testing.T) {
					g, x := quantizedNet(op, signed)
					if declared {
						if err := infer.Shapes(g); err != nil {
							t.Fatal(err)
						}
					}
					data, err := onnx.Encode(g)
					if err != nil {
						t.Fatal(err)
					}
					if !holdItself(t, library, data, map[string]*tensor.Tensor{"x": x}) {
						t.Error("it could not be held against itself")
					}
				})
			}
		}
	}
}

// quantizedNet is two operators with weights quantized by channel, and an input for it.
func quantizedNet(op string, signed bool) (*graph.Graph, *tensor.Tensor) {
	r := rand.New(rand.NewPCG(7, 8))
	b := graph.NewBuilder("quantized")
	shape := []int{4, 8}
	if op == "Conv" {
		shape = []int{2, 8, 6, 6}
	}
	x := tensor.Must(tensor.New(tensor.Float32, shape...))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(r.NormFloat64())
	}
	zero := func() string {
		if signed {
			return b.Init("zero", tensor.Scalar(int8(-3)))
		}
		return b.Init("zero", tensor.Scalar(uint8(121)))
	}
	pass := func(v string, scale float32) string {
		s, z := b.Init("scale", tensor.Scalar(scale)), zero()
		return b.Op("DequantizeLinear", nil, b.Op("QuantizeLinear", nil, v, s, z), s, z)
	}
	v := pass(b.Input("x", tensor.Float32, graph.Dims(shape...)), 0.03)
	for layer := range 2 {
		dims, axis := []int{8, 8}, int64(1)
		switch op {
		case "Conv":
			dims, axis = []int{8, 8, 3, 3}, 0
		case "Gemm":
			axis = 0
		}
		w := tensor.Must(tensor.New(tensor.Int8, dims...))
		for i := range tensor.Data[int8](w) {
			tensor.Data[int8](w)[i] = int8(r.IntN(255) - 127)
		}
		scales, biases, biasScales := make([]float32, 8), make([]int32, 8), make([]float32, 8)
		for i := range scales {
			scales[i] = 0.001 + r.Float32()*0.01
			biases[i], biasScales[i] = int32(r.IntN(2000)-1000), scales[i]*0.03
		}
		weights := b.Op("DequantizeLinear", graph.Attrs{"axis": axis}, b.Init("w", w), b.Init("ws", tensor.Vector(scales...)), b.Init("wz", tensor.Must(tensor.New(tensor.Int8, 8))))
		bias := b.Op("DequantizeLinear", graph.Attrs{"axis": int64(0)}, b.Init("b", tensor.Vector(biases...)), b.Init("bs", tensor.Vector(biasScales...)), b.Init("bz", tensor.Must(tensor.New(tensor.Int32, 8))))
		switch op {
		case "Conv":
			v = b.Op(op, graph.Attrs{"kernel_shape": []int64{3, 3}, "pads": []int64{1, 1, 1, 1}}, v, weights, bias)
		case "Gemm":
			v = b.Op(op, graph.Attrs{"transB": int64(1)}, v, weights, bias)
		default:
			v = b.Op(op, nil, v, weights)
		}
		if layer == 0 {
			v = b.Op("Relu", nil, v)
		}
		v = pass(v, 0.05)
	}
	b.Output(b.Name(v, "y"))
	g, err := b.Graph()
	if err != nil {
		panic(err)
	}
	g.Opset[graph.OnnxDomain] = 13
	return g, x
}
