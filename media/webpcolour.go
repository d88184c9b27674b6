package media

import "image"

// A lossy WebP has the colours of VP8 (RFC 6386): luma from 16 to 235, and chroma of half the size in both directions. This is libwebp's way
// from there to RGB, rounding included.

// videoColour turns a sample of VP8 into colours.
func videoColour(y, u, v uint8) (r, g, b uint8) {
	high := func(v uint8, by int) int { return int(v) * by >> 8 }
	clip := func(v int) uint8 { return uint8(min(max(v>>6, 0), 255)) }
	luma := high(y, 19077)
	return clip(luma + high(v, 26149) - 14234), clip(luma - high(u, 6419) - high(v, 13320) + 8708), clip(luma + high(u, 33050) - 17685)
}

// videoChroma brings a plane of chroma to the size of the picture.
func videoChroma(m *image.YCbCr, plane []uint8) []uint8 {
	r := m.Bounds()
	w, h := r.Dx(), r.Dy()
	out := make([]uint8, w*h)
	row := func(i int) []uint8 { return plane[min(i, (h-1)/2)*m.CStride:] }
	for y := -1; y < h; y += 2 { // a pair of rows between two of the plane, the first and last beyond the picture
		above, below := row(max(y/2, 0)), row((y+1)/2)
		if y < 0 {
			above = below
		}
		var top, bottom []uint8
		if y >= 0 {
			top = out[y*w:][:w]
		}
		if y+1 < h {
			bottom = out[(y+1)*w:][:w]
		}
		videoPair(top, bottom, above, below, w)
	}
	return out
}

// videoPair interpolates two rows of w between two rows of chroma; top or bottom may be nil.
func videoPair(top, bottom, above, below []uint8, w int) {
	put := func(x int, t, b uint32) {
		if top != nil {
			top[x] = uint8(t)
		}
		if bottom != nil {
			bottom[x] = uint8(b)
		}
	}
	tl, l := uint32(above[0]), uint32(below[0])
	put(0, (3*tl+l+2)>>2, (3*l+tl+2)>>2)
	for x := 1; x <= (w-1)/2; x++ {
		t, c := uint32(above[x]), uint32(below[x])
		avg := tl + t + l + c + 8
		across, along := (avg+2*(t+l))>>3, (avg+2*(tl+c))>>3
		put(2*x-1, (across+tl)>>1, (along+l)>>1)
		put(2*x, (along+t)>>1, (across+c)>>1)
		tl, l = t, c
	}
	if w%2 == 0 {
		put(w-1, (3*tl+l+2)>>2, (3*l+tl+2)>>2)
	}
}

// videoImage is a picture of VP8, with its transparency where it has one, in colours. It is m itself where it is no such picture.
func videoImage(m image.Image) image.Image {
	var y *image.YCbCr
	var alpha *image.NYCbCrA
	switch m := m.(type) {
	case *image.YCbCr:
		y = m
	case *image.NYCbCrA:
		y, alpha = &m.YCbCr, m
	default:
		return m
	}
	if y.SubsampleRatio != image.YCbCrSubsampleRatio420 {
		return m
	}
	u, v := videoChroma(y, y.Cb), videoChroma(y, y.Cr)
	r := y.Bounds()
	out := image.NewNRGBA(r)
	for i := range r.Dx() * r.Dy() {
		at := image.Pt(r.Min.X+i%r.Dx(), r.Min.Y+i/r.Dx())
		p := out.Pix[4*i:][:4]
		p[0], p[1], p[2] = videoColour(y.Y[y.YOffset(at.X, at.Y)], u[i], v[i])
		p[3] = 255
		if alpha != nil {
			p[3] = alpha.A[alpha.AOffset(at.X, at.Y)]
		}
	}
	return out
}
