// Package rewrite rewrites graphs of ONNX operators: what a converter wrote, operator by operator, computes the same with fewer nodes
// afterwards, in the subgraphs of If, Loop and Scan too. Where a graph comes from, and whether its numbers stayed, is left to others.
package rewrite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// maxRounds limits how often the passes run: one makes work for another, and each round has fewer nodes than the one before.
const maxRounds = 16

// A Pass is one kind of rewriting.
type Pass struct {
	// Name is what messages call it.
	Name string
	run  func(w *work) (changes int, err error)
	once bool // it is given the main graph alone, which has the others in it
}

// All returns the passes in their order.
func All() []Pass {
	return []Pass{
		{Name: "neutral", run: neutral}, {Name: "duplicates", run: duplicates}, {Name: "layer normalizations", run: layerNorms}, {Name: "fused layer normalizations", run: fusedNorms}, {Name: "gelus", run: gelus},
		{Name: "softmaxes", run: softmaxes}, {Name: "hard sigmoids", run: hardSigmoids}, {Name: "einsums", run: einsums}, {Name: "lengths", run: lengths},
		{Name: "transposes", run: transposes}, {Name: "inverses", run: inverses}, {Name: "rows", run: rows}, {Name: "denses", run: denses}, {Name: "reshapes", run: reshapes}, {Name: "flats", run: flats},
		{Name: "pads", run: pads}, {Name: "pools", run: pools}, {Name: "scales", run: scales}, {Name: "clips", run: clips},
	}
}

// Custom makes a pass of a function that changes a graph, and returns how many changes it made: it is called again until that is 0, or 16 times.
func Custom(name string, change func(g *graph.Graph) (changes int, err error)) Pass {
	return Pass{Name: name, once: true, run: func(w *work) (int, error) { return change(w.g) }}
}

// Run applies passes to a graph, which it changes, until none of them finds anything more. The graph must be sorted, and of an opset in
// which reductions have their axes as an attribute: below 18. Values that are declared are found anew. The evaluator computes constants.
func Run(ctx context.Context, g *graph.Graph, ev graph.Evaluator, passes []Pass) error {
	if len(passes) == 0 {
		return nil
	}
	var w *work
	for range maxRounds {
		changes := 0
		for _, p := range passes {
			if err := ctx.Err(); err != nil {
				return err
			}
			if w == nil {
				var err error
				if w, err = newWork(ctx, g, ev); err != nil {
					return fmt.Errorf("before pass %s: %w", p.Name, err)
				}
			}
			n, err := p.apply(w)
			if err != nil {
				return err
			}
			if changes += n; n > 0 || w.stale || p.once {
				w = nil // what is known of the graph is of before
			}
		}
		if changes == 0 {
			break
		}
	}
	return nil
}

// work is a graph while a pass goes over it, with what a pass asks of it. It may be a subgraph: then made has only its own nodes, while consts and values
// have what it takes from around it too.
type work struct {
	ctx     context.Context
	ev      graph.Evaluator
	g       *graph.Graph
	main    *graph.Graph   // which has the constants of all
	around  *work          // of a subgraph: the graph with the node that it belongs to
	uses    map[string]int // of a subgraph: how many nodes of all graphs take a value
	made    map[string]*graph.Node
	users   map[string]*users // nodes that take a value, in their subgraphs too
	outputs map[string]bool
	consts  map[string]*tensor.Tensor
	values  map[string]graph.Value
	names   *graph.Builder // only for names
	gone    map[*graph.Node]bool
	stale   bool // its nodes are others now
}

func newWork(ctx context.Context, g *graph.Graph, ev graph.Evaluator) (*work, error) {
	forget(g)
	if err := infer.Shapes(g); err != nil {
		return nil, err
	}
	w := &work{ctx: ctx, ev: ev, g: g, main: g, names: graph.Extend(g)}
	w.read()
	return w, nil
}

// read notes what the graph has.
func (w *work) read() {
	g := w.g
	w.made, w.users, w.outputs = map[string]*graph.Node{}, map[string]*users{}, map[string]bool{}
	w.consts, w.values, w.gone = map[string]*tensor.Tensor{}, map[string]graph.Value{}, map[*graph.Node]bool{}
	given := map[string]bool{}
	for _, vs := range [][]graph.Value{g.Inputs, g.Values, g.Outputs} {
		for _, v := range vs {
			w.values[v.Name] = v
		}
	}
	for _, v := range g.Inputs {
		given[v.Name] = true
	}
	for _, v := range g.Outputs {
		w.outputs[v.Name] = true
	}
	for _, in := range g.Initializers {
		if given[in.Name] { // a caller may give another one
			continue
		}
		w.consts[in.Name] = in.Tensor
		w.values[in.Name] = graph.Value{Name: in.Name, DType: in.Tensor.DType(), Shape: graph.Dims(in.Tensor.Shape()...)}
	}
	for _, n := range g.Nodes {
		for _, out := range n.Outputs {
			w.made[out] = n
		}
		w.enter(n)
	}
}

// enter notes what a node takes.
func (w *work) enter(n *graph.Node) {
	for _, name := range n.Uses() {
		u := w.users[name]
		if u == nil {
			u = &users{at: map[*graph.Node]int{}}
			w.users[name] = u
		}
		if _, ok := u.at[n]; !ok {
			u.at[n] = len(u.order)
			u.order = append(u.order, n)
		}
	}
}

// users are the nodes that take a value, each once, in the order in which they came to; nil is one that does so no more. A value may have very many of them.
type users struct {
	order []*graph.Node
	at    map[*graph.Node]int
}

// usersOf returns the nodes that take a value.
func (w *work) usersOf(name string) []*graph.Node {
	u := w.users[name]
	if u == nil {
		return nil
	}
	u.order = slices.DeleteFunc(u.order, func(n *graph.Node) bool { return n == nil })
	for i, n := range u.order {
		u.at[n] = i
	}
	return slices.Clone(u.order)
}

// fanout is how many nodes take a value.
func (w *work) fanout(name string) int {
	if n := w.uses[name]; n > 0 && w.made[name] == nil {
		return n
	}
	if u := w.users[name]; u != nil {
		return len(u.at)
	}
	return 0
}

// leave undoes enter, before the inputs of a node change.
func (w *work) leave(n *graph.Node) {
	for _, name := range n.Uses() {
		if u := w.users[name]; u != nil {
			if i, ok := u.at[n]; ok {
				u.order[i] = nil
				delete(u.at, n)
			}
		}
	}
}

// setInput changes input i of a node.
func (w *work) setInput(n *graph.Node, i int, name string) {
	w.leave(n)
	n.Inputs = slices.Clone(n.Inputs)
	for len(n.Inputs) <= i {
		n.Inputs = append(n.Inputs, "")
	}
	n.Inputs[i] = name
	w.enter(n)
}

// add puts a node into the graph.
func (w *work) add(n *graph.Node) {
	w.g.Nodes = append(w.g.Nodes, n)
	for _, out := range n.Outputs {
		w.made[out] = n
	}
	w.enter(n)
}

// drop takes a node out of the graph. What it made must have another producer, or no user.
func (w *work) drop(n *graph.Node) {
	w.leave(n)
	w.gone[n] = true
	for _, out := range n.Outputs {
		if w.made[out] == n {
			delete(w.made, out)
		}
	}
}

// only returns the one node that takes a value, where there is one and nothing else needs the value.
func (w *work) only(name string) *graph.Node {
	if w.outputs[name] || w.fanout(name) != 1 {
		return nil
	}
	if all := w.usersOf(name); len(all) == 1 {
		return all[0]
	}
	return nil
}

// alias makes everything that takes the one output of n take another value instead, and drops n. It reports whether it could: an output of the
// graph keeps its name, so what makes the other value must be able to take that.
func (w *work) alias(n *graph.Node, to string) bool {
	from := n.Outputs[0]
	if w.outputs[from] {
		maker := w.made[to]
		if maker == nil || w.outputs[to] {
			return false
		}
		w.drop(n)
		for i, out := range maker.Outputs {
			if out == to {
				maker.Outputs = slices.Clone(maker.Outputs)
				maker.Outputs[i] = from
			}
		}
		w.made[from] = maker
		delete(w.made, to)
		from, to = to, from
	} else {
		w.drop(n)
	}
	for _, u := range w.usersOf(from) {
		w.leave(u)
		retarget(u, from, to)
		w.enter(u)
	}
	return true
}

// retarget changes a name in the inputs of a node and of those in its subgraphs.
func retarget(n *graph.Node, from, to string) {
	n.Inputs = slices.Clone(n.Inputs)
	for i, name := range n.Inputs {
		if name == from {
			n.Inputs[i] = to
		}
	}
	for _, sub := range n.Subgraphs() {
		for i, v := range sub.Outputs {
			if v.Name == from {
				sub.Outputs[i].Name = to
			}
		}
		for _, inner := range sub.Nodes {
			retarget(inner, from, to)
		}
	}
}

// constant adds an initializer, and returns its name.
func (w *work) constant(hint string, t *tensor.Tensor) string {
	name := w.names.Init(hint, t)
	w.consts[name] = t
	w.values[name] = graph.Value{Name: name, DType: t.DType(), Shape: graph.Dims(t.Shape()...)}
	return name
}

// ints returns the elements of a constant of int64.
func (w *work) ints(name string) ([]int64, bool) {
	t := w.consts[name]
	if t == nil || t.DType() != tensor.Int64 {
		return nil, false
	}
	return tensor.Data[int64](t), true
}

// rank returns the number of dimensions, or -1 where it is not known.
func (w *work) rank(name string) int {
	if v, ok := w.values[name]; ok && v.Shape != nil {
		return len(v.Shape)
	}
	return -1
}

// finish removes what nobody needs any more, and sorts.
func (w *work) finish() error {
	w.g.Nodes = slices.DeleteFunc(w.g.Nodes, func(n *graph.Node) bool { return w.gone[n] })
	w.g.Values = nil
	if err := w.g.Sort(); err != nil {
		return err
	}
	w.g.Prune()
	return nil
}

// compute evaluates one node of constants.
func (w *work) compute(op string, attrs graph.Attrs, in *tensor.Tensor) (*tensor.Tensor, error) {
	g := &graph.Graph{
		Name: "pass", Opset: w.main.Opset, Initializers: []graph.Initializer{{Name: "x", Tensor: in}}, Outputs: []graph.Value{{Name: "y"}},
		Nodes: []*graph.Node{{Name: "y", OpType: op, Attrs: attrs, Inputs: []string{"x"}, Outputs: []string{"y"}}},
	}
	out, err := w.ev.Evaluate(w.ctx, g)
	if err == nil && len(out) != 1 {
		err = errors.New("the evaluator gave no result")
	}
	if err != nil {
		return nil, fmt.Errorf("compute %s of a constant of %v%v: %w", op, in.DType(), in.Shape(), err)
	}
	return out[0], nil
}

// standard reports whether a node is of ONNX's own domain and of one of these operators.
func standard(n *graph.Node, ops ...string) bool {
	return n != nil && n.Domain == graph.OnnxDomain && slices.Contains(ops, n.OpType)
}

// normal brings axes into [0, rank); ok is false where one is outside.
func normal(axes []int64, rank int) (out []int64, ok bool) {
	for _, a := range axes {
		if a < 0 {
			a += int64(rank)
		}
		if a < 0 || a >= int64(rank) {
			return nil, false
		}
		out = append(out, a)
	}
	return out, true
}
