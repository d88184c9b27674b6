package native

import (
	"context"
	"maps"
	"math"
	"slices"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// unfused returns the program as a graph, without inputs and outputs, or nil where a node has another opset than the rest.
func (p *program) unfused(opset map[string]int64) *graph.Graph {
	g := &graph.Graph{Name: p.name, Opset: maps.Clone(opset)}
	g.Initializers, g.Nodes = make([]graph.Initializer, 0, len(p.consts)), make([]*graph.Node, 0, len(p.nodes))
	for id, t := range p.consts {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: p.names[id], Tensor: t})
	}
	for _, n := range p.nodes {
		if n.node.Domain == graph.OnnxDomain && n.opset != opset[graph.OnnxDomain] && n.node.OpType != "Identity" {
			return nil
		}
		g.Nodes = append(g.Nodes, n.node)
	}
	return g
}

// fold computes the nodes whose inputs are constants. Errors are left to those who make a plan.
func (p *program) fold(ctx context.Context, e *Engine) {
	if !slices.ContainsFunc(p.nodes, p.isConst) {
		return
	}
	pool := newPool(1)
	defer pool.close()
	pl := newPlanner(ctx, e, p, pool)
	pl.eager, pl.folding = true, true
	p.nodes = slices.DeleteFunc(p.nodes, func(n *pnode) bool {
		for _, id := range n.in {
			if id >= 0 && !pl.vals[id].ready {
				return false
			}
		}
		if ctx.Err() != nil || pl.tryFold(n) != nil {
			for _, id := range n.out {
				if id >= 0 {
					pl.vals[id] = value{slot: -1}
				}
			}
			return false
		}
		for _, id := range n.out {
			if id >= 0 {
				p.consts[id] = pl.vals[id].t
				pl.vals[id].weight = true
			}
		}
		if n.node.Domain == graph.OnnxDomain && n.node.OpType == "DequantizeLinear" {
			if p.dequantized == nil {
				p.dequantized = map[int]*pnode{}
			}
			p.dequantized[n.out[0]] = n
		}
		return true
	})
}

// isConst reports whether all inputs of a node are constants.
func (p *program) isConst(n *pnode) bool {
	return !slices.ContainsFunc(n.in, func(id int) bool { return id >= 0 && p.consts[id] == nil })
}

// tryFold prepares and runs one node; a panic of a kernel counts as an error here and comes again with the plan.
func (pl *planner) tryFold(n *pnode) (err error) {
	defer func() {
		if recover() != nil {
			err = errNotFolded
		}
	}()
	err = pl.prepare(n)
	pl.drop(n)
	if err != nil {
		return err
	}
	for _, id := range n.out {
		if id >= 0 && pl.vals[id].t == nil {
			return errNotFolded
		}
	}
	return nil
}

// A graphView answers who makes and who uses the values of a program.
type graphView struct {
	maker []int32 // index of the node, or -1
	uses  []int32 // outputs of the graph included
}

func (p *program) view() graphView {
	v := graphView{maker: make([]int32, len(p.names)), uses: make([]int32, len(p.names))}
	for id := range v.maker {
		v.maker[id] = -1
	}
	for i, n := range p.nodes {
		for _, id := range n.in {
			if id >= 0 {
				v.uses[id]++
			}
		}
		for _, id := range n.out {
			if id >= 0 {
				v.maker[id] = int32(i)
			}
		}
	}
	for _, id := range p.outputs {
		v.uses[id]++
	}
	return v
}

// fuse joins what it finds in one pass over the program, and reports whether it found anything.
func (p *program) fuse() bool {
	v := p.view()
	gone := make([]bool, len(p.nodes))
	found := false
	for i, n := range p.nodes {
		if gone[i] || n.node.Domain != graph.OnnxDomain || len(n.out) == 0 || n.out[0] < 0 || len(n.in) == 0 || n.in[0] < 0 {
			continue
		}
		joined := -1 // the node that takes n's place
		switch n.node.OpType {
		case "BatchNormalization":
			joined = p.fuseNorm(v, n)
		case "Relu", "Clip":
			joined = p.fuseActivation(v, n)
		case "Add":
			joined = p.fuseAdd(v, n, i)
		case "QuantizeLinear":
			joined = p.fuseQuantize(v, n)
		}
		if joined < 0 || gone[joined] {
			continue
		}
		// The joined node moves to n's place, where all its inputs are there.
		m := p.nodes[joined]
		m.out[0] = n.out[0]
		p.nodes[i] = m
		gone[joined] = true
		v.maker[n.out[0]] = int32(i)
		found = true
	}
	kept := p.nodes[:0]
	for i, n := range p.nodes {
		if !gone[i] {
			kept = append(kept, n)
		}
	}
	p.nodes = kept
	return found
}

// single returns the node of one of these operators that alone makes id and has a first input, where nothing else uses id.
func (p *program) single(v graphView, id int, ops ...string) int {
	if id < 0 || id >= len(v.maker) || v.maker[id] < 0 || v.uses[id] != 1 {
		return -1
	}
	i := int(v.maker[id])
	m := p.nodes[i]
	if m.node.Domain != graph.OnnxDomain || !slices.Contains(ops, m.node.OpType) || m.out[0] != id || len(m.in) == 0 || m.in[0] < 0 {
		return -1
	}
	for _, o := range m.out[1:] {
		if o >= 0 {
			return -1
		}
	}
	return i
}

// float32Const returns the elements of a float32 constant, or nil.
func (p *program) float32Const(n *pnode, i int) []float32 {
	if i >= len(n.in) || n.in[i] < 0 {
		return nil
	}
	t := p.consts[n.in[i]]
	if t == nil || t.DType() != tensor.Float32 {
		return nil
	}
	return tensor.Data[float32](t)
}

// addConst makes a new constant of the program.
func (p *program) addConst(name string, t *tensor.Tensor) int {
	p.names = append(p.names, name)
	p.consts[len(p.names)-1] = t
	return len(p.names) - 1
}

// farFromZero is how many deviations the mean of a channel may be from zero for its normalization to be folded into a
// convolution. The rounding of the weights is in proportion to the mean, and what is left after subtraction is not.
const farFromZero = 256

// fuseNorm folds a normalization by constants into the weights of the convolution before it.
func (p *program) fuseNorm(v graphView, n *pnode) int {
	i := p.single(v, n.in[0], "Conv")
	if i < 0 || n.node.Attrs.Bool("training_mode", false) || slices.ContainsFunc(n.out[1:], func(id int) bool { return id >= 0 }) {
		return -1
	}
	m := p.nodes[i]
	weights := p.float32Const(m, 1)
	var stats [4][]float32
	for k := range stats {
		if stats[k] = p.float32Const(n, 1+k); stats[k] == nil {
			return -1
		}
	}
	if weights == nil || m.act.kind != gemm.None || len(m.in) > 3 || len(m.in) > 2 && m.in[2] >= 0 && p.float32Const(m, 2) == nil {
		return -1
	}
	shape := p.consts[m.in[1]].Shape()
	if len(shape) < 3 {
		return -1
	}
	filters := shape[0]
	for _, s := range stats {
		if len(s) != filters {
			return -1
		}
	}
	bias := p.float32Const(m, 2)
	if bias != nil && len(bias) != filters {
		return -1
	}
	eps := float64(n.node.Attrs.Float("epsilon", 1e-5))
	w, b := slices.Clone(weights), make([]float32, filters)
	per := len(w) / max(1, filters)
	for f := range filters {
		deviation := math.Sqrt(float64(stats[3][f]) + eps)
		k := float64(stats[0][f]) / deviation
		for j := f * per; j < (f+1)*per; j++ {
			w[j] = float32(float64(w[j]) * k)
		}
		old := 0.0
		if bias != nil {
			old = float64(bias[f])
		}
		if math.Abs(old-float64(stats[2][f])) > farFromZero*deviation {
			return -1
		}
		b[f] = float32((old-float64(stats[2][f]))*k + float64(stats[1][f]))
	}
	m.in = []int{m.in[0], p.addConst(p.names[m.in[1]], tensor.Must(tensor.Of(w, shape...))), p.addConst(p.names[m.in[1]], tensor.Vector(b...))}
	return i
}

// fuseActivation lets the kernel before a Relu or a Clip by constants apply it.
func (p *program) fuseActivation(v graphView, n *pnode) int {
	i := p.single(v, n.in[0], "Conv", "ConvTranspose", "Gemm", "MatMul")
	if i < 0 || p.nodes[i].act.kind != gemm.None {
		return -1
	}
	act := activation{kind: gemm.Relu}
	if n.node.OpType == "Clip" {
		act = activation{kind: gemm.Clip, lo: float32(math.Inf(-1)), hi: float32(math.Inf(1))}
		if n.opset < 11 {
			act.lo, act.hi = n.node.Attrs.Float("min", act.lo), n.node.Attrs.Float("max", act.hi)
		} else {
			for k, limit := range []*float32{&act.lo, &act.hi} {
				if 1+k >= len(n.in) || n.in[1+k] < 0 {
					continue
				}
				c := p.float32Const(n, 1+k)
				if len(c) != 1 {
					return -1
				}
				*limit = c[0]
			}
		}
		if !(act.lo <= act.hi) {
			return -1
		}
	}
	p.nodes[i].act = act
	return i
}

// fuseAdd makes a constant the bias of a matrix product, and lets a convolution add another tensor to its result.
func (p *program) fuseAdd(v graphView, n *pnode, at int) int {
	if n.opset < 7 || len(n.in) != 2 {
		return -1
	}
	for k := range 2 {
		i, other := p.single(v, n.in[k], "MatMul", "Conv"), n.in[1-k]
		if i < 0 || p.nodes[i].act.kind != gemm.None || p.float32Const(p.nodes[i], 1) == nil {
			continue
		}
		m := p.nodes[i]
		if m.node.OpType == "Conv" {
			// Both sides may be convolutions: the later one adds.
			if j := p.single(v, other, "Conv"); p.consts[other] != nil || len(m.in) > 3 || j > i && len(p.nodes[j].in) <= 3 && p.nodes[j].act.kind == gemm.None {
				continue
			}
			for len(m.in) < 3 {
				m.in = append(m.in, -1)
			}
			m.in = append(m.in, other)
			return i
		}
		w, b := p.consts[m.in[1]], p.consts[other]
		if len(m.in) == 2 && len(w.Shape()) == 2 && b != nil && b.DType() == tensor.Float32 && b.Shape().Equal(w.Shape()[1:]) {
			m.in = append(m.in, other)
			return i
		}
	}
	return -1
}
