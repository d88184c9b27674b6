package native

import (
	"context"
	"errors"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A plan of rows serves every batch up to the size that it was made for. The first dimension of all that it computes is the
// batch, and lies outermost in memory, so a smaller batch is the first part of each tensor and of each loop: frame.rows says how
// large that part is. Nothing is padded, and the kernels are called as in a plan for the exact size, so the results are the
// same to the bit.
//
// Whether a program can have such plans is proved, not tried: shape inference with a symbol for the batch must find that
// symbol first in the shape of every value and nowhere else, and every node must have a rule in rowRules that says that
// row i of its outputs depends on row i of its inputs alone, and that its kernel's loops run over rows first. What has
// no proof gets a plan for each size.

// batchSymbol is a name that no file has.
const batchSymbol = "\x00batch"

// errNotRows says that a program has no plan of rows.
var errNotRows = errors.New("the batch is not the first dimension throughout")

// batchOf returns the common length of the first dimension of the inputs whose declaration leaves it open, and 0 where there
// is none. It does not allocate.
func (p *program) batchOf(in []*tensor.Tensor) int {
	n := 0
	for i, t := range in {
		if !p.open[i] {
			continue
		}
		shape := t.Shape()
		if len(shape) == 0 || n != 0 && shape[0] != n {
			return 0
		}
		if n = shape[0]; n == 0 {
			return 0
		}
	}
	return n
}

// openInputs are the placeholders whose first dimension is not declared.
func openInputs(in []graph.Value) []bool {
	open := make([]bool, len(in))
	for i, v := range in {
		open[i] = v.Shape == nil || len(v.Shape) > 0 && !v.Shape[0].Known()
	}
	return open
}

// roundUp returns the smallest power of two that is not below n: the sizes of batches that plans of rows are made for.
func roundUp(n int) int {
	size := 1
	for size < n {
		size *= 2
	}
	return size
}

// A rowProof is what is known of the values of a program for inputs that are alike but for the batch.
type rowProof struct {
	types  []tensor.DType
	shapes []tensor.Shape // with 0 for the batch
	// rows are the values that have the batch as their first dimension alone; nil where there is no proof.
	rows map[string]bool
}

func (r *rowProof) covers(types []tensor.DType, shapes []tensor.Shape) bool {
	return slices.Equal(r.types, types) && slices.EqualFunc(r.shapes, shapes, tensor.Shape.Equal)
}

// proofFor finds or makes the proof for these inputs. The caller holds s.makers.
func (s *Session) proofFor(types []tensor.DType, shapes []tensor.Shape) *rowProof {
	open := make([]tensor.Shape, len(shapes))
	for i, shape := range shapes {
		open[i] = shape.Clone()
		if s.prog.open[i] {
			open[i][0] = 0
		}
	}
	for _, r := range s.proofs {
		if r.covers(types, open) {
			return r
		}
	}
	r := &rowProof{types: types, shapes: open, rows: s.prog.inferRows(types, open)}
	s.proofs = append([]*rowProof{r}, s.proofs[:min(len(s.proofs), s.e.cfg.MaxPlans-1)]...)
	return r
}

// inferRows lets shape inference follow the batch through the program.
func (p *program) inferRows(types []tensor.DType, shapes []tensor.Shape) map[string]bool {
	if p.plain == nil {
		return nil
	}
	g := &graph.Graph{Name: p.plain.Name, Opset: p.plain.Opset, Nodes: p.plain.Nodes, Initializers: p.plain.Initializers}
	for i, v := range p.in {
		shape := graph.Dims(shapes[i]...)
		if p.open[i] {
			shape[0] = graph.Dim{Size: -1, Symbol: batchSymbol}
		}
		g.Inputs = append(g.Inputs, graph.Value{Name: v.Name, DType: types[i], Shape: shape})
	}
	for _, v := range p.out {
		g.Outputs = append(g.Outputs, graph.Value{Name: v.Name})
	}
	all, err := infer.Find(g)
	if err != nil {
		return nil // for some sizes, so the run of such a size will tell
	}
	rows := map[string]bool{}
	found := all[len(all)-1]
	for _, vs := range [][]graph.Value{found.Inputs, found.Outputs, found.Values} {
		for _, v := range vs {
			if len(v.Shape) == 0 || v.Shape[0].Symbol != batchSymbol {
				continue
			}
			if _, ok := v.Shape[1:].Static(); ok || len(v.Shape) == 1 {
				rows[v.Name] = true
			}
		}
	}
	return rows
}

// makeRows makes a plan of rows for batches of up to size, which shapes have, or returns errNotRows.
func (s *Session) makeRows(ctx context.Context, types []tensor.DType, shapes []tensor.Shape, size int) (*plan, error) {
	proof := s.proofFor(types, shapes)
	if proof.rows == nil {
		return nil, errNotRows
	}
	pl := newPlanner(ctx, s.e, s.prog, s.pool)
	pl.batch, pl.proof = size, proof
	p, err := pl.plan(types, shapes)
	switch {
	case err == nil:
		p.batch = size
		return p, nil
	case ctx.Err() != nil:
		return nil, err
	case errors.Is(err, errTooLarge):
		return nil, errNotRows // only this size
	}
	// The size that was asked for may still be possible; its own plan has its own say.
	proof.rows = nil
	return nil, errNotRows
}

// carries says how a value depends on the batch.
type carries uint8

const (
	carriesNothing carries = iota
	carriesRows            // the batch is its first dimension
	carriesSize            // known when the plan is made, and another for another size
)

// checkRows settles what a prepared node's outputs carry, or returns errNotRows.
func (pl *planner) checkRows(c *prep, known bool) error {
	rows, size := false, false
	for i := range c.in {
		rows = rows || c.in[i].carries == carriesRows
		size = size || c.in[i].carries == carriesSize
	}
	if !rows && !size {
		if !known {
			return errNotRows // the same for every row: its loops must not be cut
		}
		return nil
	}
	proved := func() bool {
		if rule := rowRules[c.node.Op()]; rule == nil || c.random || !rule(c) {
			return false
		}
		for j, id := range c.n.out {
			if id < 0 {
				continue
			}
			if o := &c.outs[j]; !pl.proof.rows[pl.prog.names[id]] || len(o.shape) == 0 || o.shape[0] != pl.batch {
				return false
			}
		}
		return true
	}
	carry := carriesRows
	if !proved() {
		// What the shapes alone settle needs no rule here: those who use it are asked.
		if !known && c.pending() {
			return errNotRows
		}
		carry = carriesSize
	}
	for i := range c.outs {
		c.outs[i].carries = carry
	}
	return nil
}

// checkOutputs returns errNotRows where an output of the graph is another for each size but has no rows.
func (pl *planner) checkOutputs() error {
	for _, id := range pl.prog.outputs {
		if pl.vals[id].carries == carriesSize {
			return errNotRows
		}
	}
	return nil
}
