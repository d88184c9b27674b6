package graph

import "slices"

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
	{"CastLike", "saturate"}: 19, {"Cast", "round_mode"}: 24,
}

// axesAsInput are the reductions whose axes became an input in opset 18; ReduceSum's did in 13.
var axesAsInput = []string{
	"ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
	"ReduceSumSquare",
}

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
		for name := range n.Attrs {
			lowest = max(lowest, sinceAttr[[2]string{n.OpType, name}])
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
	Walk(g.Nodes, visit)
	for _, f := range g.Functions {
		Walk(f.Nodes, visit)
	}
	return lowest
}
