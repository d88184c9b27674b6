package onnx_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/graph/onnx"
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
	for _, dir := range []string{onnxCases, pytorchCases} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			files := models(t, dir, ".onnx")
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
	for _, file := range models(t, onnxCases, ".pb") {
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
