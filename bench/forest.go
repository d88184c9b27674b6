package main

import (
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
)

// The forest of a regressor: trees of one depth with a split at every node, as gradient boosting makes them.
const (
	forestTrees   = 1000
	forestDepth   = 8
	forestColumns = 30
)

// forest returns a model of 1,000 trees of depth 8 with random splits.
func forest() (*graph.Graph, error) {
	n := newNet("forest", forestColumns)
	size := int64(1)<<(forestDepth+1) - 1 // nodes of a tree
	inner := int64(1)<<forestDepth - 1
	a := map[string][]int64{}
	var modes []string
	var values, weights []float32
	for tree := range int64(forestTrees) {
		for k := range size {
			mode, yes, no, value := "BRANCH_LEQ", 2*k+1, 2*k+2, float32(n.random.NormFloat64())
			if k >= inner {
				mode, yes, no, value = "LEAF", 0, 0, 0
				a["target_treeids"], a["target_nodeids"], a["target_ids"] = append(a["target_treeids"], tree), append(a["target_nodeids"], k), append(a["target_ids"], 0)
				weights = append(weights, float32(n.random.NormFloat64()))
			}
			a["nodes_treeids"], a["nodes_nodeids"] = append(a["nodes_treeids"], tree), append(a["nodes_nodeids"], k)
			a["nodes_truenodeids"], a["nodes_falsenodeids"] = append(a["nodes_truenodeids"], yes), append(a["nodes_falsenodeids"], no)
			a["nodes_featureids"] = append(a["nodes_featureids"], n.random.Int64N(forestColumns))
			modes, values = append(modes, mode), append(values, value)
		}
	}
	attrs := graph.Attrs{"n_targets": int64(1), "nodes_modes": modes, "nodes_values": values, "target_weights": weights}
	for name, v := range a {
		attrs[name] = v
	}
	n.Output(n.Op("ai.onnx.ml.TreeEnsembleRegressor", attrs, "x"))
	g, err := infer.Build(n.Builder)
	if err != nil {
		return nil, err
	}
	g.Opset["ai.onnx.ml"] = 3
	return g, nil
}
