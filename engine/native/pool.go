package native

import (
	"math"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// maxPool is the kernel of MaxPool, with the places of the maxima as a second output.
func maxPool(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		x := c.in[0].shape
		w, err := c.windowOf(x, toInts(c.attrs.Ints("kernel_shape", nil)), c.attrs.Bool("ceil_mode", false))
		if err != nil {
			return err
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return maxPoolOf[float32](c, w, float32(math.Inf(-1)))
		case tensor.Float64:
			return maxPoolOf[float64](c, w, math.Inf(-1))
		case tensor.Int8:
			return maxPoolOf[int8](c, w, math.MinInt8)
		case tensor.Uint8:
			return maxPoolOf[uint8](c, w, 0)
		default:
			return c.refuseType(d)
		}
	})(c)
}

func maxPoolOf[T real](c *prep, w *window, lowest T) error {
	x := c.in[0].shape
	shape := w.outShape(x[0], x[1])
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	index := -1
	if c.wants(1) {
		if index, err = c.out(1, tensor.Int64, shape); err != nil {
			return err
		}
	}
	columns := c.attrs.Int("storage_order", 0) == 1
	s, k := c.in[0].slot, c.pl.e.kernel
	// Two dimensions with padding, and no window that lies in the padding alone.
	rows := isFloat32[T]() && index < 0 && w.in[0] == 1 && w.kernel[0] == 1 && w.lo[0] == 0 && w.out[0] == 1 && w.touches()
	// The same for pools that give indices.
	flat := index >= 0 && !columns && w.in[0] == 1 && w.kernel[0] == 1 && w.lo[0] == 0 && w.out[0] == 1 && w.touches()
	if isFloat32[T]() && !columns && w.inside() {
		return maxWindows(c, w, o, index)
	}
	if isByte(tensor.DTypeOf[T]()) && index < 0 && w.in[0] == 1 && w.kernel[0] == 1 && w.lo[0] == 0 && w.out[0] == 1 && w.touches() {
		return maxBytes(c, w, o)
	}
	row := -1
	if rows {
		if row, err = c.scratch(tensor.Float32, x[0]*x[1]*w.in[2]); err != nil {
			return err
		}
	}
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for plane := lo; plane < hi; plane++ {
			in, out := src[plane*w.inSize():(plane+1)*w.inSize()], dst[plane*w.outSize():(plane+1)*w.outSize()]
			if index < 0 {
				if fin, ok := any(in).([]float32); ok && rows {
					maxRows(k, w, any(out).([]float32), fin, data[float32](f, row)[plane*w.in[2]:(plane+1)*w.in[2]])
				} else {
					maxPlane(w, out, in, lowest)
				}
				continue
			}
			if flat {
				maxFlatIndex(w, out, data[int64](f, index)[plane*w.outSize():], in, plane*w.inSize())
				continue
			}
			maxPlaneIndex(w, out, data[int64](f, index)[plane*w.outSize():], in, lowest, plane*w.inSize(), columns)
		}
	}
	c.do(func(f *frame) { f.parallel(x[0]*x[1], max(1, grain/max(1, w.outSize()*w.kernelSize())), part) })
	return nil
}

// maxBytes is a maximum pool of bytes, a plane at a time by way of float32, which holds them exactly.
func maxBytes(c *prep, w *window, o int) error {
	x, k := c.in[0].shape, c.pl.e.kernel
	planes, in, out, row := x[0]*x[1], w.inSize(), w.outSize(), w.in[2]
	scratch, err := c.scratch(tensor.Float32, planes*(in+out+row))
	if err != nil {
		return err
	}
	s, d := c.in[0].slot, c.in[0].dtype
	low, high := byteLimits(d, 0)
	part := func(f *frame, lo, hi int) {
		src, dst := f.t[s].Bytes(), f.t[o].Bytes()
		wide := data[float32](f, scratch)[lo*(in+out+row):][:in+out+row] // one for all planes of this part
		for plane := lo; plane < hi; plane++ {
			k.Dequantize(wide[:in], src[plane*in:][:in], 0, 1, d == tensor.Int8)
			maxRows(k, w, wide[in:in+out], wide[:in], wide[in+out:])
			k.Quantize(dst[plane*out:][:out], wide[in:in+out], 1, low, high, 0)
		}
	}
	c.do(func(f *frame) { f.parallel(planes, max(1, grain/max(1, out*w.kernelSize())), part) })
	return nil
}

// inside reports whether this is a window over two dimensions, or one, that never leaves the input.
func (w *window) inside() bool {
	for d := range 3 {
		if w.lo[d] != 0 || w.out[d] == 0 || (w.out[d]-1)*w.stride[d]+(w.kernel[d]-1)*w.dilation[d] >= w.in[d] {
			return false
		}
	}
	return w.in[0] == 1 && w.inSize() < math.MaxInt32
}

// maxWindows lets package gemm take the maxima, and their places where index is not negative.
func maxWindows(c *prep, w *window, o, index int) error {
	s, k := c.in[0].slot, c.pl.e.kernel
	plan := &gemm.Windows{Rows: w.out[1], Cols: w.out[2], RowStep: w.stride[1] * w.in[2], Stride: w.stride[2]}
	for ky := range w.kernel[1] {
		for kx := range w.kernel[2] {
			plan.Steps = append(plan.Steps, int32(ky*w.dilation[1]*w.in[2]+kx*w.dilation[2]))
		}
	}
	in, out := w.inSize(), w.outSize()
	part := func(f *frame, lo, hi int) {
		src, dst := data[float32](f, s), data[float32](f, o)
		for p := lo; p < hi; p++ {
			var places []int64
			if index >= 0 {
				places = data[int64](f, index)[p*out : (p+1)*out]
			}
			if err := k.MaxWindows(dst[p*out:(p+1)*out], places, src[p*in:(p+1)*in], plan, int64(p*in)); err != nil {
				panic(err) // the plan fits the plane
			}
		}
	}
	planes := c.in[0].shape[0] * c.in[0].shape[1]
	c.do(func(f *frame) { f.parallel(planes, max(1, grain/max(1, out)), part) })
	return nil
}

// touches reports whether every window has an element of the input.
func (w *window) touches() bool {
	for d := range 3 {
		for o := range w.out[d] {
			if _, k0, k1 := w.span(d, o); k0 >= k1 {
				return false
			}
		}
	}
	return true
}

// maxRows takes the maximum of the window's rows first, a whole row at a time, then that of neighbours. row is scratch
// memory for one row of the input.
func maxRows(k *gemm.Kernel, w *window, dst, src, row []float32) {
	width, kernel, step, dil := w.in[2], w.kernel[2], w.stride[2], w.dilation[2]
	// Outputs whose window lies inside the row.
	first := min(w.out[2], (w.lo[2]+step-1)/step)
	last := 0
	if room := width + w.lo[2] - (kernel-1)*dil - 1; room >= 0 {
		last = min(w.out[2], room/step+1)
	}
	first = min(first, last)
	for oy := range w.out[1] {
		y, y0, y1 := w.span(1, oy)
		at := func(ky int) []float32 {
			r := y + ky*w.dilation[1]
			return src[r*width : (r+1)*width]
		}
		in := at(y0)
		if y1-y0 > 1 {
			k.Max(row, in, at(y0+1))
			for ky := y0 + 2; ky < y1; ky++ {
				k.Max(row, row, at(ky))
			}
			in = row
		}
		out := dst[oy*w.out[2] : (oy+1)*w.out[2]]
		for ox := range first {
			out[ox] = maxAt(w, in, ox)
		}
		for ox := last; ox < w.out[2]; ox++ {
			out[ox] = maxAt(w, in, ox)
		}
		x := first*step - w.lo[2]
		switch {
		case kernel == 2 && dil == 1:
			for ox := first; ox < last; ox++ {
				out[ox] = max(in[x], in[x+1])
				x += step
			}
		case kernel == 3 && dil == 1:
			for ox := first; ox < last; ox++ {
				out[ox] = max(in[x], in[x+1], in[x+2])
				x += step
			}
		default:
			for ox := first; ox < last; ox++ {
				best := in[x]
				for kx := 1; kx < kernel; kx++ {
					best = max(best, in[x+kx*dil])
				}
				out[ox] = best
				x += step
			}
		}
	}
}

// maxAt is the maximum under one window of a row.
func maxAt(w *window, in []float32, ox int) float32 {
	x, x0, x1 := w.span(2, ox)
	best := in[x+x0*w.dilation[2]]
	for kx := x0 + 1; kx < x1; kx++ {
		best = max(best, in[x+kx*w.dilation[2]])
	}
	return best
}

func maxPlane[T real](w *window, dst, src []T, lowest T) {
	at := 0
	for oz := range w.out[0] {
		z, z0, z1 := w.span(0, oz)
		for oy := range w.out[1] {
			y, y0, y1 := w.span(1, oy)
			for ox := range w.out[2] {
				x, x0, x1 := w.span(2, ox)
				best := lowest
				for kz := z0; kz < z1; kz++ {
					for ky := y0; ky < y1; ky++ {
						base := ((z+kz*w.dilation[0])*w.in[1]+y+ky*w.dilation[1])*w.in[2] + x
						for kx := x0; kx < x1; kx++ {
							v := src[base+kx*w.dilation[2]]
							if v > best || v != v && best == best { // the first NaN stays
								best = v
							}
						}
					}
				}
				dst[at] = best
				at++
			}
		}
	}
}

// maxFlatIndex is maxPlaneIndex for two dimensions.
func maxFlatIndex[T real](w *window, dst []T, index []int64, src []T, first int) {
	width := w.in[2]
	for oy := range w.out[1] {
		y, y0, y1 := w.span(1, oy)
		at := oy * w.out[2]
		for ox := 0; ox < w.out[2]; ox, at = ox+1, at+1 {
			x, x0, x1 := w.span(2, ox)
			where := (y+y0*w.dilation[1])*width + x + x0*w.dilation[2]
			best := src[where]
			for ky := y0; ky < y1; ky++ {
				base := (y+ky*w.dilation[1])*width + x
				for kx := x0; kx < x1; kx++ {
					p := base + kx*w.dilation[2]
					if v := src[p]; v > best || v != v && best == best {
						best, where = v, p
					}
				}
			}
			dst[at], index[at] = best, int64(first+where)
		}
	}
}

func maxPlaneIndex[T real](w *window, dst []T, index []int64, src []T, lowest T, first int, columns bool) {
	at := 0
	for oz := range w.out[0] {
		z, z0, z1 := w.span(0, oz)
		for oy := range w.out[1] {
			y, y0, y1 := w.span(1, oy)
			for ox := range w.out[2] {
				x, x0, x1 := w.span(2, ox)
				best, where := lowest, -1
				for kz := z0; kz < z1; kz++ {
					for ky := y0; ky < y1; ky++ {
						base := ((z+kz*w.dilation[0])*w.in[1]+y+ky*w.dilation[1])*w.in[2] + x
						for kx := x0; kx < x1; kx++ {
							p := base + kx*w.dilation[2]
							if v := src[p]; where < 0 || v > best || v != v && best == best {
								best, where = v, p
							}
						}
					}
				}
				where = max(where, 0)
				if columns {
					px := where % w.in[2]
					py := where / w.in[2] % w.in[1]
					pz := where / w.in[2] / w.in[1]
					where = (px*w.in[1]+py)*w.in[0] + pz
				}
				dst[at], index[at] = best, int64(first+where)
				at++
			}
		}
	}
}

// averagePool is the kernel of AveragePool.
var averagePool = viaFloat32(func(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	x := c.in[0].shape
	w, err := c.windowOf(x, toInts(c.attrs.Ints("kernel_shape", nil)), c.attrs.Bool("ceil_mode", false))
	if err != nil {
		return err
	}
	switch d := c.in[0].dtype; d {
	case tensor.Float32:
		return averagePoolOf[float32](c, w)
	case tensor.Float64:
		return averagePoolOf[float64](c, w)
	default:
		return c.refuseType(d)
	}
})

func averagePoolOf[T float](c *prep, w *window) error {
	x := c.in[0].shape
	o, err := c.out(0, c.in[0].dtype, w.outShape(x[0], x[1]))
	if err != nil {
		return err
	}
	padded := c.attrs.Bool("count_include_pad", false)
	s := c.in[0].slot
	part := func(f *frame, lo, hi int) {
		src, dst := data[T](f, s), data[T](f, o)
		for plane := lo; plane < hi; plane++ {
			averagePlane(w, dst[plane*w.outSize():(plane+1)*w.outSize()], src[plane*w.inSize():(plane+1)*w.inSize()], padded)
		}
	}
	c.do(func(f *frame) { f.parallel(x[0]*x[1], max(1, grain/max(1, w.outSize()*w.kernelSize())), part) })
	return nil
}

// reach is how many positions of the kernel lie inside the padded input, for output position o of dimension d.
func (w *window) reach(d, o int) int {
	room := w.in[d] + w.hi[d] - (o*w.stride[d] - w.lo[d])
	return max(0, min(w.kernel[d], (room-1)/w.dilation[d]+1))
}

func averagePlane[T float](w *window, dst, src []T, padded bool) {
	at := 0
	for oz := range w.out[0] {
		z, z0, z1 := w.span(0, oz)
		for oy := range w.out[1] {
			y, y0, y1 := w.span(1, oy)
			for ox := range w.out[2] {
				x, x0, x1 := w.span(2, ox)
				var sum T
				for kz := z0; kz < z1; kz++ {
					for ky := y0; ky < y1; ky++ {
						base := ((z+kz*w.dilation[0])*w.in[1]+y+ky*w.dilation[1])*w.in[2] + x
						for kx := x0; kx < x1; kx++ {
							sum += src[base+kx*w.dilation[2]]
						}
					}
				}
				n := max(0, z1-z0) * max(0, y1-y0) * max(0, x1-x0)
				if padded {
					n = w.reach(0, oz) * w.reach(1, oy) * w.reach(2, ox)
				}
				if n == 0 {
					n = 1
				}
				dst[at] = sum / T(n)
				at++
			}
		}
	}
}

// globalPool reduces all spatial dimensions.
func globalPool(op reduction) func(c *prep) error {
	return viaFloat32(func(c *prep) error {
		if err := c.need(1); err != nil {
			return err
		}
		in := c.in[0].shape
		if len(in) < 2 {
			return c.errf("shape %v has no channels", in)
		}
		shape := tensor.Shape{in[0], in[1]}
		drop := make([]bool, len(in))
		for i := range in[2:] {
			shape = append(shape, 1)
			drop[2+i] = true
		}
		switch d := c.in[0].dtype; d {
		case tensor.Float32:
			return reduceOf[float32](c, op, drop, shape)
		case tensor.Float64:
			return reduceOf[float64](c, op, drop, shape)
		default:
			return c.refuseType(d)
		}
	})
}
