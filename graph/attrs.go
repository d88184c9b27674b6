package graph

import (
	"maps"

	"github.com/millrace/millrace/tensor"
)

// Attrs are a node's attributes by name. A value is one of: int64, float32, string, *tensor.Tensor, *Graph, []int64,
// []float32, []string, []*tensor.Tensor, []*Graph, Value (a type), or AttrRef inside a function's body. The typed readers return the
// default where an attribute is left out or of another kind: engines check kinds when they open a graph, with Kind.
type Attrs map[string]any

// An AttrRef is the attribute of that name of the node that calls the function.
type AttrRef string

// Clone returns a copy; slices and tensors are shared.
func (a Attrs) Clone() Attrs { return maps.Clone(a) }

// Has reports whether the attribute is there.
func (a Attrs) Has(name string) bool { _, ok := a[name]; return ok }

// Int returns an integer.
func (a Attrs) Int(name string, def int64) int64 { return attr(a, name, def) }

// Bool returns whether an integer is not zero.
func (a Attrs) Bool(name string, def bool) bool {
	if v, ok := a[name].(int64); ok {
		return v != 0
	}
	return def
}

// Float returns a float.
func (a Attrs) Float(name string, def float32) float32 { return attr(a, name, def) }

// String returns a string.
func (a Attrs) String(name, def string) string { return attr(a, name, def) }

// Ints returns a list of integers that the caller must not change.
func (a Attrs) Ints(name string, def []int64) []int64 { return attr(a, name, def) }

// Floats returns a list of floats that the caller must not change.
func (a Attrs) Floats(name string, def []float32) []float32 { return attr(a, name, def) }

// Strings returns a list of strings that the caller must not change.
func (a Attrs) Strings(name string, def []string) []string { return attr(a, name, def) }

// Tensor returns a tensor, or nil.
func (a Attrs) Tensor(name string) *tensor.Tensor { return attr[*tensor.Tensor](a, name, nil) }

// Graph returns a subgraph, or nil.
func (a Attrs) Graph(name string) *Graph { return attr[*Graph](a, name, nil) }

func attr[T any](a Attrs, name string, def T) T {
	if v, ok := a[name].(T); ok {
		return v
	}
	return def
}

// Kind returns ONNX's name of the attribute's kind ("INT", "FLOATS", ...), or "" where it is left out.
func (a Attrs) Kind(name string) string {
	switch a[name].(type) {
	case int64:
		return "INT"
	case float32:
		return "FLOAT"
	case string:
		return "STRING"
	case *tensor.Tensor:
		return "TENSOR"
	case *Graph:
		return "GRAPH"
	case []int64:
		return "INTS"
	case []float32:
		return "FLOATS"
	case []string:
		return "STRINGS"
	case []*tensor.Tensor:
		return "TENSORS"
	case []*Graph:
		return "GRAPHS"
	case Value:
		return "TYPE_PROTO"
	case AttrRef:
		return "REF"
	}
	return ""
}
