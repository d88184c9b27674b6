package native

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A program is a graph ready for planning: known operators in topological order, values by number.
type program struct {
	name    string
	nodes   []*pnode
	nvals   int
	names   []string // of the values
	inputs  []int
	outputs []int
	boxed   bool // an input is no tensor
	owns    bool // what a run at once returns is new, or an input or a constant of this program
	consts  map[int]*tensor.Tensor
	known   map[int]*tensor.Tensor // of a part: what the shapes that it was made for decide
	// dequantized are the nodes that folding computed, by what they gave, which quantized arithmetic does without.
	dequantized map[int]*pnode
	in, out     []graph.Value
	open        []bool       // inputs whose first dimension is not declared
	plain       *graph.Graph // before fusion, for shape inference; nil where that would misread it
	derived     *derivations
}

// derivations are what was made of weights.
type derivations struct {
	made  sync.Map // by derivedKey
	count atomic.Int64
}

// named is a value as inputs and outputs are told of.
func (p *program) named(id int) graph.Value { return graph.Value{Name: p.names[id]} }

// A pnode is one node of a program.
type pnode struct {
	node    *graph.Node
	opset   int64            // of its domain
	opsets  map[string]int64 // for its subgraphs
	in, out []int            // values; -1 is left out. What the node's subgraphs capture comes after its own inputs.
	bodies  []*body
	dies    []int // values whose last use this is
	prepare func(c *prep) error
	act     activation // what fusion appended to the node
	formal  int        // inputs of its own
}

func (n *pnode) label() string {
	if n.node.Name != "" {
		return fmt.Sprintf("%q (%s)", n.node.Name, n.node.Op())
	}
	if len(n.node.Outputs) > 0 {
		return fmt.Sprintf("%s that makes %q", n.node.Op(), n.node.Outputs[0])
	}
	return n.node.Op()
}

// bind finds the node's kernel and checks its attributes.
func (n *pnode) bind() error {
	op := n.node.Op()
	def, ok := operators[op]
	if !ok {
		return &unsupported{op: op}
	}
	if n.node.Domain == graph.OnnxDomain {
		if n.opset < 1 || n.opset > MaxOpset {
			return &unsupported{op: op, reason: fmt.Sprintf("opset %d, the newest that is known is %d", n.opset, MaxOpset)}
		}
	}
	if err := def.check(n.node, n.opset); err != nil {
		return err
	}
	n.prepare = def.prepare
	return nil
}

// prune drops the nodes that no output needs.
func (p *program) prune() {
	need := make([]bool, len(p.names))
	for _, id := range p.outputs {
		need[id] = true
	}
	at := len(p.nodes) // those that stay move to the end
	for i := len(p.nodes) - 1; i >= 0; i-- {
		n := p.nodes[i]
		if !slices.ContainsFunc(n.out, func(id int) bool { return id >= 0 && need[id] }) {
			continue
		}
		for _, id := range n.in {
			if id >= 0 {
				need[id] = true
			}
		}
		at--
		p.nodes[at] = n
	}
	p.nodes = slices.Delete(p.nodes, 0, at)
}

// liveness notes where each value is used last.
func (p *program) liveness() {
	last := make([]int32, p.nvals)
	for i := range last {
		last[i] = -1
	}
	for i, n := range p.nodes {
		for _, id := range n.in {
			if id >= 0 {
				last[id] = int32(i)
			}
		}
		for _, id := range n.out {
			if id >= 0 {
				last[id] = max(last[id], int32(i))
			}
		}
	}
	for _, id := range p.outputs {
		last[id] = -1
	}
	all := make([]int, 0, p.nvals)
	for i, n := range p.nodes {
		first := len(all)
		for _, ids := range [][]int{n.in, n.out} {
			for _, id := range ids {
				if id >= 0 && last[id] == int32(i) {
					last[id] = -1 // once, where a node has it twice
					all = append(all, id)
				}
			}
		}
		n.dies = all[first:len(all):len(all)]
	}
}
