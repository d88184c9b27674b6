// Package random makes random graphs with inputs for them, to hold engines against each other. What a right answer is,
// is left to its callers.
package random

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A Case is a graph with one set of inputs.
type Case struct {
	Graph  *graph.Graph
	Inputs map[string]*tensor.Tensor
}

// value is a value of the graph while it is made, with its shape.
type value struct {
	name  string
	shape []int
}

func (v value) size() int { return tensor.Shape(v.shape).Size() }

// maker adds operators to a graph. All values are float32 of known shapes whose elements stay near 1, so that engines
// that sum in another order still agree to the tolerance that they owe each other.
type maker struct {
	*rand.Rand
	b      *graph.Builder
	values []value
	inputs map[string]*tensor.Tensor
}

// maxSize bounds the elements of a value.
const maxSize = 1 << 14

// New makes the case of that seed: the same one every time.
func New(seed uint64) (Case, error) {
	m := begin("random", seed, 1)
	m.input("x")
	if m.IntN(3) == 0 {
		m.input("y")
	}
	for range 3 + m.IntN(8) {
		v := m.values[m.IntN(len(m.values))]
		if m.IntN(3) > 0 {
			v = m.values[len(m.values)-1] // long chains are likelier than wide ones
		}
		step := steps[m.IntN(len(steps))]
		if out, ok := step(m, v); ok && out.size() <= maxSize {
			m.values = append(m.values, out)
		}
	}
	last := m.values[len(m.values)-1]
	m.b.Output(m.b.Name(m.b.Op("Identity", nil, last.name), "out"))
	if other := m.values[m.IntN(len(m.values))]; other.name != last.name {
		m.b.Output(m.b.Name(m.b.Op("Identity", nil, other.name), "also"))
	}
	return m.finish("graph", seed)
}

// begin makes an empty graph; stream tells the sequences of numbers of different kinds of graphs apart.
func begin(kind string, seed, stream uint64) *maker {
	return &maker{Rand: rand.New(rand.NewPCG(seed, stream)), b: graph.NewBuilder(fmt.Sprint(kind, "-", seed)), inputs: map[string]*tensor.Tensor{}}
}

// finish builds what was made.
func (m *maker) finish(kind string, seed uint64) (Case, error) {
	g, err := infer.Build(m.b)
	if err != nil {
		return Case{}, fmt.Errorf("random %s %d: %w", kind, seed, err)
	}
	return Case{Graph: g, Inputs: m.inputs}, nil
}

func (m *maker) input(name string) {
	shape := make([]int, 1+m.IntN(4))
	for i := range shape {
		shape[i] = 1 + m.IntN(8)
	}
	if len(shape) == 4 {
		shape[2], shape[3] = 4+m.IntN(12), 4+m.IntN(12)
	}
	m.b.Input(name, tensor.Float32, graph.Dims(shape...))
	m.inputs[name] = m.normal(1, shape...)
	m.values = append(m.values, value{name, shape})
}

// normal returns normally distributed numbers.
func (m *maker) normal(deviation float64, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	d := tensor.Data[float32](t)
	for i := range d {
		d[i] = float32(m.NormFloat64() * deviation)
	}
	return t
}

// between returns numbers from low to high.
func (m *maker) between(low, high float64, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Float32, shape...))
	d := tensor.Data[float32](t)
	for i := range d {
		d[i] = float32(low + m.Float64()*(high-low))
	}
	return t
}

func (m *maker) op(shape []int, op string, attrs graph.Attrs, inputs ...string) (value, bool) {
	return value{m.b.Op(op, attrs, inputs...), shape}, true
}

func (m *maker) oneOf(words ...string) string { return words[m.IntN(len(words))] }

// steps each add an operator to a value, or say that they do not fit it.
var steps = []func(*maker, value) (value, bool){
	unary, unary, binary, binary, clip, softmax, reduce, transpose, reshape, slice, pad, concat, split, where, gather, expand,
	matmul, gemm, conv, conv, convTranspose, pool, pool, globalPool, batchNorm, layerNorm, instanceNorm, lrn, resize, prelu, cumSum, squeeze, tile, depth,
	einsum, gatherND, scatterND, scatterElements, compress, reverseSequence, recurrent, gridSample,
	conditional, quantized, integers, loop, scan,
}

func unary(m *maker, v value) (value, bool) {
	switch op := m.oneOf("Relu", "Sigmoid", "Tanh", "Neg", "Abs", "Erf", "LeakyRelu", "Elu", "Selu", "HardSigmoid", "HardSwish", "Softplus", "Sqrt", "Log", "Exp", "Reciprocal"); op {
	case "Sqrt", "Log", "Reciprocal": // of numbers that are well above zero
		positive := m.b.Op("Add", nil, m.b.Op("Abs", nil, v.name), m.b.Float(0.5))
		return m.op(v.shape, op, nil, positive)
	case "Exp":
		return m.op(v.shape, op, nil, m.b.Op("Tanh", nil, v.name))
	case "LeakyRelu", "Elu":
		return m.op(v.shape, op, graph.Attrs{"alpha": float32(m.Float64())}, v.name)
	default:
		return m.op(v.shape, op, nil, v.name)
	}
}

// partner returns a value or constant that broadcasts with v.
func (m *maker) partner(v value) string {
	for _, o := range m.values {
		if o.name != v.name && tensor.Shape(o.shape).Equal(v.shape) && m.IntN(2) == 0 {
			return o.name
		}
	}
	shape := append([]int{}, v.shape[m.IntN(len(v.shape)+1):]...)
	for i := range shape {
		if m.IntN(3) == 0 {
			shape[i] = 1
		}
	}
	return m.b.Init("c", m.between(0.5, 1.5, shape...))
}

func binary(m *maker, v value) (value, bool) {
	op := m.oneOf("Add", "Sub", "Mul", "Div", "Min", "Max", "Mean", "Sum", "Pow")
	if op == "Div" || op == "Pow" {
		shape := append([]int{}, v.shape[m.IntN(len(v.shape)+1):]...)
		base := v.name
		if op == "Pow" {
			base = m.b.Op("Add", nil, m.b.Op("Abs", nil, base), m.b.Float(0.5))
		}
		return m.op(v.shape, op, nil, base, m.b.Init("c", m.between(0.5, 2, shape...)))
	}
	a, b := v.name, m.partner(v)
	if m.IntN(2) == 0 {
		a, b = b, a
	}
	return m.op(v.shape, op, nil, a, b)
}

func clip(m *maker, v value) (value, bool) {
	low, high := "", ""
	if m.IntN(3) > 0 {
		low = m.b.Float(float32(-m.Float64()))
	}
	if m.IntN(3) > 0 {
		high = m.b.Float(float32(m.Float64() * 3))
	}
	return m.op(v.shape, "Clip", nil, v.name, low, high)
}

func softmax(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	return m.op(v.shape, m.oneOf("Softmax", "LogSoftmax"), graph.Attrs{"axis": int64(axis - m.IntN(2)*len(v.shape))}, v.name)
}

func reduce(m *maker, v value) (value, bool) {
	op := m.oneOf("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum")
	axis := m.IntN(len(v.shape))
	keep := m.IntN(2)
	if len(v.shape) == 1 {
		keep = 1
	}
	shape := append([]int{}, v.shape...)
	shape[axis] = 1
	if keep == 0 {
		shape = append(shape[:axis], shape[axis+1:]...)
	}
	if op == "ReduceSum" {
		return m.op(shape, op, graph.Attrs{"keepdims": int64(keep)}, v.name, m.b.Ints(int64(axis)))
	}
	return m.op(shape, op, graph.Attrs{"keepdims": int64(keep), "axes": []int64{int64(axis)}}, v.name)
}

func transpose(m *maker, v value) (value, bool) {
	perm := m.Perm(len(v.shape))
	shape, wide := make([]int, len(perm)), make([]int64, len(perm))
	for i, p := range perm {
		shape[i], wide[i] = v.shape[p], int64(p)
	}
	return m.op(shape, "Transpose", graph.Attrs{"perm": wide}, v.name)
}

func reshape(m *maker, v value) (value, bool) {
	if m.IntN(2) == 0 {
		axis := m.IntN(len(v.shape) + 1)
		shape := []int{tensor.Shape(v.shape[:axis]).Size(), tensor.Shape(v.shape[axis:]).Size()}
		return m.op(shape, "Flatten", graph.Attrs{"axis": int64(axis)}, v.name)
	}
	first := v.shape[0]
	return m.op([]int{first, v.size() / first}, "Reshape", nil, v.name, m.b.Ints(0, -1))
}

func slice(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	n := v.shape[axis]
	from, to, step := m.IntN(n), n, 1+m.IntN(2)
	if m.IntN(3) == 0 { // backwards
		shape := append([]int{}, v.shape...)
		shape[axis] = n
		return m.op(shape, "Slice", nil, v.name, m.b.Ints(-1), m.b.Ints(math.MinInt64), m.b.Ints(int64(axis)), m.b.Ints(-1))
	}
	shape := append([]int{}, v.shape...)
	shape[axis] = (to - from + step - 1) / step
	return m.op(shape, "Slice", nil, v.name, m.b.Ints(int64(from)), m.b.Ints(math.MaxInt64), m.b.Ints(int64(axis)), m.b.Ints(int64(step)))
}

func pad(m *maker, v value) (value, bool) {
	mode := m.oneOf("constant", "edge", "reflect")
	pads := make([]int64, 2*len(v.shape))
	shape := append([]int{}, v.shape...)
	for i := range shape {
		for _, j := range []int{i, i + len(shape)} {
			n := m.IntN(3)
			if mode == "reflect" {
				n = min(n, v.shape[i]-1)
			}
			pads[j] = int64(n)
			shape[i] += n
		}
	}
	inputs := []string{v.name, m.b.Ints(pads...)}
	if mode == "constant" {
		inputs = append(inputs, m.b.Float(float32(m.NormFloat64())))
	}
	return m.op(shape, "Pad", graph.Attrs{"mode": mode}, inputs...)
}

func concat(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	other := append([]int{}, v.shape...)
	other[axis] = 1 + m.IntN(4)
	shape := append([]int{}, v.shape...)
	shape[axis] += other[axis] + v.shape[axis]
	return m.op(shape, "Concat", graph.Attrs{"axis": int64(axis)}, v.name, m.b.Init("c", m.normal(1, other...)), v.name)
}

func split(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	if v.shape[axis] < 2 {
		return value{}, false
	}
	first := 1 + m.IntN(v.shape[axis]-1)
	outs := m.b.Ops("Split", 2, graph.Attrs{"axis": int64(axis)}, v.name, m.b.Ints(int64(first), int64(v.shape[axis]-first)))
	shape := append([]int{}, v.shape...)
	shape[axis] = first
	m.values = append(m.values, value{outs[0], shape})
	rest := append([]int{}, v.shape...)
	rest[axis] -= first
	return value{outs[1], rest}, true
}

func where(m *maker, v value) (value, bool) {
	// The condition is on an input: a computed number may be on either side of a limit.
	for name, t := range m.inputs {
		if name == "x" && t.Shape().Equal(v.shape) {
			condition := m.b.Op(m.oneOf("Greater", "Less", "GreaterOrEqual", "LessOrEqual"), nil, name, m.b.Float(float32(m.NormFloat64())))
			return m.op(v.shape, "Where", nil, condition, v.name, m.partner(v))
		}
	}
	return value{}, false
}

func gather(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	indices := make([]int64, 1+m.IntN(5))
	for i := range indices {
		indices[i] = int64(m.IntN(2*v.shape[axis]) - v.shape[axis])
	}
	shape := append([]int{}, v.shape...)
	shape[axis] = len(indices)
	return m.op(shape, "Gather", graph.Attrs{"axis": int64(axis)}, v.name, m.b.Ints(indices...))
}

func expand(m *maker, v value) (value, bool) {
	if len(v.shape) > 3 {
		return value{}, false
	}
	shape := append([]int{1 + m.IntN(3)}, v.shape...)
	wide := make([]int64, len(shape))
	for i, d := range shape {
		wide[i] = int64(d)
	}
	return m.op(shape, "Expand", nil, v.name, m.b.Ints(wide...))
}

func matmul(m *maker, v value) (value, bool) {
	if len(v.shape) < 2 {
		return value{}, false
	}
	k := v.shape[len(v.shape)-1]
	n := 1 + m.IntN(20)
	shape := append([]int{}, v.shape...)
	shape[len(shape)-1] = n
	return m.op(shape, "MatMul", nil, v.name, m.b.Init("w", m.normal(1/math.Sqrt(float64(k)), k, n)))
}

func gemm(m *maker, v value) (value, bool) {
	if len(v.shape) != 2 {
		return value{}, false
	}
	rows, k := v.shape[0], v.shape[1]
	attrs := graph.Attrs{"alpha": float32(0.5 + m.Float64()), "beta": float32(m.Float64())}
	if m.IntN(3) == 0 {
		rows, k = k, rows
		attrs["transA"] = int64(1)
	}
	n := 1 + m.IntN(20)
	w := m.normal(1/math.Sqrt(float64(k)), k, n)
	if m.IntN(2) == 0 {
		w = m.normal(1/math.Sqrt(float64(k)), n, k)
		attrs["transB"] = int64(1)
	}
	inputs := []string{v.name, m.b.Init("w", w)}
	switch m.IntN(4) {
	case 0:
		inputs = append(inputs, m.b.Init("b", m.normal(1, n)))
	case 1:
		inputs = append(inputs, m.b.Init("b", m.normal(1, rows, 1)))
	case 2:
		inputs = append(inputs, m.b.Float(float32(m.NormFloat64())))
	}
	return m.op([]int{rows, n}, "Gemm", attrs, inputs...)
}

func squeeze(m *maker, v value) (value, bool) {
	for i, d := range v.shape {
		if d == 1 && len(v.shape) > 1 {
			return m.op(append(append([]int{}, v.shape[:i]...), v.shape[i+1:]...), "Squeeze", nil, v.name, m.b.Ints(int64(i)))
		}
	}
	if len(v.shape) > 3 {
		return value{}, false
	}
	return m.op(append([]int{1}, v.shape...), "Unsqueeze", nil, v.name, m.b.Ints(0))
}

func tile(m *maker, v value) (value, bool) {
	repeats := make([]int64, len(v.shape))
	shape := append([]int{}, v.shape...)
	for i := range shape {
		repeats[i] = int64(1 + m.IntN(2))
		shape[i] *= int(repeats[i])
	}
	return m.op(shape, "Tile", nil, v.name, m.b.Ints(repeats...))
}

func cumSum(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	attrs := graph.Attrs{"exclusive": int64(m.IntN(2)), "reverse": int64(m.IntN(2))}
	return m.op(v.shape, "CumSum", attrs, v.name, m.b.Init("axis", tensor.Scalar(int64(axis))))
}
