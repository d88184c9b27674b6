package model

import (
	"slices"
	"strconv"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// zipMap is the operator that ends classifiers of tables, as scikit-learn's exporter writes them: it makes a map of class to score of each row.
const zipMap = "ai.onnx.ml.ZipMap"

// unzip takes the maps off the outputs of a graph: such an output becomes the matrix of scores that the maps were made of, which every engine gives and
// every protocol has words for. It returns the names of the classes, in the order of the scores, and nil where there are no such outputs.
func unzip(g *graph.Graph) []string {
	var labels []string
	for i := range g.Outputs {
		v := &g.Outputs[i]
		at := slices.IndexFunc(g.Nodes, func(n *graph.Node) bool { return n.Op() == zipMap && slices.Contains(n.Outputs, v.Name) })
		if at < 0 || usedInside(g, v.Name) {
			continue
		}
		n := g.Nodes[at].Clone()
		names := slices.Clone(n.Attrs.Strings("classlabels_strings", nil))
		for _, k := range n.Attrs.Ints("classlabels_int64s", nil) {
			names = append(names, strconv.FormatInt(k, 10))
		}
		if labels == nil {
			labels = names
		}
		n.OpType, n.Domain, n.Attrs = "Identity", graph.OnnxDomain, nil
		g.Nodes[at] = n
		v.DType, v.Container, v.Shape = tensor.Float32, "", nil
	}
	return labels
}

// usedInside reports whether a node takes a value.
func usedInside(g *graph.Graph, name string) bool {
	return slices.ContainsFunc(g.Nodes, func(n *graph.Node) bool { return slices.Contains(n.Uses(), name) })
}

// classNames returns the classes of the one classifier of tables in a graph, where an output has a score for each of them.
func classNames(g *graph.Graph) []string {
	var names []string
	found := 0
	for _, n := range g.Nodes {
		switch n.Op() {
		case "ai.onnx.ml.TreeEnsembleClassifier", "ai.onnx.ml.LinearClassifier", "ai.onnx.ml.SVMClassifier":
			found++
			names = slices.Clone(n.Attrs.Strings("classlabels_strings", nil))
			for _, numbers := range []string{"classlabels_int64s", "classlabels_ints"} {
				for _, k := range n.Attrs.Ints(numbers, nil) {
					names = append(names, strconv.FormatInt(k, 10))
				}
			}
		}
	}
	if found != 1 || len(names) == 0 {
		return nil
	}
	scored := slices.ContainsFunc(g.Outputs, func(v graph.Value) bool {
		return v.DType.IsFloat() && len(v.Shape) > 0 && v.Shape[len(v.Shape)-1].Known() && endsIn(v.Shape, len(names))
	})
	if !scored {
		return nil
	}
	return names
}
