package catalogue

import (
	"fmt"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// example is a graph of one node while it is made.
type example struct {
	d  tensor.DType // of the main input
	n  *graph.Node
	g  *graph.Graph
	in []tensor.Value
}

// value returns a tensor with the numbers 1, 2, 3, 1, 2, 3 and so on, which every type has, or nearly.
func value(d tensor.DType, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.New(d, shape...))
	for i := range t.Size() {
		set(t, i, 1+i%3)
	}
	return t
}

func set(t *tensor.Tensor, i, v int) {
	switch d := t.Raw().(type) {
	case []float32:
		d[i] = float32(v)
	case []float64:
		d[i] = float64(v)
	case []tensor.Half:
		d[i] = tensor.HalfOf(float32(v))
	case []tensor.BHalf:
		d[i] = tensor.BHalfOf(float32(v))
	case []bool:
		d[i] = v%2 == 1
	case []string:
		d[i] = fmt.Sprint(v)
	case []int64:
		d[i] = int64(v)
	case []uint64:
		d[i] = uint64(v)
	case []int32:
		d[i] = int32(v)
	case []uint32:
		d[i] = uint32(v)
	case []int16:
		d[i] = int16(v)
	case []uint16:
		d[i] = uint16(v)
	case []int8:
		d[i] = int8(v)
	case []uint8:
		d[i] = uint8(v)
	case []complex64:
		d[i] = complex(float32(v), 1)
	case []complex128:
		d[i] = complex(float64(v), 1)
	default:
		t.Bytes()[i] = tensor.SmallOf(t.DType(), float64(v), tensor.Rounding{Saturate: true})
	}
}

// t adds an input that the run gives; t with nil leaves one out.
func (e *example) t(x *tensor.Tensor) *example {
	if x == nil {
		e.n.Inputs = append(e.n.Inputs, "")
		return e
	}
	name := fmt.Sprintf("x%d", len(e.n.Inputs))
	e.g.Inputs = append(e.g.Inputs, graph.Value{Name: name, DType: x.DType(), Shape: graph.Dims(x.Shape()...)})
	e.in = append(e.in, tensor.ValueOf(x))
	e.n.Inputs = append(e.n.Inputs, name)
	return e
}

// x adds an input of the main type.
func (e *example) x(shape ...int) *example { return e.t(value(e.d, shape...)) }

// c adds a constant.
func (e *example) c(x *tensor.Tensor) *example {
	name := fmt.Sprintf("c%d", len(e.n.Inputs))
	e.g.Initializers = append(e.g.Initializers, graph.Initializer{Name: name, Tensor: x})
	e.n.Inputs = append(e.n.Inputs, name)
	return e
}

// ints adds a constant list of int64.
func (e *example) ints(v ...int64) *example {
	return e.c(tensor.Must(tensor.Of(append([]int64{}, v...), len(v))))
}

func (e *example) set(name string, v any) *example {
	e.n.Attrs[name] = v
	return e
}

// outs names n outputs.
func (e *example) outs(n int) *example {
	for i := range n {
		e.n.Outputs = append(e.n.Outputs, fmt.Sprintf("y%d", i))
	}
	return e
}

// before adds a node before the example's, and gives the example what it makes.
func (e *example) before(n *graph.Node) *example {
	name := fmt.Sprintf("b%d", len(e.g.Nodes))
	n.Name, n.Outputs = name, []string{name}
	e.g.Nodes = append(e.g.Nodes, n)
	e.n.Inputs = append(e.n.Inputs, name)
	return e
}

// sequence adds a sequence of two tensors of the main type.
func (e *example) sequence() *example {
	e.x(2).x(2)
	e.n.Inputs = nil
	return e.before(&graph.Node{OpType: "SequenceConstruct", Inputs: []string{"x0", "x1"}})
}

func (e *example) value(name string, d tensor.DType, dims ...int) graph.Value {
	return graph.Value{Name: name, DType: d, Shape: graph.Dims(dims...)}
}

// same is a subgraph that gives what is named, under another name.
func (e *example) same(in []graph.Value, pairs ...string) *graph.Graph {
	g := &graph.Graph{Name: "body", Inputs: in}
	for i := 0; i < len(pairs); i += 2 {
		g.Nodes = append(g.Nodes, &graph.Node{OpType: "Identity", Inputs: pairs[i : i+1], Outputs: pairs[i+1 : i+2]})
		g.Outputs = append(g.Outputs, graph.Value{Name: pairs[i+1]})
	}
	return g
}

func unary(e *example)  { e.x(2, 3) }
func binary(e *example) { e.x(2, 3).x(2, 3) }
func pool(e *example)   { e.x(1, 1, 4, 4).set("kernel_shape", []int64{2, 2}) }
func image(e *example)  { e.x(1, 2, 4, 4) }
func reduce(e *example) { e.x(2, 3).ints(1) }

func scalar[T tensor.Element](v T) *tensor.Tensor { return tensor.Scalar(v) }
