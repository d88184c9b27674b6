package native

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

var _ engine.ValueSession = (*Session)(nil)

// RunValues computes the outputs; see engine.ValueSession.
func (s *Session) RunValues(ctx context.Context, in, out []tensor.Value) (err error) {
	s.runs.RLock()
	defer s.runs.RUnlock()
	if s.closed {
		return engine.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkValues(s.prog.in, in); err != nil {
		return err
	}
	if len(out) != len(s.prog.out) {
		return fmt.Errorf("%w: %d outputs given, the model has %d", engine.ErrInput, len(out), len(s.prog.out))
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: engine native: model %q: %s", engine.ErrPanic, s.prog.name, panicText(p))
		}
	}()
	res, err := newPlanner(ctx, s.e, s.prog, s.pool).evaluate(in)
	if err != nil {
		return s.runError(ctx, err)
	}
	for i, v := range res {
		out[i] = v.Clone()
	}
	return nil
}

// checkValues holds values against what the model declares.
func checkValues(want []graph.Value, in []tensor.Value) error {
	if len(in) != len(want) {
		return fmt.Errorf("%w: %d inputs given, the model takes %d", engine.ErrInput, len(in), len(want))
	}
	var declared []graph.Value
	var tensors []*tensor.Tensor
	for i, v := range want {
		if v.Container == "" && in[i].Kind == tensor.KindTensor {
			declared, tensors = append(declared, v), append(tensors, in[i].Tensor)
			continue
		}
		if !isA(v.Container, v.DType, in[i]) {
			return fmt.Errorf("%w: input %q must be %s", engine.ErrInput, v.Name, v)
		}
	}
	return engine.CheckInputs(declared, tensors)
}

// isA reports whether a value is what a container says: "", kind(rest), or that of a map.
func isA(container string, dtype tensor.DType, v tensor.Value) bool {
	kind, rest, _ := strings.Cut(container, "(")
	rest = strings.TrimSuffix(rest, ")")
	switch v.Kind {
	case tensor.KindTensor:
		return container == "" && v.Tensor != nil && (dtype == tensor.Invalid || v.Tensor.DType() == dtype)
	case tensor.KindSequence, tensor.KindOptional:
		if kind != v.Kind.String() || v.Kind == tensor.KindOptional && len(v.Items) > 1 {
			return false
		}
		return !slices.ContainsFunc(v.Items, func(item tensor.Value) bool { return !isA(rest, dtype, item) })
	case tensor.KindMap:
		key, ok := graph.MapKey(container)
		return ok && v.Keys != nil && v.Keys.DType() == key && v.Tensor != nil && (dtype == tensor.Invalid || v.Tensor.DType() == dtype)
	}
	return false
}
