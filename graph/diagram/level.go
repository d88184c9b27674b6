package diagram

import (
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A level is one graph: the model's, or a body in it.
type level struct {
	*graph.Graph
	outer     *level
	prefix    string // of the keys of boxes in it
	producer  map[string]int32
	inputs    map[string]bool
	constants map[string]*tensor.Tensor
	values    map[string]*graph.Value
	// needs are, by node, the nodes of this level whose results it or its bodies take, each once.
	needs  [][]int32
	owner  []*box          // by node: the innermost box that it is in; nil where it is not drawn
	ins    map[string]*box // of inputs
	scopes [][]string      // by node, where already asked for
}

func newLevel(g *graph.Graph, outer *level, prefix string) *level {
	l := &level{
		Graph: g, outer: outer, prefix: prefix, producer: make(map[string]int32, len(g.Nodes)), inputs: map[string]bool{}, constants: make(map[string]*tensor.Tensor, len(g.Initializers)),
		values: make(map[string]*graph.Value, len(g.Values)), needs: make([][]int32, len(g.Nodes)), owner: make([]*box, len(g.Nodes)), ins: map[string]*box{}, scopes: make([][]string, len(g.Nodes)),
	}
	for _, in := range g.Initializers {
		l.constants[in.Name] = in.Tensor
	}
	for _, values := range [][]graph.Value{g.Values, g.Outputs, g.Inputs} {
		for i := range values {
			l.values[values[i].Name] = &values[i]
		}
	}
	for _, v := range g.Inputs {
		if _, given := l.constants[v.Name]; !given {
			l.inputs[v.Name] = true
		}
	}
	for i, n := range g.Nodes {
		if isConstant(n) {
			l.constants[n.Output(0)] = n.Attrs.Tensor("value") // nil where it is no tensor
			continue
		}
		for _, out := range n.Outputs {
			if out != "" {
				l.producer[out] = int32(i)
			}
		}
	}
	last := make([]int32, len(g.Nodes)) // the node, counted from 1, that was last seen to need this one
	for i, n := range g.Nodes {
		for _, name := range n.Uses() {
			if p, ok := l.producer[name]; ok && last[p] != int32(i)+1 && int(p) != i {
				last[p] = int32(i) + 1
				l.needs[i] = append(l.needs[i], p)
			}
		}
	}
	return l
}

// isConstant reports whether a node is shown as what others take, without a box of its own.
func isConstant(n *graph.Node) bool { return n.OpType == "Constant" && n.Domain == graph.OnnxDomain }

// drawn are the nodes that have boxes.
func (l *level) drawn() []int32 {
	all := make([]int32, 0, len(l.Nodes))
	for i, n := range l.Nodes {
		if !isConstant(n) {
			all = append(all, int32(i))
		}
	}
	return all
}

// find returns the level that a name is from, here or around; nil where it is from nowhere.
func (l *level) find(name string) *level {
	for ; l != nil; l = l.outer {
		if _, ok := l.producer[name]; ok || l.inputs[name] {
			return l
		}
		if _, ok := l.constants[name]; ok {
			return l
		}
	}
	return nil
}

// scope returns the names of the scopes that a node is in, outermost first. They are in the node's name, or in that of its first result: "/layer1/conv1/Conv" is in layer1 and conv1.
func (l *level) scope(i int32) []string {
	if l.scopes[i] == nil {
		l.scopes[i] = scopeOf(l.Nodes[i])
	}
	return l.scopes[i]
}

func scopeOf(n *graph.Node) []string {
	name := n.Name
	if !strings.Contains(name, "/") {
		for _, out := range n.Outputs {
			if out != "" {
				name = out
				break
			}
		}
	}
	names := []string{}
	for {
		first, rest, more := strings.Cut(name, "/")
		if !more || len(names) == maxDepth {
			return names
		}
		if first != "" {
			names = append(names, first)
		}
		name = rest
	}
}

// pathOf splits the name of a scope as a person writes it.
func pathOf(scope string) []string {
	return strings.FieldsFunc(scope, func(r rune) bool { return r == '/' })
}
