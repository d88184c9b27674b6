package diagram

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A text is a line in a box.
type text struct {
	string
	class string
	size  float64
}

const (
	titleSize = 12
	noteSize  = 10
	maxText   = 30  // runes of a line in a box
	maxHint   = 200 // runes of a line in a hint
	maxList   = 16  // lines of a hint
)

// width is about how wide a text is in a font without serifs, rather more than less: pictures are read where nobody knows the font.
func (t text) width() float64 {
	w := 0.0
	for _, r := range t.string {
		switch {
		case strings.ContainsRune("iljtfr.,:;'|![]()/ ", r):
			w += 0.40
		case r == '×' || unicode.IsDigit(r):
			w += 0.64
		case strings.ContainsRune("mwMW@%", r):
			w += 0.98
		case r >= 0x1100:
			w += 1.1
		case unicode.IsUpper(r):
			w += 0.74
		default:
			w += 0.63
		}
	}
	return float64(int(w*t.size + 1))
}

// short cuts the middle out of a long text.
func short(s string, most int) string {
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	head := most / 2
	return string(r[:head]) + "…" + string(r[len(r)-(most-head-1):])
}

// shapeText is a shape as "1×28×28", with the type where it is not float32; empty where nothing is known.
func shapeText(v graph.Value) string {
	var s string
	switch {
	case v.Shape == nil:
		s = ""
	case len(v.Shape) == 0:
		s = "scalar"
	default:
		dims := make([]string, len(v.Shape))
		for i, d := range v.Shape {
			dims[i] = d.String()
		}
		s = strings.Join(dims, "×")
	}
	if v.DType != tensor.Float32 && v.DType != tensor.Invalid {
		s = strings.TrimSpace(v.DType.String() + " " + s)
	}
	if v.Container != "" {
		s = strings.TrimSpace(v.Container + " of " + s)
	}
	return s
}

// constantText is what a box says of a constant that its operator takes: the number, or the shape.
func constantText(t *tensor.Tensor) string {
	if t.Size() == 1 && len(t.Shape()) < 2 {
		switch t.DType() {
		case tensor.Float32:
			return fmt.Sprintf("%.4g", tensor.Data[float32](t)[0])
		case tensor.Int64:
			return fmt.Sprint(tensor.Data[int64](t)[0])
		}
	}
	if t.DType() == tensor.Int64 && t.Size() <= 4 && len(t.Shape()) == 1 {
		return strings.ReplaceAll(fmt.Sprint(tensor.Data[int64](t)), " ", ",")
	}
	return shapeText(graph.Value{DType: t.DType(), Shape: graph.Dims(t.Shape()...)})
}

// describe sets the lines of a closed box.
func (b *box) describe() {
	add := func(s, class string, size float64) {
		if s != "" {
			b.lines = append(b.lines, text{short(s, maxText), class, size})
		}
	}
	switch b.kind {
	case operator:
		n := b.node()
		add(n.OpType, "title", titleSize)
		if name := strings.TrimSuffix(b.title, "/"); !saysOp(name, n) {
			add(name, "note", noteSize)
		}
		var constants []string
		for _, in := range n.Inputs {
			if t := b.level.constant(in); t != nil && len(constants) < 4 {
				constants = append(constants, constantText(t))
			}
		}
		add(strings.Join(constants, ", "), "note", noteSize)
		if subs := subgraphs(n); len(subs) > 0 {
			nodes := 0
			for _, sub := range subs {
				nodes += len(sub.Nodes)
			}
			add(fmt.Sprintf("%d nodes inside", nodes), "note", noteSize)
		}
	case scope:
		add(b.title, "title", titleSize)
		add(fmt.Sprintf("%d nodes", len(b.nodes)), "note", noteSize)
		add(b.operators(), "note", noteSize)
	case input, output:
		if i := strings.LastIndex(b.title, "/"); len(b.title) > maxText && i+1 < len(b.title) { // the end says more than the scopes
			b.title = "…" + b.title[i:]
		}
		add(b.title, "title", titleSize)
		if v := b.level.values[b.values[0]]; v != nil && len(b.values) == 1 {
			add(shapeText(*v), "note", noteSize)
		}
	}
}

// operators lists the most frequent operators of a scope.
func (b *box) operators() string {
	count := map[string]int{}
	for _, i := range b.nodes {
		count[b.level.Nodes[i].OpType]++
	}
	names := slices.SortedFunc(maps.Keys(count), func(x, y string) int {
		if count[x] != count[y] {
			return count[y] - count[x]
		}
		return strings.Compare(x, y)
	})
	var out []string
	for _, name := range names[:min(len(names), 3)] {
		if count[name] > 1 {
			name = fmt.Sprintf("%d %s", count[name], name)
		}
		out = append(out, name)
	}
	if len(names) > 3 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// ownName is the last part of a node's name where that says more than the operator and a number.
func ownName(n *graph.Node) string {
	name := n.Name[strings.LastIndex(n.Name, "/")+1:]
	if saysOp(name, n) {
		return ""
	}
	return name
}

// saysOp reports whether a name is the operator's, with a number or without, as converters make them up.
func saysOp(name string, n *graph.Node) bool {
	plain := strings.TrimRight(name, "0123456789")
	if plain != name && !strings.HasSuffix(plain, "_") { // "conv1" is a person's
		return false
	}
	plain = strings.TrimRight(plain, "_")
	return strings.EqualFold(plain, n.OpType) || strings.EqualFold(strings.TrimPrefix(plain, "node_"), n.OpType)
}

// constant returns the tensor of a constant here or around; nil where the name is no constant.
func (l *level) constant(name string) *tensor.Tensor {
	from := l.find(name)
	if name == "" || from == nil {
		return nil
	}
	if _, made := from.producer[name]; made || from.inputs[name] {
		return nil
	}
	return from.constants[name]
}

// hint is what a box says when the mouse rests on it.
func (b *box) hint() string {
	var lines []string
	add := func(format string, args ...any) {
		lines = append(lines, short(fmt.Sprintf(format, args...), maxHint))
	}
	switch b.kind {
	case operator:
		n := b.node()
		add("%s", strings.TrimSpace(n.Op()+" "+n.Name))
		for i, in := range n.Inputs {
			if in != "" && i < maxList {
				add("takes %s", b.level.valueText(in))
			}
		}
		for i, out := range n.Outputs {
			if out != "" && i < maxList {
				add("gives %s", b.level.valueText(out))
			}
		}
		for i, name := range slices.Sorted(maps.Keys(n.Attrs)) {
			if i < maxList {
				add("%s = %s", name, attrText(n.Attrs[name]))
			}
		}
	case scope:
		name := strings.Join(b.path, "/")
		if !strings.HasSuffix(name, b.title) {
			name = strings.TrimSpace(name + " " + b.title)
		}
		add("%s", name)
		add("%d nodes", len(b.nodes))
	case input, output:
		for i, name := range b.values {
			if i < maxList {
				add("%s", b.level.valueText(name))
			}
		}
	}
	return strings.Join(lines, "\n")
}

// valueText is a value with its name, type and shape.
func (l *level) valueText(name string) string {
	from := l.find(name)
	if from == nil {
		return name
	}
	if v := from.values[name]; v != nil {
		return strings.TrimSpace(name + " " + shapeText(*v))
	}
	if t := from.constants[name]; t != nil {
		return name + " " + constantText(t)
	}
	return name
}

func attrText(v any) string {
	switch v := v.(type) {
	case *graph.Graph:
		return fmt.Sprintf("a graph with %d nodes", len(v.Nodes))
	case []*graph.Graph:
		return fmt.Sprintf("%d graphs", len(v))
	case *tensor.Tensor:
		return constantText(v)
	case []*tensor.Tensor:
		return fmt.Sprintf("%d tensors", len(v))
	case []int64:
		return fmt.Sprint(v[:min(len(v), maxList)])
	case []float32:
		return fmt.Sprint(v[:min(len(v), maxList)])
	case []string:
		return fmt.Sprintf("%.40q", v[:min(len(v), maxList)])
	case string:
		return fmt.Sprintf("%.100q", v)
	}
	return fmt.Sprint(v)
}

// label is what is written on a wire.
func (w *wire) label() text {
	t := text{class: "shape", size: noteSize}
	if !w.labelled {
		return t
	}
	switch n := len(w.values); {
	case n >= maxChildren:
		t.string = fmt.Sprintf("%d values or more", n)
	case n > 1:
		t.string = fmt.Sprintf("%d values", n)
	default:
		if v := w.values[0].values[w.values[0].name]; v != nil {
			t.string = short(shapeText(*v), maxText)
		}
	}
	return t
}

// hint lists the values of a wire.
func (w *wire) hint() string {
	var lines []string
	for i, v := range w.values {
		if i == maxList {
			lines = append(lines, "…")
			break
		}
		lines = append(lines, short(v.level.valueText(v.name), maxHint))
	}
	return strings.Join(lines, "\n")
}
