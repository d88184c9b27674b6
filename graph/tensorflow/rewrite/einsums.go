package rewrite

import (
	"slices"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// einsums makes MatMul of an Einsum that is one, with what has to be ordered before and behind it: engines multiply matrices faster than they find out each time what
// an equation means. So attention is, as Keras has it:
//
//	Einsum(x, W) with abc,cde->abde becomes MatMul(x, W as a matrix), Reshape, and a bias between them
//	Einsum(k, q) with aecd,abcd->acbe becomes MatMul(q as acbd, k as acde)
func einsums(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if !standard(n, "Einsum") || w.gone[n] || len(n.Inputs) != 2 || !slices.Contains([]tensor.DType{tensor.Float32, tensor.Float64}, w.values[n.Outputs[0]].DType) {
			continue
		}
		s, ok := w.sumOf(n)
		if !ok {
			continue
		}
		done, err := w.projection(n, s)
		if err != nil {
			return changes, err
		}
		if done || w.batched(n, s) {
			changes++
		}
	}
	return changes, nil
}

// A sum is an Einsum of two operands, taken apart by its labels. Each label is in two of first, second and out, or in all three.
type sum struct {
	first, second, out string
	batch              string // in all three, in the order of out
	rows, columns      string // in the first and out, and in the second and out, in the order of out
	inner              string // in the first and the second, in the order of the first
}

func (w *work) sumOf(n *graph.Node) (s sum, ok bool) {
	in, out, ok1 := strings.Cut(strings.ReplaceAll(n.Attrs.String("equation", ""), " ", ""), "->")
	first, second, ok2 := strings.Cut(in, ",")
	if !ok1 || !ok2 || len(first) != w.rank(n.Inputs[0]) || len(second) != w.rank(n.Inputs[1]) {
		return s, false
	}
	s = sum{first: first, second: second, out: out}
	for _, all := range []string{first, second, out} {
		for i, label := range all {
			in := 0
			for _, other := range []string{first, second, out} {
				if strings.ContainsRune(other, label) {
					in++
				}
			}
			if label > 'z' || label < 'A' || in < 2 || strings.ContainsRune(all[:i], label) {
				return s, false
			}
		}
	}
	for _, label := range out {
		a, b := strings.ContainsRune(first, label), strings.ContainsRune(second, label)
		switch {
		case a && b:
			s.batch += string(label)
		case a:
			s.rows += string(label)
		default:
			s.columns += string(label)
		}
	}
	for _, label := range first {
		if strings.ContainsRune(second, label) && !strings.ContainsRune(out, label) {
			s.inner += string(label)
		}
	}
	return s, s.inner != ""
}

// order is the permutation that makes an order of labels another one.
func order(from, to string) []int64 {
	perm := make([]int64, len(to))
	for i := range to {
		perm[i] = int64(strings.IndexByte(from, to[i]))
	}
	return perm
}

// projection makes a product with a constant, whose labels may be several on each side. A bias behind it is added before what gives the columns their axes.
func (w *work) projection(n *graph.Node, s sum) (bool, error) {
	weights := w.consts[n.Inputs[1]]
	if weights == nil || s.batch != "" || s.rows == "" || s.columns == "" || s.first != s.rows+s.inner || s.out != s.rows+s.columns || weights.Size() == 0 {
		return false, nil
	}
	lengths := func(labels string) (dims []int64, size int) {
		size = 1
		for i := range labels {
			d := weights.Shape()[strings.IndexByte(s.second, labels[i])]
			dims, size = append(dims, int64(d)), size*d
		}
		return dims, size
	}
	columns, width := lengths(s.columns)
	_, height := lengths(s.inner)
	matrix := weights
	if to := s.inner + s.columns; to != s.second {
		var err error
		if matrix, err = w.compute("Transpose", graph.Attrs{"perm": order(s.second, to)}, weights); err != nil {
			return false, err
		}
	}
	matrix, err := matrix.Reshape(height, width)
	if err != nil {
		return false, err
	}
	out, x := n.Outputs[0], n.Inputs[0]
	kept := make([]int64, len(s.rows)) // zeros: as the input has it
	add := func(op, hint string, dims []int64, inputs ...string) string {
		name := w.names.Unique(out + "/" + hint)
		w.values[name] = graph.Value{Name: name, DType: weights.DType()}
		if dims != nil {
			inputs = append(inputs, w.constant("shape", tensor.Vector(dims...)))
		}
		w.add(&graph.Node{Name: name, OpType: op, Inputs: inputs, Outputs: []string{name}})
		return name
	}
	bias, next := w.biasOf(n, columns)
	w.drop(n)
	if len(s.inner) > 1 {
		x = add("Reshape", "flat", append(slices.Clone(kept), int64(height)), x)
	}
	x = add("MatMul", "MatMul", nil, x, w.constant(n.Inputs[1]+"/matrix", matrix))
	if bias != nil {
		flat, err := bias.Reshape(width)
		if err != nil {
			return false, err
		}
		w.drop(next)
		x, out = add("Add", "Add", nil, x, w.constant(n.Inputs[1]+"/bias", flat)), next.Outputs[0]
	}
	last := w.made[x]
	if len(s.columns) > 1 {
		last = &graph.Node{Name: w.names.Unique(out + "/wide"), OpType: "Reshape", Inputs: []string{x, w.constant("shape", tensor.Vector(append(kept, columns...)...))}}
		w.add(last)
	}
	last.Outputs = []string{out}
	w.made[out] = last
	return true, nil
}

// biasOf returns a constant that only this node's output is added to, with the lengths of its last axes.
func (w *work) biasOf(n *graph.Node, dims []int64) (*tensor.Tensor, *graph.Node) {
	next := w.only(n.Outputs[0])
	if !standard(next, "Add") {
		return nil, nil
	}
	for i := range 2 {
		bias := w.consts[next.Inputs[i]]
		if bias == nil || next.Inputs[1-i] != n.Outputs[0] || bias.Rank() != len(dims) {
			continue
		}
		if slices.EqualFunc(bias.Shape(), dims, func(a int, b int64) bool { return int64(a) == b }) {
			return bias, next
		}
	}
	return nil, nil
}

// batched makes a product of matrices of both operands, with one label on each side, after what orders their axes.
func (w *work) batched(n *graph.Node, s sum) bool {
	if len(s.rows) != 1 || len(s.columns) != 1 || len(s.inner) != 1 {
		return false
	}
	a, b, made := s.batch+s.rows+s.inner, s.batch+s.inner+s.columns, s.batch+s.rows+s.columns
	inputs, labels := slices.Clone(n.Inputs), []string{s.first, s.second}
	if strings.IndexByte(s.out, s.columns[0]) < strings.IndexByte(s.out, s.rows[0]) { // the second times the first
		slices.Reverse(inputs)
		slices.Reverse(labels)
		a, b, made = s.batch+s.columns+s.inner, s.batch+s.inner+s.rows, s.batch+s.columns+s.rows
	}
	out := n.Outputs[0]
	w.drop(n)
	for i, to := range []string{a, b} {
		if labels[i] != to {
			name := w.names.Unique(out + "/ordered")
			v := w.values[inputs[i]]
			w.values[name] = graph.Value{Name: name, DType: v.DType, Shape: permuted(v.Shape, order(labels[i], to))}
			w.add(&graph.Node{Name: name, OpType: "Transpose", Attrs: graph.Attrs{"perm": order(labels[i], to)}, Inputs: []string{inputs[i]}, Outputs: []string{name}})
			inputs[i] = name
		}
	}
	product := out
	if made != s.out {
		product = w.names.Unique(out + "/MatMul")
		w.add(&graph.Node{Name: w.names.Unique(out + "/order"), OpType: "Transpose", Attrs: graph.Attrs{"perm": order(made, s.out)}, Inputs: []string{product}, Outputs: []string{out}})
	}
	w.add(&graph.Node{Name: n.Name, OpType: "MatMul", Inputs: inputs, Outputs: []string{product}})
	return true
}

// permuted is a shape behind a Transpose.
func permuted(shape graph.Shape, perm []int64) graph.Shape {
	out := make(graph.Shape, len(perm))
	for i, p := range perm {
		out[i] = shape[p]
	}
	return out
}
