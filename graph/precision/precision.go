// Package precision rewrites a graph so that its heavy operators compute in another floating-point type. What that costs in exactness is left to who runs both graphs and compares.
package precision

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// Where the time of a net goes: these compute in float16 wherever their weights fit. Sums in them are the engine's business; both engines add in float32.
var heavy = map[string]bool{"Conv": true, "ConvTranspose": true, "Gemm": true, "MatMul": true}

// What stands between them and loses nothing that counts: these compute in float16 where all their operands are float16 already or constants, so that nothing
// is cast to and fro. All that sums many numbers, divides by small ones or has a wide range (Softmax, normalizations by layers, Exp, Reduce...) is not among them.
var light = map[string]bool{
	"Abs": true, "Add": true, "AveragePool": true, "BatchNormalization": true, "Clip": true, "Concat": true, "DepthToSpace": true, "Div": true, "Dropout": true, "Elu": true, "Expand": true,
	"Flatten": true, "Gather": true, "GlobalAveragePool": true, "GlobalMaxPool": true, "HardSigmoid": true, "HardSwish": true, "Identity": true, "LeakyRelu": true, "Max": true, "MaxPool": true,
	"Min": true, "Mul": true, "Neg": true, "PRelu": true, "Pad": true, "Relu": true, "Reshape": true, "Sigmoid": true, "Slice": true, "SpaceToDepth": true, "Split": true, "Squeeze": true, "Sub": true,
	"Tanh": true, "Tile": true, "Transpose": true, "Unsqueeze": true,
}

// MinOpset is the lowest opset of a graph that can be rewritten: before it Cast has another form.
const MinOpset = 7

// maxHalf is float16's largest number.
const maxHalf = 65504

// Float16 returns g with its convolutions and matrix products, and the light operators between them, in float16; g stays as it is, and tensors are shared. Inputs and outputs keep their
// types: casts stand at the borders. Bodies of control flow and functions, and float32 constants that do not fit, stay in float32. The notes say how many operators are changed, and
// which heavy ones are not, with the reason.
func Float16(g *graph.Graph) (*graph.Graph, []string, error) {
	if v := g.Opset[graph.OnnxDomain]; v < MinOpset {
		return nil, nil, fmt.Errorf("float16: the model has opset %d, and this takes %d or newer", v, MinOpset)
	}
	typed := g.Clone()
	if err := infer.Shapes(typed); err != nil {
		return nil, nil, fmt.Errorf("float16: %w", err)
	}
	c := g.Clone()
	h := &halving{b: graph.Extend(c), types: map[string]tensor.DType{}, constants: map[string]*tensor.Tensor{}, half: map[string]string{}, computed: map[string]bool{}, wide: map[string]bool{}, changed: map[string]int{}}
	for _, vs := range [][]graph.Value{typed.Inputs, typed.Values, typed.Outputs} {
		for _, v := range vs {
			if v.Container == "" {
				h.types[v.Name] = v.DType
			}
		}
	}
	for _, in := range c.Initializers {
		h.types[in.Name], h.constants[in.Name] = in.Tensor.DType(), in.Tensor
	}
	nodes := c.Nodes
	c.Nodes = nil
	for _, n := range nodes {
		h.node(c, n)
	}
	for _, v := range c.Outputs {
		h.widen(c, v.Name)
	}
	c.Prune() // the float32 form of constants that nothing uses any more
	return c, h.report(len(nodes)), nil
}

// halving is a graph on the way to float16.
type halving struct {
	b         *graph.Builder
	types     map[string]tensor.DType
	constants map[string]*tensor.Tensor
	half      map[string]string // the float16 form of float32 values
	computed  map[string]bool   // values that nodes compute in float16
	wide      map[string]bool   // those of them that have their float32 form too
	changed   map[string]int    // nodes by operator
	kept      []string
}

// node adds a node, in float16 or as it is.
func (h *halving) node(c *graph.Graph, n *graph.Node) {
	if n.Domain == graph.OnnxDomain && n.OpType == "Constant" {
		if t, ok := n.Attrs["value"].(*tensor.Tensor); ok {
			h.constants[n.Output(0)] = t
		}
	}
	if !h.takes(n) {
		for _, name := range n.Uses() {
			h.widen(c, name)
		}
		c.Nodes = append(c.Nodes, n)
		return
	}
	for i, in := range n.Inputs {
		if h.types[in] == tensor.Float32 {
			n.Inputs[i] = h.narrow(c, in)
		}
	}
	for i, out := range n.Outputs {
		if h.types[out] == tensor.Float32 {
			name := h.b.Unique(out + "_float16")
			h.half[out], n.Outputs[i] = name, name
			h.computed[out] = true
		}
	}
	h.changed[n.OpType]++
	c.Nodes = append(c.Nodes, n)
}

// takes reports whether a node computes in float16.
func (h *halving) takes(n *graph.Node) bool {
	if n.Domain != graph.OnnxDomain || !heavy[n.OpType] && !light[n.OpType] || h.types[n.Output(0)] != tensor.Float32 {
		return false
	}
	if n.OpType == "BatchNormalization" && len(n.Outputs) > 1 { // it is being trained
		return false
	}
	follows := false
	for i, in := range n.Inputs {
		if h.types[in] != tensor.Float32 {
			continue
		}
		switch t := h.constants[in]; {
		case h.computed[in]:
			follows = true
		case t == nil && light[n.OpType]:
			return false
		case t != nil && !fits(t) && !(n.OpType == "Clip" && i > 0): // a bound that float16 does not reach bounds nothing: it becomes infinity
			if heavy[n.OpType] {
				h.kept = append(h.kept, fmt.Sprintf("%s %q computes in float32: the constant %s has numbers beyond %d, which float16 cannot hold", n.OpType, n.Name, in, maxHalf))
			}
			return false
		}
	}
	return heavy[n.OpType] || follows
}

// fits reports whether all numbers of a constant are within float16's range; infinities and NaN are.
func fits(t *tensor.Tensor) bool {
	for _, v := range tensor.Data[float32](t) {
		if (v > maxHalf || v < -maxHalf) && v-v == 0 {
			return false
		}
	}
	return true
}

// narrow returns the float16 form of a value, and makes it where there is none: a constant of its own, or a cast.
func (h *halving) narrow(c *graph.Graph, name string) string {
	if half, ok := h.half[name]; ok {
		return half
	}
	if t := h.constants[name]; t != nil {
		data := tensor.Data[float32](t)
		half := make([]tensor.Half, len(data))
		for i, v := range data {
			half[i] = tensor.HalfOf(v)
		}
		h.half[name] = h.b.Init(name+"_float16", tensor.Must(tensor.Of(half, t.Shape()...)))
		return h.half[name]
	}
	h.half[name] = h.cast(c, name, h.b.Unique(name+"_float16"), tensor.Float16)
	return h.half[name]
}

// widen makes the float32 form of a value that was computed in float16, under the value's own name.
func (h *halving) widen(c *graph.Graph, name string) {
	if h.computed[name] && !h.wide[name] {
		h.wide[name] = true
		h.cast(c, h.half[name], name, tensor.Float32)
	}
}

// cast adds a node that casts one value into another.
func (h *halving) cast(c *graph.Graph, from, into string, to tensor.DType) string {
	c.Nodes = append(c.Nodes, &graph.Node{
		Name: "cast/" + into, OpType: "Cast", Inputs: []string{from}, Outputs: []string{into}, Attrs: graph.Attrs{"to": int64(to)},
	})
	return into
}

// report says what was changed, for people.
func (h *halving) report(total int) []string {
	if len(h.changed) == 0 {
		return append([]string{"nothing computes in float16: the model has no convolution or matrix product in float32 outside of subgraphs and functions"}, h.kept...)
	}
	names, n := make([]string, 0, len(h.changed)), 0
	for op, count := range h.changed {
		names = append(names, fmt.Sprintf("%d %s", count, op))
		n += count
	}
	slices.SortFunc(names, func(a, b string) int {
		return strings.Compare(a[strings.IndexByte(a, ' '):], b[strings.IndexByte(b, ' '):])
	})
	return append([]string{fmt.Sprintf("%d of %d operators compute in float16: %s", n, total, strings.Join(names, ", "))}, h.kept...)
}
