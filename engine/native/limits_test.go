package native_test

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestHostileSizes opens and runs small models that ask for huge tensors. Each must fail before it allocates them.
func TestHostileSizes(t *testing.T) {
	huge := []int64{1 << 20, 1 << 20}
	vec := func(name string, v ...int64) graph.Initializer {
		return graph.Initializer{Name: name, Tensor: tensor.Vector(v...)}
	}
	cases := map[string]struct {
		inits []graph.Initializer
		nodes []*graph.Node
	}{
		"Expand":          {[]graph.Initializer{vec("s", huge...)}, []*graph.Node{node("Expand", nil, []string{"x", "s"}, "y")}},
		"overflow":        {[]graph.Initializer{vec("s", math.MaxInt64, math.MaxInt64)}, []*graph.Node{node("Expand", nil, []string{"x", "s"}, "y")}},
		"Tile":            {[]graph.Initializer{vec("s", 1<<40)}, []*graph.Node{node("Tile", nil, []string{"x", "s"}, "y")}},
		"ConstantOfShape": {[]graph.Initializer{vec("s", huge...)}, []*graph.Node{node("ConstantOfShape", nil, []string{"s"}, "y")}},
		"negative":        {[]graph.Initializer{vec("s", -5)}, []*graph.Node{node("ConstantOfShape", nil, []string{"s"}, "y")}},
		"Pad":             {[]graph.Initializer{vec("s", 1<<40, 1<<40)}, []*graph.Node{node("Pad", nil, []string{"x", "s"}, "y")}},
		"Pad overflow":    {[]graph.Initializer{vec("s", math.MaxInt64, math.MaxInt64)}, []*graph.Node{node("Pad", nil, []string{"x", "s"}, "y")}},
		"Range": {[]graph.Initializer{{Name: "a", Tensor: tensor.Scalar[int64](0)}, {Name: "b", Tensor: tensor.Scalar[int64](1 << 60)}, {Name: "c", Tensor: tensor.Scalar[int64](1)}},
			[]*graph.Node{node("Range", nil, []string{"a", "b", "c"}, "y")}},
		"OneHot": {[]graph.Initializer{{Name: "d", Tensor: tensor.Scalar[int64](1 << 50)}, vec("v", 0, 1)},
			[]*graph.Node{node("Cast", graph.Attrs{"to": int64(7)}, []string{"x"}, "i"), node("OneHot", nil, []string{"i", "d", "v"}, "y")}},
		"Resize": {[]graph.Initializer{{Name: "r", Tensor: tensor.Vector[float32]()}, {Name: "k", Tensor: tensor.Vector[float32](1e9)}},
			[]*graph.Node{node("Resize", nil, []string{"x", "r", "k"}, "y")}},
		"many": {[]graph.Initializer{vec("s", 200, 1<<10, 1<<10)}, []*graph.Node{node("Expand", nil, []string{"x", "s0"}, "e")}},
	}
	// Many tensors below the limit of one: they add up.
	many := cases["many"]
	many.inits = []graph.Initializer{vec("s0", 1<<20, 1), vec("s1", 1<<20, 48)}
	last := "e"
	for i := range 12 {
		a, b := fmt.Sprintf("a%d", i), fmt.Sprintf("b%d", i)
		many.nodes = append(many.nodes, node("Expand", nil, []string{"x", "s1"}, a), node("Concat", graph.Attrs{"axis": int64(1)}, []string{last, a}, b))
		last = b
	}
	many.nodes = append(many.nodes, node("ReduceSum", nil, []string{last}, "y"))
	cases["many"] = many
	e := native.New(native.Config{MaxTensorBytes: 256 << 20})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for name, c := range cases {
		for _, fixed := range []bool{true, false} {
			g := &graph.Graph{Opset: map[string]int64{"": 17}, Nodes: c.nodes, Initializers: c.inits, Outputs: []graph.Value{{Name: "y"}}}
			g.Inputs = []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}}}}
			if fixed {
				g.Inputs[0].Shape = graph.Dims(1)
			}
			s, err := e.Open(t.Context(), g, engine.Options{Threads: 1})
			if err == nil {
				err = s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[float32](1)}, make([]*tensor.Tensor, 1))
				if cerr := s.Close(); cerr != nil {
					t.Error(cerr)
				}
			}
			if err == nil || errors.Is(err, engine.ErrPanic) {
				t.Errorf("%s: got %v", name, err)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
		t.Errorf("%d MiB were allocated", grown>>20)
	}
}

// dynamic is y = x reshaped to the value of another input, times 2.
func dynamic() *graph.Graph {
	g := &graph.Graph{Name: "dynamic", Opset: map[string]int64{"": 17}}
	g.Inputs = []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}}},
		{Name: "shape", DType: tensor.Int64, Shape: graph.Shape{{Size: -1, Symbol: "R"}}}}
	g.Outputs = []graph.Value{{Name: "y", DType: tensor.Float32}, {Name: "z", DType: tensor.Float32}}
	g.Nodes = []*graph.Node{node("Reshape", nil, []string{"x", "shape"}, "y"), node("Add", nil, []string{"y", "y"}, "z")}
	return g
}

// TestShapesFromValues runs a model whose shapes depend on what an input holds.
func TestShapesFromValues(t *testing.T) {
	s := open(t, dynamic(), 2)
	x := tensor.Vector[float32](1, 2, 3, 4, 5, 6)
	for _, shape := range [][]int64{{2, 3}, {3, -1}, {6}, {1, 1, 6}} {
		out := make([]*tensor.Tensor, 2)
		if err := s.Run(t.Context(), []*tensor.Tensor{x, tensor.Vector(shape...)}, out); err != nil {
			t.Fatal(err)
		}
		if out[0].Rank() != len(shape) || out[0].Shape()[0] != int(shape[0]) || tensor.Data[float32](out[1])[5] != 12 {
			t.Errorf("%v: got %v and %v", shape, out[0], out[1])
		}
		tensor.Data[float32](out[0])[0] = 100 // the caller's own, not the input's memory
	}
	if v := tensor.Data[float32](x)[0]; v != 1 {
		t.Errorf("the input became %v", v)
	}
	err := s.Run(t.Context(), []*tensor.Tensor{x, tensor.Vector[int64](4, 4)}, make([]*tensor.Tensor, 2))
	if !errors.Is(err, engine.ErrInput) || !strings.Contains(err.Error(), "Reshape") {
		t.Errorf("an impossible shape: got %v", err)
	}
}

// TestValuesOutOfRange gives indices that are not there: an error that names the node, not a panic.
func TestValuesOutOfRange(t *testing.T) {
	g := &graph.Graph{Name: "gather", Opset: map[string]int64{"": 17}}
	g.Inputs = []graph.Value{{Name: "i", DType: tensor.Int64, Shape: graph.Shape{{Size: -1}}}}
	g.Outputs = []graph.Value{{Name: "y", DType: tensor.Float32}}
	g.Initializers = []graph.Initializer{{Name: "w", Tensor: tensor.Vector[float32](1, 2, 3)}}
	g.Nodes = []*graph.Node{{Name: "pick", OpType: "Gather", Inputs: []string{"w", "i"}, Outputs: []string{"y"}}}
	s := open(t, g, 1)
	out := make([]*tensor.Tensor, 1)
	err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[int64](0, 7)}, out)
	if !errors.Is(err, engine.ErrInput) || !strings.Contains(err.Error(), `"pick"`) || out[0] != nil {
		t.Errorf("got %v and output %v", err, out[0])
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{tensor.Vector[int64](-1, 0)}, out); err != nil || tensor.Data[float32](out[0])[0] != 3 {
		t.Errorf("got %v and output %v", err, out[0])
	}
}

// TestPlansAreBounded runs more batch sizes than a session remembers, from several goroutines.
func TestPlansAreBounded(t *testing.T) {
	s, err := native.New(native.Config{MaxPlans: 4}).Open(t.Context(), mlp(graph.Dim{Size: -1, Symbol: "N"}, 20, 10, 5), engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 60 {
				n := 1 + (i*7+w)%40
				out := make([]*tensor.Tensor, 1)
				if err := s.Run(t.Context(), []*tensor.Tensor{ramp(n, 20)}, out); err != nil || out[0].Shape()[0] != n {
					t.Errorf("batch of %d: %v, %v", n, out[0], err)
				}
			}
		})
	}
	wg.Wait()
	if n := native.PlanCount(s); n > 4 {
		t.Errorf("%d plans are kept", n)
	}
}

// TestPanicIsTheRunsError lets a kernel panic, in the caller's goroutine and in others.
func TestPanicIsTheRunsError(t *testing.T) {
	defer native.AddOperator("test.Panic", 100)()
	g := &graph.Graph{Opset: map[string]int64{"": 17, "test": 1}, Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{{Size: -1}}}}, Outputs: []graph.Value{{Name: "y"}}}
	g.Nodes = []*graph.Node{{Domain: "test", OpType: "Panic", Inputs: []string{"x"}, Outputs: []string{"y"}}}
	s := open(t, g, 4)
	for range 3 {
		out := make([]*tensor.Tensor, 1)
		if err := s.Run(t.Context(), []*tensor.Tensor{ramp(200)}, out); !errors.Is(err, engine.ErrPanic) || out[0] != nil {
			t.Fatalf("got %v and output %v", err, out[0])
		}
		if err := s.Run(t.Context(), []*tensor.Tensor{ramp(50)}, out); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTypesAreRefusedAtLoad opens a model whose shapes only a run knows, with a type that an operator behind them lacks.
func TestTypesAreRefusedAtLoad(t *testing.T) {
	g := dynamic()
	g.Inputs[0].DType = tensor.Bool
	g.Outputs[0].DType, g.Outputs[1].DType = tensor.Bool, tensor.Bool
	_, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
	var u *engine.UnsupportedError
	if !errors.As(err, &u) || len(u.Ops) != 1 || u.Ops[0] != "Add (bool)" {
		t.Fatalf("got %v", err)
	}
}

func TestConfigValidate(t *testing.T) {
	if err := (native.Config{}).Validate(); err != nil {
		t.Error(err)
	}
	err := native.Config{MaxPlans: -1, MaxThreads: -2}.Validate()
	if err == nil || !strings.Contains(err.Error(), "MaxPlans") || !strings.Contains(err.Error(), "MaxThreads") {
		t.Errorf("got %v", err)
	}
}

func TestEvaluator(t *testing.T) {
	g := &graph.Graph{Opset: map[string]int64{"": 17}, Initializers: []graph.Initializer{{Name: "a", Tensor: tensor.Vector[int64](2, 3)}}, Outputs: []graph.Value{{Name: "p"}, {Name: "a"}}}
	g.Nodes = []*graph.Node{node("ReduceProd", graph.Attrs{"keepdims": int64(0)}, []string{"a"}, "p")}
	out, err := native.Evaluator().Evaluate(t.Context(), g)
	if err != nil || len(out) != 2 || tensor.Data[int64](out[0])[0] != 6 {
		t.Fatalf("got %v, %v", out, err)
	}
}

// TestIdleMemory runs many sizes at once, more than there may be plans, and looks at what the session keeps afterwards.
func TestIdleMemory(t *testing.T) {
	const limit = 300_000 // of rows of 4,000 bytes and a little: two of 32 or one of 64
	s, err := native.New(native.Config{MaxIdleBytes: limit, MaxPlans: 5}).Open(t.Context(), mlp(batch, 8, 500, 500, 4), engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 100 {
				if err := s.Run(t.Context(), []*tensor.Tensor{ramp(1+(i*7+k)%64, 8)}, make([]*tensor.Tensor, 1)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	account, counted := native.IdleBytes(s)
	if account != counted || counted == 0 || counted > limit {
		t.Errorf("%d bytes wait, %d are accounted for; the limit is %d", counted, account, limit)
	}
	// A run over the limit keeps its own memory alone.
	for range 3 {
		if err := s.Run(t.Context(), []*tensor.Tensor{ramp(256, 8)}, make([]*tensor.Tensor, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if account, counted := native.IdleBytes(s); account != counted || counted < 256*4000 || counted > 256*4100 {
		t.Errorf("%d bytes wait, %d are accounted for, after runs of a megabyte", counted, account)
	}
}
