package gemm

import (
	"fmt"
	"unsafe"
)

// IntegerConv is a plan for convolutions of bytes of one shape, with exact sums. An image is copied into a frame with the
// channels innermost, so that the elements under a row of the window are neighbours; then pixels are rows and filters are
// columns of the tile. Its methods are safe for concurrent use.
type IntegerConv struct {
	kernel        *Kernel
	k             integerKernel
	s             ConvShape
	height, width int // of the output
	fw            int // pixels in a row of the frame
	frame         int // bytes of a frame
	runs, length  int // runs of neighbours under the window, and the elements of each
	per           int // steps of a run
	steps         []int32
	size, blocks  int // of output pixels
	filters, cg   int // of a group
	panels        int // of a group
}

// NewIntegerConv plans a convolution.
func (k *Kernel) NewIntegerConv(shape ConvShape) (*IntegerConv, error) {
	s := shape.withDefaults()
	if err := s.check(); err != nil {
		return nil, err
	}
	c := &IntegerConv{kernel: k, k: k.integers, s: s, filters: s.Filters / s.Groups, cg: s.Channels / s.Groups}
	c.height, c.width = s.Output()
	c.fw = s.Width + s.PadLeft + s.PadRight
	pixel := s.Channels * c.k.size
	c.frame = ((s.Height+s.PadTop+s.PadBottom)*c.fw*pixel + 8 + 63) &^ 63 // a step may read past the end of the last run
	joined := s.DilationWidth == 1 && s.Groups == 1
	c.runs, c.length = s.KernelHeight*s.KernelWidth, c.cg
	if joined {
		c.runs, c.length = s.KernelHeight, c.cg*s.KernelWidth
	}
	c.per = (c.length + c.k.quad - 1) / c.k.quad
	for run := range c.runs {
		y, x := run/s.KernelWidth, run%s.KernelWidth
		if joined {
			y, x = run, 0
		}
		at := (y*s.DilationHeight*c.fw + x*s.DilationWidth) * pixel
		for i := range c.per {
			c.steps = append(c.steps, int32(at+4*i))
		}
	}
	c.size, c.blocks = c.k.block(c.height * c.width)
	vecs := (c.filters + c.k.lanes - 1) / c.k.lanes
	c.panels = (vecs + 1) / 2
	return c, nil
}

// Pack packs filters x channels of a group x height x width weights, for each group.
func (c *IntegerConv) Pack(w []int8) ([]*IntegerWeights, error) {
	taps := c.s.KernelHeight * c.s.KernelWidth
	per := c.cg * taps
	if len(w) != c.s.Filters*per {
		return nil, fmt.Errorf("%w: %d weights for %+v", ErrShape, len(w), c.s)
	}
	groups := make([]*IntegerWeights, c.s.Groups)
	for g := range groups {
		of := w[g*c.filters*per:][:c.filters*per]
		groups[g] = c.k.packIntegers(c.filters, len(c.steps), func(col, step, i int) int8 {
			run, at := step/c.per, step%c.per*c.k.quad+i
			if at >= c.length {
				return 0
			}
			tap := run
			if c.runs != taps {
				tap = run*c.s.KernelWidth + at/c.cg
			}
			return of[(col*c.cg+at%c.cg)*taps+tap]
		})
	}
	return groups, nil
}

// FrameBytes is the memory that a frame needs.
func (c *IntegerConv) FrameBytes() int { return c.frame }

// FrameRows is how many rows of a frame there are to fill.
func (c *IntegerConv) FrameRows() int { return c.s.Height + c.s.PadTop + c.s.PadBottom }

// Fill sets rows lo to hi of a frame to those of an image in NCHW order, each byte with the bits of flip flipped, and pad around it.
func (c *IntegerConv) Fill(frame, image []byte, flip, pad byte, lo, hi int) {
	s, size := &c.s, c.k.size
	line := c.fw * s.Channels * size
	flip, pad = flip^c.k.flip, pad^c.k.flip
	for y := lo; y < hi; y++ {
		row := frame[y*line:][:line]
		iy := y - s.PadTop
		if iy < 0 || iy >= s.Height {
			c.padding(row, pad)
			continue
		}
		left := s.PadLeft * s.Channels * size
		right := left + s.Width*s.Channels*size
		c.padding(row[:left], pad)
		c.padding(row[right:], pad)
		src := image[iy*s.Width:]
		if size == 1 {
			c.k.transposeBytes(row[left:], s.Channels, src, s.Height*s.Width, s.Channels, s.Width, flip)
			continue
		}
		to := unsafe.Slice((*int16)(unsafe.Pointer(&row[left])), s.Width*s.Channels)
		for ch := range s.Channels {
			at := ch
			for _, v := range src[ch*s.Height*s.Width:][:s.Width] {
				to[at] = int16(v ^ flip)
				at += s.Channels
			}
		}
	}
}

func (c *IntegerConv) padding(row []byte, pad byte) {
	if c.k.size == 1 {
		for i := range row {
			row[i] = pad
		}
		return
	}
	for i := 0; i < len(row); i += 2 {
		row[i], row[i+1] = pad, 0
	}
}

// Blocks is in how many parts an image's result is computed.
func (c *IntegerConv) Blocks() int { return c.blocks }

// Bytes computes one block of an image's result: dst is the whole image. There is a requantization for each group.
func (c *IntegerConv) Bytes(dst, frame []byte, groups []*IntegerWeights, to []Requantization, block int) {
	var acc accumulators
	var out [5 * maxTileRows * maxIntegerCols]byte
	plane := c.height * c.width
	lo, hi := share(plane, c.blocks, block)
	t := c.args(&acc)
	for g, w := range groups {
		r := &to[g]
		t.a = unsafe.Pointer(&frame[g*c.cg*c.k.size])
		for panel := range c.panels {
			first := panel * 2 * c.k.lanes
			cols := 0
			for at := lo; at < hi; {
				mr := c.k.tileRows(hi-lo, at-lo)
				cols = c.tile(&t, w, panel, at, mr)
				c.k.requantize(out[(at-lo)*cols:], acc[:mr*cols], r.Add[first:], r.By[first:], r, mr)
				at += mr
			}
			n := min(cols, c.filters-first)
			c.k.transposeBytes(dst[(g*c.filters+first)*plane+lo:], plane, out[:], cols, hi-lo, n, 0)
		}
	}
}

// Sums computes one block of an image's exact sums, modulo 2^32, plus what add has for each filter: dst is the whole image.
func (c *IntegerConv) Sums(dst []int32, frame []byte, groups []*IntegerWeights, add []int32, block int) {
	var acc accumulators
	var out [5 * maxTileRows * maxIntegerCols]int32
	plane := c.height * c.width
	lo, hi := share(plane, c.blocks, block)
	t := c.args(&acc)
	for g, w := range groups {
		t.a = unsafe.Pointer(&frame[g*c.cg*c.k.size])
		for panel := range c.panels {
			first := panel * 2 * c.k.lanes
			n := min(2*c.k.lanes, c.filters-first)
			for at := lo; at < hi; {
				mr := c.k.tileRows(hi-lo, at-lo)
				cols := c.tile(&t, w, panel, at, mr)
				for row := range mr {
					addInto(out[(at-lo+row)*n:][:n], acc[row*cols:], add[g*c.filters+first:])
				}
				at += mr
			}
			c.kernel.transpose(words(dst[(g*c.filters+first)*plane+lo:]), plane, words(out[:]), n, hi-lo, n)
		}
	}
}

// words are int32 as what only moves float32 takes them.
func words(x []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// tileRows shares rows out evenly among tiles, and returns how many the one at a place has.
func (k *integerKernel) tileRows(rows, at int) int {
	left := rows - at
	tiles := (left + k.rows - 1) / k.rows
	return (left + tiles - 1) / tiles
}

// args is what all tiles have alike; the groups begin at t.a.
func (c *IntegerConv) args(acc *accumulators) tileArgs {
	return tileArgs{steps: &c.steps[0], c: unsafe.Pointer(acc)}
}

func (c *IntegerConv) tile(t *tileArgs, w *IntegerWeights, panel, at, mr int) int {
	pixel := c.s.Channels * c.k.size
	right, down := c.s.StrideWidth*pixel, c.s.StrideHeight*c.fw*pixel
	y, x := at/c.width, at%c.width
	offset := y*down + x*right
	for r := range mr {
		t.rows[r] = offset
		offset += right
		if x++; x == c.width {
			x, offset = 0, offset+down-c.width*right
		}
	}
	return c.k.sums(t, w, panel, mr)
}
