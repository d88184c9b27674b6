package infer_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// onnxCases returns the folder of ONNX's own cases. Without it the test is skipped, but in CI.
func onnxCases(t testing.TB) string {
	t.Helper()
	const dir = "/usr/share/libonnx-testdata/data"
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: install Debian's package libonnx-testdata", err)
		}
		t.Skipf("%v: they come with Debian's package libonnx-testdata", err)
	}
	return dir
}

// files returns the files that end with suffix under dir.
func files(t testing.TB, dir, suffix string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, suffix) {
			found = append(found, path)
		}
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("%d files *%s under %s: %v", len(found), suffix, dir, err)
	}
	return found
}

// notFound says why shapes of test cases cannot be known before they run, by the beginning of the case's name.
var notFound = map[string]string{
	"test_adagrad": "of the preview training domain", "test_adam": "of the preview training domain",
	"test_momentum": "of the preview training domain", "test_nesterov": "of the preview training domain",
	"test_gradient_of": "of the preview training domain",
	"test_loop11":      "the number of rounds", "test_range_": "the number of rounds of a Loop",
	"test_scan_sum":          "the Scan of opset 8",
	"test_nonmaxsuppression": "the number of boxes depends on the data", "test_nonzero": "depends on the data",
	"test_unique": "depends on the data", "test_strnorm": "the number of words depends on the data",
	"test_optional": "optionals are not followed", "test_sequence_model": "sequences are not followed",
}

// asUint16 are cases whose files hold bfloat16 numbers as uint16.
var asUint16 = []string{
	"test_cast_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16", "test_castlike_FLOAT_to_BFLOAT16_expanded",
}

// Shapes that are inferred from ONNX's test cases fit the cases' outputs. With the inputs' values known as well, they are
// those of the outputs in full, but for the exceptions.
func TestConformance(t *testing.T) {
	cases, full := 0, 0
	used := map[string]bool{}
	for _, file := range files(t, onnxCases(t), ".onnx") {
		name := filepath.Base(filepath.Dir(file))
		if slices.Contains(asUint16, name) {
			continue
		}
		sets, err := filepath.Glob(filepath.Join(filepath.Dir(file), "test_data_set_*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, set := range sets {
			cases++
			if err := checkShapes(file, set, false); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			err := checkShapes(file, set, true)
			var partial *partialError
			switch {
			case err == nil:
				full++
			case !errors.As(err, &partial):
				t.Errorf("%s, inputs known: %v", name, err)
			default:
				known := false
				for prefix := range notFound {
					if strings.HasPrefix(name, prefix) {
						known, used[prefix] = true, true
					}
				}
				if !known {
					t.Errorf("%s: not known in full: %v", name, err)
				}
			}
		}
	}
	for prefix := range notFound {
		if !used[prefix] {
			t.Errorf("%s...: all shapes are found, it is no exception any more", prefix)
		}
	}
	t.Logf("%d sets of inputs, %d with all shapes found", cases, full)
	if full < 1000 {
		t.Errorf("only %d cases with all shapes found", full)
	}
}

// partialError says that a shape is not known in full.
type partialError struct{ what string }

func (e *partialError) Error() string { return e.what }

// checkShapes infers without what the file declares of outputs, and holds the result against the outputs of a case. With
// values, inputs become constants, and whatever is not known then is a partialError.
func checkShapes(file, set string, values bool) error {
	g, err := onnx.Open(file)
	if err != nil {
		return err
	}
	g.Values = nil
	for i := range g.Outputs {
		if g.Outputs[i].Container == "" {
			g.Outputs[i] = graph.Value{Name: g.Outputs[i].Name}
		}
	}
	if values {
		var left []graph.Value
		for i, v := range g.Inputs {
			in, err := readTensor(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)))
			if err != nil || v.Container != "" {
				left = append(left, v)
				continue
			}
			if g.Initializer(v.Name) == nil {
				g.Initializers = append(g.Initializers, graph.Initializer{Name: v.Name, Tensor: in})
			}
		}
		g.Inputs = left
	}
	if err := infer.Shapes(g); err != nil {
		return err
	}
	for i, v := range g.Outputs {
		if v.Container != "" {
			continue
		}
		want, err := readTensor(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			continue // the models in "real" come without outputs
		}
		if err := fits(v, want, values); err != nil {
			return err
		}
	}
	return nil
}

// fits holds an inferred value against a tensor.
func fits(v graph.Value, want *tensor.Tensor, exact bool) error {
	if v.DType != tensor.Invalid && v.DType != want.DType() {
		return fmt.Errorf("%v, but the case has %v%v", v, want.DType(), want.Shape())
	}
	if v.Shape != nil {
		if len(v.Shape) != want.Rank() {
			return fmt.Errorf("%v, but the case has %v%v", v, want.DType(), want.Shape())
		}
		for i, d := range v.Shape {
			if d.Known() && int(d.Size) != want.Shape()[i] {
				return fmt.Errorf("%v, but the case has %v%v", v, want.DType(), want.Shape())
			}
		}
	}
	if _, static := v.Shape.Static(); exact && (!static || v.DType == tensor.Invalid) {
		return &partialError{v.String()}
	}
	return nil
}

func readTensor(file string) (*tensor.Tensor, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return onnx.DecodeTensor(data)
}
