package infer_test

import (
	"archive/zip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/sharedtest"
)

// goldenCase is the part of a case.json that shapes need.
type goldenCase struct {
	Model string
	Sets  []struct{ Inputs, Outputs map[string]string }
}

// Shapes of PyTorch's nets: as the file says, and for the shapes of each set of inputs, where all outputs are known.
func TestPyTorch(t *testing.T) {
	sets := 0
	for _, file := range files(t, sharedtest.Data(t, "pytorch"), "case.json") {
		dir := filepath.Dir(file)
		t.Run(filepath.Base(filepath.Dir(dir))+"/"+filepath.Base(dir), func(t *testing.T) {
			var c goldenCase
			data, err := os.ReadFile(file)
			if err == nil {
				err = json.Unmarshal(data, &c)
			}
			if err != nil {
				t.Fatal(err)
			}
			shapes, err := npzShapes(filepath.Join(dir, "data.npz"))
			if err != nil {
				t.Fatal(err)
			}
			g, err := onnx.Open(filepath.Join(dir, c.Model))
			if err != nil {
				t.Fatal(err)
			}
			if err := infer.Shapes(g.Clone()); err != nil {
				t.Errorf("as declared: %v", err)
			}
			for _, set := range c.Sets {
				sets++
				checkSet(t, g.Clone(), set.Inputs, set.Outputs, shapes)
			}
		})
	}
	if sets < 50 {
		t.Errorf("only %d sets of inputs", sets)
	}
}

func checkSet(t *testing.T, g *graph.Graph, inputs, outputs map[string]string, shapes map[string][]int) {
	t.Helper()
	g.Values = nil
	for i := range g.Outputs {
		g.Outputs[i] = graph.Value{Name: g.Outputs[i].Name}
	}
	var given []graph.Value
	for name, key := range inputs {
		given = append(given, graph.Value{Name: name, Shape: graph.Dims(shapes[key]...)})
	}
	if err := infer.Shapes(g, given...); err != nil {
		t.Errorf("%v: %v", given, err)
		return
	}
	for _, v := range g.Outputs {
		want, ok := shapes[outputs[v.Name]]
		if !ok {
			continue
		}
		if got, static := v.Shape.Static(); !static || !v.DType.Valid() || !got.Equal(want) {
			t.Errorf("%v; PyTorch's has shape %v", v, want)
		}
	}
}

var npyShape = regexp.MustCompile(`'shape': \(([^)]*)\)`)

// npzShapes reads the shapes of the arrays in an .npz file.
func npzShapes(file string) (map[string][]int, error) {
	r, err := zip.OpenReader(file)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	shapes := map[string][]int{}
	for _, f := range r.File {
		shape, err := npyHeader(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", file, f.Name, err)
		}
		shapes[strings.TrimSuffix(f.Name, ".npy")] = shape
	}
	return shapes, nil
}

func npyHeader(f *zip.File) ([]int, error) {
	in, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer in.Close()
	head := make([]byte, 10)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	text := make([]byte, binary.LittleEndian.Uint16(head[8:]))
	if _, err := io.ReadFull(in, text); err != nil {
		return nil, err
	}
	m := npyShape.FindSubmatch(text)
	if m == nil {
		return nil, fmt.Errorf("no shape in %q", text)
	}
	shape := []int{}
	for _, part := range strings.Split(string(m[1]), ",") {
		if part = strings.TrimSpace(part); part != "" {
			n, err := strconv.Atoi(part)
			if err != nil {
				return nil, err
			}
			shape = append(shape, n)
		}
	}
	return shape, nil
}
