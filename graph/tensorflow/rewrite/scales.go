package rewrite

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// scales puts what is done to each channel of a convolution, or to each column of a product with a constant, into its weights:
//
//	Mul, Div, Add and Sub with constants, and BatchNormalization, which are what a trained batch normalization is.
//
// A bias of a product stays an Add. It is done in float64 and rounded once.
func scales(w *work) (int, error) {
	changes := 0
	for _, n := range slices.Clone(w.g.Nodes) {
		for !w.gone[n] && (standard(n, "Conv", "ConvTranspose") && w.intoConv(n) || standard(n, "MatMul") && w.intoProduct(n)) {
			changes++
		}
	}
	return changes, nil
}

// affine is y = x * scale + shift by channel.
type affine struct {
	scale, shift []float64
	scales       bool // scale is not all ones
}

// affineOf returns what a node does to each channel of a value; axis counts from the end, with 1 the last one.
func (w *work) affineOf(n *graph.Node, value string, channels, axis, rank int) (affine, bool) {
	a := affine{scale: slices.Repeat([]float64{1}, channels), shift: make([]float64, channels)}
	if standard(n, "BatchNormalization") {
		return a, n.Inputs[0] == value && len(n.Outputs) == 1 && !n.Attrs.Bool("training_mode", false) && w.normOf(n, channels, axis, rank, &a)
	}
	if !standard(n, "Add", "Sub", "Mul", "Div") {
		return a, false
	}
	at := slices.Index(n.Inputs, value)
	c, ok := w.perChannel(n.Inputs[1-at], channels, axis, rank)
	if !ok || n.Inputs[0] == n.Inputs[1] {
		return a, false
	}
	for i, v := range c {
		switch n.OpType {
		case "Add":
			a.shift[i] = v
		case "Sub":
			if a.shift[i] = -v; at == 1 {
				a.scale[i], a.shift[i], a.scales = -1, v, true
			}
		case "Mul":
			a.scale[i], a.scales = v, true
		case "Div":
			if at == 1 {
				return a, false
			}
			a.scale[i], a.scales = 1/v, true
		}
	}
	return a, true
}

// normOf reads a BatchNormalization, whose channels are the second axis.
func (w *work) normOf(n *graph.Node, channels, axis, rank int, a *affine) bool {
	if rank-axis != 1 || len(n.Inputs) != 5 {
		return false
	}
	var p [4][]float64
	for i := range p {
		var ok bool
		if p[i], ok = w.perChannel(n.Inputs[1+i], channels, 1, 1); !ok {
			return false
		}
	}
	for i := range channels {
		a.scale[i] = p[0][i] / math.Sqrt(p[3][i]+float64(n.Attrs.Float("epsilon", 1e-5)))
		a.shift[i] = p[1][i] - p[2][i]*a.scale[i]
	}
	a.scales = true
	return true
}

// perChannel returns a constant with an element for each channel, or one for all: all its other axes are of length one, and it must not have more of
// them than the value.
func (w *work) perChannel(name string, channels, axis, rank int) ([]float64, bool) {
	t := w.consts[name]
	if t == nil || t.Rank() > rank {
		return nil, false
	}
	for i, d := range t.Shape() {
		if d != 1 && (d != channels || t.Rank()-i != axis) {
			return nil, false
		}
	}
	all, ok := floats(t)
	if ok && len(all) == 1 {
		all = slices.Repeat(all, channels)
	}
	return all, ok && len(all) == channels
}

// floats returns the elements of a constant of float32 or float64.
func floats(t *tensor.Tensor) ([]float64, bool) {
	switch d := t.Raw().(type) {
	case []float32:
		out := make([]float64, len(d))
		for i, v := range d {
			out[i] = float64(v)
		}
		return out, true
	case []float64:
		return slices.Clone(d), true
	}
	return nil, false
}

// like makes a tensor of a type of numbers; ok is false where one of them is not finite in it.
func like(dtype tensor.DType, data []float64, shape ...int) (*tensor.Tensor, bool) {
	if dtype == tensor.Float64 {
		return tensor.Must(tensor.Of(data, shape...)), !slices.ContainsFunc(data, notFinite)
	}
	out := make([]float32, len(data))
	for i, v := range data {
		out[i] = float32(v)
		if notFinite(float64(out[i])) {
			return nil, false
		}
	}
	return tensor.Must(tensor.Of(out, shape...)), true
}

func scalable(t *tensor.Tensor) bool {
	return t.DType() == tensor.Float32 || t.DType() == tensor.Float64
}

func notFinite(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) }

// intoConv puts the node behind a convolution into it.
func (w *work) intoConv(n *graph.Node) bool {
	weights, next := w.consts[n.Input(1)], w.only(n.Outputs[0])
	if weights == nil || !scalable(weights) || next == nil || len(n.Inputs) > 2 && n.Inputs[2] != "" && w.consts[n.Inputs[2]] == nil || weights.Rank() < 3 {
		return false
	}
	out, block := 0, weights.Size() // which axis of the weights has the output's channels, and the elements below one of its places
	if n.OpType == "ConvTranspose" {
		out = 1
		if n.Attrs.Int("group", 1) != 1 {
			return false
		}
	}
	for _, d := range weights.Shape()[:out+1] {
		block /= max(d, 1)
	}
	channels := weights.Shape()[out]
	a, ok := w.affineOf(next, n.Outputs[0], channels, weights.Rank()-1, weights.Rank())
	if !ok || channels == 0 {
		return false
	}
	bias := make([]float64, channels)
	if name := n.Input(2); name != "" {
		if bias, ok = w.perChannel(name, channels, 1, 1); !ok {
			return false
		}
	}
	for i := range bias {
		bias[i] = bias[i]*a.scale[i] + a.shift[i]
	}
	b, ok := like(weights.DType(), bias, channels)
	if !ok || !w.scaleWeights(n, weights, channels, block, a) {
		return false
	}
	w.setInput(n, 2, w.constant(n.Inputs[1]+"/bias", b))
	return w.become(n, next)
}

// scaleWeights gives n other weights, where a scale says so. Weights that others use too stay: there would be two of them.
func (w *work) scaleWeights(n *graph.Node, weights *tensor.Tensor, channels, block int, a affine) bool {
	if !a.scales {
		return true
	}
	if w.fanout(n.Inputs[1]) != 1 || w.outputs[n.Inputs[1]] {
		return false
	}
	var t *tensor.Tensor
	switch d := weights.Raw().(type) {
	case []float32:
		t = scaled(d, weights.Shape(), channels, block, a.scale)
	case []float64:
		t = scaled(d, weights.Shape(), channels, block, a.scale)
	}
	if t == nil {
		return false
	}
	w.setInput(n, 1, w.constant(n.Inputs[1]+"/scaled", t))
	return true
}

// scaled multiplies weights by channel. It returns nil where one is not finite afterwards.
func scaled[T float32 | float64](data []T, shape tensor.Shape, channels, block int, scale []float64) *tensor.Tensor {
	out := make([]T, len(data))
	for i, v := range data {
		out[i] = T(float64(v) * scale[i/block%channels])
		if notFinite(float64(out[i])) {
			return nil
		}
	}
	return tensor.Must(tensor.Of(out, shape...))
}

// become has n make what the one node behind it made.
func (w *work) become(n, next *graph.Node) bool {
	out := next.Outputs[0]
	w.drop(next)
	delete(w.made, n.Outputs[0])
	n.Outputs = []string{out}
	w.made[out] = n
	return true
}

// intoProduct puts what is multiplied with the columns of a product into its weights, over a bias between them, which stays behind.
func (w *work) intoProduct(n *graph.Node) bool {
	weights, next := w.consts[n.Input(1)], w.only(n.Outputs[0])
	if weights == nil || !scalable(weights) || next == nil || weights.Rank() != 2 {
		return false
	}
	columns, rank := weights.Shape()[1], w.rank(n.Outputs[0])
	if columns == 0 || rank < 1 {
		return false
	}
	a, ok := w.affineOf(next, n.Outputs[0], columns, 1, rank)
	if !ok {
		return false
	}
	if a.scales {
		if slices.ContainsFunc(a.shift, func(v float64) bool { return v != 0 }) || !w.scaleWeights(n, weights, columns, 1, a) {
			return false
		}
		return w.become(n, next)
	}
	last := w.only(next.Outputs[0]) // next is the bias
	if last == nil || !standard(next, "Add") {
		return false
	}
	more, ok := w.affineOf(last, next.Outputs[0], columns, 1, rank)
	if !ok {
		return false
	}
	for i := range a.shift {
		a.shift[i] = a.shift[i]*more.scale[i] + more.shift[i]
	}
	b, ok := like(weights.DType(), a.shift, columns)
	if !ok || !w.scaleWeights(n, weights, columns, 1, more) {
		return false
	}
	at := slices.Index(next.Inputs, n.Outputs[0])
	w.setInput(next, 1-at, w.constant(next.Inputs[1-at]+"/scaled", b))
	return w.become(next, last)
}
