package onnxruntime

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// doubts say why a node may come out wrong, by operator; "" where it does not.
var doubts = map[string]func(s *suspect) string{
	"Cast":               doubtCast,
	"CastLike":           doubtCast,
	"Gemm":               doubtGemm,
	"GlobalMaxPool":      doubtMaxPool,
	"GroupNormalization": doubtGroupNorm,
	"MaxPool":            doubtMaxPool,
	"MaxUnpool":          doubtMaxUnpool,
	"Pad":                doubtPad,
	"Pow":                doubtPow,
	"Range":              doubtRange,
	"ReduceMax":          doubtReduce,
	"ReduceMin":          doubtReduce,
	"Resize":             doubtResize,
	"Upsample":           doubtResize,
}

func doubtCast(s *suspect) string {
	to := tensor.DType(s.Attrs.Int("to", 0))
	if s.OpType == "CastLike" {
		to = s.dtype(1)
	}
	if to == tensor.String && s.dtype(0).IsFloat() {
		return "a float becomes text with a digit more than reads back as the same float"
	}
	return ""
}

func doubtGemm(s *suspect) string {
	beta := s.Attrs.Float("beta", 1)
	inner, other := 1, 0
	if s.Attrs.Bool("transA", false) {
		inner = 0
	}
	if s.Attrs.Bool("transB", false) {
		other = 1
	}
	if s.Input(2) == "" || beta == 0 || beta == 1 || s.dim(0, inner) > 0 || s.dim(1, other) > 0 {
		return ""
	}
	return "where the inner dimension is 0, beta is forgotten"
}

func doubtGroupNorm(*suspect) string {
	return "the variance is the difference of two large numbers where the mean is far from zero, down to NaN"
}

func doubtMaxUnpool(s *suspect) string {
	if s.Input(2) == "" {
		return ""
	}
	return "indices are taken for those of the larger output"
}

func doubtPow(s *suspect) string {
	if s.dtype(0) != tensor.Int64 || s.dtype(1).IsFloat() {
		return ""
	}
	if e := s.ints(1); len(e) == 1 && (e[0] == 0 || e[0] == 2 || e[0] == 3) {
		return ""
	}
	return "int64 is computed in float64, which loses digits from 2^53 on"
}

// doubtRange is about bounds from 2^53 on. The positions of a sequence, which count to the size of some tensor, have none.
func doubtRange(s *suspect) string {
	if s.dtype(0) != tensor.Int64 || s.small(s.Input(0), 0) && s.small(s.Input(1), 0) && s.small(s.Input(2), 0) {
		return ""
	}
	return "int64 is counted in float64, which loses numbers from 2^53 on"
}

// small reports whether integers are below 2^53, because of their type, their values or the operator that makes them.
func (s *suspect) small(name string, depth int) bool {
	if t := s.known(name); t != nil {
		switch values := t.Raw().(type) {
		case []int64:
			return !slices.ContainsFunc(values, func(v int64) bool { return v > 1<<53 || v < -1<<53 })
		case []float32:
			return !slices.ContainsFunc(values, func(v float32) bool { return !(v <= 1<<53 && v >= -1<<53) })
		}
	}
	if d := s.value(name).DType; d.IsInteger() && d.Size() < 8 {
		return true
	}
	n := s.maker(name)
	if n == nil || depth > 64 {
		return false
	}
	switch n.Op() {
	case "Shape", "Size", "NonZero", "ArgMax", "ArgMin":
		return true
	case "Cast", "Identity", "Gather", "Slice", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Abs", "Neg", "Div", "Mod",
		"ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum":
		return s.small(n.Input(0), depth+1)
	case "Add", "Sub", "Mul", "Max", "Min", "Concat":
		return !slices.ContainsFunc(n.Inputs, func(in string) bool { return !s.small(in, depth+1) })
	}
	return false
}

func doubtReduce(s *suspect) string {
	if !s.dtype(0).IsFloat() {
		return ""
	}
	return "NaN is passed over"
}

func doubtPad(s *suspect) string {
	mode := s.Attrs.String("mode", "constant")
	if mode != "wrap" && mode != "reflect" {
		return ""
	}
	const wrap = "what wraps around more than once, or after a crop, is zero"
	pads, axes := s.ints(1), s.ints(3)
	if s.opset < 11 {
		pads = s.Attrs.Ints("pads", nil)
	}
	rank := len(s.shape(0))
	var begin, end []int64
	if pads != nil && (s.Input(3) == "" || axes != nil) {
		var err error
		if begin, end, err = infer.Pads(pads, axes, rank); err != nil {
			begin = nil
		}
	}
	if begin == nil {
		if mode == "wrap" {
			return wrap
		}
		return ""
	}
	for i := range begin {
		left := s.dim(0, i)
		if left >= 0 {
			left = max(0, left+min(0, begin[i])+min(0, end[i]))
		}
		switch {
		case mode == "wrap" && begin[i] > 0 && begin[i] > left:
			return wrap
		case mode == "reflect" && left >= 0 && max(begin[i], end[i]) >= left && max(begin[i], end[i]) > 0:
			return "reflections as long as the axis, or longer, are refused when it runs"
		}
	}
	return ""
}

func doubtMaxPool(s *suspect) string {
	d := s.dtype(0)
	switch {
	case s.OpType == "GlobalMaxPool" && d != tensor.Float32 && d != tensor.Float64,
		s.OpType == "MaxPool" && d != tensor.Float32,
		s.OpType == "MaxPool" && len(s.shape(0)) == 4 && !padded(s.Node),
		s.boundedBelow(s.Input(0), 0):
		return ""
	}
	return "a maximum of minus infinity becomes the lowest float"
}

// padded reports whether a pool has padding, or may have.
func padded(n *graph.Node) bool {
	if auto := n.Attrs.String("auto_pad", "NOTSET"); auto != "NOTSET" && auto != "VALID" {
		return true
	}
	for _, p := range n.Attrs.Ints("pads", nil) {
		if p != 0 {
			return true
		}
	}
	return false
}

// boundedBelow reports whether a value cannot be minus infinity, because of the operator that makes it.
func (s *suspect) boundedBelow(name string, depth int) bool {
	n := s.maker(name)
	if n == nil || depth > 64 {
		return false
	}
	switch n.Op() {
	case "Relu", "Sigmoid", "HardSigmoid", "Softmax", "Softplus", "Tanh", "Abs", "Exp", "Sqrt", "Elu", "Selu", "Celu", "HardSwish":
		return true
	case "Clip":
		if at := s.of(n); at.opset < 11 {
			return n.Attrs.Has("min")
		} else if least := at.floats(1); len(least) == 1 {
			return !math.IsInf(float64(least[0]), -1)
		}
		return false
	case "Mul": // x times the sigmoid of x
		for i := range 2 {
			if g := s.maker(n.Input(i)); g != nil && g.Op() == "Sigmoid" && g.Input(0) == n.Input(1-i) {
				return true
			}
		}
		return false
	case "MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool", "Dropout", "Identity", "Reshape", "Flatten", "Transpose", "Squeeze",
		"Unsqueeze", "Slice", "Split":
		return s.boundedBelow(n.Input(0), depth+1)
	case "Concat":
		for _, in := range n.Inputs {
			if !s.boundedBelow(in, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

// doubtResize is about the nearest pixel, which the library finds in float32, and about corners.
func doubtResize(s *suspect) string {
	scales, sizes := s.floats(2), s.ints(3)
	if s.OpType == "Upsample" || s.opset < 11 {
		scales = s.floats(1)
		if s.Attrs.Has("scales") {
			scales = s.Attrs.Floats("scales", nil)
		}
	}
	mode := s.Attrs.String("mode", "nearest")
	corners := s.Attrs.String("coordinate_transformation_mode", "half_pixel") == "align_corners"
	if mode != "nearest" && !(corners && sizes == nil && s.Input(3) == "") {
		return ""
	}
	in := s.shape(0)
	out := s.value(s.Output(0)).Shape
	for i := range max(len(in), len(scales)) {
		if i < len(scales) && len(scales) == max(len(in), len(scales)) && whole(float64(scales[i]), corners, mode == "nearest") {
			continue
		}
		a, b := int64(-1), int64(-1)
		if i < len(in) && i < len(out) {
			a, b = in[i].Size, out[i].Size
			if in[i] == out[i] && (in[i].Known() || in[i].Symbol != "") {
				continue
			}
		}
		if scales == nil && a > 0 && b > 0 && whole(float64(b)/float64(a), corners, mode == "nearest") {
			continue
		}
		if mode != "nearest" {
			return "aligned corners take the output's length for the scale that is given"
		}
		return "the nearest pixel is sought in float32, which misses ties unless the scale is a whole number or a half, a quarter and so on"
	}
	return ""
}

// whole reports whether a scale leaves nothing to mistake: coordinates are exact then, and an output's length is the scale's.
func whole(scale float64, corners, nearest bool) bool {
	frac, _ := math.Frexp(scale)
	switch {
	case scale == 1:
		return true
	case corners && nearest:
		return false
	}
	return scale >= 1 && scale == math.Trunc(scale) || nearest && frac == 0.5
}
