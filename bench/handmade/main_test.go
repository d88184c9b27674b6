package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// engines are those that are here: the native one has no MaxUnpool, so the convolutional graph needs the library.
func engines(t *testing.T) []engine.Engine {
	t.Helper()
	list := []engine.Engine{native.New(native.Config{})}
	library, err := onnxruntime.New(onnxruntime.Config{Library: os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH")})
	switch {
	case err == nil:
		list = append(list, library)
	case os.Getenv("CI") != "":
		t.Fatal(err)
	default:
		t.Logf("without onnxruntime: %v", err)
	}
	return list
}

// model writes the forward pass of a net by itself, with the variables as initializers.
func model(values map[string]*tensor.Tensor, conv bool) (*graph.Graph, error) {
	b := graph.NewBuilder("model")
	variable := func(name string) string { return b.Init(name, values[name]) }
	dense := func(x, layer string) string {
		return b.Op("Gemm", nil, x, variable(layer+".weight"), variable(layer+".bias"))
	}
	var x string
	if conv {
		x = b.Input("x", tensor.Float32, graph.Dims(batch, 1, 28, 28))
		for _, layer := range []string{"conv1", "conv2"} {
			k := int64(values[layer+".weight"].Shape()[2])
			x = b.Op("Conv", graph.Attrs{"pads": []int64{k / 2, k / 2, k / 2, k / 2}}, x, variable(layer+".weight"), variable(layer+".bias"))
			x = b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}, "strides": []int64{2, 2}}, b.Op("Relu", nil, x))
		}
		x = dense(b.Op("Relu", nil, dense(b.Op("Flatten", nil, x), "dense1")), "dense2")
	} else {
		x = b.Input("x", tensor.Float32, graph.Dims(batch, 784))
		x = b.Op("Relu", nil, dense(x, "dense1"))
		x = dense(b.Op("Relu", nil, dense(x, "dense2")), "dense3")
	}
	b.Output(b.Name(x, "y"))
	return infer.Build(b)
}

// first are values for a step's inputs. The learning rate is so high that an update is nearly its gradient alone.
func first(g *graph.Graph) map[string]*tensor.Tensor {
	random := rand.New(rand.NewPCG(5, 6))
	values := map[string]*tensor.Tensor{}
	for _, v := range g.Inputs {
		dims := make([]int, len(v.Shape))
		for i, d := range v.Shape {
			dims[i] = int(d.Size)
		}
		t := tensor.Must(tensor.New(v.DType, dims...))
		values[v.Name] = t
		switch v.Name {
		case "target":
			for i := range tensor.Data[int64](t) {
				tensor.Data[int64](t)[i] = random.Int64N(10)
			}
		case "learning_rate":
			tensor.Data[float32](t)[0] = 1e4
		default:
			for i := range tensor.Data[float32](t) {
				tensor.Data[float32](t)[i] = float32(random.NormFloat64() * 0.1)
			}
		}
	}
	return values
}

// TestGradients: the graphs made by hand update every variable as those of package gradient do.
func TestGradients(t *testing.T) {
	for file, conv := range map[string]bool{"dense.onnx": false, "conv.onnx": true} {
		t.Run(file, func(t *testing.T) {
			g, err := onnx.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			values := first(g)
			m, err := model(values, conv)
			if err != nil {
				t.Fatal(err)
			}
			own, err := gradient.Build(m, gradient.Options{Loss: gradient.CrossEntropy, Optimizer: &gradient.Optimizer{Kind: gradient.SGD}, NoGradients: true})
			if err != nil {
				t.Fatal(err)
			}
			own, _ = gradient.Feed(own)
			list := engines(t)
			want := results(t, list[0], own, values)
			ran := 0
			for _, e := range list {
				if conv && e.Name() == native.Name {
					continue
				}
				ran++
				got := results(t, e, g, values)
				if len(got) != len(want) {
					t.Errorf("%s: %d outputs, want %d", e.Name(), len(got), len(want))
				}
				for name, w := range want {
					if err := close(tensor.Data[float32](got[name]), tensor.Data[float32](w)); err != nil {
						t.Errorf("%s: %s: %v", e.Name(), name, err)
					}
				}
			}
			if ran == 0 {
				t.Skip("needs onnxruntime: set ONNXRUNTIME_SHARED_LIBRARY_PATH")
			}
		})
	}
}

func results(t *testing.T, e engine.Engine, g *graph.Graph, values map[string]*tensor.Tensor) map[string]*tensor.Tensor {
	t.Helper()
	s, err := e.Open(t.Context(), g, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in := map[string]*tensor.Tensor{}
	for _, v := range s.Inputs() {
		in[v.Name] = values[v.Name]
	}
	out, err := engine.Run(t.Context(), s, in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// close allows rounding of sums that are taken in another order: a part of the largest element.
func close(got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(got), len(want))
	}
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	if top == 0 {
		return fmt.Errorf("nothing but zeros")
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - float64(w)); !(d <= 1e-5*top) {
			return fmt.Errorf("element %d is %v, want %v", i, got[i], w)
		}
	}
	return nil
}

// TestFiles: the files are what the program writes.
func TestFiles(t *testing.T) {
	for file, make := range map[string]func() (*graph.Graph, error){"dense.onnx": dense, "conv.onnx": conv} {
		g, err := make()
		if err != nil {
			t.Fatal(err)
		}
		want, err := onnx.Encode(g)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what `go run .` writes (%v)", file, err)
		}
	}
}
