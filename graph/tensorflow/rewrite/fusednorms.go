package rewrite

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// fusedNorms makes one LayerNormalization of Keras 2's way to one over the last axis: a batch normalization whose channels are all rows, with scale one and offset zero for each,
//
//	r = Reshape(x, [1, -1, n, 1]),  d = r - mean(r),  y = Reshape(d / sqrt(mean(d * d) + epsilon) * 1 + 0, Shape(x)) * gamma + beta
func fusedNorms(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		if standard(n, "Add") && !w.gone[n] && w.fusedNorm(n) {
			changes++
		}
	}
	return changes, nil
}

// fusedNorm replaces the sum with beta at the end of one.
func (w *work) fusedNorm(n *graph.Node) bool {
	for i := range 4 {
		scaled, beta := w.made[n.Inputs[i%2]], n.Inputs[1-i%2]
		if !standard(scaled, "Mul") {
			continue
		}
		back, gamma := w.made[scaled.Inputs[i/2]], scaled.Inputs[1-i/2]
		if !standard(back, "Reshape") {
			continue
		}
		x, epsilon, ok := w.byRows(back.Inputs[0])
		if !ok || !w.rowOf(gamma, x) || !w.rowOf(beta, x) {
			continue
		}
		last := int64(w.consts[gamma].Size())
		whole := w.made[w.uncast(back.Input(1))]
		if standard(whole, "Shape") && whole.Inputs[0] == x && !whole.Attrs.Has("start") && !whole.Attrs.Has("end") || w.restores(back, x, last) {
			w.into(n, "LayerNormalization", graph.Attrs{"axis": int64(-1), "epsilon": epsilon}, x, gamma, beta)
			return true
		}
	}
	return false
}

// byRows matches what is done to each row before it has its shape again, and returns x.
func (w *work) byRows(name string) (x string, epsilon float32, ok bool) {
	for _, neutral := range []struct {
		op string
		of float64
	}{{"Add", 0}, {"Mul", 1}} {
		n := w.made[name]
		if !standard(n, neutral.op) {
			return "", 0, false
		}
		at := slices.IndexFunc(n.Inputs, func(in string) bool { return w.filled(in, neutral.of) })
		if at < 0 {
			return "", 0, false
		}
		name = n.Inputs[1-at]
	}
	div := w.made[name]
	if !standard(div, "Div") {
		return "", 0, false
	}
	root, d := w.made[div.Inputs[1]], w.made[div.Inputs[0]]
	if !standard(root, "Sqrt") || !standard(d, "Sub") || !w.meanOfRows(d.Inputs[1], d.Inputs[0]) {
		return "", 0, false
	}
	variance := w.made[root.Inputs[0]]
	if !standard(variance, "Add") {
		return "", 0, false
	}
	for i := range 2 {
		e, number := w.scalar(variance.Inputs[i], variance.Inputs[1-i])
		mean := w.made[variance.Inputs[1-i]]
		if !number || !standard(mean, "ReduceMean") || !w.meanOfRows(variance.Inputs[1-i], mean.Inputs[0]) || e < 0 || math.IsInf(e, 0) {
			continue
		}
		square, rows := w.made[mean.Inputs[0]], w.made[d.Inputs[0]]
		if !standard(square, "Mul") || square.Inputs[0] != div.Inputs[0] || square.Inputs[1] != div.Inputs[0] || !standard(rows, "Reshape") {
			continue
		}
		x = rows.Inputs[0]
		dims, known := w.ints(rows.Input(1))
		shape := w.values[x].Shape
		if !known || len(shape) == 0 || !slices.Equal(dims, []int64{1, -1, shape[len(shape)-1].Size, 1}) || dims[2] < 1 || w.values[x].DType != tensor.Float32 {
			return "", 0, false
		}
		return x, float32(e), true
	}
	return "", 0, false
}

// meanOfRows reports whether a value is the mean of another one over all axes of four but the second.
func (w *work) meanOfRows(name, of string) bool {
	n := w.made[name]
	if !standard(n, "ReduceMean") || n.Inputs[0] != of || len(n.Inputs) > 1 || w.rank(of) != 4 || !n.Attrs.Bool("keepdims", true) {
		return false
	}
	axes, ok := normal(n.Attrs.Ints("axes", nil), 4)
	slices.Sort(axes)
	return ok && slices.Equal(axes, []int64{0, 2, 3})
}

// filled reports whether all elements of a value are a number, however many there are.
func (w *work) filled(name string, with float64) bool {
	for n := w.made[name]; standard(n, "Expand", "Unsqueeze", "Squeeze", "Reshape", "Identity"); n = w.made[name] {
		name = n.Inputs[0]
	}
	return w.unit(name, with)
}
