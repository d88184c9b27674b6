package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// affineGrid is the grid for GridSample that an affine map makes: the places of the output's elements from -1 to 1, mapped.
var affineGrid = floats(affineGridOf[float32], affineGridOf[float64])

func affineGridOf[T float](c *prep) error {
	theta := &c.in[0]
	size, err := c.ints(1)
	if err != nil {
		return err
	}
	n := len(size) - 2
	if n != 2 && n != 3 || !theta.shape.Equal(tensor.Shape{size[0], n, n + 1}) {
		return c.errf("maps %v for a size of %v", theta.shape, size)
	}
	for _, d := range size {
		if d < 0 {
			return c.errf("a size of %v", size)
		}
	}
	dims := tensor.Shape(size[2:])
	shape := append(append(tensor.Shape{size[0]}, dims...), n)
	if _, err := shape.Check(); err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, theta.dtype, shape)
	if err != nil {
		return err
	}
	corners, s, points := c.attrs.Bool("align_corners", false), theta.slot, dims.Size()
	place := func(i, d int) float64 {
		switch {
		case !corners:
			return (2*float64(i)+1)/float64(d) - 1
		case d == 1:
			return -1
		}
		return 2*float64(i)/float64(d-1) - 1
	}
	part := func(f *frame, lo, hi int) {
		grid, maps := data[T](f, o), data[T](f, s)
		var index [3]int
		for k := lo; k < hi; k++ {
			unravel(index[:n], dims, k%points)
			m := maps[k/points*n*(n+1):]
			for row := range n {
				sum := float64(m[row*(n+1)+n])
				for j := range n {
					sum += float64(m[row*(n+1)+j]) * place(index[n-1-j], dims[n-1-j])
				}
				grid[k*n+row] = T(sum)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(size[0]*points, grain/16, part) })
	return nil
}

// deformConv is a convolution that reads each element of its window at a place of its own, between the elements, and weighs it.
var deformConv = oneType(3, floats(deformConvOf[float32], deformConvOf[float64]))

type deformArgs struct {
	w                                    *window
	o, x, filters, offsets, bias, mask   int
	batch, in, out, groups, offsetGroups int
}

func deformConvOf[T float](c *prep) error {
	x, filters, offsets := c.in[0].shape, c.in[1].shape, c.in[2].shape
	if len(x) < 3 || len(filters) != len(x) || len(offsets) != len(x) {
		return c.errf("input %v, weights %v, offsets %v", x, filters, offsets)
	}
	kernel := toInts(c.attrs.Ints("kernel_shape", nil))
	if len(kernel) == 0 {
		kernel = filters[2:]
	}
	w, err := c.windowOf(x, kernel, false)
	if err != nil {
		return err
	}
	a := deformArgs{w: w, x: c.in[0].slot, filters: c.in[1].slot, offsets: c.in[2].slot, bias: -1, mask: -1, batch: x[0], in: x[1], out: filters[0],
		groups: int(c.attrs.Int("group", 1)), offsetGroups: int(c.attrs.Int("offset_group", 1))}
	if a.groups < 1 || a.groups > max(1, a.in) || a.in != filters[1]*a.groups || a.out%a.groups != 0 || !tensor.Shape(kernel).Equal(filters[2:]) {
		return c.errf("weights %v with kernel_shape %v in %d groups for input %v", filters, kernel, a.groups, x)
	}
	if a.offsetGroups < 1 || a.offsetGroups > max(1, a.in) || a.in%a.offsetGroups != 0 {
		return c.errf("%d channels in %d groups of offsets", a.in, a.offsetGroups)
	}
	each := a.offsetGroups * w.kernelSize()
	if !offsets.Equal(w.outShape(a.batch, each*w.spatial)) {
		return c.errf("offsets %v, not %v", offsets, w.outShape(a.batch, each*w.spatial))
	}
	if in := c.opt(3); in.has() {
		if in.dtype != c.in[0].dtype || !in.shape.Equal(tensor.Shape{a.out}) {
			return c.errf("a bias %v%v for %d filters", in.dtype, in.shape, a.out)
		}
		a.bias = in.slot
	}
	if in := c.opt(4); in.has() {
		if in.dtype != c.in[0].dtype || !in.shape.Equal(w.outShape(a.batch, each)) {
			return c.errf("a mask %v%v, not %v", in.dtype, in.shape, w.outShape(a.batch, each))
		}
		a.mask = in.slot
	}
	if a.o, err = c.out(0, c.in[0].dtype, w.outShape(a.batch, a.out)); err != nil {
		return err
	}
	size := w.outSize()
	part := func(f *frame, lo, hi int) {
		x, offsets, filters, dst := data[T](f, a.x), data[T](f, a.offsets), data[T](f, a.filters), data[T](f, a.o)
		var mask, bias []T
		if a.mask >= 0 {
			mask = data[T](f, a.mask)
		}
		if a.bias >= 0 {
			bias = data[T](f, a.bias)
		}
		column := make([]float64, a.in*w.kernelSize())
		for i := lo; i < hi; i++ {
			deformColumn(&a, column, x, offsets, mask, i/size, i%size)
			n := len(column) / a.groups
			for oc := range a.out {
				sum := 0.0
				if bias != nil {
					sum = float64(bias[oc])
				}
				for k, v := range column[oc/(a.out/a.groups)*n:][:n] {
					sum += v * float64(filters[oc*n+k])
				}
				dst[(i/size*a.out+oc)*size+i%size] = T(sum)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.batch*size, max(1, grain/max(1, a.in*w.kernelSize()*(a.out+8))), part) })
	return nil
}

// deformColumn reads what the window has at one place of the output, channel by channel.
func deformColumn[T float](a *deformArgs, column []float64, x, offsets, mask []T, batch, place int) {
	w := a.w
	size, each, plane := w.outSize(), w.kernelSize(), w.inSize()
	first, n := 3-w.spatial, a.in/a.offsetGroups
	var out [3]int
	unravel(out[:], w.out[:], place)
	for g := range a.offsetGroups {
		for k := range each {
			var in [3]int
			unravel(in[:], w.kernel[:], k)
			at := (batch*a.offsetGroups+g)*each + k
			var v [3]float64
			for d := first; d < 3; d++ {
				v[d] = float64(out[d]*w.stride[d]-w.lo[d]+in[d]*w.dilation[d]) + float64(offsets[(at*w.spatial+d-first)*size+place])
			}
			by := 1.0
			if mask != nil {
				by = float64(mask[at*size+place])
			}
			for ch := g * n; ch < (g+1)*n; ch++ {
				column[ch*each+k] = by * deformSample(w, x[(batch*a.in+ch)*plane:][:plane], v)
			}
		}
	}
}

// deformSample weighs the elements around a place; what is outside is 0.
func deformSample[T float](w *window, plane []T, v [3]float64) float64 {
	var lo [3]int
	var part [3]float64
	for d, p := range v {
		if !(p > -1 && p < float64(w.in[d])) {
			return 0
		}
		lo[d] = int(math.Floor(p))
		part[d] = p - float64(lo[d])
	}
	sum := 0.0
	for corner := range 8 {
		at, weight := 0, 1.0
		for d := range 3 {
			i := lo[d] + corner>>d&1
			if corner>>d&1 == 1 {
				weight *= part[d]
			} else {
				weight *= 1 - part[d]
			}
			if i < 0 || i >= w.in[d] {
				weight = 0
				i = 0
			}
			at = at*w.in[d] + i
		}
		if weight != 0 {
			sum += weight * float64(plane[at])
		}
	}
	return sum
}
