package tensorflow

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// imageOps scale pictures, whose layout is always NHWC.
var imageOps = map[string]operator{
	"ResizeBilinear": one(resizeBilinear), "ResizeNearestNeighbor": one(resizeNearest), "ResizeBicubic": one(resizeBicubic),
}

var pictures = &window{spatial: 2}

// mode is how places in the result become places in the picture: one of three.
func (c *call) mode() string {
	switch align, half := c.bool("align_corners", false), c.bool("half_pixel_centers", false); {
	case align && half:
		c.damaged("align_corners and half_pixel_centers together")
	case align:
		return "align_corners"
	case half:
		return "half_pixel"
	}
	return "asymmetric"
}

// resize scales x to the height and width in size.
func (c *call) resize(attrs graph.Attrs, x, size *value) *value {
	first := c.toFirst(pictures, x)
	if rank := c.needRank(x); rank != 4 {
		c.damaged("a picture of rank %d", rank)
	}
	sizes := c.concat(c.dim(first, 0), c.dim(first, 1), c.cast(size, tensor.Int64))
	return c.toLast(pictures, c.onnx("Resize", attrs, first, nil, nil, sizes))
}

// resizeBilinear gives float32 for every type.
func resizeBilinear(c *call) *value {
	x := c.cast(c.arg(0), tensor.Float32)
	return c.resize(graph.Attrs{"mode": "linear", "coordinate_transformation_mode": c.mode()}, x, c.arg(1))
}

// resizeBicubic multiplies by the weights that TensorFlow's table has, which are not those of the formula to the last digits.
func resizeBicubic(c *call) *value {
	x, mode := c.cast(c.arg(0), tensor.Float32), c.mode()
	lengths := c.constInts(1, "size")
	if c.needRank(x) != 4 || len(lengths) != 2 || !x.shape[1].Known() || !x.shape[2].Known() {
		c.refuse("the height and width of its picture are not known")
	}
	for i, n := range lengths {
		in := x.shape[i+1].Size
		if n < 1 || n*in > 1<<24 {
			c.refuse("a picture of %v", lengths)
		}
		c.spend(4 * n * in)
		weights := c.constant(c.hint("weights"), tensor.Must(tensor.Of(cubic(in, n, mode), int(n), int(in))))
		x = c.onnx("Einsum", graph.Attrs{"equation": []string{"ph,bhwc->bpwc", "pw,bhwc->bhpc"}[i]}, weights, x)
	}
	return x
}

// cubicSteps is how many places between two pixels TensorFlow's table of weights has.
const cubicSteps = 1024

// cubic returns the weight of each of in pixels, for each of out.
func cubic(in, out int64, mode string) []float32 {
	a := -0.75
	if mode == "half_pixel" {
		a = -0.5
	}
	near := func(x float64) float32 { return float32(((a+2)*x-(a+3))*x*x + 1) }
	far := func(x float64) float32 { return float32(((a*x-5*a)*x+8*a)*x - 4*a) }
	scale := float32(in) / float32(out)
	if mode == "align_corners" && out > 1 {
		scale = float32(in-1) / float32(out-1)
	}
	weights := make([]float32, in*out)
	for i := range out {
		at := float32(i) * scale
		if mode == "half_pixel" {
			at = (float32(i)+0.5)*scale - 0.5
		}
		first := int64(math.Floor(float64(at)))
		step := float64(math.RoundToEven(float64((at-float32(first))*cubicSteps))) / cubicSteps
		taps := [4]float32{far(step + 1), near(step), near(1 - step), far(2 - step)}
		var sum float32
		for k, w := range taps {
			p := first - 1 + int64(k)
			inside := min(max(p, 0), in-1)
			if mode == "half_pixel" && inside != p { // what lies outside has no weight
				continue
			}
			weights[i*in+inside] += w
			sum += w
		}
		if mode == "half_pixel" && math.Abs(float64(sum)) >= 1000*math.SmallestNonzeroFloat32 {
			for p := range in {
				weights[i*in+p] /= sum
			}
		}
	}
	return weights
}

// resizeNearest takes rows and columns by their numbers, which are computed as TensorFlow computes them, in float32.
func resizeNearest(c *call) *value {
	x, size := c.arg(0), c.arg(1)
	mode := c.mode()
	lengths, ok := c.knownInts(size)
	if c.needRank(x) == 4 && ok && len(lengths) == 2 && x.shape[1].Known() && x.shape[2].Known() {
		for i, n := range lengths {
			if n < 1 || n > 1<<20 {
				c.damaged("a picture of %v", lengths)
			}
			c.spend(8 * n)
			if x.shape[i+1].Size != n {
				x = c.onnx("Gather", graph.Attrs{"axis": int64(i + 1)}, x, c.i64(nearest(x.shape[i+1].Size, n, mode)...))
			}
		}
		return x
	}
	attrs := graph.Attrs{"mode": "nearest", "coordinate_transformation_mode": mode, "nearest_mode": "floor"}
	if mode != "asymmetric" {
		attrs["nearest_mode"] = "round_prefer_ceil"
	}
	return c.resize(attrs, x, size)
}

// nearest returns which of in elements each of out elements is.
func nearest(in, out int64, mode string) []int64 {
	scale := float32(in) / float32(out)
	if mode == "align_corners" && out > 1 {
		scale = float32(in-1) / float32(out-1)
	}
	at := make([]int64, out)
	for i := range at {
		var v float64
		switch mode {
		case "align_corners":
			v = math.Round(float64(float32(i) * scale))
		case "half_pixel":
			v = math.Floor(float64((float32(i) + 0.5) * scale))
		default:
			v = math.Floor(float64(float32(i) * scale))
		}
		at[i] = max(min(int64(v), in-1), 0)
	}
	return at
}
