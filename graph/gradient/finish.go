package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
)

// finish names the outputs, appends the update and puts the graph together.
func (t *tape) finish(opts Options, target graph.Value) (*graph.Graph, error) {
	outputs := make([]graph.Value, 0, len(t.variables)+2)
	for _, name := range opts.Outputs {
		v, ok := t.values[name]
		if !ok || t.makers[name] == nil {
			return nil, fmt.Errorf("%w: the model computes no value %q", ErrOptions, name)
		}
		outputs = append(outputs, v)
	}
	outputs = append(outputs, graph.Value{Name: LossOutput, DType: t.dtype, Shape: graph.Shape{}})

	var vars, grads []string
	for _, v := range t.variables {
		if g := t.gradient(v); g != "" {
			vars, grads = append(vars, v), append(grads, g)
		} else if slices.Contains(opts.Variables, v) {
			return nil, fmt.Errorf("%w: the loss does not change with variable %q", ErrOptions, v)
		}
	}
	if len(vars) == 0 {
		return nil, fmt.Errorf("%w: the loss changes with no variable", ErrOptions)
	}
	t.variables = vars
	if !opts.NoGradients {
		for i, v := range vars {
			outputs = append(outputs, t.output(grads[i], GradPrefix+v, t.values[v]))
		}
	}
	if opts.MaxValue > 0 {
		for i, g := range grads {
			grads[i] = t.op("Clip", g, t.num(-opts.MaxValue), t.num(opts.MaxValue))
		}
	}
	if opts.MaxNorm > 0 {
		norm := t.clip(opts.MaxNorm, grads)
		if !opts.NoGradients {
			outputs = append(outputs, t.output(norm, GradNorm, graph.Value{DType: t.dtype, Shape: graph.Shape{}}))
		}
	}
	t.findStatistics()
	if opts.Optimizer != nil {
		news, err := t.update(*opts.Optimizer, grads)
		if err != nil {
			return nil, err
		}
		outputs = append(outputs, news...)
	} else {
		outputs = append(outputs, t.updateStatistics()...)
	}
	t.applyNames()
	g := t.g
	g.Inputs = append(append(g.Inputs, target), t.inputs...)
	g.Outputs = outputs
	g.Nodes = append(t.forward, t.nodes...)
	g.Initializers = append(g.Initializers, t.inits...)
	if err := t.addFunctions(); err != nil {
		return nil, err
	}
	g.Prune()
	if err := g.Validate(); err != nil {
		return nil, fmt.Errorf("training graph: %w", err)
	}
	return g, nil
}

// clip scales the gradients, in place of their names, and returns the name of their norm.
func (t *tape) clip(most float64, grads []string) string {
	parts := make([]string, len(grads))
	for i, g := range grads {
		parts[i] = t.reduce("ReduceSum", t.square(g), false)
	}
	norm := t.op("Sqrt", t.op("Sum", parts...))
	scale := t.op("Min", t.num(1), t.op("Div", t.num(most), t.op("Add", norm, t.num(1e-6))))
	for i, g := range grads {
		grads[i] = t.op("Mul", g, scale)
	}
	return norm
}

// output gives a value the name of an output: a value of ours that has no such name yet gets it, others are copied.
func (t *tape) output(from, to string, like graph.Value) graph.Value {
	t.used[to] = true
	if _, taken := t.names[from]; taken || !t.ours[from] {
		from = t.op("Identity", from)
	}
	t.names[from] = to
	return graph.Value{Name: to, DType: like.DType, Shape: slices.Clone(like.Shape)}
}

// applyNames gives the values the names that output promised, in subgraphs too, which see the values around them.
func (t *tape) applyNames() {
	graph.Walk(t.nodes, func(n *graph.Node) {
		for _, list := range [][]string{n.Inputs, n.Outputs} {
			for k, name := range list {
				if to, ok := t.names[name]; ok {
					list[k] = to
				}
			}
		}
	})
}

// findStatistics makes the BatchNormalization nodes in training mode give their running statistics, as the standard has them do.
func (t *tape) findStatistics() {
	for _, n := range t.forward {
		if n.Op() != "BatchNormalization" || n.Attrs.Int("training_mode", 0) == 0 {
			continue
		}
		for k := 1; k <= 2; k++ {
			for len(n.Outputs) <= k {
				n.Outputs = append(n.Outputs, "")
			}
			if n.Outputs[k] == "" {
				n.Outputs[k] = t.name("statistic")
			}
			name := n.Input(2 + k)
			if t.known[name] == nil || t.makers[name] != nil {
				continue
			}
			t.stats = append(t.stats, statistic{name, n.Outputs[k]})
		}
	}
}
