package model

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A Difference is one thing in which two models differ.
type Difference struct {
	// Kind is "signature", "metadata", "opset", "operators", "weights" or "size".
	Kind string `json:"kind"`
	// Name is what differs: an input, a metadata's name, an operator, a weight.
	Name string `json:"name,omitempty"`
	// A and B are what each has; empty where it has none.
	A string `json:"a,omitempty"`
	B string `json:"b,omitempty"`
}

// Diff returns how two models differ, nil where they are the same file. Weights are compared bit by bit.
func Diff(a, b *Model) []Difference {
	if a.Digest != "" && a.Digest == b.Digest {
		return nil
	}
	var out []Difference
	add := func(kind, name, was, is string) {
		if was != is {
			out = append(out, Difference{kind, name, was, is})
		}
	}
	for _, s := range []struct {
		kind string
		a, b []graph.Value
	}{{"input", a.Inputs(), b.Inputs()}, {"output", a.Outputs(), b.Outputs()}} {
		was, is := byName(s.a), byName(s.b)
		for _, name := range union(was, is) {
			add("signature", s.kind+" "+name, was[name], is[name])
		}
	}
	was, is := columnTexts(a), columnTexts(b)
	for _, name := range union(was, is) {
		add("column", name, was[name], is[name])
	}
	if slices.Equal(slices.Sorted(maps.Keys(was)), slices.Sorted(maps.Keys(is))) {
		add("metadata", "order of the columns", columnOrder(a.Columns), columnOrder(b.Columns))
	}
	was, is = props(a), props(b)
	delete(was, Prefix+"columns") // a line each, above
	delete(is, Prefix+"columns")
	for _, name := range union(was, is) {
		add("metadata", name, was[name], is[name])
	}
	was, is = opsets(a.Graph), opsets(b.Graph)
	for _, name := range union(was, is) {
		add("opset", name, was[name], is[name])
	}
	was, is = operators(a.Graph), operators(b.Graph)
	for _, name := range union(was, is) {
		add("operators", name, was[name], is[name])
	}
	out = append(out, weights(a.Graph, b.Graph)...)
	add("size", "parameters", fmt.Sprint(parameters(a.Graph)), fmt.Sprint(parameters(b.Graph)))
	if a.Bytes > 0 && b.Bytes > 0 {
		add("size", "bytes", fmt.Sprint(a.Bytes), fmt.Sprint(b.Bytes))
	}
	return out
}

func union[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}

func byName(vs []graph.Value) map[string]string {
	out := map[string]string{}
	for _, v := range vs {
		out[v.Name] = strings.TrimSpace(strings.TrimPrefix(v.String(), v.Name))
	}
	return out
}

// columnTexts are a table's columns by name.
func columnTexts(m *Model) map[string]string {
	out := map[string]string{}
	for _, c := range m.Columns {
		out[c.Name] = columnText(c)
	}
	return out
}

// props are all of a file's metadata, with its producer and its text.
func props(m *Model) map[string]string {
	out := maps.Clone(m.Graph.Metadata)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, m.Props())
	for name, text := range map[string]string{"producer": m.Graph.Producer, "doc": m.Graph.Doc} {
		if text != "" {
			out[name] = text
		}
	}
	return out
}

func opsets(g *graph.Graph) map[string]string {
	out := map[string]string{}
	for domain, version := range g.Opset {
		if domain == graph.OnnxDomain {
			domain = "ai.onnx"
		}
		out[domain] = fmt.Sprint(version)
	}
	return out
}

// operators counts the operators.
func operators(g *graph.Graph) map[string]string {
	n := map[string]int{}
	for _, node := range g.Nodes {
		n[node.Op()]++
	}
	out := map[string]string{}
	for op, times := range n {
		out[op] = fmt.Sprint(times)
	}
	return out
}

func parameters(g *graph.Graph) (n int64) {
	for _, in := range g.Initializers {
		n += int64(in.Tensor.Size())
	}
	return n
}

// weights compares the initializers by their names.
func weights(a, b *graph.Graph) []Difference {
	was, is := map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}
	for _, in := range a.Initializers {
		was[in.Name] = in.Tensor
	}
	for _, in := range b.Initializers {
		is[in.Name] = in.Tensor
	}
	var out []Difference
	for _, name := range union(was, is) {
		x, y := was[name], is[name]
		d := Difference{Kind: "weights", Name: name}
		if x != nil {
			d.A = fmt.Sprintf("%v%v", x.DType(), x.Shape())
		}
		if y != nil {
			d.B = fmt.Sprintf("%v%v", y.DType(), y.Shape())
		}
		if d.A == d.B {
			how := changed(x, y)
			if how == "" {
				continue
			}
			d.B += " " + how
		}
		out = append(out, d)
	}
	return out
}

// changed says how the numbers of two tensors of one type and shape differ, empty where they do not.
func changed(x, y *tensor.Tensor) string {
	if xs, ok := x.Raw().([]string); ok {
		if slices.Equal(xs, tensor.Data[string](y)) {
			return ""
		}
		return "with other texts"
	}
	if bytes.Equal(x.Bytes(), y.Bytes()) {
		return ""
	}
	xs, ok := x.Raw().([]float32)
	if !ok {
		return "with other numbers"
	}
	n, most := 0, 0.0
	for i, v := range tensor.Data[float32](y) {
		if math.Float32bits(v) != math.Float32bits(xs[i]) {
			n++
			most = max(most, math.Abs(float64(v)-float64(xs[i])))
		}
	}
	return fmt.Sprintf("with %d of %d numbers changed, by at most %.3g", n, len(xs), most)
}
