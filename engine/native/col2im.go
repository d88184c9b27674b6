package native

import (
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// col2Im adds blocks up to the images that they were cut from.
var col2Im = viaFloat32(func(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	x := &c.in[0]
	image, err := c.ints(1)
	if err != nil {
		return err
	}
	block, err := c.ints(2)
	if err != nil {
		return err
	}
	n := len(image)
	if n == 0 || n > maxRank || len(block) != n || len(x.shape) != 3 {
		return c.errf("columns %v for images %v of blocks %v", x.shape, image, block)
	}
	w, err := infer.ReadWindow(c.attrs, toInt64s(block))
	if err != nil {
		return c.errf("%w", err)
	}
	a := colArgs{in: x.slot, image: image, block: block, places: zeros(n), count: 1, each: 1}
	for i, d := range image {
		if d < 1 || block[i] > maxWindow {
			return c.errf("images %v of blocks %v", image, block)
		}
		places, begin, _, err := w.Slide(i, int64(d), false)
		if err != nil {
			return c.errf("images %v: %w", image, err)
		}
		a.places[i] = int(places)
		a.begin, a.stride, a.dilation = append(a.begin, int(begin)), append(a.stride, int(w.Strides[i])), append(a.dilation, int(w.Dilations[i]))
		if a.count, err = infer.Product(a.count, a.places[i]); err != nil {
			return c.errf("%w", err)
		}
		if a.each, err = infer.Product(a.each, block[i]); err != nil {
			return c.errf("%w", err)
		}
	}
	if x.shape[1]%a.each != 0 || x.shape[2] != a.count {
		return c.errf("columns %v for images %v: blocks of %d elements at %d places", x.shape, image, a.each, a.count)
	}
	shape := append(tensor.Shape{x.shape[0], x.shape[1] / a.each}, image...)
	if _, err := shape.Check(); err != nil {
		return c.errf("%w", err)
	}
	if a.o, err = c.out(0, x.dtype, shape); err != nil {
		return err
	}
	a.planes, a.size = shape[0]*shape[1], tensor.Shape(image).Size()
	return byReal(c, x.dtype, colsOf[float32], colsOf[float64], colsOf[int8], colsOf[int16], colsOf[int32], colsOf[int64], colsOf[uint8], colsOf[uint16], colsOf[uint32], colsOf[uint64], a)
})

type colArgs struct {
	o, in, planes, size     int
	image, block, places    []int
	begin, stride, dilation []int
	count, each             int // places, and elements of a block
}

func colsOf[T real](c *prep, a colArgs) error {
	part := func(f *frame, lo, hi int) {
		n := len(a.image)
		for p := lo; p < hi; p++ {
			dst, src := data[T](f, a.o)[p*a.size:(p+1)*a.size], data[T](f, a.in)[p*a.each*a.count:]
			clear(dst)
			var in, place [maxRank]int
			for e := range a.each {
				unravel(in[:n], a.block, e)
				for k := range a.count {
					unravel(place[:n], a.places, k)
					to, inside := 0, true
					for i, d := range a.image {
						v := place[i]*a.stride[i] - a.begin[i] + in[i]*a.dilation[i]
						inside = inside && v >= 0 && v < d
						to = to*d + v
					}
					if inside {
						dst[to] += src[e*a.count+k]
					}
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(a.planes, max(1, grain/8/max(1, a.each*a.count)), part) })
	return nil
}

// unravel finds the index along each dimension of element k.
func unravel(index, dims []int, k int) {
	for i := len(dims) - 1; i >= 0; i-- {
		index[i] = k % dims[i]
		k /= dims[i]
	}
}
