// Package catalogue lists the operators of ONNX's domains, with their versions, the types that they take, and a small example of each for
// every type. Running the examples, and writing docs/operators.md of what comes of it, is left to the tests of the engines.
package catalogue

import (
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Opset is the newest version of ONNX's own domain that the catalogue has, and ML that of ai.onnx.ml.
const (
	Opset = 27
	ML    = 5
)

// Domains outside ONNX's own.
const (
	Tables   = "ai.onnx.ml"
	Preview  = "ai.onnx.preview"
	Training = "ai.onnx.preview.training"
)

// An Operator is one entry.
type Operator struct {
	Domain, Name string
	// Versions are those of the domain in which the operator was made or changed, newest first.
	Versions []int
	// Types are what the input that gives the operator its type may be in the newest version.
	Types   []tensor.DType
	example func(e *example)
}

// String returns "Name", or "domain.Name" outside ONNX's own domain.
func (o *Operator) String() string { return graph.OpName(o.Domain, o.Name) }

// Example returns a graph of the operator alone, at its newest version, whose main input is of type d, and values for its inputs.
func (o *Operator) Example(d tensor.DType) (*graph.Graph, []tensor.Value) {
	opset := map[string]int64{graph.OnnxDomain: 22}
	if o.Domain == graph.OnnxDomain {
		opset[graph.OnnxDomain] = int64(o.Versions[0])
	} else {
		opset[o.Domain] = int64(o.Versions[0])
		if o.Domain == Preview {
			opset[graph.OnnxDomain] = 26
		}
	}
	if o.Name == "Upsample" || o.Name == "Scatter" { // left since
		opset[graph.OnnxDomain] = int64(o.Versions[0]) - 1
		if o.Name == "Scatter" {
			opset[graph.OnnxDomain] = 10
		}
	}
	e := &example{d: d, n: &graph.Node{Name: "node", OpType: o.Name, Domain: o.Domain, Attrs: graph.Attrs{}}, g: &graph.Graph{Name: "example", Opset: opset}}
	o.example(e)
	if len(e.n.Outputs) == 0 {
		e.n.Outputs = []string{"y0"}
	}
	e.g.Nodes = append(e.g.Nodes, e.n)
	if asked := asks[o.Name]; asked != "" {
		e.g.Nodes = append(e.g.Nodes, &graph.Node{Name: "asked", OpType: asked, Inputs: e.n.Outputs, Outputs: []string{"asked"}})
		e.g.Outputs = append(e.g.Outputs, graph.Value{Name: "asked"})
		return e.g, e.in
	}
	for _, out := range e.n.Outputs {
		e.g.Outputs = append(e.g.Outputs, graph.Value{Name: out})
	}
	return e.g, e.in
}

// asks are the operators that turn what others make, which is no tensor, into one.
var asks = map[string]string{
	"SequenceConstruct": "SequenceLength", "SequenceEmpty": "SequenceLength", "SequenceErase": "SequenceLength", "SequenceInsert": "SequenceLength",
	"SequenceMap": "SequenceLength", "SplitToSequence": "SequenceLength", "Optional": "OptionalHasElement",
}

// Operators returns the entries: ONNX's own domain by name, then the others.
func Operators() []*Operator {
	ops := slices.Concat(own(), tables(), previews())
	slices.SortStableFunc(ops, func(a, b *Operator) int {
		if a.Domain != b.Domain {
			return strings.Compare(a.Domain, b.Domain)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return ops
}

// Types by the words that the tables here use.
var (
	half      = []tensor.DType{tensor.Float16, tensor.Float32, tensor.Float64}
	floats    = append(slices.Clone(half), tensor.BFloat16)
	signed    = []tensor.DType{tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64}
	unsigned  = []tensor.DType{tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64}
	numbers   = slices.Concat(floats, signed, unsigned)
	wide      = slices.Concat(floats, []tensor.DType{tensor.Int32, tensor.Int64, tensor.Uint32, tensor.Uint64})
	complexes = []tensor.DType{tensor.Complex64, tensor.Complex128}
	any15     = slices.Concat(half, signed, unsigned, []tensor.DType{tensor.Bool, tensor.String}, complexes)
	any16     = append(slices.Clone(any15), tensor.BFloat16)
	float8s   = []tensor.DType{tensor.Float8E4M3FN, tensor.Float8E4M3FNUZ, tensor.Float8E5M2, tensor.Float8E5M2FNUZ}
	smalls    = slices.Concat(float8s, []tensor.DType{tensor.Float8E8M0, tensor.Float4E2M1, tensor.Int4, tensor.Uint4, tensor.Int2, tensor.Uint2})
	any25     = slices.Concat(any16, smalls)
)

// Words writes types in the order of their groups: a group that is there whole by its name.
func Words(types []tensor.DType) string {
	if len(types) == 0 {
		return "-"
	}
	left := slices.Clone(types)
	var words []string
	for _, g := range []struct {
		name  string
		types []tensor.DType
	}{
		{"any", any25}, {"any but float8 and smaller", any16}, {"any but bfloat16, float8 and smaller", any15}, {"numbers", numbers}, {"floats", floats},
		{"float16 float32 float64", half}, {"integers", integers}, {"signed", signed}, {"unsigned", unsigned}, {"complex", complexes},
		{"float8 and smaller", smalls}, {"float8", float8s},
	} {
		if all(left, g.types) {
			words = append(words, g.name)
			left = slices.DeleteFunc(left, func(d tensor.DType) bool { return slices.Contains(g.types, d) })
		}
	}
	slices.Sort(left)
	for _, d := range left {
		words = append(words, d.String())
	}
	return strings.Join(words, ", ")
}

func all(have, want []tensor.DType) bool {
	return !slices.ContainsFunc(want, func(d tensor.DType) bool { return !slices.Contains(have, d) })
}

// versions reads a list that is written in a table here.
func versions(list string) []int {
	var v []int
	for word := range strings.FieldsSeq(list) {
		n, err := strconv.Atoi(word)
		if err != nil {
			panic(err)
		}
		v = append(v, n)
	}
	return v
}
