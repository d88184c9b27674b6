package native_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// sized is one operator with inputs, whose output shape is of interest. A nil input is left out.
type sized struct {
	op    string
	opset int64
	attrs graph.Attrs
	in    list
}

func (s sized) String() string {
	text := fmt.Sprintf("%s-%d%v", s.op, s.opset, s.attrs)
	for _, x := range s.in {
		if x == nil {
			text += " -"
		} else if text += " " + x.Shape().String(); x.Size() < 12 {
			text += fmt.Sprint(x.Raw())
		}
	}
	return text
}

// node returns the node and the inputs that it has.
func (s sized) node() (*graph.Node, list) {
	n := node(s.op, s.attrs, nil, "y0")
	var in list
	for _, x := range s.in {
		name := ""
		if x != nil {
			name = fmt.Sprintf("x%d", len(in))
			in = append(in, x)
		}
		n.Inputs = append(n.Inputs, name)
	}
	return n, in
}

// inferred is the output's shape as package infer finds it from the inputs' values.
func (s sized) inferred() (graph.Shape, error) {
	n, in := s.node()
	g := &graph.Graph{Opset: map[string]int64{"": s.opset}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y0"}}}
	for i, x := range in {
		g.Initializers = append(g.Initializers, graph.Initializer{Name: fmt.Sprintf("x%d", i), Tensor: x})
	}
	err := infer.Shapes(g)
	return g.Outputs[0].Shape, err
}

// computed is the shape of the output that native computes, in little memory.
func (s sized) computed(t *testing.T) (tensor.Shape, error) {
	n, in := s.node()
	g := &graph.Graph{Opset: map[string]int64{"": s.opset}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y0"}}}
	for i, x := range in {
		g.Inputs = append(g.Inputs, value(fmt.Sprintf("x%d", i), x.DType(), x.Shape()...))
	}
	session, err := native.New(native.Config{MaxTensorBytes: 1 << 20}).Open(t.Context(), g, engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer session.Close()
	out := make(list, 1)
	if err := session.Run(t.Context(), in, out); err != nil {
		return nil, err
	}
	return out[0].Shape(), nil
}

// kernelOnly are what a kernel may refuse although there is a shape for it.
var kernelOnly = []string{"to pad with", "memory limit", "too many elements", "does not support", "the most is", "indices", "nothing to reduce", "nothing to choose"}

// TestSizesAgree holds the shape that is inferred against the shape of the result, for made-up attributes and inputs, odd and
// impossible ones among them: both are the same, or both are refused.
func TestSizesAgree(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	ran, refused := map[string]int{}, map[string]int{}
	for range 20000 {
		s := makers[r.IntN(len(makers))](r)
		shape, inferErr := s.inferred()
		shapeOf, err := s.computed(t)
		switch {
		case err != nil && inferErr != nil:
			refused[s.op]++
		case err != nil:
			known := false
			for _, text := range kernelOnly {
				known = known || strings.Contains(err.Error(), text)
			}
			if _, static := shape.Static(); static && !known {
				t.Errorf("%v: inferred %v, refused: %v", s, shape, err)
			}
		case inferErr != nil:
			t.Errorf("%v: result %v, not inferred: %v", s, shapeOf, inferErr)
		default:
			ran[s.op]++
			if shape.String() != shapeOf.String() {
				t.Errorf("%v: inferred %v, result %v", s, shape, shapeOf)
			}
		}
		if t.Failed() {
			t.Fatal("the first that differs")
		}
	}
	t.Logf("ran %v\nrefused %v", ran, refused)
	for _, op := range []string{"Slice", "Pad", "MaxPool", "AveragePool", "Conv", "ConvTranspose", "Resize", "Range", "Reshape", "Tile", "Expand", "Split"} {
		if ran[op] < 40 || refused[op] < 5 {
			t.Errorf("%s ran %d times and was refused %d times", op, ran[op], refused[op])
		}
	}
}

var odd = []int64{math.MinInt64, math.MinInt64 + 1, -1 << 62, math.MinInt32, math.MaxInt32, 1 << 62, math.MaxInt64 - 1, math.MaxInt64}

// some is a small number, or rarely a large one.
func some(r *rand.Rand, low, high int64) int64 {
	if r.IntN(12) == 0 {
		return odd[r.IntN(len(odd))]
	}
	return low + r.Int64N(high-low+1)
}

func somes(r *rand.Rand, n int, low, high int64) []int64 {
	v := make([]int64, n)
	for i := range v {
		v[i] = some(r, low, high)
	}
	return v
}

func dims(r *rand.Rand, rank, low, high int) []int {
	d := make([]int, rank)
	for i := range d {
		d[i] = low + r.IntN(high-low+1)
	}
	return d
}

// axesOf picks axes of a rank, counted from either end, rarely wrong ones.
func axesOf(r *rand.Rand, rank int) []int64 {
	var axes []int64
	for _, a := range r.Perm(rank)[:1+r.IntN(rank)] {
		if r.IntN(2) == 0 {
			a -= rank
		}
		axes = append(axes, int64(a))
	}
	if r.IntN(20) == 0 {
		axes[0] = some(r, -3, 4)
	}
	return axes
}

func ints(v ...int64) *tensor.Tensor { return tensor.Vector(v...) }

var makers = []func(r *rand.Rand) sized{
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(3), 0, 5)...)
		axes := axesOf(r, len(x.Shape()))
		n := len(axes)
		s := sized{op: "Slice", opset: 13, in: list{x, ints(somes(r, n, -7, 7)...), ints(somes(r, n, -7, 7)...), ints(axes...), nil}}
		if r.IntN(3) > 0 {
			s.in[4] = ints(somes(r, n, -3, 3)...)
		}
		return s
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(3), 0, 4)...)
		axes := axesOf(r, len(x.Shape()))
		s := sized{op: "Pad", opset: 19, attrs: graph.Attrs{"mode": []string{"constant", "reflect", "edge", "wrap"}[r.IntN(4)]}}
		s.in = list{x, ints(somes(r, 2*len(axes), -3, 5)...), nil, ints(axes...)}
		return s
	},
	func(r *rand.Rand) sized { return pool(r, "MaxPool") },
	func(r *rand.Rand) sized { return pool(r, "AveragePool") },
	func(r *rand.Rand) sized {
		s, kernel := window(r)
		s.op = "Conv"
		s.in = append(s.in, ramp(append([]int{2, 1}, kernel...)...))
		return s
	},
	func(r *rand.Rand) sized {
		s, kernel := window(r)
		s.op = "ConvTranspose"
		s.in = append(s.in, ramp(append([]int{1, 2}, kernel...)...))
		if r.IntN(3) == 0 {
			s.attrs["output_padding"] = somes(r, len(kernel), 0, 2)
		}
		if r.IntN(4) == 0 {
			s.attrs["output_shape"] = somes(r, len(kernel), 1, 12)
		}
		return s
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(3), 0, 9)...)
		scales := make([]float32, len(x.Shape()))
		for i := range scales {
			scales[i] = float32(1+r.IntN(30)) / float32(1+r.IntN(30))
			if r.IntN(20) == 0 {
				scales[i] = []float32{0, -1, 1e30, nan, inf, 1e-30}[r.IntN(6)]
			}
		}
		s := sized{op: "Resize", opset: 13, attrs: graph.Attrs{"mode": []string{"nearest", "linear"}[r.IntN(2)]}, in: list{x, nil, tensor.Vector(scales...)}}
		if r.IntN(4) == 0 {
			s.attrs["coordinate_transformation_mode"] = "tf_crop_and_resize"
			roi := make([]float32, 2*len(scales))
			for i := range roi {
				roi[i] = float32(r.IntN(3)) / 2
			}
			s.in[1] = tensor.Vector(roi...)
		}
		return s
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(3), 0, 9)...)
		axes := axesOf(r, len(x.Shape()))
		policy := []string{"stretch", "not_larger", "not_smaller", "largest"}[min(r.IntN(7), 3)]
		return sized{op: "Resize", opset: 18, attrs: graph.Attrs{"axes": axes, "keep_aspect_ratio_policy": policy}, in: list{x, nil, nil, ints(somes(r, len(axes), 0, 30)...)}}
	},
	func(r *rand.Rand) sized {
		v := somes(r, 3, -20, 20)
		one := func(v float64, d tensor.DType) *tensor.Tensor {
			if d == tensor.Float32 {
				return tensor.Scalar(float32(v))
			}
			return tensor.Scalar(v)
		}
		s := sized{op: "Range", opset: 13}
		switch r.IntN(4) {
		case 0:
			s.in = list{tensor.Scalar(v[0]), tensor.Scalar(v[1]), tensor.Scalar(v[2])}
		case 1:
			s.in = list{tensor.Scalar(int32(v[0])), tensor.Scalar(int32(v[1])), tensor.Scalar(int32(v[2]))}
		case 2:
			s.in = list{tensor.Scalar(int16(v[0])), tensor.Scalar(int16(v[1])), tensor.Scalar(int16(v[2]))}
		default:
			d := []tensor.DType{tensor.Float32, tensor.Float64}[r.IntN(2)]
			for range 3 {
				f := math.Round(r.NormFloat64()*20) / 10
				if r.IntN(30) == 0 {
					f = []float64{math.Inf(1), math.Inf(-1), math.NaN(), 1e300}[r.IntN(4)]
				}
				s.in = append(s.in, one(f, d))
			}
		}
		return s
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, r.IntN(4), 0, 4)...)
		target := somes(r, r.IntN(4), -1, 6)
		if r.IntN(2) == 0 { // one that fits, with a wild card
			target = nil
			for _, d := range x.Shape() {
				target = append(target, int64(d))
			}
			if len(target) > 0 {
				target[r.IntN(len(target))] = -1
			}
		}
		return sized{op: "Reshape", opset: 14, attrs: graph.Attrs{"allowzero": int64(r.IntN(2))}, in: list{x, ints(target...)}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, r.IntN(4), 0, 4)...)
		return sized{op: "Tile", opset: 13, in: list{x, ints(somes(r, len(x.Shape()), 0, 3)...)}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, r.IntN(3), 0, 3)...)
		return sized{op: "Expand", opset: 13, in: list{x, ints(somes(r, r.IntN(4), 0, 3)...)}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(2), 0, 6)...)
		s := sized{op: "Split", opset: 13 + 5*int64(r.IntN(2)), attrs: graph.Attrs{"axis": int64(r.IntN(len(x.Shape())))}, in: list{x}}
		if r.IntN(3) == 0 {
			s.in = append(s.in, ints(some(r, 0, 6)))
		}
		return s
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 2, 0, 4)...)
		return sized{op: "TopK", opset: 11, attrs: graph.Attrs{"axis": int64(r.IntN(2))}, in: list{x, ints(some(r, 0, 4))}}
	},
	func(r *rand.Rand) sized {
		return sized{op: "OneHot", opset: 11, in: list{ints(1, 2), ints(some(r, 0, 4)), tensor.Vector[float32](0, 1)}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 4, 0, 4)...)
		return sized{op: []string{"DepthToSpace", "SpaceToDepth"}[r.IntN(2)], opset: 13, attrs: graph.Attrs{"blocksize": some(r, 1, 3)}, in: list{x}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, r.IntN(4), 0, 3)...)
		return sized{op: "Flatten", opset: 13, attrs: graph.Attrs{"axis": some(r, -3, 3)}, in: list{x}}
	},
	func(r *rand.Rand) sized {
		x := ramp(dims(r, 1+r.IntN(3), 1, 2)...)
		return sized{op: []string{"Squeeze", "Unsqueeze", "ReduceSum"}[r.IntN(3)], opset: 13, in: list{x, ints(axesOf(r, len(x.Shape()))...)}}
	},
	func(r *rand.Rand) sized {
		x, y := dims(r, 2, 0, 3), dims(r, 2, 0, 3)
		return sized{op: []string{"Concat", "Add", "MatMul"}[r.IntN(3)], opset: 13, attrs: nil, in: list{ramp(x...), ramp(y...)}}.withAxis(r)
	},
}

// withAxis gives the operators that need one an axis.
func (s sized) withAxis(r *rand.Rand) sized {
	if s.op == "Concat" {
		s.attrs = graph.Attrs{"axis": some(r, -2, 1)}
	}
	return s
}

// window makes the attributes of a convolution or a pool, and its input.
func window(r *rand.Rand) (sized, []int) {
	spatial := 1 + r.IntN(3)
	kernel := dims(r, spatial, 1, 3)
	s := sized{opset: 22, attrs: graph.Attrs{"strides": somes(r, spatial, 1, 3), "dilations": somes(r, spatial, 1, 2)}, in: list{ramp(append([]int{1, 1}, dims(r, spatial, 0, 7)...)...)}}
	if r.IntN(3) == 0 {
		s.attrs["auto_pad"] = []string{"SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"}[r.IntN(4)]
	} else {
		s.attrs["pads"] = somes(r, 2*spatial, 0, 3)
	}
	return s, kernel
}

func pool(r *rand.Rand, op string) sized {
	s, kernel := window(r)
	s.op = op
	shape := make([]int64, len(kernel))
	for i, k := range kernel {
		shape[i] = int64(k)
	}
	s.attrs["kernel_shape"], s.attrs["ceil_mode"] = shape, int64(r.IntN(2))
	return s
}
