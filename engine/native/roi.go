package native

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/tensor"
)

// roiAlign brings regions of images to one size: the mean or the largest of places between the pixels.
var roiAlign = floats(roiAlignOf[float32], roiAlignOf[float64])

type regions struct {
	height, width       int // of the image
	outHeight, outWidth int
	ratio               int
	scale, offset       float64
	largest             bool
}

func roiAlignOf[T float](c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	x, rois, batch := c.in[0].shape, &c.in[1], &c.in[2]
	if len(x) != 4 || len(rois.shape) != 2 || rois.shape[1] != 4 || len(batch.shape) != 1 || batch.shape[0] != rois.shape[0] {
		return c.errf("input %v, regions %v, batch indices %v", x, rois.shape, batch.shape)
	}
	if rois.dtype != c.in[0].dtype || !isIndex(batch.dtype) {
		return c.errf("input of %v, regions of %v, batch indices of %v", c.in[0].dtype, rois.dtype, batch.dtype)
	}
	r := regions{height: x[2], width: x[3], outHeight: int(c.attrs.Int("output_height", 1)), outWidth: int(c.attrs.Int("output_width", 1)),
		ratio: int(c.attrs.Int("sampling_ratio", 0)), scale: float64(c.attrs.Float("spatial_scale", 1))}
	if r.outHeight < 1 || r.outWidth < 1 || r.ratio < 0 || r.ratio > maxWindow || x[2] == 0 || x[3] == 0 {
		return c.errf("output_height %d, output_width %d, sampling_ratio %d for input %v", r.outHeight, r.outWidth, r.ratio, x)
	}
	switch mode := c.attrs.String("mode", "avg"); mode {
	case "avg", "max":
		r.largest = mode == "max"
	default:
		return c.refuse("mode %q", mode)
	}
	coordinates := "output_half_pixel"
	if c.opset >= 16 {
		coordinates = c.attrs.String("coordinate_transformation_mode", "half_pixel")
	}
	switch coordinates {
	case "half_pixel":
		r.offset = 0.5
	case "output_half_pixel":
	default:
		return c.refuse("coordinate_transformation_mode %q", coordinates)
	}
	n, channels := rois.shape[0], x[1]
	o, err := c.out(0, c.in[0].dtype, tensor.Shape{n, channels, r.outHeight, r.outWidth})
	if err != nil {
		return err
	}
	in, at, which := c.in[0].slot, rois.slot, batch.slot
	plane, size := r.height*r.width, r.outHeight*r.outWidth
	c.step(func(f *frame) error {
		d, src, boxes := data[T](f, o), data[T](f, in), data[T](f, at)
		for i := range n {
			b := indexOf(f.t[which], i)
			if b < 0 || b >= x[0] {
				return fmt.Errorf("region %d is of image %d of %d", i, b, x[0])
			}
			y0, x0 := float64(boxes[i*4+1])*r.scale-r.offset, float64(boxes[i*4])*r.scale-r.offset
			h, w := float64(boxes[i*4+3])*r.scale-r.offset-y0, float64(boxes[i*4+2])*r.scale-r.offset-x0
			if r.offset == 0 {
				h, w = max(h, 1), max(w, 1)
			}
			rows, columns := r.samples(h, r.outHeight), r.samples(w, r.outWidth)
			if rows*columns > 1<<20 {
				return fmt.Errorf("region %d of %v by %v takes %d samples for each pixel", i, h, w, rows*columns)
			}
			for ch := range channels {
				if err := f.ctx.Err(); err != nil {
					return err
				}
				img := src[(b*channels+ch)*plane:][:plane]
				out := d[(i*channels+ch)*size:][:size]
				for k := range out {
					py, px := k/r.outWidth, k%r.outWidth
					out[k] = T(alignPixel(&r, img, y0+float64(py)*h/float64(r.outHeight), x0+float64(px)*w/float64(r.outWidth), h/float64(r.outHeight), w/float64(r.outWidth), rows, columns))
				}
			}
		}
		return nil
	})
	return nil
}

// samples returns how many places of a side are read for a pixel.
func (r *regions) samples(side float64, out int) int {
	if r.ratio > 0 {
		return r.ratio
	}
	if side != side {
		return 0
	}
	return int(min(max(math.Ceil(side/float64(out)), 0), 1<<20))
}

// alignPixel reads the part of a region that one pixel of the result has, from y, x on.
func alignPixel[T float](r *regions, img []T, y, x, h, w float64, rows, columns int) float64 {
	sum, top := 0.0, math.Inf(-1)
	for iy := range rows {
		for ix := range columns {
			v, largest := readBetween(r, img, y+(float64(iy)+0.5)*h/float64(rows), x+(float64(ix)+0.5)*w/float64(columns))
			sum, top = sum+v, max(top, largest)
		}
	}
	switch {
	case rows*columns == 0:
		return 0
	case r.largest:
		return top
	}
	return sum / float64(rows*columns)
}

// readBetween is the mean of the four pixels around a place, weighted by how near they are, and the largest of the four products,
// which is what ONNX takes the maximum of.
func readBetween[T float](r *regions, img []T, y, x float64) (sum, largest float64) {
	if !(y >= -1 && y <= float64(r.height) && x >= -1 && x <= float64(r.width)) {
		return 0, 0
	}
	y0, y1, fy := neighbours(y, r.height)
	x0, x1, fx := neighbours(x, r.width)
	a, b := (1-fy)*(1-fx)*float64(img[y0*r.width+x0]), (1-fy)*fx*float64(img[y0*r.width+x1])
	c, d := fy*(1-fx)*float64(img[y1*r.width+x0]), fy*fx*float64(img[y1*r.width+x1])
	return a + b + c + d, max(a, b, c, d)
}

// neighbours returns the pixels before and after a place, and how far it is from the first.
func neighbours(v float64, n int) (lo, hi int, part float64) {
	v = max(v, 0)
	lo = int(v)
	if lo >= n-1 {
		return n - 1, n - 1, 0
	}
	return lo, lo + 1, v - float64(lo)
}

// maxRoiPool divides regions, whose corners are rounded to pixels, into the output's pixels and takes the largest number of each.
var maxRoiPool = floats(maxRoiPoolOf[float32], maxRoiPoolOf[float64])

func maxRoiPoolOf[T float](c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, rois, size := c.in[0].shape, &c.in[1], c.attrs.Ints("pooled_shape", nil)
	if len(x) != 4 || len(rois.shape) != 2 || rois.shape[1] != 5 || rois.dtype != c.in[0].dtype {
		return c.errf("regions %v%v of input %v%v", rois.dtype, rois.shape, c.in[0].dtype, x)
	}
	if len(size) != 2 || min(size[0], size[1]) < 1 || max(size[0], size[1]) > maxWindow {
		return c.errf("pooled_shape %v", size)
	}
	n, channels, high, wide, plane := rois.shape[0], x[1], int(size[0]), int(size[1]), x[2]*x[3]
	o, err := c.out(0, c.in[0].dtype, tensor.Shape{n, channels, high, wide})
	if err != nil {
		return err
	}
	in, at, scale := c.in[0].slot, rois.slot, float64(c.attrs.Float("spatial_scale", 1))
	c.step(func(f *frame) error {
		dst, src, boxes := data[T](f, o), data[T](f, in), data[T](f, at)
		for i := range n {
			var corner [4]int
			for k := range corner {
				v := math.Round(float64(boxes[i*5+1+k]) * scale)
				if !(math.Abs(v) < maxWindow) {
					return fmt.Errorf("region %d is at %v", i, boxes[i*5+1:i*5+5])
				}
				corner[k] = int(v)
			}
			b := float64(boxes[i*5])
			if !(b >= 0 && b < float64(x[0])) {
				return fmt.Errorf("region %d is of image %v of %d", i, b, x[0])
			}
			rows, columns := bins(corner[1], corner[3], high, x[2]), bins(corner[0], corner[2], wide, x[3])
			for ch := range channels {
				img, to := src[(int(b)*channels+ch)*plane:][:plane], dst[(i*channels+ch)*high*wide:]
				for p := range high * wide {
					to[p] = largestIn(img, x[3], rows[p/wide], columns[p%wide])
				}
			}
		}
		return nil
	})
	return nil
}

// bins cuts a side into n parts that may share pixels, within a picture's side.
func bins(from, to, n, side int) [][2]int {
	length := float64(max(to-from+1, 1)) / float64(n)
	out := make([][2]int, n)
	for i := range out {
		lo, hi := int(math.Floor(float64(i)*length))+from, int(math.Ceil(float64(i+1)*length))+from
		out[i] = [2]int{min(max(lo, 0), side), min(max(hi, 0), side)}
	}
	return out
}

// largestIn is 0 where there is no pixel.
func largestIn[T float](img []T, width int, rows, columns [2]int) T {
	if rows[0] >= rows[1] || columns[0] >= columns[1] {
		return 0
	}
	top := img[rows[0]*width+columns[0]]
	for y := rows[0]; y < rows[1]; y++ {
		for _, v := range img[y*width+columns[0] : y*width+columns[1]] {
			top = max(top, v)
		}
	}
	return top
}

// maxUnpool puts the results of MaxPool back to the places that its indices say, and zeros elsewhere.
func maxUnpool(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	x, index := &c.in[0], &c.in[1]
	n := len(x.shape) - 2
	if n < 1 || !index.shape.Equal(x.shape) || index.dtype != tensor.Int64 {
		return c.errf("input %v with indices %v%v", x.shape, index.dtype, index.shape)
	}
	w, read, err := c.readWindow(x.shape, toInts(c.attrs.Ints("kernel_shape", nil)))
	if err != nil {
		return err
	}
	pooled := x.shape[:2].Clone() // what was pooled, which the indices are of
	for i := range n {
		d := 3 - n + i
		pooled = append(pooled, max(0, (x.shape[2+i]-1)*w.stride[d]+w.kernel[d]-int(read.Begin[i])-int(read.End[i])))
	}
	shape := pooled
	if c.opt(2).has() {
		v, err := c.ints(2)
		if err != nil {
			return err
		}
		shape = v
		if len(shape) != len(pooled) {
			return c.errf("output_shape %v for input %v", shape, x.shape)
		}
		for i, d := range pooled {
			if shape[i] < d {
				return c.errf("output_shape %v, what was pooled has %v", shape, pooled)
			}
		}
	}
	if _, err := pooled.Check(); err != nil {
		return c.errf("%w", err)
	}
	o, err := c.out(0, x.dtype, shape)
	if err != nil {
		return err
	}
	return byWord(c, x.dtype, unpoolOf[uint8], unpoolOf[uint16], unpoolOf[uint32], unpoolOf[uint64], unpoolOf[complex128], unpoolOf[string],
		unpoolArgs{o, x.slot, index.slot, pooled, contiguous(pooled), contiguous(shape)})
}

type unpoolArgs struct {
	o, x, index   int
	pooled        tensor.Shape
	from, strides []int // of what was pooled, and of the output
}

func unpoolOf[T word](c *prep, a unpoolArgs) error {
	size := a.pooled.Size()
	c.step(func(f *frame) error {
		d, x := words[T](f, a.o), words[T](f, a.x)
		clear(d)
		for k, i := range data[int64](f, a.index) {
			if i < 0 || i >= int64(size) {
				return fmt.Errorf("index %d is outside %v", i, a.pooled)
			}
			place := 0
			for j, st := range a.from {
				place += int(i) / st % a.pooled[j] * a.strides[j]
			}
			d[place] = x[k]
		}
		return nil
	})
	return nil
}
