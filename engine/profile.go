package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// ErrNoProfile says that an engine does not tell how long each node takes.
var ErrNoProfile = errors.New("the engine does not tell how long each node takes")

// A StepTime is how long an engine took for one thing that it does: a node, or several that it joined.
type StepTime struct {
	// Op is the operator of the step's main node, such as "Conv".
	Op string
	// Values are the names of what the step computes, as the graph has them; names that the graph does not have are of nodes that the engine made.
	Values []string
	Time   time.Duration
}

// A Profile is where the time of a run goes.
type Profile struct {
	// Steps are in the order in which they ran.
	Steps []StepTime
	// Total is the time of the whole run, that between steps included.
	Total time.Duration
	// Note says how the run differs from the others, where it does.
	Note string
}

// A Profiler is a session that can tell where its time goes.
type Profiler interface {
	// Profile runs once, as Run does and beside other runs, and returns the time of each step. It returns ErrNoProfile where the session cannot tell.
	Profile(ctx context.Context, in []*tensor.Tensor) (Profile, error)
}

// ProfileRuns runs a session once to warm up and then so many times, and returns the means; it ends between runs where a deadline of ctx's has passed and there was one run. runs is how many there
// were. A session that is no Profiler gives ErrNoProfile.
func ProfileRuns(ctx context.Context, s Session, in []*tensor.Tensor, most int) (mean Profile, runs int, err error) {
	p, ok := s.(Profiler)
	if !ok {
		return mean, 0, ErrNoProfile
	}
	if _, err := p.Profile(ctx, in); err != nil {
		return mean, 0, err
	}
	for runs < max(most, 1) {
		one, err := p.Profile(ctx, in)
		if err != nil && runs > 0 && errors.Is(err, context.DeadlineExceeded) {
			break
		}
		if err != nil {
			return mean, runs, err
		}
		if runs++; runs == 1 {
			mean = one
			continue
		}
		if len(one.Steps) != len(mean.Steps) {
			return mean, runs, fmt.Errorf("the engine did %d steps in one run and %d in another, so they have no mean", len(mean.Steps), len(one.Steps))
		}
		for i, step := range one.Steps {
			mean.Steps[i].Time += step.Time
		}
		mean.Total += one.Total
	}
	for i := range mean.Steps {
		mean.Steps[i].Time /= time.Duration(runs)
	}
	mean.Total /= time.Duration(runs)
	return mean, runs, nil
}

// StepNodes returns, for each step, the numbers of the nodes of g that it stands for, rising: those that compute its values from what steps before it compute, and from inputs and constants. A node is
// in one step at most; what was computed when the graph was opened is with the step that takes it.
func StepNodes(g *graph.Graph, steps []StepTime) [][]int {
	producer := make(map[string]int, len(g.Nodes))
	for i, n := range g.Nodes {
		for _, out := range n.Outputs {
			if out != "" {
				producer[out] = i
			}
		}
	}
	seen := make([]bool, len(g.Nodes))
	all := make([][]int, len(steps))
	for k, s := range steps {
		var stack []int
		visit := func(name string) {
			if i, ok := producer[name]; ok && !seen[i] {
				seen[i] = true
				stack = append(stack, i)
			}
		}
		for _, v := range s.Values {
			visit(v)
		}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			all[k] = append(all[k], i)
			for _, name := range g.Nodes[i].Uses() {
				visit(name)
			}
		}
		slices.Sort(all[k])
	}
	return all
}

// maxExample is the most bytes of the tensors that Example makes.
const maxExample = 64 << 20

// Example makes inputs of a kind that any model takes: numbers from 0 to 1 in floating point, the same ones each time, and 0, false or "" in other types. A first dimension that is not known becomes
// rows, and others become length. The error is ErrInput for what is no tensor, or over 64 MiB.
func Example(inputs []graph.Value, rows, length int) ([]*tensor.Tensor, error) {
	r := rand.New(rand.NewPCG(1, 2))
	var bytes int64
	in := make([]*tensor.Tensor, len(inputs))
	for i, v := range inputs {
		if v.DType == tensor.Invalid || v.Shape == nil || v.Container != "" {
			return nil, fmt.Errorf("%w: no example can be made for input %s", ErrInput, v)
		}
		shape := make(tensor.Shape, len(v.Shape))
		for k, d := range v.Shape {
			switch {
			case d.Known():
				shape[k] = int(d.Size)
			case k == 0:
				shape[k] = rows
			default:
				shape[k] = length
			}
		}
		n, err := shape.Check()
		if err == nil {
			bytes += int64(n) * int64(max(v.DType.Size(), 1))
		}
		if err != nil || bytes > maxExample {
			return nil, fmt.Errorf("%w: examples of shape %v for input %s take more than %d bytes", ErrInput, shape, v, maxExample)
		}
		t, err := tensor.New(v.DType, shape...)
		if err != nil {
			return nil, fmt.Errorf("%w: input %s: %w", ErrInput, v, err)
		}
		switch data := t.Raw().(type) {
		case []float32:
			for k := range data {
				data[k] = r.Float32()
			}
		case []float64:
			for k := range data {
				data[k] = r.Float64()
			}
		}
		in[i] = t
	}
	return in, nil
}
