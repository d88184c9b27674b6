package gradient

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Names of the functions of graph.MillraceDomain that training graphs call; DESIGN.md states what each takes and gives.
const (
	FuncSoftmaxCrossEntropy        = "SoftmaxCrossEntropy"
	FuncReluGradient               = "ReluGradient"
	FuncConvGradientWeights        = "ConvGradientWeights"
	FuncMaxPoolGradient            = "MaxPoolGradient"
	FuncBatchNormalizationGradient = "BatchNormalizationGradient"
	FuncGatherGradient             = "GatherGradient"
	FuncSumToShape                 = "SumToShape"
	FuncMomentumUpdate             = "MomentumUpdate"
	FuncNesterovUpdate             = "NesterovUpdate"
	FuncRmsPropUpdate              = "RmsPropUpdate"
	FuncAdamUpdate                 = "AdamUpdate"
)

// functionDef is a function without its body's type and opset.
type functionDef struct {
	inputs   []string
	attrs    []string
	defaults graph.Attrs
	outputs  []string
	// body appends the nodes and returns the names of the outputs.
	body func(b *builder) []string
}

var functionDefs = map[string]functionDef{
	FuncSoftmaxCrossEntropy: {
		inputs: []string{"logits", "target"}, outputs: []string{"loss", "gradient"},
		defaults: graph.Attrs{"label_smoothing": float32(0)},
		body: func(b *builder) []string {
			shape := b.op("Shape", "logits")
			rows, classes := b.section(shape, 0, 1), b.section(shape, 1, 2)
			logp := b.with(graph.Attrs{"axis": int64(1)}, "LogSoftmax", "logits")
			s := b.attrFloat("label_smoothing")
			off := b.op("Div", s, b.cast(classes, b.dtype))
			on := b.op("Add", off, b.op("Sub", b.num(1), s))
			want := b.with(graph.Attrs{"axis": int64(-1)}, "OneHot", "target", classes, b.concat(off, on))
			each := b.reduce("ReduceSum", b.op("Mul", want, logp), false, 1)
			loss := b.op("Neg", b.reduce("ReduceMean", each, false))
			grad := b.op("Div", b.op("Sub", b.op("Exp", logp), want), b.cast(rows, b.dtype))
			return []string{loss, grad}
		},
	},
	FuncReluGradient: {
		inputs: []string{"y", "dy"}, outputs: []string{"dx"},
		body: func(b *builder) []string {
			return []string{b.op("Mul", b.op("Sign", "y"), "dy")}
		},
	},
	FuncConvGradientWeights: {
		inputs: []string{"x", "dy"}, outputs: []string{"dw"},
		attrs: []string{"kernel_shape", "strides", "pads", "dilations", "group"},
		body:  convGradientWeights,
	},
	FuncMaxPoolGradient: {
		inputs: []string{"dy", "indices", "shape"}, outputs: []string{"dx"},
		body: func(b *builder) []string {
			size := b.reduce("ReduceProd", "shape", true)
			zeros := b.with(graph.Attrs{"value": zeroOf(b.dtype)}, "ConstantOfShape", size)
			flat := b.ints(-1)
			sum := b.with(graph.Attrs{"axis": int64(0), "reduction": "add"}, "ScatterElements", zeros,
				b.op("Reshape", "indices", flat), b.op("Reshape", "dy", flat))
			return []string{b.op("Reshape", sum, "shape")}
		},
	},
	FuncBatchNormalizationGradient: {
		inputs: []string{"x", "scale", "dy"}, outputs: []string{"dx", "dscale", "dbias"}, attrs: []string{"epsilon"},
		body: func(b *builder) []string {
			flat := b.ints(0, 0, -1)
			x, dy := b.op("Reshape", "x", flat), b.op("Reshape", "dy", flat)
			g := b.op("Mul", dy, b.op("Reshape", "scale", b.ints(1, -1, 1)))
			dx, xhat := b.normGradient(x, g, b.attrFloat("epsilon"), 0, 2)
			dscale := b.reduce("ReduceSum", b.op("Mul", dy, xhat), false, 0, 2)
			dbias := b.reduce("ReduceSum", dy, false, 0, 2)
			return []string{b.op("Reshape", dx, b.op("Shape", "x")), dscale, dbias}
		},
	},
	FuncGatherGradient: {
		inputs: []string{"dy", "indices", "depth"}, outputs: []string{"dx"},
		body: func(b *builder) []string {
			rows := b.with(graph.Attrs{"axis": int64(0)}, "OneHot", "indices", "depth", b.concat(
				b.constant(vectorOf(b.dtype, 0)), b.constant(vectorOf(b.dtype, 1))))
			return []string{b.op("MatMul", rows, "dy")}
		},
	},
	FuncSumToShape: {
		inputs: []string{"x", "shape"}, outputs: []string{"y"},
		body: func(b *builder) []string {
			have := b.op("Shape", "x")
			lead := b.op("Sub", b.op("Shape", have), b.op("Shape", "shape"))
			want := b.concat(b.with(graph.Attrs{"value": tensor.Vector[int64](1)}, "ConstantOfShape", lead), "shape")
			differ := b.op("Not", b.op("Equal", want, have))
			k := b.reduce("ReduceSum", b.cast(differ, tensor.Int64), true)
			axes := b.node(graph.OnnxDomain, "TopK", nil, 2, b.cast(differ, tensor.Float32), k)[1]
			return []string{b.reshape(b.sumBy("x", axes), "shape")}
		},
	},
	FuncMomentumUpdate: {
		inputs: []string{"p", "g", "b", "rate", "momentum"}, outputs: []string{"new_p", "new_b"},
		body: func(b *builder) []string {
			nb := b.op("Add", b.op("Mul", "b", "momentum"), "g")
			return []string{b.op("Sub", "p", b.op("Mul", nb, "rate")), nb}
		},
	},
	FuncNesterovUpdate: {
		inputs: []string{"p", "g", "b", "rate", "momentum"}, outputs: []string{"new_p", "new_b"},
		body: func(b *builder) []string {
			nb := b.op("Add", b.op("Mul", "b", "momentum"), "g")
			step := b.op("Add", "g", b.op("Mul", nb, "momentum"))
			return []string{b.op("Sub", "p", b.op("Mul", step, "rate")), nb}
		},
	},
	FuncRmsPropUpdate: {
		inputs: []string{"p", "g", "v", "rate", "alpha", "rest", "eps"}, outputs: []string{"new_p", "new_v"},
		body: func(b *builder) []string {
			nv := b.op("Add", b.op("Mul", "v", "alpha"), b.op("Mul", b.square("g"), "rest"))
			step := b.op("Div", "g", b.op("Add", b.op("Sqrt", nv), "eps"))
			return []string{b.op("Sub", "p", b.op("Mul", step, "rate")), nv}
		},
	},
	FuncAdamUpdate: {
		inputs:  []string{"p", "g", "m", "v", "rate", "beta1", "rest1", "beta2", "rest2", "root", "eps"},
		outputs: []string{"new_p", "new_m", "new_v"},
		body: func(b *builder) []string {
			nm := b.op("Add", b.op("Mul", "m", "beta1"), b.op("Mul", "g", "rest1"))
			nv := b.op("Add", b.op("Mul", "v", "beta2"), b.op("Mul", b.square("g"), "rest2"))
			step := b.op("Div", nm, b.op("Add", b.op("Div", b.op("Sqrt", nv), "root"), "eps"))
			return []string{b.op("Sub", "p", b.op("Mul", step, "rate")), nm, nv}
		},
	},
}

// convGradientWeights unfolds x into the elements under each tap of the kernel, by a convolution with an identity, and
// multiplies them by dy: one matrix product for each example and group, summed over the examples.
func convGradientWeights(b *builder) []string {
	kernel := b.attrInts("kernel_shape")
	taps := b.reduce("ReduceProd", kernel, true)
	xs, ys := b.op("Shape", "x"), b.op("Shape", "dy")
	n, c, m := b.section(xs, 0, 1), b.section(xs, 1, 2), b.section(ys, 1, 2)
	group, one, rest := b.attrInt("group"), b.ints(1), b.ints(-1)

	index := b.op("Range", b.op("Squeeze", b.ints(0)), b.op("Squeeze", taps), b.op("Squeeze", one))
	values := b.concat(b.constant(vectorOf(b.dtype, 0)), b.constant(vectorOf(b.dtype, 1)))
	eye := b.op("Reshape", b.op("OneHot", index, taps, values), b.concat(taps, one, kernel))
	planes := b.op("Reshape", "x", b.concat(b.op("Mul", n, c), one, b.section(xs, 2, toEnd)))
	unfolded := b.with(graph.Attrs{"strides": graph.AttrRef("strides"), "pads": graph.AttrRef("pads"),
		"dilations": graph.AttrRef("dilations"), "kernel_shape": graph.AttrRef("kernel_shape")}, "Conv", planes, eye)

	width := b.op("Mul", b.op("Div", c, group), taps) // of one group's row of weights
	place := b.reduce("ReduceProd", b.section(ys, 2, toEnd), true)
	columns := b.op("Reshape", unfolded, b.concat(n, group, width, place))
	rows := b.op("Reshape", "dy", b.concat(n, group, b.op("Div", m, group), place))
	each := b.op("MatMul", rows, b.transpose(columns, 0, 1, 3, 2))
	sum := b.reduce("ReduceSum", each, false, 0)
	return []string{b.op("Reshape", sum, b.concat(m, rest, kernel))}
}

// normGradient is the gradient of (x - mean) / sqrt(variance + eps) over axes, of which g is the gradient. It returns
// the normalized x as well.
func (b *builder) normGradient(x, g, eps string, axes ...int64) (dx, xhat string) {
	centred := b.op("Sub", x, b.reduce("ReduceMean", x, true, axes...))
	// The mean of numbers far from zero is rounded by more than their digits: what it leaves has a mean of its own.
	centred = b.op("Sub", centred, b.reduce("ReduceMean", centred, true, axes...))
	variance := b.reduce("ReduceMean", b.square(centred), true, axes...)
	inv := b.rsqrt(b.op("Add", variance, eps))
	xhat = b.op("Mul", centred, inv)
	along := b.op("Mul", xhat, b.reduce("ReduceMean", b.op("Mul", g, xhat), true, axes...))
	rest := b.op("Sub", b.op("Sub", g, b.reduce("ReduceMean", g, true, axes...)), along)
	return b.op("Mul", rest, inv), xhat
}

// newFunction writes a function for one element type and opset.
func newFunction(name string, dtype tensor.DType, opset int64) (*graph.Function, error) {
	def, ok := functionDefs[name]
	if !ok {
		return nil, fmt.Errorf("there is no function %s.%s", graph.MillraceDomain, name)
	}
	b := &builder{opset: opset, dtype: dtype, body: true, consts: map[string]string{}, used: map[string]bool{}, calls: map[string]bool{}, ours: map[string]bool{}}
	for i, out := range def.body(b) {
		b.rename(out, def.outputs[i])
		for _, n := range b.nodes {
			for k, in := range n.Inputs {
				if in == out {
					n.Inputs[k] = def.outputs[i]
				}
			}
		}
	}
	return &graph.Function{Domain: graph.MillraceDomain, Name: name, Inputs: slices.Clone(def.inputs), Outputs: slices.Clone(def.outputs),
		Attrs: slices.Clone(def.attrs), Defaults: def.defaults.Clone(), Nodes: b.nodes,
		Opset: map[string]int64{graph.OnnxDomain: opset}}, nil
}

// zeroOf and vectorOf are tensors of one element.
func zeroOf(d tensor.DType) *tensor.Tensor { return vectorOf(d, 0) }

func vectorOf(d tensor.DType, v float64) *tensor.Tensor {
	return tensor.Must(scalarOf(d, v).Reshape(1))
}
