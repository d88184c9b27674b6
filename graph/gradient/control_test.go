package gradient_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A net is a graph that a test writes by hand, in float64.
type net struct {
	*graph.Graph
	only bool // it runs in native alone
}

func newNet() net {
	return net{Graph: &graph.Graph{Name: "net", IRVersion: 8, Opset: map[string]int64{"": 17}}}
}

func (n net) init(name string, t *tensor.Tensor) {
	n.Initializers = append(n.Initializers, graph.Initializer{Name: name, Tensor: t})
}

func (n net) op(op string, a graph.Attrs, out string, in ...string) {
	n.Nodes = append(n.Nodes, &graph.Node{Name: out, OpType: op, Inputs: in, Outputs: []string{out}, Attrs: a})
}

func (n net) ops(op string, a graph.Attrs, outs []string, in ...string) {
	n.Nodes = append(n.Nodes, &graph.Node{Name: outs[0], OpType: op, Inputs: in, Outputs: outs, Attrs: a})
}

// body is a subgraph in float64 but for what the types say.
func body(inputs, outputs []string, types map[string]tensor.DType, nodes func(net)) *graph.Graph {
	n := net{Graph: &graph.Graph{Name: "body"}}
	value := func(name string) graph.Value {
		if d, ok := types[name]; ok {
			return graph.Value{Name: name, DType: d, Shape: graph.Shape{}}
		}
		return graph.Value{Name: name, DType: tensor.Float64}
	}
	for _, in := range inputs {
		n.Inputs = append(n.Inputs, value(in))
	}
	for _, out := range outputs {
		n.Outputs = append(n.Outputs, value(out))
	}
	nodes(n)
	return n.Graph
}

// check makes "y" the prediction, and checks the gradients with a target of its shape. It returns what checkGradients does.
func (n net) check(t *testing.T, r *rand.Rand, inputs map[string]*tensor.Tensor, shape ...int) (worst float64, shapes string) {
	t.Helper()
	n.Outputs = []graph.Value{{Name: "y", DType: tensor.Float64}}
	if err := infer.Shapes(n.Graph); err != nil {
		t.Fatal(err)
	}
	in := map[string]*tensor.Tensor{"target": random(r, shape...)}
	for k, x := range inputs {
		in[k] = x
	}
	worst, shapes = checkGradients(t, n.Graph, gradient.Options{Loss: gradient.MSE}, in)
	if n.only {
		return worst, shapes
	}
	tg, err := gradient.Build(n.Graph, gradient.Options{Loss: gradient.MSE})
	if err != nil {
		t.Fatal(err)
	}
	tg = throughFile(t, tg)
	got := runOnce(t, otherEngine(t), tg, in)
	for name, want := range runOnce(t, native.New(native.Config{}), tg, in) {
		w, x := floats(t, want), floats(t, got[name])
		for k := range w {
			if !(math.Abs(x[k]-w[k]) <= 1e-9+1e-9*math.Abs(w[k])) {
				t.Fatalf("%s[%d] is %v in onnxruntime and %v in native", name, k, x[k], w[k])
			}
		}
	}
	return worst, shapes
}

// checkIf takes each branch: both use what is around them, one of them alone a variable. An output may be a value from around the branch, which onnxruntime does not allow.
func checkIf(t *testing.T) (rows []docRow) {
	for k := range 4 {
		yes, direct := k%2 == 0, k > 1
		r := rand.New(rand.NewPCG(20, 1))
		n := newNet()
		n.Inputs = []graph.Value{{Name: "x", DType: tensor.Float64, Shape: symbol("N", 3)}, {Name: "yes", DType: tensor.Bool, Shape: graph.Shape{}}}
		n.init("w", random(r, 3, 3))
		n.init("v", random(r, 3))
		n.op("MatMul", nil, "h", "x", "w")
		then := body(nil, []string{"a", "b"}, nil, func(n net) {
			n.op("Mul", nil, "a", "h", "v")
			n.op("Tanh", nil, "b", "h")
		})
		first := "copied"
		if n.only = direct; direct {
			first = "h"
		}
		other := body(nil, []string{first, "c"}, nil, func(n net) {
			n.op("MatMul", nil, "c", "h", "w")
			n.op("Identity", nil, "copied", "h")
		})
		n.ops("If", graph.Attrs{"then_branch": then, "else_branch": other}, []string{"p", "q"}, "yes")
		n.op("Mul", nil, "y", "p", "q")
		form := fmt.Sprintf("condition %v", yes)
		if direct {
			form += ", an output from around the branch"
		}
		worst, shapes := n.check(t, r, map[string]*tensor.Tensor{"x": random(r, 4, 3), "yes": tensor.Scalar(yes)}, 4, 3)
		rows = append(rows, docRow{"If", form, shapes, worst})
	}
	return rows
}

// cell is a step of a small recurrent net: s' = tanh(s W + x), and gives s' * v.
func cell(n net) {
	n.op("MatMul", nil, "sw", "s", "w")
	n.op("Add", nil, "sum", "sw", "e")
	n.op("Tanh", nil, "next", "sum")
	n.op("Mul", nil, "given", "next", "v")
	n.op("Identity", nil, "last", "next")
}

// checkScan goes through elements in each direction, along the first axis and another.
func checkScan(t *testing.T) (rows []docRow) {
	for _, c := range []struct {
		name  string
		attrs graph.Attrs
		x     []int
	}{
		{"forward", nil, []int{4, 2, 3}},
		{"backward", graph.Attrs{"scan_input_directions": []int64{1}}, []int{4, 2, 3}},
		{"given backward", graph.Attrs{"scan_output_directions": []int64{1}}, []int{4, 2, 3}},
		{"along other axes", graph.Attrs{"scan_input_axes": []int64{1}, "scan_output_axes": []int64{-1}, "scan_input_directions": []int64{1}}, []int{2, 4, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, 1))
			n := newNet()
			n.init("w", random(r, 3, 3))
			n.init("v", random(r, 3))
			n.init("s0", random(r, 2, 3))
			n.init("x", random(r, c.x...))
			attrs := graph.Attrs{"num_scan_inputs": int64(1), "body": body([]string{"s", "e"}, []string{"last", "given"}, nil, cell)}
			for k, v := range c.attrs {
				attrs[k] = v
			}
			n.ops("Scan", attrs, []string{"end", "all"}, "s0", "x")
			n.init("flat", tensor.Vector[int64](-1))
			n.op("Reshape", nil, "p", "end", "flat")
			n.op("Reshape", nil, "q", "all", "flat")
			n.op("Concat", graph.Attrs{"axis": int64(0)}, "y", "p", "q")
			worst, shapes := n.check(t, r, nil, 6+24)
			rows = append(rows, docRow{"Scan", c.name, shapes, worst})
		})
	}
	return rows
}

// checkLoop ends by its count or by its condition, counts in a state that is no variable's, and uses the number of the step.
func checkLoop(t *testing.T) (rows []docRow) {
	for _, limit := range []int64{0, 1, 3, 10} {
		r := rand.New(rand.NewPCG(22, 1))
		n := newNet()
		n.Inputs = []graph.Value{{Name: "n", DType: tensor.Int64, Shape: graph.Shape{}}}
		n.init("w", random(r, 3, 3))
		n.init("v", random(r, 3))
		n.init("s0", random(r, 2, 3))
		n.init("one", tensor.Scalar[int64](1))
		n.init("five", tensor.Scalar[int64](5))
		types := map[string]tensor.DType{"i": tensor.Int64, "go": tensor.Bool, "count": tensor.Int64, "more": tensor.Int64, "goes": tensor.Bool}
		step := body([]string{"i", "go", "count", "s"}, []string{"goes", "more", "last", "given"}, types, func(n net) {
			n.op("Cast", graph.Attrs{"to": int64(tensor.Float64)}, "at", "i")
			n.op("Mul", nil, "e", "v", "at")
			cell(n)
			n.op("Add", nil, "more", "count", "one")
			n.op("Less", nil, "goes", "more", "five")
		})
		n.ops("Loop", graph.Attrs{"body": step}, []string{"counted", "end", "all"}, "n", "", "one", "s0")
		n.op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, "sum", "all")
		n.op("Add", nil, "y", "end", "sum")
		worst, shapes := n.check(t, r, map[string]*tensor.Tensor{"n": tensor.Scalar(limit)}, 2, 3)
		rows = append(rows, docRow{"Loop", fmt.Sprintf("at most %d steps", limit), shapes, worst})
	}
	return rows
}

// checkNested has a Loop in an If in a Scan, all of which use one variable, and names that are alike.
func checkNested(t *testing.T) (rows []docRow) {
	r := rand.New(rand.NewPCG(23, 1))
	n := newNet()
	n.init("w", random(r, 3, 3))
	n.init("x", random(r, 4, 2, 3))
	n.init("s0", random(r, 2, 3))
	n.init("two", tensor.Scalar[int64](2))
	n.init("nothing", tensor.Scalar(0.0))
	types := map[string]tensor.DType{"i": tensor.Int64, "go": tensor.Bool, "goes": tensor.Bool}
	inner := body([]string{"i", "go", "s"}, []string{"goes", "last"}, types, func(n net) {
		n.op("MatMul", nil, "sw", "s", "w")
		n.op("Mul", nil, "prod", "sw", "e")
		n.op("Sin", nil, "last", "prod")
		n.op("Identity", nil, "goes", "go")
	})
	then := body(nil, []string{"a"}, nil, func(n net) { n.ops("Loop", graph.Attrs{"body": inner}, []string{"a"}, "two", "", "t") })
	other := body(nil, []string{"a"}, nil, func(n net) { n.op("MatMul", nil, "a", "t", "w") })
	step := body([]string{"s", "e"}, []string{"last", "given"}, nil, func(n net) {
		n.op("Add", nil, "t", "s", "e")
		n.op("ReduceSum", graph.Attrs{"keepdims": int64(0)}, "sum", "e")
		n.op("Greater", nil, "yes", "sum", "nothing")
		n.op("If", graph.Attrs{"then_branch": then, "else_branch": other}, "last", "yes")
		n.op("Identity", nil, "given", "last")
	})
	n.ops("Scan", graph.Attrs{"num_scan_inputs": int64(1), "body": step}, []string{"end", "y"}, "s0", "x")
	worst, shapes := n.check(t, r, nil, 4, 2, 3)
	return []docRow{{"Scan", "of an If of a Loop", shapes, worst}}
}
