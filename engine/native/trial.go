package native

import (
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// trial prepares every node by itself with the types that shape inference finds, and with 1 for lengths that are not
// known, and returns an *engine.UnsupportedError for what the kernels refuse. It is for programs whose plan cannot be
// made before a run; all other errors are left to that.
func (p *program) trial(ctx context.Context, e *Engine, g *graph.Graph) error {
	flat := &graph.Graph{Name: g.Name, Opset: g.Opset, Inputs: slices.Clone(g.Inputs), Outputs: slices.Clone(g.Outputs), Initializers: g.Initializers}
	for _, n := range p.nodes {
		flat.Nodes = append(flat.Nodes, n.node)
	}
	all, err := infer.Find(flat)
	if err != nil {
		return nil // the run will tell
	}
	t := &trialRun{ctx: ctx, e: e, pool: newPool(1), refused: map[string]bool{}, found: make(map[*graph.Graph]infer.Found, len(all))}
	for _, f := range all {
		t.found[f.Graph] = f
	}
	defer t.pool.close()
	t.try(p, flat, nil)
	if len(t.refused) == 0 {
		return nil
	}
	return &engine.UnsupportedError{Engine: Name, Ops: slices.Sorted(maps.Keys(t.refused))}
}

// trialRun is what the trials of a program and its bodies share.
type trialRun struct {
	ctx     context.Context
	e       *Engine
	pool    *pool
	refused map[string]bool
	found   map[*graph.Graph]infer.Found
}

// known is what inference found of the values of a graph, within those around it.
type known struct {
	values map[string]graph.Value
	outer  *known
}

func (k *known) lookup(name string) (graph.Value, bool) {
	for ; k != nil; k = k.outer {
		if v, ok := k.values[name]; ok {
			return v, true
		}
	}
	return graph.Value{}, false
}

// try prepares the nodes of p, which was made of g, where outer is what is known of the values around it.
func (t *trialRun) try(p *program, g *graph.Graph, outer *known) {
	f := t.found[g]
	found := &known{values: make(map[string]graph.Value, len(f.Inputs)+len(f.Outputs)+len(f.Values)), outer: outer}
	for _, vs := range [][]graph.Value{f.Inputs, f.Outputs, f.Values} {
		for _, v := range vs {
			found.values[v.Name] = v
		}
	}
	pl := newPlanner(t.ctx, t.e, p, t.pool)
	guessed := map[int]bool{}
	for id, name := range p.names {
		v, ok := found.lookup(name)
		if pl.vals[id].ready || !ok || v.DType == tensor.Invalid || v.Container != "" {
			continue
		}
		if v.Shape == nil { // a guess; only what is refused for its type counts then
			pl.vals[id] = value{ready: true, dtype: v.DType, shape: tensor.Shape{1}, slot: -1}
			guessed[id] = true
			continue
		}
		shape := make(tensor.Shape, len(v.Shape))
		for i, d := range v.Shape {
			shape[i] = int(max(d.Size, 1))
			if d.Known() {
				shape[i] = int(d.Size)
			}
		}
		pl.vals[id] = value{ready: true, dtype: v.DType, shape: shape, slot: -1}
	}
	for _, n := range p.nodes {
		u := pl.tryNode(n)
		if u != nil && (u.byType || !slices.ContainsFunc(n.in, func(id int) bool { return guessed[id] })) {
			t.refused[u.Error()] = true
		}
		for _, b := range n.bodies {
			t.try(b.prog, b.graph, found)
		}
	}
}

// tryNode prepares one node and returns why its kernel refuses it, or nil.
func (pl *planner) tryNode(n *pnode) (u *unsupported) {
	pl.slots = pl.slots[:0]
	c := &prep{pl: pl, node: n.node, n: n, attrs: n.node.Attrs, opset: n.opset, act: n.act, in: make([]info, len(n.in))}
	for j, id := range n.in {
		c.in[j].slot = -1
		if id < 0 {
			continue
		}
		v := pl.vals[id]
		if !v.ready {
			return nil
		}
		if v.t == nil {
			v.slot = pl.addSlot(slot{kind: slotArena, dtype: v.dtype, shape: v.shape})
		} else {
			v.slot = pl.addSlot(slot{kind: slotConst, dtype: v.dtype, shape: v.shape, t: v.t})
		}
		c.in[j] = info{dtype: v.dtype, shape: v.shape, value: v.t, slot: v.slot}
	}
	defer func() {
		if recover() != nil {
			u = nil // an impossible shape; the run has its own say
		}
	}()
	errors.As(n.prepare(c), &u)
	return u
}
