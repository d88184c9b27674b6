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
	first := map[string]*graph.Node{}
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
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
			for _, u := range slices.Clone(w.users[out]) {
				w.leave(u)
				retarget(u, out, old.Outputs[i])
				w.enter(u)
			}
		}
		w.drop(n)
		changes++
	}
	return changes, nil
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
