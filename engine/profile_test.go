package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestStepNodes(t *testing.T) {
	n := func(op, out string, in ...string) *graph.Node {
		return &graph.Node{OpType: op, Inputs: in, Outputs: []string{out}}
	}
	g := &graph.Graph{
		Inputs:       []graph.Value{{Name: "x"}},
		Initializers: []graph.Initializer{{Name: "w"}},
		Nodes: []*graph.Node{
			n("Conv", "c", "x", "w"), n("Add", "a", "c", "w"), n("Relu", "r", "a"), // one step
			n("Shape", "s", "w"), n("Reshape", "h", "r", "s"), // the shape is folded
			n("Exp", "e", "h"), n("Neg", "f", "h"), n("Mul", "m", "e", "f"), // a group that tells of its last node alone
			n("Tanh", "t", "m"),
		},
	}
	steps := []engine.StepTime{{Op: "Conv", Values: []string{"r"}}, {Op: "Pad", Values: []string{"made up"}}, {Op: "Reshape", Values: []string{"h"}}, {Op: "Mul", Values: []string{"m"}}, {Op: "Tanh", Values: []string{"t"}}}
	got := engine.StepNodes(g, steps)
	want := [][]int{{0, 1, 2}, nil, {3, 4}, {5, 6, 7}, {8}}
	for i := range want {
		if !slices.Equal(got[i], want[i]) {
			t.Errorf("step %d: nodes %v, want %v", i, got[i], want[i])
		}
	}
}

// timed is a session whose steps take as long as the number of the run; it gets tired.
type timed struct {
	engine.Session
	runs int
	most int
}

func (s *timed) Profile(context.Context, []*tensor.Tensor) (engine.Profile, error) {
	if s.runs++; s.runs > s.most {
		return engine.Profile{}, context.DeadlineExceeded
	}
	d := time.Duration(s.runs) * time.Second
	return engine.Profile{Steps: []engine.StepTime{{Op: "A", Time: d}, {Op: "B", Time: 2 * d}}, Total: 4 * d, Note: "n"}, nil
}

func TestProfileRuns(t *testing.T) {
	p, runs, err := engine.ProfileRuns(t.Context(), &timed{most: 9}, nil, 3) // the first is the warm-up, so 2, 3 and 4
	if err != nil || runs != 3 || p.Total != 12*time.Second || p.Steps[0].Time != 3*time.Second || p.Steps[1].Time != 6*time.Second || p.Note != "n" {
		t.Errorf("%+v, %d runs, %v", p, runs, err)
	}
	if p, runs, err := engine.ProfileRuns(t.Context(), &timed{most: 3}, nil, 100); err != nil || runs != 2 || p.Total != 10*time.Second {
		t.Errorf("what the time was enough for: %+v, %d runs, %v", p, runs, err)
	}
	if _, _, err := engine.ProfileRuns(t.Context(), &timed{most: 1}, nil, 3); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("no run in time: %v", err)
	}
	if _, _, err := engine.ProfileRuns(t.Context(), struct{ engine.Session }{}, nil, 3); !errors.Is(err, engine.ErrNoProfile) {
		t.Errorf("no profiler: %v", err)
	}
}

func TestExample(t *testing.T) {
	open := graph.Dim{Size: -1, Symbol: "N"}
	in, err := engine.Example([]graph.Value{
		{Name: "x", DType: tensor.Float32, Shape: graph.Shape{open, {Size: 3}, {Size: -1}}}, {Name: "i", DType: tensor.Int64, Shape: graph.Shape{open}}, {Name: "s", DType: tensor.String, Shape: graph.Shape{}},
	}, 2, 5)
	if err != nil {
		t.Fatal(err)
	}
	if !in[0].Shape().Equal(tensor.Shape{2, 3, 5}) || !in[1].Shape().Equal(tensor.Shape{2}) || len(in[2].Shape()) != 0 {
		t.Errorf("%v %v %v", in[0].Shape(), in[1].Shape(), in[2].Shape())
	}
	for _, v := range tensor.Data[float32](in[0]) {
		if !(v >= 0 && v < 1) {
			t.Errorf("%v is not from 0 to 1", v)
		}
	}
	if x := tensor.Data[float32](in[0]); x[0] == x[1] {
		t.Error("all numbers are the same")
	}
	for _, v := range []graph.Value{
		{Name: "none", Shape: graph.Shape{}}, {Name: "rank", DType: tensor.Float32}, {Name: "list", DType: tensor.Float32, Shape: graph.Shape{}, Container: "sequence"},
		{Name: "large", DType: tensor.Float32, Shape: graph.Dims(1<<20, 17)}, {Name: "huge", DType: tensor.Float32, Shape: graph.Dims(1<<40, 1<<40)},
	} {
		if _, err := engine.Example([]graph.Value{v}, 1, 1); !errors.Is(err, engine.ErrInput) {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}
