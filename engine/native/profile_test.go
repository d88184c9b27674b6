package native_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// profile runs a graph with a clock, and returns the operators of its steps and the nodes of each.
func profile(t *testing.T, b *graph.Builder, rows int) (engine.Profile, [][]int) {
	t.Helper()
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	in, err := engine.Example(s.Inputs(), rows, 4)
	if err != nil {
		t.Fatal(err)
	}
	p, runs, err := engine.ProfileRuns(t.Context(), s, in, 3)
	if err != nil || runs != 3 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	sum := p.Steps[0].Time
	for _, step := range p.Steps[1:] {
		sum += step.Time
	}
	if sum <= 0 || sum > p.Total {
		t.Errorf("the steps take %v of %v", sum, p.Total)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.(engine.Profiler).Profile(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("a profile that nobody waits for: %v", err)
	}
	if _, err := s.(engine.Profiler).Profile(t.Context(), nil); !errors.Is(err, engine.ErrInput) {
		t.Errorf("a profile without inputs: %v", err)
	}
	return p, engine.StepNodes(g, p.Steps)
}

// TestProfile has a convolution that is joined with what follows, and element-wise nodes that are one step.
func TestProfile(t *testing.T) {
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}, {Size: 8}, {Size: 8}})
	y := b.Op("Relu", nil, b.Op("Conv", nil, x, b.Init("w", tensor.Must(tensor.New(tensor.Float32, 4, 1, 3, 3)))))
	y = b.Op("Mul", nil, b.Op("Tanh", nil, y), b.Op("Sigmoid", nil, y))
	b.Output(b.Op("Flatten", nil, b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2, 2}}, y)))
	p, nodes := profile(t, b, 3)
	var seen []int
	for i, step := range p.Steps {
		switch {
		case step.Op == "Conv" && !slices.Equal(nodes[i], []int{0, 1}):
			t.Errorf("the convolution's step has nodes %v", nodes[i])
		case len(nodes[i]) == 0:
			t.Errorf("step %d, %s, has no nodes", i, step.Op)
		}
		seen = append(seen, nodes[i]...)
	}
	if slices.Sort(seen); !slices.Equal(seen, []int{0, 1, 2, 3, 4, 5}) && !slices.Equal(seen, []int{0, 1, 2, 3, 4, 5, 6}) { // Flatten may take no step
		t.Errorf("the steps have nodes %v", seen)
	}
	if p.Note != "" {
		t.Errorf("note %q", p.Note)
	}
}

// TestProfileDynamic has a shape that depends on a value, so the nodes run one by one.
func TestProfileDynamic(t *testing.T) {
	b := graph.NewBuilder("net")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}})
	b.Output(b.Op("Abs", nil, b.Op("Transpose", nil, b.Op("NonZero", nil, x))))
	p, nodes := profile(t, b, 2)
	if len(p.Steps) != 3 || p.Note == "" {
		t.Errorf("%+v", p)
	}
	for i := range nodes {
		if !slices.Equal(nodes[i], []int{i}) {
			t.Errorf("step %d has nodes %v", i, nodes[i])
		}
	}
}
