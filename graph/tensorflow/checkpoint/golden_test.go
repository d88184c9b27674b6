package checkpoint_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// layer is a dense layer of a network that TensorFlow ran: its variables and what comes after them.
type layer struct {
	w, b string
	act  func(float64) float64
}

func relu(v float64) float64    { return max(v, 0) }
func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
func elu(v float64) float64 {
	if v < 0 {
		return math.Expm1(v)
	}
	return v
}

func snappyLayers() []layer {
	var all []layer
	for i := range 6 {
		scope := fmt.Sprintf("a_rather_long_scope/layer_%d/", i)
		all = append(all, layer{scope + "weights", scope + "biases", elu})
	}
	return all
}

// What TensorFlow computed with a checkpoint's variables comes out of the variables as they are read here.
func TestNetworks(t *testing.T) {
	mlp := []layer{{"hidden1/weights", "hidden1/biases", relu}, {"hidden2/weights", "hidden2/biases", relu}, {"softmax_linear/weights", "softmax_linear/biases", nil}}
	parts := []layer{{"net/w1", "net/b1", relu}, {"out/w2", "", nil}}
	tests := []struct {
		dir, file string
		version   int
		layers    []layer
	}{
		{"nn2h-v1", "model.ckpt", 1, mlp},
		{"tf1-snappy-v1", "model.ckpt", 1, snappyLayers()},
		{"tf1-partitioned-v1", "model.ckpt", 1, parts},
		{"tf1-partitioned-v2", "model.ckpt", 2, parts},
		{"tf1-multi-shard-meta", "model.ckpt", 2, []layer{{"w1", "b1", sigmoid}, {"w2", "b2", nil}}},
		{"tf1-multi-shard-meta", "model.ckpt.index", 2, []layer{{"w1", "b1", sigmoid}, {"w2", "b2", nil}}},
		{"tf1-multi-shard-meta", "model.ckpt.data-00001-of-00002", 2, []layer{{"w1", "b1", sigmoid}, {"w2", "b2", nil}}},
		{"tf1-multi-shard-meta", "", 2, []layer{{"w1", "b1", sigmoid}, {"w2", "b2", nil}}},
	}
	for _, tt := range tests {
		t.Run(tt.dir+"/"+tt.file, func(t *testing.T) {
			c, err := checkpoint.Open(filepath.Join("testdata", tt.dir, tt.file))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.Version() != tt.version {
				t.Errorf("it is of version %d; want %d", c.Version(), tt.version)
			}
			data := arrays(t, filepath.Join("testdata", tt.dir, "data.npz"))
			for set := 0; data[fmt.Sprintf("set%d_input0", set)] != nil; set++ {
				x, want := data[fmt.Sprintf("set%d_input0", set)], data[fmt.Sprintf("set%d_output0", set)]
				got := run(t, c, tt.layers, x)
				for i, w := range tensor.Data[float32](want) {
					if math.Abs(got[i]-float64(w)) > 1e-5+1e-4*math.Abs(float64(w)) {
						t.Fatalf("set %d: output %d is %v; want %v", set, i, got[i], w)
					}
				}
			}
		})
	}
}

func arrays(t *testing.T, name string) map[string]*tensor.Tensor {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	data, err := media.ReadNPZ(f, st.Size(), 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// run computes the layers.
func run(t *testing.T, c *checkpoint.Checkpoint, layers []layer, in *tensor.Tensor) []float64 {
	t.Helper()
	rows := in.Shape()[0]
	var x []float64
	for _, v := range tensor.Data[float32](in) {
		x = append(x, float64(v))
	}
	for _, l := range layers {
		w := mustRead(t, c, l.w)
		n, m := w.Shape()[0], w.Shape()[1]
		bias := make([]float32, m)
		if l.b != "" {
			bias = tensor.Data[float32](mustRead(t, c, l.b))
		}
		y := make([]float64, rows*m)
		for r := range rows {
			for j := range m {
				sum := float64(bias[j])
				for i := range n {
					sum += x[r*n+i] * float64(tensor.Data[float32](w)[i*m+j])
				}
				if l.act != nil {
					sum = l.act(sum)
				}
				y[r*m+j] = sum
			}
		}
		x = y
	}
	return x
}

func mustRead(t *testing.T, c *checkpoint.Checkpoint, name string) *tensor.Tensor {
	t.Helper()
	v, err := c.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Every checkpoint of the shared networks is read; where an object graph is there, its keys are variables, and all of them.
func TestShared(t *testing.T) {
	nets := sharedtest.Data(t, "tensorflow", "nets")
	var paths []string
	for _, pattern := range []string{"*/model.ckpt", "*/model.ckpt.index", "*/saved_model/variables"} {
		found, err := filepath.Glob(filepath.Join(nets, pattern))
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		t.Fatalf("no checkpoints under %s", nets)
	}
	variables := 0
	for _, path := range paths {
		if names, err := filepath.Glob(filepath.Join(path, "variables.index")); err == nil && len(names) == 0 && strings.HasSuffix(path, "variables") {
			continue // a network without variables
		}
		c, err := checkpoint.Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		for in := range c.List() {
			v, err := c.Read(in.Name)
			if err != nil {
				t.Error(err)
				continue
			}
			variables++
			if v.DType() != in.DType || !v.Shape().Equal(in.Shape) {
				t.Errorf("%s: %s is %v%v, the list says %v%v", path, in.Name, v.DType(), v.Shape(), in.DType, in.Shape)
			}
		}
		if c.Has(checkpoint.ObjectGraphKey) {
			checkObjects(t, path, c)
		}
		c.Close()
	}
	t.Logf("%d checkpoints, %d variables", len(paths), variables)
}

func checkObjects(t *testing.T, path string, c *checkpoint.Checkpoint) {
	t.Helper()
	g, err := c.Objects()
	if err != nil {
		t.Error(err)
		return
	}
	known := map[string]bool{checkpoint.ObjectGraphKey: true}
	for node, at := range g.Paths() {
		for _, a := range g.Nodes[node].Attributes {
			known[a.Key] = true
			if !c.Has(a.Key) {
				t.Errorf("%s: %s of %q has no variable %q", path, a.Name, at, a.Key)
			}
		}
	}
	for in := range c.List() {
		if !known[in.Name] {
			t.Errorf("%s: %q belongs to no object", path, in.Name)
		}
	}
}
