//go:build cgo

package onnxruntime_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/enginetest/random"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestRandomGraphs: both engines answer alike on 400 random graphs, without a tolerance of their own.
func TestRandomGraphs(t *testing.T) {
	library, own := openOn(t), native.New(native.Config{})
	ops := map[string]bool{}
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, err := random.New(seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.Graph.Nodes {
				ops[n.OpType] = true
			}
			agree(t, c, answer(t, own, c), answer(t, library, c))
		})
	}
	if len(ops) < 40 {
		t.Errorf("the graphs have only %d different operators", len(ops))
	}
	for _, op := range []string{"If", "Loop", "Scan", "LSTM", "GRU", "QuantizeLinear", "DequantizeLinear", "MatMulInteger"} {
		if !ops[op] {
			t.Errorf("no graph has a %s", op)
		}
	}
}

func answer(t *testing.T, e engine.Engine, c random.Case) []*tensor.Tensor {
	t.Helper()
	s, err := e.Open(t.Context(), c.Graph, engine.Options{})
	if err != nil {
		t.Fatalf("%s: %v\n%v", e.Name(), err, c.Graph)
	}
	defer s.Close()
	out, err := engine.Run(t.Context(), s, c.Inputs)
	if err != nil {
		t.Fatalf("%s: %v\n%v", e.Name(), err, c.Graph)
	}
	var outputs []*tensor.Tensor
	for _, v := range c.Graph.Outputs {
		outputs = append(outputs, out[v.Name])
	}
	return outputs
}

// apart are ONNX's cases that native passes and the library answers in another way, with the reason.
var apart = map[string]string{
	"node/test_cast_FLOAT_to_STRING":                          "the library writes a float with one digit more than reads back as the same float",
	"node/test_castlike_FLOAT_to_STRING":                      "the library writes a float with one digit more than reads back as the same float",
	"node/test_castlike_FLOAT_to_STRING_expanded":             "the library writes a float with one digit more than reads back as the same float",
	"node/test_dft":                                           "the library's transform in float32 is off by more than the tolerance where the result is zero",
	"node/test_dft_axis":                                      "the library's transform in float32 is off by more than the tolerance where the result is zero",
	"node/test_dft_inverse":                                   "the library's transform in float32 is off by more than the tolerance where the result is zero",
	"node/test_maxunpool_export_with_output_shape":            "the library takes the indices for those of the larger output",
	"node/test_stft":                                          "the library's transform in float32 is off by more than the tolerance where the result is zero",
	"node/test_stft_with_window":                              "the library's transform in float32 is off by more than the tolerance where the result is zero",
	"node/test_resize_downsample_scales_cubic_align_corners":  "the library takes the output's length for the scale, ONNX the scale that is given",
	"node/test_resize_downsample_scales_linear_align_corners": "the library takes the output's length for the scale, ONNX the scale that is given",
	"node/test_training_dropout":                              "the library draws from another random generator",
	"node/test_training_dropout_default":                      "the library draws from another random generator",
	"node/test_training_dropout_default_mask":                 "the library draws from another random generator",
	"node/test_training_dropout_mask":                         "the library draws from another random generator",
}

// TestConformanceAlike: on each of ONNX's cases that both engines take, the library gives what native gives.
func TestConformanceAlike(t *testing.T) {
	const dir = "/usr/share/libonnx-testdata/data"
	library := openOn(t)
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skipf("%v: apt-get install libonnx-testdata", err)
	}
	own, err := conformance.Run(t.Context(), dir, native.New(native.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	other, err := conformance.Run(t.Context(), dir, library)
	if err != nil {
		t.Fatal(err)
	}
	verdicts := map[string]conformance.Case{}
	for _, c := range other.Cases {
		verdicts[c.Name] = c
	}
	both, left := 0, map[string]bool{}
	for _, c := range own.Cases {
		o := verdicts[c.Name]
		if c.Verdict != conformance.Passed || o.Verdict == conformance.Refused {
			continue
		}
		if apart[c.Name] != "" && o.Verdict != conformance.Passed {
			left[c.Name] = true
			continue
		}
		both++
		if o.Verdict != conformance.Passed {
			t.Errorf("%s: native passes, the library is %s: %s", c.Name, o.Verdict, o.Reason)
		}
	}
	for name := range apart {
		if !left[name] {
			t.Errorf("%s is listed as apart and is not", name)
		}
	}
	t.Logf("both engines take %d cases and agree; %d are listed as apart; the library: %+v", both, len(apart), other.Totals)
	if both < 800 {
		t.Errorf("both engines take only %d cases", both)
	}
}

// edgesApart are the cases at the edges of operators that the library answers otherwise or refuses, with the reason. Native passes all.
var edgesApart = map[string]string{
	"maxpool-ceil-pad-start":   "the library wants pads below the kernel",
	"maxpool-declared":         "the library wants pads below the kernel",
	"pad-crop-first-reflect-3": "the library reflects once only",
	"pad-crop-first-reflect-5": "the library reflects once only",
	"range-int64-end":          "the library counts in float64",
	"range-int64-timestamps":   "the library counts in float64",
}

// TestEdges: the library passes the other cases.
func TestEdges(t *testing.T) {
	r, err := conformance.Run(t.Context(), "../enginetest/testdata/edges", openOn(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cases {
		if apart := edgesApart[c.Name] != ""; apart == (c.Verdict == conformance.Passed) {
			t.Errorf("%s %s: %s", c.Verdict, c.Name, c.Reason)
		}
	}
}

// TestDoubtsAreTrue: the library is wrong, and native right, on each case that was reported. One that the library mends has to leave
// Doubts and docs/engines.md.
func TestDoubtsAreTrue(t *testing.T) {
	library := openOn(t)
	right, err := conformance.Run(t.Context(), cases, native.New(native.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := conformance.Run(t.Context(), cases, library)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range right.Cases {
		if c.Verdict != conformance.Passed {
			t.Errorf("%s: native: %s: %s", c.Name, c.Verdict, c.Reason)
		}
		if o := wrong.Cases[i]; o.Verdict != conformance.Wrong {
			t.Errorf("%s: onnxruntime: %s: %s", o.Name, o.Verdict, o.Reason)
		}
	}
}

// TestDoubtsAreEnough: the library is right where Doubts has no doubt although it has of the operator.
func TestDoubtsAreEnough(t *testing.T) {
	library, own := openOn(t), native.New(native.Config{})
	hold := func(g *graph.Graph, x *tensor.Tensor) {
		t.Helper()
		if d := onnxruntime.Doubts(g); len(d) > 0 {
			t.Fatalf("%v: %v", g, d)
		}
		c := random.Case{Graph: g, Inputs: map[string]*tensor.Tensor{"a": x}}
		if err := conformance.Alike(answer(t, library, c)[0], answer(t, own, c)[0]); err != nil {
			t.Errorf("%v %v of %v: %v", g, g.Nodes[0].Attrs, x.Shape(), err)
		}
	}
	count := func(dims ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Float32, dims...))
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(i)
		}
		return x
	}
	for _, transform := range []string{"half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"} {
		for _, nearest := range []string{"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"} {
			for _, scale := range []float32{0.25, 0.5, 2, 3, 5, 7} {
				attrs := graph.Attrs{"coordinate_transformation_mode": transform, "nearest_mode": nearest}
				g := one(19, "Resize", attrs, []any{of(tensor.Float32, 1, -1), nil, tensor.Vector(1, scale)})
				for _, n := range []int{4, 6, 7, 10, 13} {
					if whole := float32(n) * scale; transform == "half_pixel_symmetric" && whole != float32(int(whole)) {
						continue // its correction is a third of something, which neither engine computes exactly
					}
					hold(g, count(1, n))
				}
			}
		}
	}
	for begin := range int64(5) {
		for end := int64(-1); end < 9; end++ {
			if begin <= 4+min(0, end) {
				hold(one(19, "Pad", graph.Attrs{"mode": "wrap"}, []any{of(tensor.Float32, 2, 4), tensor.Vector(0, begin, 0, end)}), count(2, 4))
			}
		}
	}
}

// TestRandomTables: both engines answer alike on 600 random graphs of an operator of tables.
func TestRandomTables(t *testing.T) { agreeOn(t, random.Table) }

// TestRandomNewer: both engines answer alike on 600 random graphs of an operator that came after opset 17.
func TestRandomNewer(t *testing.T) { agreeOn(t, random.Newer) }

// TestRandomLinear: the same on 200 graphs of the two operators of opset 27, which the library has under its own domain.
func TestRandomLinear(t *testing.T) {
	library, own := openOn(t), native.New(native.Config{})
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, err := random.Linear(seed)
			if err != nil {
				t.Fatal(err)
			}
			theirs := c
			theirs.Graph = theirs.Graph.Clone()
			theirs.Graph.Opset = map[string]int64{"": onnxruntime.MaxOpset, "com.microsoft": 1}
			for _, n := range theirs.Graph.Nodes {
				n.Domain = "com.microsoft"
				if n.OpType == "CausalConvWithState" {
					n.Attrs["ndim"] = int64(1)
				}
			}
			agree(t, c, answer(t, own, c), answer(t, library, theirs))
		})
	}
}

func agreeOn(t *testing.T, make func(seed uint64) (random.Case, error)) {
	library, own := openOn(t), native.New(native.Config{})
	for seed := range uint64(600) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, err := make(seed)
			if err != nil {
				t.Fatal(err)
			}
			agree(t, c, answer(t, own, c), answer(t, library, c))
		})
	}
}

// agree compares the outputs of a case.
func agree(t *testing.T, c random.Case, got, want []*tensor.Tensor) {
	t.Helper()
	for i, v := range c.Graph.Outputs {
		if err := conformance.Alike(got[i], want[i]); err != nil {
			t.Errorf("output %q: %v\n%v\n%v", v.Name, err, c.Graph, c.Graph.Nodes[0].Attrs)
		}
	}
}
