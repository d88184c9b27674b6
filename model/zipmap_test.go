package model_test

import (
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// forest is a classifier as scikit-learn's exporter writes it: a class, and a map of class to probability; without maps where asked.
func forest(t *testing.T, maps bool) []byte {
	t.Helper()
	node := func(op string, attrs graph.Attrs, in []string, out ...string) *graph.Node {
		domain, op := graph.SplitOp(op)
		return &graph.Node{OpType: op, Domain: domain, Name: op, Attrs: attrs, Inputs: in, Outputs: out}
	}
	g := &graph.Graph{
		Name: "forest", Opset: map[string]int64{"": 17, "ai.onnx.ml": 3},
		Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}, {Size: 2}}}},
		Nodes: []*graph.Node{node("ai.onnx.ml.TreeEnsembleClassifier", graph.Attrs{
			"nodes_treeids": []int64{0, 0, 0}, "nodes_nodeids": []int64{0, 1, 2}, "nodes_featureids": []int64{1, 0, 0}, "nodes_modes": []string{"BRANCH_LEQ", "LEAF", "LEAF"},
			"nodes_values": []float32{0.5, 0, 0}, "nodes_truenodeids": []int64{1, 0, 0}, "nodes_falsenodeids": []int64{2, 0, 0},
			"class_treeids": []int64{0, 0, 0, 0, 0, 0}, "class_nodeids": []int64{1, 1, 1, 2, 2, 2}, "class_ids": []int64{0, 1, 2, 0, 1, 2},
			"class_weights": []float32{0.5, 0.25, 0.25, 0, 0.125, 0.875}, "classlabels_strings": []string{"ash", "oak", "yew"}, "post_transform": "NONE",
		}, []string{"x"}, "output_label", "probabilities")},
		Outputs: []graph.Value{{Name: "output_label", DType: tensor.String, Shape: graph.Shape{{Size: -1, Symbol: "N"}}}},
	}
	if maps {
		g.Nodes = append(g.Nodes, node("ai.onnx.ml.ZipMap", graph.Attrs{"classlabels_strings": []string{"ash", "oak", "yew"}}, []string{"probabilities"}, "output_probability"))
		g.Outputs = append(g.Outputs, graph.Value{Name: "output_probability", DType: tensor.Float32, Shape: graph.Shape{}, Container: "sequence(" + graph.MapOf(tensor.String) + ")"})
	} else {
		g.Outputs = append(g.Outputs, graph.Value{Name: "probabilities", DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}, {Size: 3}}})
	}
	b, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestForest: a classifier of tables has labels and scores, whether its file gives maps or a matrix.
func TestForest(t *testing.T) {
	for _, maps := range []bool{true, false} {
		m, err := model.Decode(forest(t, maps))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Labels, []string{"ash", "oak", "yew"}) {
			t.Errorf("maps %v: labels %q", maps, m.Labels)
		}
		scores, ok, err := m.Scores()
		if err != nil || !ok || scores.Output != 1 || scores.Kind != "probabilities" {
			t.Fatalf("maps %v: scores %+v, %v, %v", maps, scores, ok, err)
		}
		s, err := native.New(native.Config{}).Open(t.Context(), m.Graph, engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out := make([]*tensor.Tensor, 2)
		if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Must(tensor.Of([]float32{0, 0.25, 0, 9}, 2, 2))}, out); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tensor.Data[string](out[0]), []string{"ash", "yew"}) || !slices.Equal(tensor.Data[float32](out[1]), []float32{0.5, 0.25, 0.25, 0, 0.125, 0.875}) {
			t.Errorf("maps %v: %q and %v", maps, tensor.Data[string](out[0]), tensor.Data[float32](out[1]))
		}
	}
}
