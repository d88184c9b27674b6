package gemm

// planGradient makes the gathers of the gradient by the input. An input pixel
// y takes part in the output rows (y+PadTop-ky*DilationHeight)/StrideHeight for
// those ky where that divides. The input rows with the same remainder of
// (y+PadTop)/StrideHeight thus share their rows of the kernel, and their outputs
// are neighbours: one gather for each pair of remainders, without a single
// multiplication by an inserted zero.
func (c *Conv) planGradient() {
	s := &c.shape
	oh, ow := s.Output()
	vertical := phases(s.Height, oh, s.KernelHeight, s.StrideHeight, s.DilationHeight, s.PadTop)
	horizontal := phases(s.Width, ow, s.KernelWidth, s.StrideWidth, s.DilationWidth, s.PadLeft)
	c.src = image{channels: s.Filters, height: oh, width: ow}
	var bottom, right int
	c.src.top, bottom = margins(vertical, oh)
	c.src.left, right = margins(horizontal, ow)
	c.src.padHeight, c.src.padWidth = oh+c.src.top+bottom, ow+c.src.left+right
	for _, v := range vertical {
		for _, h := range horizontal {
			if g := c.planPhase(v, h); len(g.pixels) > 0 {
				c.gathers = append(c.gathers, g)
			}
		}
	}
}

// phase is the inputs and kernel elements that share a remainder, in one
// direction.
type phase struct {
	inputs []int // positions in the input
	first  []int // for each of them, the output position that element offset 0 stands for
	taps   []int // positions in the kernel
	offset []int // for each of them, the output position relative to first
}

func phases(size, out, kernel, stride, dilation, pad int) []phase {
	ps := make([]phase, stride)
	for y := range size {
		p := &ps[(y+pad)%stride]
		p.inputs = append(p.inputs, y)
		p.first = append(p.first, (y+pad)/stride)
	}
	for t := range kernel {
		r := t * dilation % stride
		ps[r].taps = append(ps[r].taps, t)
		ps[r].offset = append(ps[r].offset, -(t * dilation / stride))
	}
	return ps
}

// margins is how far beyond 0..out the phases look.
func margins(ps []phase, out int) (before, after int) {
	for _, p := range ps {
		if len(p.inputs) == 0 || len(p.taps) == 0 {
			continue
		}
		before = max(before, -(p.first[0] + p.offset[len(p.offset)-1]))
		after = max(after, p.first[len(p.first)-1]+p.offset[0]-(out-1))
	}
	return before, after
}

func (c *Conv) planPhase(v, h phase) gather {
	s, m := &c.shape, &c.src
	g := gather{kernel: c.kernel, src: *m, groups: s.Groups, n: s.Channels / s.Groups, plane: s.Height * s.Width,
		tapsY: v.taps, tapsX: h.taps, rows: 1}
	if len(v.taps) == 0 || len(h.taps) == 0 {
		v.offset, h.offset = nil, nil // the gradient is zero here
	}
	// Offsets are at most 0; the most negative one is moved into the pixels.
	lowY, lowX := 0, 0
	if len(v.offset) > 0 {
		lowY, lowX = v.offset[len(v.offset)-1], h.offset[len(h.offset)-1]
		g.rows = 1 - lowY
	}
	for i, y := range v.inputs {
		for j, x := range h.inputs {
			at := 0
			if len(v.offset) > 0 {
				at = 4 * ((v.first[i]+lowY+m.top)*m.padWidth + h.first[j] + lowX + m.left)
			}
			g.pixels = append(g.pixels, int32(at))
			if s.StrideHeight > 1 || s.StrideWidth > 1 {
				g.where = append(g.where, int32(y*s.Width+x))
			}
		}
	}
	for f := range s.Filters / s.Groups {
		for _, dy := range v.offset {
			for _, dx := range h.offset {
				g.steps = append(g.steps, int32(4*((f*m.padHeight+dy-lowY)*m.padWidth+dx-lowX)))
			}
		}
	}
	return g
}

// packGradient packs the weights of one group for one phase: steps are filters
// x taps, columns are input channels.
func (c *Conv) packGradient(g *gather, dst, weights []float32, group int) {
	s, k := &c.shape, c.kernel
	filters, kernel := s.Filters/s.Groups, s.KernelHeight*s.KernelWidth
	depth := len(g.steps)
	if depth == 0 {
		return
	}
	for j := 0; j < g.n; j += k.cols {
		w := min(k.cols, g.n-j)
		width := roundUp(w, k.lanes)
		panel := dst[j*depth : j*depth+width*depth]
		clear(panel)
		for f := range filters {
			from := weights[((group*filters+f)*g.n+j)*kernel:]
			for y, ty := range g.tapsY {
				for x, tx := range g.tapsX {
					row := panel[((f*len(g.tapsY)+y)*len(g.tapsX)+x)*width:][:w]
					tap := ty*s.KernelWidth + tx
					for i := range row {
						row[i] = from[i*kernel+tap]
					}
				}
			}
		}
	}
}
