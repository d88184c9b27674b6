package gradient_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// arg is an operand of a case: a variable of random numbers, or a constant.
type arg struct {
	shape    []int
	low, up  float64 // of the random numbers
	distinct bool    // the numbers lie far apart, so that no small step changes an order
	constant *tensor.Tensor
	computed bool // the constant is the result of an operator
	none     bool // left out
}

func v(shape ...int) arg { return arg{shape: shape, low: -2, up: 2} }

func pos(shape ...int) arg { return arg{shape: shape, low: 0.3, up: 2} }

func apart(shape ...int) arg { return arg{shape: shape, distinct: true} }

func within(low, up float64, shape ...int) arg { return arg{shape: shape, low: low, up: up} }

// matrix is a constant of whole numbers.
func matrix(rows, columns int, x ...int64) arg {
	return fixed(tensor.Must(tensor.Of(x, rows, columns)))
}

func ints(x ...int64) arg { return arg{constant: tensor.Vector(x...)} }

func computed(x ...int64) arg { return arg{constant: tensor.Vector(x...), computed: true} }

func lengths(x ...int32) arg { return arg{constant: tensor.Vector(x...)} }

func fixed(t *tensor.Tensor) arg { return arg{constant: t} }

func num(x float64) arg { return arg{constant: tensor.Scalar(x)} }

var absent = arg{none: true}

type opCase struct {
	name  string
	op    string
	opset int64 // 17 where 0
	attrs graph.Attrs
	args  []arg
	outs  int // 1 where 0
}

func (c opCase) String() string {
	if c.name != "" {
		return c.op + " " + c.name
	}
	return c.op
}

func window(extra graph.Attrs, kernel ...int64) graph.Attrs {
	a := graph.Attrs{"kernel_shape": kernel}
	for k, v := range extra {
		a[k] = v
	}
	return a
}

func (a arg) tensor(r *rand.Rand) *tensor.Tensor {
	if a.constant != nil {
		return a.constant
	}
	t := tensor.Must(tensor.New(tensor.Float64, a.shape...))
	data := tensor.Data[float64](t)
	if a.distinct {
		for i, k := range r.Perm(len(data)) {
			data[i] = (float64(k) - float64(len(data))/2 + 0.3) * 0.17
		}
		return t
	}
	for i := range data {
		data[i] = a.low + (a.up-a.low)*r.Float64()
		// Away from the kinks that activations have at 0 and ±3.
		for _, kink := range []float64{0, 1, -2.5, 2.5} {
			if math.Abs(data[i]-kink) < 0.02 {
				data[i] += 0.05
			}
		}
	}
	return t
}

// build makes a graph whose prediction is the outputs of the operator on the operands, flattened and joined.
func (c opCase) build(r *rand.Rand) *graph.Graph {
	return c.buildIn(r, func(x *tensor.Tensor) *tensor.Tensor { return x })
}

// buildIn is build with what the tensors become.
func (c opCase) buildIn(r *rand.Rand, in func(*tensor.Tensor) *tensor.Tensor) *graph.Graph {
	opset := c.opset
	if opset == 0 {
		opset = 17
	}
	g := &graph.Graph{Name: "case", Opset: map[string]int64{"": opset}, IRVersion: 8}
	n := &graph.Node{Name: "tested", OpType: c.op, Attrs: c.attrs}
	for i, a := range c.args {
		if a.none {
			n.Inputs = append(n.Inputs, "")
			continue
		}
		name := fmt.Sprintf("in%d", i)
		t := in(a.tensor(r))
		n.Inputs = append(n.Inputs, name)
		if a.constant != nil {
			made := name
			if a.computed {
				made += "of"
			}
			g.Nodes = append(g.Nodes, &graph.Node{Name: made, OpType: "Constant", Outputs: []string{made}, Attrs: graph.Attrs{"value": t}})
			if a.computed {
				g.Nodes = append(g.Nodes, &graph.Node{Name: name, OpType: "Identity", Inputs: []string{made}, Outputs: []string{name}})
			}
			continue
		}
		g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: t})
	}
	join := &graph.Node{Name: "join", OpType: "Concat", Outputs: []string{"out"}, Attrs: graph.Attrs{"axis": int64(0)}}
	g.Initializers = append(g.Initializers, graph.Initializer{Name: "flat", Tensor: tensor.Vector[int64](-1)})
	var tail []*graph.Node
	for k := range max(c.outs, 1) {
		out := fmt.Sprintf("y%d", k)
		n.Outputs = append(n.Outputs, out)
		tail = append(tail, &graph.Node{Name: "flat" + out, OpType: "Reshape", Inputs: []string{out, "flat"}, Outputs: []string{out + "flat"}})
		join.Inputs = append(join.Inputs, out+"flat")
	}
	g.Nodes = append(append(append(g.Nodes, n), tail...), join)
	g.Outputs = []graph.Value{{Name: "out", DType: in(tensor.Scalar(0.0)).DType(), Shape: graph.Dims(-1)}}
	return g
}

// checkGradients holds a training graph's grad.* against central differences of its loss, and returns the largest difference, relative to what is above 1, and the shapes of the
// variables.
func checkGradients(t *testing.T, g *graph.Graph, opts gradient.Options, inputs map[string]*tensor.Tensor) (worst float64, shapes string) {
	t.Helper()
	opts.Optimizer = &gradient.Optimizer{Kind: gradient.SGD}
	tg, err := gradient.Build(g, opts)
	if err != nil {
		t.Fatal(err)
	}
	fed, first := gradient.Feed(tg)
	s, err := native.New(native.Config{}).Open(t.Context(), fed, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feeds := map[string]*tensor.Tensor{}
	for k, x := range inputs {
		feeds[k] = x
	}
	for k, x := range first {
		feeds[k] = x.Clone()
	}
	out, err := engine.Run(t.Context(), s, feeds)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	var all []string
	for _, name := range gradient.Variables(tg) {
		grad, ok := out["grad."+name]
		if !ok {
			continue
		}
		x, d := tensor.Data[float64](feeds[name]), tensor.Data[float64](grad)
		if !grad.Shape().Equal(feeds[name].Shape()) {
			t.Fatalf("grad.%s has shape %v, the variable %v", name, grad.Shape(), feeds[name].Shape())
		}
		all = append(all, strings.Trim(grad.Shape().String(), "[]"))
		for i := range x {
			const h = 1e-5
			was := x[i]
			var loss [2]float64
			for k, step := range []float64{h, -h} {
				x[i] = was + step
				o, err := engine.Run(t.Context(), s, feeds)
				if err != nil {
					t.Fatal(err)
				}
				loss[k] = tensor.Data[float64](o["loss"])[0]
			}
			x[i] = was
			want := (loss[0] - loss[1]) / (2 * h)
			if !(math.Abs(d[i]-want) <= 2e-7+2e-6*math.Abs(want)) {
				t.Errorf("grad.%s[%d] = %.9g, by finite differences %.9g", name, i, d[i], want)
			}
			worst = max(worst, math.Abs(d[i]-want)/max(1, math.Abs(want)))
			checked++
		}
	}
	if checked == 0 {
		t.Error("the training graph has no gradients")
	}
	return worst, strings.Join(all, "; ")
}

// checkOperators holds every rule in its forms.
func checkOperators(t *testing.T) (rows []docRow) {
	for i, c := range opCases {
		t.Run(strings.ReplaceAll(c.String(), "/", "_"), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, uint64(i)))
			g := c.build(r)
			n := outputSize(t, g)
			target := tensor.Must(tensor.New(tensor.Float64, n))
			for k := range tensor.Data[float64](target) {
				tensor.Data[float64](target)[k] = r.NormFloat64()
			}
			worst, shapes := checkGradients(t, g, gradient.Options{Loss: gradient.MSE}, map[string]*tensor.Tensor{"target": target})
			rows = append(rows, docRow{c.op, c.name, shapes, worst})
		})
	}
	return rows
}

// outputSize runs the model itself.
func outputSize(t *testing.T, g *graph.Graph) int {
	t.Helper()
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := engine.Run(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return out["out"].Size()
}

// TestNoNumberElsewhere: an infinite element that no output depends on makes no gradient of the others other than a number.
func TestNoNumberElsewhere(t *testing.T) {
	r := rand.New(rand.NewPCG(40, 1))
	x := random(r, 1, 1, 3, 3)
	tensor.Data[float64](x)[8] = math.Inf(1)
	b := graph.NewBuilder("sampled")
	grid := b.Init("grid", tensor.Must(tensor.Of([]float64{-0.9, -0.9, -0.5, -0.8}, 1, 1, 2, 2)))
	b.Output(b.Name(b.Op("GridSample", graph.Attrs{"align_corners": int64(1)}, b.Init("x", x), grid), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	tg, err := gradient.Build(g, gradient.Options{Loss: gradient.MSE, Frozen: []string{"grid"}})
	if err != nil {
		t.Fatal(err)
	}
	out := runOnce(t, native.New(native.Config{}), tg, map[string]*tensor.Tensor{"target": random(r, 1, 1, 1, 2)})
	for i, v := range tensor.Data[float64](out["grad.x"]) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			t.Errorf("grad.x[%d] is %v", i, v)
		}
	}
}
