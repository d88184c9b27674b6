package native

import (
	"math"
	"math/cmplx"

	"github.com/millrace/millrace/engine/native/fourier"
	"github.com/millrace/millrace/tensor"
)

// windowFunction makes the kernel of a window of cosines: a0 - a1 cos(x) + a2 cos(2x).
func windowFunction(a0, a1, a2 float64) func(c *prep) error {
	return func(c *prep) error {
		n, err := c.scalarInt(0)
		if err != nil {
			return err
		}
		if n < 0 {
			return c.errf("a window of %d", n)
		}
		turn := float64(n)
		if !c.attrs.Bool("periodic", true) {
			turn--
		}
		return c.fillFloats("output_datatype", tensor.Shape{n}, func(i int) float64 {
			x := 2 * math.Pi * float64(i) / turn
			return a0 - a1*math.Cos(x) + a2*math.Cos(2*x)
		})
	}
}

// fillFloats makes output 0 of numbers of the type that an attribute names.
func (c *prep) fillFloats(attr string, shape tensor.Shape, at func(i int) float64) error {
	dtype := tensor.DType(min(max(c.attrs.Int(attr, int64(tensor.Float32)), 0), 255))
	if !dtype.IsFloat() && !dtype.IsInteger() {
		return c.refuse("output of %v", dtype)
	}
	o, err := c.out(0, dtype, shape)
	if err != nil {
		return err
	}
	wide := o
	if dtype != tensor.Float64 {
		if wide, err = c.scratchOf(tensor.Float64, shape); err != nil {
			return err
		}
	}
	c.do(func(f *frame) {
		d := data[float64](f, wide)
		for i := range d {
			d[i] = at(i)
		}
		if wide != o {
			castInto(f.t[o], f.t[wide])
		}
	})
	return nil
}

// melWeightMatrix has a triangle for each band, which are equally wide on the mel scale.
func melWeightMatrix(c *prep) error {
	if err := c.need(5); err != nil {
		return err
	}
	var n [3]int
	for i := range n {
		v, err := c.scalarInt(i)
		if err != nil {
			return err
		}
		if v < 0 || v > 1<<24 {
			return c.errf("input %d is %d", i, v)
		}
		n[i] = v
	}
	bands, size, rate := n[0], n[1], n[2]
	var edge [2]float64
	for i := range edge {
		t, err := c.known(3 + i)
		if err != nil {
			return err
		}
		v := tensor.Must(tensor.New(tensor.Float64, t.Shape()...))
		if t.Size() != 1 || !castInto(v, t) {
			return c.errf("input %d is %v%v, not a number", 3+i, t.DType(), t.Shape())
		}
		edge[i] = 2595 * math.Log10(1+tensor.Data[float64](v)[0]/700)
	}
	if rate == 0 {
		return c.errf("the sample rate is 0")
	}
	rows := size/2 + 1
	bins := make([]int, bands+2)
	for i := range bins {
		mel := edge[0] + float64(i)*(edge[1]-edge[0])/float64(len(bins))
		hertz := 700 * (math.Pow(10, mel/2595) - 1)
		bin := math.Floor(float64(size+1) * hertz / float64(rate))
		if !(bin >= 0 && bin < float64(max(rows, 1))+1) {
			return c.errf("the edges %v and %v are outside the spectrum of %d rows", edge[0], edge[1], rows)
		}
		bins[i] = int(bin)
	}
	return c.fillFloats("output_datatype", tensor.Shape{rows, bands}, func(i int) float64 {
		row, band := i/max(bands, 1), i%max(bands, 1)
		low, middle, high := bins[band], bins[band+1], bins[band+2]
		switch {
		case row == middle:
			return 1
		case row >= low && row < middle:
			return float64(row-low) / float64(middle-low)
		case row > middle && row < high:
			return float64(high-row) / float64(high-middle)
		}
		return 0
	})
}

// dft transforms along an axis. Complex numbers are a last dimension of two.
var dft = floats(dftOf[float32], dftOf[float64])

func dftOf[T float](c *prep) error {
	x := c.in[0].shape
	if len(x) < 2 || x[len(x)-1] != 1 && x[len(x)-1] != 2 {
		return c.errf("shape %v; its last dimension must be 1 or 2", x)
	}
	at := c.attrs.Int("axis", 1)
	if c.opset >= 20 {
		at = -2
		if c.opt(2).has() {
			v, err := c.scalarInt(2)
			if err != nil {
				return err
			}
			at = int64(v)
		}
	}
	axis, err := c.axis(at, len(x))
	if err != nil {
		return err
	}
	if axis == len(x)-1 {
		return c.errf("axis %d is that of the numbers' parts", axis)
	}
	inverse, onesided := c.attrs.Bool("inverse", false), c.attrs.Bool("onesided", false)
	n := x[axis]
	if inverse && onesided {
		n = 2 * (n - 1)
	}
	if c.opt(1).has() {
		if n, err = c.scalarInt(1); err != nil {
			return err
		}
	}
	if n < 1 || n > maxWindow*64 {
		return c.errf("a transform of %d numbers", n)
	}
	given, kept, parts := min(n, x[axis]), n, 2
	switch {
	case inverse && onesided: // real numbers, of which the spectrum has one side
		given, parts = min(n/2+1, x[axis]), 1
	case onesided:
		kept = n/2 + 1
	}
	shape := x.Clone()
	shape[axis], shape[len(x)-1] = kept, parts
	o, err := c.out(0, c.in[0].dtype, shape)
	if err != nil {
		return err
	}
	s := c.in[0].slot
	t := fourier.New(n, inverse)
	inner := x[axis+1 : len(x)-1].Size()
	width := x[len(x)-1]
	part := func(f *frame, lo, hi int) {
		d, src := data[T](f, o), data[T](f, s)
		line := make([]complex128, n)
		for i := lo; i < hi; i++ {
			clear(line)
			from, to := (i/inner*x[axis]*inner+i%inner)*width, (i/inner*kept*inner+i%inner)*parts
			for k := range given {
				p := from + k*inner*width
				line[k] = complex(float64(src[p]), 0)
				if width == 2 {
					line[k] += complex(0, float64(src[p+1]))
				}
			}
			if parts == 1 {
				otherSide(line)
			}
			t.Run(line)
			for k := range kept {
				v := line[k]
				if inverse {
					v /= complex(float64(n), 0)
				}
				if at := to + k*inner*parts; parts == 1 {
					re, _ := fourier.Parts(v)
					d[at] = T(re)
				} else {
					writeParts(d[at:], v)
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(x[:axis].Size()*inner, max(1, grain/8/n), part) })
	return nil
}

// otherSide completes one side of a spectrum to that of real numbers.
func otherSide(line []complex128) {
	n := len(line)
	for k := 1; k < (n+1)/2; k++ {
		line[n-k] = cmplx.Conj(line[k])
	}
	alone := []int{0} // is its own other side, so its imaginary part does not count
	if n%2 == 0 {
		alone = append(alone, n/2)
	}
	for _, k := range alone {
		re, _ := fourier.Parts(line[k])
		line[k] = complex(re, 0)
	}
}

func writeParts[T float](d []T, v complex128) {
	re, im := fourier.Parts(v)
	d[0], d[1] = T(re), T(im)
}

// stft transforms pieces of a signal, each under a window.
var stft = floats(stftOf[float32], stftOf[float64])

func stftOf[T float](c *prep) error {
	x := c.in[0].shape
	if len(x) == 2 {
		x = append(x.Clone(), 1)
	}
	if len(x) != 3 || x[2] != 1 && x[2] != 2 {
		return c.errf("a signal of shape %v", x)
	}
	step, err := c.scalarInt(1)
	if err != nil {
		return err
	}
	win := c.opt(2)
	n := 0
	if win.has() {
		if n = win.size(); len(win.shape) != 1 || win.dtype != c.in[0].dtype {
			return c.errf("a window of %v%v for a signal of %v", win.dtype, win.shape, c.in[0].dtype)
		}
	}
	if c.opt(3).has() {
		length, err := c.scalarInt(3)
		if err != nil {
			return err
		}
		if win.has() && n != length {
			return c.errf("frame_length is %d, the window has %d", length, n)
		}
		n = length
	}
	if step < 1 || n < 1 || n > x[1] {
		return c.errf("frames of %d every %d of a signal of %d", n, step, x[1])
	}
	kept := n
	if c.attrs.Bool("onesided", true) {
		kept = n/2 + 1
	}
	frames := (x[1]-n)/step + 1
	o, err := c.out(0, c.in[0].dtype, tensor.Shape{x[0], frames, kept, 2})
	if err != nil {
		return err
	}
	s, t, width := c.in[0].slot, fourier.New(n, false), x[2]
	part := func(f *frame, lo, hi int) {
		d, src := data[T](f, o), data[T](f, s)
		var w []T
		if win.has() {
			w = data[T](f, win.slot)
		}
		line := make([]complex128, n)
		for i := lo; i < hi; i++ {
			from := (i/frames*x[1] + i%frames*step) * width
			for k := range line {
				v := complex(float64(src[from+k*width]), 0)
				if width == 2 {
					v += complex(0, float64(src[from+k*width+1]))
				}
				if w != nil {
					v *= complex(float64(w[k]), 0)
				}
				line[k] = v
			}
			t.Run(line)
			for k, v := range line[:kept] {
				writeParts(d[(i*kept+k)*2:], v)
			}
		}
	}
	c.do(func(f *frame) { f.parallel(x[0]*frames, max(1, grain/8/n), part) })
	return nil
}
