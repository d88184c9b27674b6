package media

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"

	"github.com/millrace/millrace/tensor"
)

// bitmap is a picture of 8-bit samples, c of them a pixel (1: grey, 3: red, green, blue), rows one after another.
type bitmap struct {
	w, h, c int
	pix     []byte
}

// scratch is the memory of one decoding, kept for the next.
type scratch struct {
	png    pngReader
	in     bitmap
	out    bitmap
	turned bitmap
	planar []byte
	deep   deepScratch
	scale  resampler
	centre centring
}

// grow makes room for w*h*c samples, whose content is undefined.
func (b *bitmap) grow(w, h, c int) {
	b.w, b.h, b.c = w, h, c
	b.pix = sized(b.pix, w*h*c)
}

func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}

// keepBytes is the largest picture whose memory is kept for the next decoding.
const keepBytes = 1 << 20

// decodePicture unpacks a picture, makes it fit the item and writes its elements to dst from at.
func (d *Decoder) decodePicture(dst *tensor.Tensor, at int, kind string, data []byte) error {
	if !d.picture || d.lut == nil {
		return fmt.Errorf("%w: no picture is taken: this model takes %s", ErrUnsupportedType, d.takes())
	}
	defer reserve(kind, data, d.geo.c, d.limit)()
	s := d.scratch.Get().(*scratch)
	defer func() {
		if cap(s.in.pix)+cap(s.turned.pix)+2*cap(s.deep.in.pix)+2*cap(s.deep.turned.pix) <= keepBytes {
			d.scratch.Put(s)
		}
	}()
	turn := upright
	if d.spec.Orientation != ignoreExif {
		turn = orientation(kind, data)
	}
	if isDeep(kind, data) && keepsDeep(d.spec.DType) && d.spec.Centre != "mnist" {
		return d.decodeDeep(dst, at, kind, data, &s.deep, turn)
	}
	if err := s.load(kind, data, d.geo.c, d.limit); err != nil {
		return err
	}
	in := s.upright(turn)
	if d.invert == "true" || d.invert == "auto" && in.lightBorder() {
		for i, v := range in.pix {
			in.pix[i] = 255 - v
		}
	}
	if d.spec.Centre == "mnist" {
		in = s.centre.run(&s.scale, in, &s.out, d.geo.w)
	} else if in.w != d.geo.w || in.h != d.geo.h {
		s.out.grow(d.geo.w, d.geo.h, in.c)
		s.scale.run(in, 0, 0, in.w, in.h, &s.out)
		in = &s.out
	}
	pix := in.pix
	if d.geo.planar && in.c > 1 {
		s.planar = sized(s.planar, len(pix))
		plane := in.w * in.h
		for i := range plane {
			for c := range in.c {
				s.planar[c*plane+i] = pix[i*in.c+c]
			}
		}
		pix = s.planar
	}
	mapBytes(dst, at, d.lut, d.geo, pix)
	return nil
}

// upright returns the picture in s.in as it is to be seen.
func (s *scratch) upright(orientation int) *bitmap {
	in := &s.in
	if orientation == upright {
		return in
	}
	w, h := in.w, in.h
	if turned(orientation) {
		w, h = h, w
	}
	s.turned.grow(w, h, in.c)
	turn(s.turned.pix, in.pix, in.w, in.h, in.c, orientation)
	return &s.turned
}

// load fills s.in with c channels of the picture in data, on white where it is transparent.
func (s *scratch) load(kind string, data []byte, c, limit int) error {
	if kind == typePNG {
		if ok, err := s.png.read(data, &s.in, c, limit); ok || err != nil {
			return err
		}
	}
	img, err := decodeImage(kind, data, limit)
	if err != nil {
		return err
	}
	s.in.take(img, c)
	return nil
}

// checkSize refuses pictures without pixels and with too many.
func checkSize(w, h, limit int) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("%w: the picture has %d by %d pixels", ErrMalformed, w, h)
	}
	if w > limit/h {
		return fmt.Errorf("%w: a picture of %d by %d pixels; the limit is %d pixels", ErrTooLarge, w, h, limit)
	}
	return nil
}

// take copies img with c channels, on white.
func (b *bitmap) take(img image.Image, c int) {
	r := img.Bounds()
	b.grow(r.Dx(), r.Dy(), c)
	switch m := img.(type) {
	case *image.Gray:
		if c == 1 {
			b.rows(m.Pix[m.PixOffset(r.Min.X, r.Min.Y):], m.Stride)
			return
		}
	case *image.YCbCr:
		if c == 1 {
			b.rows(m.Y[m.YOffset(r.Min.X, r.Min.Y):], m.YStride)
		} else {
			b.colours(m)
		}
		return
	}
	on, ok := img.(*image.RGBA)
	if !ok || !on.Opaque() {
		on = image.NewRGBA(image.Rect(0, 0, b.w, b.h))
		draw.Draw(on, on.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(on, on.Rect, img, r.Min, draw.Over)
	}
	for y := range b.h {
		b.row(y, on.Pix[y*on.Stride:], 4, false)
	}
}

// colours converts a photograph as JPEG has it.
func (b *bitmap) colours(m *image.YCbCr) {
	r := m.Bounds()
	for y := range b.h {
		dst := b.pix[y*b.w*3:][:b.w*3]
		luma := m.Y[m.YOffset(r.Min.X, r.Min.Y+y):]
		for x := range b.w {
			at := m.COffset(r.Min.X+x, r.Min.Y+y)
			dst[3*x], dst[3*x+1], dst[3*x+2] = color.YCbCrToRGB(luma[x], m.Cb[at], m.Cr[at])
		}
	}
}

// rows copies grey rows.
func (b *bitmap) rows(pix []byte, stride int) {
	for y := range b.h {
		copy(b.pix[y*b.w:][:b.w], pix[y*stride:])
	}
}

// row converts row y from src, whose pixels have n samples: 1 grey, 2 grey and alpha, 3 colours, 4 colours and alpha.
// Alpha is looked at where blend is set, and then not premultiplied.
func (b *bitmap) row(y int, src []byte, n int, blend bool) {
	dst := b.pix[y*b.w*b.c:][:b.w*b.c]
	if n == 1 && b.c == 1 {
		copy(dst, src)
		return
	}
	src = src[:b.w*n]
	for x := range b.w {
		p := src[x*n:][:n]
		red := uint32(p[0])
		green, blue := red, red
		if n >= 3 {
			green, blue = uint32(p[1]), uint32(p[2])
		}
		if blend && n%2 == 0 {
			if a := uint32(p[n-1]); a != 255 {
				white := 255 * (255 - a)
				red, green, blue = (red*a+white+127)/255, (green*a+white+127)/255, (blue*a+white+127)/255
			}
		}
		if b.c == 1 {
			dst[x] = byte((19595*red + 38470*green + 7471*blue + 1<<15) >> 16) // the weights of ITU-R BT.601, as color.Gray
			continue
		}
		q := dst[x*3:][:3]
		q[0], q[1], q[2] = byte(red), byte(green), byte(blue)
	}
}

// lightBorder reports whether the outermost pixels are light in the mean.
func (b *bitmap) lightBorder() bool { return b.border() > 127 }

// border is the mean of the samples of the outermost pixels.
func (b *bitmap) border() int { return border(b.pix, b.w, b.h, b.c) }

func border[T uint8 | uint16](pix []T, w, h, c int) int {
	sum, n := 0, 0
	add := func(p []T) {
		for _, v := range p {
			sum += int(v)
		}
		n += len(p)
	}
	stride := w * c
	add(pix[:stride])
	add(pix[(h-1)*stride:])
	for y := 1; y < h-1; y++ {
		line := pix[y*stride:][:stride]
		add(line[:c])
		add(line[stride-c:])
	}
	return sum / n
}
