package train

import (
	"fmt"
	"math"
	"strings"

	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/tensor"
)

// noNumber says where a loss that is no number came from, by the first bad tensor on its way: the examples, a variable, what the optimizer keeps, the output,
// or nothing before the loss itself. It is asked right after the step, when the outputs still hold the state that the step began with.
func (l *loop) noNumber(b *batch, loss float64) error {
	const remedy = "a lower learning rate may help, or a limit of the gradients' norm"
	if what := notFinite(b.x); what != "" {
		return fmt.Errorf("the loss is %v at step %d, since the examples' input %q has %s: look at the data", loss, l.steps, l.names[l.x], what)
	}
	if what := notFinite(b.y); what != "" {
		return fmt.Errorf("the loss is %v at step %d, since the examples' input %q has %s: look at the data", loss, l.steps, l.names[l.y], what)
	}
	for _, state := range []bool{false, true} {
		for _, s := range l.swaps {
			name := l.names[s[0]]
			if strings.HasPrefix(name, gradient.StatePrefix) != state {
				continue
			}
			if what := notFinite(l.out[s[1]]); what != "" {
				return fmt.Errorf("the loss is %v at step %d: the first bad tensor is %q, which has %s already before this step: %s", loss, l.steps, name, what, remedy)
			}
		}
	}
	if what := notFinite(l.out[l.logits]); what != "" {
		name := l.session.Outputs()[l.logits].Name
		return fmt.Errorf("the loss is %v at step %d: all variables are finite, the first bad tensor is the output %q, which has %s: %s", loss, l.steps, name, what, remedy)
	}
	return fmt.Errorf("the loss is %v at step %d: all variables and the output are finite, the loss itself is the first bad tensor: %s", loss, l.steps, remedy)
}

// notFinite says which of a tensor's numbers is the first that is not finite, and "" where there is none.
func notFinite(t *tensor.Tensor) string {
	switch t.DType() {
	case tensor.Float32:
		return firstBad(tensor.Data[float32](t))
	case tensor.Float64:
		return firstBad(tensor.Data[float64](t))
	}
	return "" // integers, and half precision, of which the next tensor on the way is named
}

func firstBad[T float32 | float64](values []T) string {
	for i, v := range values {
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprintf("%v at place %d of %d", f, i, len(values))
		}
	}
	return ""
}
