package rewrite

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
)

// random are the operators that give something else each time.
var random = map[string]bool{
	"RandomNormal": true, "RandomNormalLike": true, "RandomUniform": true, "RandomUniformLike": true, "Bernoulli": true, "Multinomial": true, "Dropout": true,
}

// duplicates removes nodes that compute what another one does: the same operator with the same attributes of the same values.
func duplicates(w *work) (int, error) {
	first, to := map[string]*graph.Node{}, map[string]string{}
	changes := 0
	for _, n := range w.g.Nodes { // which are sorted: what a node takes has its last name
		renameAll(n, to)
		if random[n.OpType] || len(n.Subgraphs()) > 0 || n.Domain != graph.OnnxDomain {
			continue
		}
		key := keyOf(n)
		old := first[key]
		if old == nil {
			first[key] = n
			continue
		}
		if len(n.Outputs) != len(old.Outputs) || slices.ContainsFunc(n.Outputs, func(out string) bool { return w.outputs[out] }) ||
			slices.Contains(old.Outputs, "") || slices.Contains(n.Outputs, "") {
			continue
		}
		for i, out := range n.Outputs {
			to[out] = old.Outputs[i]
		}
		w.gone[n] = true
		changes++
	}
	return changes, nil
}

// renameAll changes names in the inputs of a node and in its subgraphs.
func renameAll(n *graph.Node, to map[string]string) {
	if len(to) == 0 {
		return
	}
	n.Inputs = slices.Clone(n.Inputs) // which may be another node's list too
	for i, name := range n.Inputs {
		if other, ok := to[name]; ok {
			n.Inputs[i] = other
		}
	}
	for _, sub := range n.Subgraphs() {
		for i, v := range sub.Outputs {
			if other, ok := to[v.Name]; ok {
				sub.Outputs[i].Name = other
			}
		}
		for _, inner := range sub.Nodes {
			renameAll(inner, to)
		}
	}
}

// keyOf has all that decides what a node computes.
func keyOf(n *graph.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q %d", n.OpType, n.Inputs, len(n.Outputs))
	for _, name := range slices.Sorted(maps.Keys(n.Attrs)) {
		if t := n.Attrs.Tensor(name); t != nil {
			fmt.Fprintf(&b, " %s=%p", name, t) // tensors are the same only if they are one
			continue
		}
		fmt.Fprintf(&b, " %s=%T%v", name, n.Attrs[name], n.Attrs[name])
	}
	return b.String()
}
