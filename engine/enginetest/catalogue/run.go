package catalogue

import (
	"context"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Result is what an engine makes of an operator's examples.
type Result struct {
	// Runs are the types that ran, of all that there are.
	Runs []tensor.DType
	// Lacks are the types of the standard that did not, and Why what the first of them said.
	Lacks []tensor.DType
	Why   string
}

// Run runs an operator's examples of every type on an engine.
func Run(ctx context.Context, e engine.Engine, o *Operator) Result {
	var r Result
	for d := tensor.Float32; d.Valid(); d++ {
		err := try(ctx, e, o, d)
		if err == nil {
			r.Runs = append(r.Runs, d)
			continue
		}
		if slices.Contains(o.Types, d) {
			if r.Lacks = append(r.Lacks, d); r.Why == "" {
				r.Why, _, _ = strings.Cut(err.Error(), "\n")
			}
		}
	}
	return r
}

func try(ctx context.Context, e engine.Engine, o *Operator, d tensor.DType) error {
	g, in := o.Example(d)
	return RunGraph(ctx, e, g, in)
}

// RunGraph opens and runs one graph.
func RunGraph(ctx context.Context, e engine.Engine, g *graph.Graph, in []tensor.Value) error {
	s, err := e.Open(ctx, g, engine.Options{Threads: 1, Values: true})
	if err != nil {
		return err
	}
	defer s.Close()
	if v, ok := s.(engine.ValueSession); ok {
		return v.RunValues(ctx, in, make([]tensor.Value, len(g.Outputs)))
	}
	tensors := make([]*tensor.Tensor, len(in))
	for i, v := range in {
		tensors[i] = v.Tensor
	}
	return s.Run(ctx, tensors, make([]*tensor.Tensor, len(g.Outputs)))
}
