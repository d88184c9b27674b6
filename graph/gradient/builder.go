package gradient

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A builder appends nodes to a graph or to a function's body. Names that it makes begin with prefix.
type builder struct {
	prefix string
	opset  int64 // of ONNX's own domain
	dtype  tensor.DType
	nodes  []*graph.Node
	count  int
	inits  []graph.Initializer // of a graph; a body has Constant nodes instead
	body   bool
	consts map[string]string // constants by content
	used   map[string]bool   // names that are taken
	calls  map[string]bool   // functions of ours that are called
	ours   map[string]bool   // outputs of nodes
}

// name returns a new name that ends in base.
func (b *builder) name(base string) string {
	for {
		b.count++
		n := b.prefix + base + "_" + strconv.Itoa(b.count)
		if !b.used[n] {
			b.used[n] = true
			return n
		}
	}
}

// node appends an operator with n outputs and returns their names.
func (b *builder) node(domain, op string, attrs graph.Attrs, n int, inputs ...string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = b.name(op)
		b.ours[out[i]] = true
	}
	b.nodes = append(b.nodes, &graph.Node{Name: out[0], OpType: op, Domain: domain, Inputs: slices.Clone(inputs), Outputs: out, Attrs: attrs})
	return out
}

// op appends a standard operator without attributes and with one output.
func (b *builder) op(op string, inputs ...string) string {
	return b.node(graph.OnnxDomain, op, nil, 1, inputs...)[0]
}

// with appends a standard operator with attributes and one output.
func (b *builder) with(attrs graph.Attrs, op string, inputs ...string) string {
	return b.node(graph.OnnxDomain, op, attrs, 1, inputs...)[0]
}

// rename makes the last node's first output have that name.
func (b *builder) rename(from, to string) {
	for i := len(b.nodes) - 1; i >= 0; i-- {
		if b.nodes[i].Outputs[0] == from {
			b.nodes[i].Outputs[0] = to
			return
		}
	}
}

// constant returns the name of a constant tensor, made once for each content.
func (b *builder) constant(t *tensor.Tensor) string {
	key := t.DType().String() + t.Shape().String() + string(t.Bytes())
	if n, ok := b.consts[key]; ok {
		return n
	}
	var n string
	if b.body {
		n = b.with(graph.Attrs{"value": t}, "Constant")
	} else {
		n = b.name("constant")
		b.inits = append(b.inits, graph.Initializer{Name: n, Tensor: t})
	}
	b.consts[key] = n
	return n
}

// ints returns a constant int64 vector.
func (b *builder) ints(v ...int64) string {
	return b.constant(tensor.Vector(append([]int64{}, v...)...))
}

// num returns a constant scalar of the builder's floating-point type.
func (b *builder) num(v float64) string { return b.constant(scalarOf(b.dtype, v)) }

// scalarOf returns a scalar of a floating-point type.
func scalarOf(d tensor.DType, v float64) *tensor.Tensor {
	switch d {
	case tensor.Float64:
		return tensor.Scalar(v)
	case tensor.Float16:
		return tensor.Scalar(tensor.HalfOf64(v))
	case tensor.BFloat16:
		return tensor.Scalar(tensor.BHalfOf64(v))
	}
	return tensor.Scalar(float32(v))
}

// cast converts to a type.
func (b *builder) cast(x string, to tensor.DType) string {
	return b.with(graph.Attrs{"to": int64(to)}, "Cast", x)
}

// reduce sums, averages and so on over axes; no axes means all of them.
func (b *builder) reduce(op, x string, keep bool, axes ...int64) string {
	k := int64(0)
	if keep {
		k = 1
	}
	attrs := graph.Attrs{"keepdims": k}
	switch {
	case len(axes) == 0:
		return b.with(attrs, op, x)
	case op == "ReduceSum" || b.opset >= 18:
		return b.with(attrs, op, x, b.ints(axes...))
	}
	attrs["axes"] = axes
	return b.with(attrs, op, x)
}

// sumBy sums over axes that are a value of the graph; it keeps the dimensions and does nothing without axes.
func (b *builder) sumBy(x, axes string) string {
	return b.with(graph.Attrs{"keepdims": int64(1), "noop_with_empty_axes": int64(1)}, "ReduceSum", x, axes)
}

// reshape gives x the shape that is a value of the graph, where a zero means zero.
func (b *builder) reshape(x, shape string) string {
	return b.with(graph.Attrs{"allowzero": int64(1)}, "Reshape", x, shape)
}

// transpose permutes x's dimensions.
func (b *builder) transpose(x string, perm ...int64) string {
	return b.with(graph.Attrs{"perm": perm}, "Transpose", x)
}

// concat joins vectors.
func (b *builder) concat(parts ...string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	return b.with(graph.Attrs{"axis": int64(0)}, "Concat", parts...)
}

// section returns elements from to to of a vector; math.MaxInt64 as to means its end.
func (b *builder) section(v string, from, to int64) string {
	return b.op("Slice", v, b.ints(from), b.ints(to), b.ints(0))
}

// square returns x*x.
func (b *builder) square(x string) string { return b.op("Mul", x, x) }

// rsqrt returns 1/sqrt(x).
func (b *builder) rsqrt(x string) string { return b.op("Reciprocal", b.op("Sqrt", x)) }

// call appends a call of one of our functions.
func (b *builder) call(name string, attrs graph.Attrs, outputs int, inputs ...string) []string {
	b.calls[name] = true
	return b.node(graph.MillraceDomain, name, attrs, outputs, inputs...)
}

const toEnd = math.MaxInt64

// attrFloat appends a scalar that is a float attribute of the function, in the body's type.
func (b *builder) attrFloat(name string) string {
	return b.cast(b.with(graph.Attrs{"value_float": graph.AttrRef(name)}, "Constant"), b.dtype)
}

// attrInts appends a vector that is an attribute of the function.
func (b *builder) attrInts(name string) string {
	return b.with(graph.Attrs{"value_ints": graph.AttrRef(name)}, "Constant")
}

// attrInt appends a vector of one element that is an integer attribute of the function.
func (b *builder) attrInt(name string) string {
	return b.op("Reshape", b.with(graph.Attrs{"value_int": graph.AttrRef(name)}, "Constant"), b.ints(1))
}

func nodeName(n *graph.Node) string {
	if n.Name != "" {
		return fmt.Sprintf("node %q (%s)", n.Name, n.Op())
	}
	return fmt.Sprintf("node %s with output %q", n.Op(), n.Output(0))
}
