package native_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// batch is an open first dimension.
var batch = graph.Dim{Size: -1, Symbol: "N"}

// fixedTo returns g for batches of n alone, which cannot have a plan of rows.
func fixedTo(g *graph.Graph, n int) *graph.Graph {
	c := g.Clone()
	for i := range c.Inputs {
		c.Inputs[i].Shape = slices.Clone(c.Inputs[i].Shape)
		if !c.Inputs[i].Shape[0].Known() {
			c.Inputs[i].Shape[0] = graph.Dim{Size: int64(n)}
		}
	}
	for i := range c.Outputs {
		c.Outputs[i].Shape = nil
	}
	return c
}

// made returns n rows of numbers for an input.
func made(v graph.Value, n int, seed uint64) *tensor.Tensor {
	shape := tensor.Shape{}
	for _, d := range v.Shape {
		shape = append(shape, int(d.Size))
	}
	if shape[0] < 0 {
		shape[0] = n
	}
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	t := tensor.Must(tensor.New(v.DType, shape...))
	switch d := t.Raw().(type) {
	case []float32:
		for i := range d {
			d[i] = float32(r.NormFloat64())
		}
	case []float64:
		for i := range d {
			d[i] = r.NormFloat64()
		}
	case []tensor.Half:
		for i := range d {
			d[i] = tensor.HalfOf64(r.NormFloat64())
		}
	case []int64:
		for i := range d {
			d[i] = r.Int64N(5)
		}
	case []int32:
		for i := range d {
			d[i] = r.Int32N(5)
		}
	case []uint8:
		for i := range d {
			d[i] = uint8(r.IntN(5))
		}
	case []bool:
		for i := range d {
			d[i] = r.IntN(2) == 1
		}
	default:
		panic(fmt.Sprintf("no numbers of %v", v.DType))
	}
	return t
}

// agree runs g with batches of these sizes, each twice and the sizes mixed, and holds every output to the bits of a session
// that has that size alone. It returns how many plans were made.
func agree(t *testing.T, g *graph.Graph, threads int, sizes ...int) int {
	t.Helper()
	s := open(t, g, threads)
	before := native.PlansMade(s)
	alone := map[int][]*tensor.Tensor{}
	for _, n := range slices.Concat(sizes, sizes) {
		in := make([]*tensor.Tensor, len(g.Inputs))
		for i, v := range g.Inputs {
			in[i] = made(v, n, uint64(i))
		}
		want := alone[n]
		if want == nil {
			want = make([]*tensor.Tensor, len(g.Outputs))
			if err := open(t, fixedTo(g, n), threads).Run(t.Context(), in, want); err != nil {
				t.Fatalf("%d alone: %v", n, err)
			}
			alone[n] = want
		}
		got := make([]*tensor.Tensor, len(g.Outputs))
		if err := s.Run(t.Context(), in, got); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		for i := range got {
			same(t, fmt.Sprintf("batch of %d, output %d", n, i), got[i], want[i])
		}
		// Once more into the memory of the outputs.
		if err := s.Run(t.Context(), in, got); err != nil {
			t.Fatalf("%d, given outputs: %v", n, err)
		}
		for i := range got {
			same(t, fmt.Sprintf("batch of %d, given output %d", n, i), got[i], want[i])
		}
	}
	return native.PlansMade(s) - before
}

func same(t *testing.T, what string, got, want *tensor.Tensor) {
	t.Helper()
	if got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) {
		t.Fatalf("%s: %v%v, alone %v%v", what, got.DType(), got.Shape(), want.DType(), want.Shape())
	}
	if got.DType() == tensor.String {
		if !slices.Equal(tensor.Data[string](got), tensor.Data[string](want)) {
			t.Fatalf("%s differs", what)
		}
		return
	}
	if !bytes.Equal(got.Bytes(), want.Bytes()) {
		size := got.DType().Size()
		for i := 0; i < got.Size(); i++ {
			if !bytes.Equal(got.Bytes()[i*size:(i+1)*size], want.Bytes()[i*size:(i+1)*size]) {
				t.Fatalf("%s differs from element %d of %v on", what, i, got.Shape())
			}
		}
	}
}

// TestPlansOfRows counts the plans that all sizes of batches up to 256 cost.
func TestPlansOfRows(t *testing.T) {
	small := newNet("small conv", 1, 12, 12)
	x := small.pool(small.relu(small.norm(small.conv("x", 1, 8, 3, 1, true), 8)), 2, 2, 0)
	x = small.relu(small.conv(x, 8, 16, 3, 1, true))
	x = small.dense(small.op("Flatten", nil, x), 16*6*6, 10)
	for name, g := range map[string]*graph.Graph{
		"dense": mlp(batch, 784, 128, 32, 10),
		"conv":  small.finish(small.op("Softmax", nil, x)),
	} {
		for _, threads := range []int{1, 3} {
			t.Run(fmt.Sprintf("%s, %d threads", name, threads), func(t *testing.T) {
				sizes := rand.New(rand.NewPCG(1, 2)).Perm(256)
				for i := range sizes {
					sizes[i]++
				}
				if testing.Short() {
					sizes = sizes[:32]
				}
				// One for each power of two but the first, which opening made.
				if n := agree(t, g, threads, sizes...); n > 8 {
					t.Errorf("%d plans for %d sizes", n, len(sizes))
				}
			})
		}
	}
}

// TestRowsDoNotAllocate runs sizes that no plan was made for.
func TestRowsDoNotAllocate(t *testing.T) {
	g := mlp(batch, 784, 128, 32, 10)
	s := open(t, g, 2)
	in, out := make([][]*tensor.Tensor, 257), make([][]*tensor.Tensor, 257)
	for n := 1; n <= 256; n++ {
		in[n], out[n] = []*tensor.Tensor{ramp(n, 784)}, []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, n, 10))}
	}
	for n := 1; n <= 256; n *= 2 {
		if err := s.Run(t.Context(), in[n], out[n]); err != nil {
			t.Fatal(err)
		}
	}
	ctx, n := t.Context(), 1
	allocs := testing.AllocsPerRun(255, func() {
		if err := s.Run(ctx, in[n], out[n]); err != nil {
			t.Error(err)
		}
		n++
	})
	if allocs != 0 {
		t.Errorf("%v allocations a run", allocs)
	}
}

// TestRowsOutputs refuses outputs of another size than the batch's, the planned one's among them.
func TestRowsOutputs(t *testing.T) {
	s := open(t, mlp(batch, 4, 3), 1)
	for _, n := range []int{4, 2, 8} {
		err := s.Run(t.Context(), []*tensor.Tensor{ramp(3, 4)}, []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, n, 3))})
		if want := fmt.Sprintf("input does not fit the model: output \"y\" is float32[3,3], the tensor given for it float32[%d,3]", n); err == nil || err.Error() != want {
			t.Errorf("output of %d rows for 3: %v", n, err)
		}
	}
}

// TestBatchInTheMiddle is about graphs in which rows are not alone: they must not be cut short or lengthened.
func TestBatchInTheMiddle(t *testing.T) {
	vec := func(v ...int64) graph.Initializer { return graph.Initializer{Tensor: tensor.Vector(v...)} }
	for _, c := range []struct {
		name  string
		nodes []*graph.Node
		inits map[string]graph.Initializer
	}{
		{"softmax over the batch", []*graph.Node{node("Softmax", graph.Attrs{"axis": int64(0)}, []string{"x"}, "y")}, nil},
		{"softmax over all", []*graph.Node{node("Reshape", nil, []string{"x", "s"}, "r"), node("Softmax", graph.Attrs{"axis": int64(-1)}, []string{"r"}, "y")},
			map[string]graph.Initializer{"s": vec(1, -1)}},
		{"sum over the batch", []*graph.Node{node("ReduceSum", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(0)}},
		{"mean of all", []*graph.Node{node("ReduceMean", nil, []string{"x"}, "y")}, nil},
		{"centred", []*graph.Node{node("ReduceMean", graph.Attrs{"axes": []int64{0}}, []string{"x"}, "m"), node("Sub", nil, []string{"x", "m"}, "y")}, nil},
		{"reshape that mixes", []*graph.Node{node("Reshape", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(2, -1)}},
		{"reshape to other rows", []*graph.Node{node("Reshape", nil, []string{"x", "s"}, "r"), node("Softmax", nil, []string{"r"}, "y")}, map[string]graph.Initializer{"s": vec(-1, 3)}},
		{"transposed", []*graph.Node{node("Transpose", nil, []string{"x"}, "y")}, nil},
		{"times its transpose", []*graph.Node{node("Transpose", nil, []string{"x"}, "t"), node("MatMul", nil, []string{"x", "t"}, "y")}, nil},
		{"joined to itself", []*graph.Node{node("Concat", graph.Attrs{"axis": int64(0)}, []string{"x", "x"}, "y")}, nil},
		{"backwards", []*graph.Node{node("Slice", nil, []string{"x", "from", "to", "axis", "by"}, "y")},
			map[string]graph.Initializer{"from": vec(-1), "to": vec(-1 << 62), "axis": vec(0), "by": vec(-1)}},
		{"first two", []*graph.Node{node("Slice", nil, []string{"x", "from", "to"}, "y")}, map[string]graph.Initializer{"from": vec(0), "to": vec(2)}},
		{"first 256", []*graph.Node{node("Slice", nil, []string{"x", "from", "to"}, "y")}, map[string]graph.Initializer{"from": vec(0), "to": vec(256)}},
		{"padded", []*graph.Node{node("Pad", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(1, 0, 0, 0)}},
		{"moved by padding", []*graph.Node{node("Pad", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(1, 0, -1, 0)}},
		{"running sum", []*graph.Node{node("CumSum", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": {Tensor: tensor.Scalar[int64](0)}}},
		{"largest of the batch", []*graph.Node{node("ArgMax", nil, []string{"x"}, "y")}, nil},
		{"its own size", []*graph.Node{node("Shape", nil, []string{"x"}, "y")}, nil},
		{"divided by its size", []*graph.Node{node("Size", nil, []string{"x"}, "s"), node("Cast", graph.Attrs{"to": int64(1)}, []string{"s"}, "f"), node("Div", nil, []string{"x", "f"}, "y")}, nil},
		{"counted", []*graph.Node{node("Shape", nil, []string{"x"}, "s"), node("Cast", graph.Attrs{"to": int64(1)}, []string{"s"}, "f"),
			node("Slice", nil, []string{"f", "from", "to"}, "n"), node("Mul", nil, []string{"x", "n"}, "y")}, map[string]graph.Initializer{"from": vec(0), "to": vec(1)}},
		{"a triangle", []*graph.Node{node("Trilu", nil, []string{"x"}, "y")}, nil},
		{"reversed", []*graph.Node{node("ReverseSequence", graph.Attrs{"time_axis": int64(0), "batch_axis": int64(1)}, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(2, 2, 1, 2, 2, 1)}},
		{"twice as long", []*graph.Node{node("Tile", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(2, 1)}},
		{"layers over the batch", []*graph.Node{node("LayerNormalization", graph.Attrs{"axis": int64(0)}, []string{"x", "g"}, "y")},
			map[string]graph.Initializer{"g": {Tensor: tensor.Vector[float32](1, 2, 3, 4, 5, 6)}}},
		{"rows by index", []*graph.Node{node("Gather", nil, []string{"x", "s"}, "y")}, map[string]graph.Initializer{"s": vec(1, 0, 1)}},
		{"outer product", []*graph.Node{node("Unsqueeze", nil, []string{"x", "s"}, "u"), node("Add", nil, []string{"u", "x"}, "y")}, map[string]graph.Initializer{"s": vec(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &graph.Graph{Name: c.name, Opset: map[string]int64{"": 17}, Nodes: c.nodes, Outputs: []graph.Value{{Name: "y"}}}
			g.Inputs = []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{batch, {Size: 6}}}}
			for name, init := range c.inits {
				g.Initializers = append(g.Initializers, graph.Initializer{Name: name, Tensor: init.Tensor})
			}
			agree(t, g, 2, 2, 3, 7, 8, 5, 100, 128, 300)
		})
	}
}

// TestComputedShapes has shapes that the graph computes from its input's, as exporters write them.
func TestComputedShapes(t *testing.T) {
	for _, g := range []*graph.Graph{flattened(), tokens(), resnet18(32)} {
		t.Run(g.Name, func(t *testing.T) {
			if n := agree(t, g, 2, 3, 9, 4, 7, 16, 5); n > 3 { // 4, 8, 16
				t.Errorf("%d plans for six sizes", n)
			}
		})
	}
	agree(t, mixed(), 2, 3, 9, 4, 7) // joins the batch with other dimensions: a plan for each size
}

// flattened reshapes to [size of the batch, -1], and back.
func flattened() *graph.Graph {
	b := newNet("flattened", 4, 3, 3)
	n := b.op("Gather", nil, b.op("Shape", nil, "x"), b.ints(0))
	x := b.op("Reshape", nil, "x", b.op("Concat", graph.Attrs{"axis": int64(0)}, n, b.ints(-1)))
	x = b.relu(b.dense(x, 36, 20))
	return b.finish(b.op("Reshape", nil, x, b.op("Concat", graph.Attrs{"axis": int64(0)}, n, b.ints(5), b.ints(4))))
}

// tokens is a block of a vision transformer: patches, a token before them that is expanded to the batch, attention.
func tokens() *graph.Graph {
	b := newNet("tokens", 3, 8, 8)
	n := b.op("Gather", nil, b.op("Shape", nil, "x"), b.ints(0))
	shape := func(d ...int64) string {
		return b.op("Concat", graph.Attrs{"axis": int64(0)}, n, b.ints(d...))
	}
	x := b.op("Conv", graph.Attrs{"strides": []int64{4, 4}}, "x", b.weight(0.2, 12, 3, 4, 4))
	x = b.op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1}}, b.op("Reshape", nil, x, shape(12, 4)))
	first := b.op("Expand", nil, b.weight(0.5, 1, 1, 12), shape(1, 12))
	x = b.op("Concat", graph.Attrs{"axis": int64(1)}, first, x)
	x = b.op("Add", nil, x, b.weight(0.5, 1, 5, 12))
	y := b.op("LayerNormalization", nil, x, b.positive(12), b.weight(0.1, 12))
	heads := func(perm ...int64) string {
		h := b.op("Reshape", nil, b.op("MatMul", nil, y, b.weight(0.3, 12, 12)), shape(5, 3, 4))
		return b.op("Transpose", graph.Attrs{"perm": perm}, h)
	}
	q, k, v := heads(0, 2, 1, 3), heads(0, 2, 3, 1), heads(0, 2, 1, 3)
	a := b.op("Softmax", nil, b.op("Mul", nil, b.op("MatMul", nil, q, k), b.scalar(0.5)))
	a = b.op("Transpose", graph.Attrs{"perm": []int64{0, 2, 1, 3}}, b.op("MatMul", nil, a, v))
	x = b.op("Add", nil, x, b.op("MatMul", nil, b.op("Reshape", nil, a, shape(5, 12)), b.weight(0.3, 12, 12)))
	zeros := b.op("ConstantOfShape", nil, shape(12))
	return b.finish(b.op("Add", nil, b.op("Gather", graph.Attrs{"axis": int64(1)}, x, b.index(0)), zeros))
}

// index is a constant, one integer.
func (b *netBuilder) index(v int64) string {
	name := b.ints()
	b.g.Initializers[len(b.g.Initializers)-1].Tensor = tensor.Scalar(v)
	return name
}

// TestRowsMayFail is about graphs that a batch of 8, or of 1 or 8, fits and others do not.
func TestRowsMayFail(t *testing.T) {
	for _, c := range []struct {
		op    string
		other *tensor.Tensor
		one   bool
	}{
		{"Add", ramp(8, 1), true}, {"Mul", ramp(8, 6), true}, {"Reshape", int64s(8, 6), false}, {"Reshape", int64s(16, -1), false}, {"Expand", int64s(8, 6), true},
	} {
		g := rowCase{op: c.op, in: []any{row(6), c.other}}.graph()
		s := open(t, g, 1)
		for _, n := range []int{5, 8, 5, 8, 7, 1} {
			err := s.Run(t.Context(), []*tensor.Tensor{ramp(n, 6)}, make([]*tensor.Tensor, 1))
			if fits := n == 8 || n == 1 && c.one; (err == nil) != fits {
				t.Errorf("%s with %v: %d rows: %v", c.op, c.other.Shape(), n, err)
			}
		}
	}
}

// TestRowsLimit keeps to the exact size where rounding it up is over the engine's limits.
func TestRowsLimit(t *testing.T) {
	e := native.New(native.Config{MaxRunBytes: 2*5*1000*4 + 64})
	s, err := e.Open(t.Context(), mlp(batch, 4, 1000), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Run(t.Context(), []*tensor.Tensor{ramp(5, 4)}, make([]*tensor.Tensor, 1)); err != nil {
		t.Errorf("5 rows, which fit: %v", err)
	}
	if err := s.Run(t.Context(), []*tensor.Tensor{ramp(6, 4)}, make([]*tensor.Tensor, 1)); err == nil {
		t.Error("6 rows, which do not fit, ran")
	}
}
