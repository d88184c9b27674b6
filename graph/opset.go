package graph

import (
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Walk calls visit for every node and, after it, for the nodes of the subgraphs in its attributes.
func Walk(nodes []*Node, visit func(*Node)) {
	for _, n := range nodes {
		visit(n)
		for _, sub := range n.Subgraphs() {
			Walk(sub.Nodes, visit)
		}
	}
}

// countNodes returns the number of nodes, those of subgraphs included.
func countNodes(nodes []*Node) int {
	n := 0
	Walk(nodes, func(*Node) { n++ })
	return n
}

// Subgraphs returns the graphs in the node's attributes, in no particular order.
func (n *Node) Subgraphs() []*Graph {
	var subs []*Graph
	for _, v := range n.Attrs {
		switch v := v.(type) {
		case *Graph:
			subs = append(subs, v)
		case []*Graph:
			subs = append(subs, v...)
		}
	}
	return subs
}

// oldestWritten is the opset that graphs of ours use unless an operator needs a newer one.
const oldestWritten = 17

// since holds the operators of ONNX's own domain that came after opset 17. GroupNormalization is of 18, but had
// another meaning until 21.
var since = map[string]int64{
	"BitwiseAnd": 18, "BitwiseNot": 18, "BitwiseOr": 18, "BitwiseXor": 18, "CenterCropPad": 18, "Col2Im": 18, "Mish": 18,
	"DeformConv": 19,
	"AffineGrid": 20, "Gelu": 20, "ImageDecoder": 20, "RegexFullMatch": 20, "StringConcat": 20, "StringSplit": 20,
	"GroupNormalization": 21,
	"Attention":          23, "RMSNormalization": 23, "RotaryEmbedding": 23,
	"Swish": 24, "TensorScatter": 24,
	"BitCast": 26, "CumProd": 26,
	"CausalConvWithState": 27, "LinearAttention": 27,
}

// sinceAttr holds attributes, as operator and name, that came after opset 17.
var sinceAttr = map[[2]string]int64{
	{"Split", "num_outputs"}: 18, {"Resize", "antialias"}: 18, {"Resize", "axes"}: 18,
	{"Resize", "keep_aspect_ratio_policy"}: 18, {"AveragePool", "dilations"}: 19, {"Cast", "saturate"}: 19,
	{"CastLike", "saturate"}: 19, {"Cast", "round_mode"}: 24, {"CastLike", "round_mode"}: 24,
	{"QuantizeLinear", "saturate"}: 19, {"QuantizeLinear", "block_size"}: 21, {"QuantizeLinear", "output_dtype"}: 21,
	{"QuantizeLinear", "precision"}: 23, {"DequantizeLinear", "block_size"}: 21, {"DequantizeLinear", "output_dtype"}: 23,
}

// sinceType holds the element types that came after opset 17.
var sinceType = map[tensor.DType]int64{
	tensor.Float8E4M3FN: 19, tensor.Float8E4M3FNUZ: 19, tensor.Float8E5M2: 19, tensor.Float8E5M2FNUZ: 19, tensor.Int4: 21, tensor.Uint4: 21,
	tensor.Float4E2M1: 23, tensor.Float8E8M0: 24, tensor.Int2: 25, tensor.Uint2: 25,
}

// axesAsInput are the reductions whose axes became an input in opset 18; ReduceSum's did in 13.
var axesAsInput = []string{
	"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
	"ReduceSumSquare",
}

// typeAttrs are the attributes that name an element type.
var typeAttrs = []string{"to", "dtype", "output_dtype", "output_datatype", "precision"}

// LowestOpset returns the lowest version of ONNX's own domain, from 17 on, that has all operators of the graph and of
// its functions in the form that they are used in. It is for graphs that programs make: what a file says about its
// opset is not looked at.
func LowestOpset(g *Graph) int64 {
	lowest := int64(oldestWritten)
	visit := func(n *Node) {
		if n.Domain != OnnxDomain {
			return
		}
		lowest = max(lowest, since[n.OpType])
		for _, sub := range n.Subgraphs() {
			lowest = max(lowest, typesOf(sub))
		}
		for name, v := range n.Attrs {
			lowest = max(lowest, sinceAttr[[2]string{n.OpType, name}])
			switch v := v.(type) {
			case *tensor.Tensor:
				lowest = max(lowest, sinceType[v.DType()])
			case int64:
				if slices.Contains(typeAttrs, name) && v > 0 && v < 256 {
					lowest = max(lowest, sinceType[tensor.DType(v)])
				}
			}
		}
		switch {
		case n.Input(1) != "" && slices.Contains(axesAsInput, n.OpType),
			n.OpType == "Pad" && n.Input(3) != "",
			(n.OpType == "ScatterElements" || n.OpType == "ScatterND") && slices.Contains([]string{"max", "min"}, n.Attrs.String("reduction", "")):
			lowest = max(lowest, 18)
		case n.OpType == "Pad" && n.Attrs.String("mode", "") == "wrap":
			lowest = max(lowest, 19)
		}
	}
	lowest = max(lowest, typesOf(g))
	Walk(g.Nodes, visit)
	for _, f := range g.Functions {
		Walk(f.Nodes, visit)
	}
	return lowest
}

// typesOf returns the lowest version that has the types of a graph's inputs, outputs and initializers.
func typesOf(g *Graph) int64 {
	var lowest int64
	for _, v := range slices.Concat(g.Inputs, g.Outputs) {
		lowest = max(lowest, sinceType[v.DType])
	}
	for _, in := range g.Initializers {
		if in.Tensor != nil {
			lowest = max(lowest, sinceType[in.Tensor.DType()])
		}
	}
	return lowest
}
