package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// A sampler reads an image of up to three dimensions at any places: between the elements, and outside of them.
type sampler struct {
	mode, padding string
	corners       bool // -1 and 1 are the middles of the outer elements, not their edges
	dims          []int
	strides       []int
}

// gridSample reads each image at the places of a grid, which has them from -1 to 1, the last dimension first.
var gridSample = floats(gridSampleOf[float32], gridSampleOf[float64])

func gridSampleOf[T float](c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, grid := c.in[0].shape, c.in[1].shape
	n := len(x) - 2
	if n < 1 || n > 3 {
		return c.refuse("%d spatial dimensions", n)
	}
	if len(grid) != len(x) || grid[0] != x[0] || grid[n+1] != n || c.in[1].dtype != c.in[0].dtype {
		return c.errf("a grid of %v%v for an input of %v%v", c.in[1].dtype, grid, c.in[0].dtype, x)
	}
	s := sampler{mode: c.attrs.String("mode", "linear"), padding: c.attrs.String("padding_mode", "zeros"), corners: c.attrs.Bool("align_corners", false),
		dims: x[2:], strides: contiguous(x[2:])}
	switch s.mode {
	case "bilinear":
		s.mode = "linear"
	case "bicubic":
		s.mode = "cubic"
	case "linear", "nearest", "cubic":
	default:
		return c.refuse("mode %q", s.mode)
	}
	if s.padding != "zeros" && s.padding != "border" && s.padding != "reflection" {
		return c.refuse("padding_mode %q", s.padding)
	}
	points := grid[1 : n+1].Size()
	shape := append(tensor.Shape{x[0], x[1]}, grid[1:n+1]...)
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	if shape.Size() > 0 && x[2:].Size() == 0 {
		return c.errf("nothing to sample in %v", x)
	}
	in, at, channels, plane := c.in[0].slot, c.in[1].slot, x[1], x[2:].Size()
	part := func(f *frame, lo, hi int) {
		d, src, places := data[T](f, o), data[T](f, in), data[T](f, at)
		var axes [3]taps
		for i := lo; i < hi; i++ {
			batch, point := i/points, i%points
			for k := range n {
				axes[k] = s.taps(k, float64(places[i*n+n-1-k]))
			}
			for ch := range channels {
				d[(batch*channels+ch)*points+point] = T(sampleAt(&s, axes[:n], src[(batch*channels+ch)*plane:]))
			}
		}
	}
	cost := max(1, channels*8)
	c.do(func(f *frame) { f.parallel(x[0]*points, max(1, grain/8/cost), part) })
	return nil
}

// taps are the elements along a dimension that a place lies between, with their weights; an index of -1 stands for zero.
type taps struct {
	index  [4]int
	weight [4]float64
	n      int
}

// sampleAt adds up the products of all dimensions' taps.
func sampleAt[T float](s *sampler, axes []taps, src []T) float64 {
	if len(axes) == 0 {
		return float64(src[0])
	}
	sum := 0.0
	t := &axes[0]
	stride := s.strides[len(s.strides)-len(axes)]
	for k := range t.n {
		if t.index[k] >= 0 && t.weight[k] != 0 {
			sum += t.weight[k] * sampleAt(s, axes[1:], src[t.index[k]*stride:])
		}
	}
	return sum
}

// taps finds the taps of a place from -1 to 1 along a dimension.
func (s *sampler) taps(axis int, v float64) (t taps) {
	n := float64(s.dims[axis])
	x, low, high := ((v+1)*n-1)/2, -0.5, n-0.5
	if s.corners {
		x, low, high = (v+1)/2*(n-1), 0, n-1
	}
	const far = 1 << 30 // where numbers still are whole
	if x != x {
		x = -far
	}
	x = min(max(x, -far), far)
	if s.mode == "nearest" {
		x = math.RoundToEven(x)
	}
	if s.mode != "cubic" && (x < low || x > high) { // cubic taps are brought into the image one by one
		switch s.padding {
		case "border":
			x = min(max(x, 0), n-1)
		case "reflection":
			x = reflected(x, low, high)
		}
	}
	base := math.Floor(x)
	part := x - base
	switch s.mode {
	case "nearest":
		t.n, t.weight[0] = 1, 1
		base = math.RoundToEven(x)
	case "linear":
		t.n, t.weight[0], t.weight[1] = 2, 1-part, part
	default:
		t.n = 4
		for k, distance := range [4]float64{part + 1, part, 1 - part, 2 - part} {
			t.weight[k] = cubicWeight(distance, -0.75)
		}
		base--
	}
	for k := range t.n {
		t.index[k] = s.inside(axis, int(base)+k, low, high)
	}
	return t
}

// inside brings an index into the dimension as the padding says.
func (s *sampler) inside(axis, i int, low, high float64) int {
	n := s.dims[axis]
	if i >= 0 && i < n {
		return i
	}
	switch s.padding {
	case "border":
		return min(max(i, 0), n-1)
	case "reflection":
		return min(max(int(reflected(float64(i), low, high)), 0), n-1)
	}
	return -1
}

// reflected mirrors x at both borders until it lies between them.
func reflected(x, low, high float64) float64 {
	span := high - low
	if span <= 0 {
		return low
	}
	from := x - low
	if x < low {
		from = low - x
	}
	turns := math.Floor(from / span)
	rest := from - turns*span
	if math.Mod(turns, 2) == 0 {
		return low + rest
	}
	return high - rest
}
