package native_test

import (
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

const ml = "ai.onnx.ml."

// What the random tables, which are held against onnxruntime, do not have: other versions and types, sets, and what is wrong.
func TestTableOperators(t *testing.T) {
	stump := func(change graph.Attrs) graph.Attrs {
		a := graph.Attrs{
			"nodes_treeids": []int64{7, 7, 7}, "nodes_nodeids": []int64{0, 1, 2}, "nodes_featureids": []int64{0, 0, 0}, "nodes_modes": []string{"BRANCH_LEQ", "LEAF", "LEAF"},
			"nodes_values": []float32{0.5, 0, 0}, "nodes_truenodeids": []int64{1, 0, 0}, "nodes_falsenodeids": []int64{2, 0, 0},
			"target_treeids": []int64{7, 7}, "target_nodeids": []int64{1, 2}, "target_ids": []int64{0, 0}, "target_weights": []float32{-1, 2}, "n_targets": int64(1),
		}
		for k, v := range change {
			a[k] = v
		}
		return a
	}
	x := of([]int{4, 1}, float32(0.5), nan, float32(math.Copysign(0, -1)), inf)
	rows := func(v ...float32) list { return list{of([]int{len(v), 1}, v...)} }
	// A tree about sets: below 2.5 a member of {1, 2} says yes, above one of {4}.
	sets := graph.Attrs{
		"tree_roots": []int64{0}, "n_targets": int64(1), "aggregate_function": int64(1), "post_transform": int64(0),
		"nodes_featureids": []int64{0, 0, 0}, "nodes_modes": tensor.Vector[uint8](0, 6, 6), "nodes_splits": tensor.Vector[float32](2.5, 0, 0),
		"nodes_truenodeids": []int64{1, 0, 2}, "nodes_trueleafs": []int64{0, 1, 1}, "nodes_falsenodeids": []int64{2, 1, 1}, "nodes_falseleafs": []int64{0, 1, 1},
		"leaf_targetids": []int64{0, 0, 0}, "leaf_weights": tensor.Vector[float32](10, 20, 30), "membership_values": tensor.Vector(2, 1, nan, 4, nan),
	}
	cases := []operatorCase{
		{op: ml + "TreeEnsembleRegressor", attrs: stump(nil), in: list{x}, want: rows(-1, 2, -1, 2)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_missing_value_tracks_true": []int64{1, 0, 0}}), in: list{x}, want: rows(-1, -1, -1, 2)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_modes": []string{"BRANCH_LT", "LEAF", "LEAF"}}), in: list{x}, want: rows(2, 2, -1, 2)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_modes": []string{"BRANCH_NEQ", "LEAF", "LEAF"}}), in: list{x}, want: rows(2, -1, -1, -1)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_values": []float32{nan, 0, 0}}), in: list{x}, want: rows(2, 2, 2, 2)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(nil), in: list{tensor.Vector[int64](0)}, want: rows(-1)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"target_weights_as_tensor": tensor.Vector(0.1, 0.2), "nodes_values_as_tensor": tensor.Vector(1e-300, 0, 0)}), in: list{of([]int{2, 1}, 0.0, 2e-300)}, want: rows(0.1, 0.2)},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_falsenodeids": []int64{0, 0, 0}}), in: list{x}, err: "goes in circles"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_falsenodeids": []int64{9, 0, 0}}), in: list{x}, err: "leads to node 9, which is not there"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_featureids": []int64{3, 0, 0}}), in: list{x}, err: "looks at column 3 of 1"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"target_ids": []int64{0, 4}}), in: list{x}, err: "a leaf is for target 4"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_modes": []string{"BRANCH_LEQ", "LEAF"}}), in: list{x}, err: "nodes_modes has 2 elements for 3 nodes"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_nodeids": []int64{0, 1, 1}}), in: list{x}, err: "is there twice"},
		{op: ml + "TreeEnsembleRegressor", attrs: stump(graph.Attrs{"nodes_modes": []string{"BRANCH_ISH", "LEAF", "LEAF"}}), in: list{x}, err: "BRANCH_ISH"},
		{op: ml + "TreeEnsemble", opset: 5, attrs: sets, in: list{of([]int{6, 1}, float32(1), 2, 2.5, 4, 5, nan)}, want: rows(10, 10, 20, 30, 20, 20)},
		{op: ml + "TreeEnsemble", opset: 5, attrs: graph.Attrs{"nodes_modes": tensor.Vector[uint8](9)}, in: list{x}, err: "different lengths"},

		{op: ml + "LabelEncoder", attrs: graph.Attrs{"keys_floats": []float32{1, nan}, "values_int64s": []int64{5, 6}}, in: list{tensor.Vector(1, nan, 2)}, want: list{tensor.Vector[int64](5, 6, -1)}},
		{op: ml + "LabelEncoder", opset: 4, attrs: graph.Attrs{"keys_tensor": tensor.Vector("a", "b"), "values_tensor": tensor.Vector[int16](3, 4), "default_tensor": tensor.Vector[int16](9)}, in: list{tensor.Vector("b", "x")}, want: list{tensor.Vector[int16](4, 9)}},
		{op: ml + "LabelEncoder", attrs: graph.Attrs{"keys_strings": []string{"a"}, "values_int64s": []int64{5, 6}}, in: list{tensor.Vector("a")}, err: "1 keys for 2 values"},
		{op: ml + "LabelEncoder", attrs: graph.Attrs{"keys_strings": []string{"a"}, "values_int64s": []int64{5}}, in: list{tensor.Vector[int64](1)}, err: "the keys are string"},
		{op: ml + "OneHotEncoder", attrs: graph.Attrs{"cats_int64s": []int64{3, 5}, "zeros": int64(0)}, in: list{tensor.Vector[int64](5, 4)}, err: "none of the categories"},
		{op: ml + "Scaler", attrs: graph.Attrs{"offset": []float32{1, 2}, "scale": []float32{2}}, in: list{of[int64]([]int{1, 2}, 3, 4)}, want: list{of[float32]([]int{1, 2}, 4, 4)}},
		{op: ml + "Scaler", attrs: graph.Attrs{"offset": []float32{1, 2}, "scale": []float32{2}}, in: list{of[float32]([]int{1, 3}, 1, 2, 3)}, err: "for 3 columns"},
		{op: ml + "Imputer", attrs: graph.Attrs{"imputed_value_int64s": []int64{8}, "replaced_value_int64": int64(-1)}, in: list{of[int64]([]int{1, 2}, -1, 4)}, want: list{of[int64]([]int{1, 2}, 8, 4)}},
		{op: ml + "ArrayFeatureExtractor", in: list{of([]int{2, 2}, "a", "b", "c", "d"), tensor.Vector[int64](1)}, want: list{of([]int{2, 1}, "b", "d")}},
		{op: ml + "ArrayFeatureExtractor", in: list{tensor.Vector[float32](1, 2), tensor.Vector[int64](2)}, err: "index 2 in a dimension of 2"},
		{op: ml + "Normalizer", attrs: graph.Attrs{"norm": "L1"}, in: list{of[float32]([]int{2, 2}, 0, 0, 3, -1)}, want: list{of([]int{2, 2}, float32(0), 0, 0.75, -0.25)}},
		{op: ml + "LinearClassifier", attrs: graph.Attrs{"coefficients": []float32{1, 2, 3}, "classlabels_ints": []int64{0, 1}, "intercepts": []float32{1}}, in: list{of[float32]([]int{1, 2}, 1, 2)}, err: "3 coefficients"},
		{op: ml + "SVMRegressor", attrs: graph.Attrs{"coefficients": []float32{1}, "rho": []float32{1}, "n_supports": int64(2)}, in: list{of[float32]([]int{1, 2}, 1, 2)}, err: "support vectors"},
	}
	for _, c := range cases {
		c.run(t)
	}
}

// TestZipMap makes maps of scores.
func TestZipMap(t *testing.T) {
	n := &graph.Node{Domain: "ai.onnx.ml", OpType: "ZipMap", Name: "z", Attrs: graph.Attrs{"classlabels_int64s": []int64{3, 5}}, Inputs: []string{"x"}, Outputs: []string{"y"}}
	g := &graph.Graph{
		Name: "g", Opset: map[string]int64{"": 17, "ai.onnx.ml": 1}, Nodes: []*graph.Node{n},
		Inputs:  []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Dims(2, 2)}},
		Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Container: "sequence(" + graph.MapOf(tensor.Int64) + ")"}},
	}
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Values: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out := make([]tensor.Value, 1)
	if err := s.(engine.ValueSession).RunValues(t.Context(), []tensor.Value{tensor.ValueOf(of([]int{2, 2}, float32(0.25), 0.75, 1, 0))}, out); err != nil {
		t.Fatal(err)
	}
	if out[0].Kind != tensor.KindSequence || len(out[0].Items) != 2 {
		t.Fatalf("%+v", out[0])
	}
	for i, want := range [][]float32{{0.25, 0.75}, {1, 0}} {
		item := out[0].Items[i]
		if item.Kind != tensor.KindMap || !slices.Equal(tensor.Data[int64](item.Keys), []int64{3, 5}) || !slices.Equal(tensor.Data[float32](item.Tensor), want) {
			t.Errorf("row %d is %+v", i, item)
		}
	}
}
