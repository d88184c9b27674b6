package media

import "math"

// The form of MNIST's digits, after its makers' description (LeCun, Cortes, Burges: "The MNIST database of handwritten
// digits") and measured on its 60,000 training images: the ink's longer side is 20 of 28 pixels, its centre of mass
// lies within a pixel of the middle, its strokes are 1.4 to 4.2 pixels wide (1st and 99th percentile, median 2.4).
const (
	mnistSide = 28
	mnistBox  = 20
	// Strokes thinner or thicker than MNIST's, relative to the box, are brought to the nearer target: a thin pen on a
	// large canvas would otherwise fade to nothing.
	thinStroke, thinTarget   = 1.6, 2.0
	thickStroke, thickTarget = 4.2, 3.6
	// faintInk is the share of the darkest ink below which a sample is background, such as a JPEG's noise.
	faintInk = 24
	// leastContrast is how far the darkest ink must be from the background; a picture below it is blank.
	leastContrast = 16
	// fine is how much finer than the box strokes are drawn while their width is changed.
	fine = 4
)

// centring brings a picture of one digit into the form of MNIST's. It holds memory for reuse.
type centring struct {
	ink, coarse, grown, glyph bitmap
}

// run returns in itself where it has that form already, bit by bit, and else out: the ink of in, light on dark, scaled
// to the box and placed by its centre of mass on side by side pixels. A blank picture gives zeros.
func (c *centring) run(scale *resampler, in, out *bitmap, side int) *bitmap {
	if in.w == side && in.h == side && centred(in) {
		return in
	}
	out.grow(side, side, 1)
	clear(out.pix)
	if !c.extract(in) {
		return out
	}
	box := max(1, (side*mnistBox+mnistSide/2)/mnistSide)
	ink := &c.ink
	x, y, w, h := ink.bounds()
	unit := float64(box) / float64(max(w, h)) * mnistBox / float64(box) // one source pixel in units of a 20 pixel box
	width := ink.strokeWidth(x, y, w, h) * unit
	target := width
	if width < thinStroke {
		target = thinTarget
	} else if width > thickStroke {
		target = thickTarget
	}
	if target != width {
		ink = c.restroke(scale, x, y, w, h, (target-width)/2*fine)
		x, y, w, h = ink.bounds()
	}
	gw, gh := fit(w, h, box)
	c.glyph.grow(gw, gh, 1)
	scale.run(ink, x, y, w, h, &c.glyph)
	c.glyph.stretch()
	c.glyph.placeByMass(out)
	return out
}

// fit scales w by h so that the longer side is box.
func fit(w, h, box int) (int, int) {
	long := max(w, h)
	return max(1, (w*box+long/2)/long), max(1, (h*box+long/2)/long)
}

// centred reports whether b has the form of MNIST's digits: nothing but the digit on black, 19 or 20 of 28 pixels long
// and its centre of mass in the pixel to the lower right of the middle.
func centred(b *bitmap) bool {
	x, y, w, h := b.bounds()
	long := max(w, h)
	if w == 0 || long*mnistSide > mnistBox*b.w || long*mnistSide < (mnistBox-1)*b.w {
		return false
	}
	cx, cy := b.mass(x, y, w, h)
	middle, slack := float64(b.w)/2, 0.1
	near := func(v float64) bool { return v >= middle-slack && v <= middle+1+slack }
	return near(cx) && near(cy)
}

// extract fills c.ink with in's ink, 0 where there is none and 255 at its strongest. It is false for a blank picture.
func (c *centring) extract(in *bitmap) bool {
	ground, peak := in.border(), 0
	for _, v := range in.pix {
		peak = max(peak, int(v))
	}
	if peak-ground < leastContrast {
		return false
	}
	c.ink.grow(in.w, in.h, 1)
	var table [256]byte
	for v := ground; v <= peak; v++ {
		if ink := (v - ground) * 255 / (peak - ground); ink >= faintInk {
			table[v] = byte(ink)
		}
	}
	for i, v := range in.pix {
		c.ink.pix[i] = table[v]
	}
	return true
}

// bounds is the smallest rectangle that holds every sample above zero; w and h are 0 where there is none.
func (b *bitmap) bounds() (x, y, w, h int) {
	left, right, top, bottom := b.w, -1, b.h, -1
	for row := range b.h {
		line := b.pix[row*b.w:][:b.w]
		first := 0
		for first < len(line) && line[first] == 0 {
			first++
		}
		if first == len(line) {
			continue
		}
		last := len(line) - 1
		for line[last] == 0 {
			last--
		}
		left, right, top, bottom = min(left, first), max(right, last), min(top, row), row
	}
	if right < 0 {
		return 0, 0, 0, 0
	}
	return left, top, right - left + 1, bottom - top + 1
}

// mass is the centre of mass of a part, in pixels from the upper left corner of b.
func (b *bitmap) mass(x, y, w, h int) (cx, cy float64) {
	var sum, sx, sy int
	for row := y; row < y+h; row++ {
		for col, v := range b.pix[row*b.w+x:][:w] {
			sum += int(v)
			sx += int(v) * (2*(x+col) + 1)
			sy += int(v) * (2*row + 1)
		}
	}
	if sum == 0 {
		return float64(b.w) / 2, float64(b.h) / 2
	}
	return float64(sx) / float64(2*sum), float64(sy) / float64(2*sum)
}

// strokeWidth estimates the strokes' mean width in pixels: twice the ink's area over the length of its outline, which
// is the picture's total variation.
func (b *bitmap) strokeWidth(x, y, w, h int) float64 {
	at := func(col, row int) float64 {
		if col < 0 || row < 0 || col >= b.w || row >= b.h {
			return 0
		}
		return float64(b.pix[row*b.w+col])
	}
	var area, outline float64
	for row := y - 1; row < y+h; row++ {
		for col := x - 1; col < x+w; col++ {
			v := at(col, row)
			area += v
			if dx, dy := at(col+1, row)-v, at(col, row+1)-v; dx != 0 || dy != 0 {
				outline += math.Sqrt(dx*dx + dy*dy)
			}
		}
	}
	return 2 * area / outline
}

// restroke draws a part of the ink on a finer box with strokes wider by r on each side, or narrower where r is
// negative.
func (c *centring) restroke(scale *resampler, x, y, w, h int, r float64) *bitmap {
	gw, gh := fit(w, h, mnistBox*fine)
	c.glyph.grow(gw, gh, 1)
	scale.run(&c.ink, x, y, w, h, &c.glyph)
	c.glyph.stretch()
	pad := int(math.Ceil(math.Abs(r))) + 1
	c.coarse.grow(gw+2*pad, gh+2*pad, 1)
	clear(c.coarse.pix)
	for row := range gh {
		copy(c.coarse.pix[(row+pad)*c.coarse.w+pad:], c.glyph.pix[row*gw:][:gw])
	}
	c.grown.grow(c.coarse.w, c.coarse.h, 1)
	spread(&c.coarse, &c.grown, math.Abs(r), r < 0)
	if _, _, w, _ := c.grown.bounds(); w == 0 { // eroded to nothing: a speck or a uniform stain
		return &c.coarse
	}
	return &c.grown
}

// spread takes at each pixel the strongest ink within a disc of radius r, whose rim is soft; or, to thin strokes, the
// strongest background.
func spread(in, out *bitmap, r float64, background bool) {
	type tap struct {
		dx, dy, weight int
	}
	var taps []tap
	reach := int(math.Ceil(r))
	for dy := -reach; dy <= reach; dy++ {
		for dx := -reach; dx <= reach; dx++ {
			if soft := r + 1 - math.Hypot(float64(dx), float64(dy)); soft > 0 {
				taps = append(taps, tap{dx, dy, int(min(soft, 1) * 256)})
			}
		}
	}
	flip := byte(0)
	if background {
		flip = 255
	}
	for y := range in.h {
		for x := range in.w {
			best := 0
			for _, t := range taps {
				if px, py := x+t.dx, y+t.dy; px >= 0 && py >= 0 && px < in.w && py < in.h {
					best = max(best, int(in.pix[py*in.w+px]^flip)*t.weight>>8)
				}
			}
			out.pix[y*out.w+x] = byte(best) ^ flip
		}
	}
}

// stretch scales the samples so that the strongest is 255.
func (b *bitmap) stretch() {
	peak := 0
	for _, v := range b.pix {
		peak = max(peak, int(v))
	}
	if peak == 0 || peak == 255 {
		return
	}
	for i, v := range b.pix {
		b.pix[i] = byte(int(v) * 255 / peak)
	}
}

// placeByMass copies b into out so that its centre of mass falls into the pixel to the lower right of the middle, as
// MNIST's do. What does not fit is cut off.
func (b *bitmap) placeByMass(out *bitmap) {
	cx, cy := b.mass(0, 0, b.w, b.h)
	left := int(math.Floor(float64(out.w)/2 + 1 - cx))
	top := int(math.Floor(float64(out.h)/2 + 1 - cy))
	for row := range b.h {
		y := top + row
		if y < 0 || y >= out.h {
			continue
		}
		for col, v := range b.pix[row*b.w:][:b.w] {
			if x := left + col; x >= 0 && x < out.w {
				out.pix[y*out.w+x] = v
			}
		}
	}
}
