package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"

	"golang.org/x/image/tiff"

	"github.com/millrace/millrace/tensor"
)

// deepPicture is a picture of 16-bit samples, laid out as a bitmap.
type deepPicture struct {
	w, h, c int
	pix     []uint16
}

func (p *deepPicture) grow(w, h, c int) {
	p.w, p.h, p.c = w, h, c
	p.pix = sized(p.pix, w*h*c)
}

// deepScratch is the memory of one decoding of 16-bit samples.
type deepScratch struct{ in, turned, out deepPicture }

// isDeep reports whether a PNG's or TIFF's header says 16 bits a sample. The other formats have none.
func isDeep(kind string, data []byte) bool {
	const bitDepth = len(pngMagic) + 8 + 8
	if kind != typeTIFF {
		return kind == typePNG && len(data) > bitDepth && data[bitDepth] == 16
	}
	head, err := tiff.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return false // which decoding says
	}
	switch head.ColorModel {
	case color.Gray16Model, color.RGBA64Model, color.NRGBA64Model:
		return true
	}
	return false
}

// keepsDeep reports whether elements of type t can hold what 16 bits have more than 8. For the others, and for centring, samples
// lose their lower 8 bits first.
func keepsDeep(t tensor.DType) bool {
	return !t.IsInteger() && t != tensor.Bool && t != tensor.String || t.IsInteger() && t.Size() > 1
}

// decodeDeep is decodePicture for 16-bit samples. An integer element is the sample as the file has it; a floating-point one is on the scale
// of 8 bits, from 0 to 255 with fractions, so that a model's scale and mean mean the same for every file.
func (d *Decoder) decodeDeep(dst *tensor.Tensor, at int, kind string, data []byte, s *deepScratch, orientation int) error {
	img, err := decodeImage(kind, data, d.limit)
	if err != nil {
		return err
	}
	in := &s.in
	if err := in.take(img, d.geo.c); err != nil {
		return err
	}
	if orientation != upright {
		w, h := in.w, in.h
		if turned(orientation) {
			w, h = h, w
		}
		s.turned.grow(w, h, in.c)
		turn(s.turned.pix, in.pix, in.w, in.h, in.c, orientation)
		in = &s.turned
	}
	if d.invert == "true" || d.invert == "auto" && border(in.pix, in.w, in.h, in.c) > 0x7fff {
		for i, v := range in.pix {
			in.pix[i] = 0xffff - v
		}
	}
	if in.w != d.geo.w || in.h != d.geo.h {
		s.out.grow(d.geo.w, d.geo.h, in.c)
		var scale resampler
		resample(&scale, in.pix, in.w, in.h, in.c, [4]int{0, 0, in.w, in.h}, s.out.pix, s.out.w, s.out.h)
		in = &s.out
	}
	return d.placeDeep(dst, at, in)
}

// placeDeep writes samples as elements.
func (d *Decoder) placeDeep(dst *tensor.Tensor, at int, p *deepPicture) error {
	unit := 1.0
	if !d.spec.DType.IsInteger() {
		unit = 255.0 / 0xffff
	}
	plane := p.w * p.h
	for i, v := range p.pix {
		pixel, channel := i/p.c, i%p.c
		to := at + i
		if d.geo.planar {
			to = at + channel*plane + pixel
		}
		if err := setFloat(dst, to, d.spec.element(float64(v)*unit, channel, d.spec.scale(true))); err != nil {
			return err
		}
	}
	return nil
}

// take copies img, which image/png read from 16-bit samples, with c channels, on white.
func (p *deepPicture) take(img image.Image, c int) error {
	r := img.Bounds()
	p.grow(r.Dx(), r.Dy(), c)
	var pix []byte
	var stride, samples int
	switch m := img.(type) {
	case *image.Gray16:
		pix, stride, samples = m.Pix, m.Stride, 1
	case *image.RGBA64: // opaque
		pix, stride, samples = m.Pix, m.Stride, 4
	case *image.NRGBA64:
		pix, stride, samples = m.Pix, m.Stride, 4
	default:
		return fmt.Errorf("%w: %s: its samples do not have 16 bits", ErrMalformed, typePNG)
	}
	for y := range p.h {
		row := pix[y*stride:]
		for x := range p.w {
			q := row[x*samples*2:]
			red := uint64(binary.BigEndian.Uint16(q))
			green, blue := red, red
			if samples == 4 {
				green, blue = uint64(binary.BigEndian.Uint16(q[2:])), uint64(binary.BigEndian.Uint16(q[4:]))
				if a := uint64(binary.BigEndian.Uint16(q[6:])); a != 0xffff {
					white := 0xffff*(0xffff-a) + 0x7fff
					red, green, blue = (red*a+white)/0xffff, (green*a+white)/0xffff, (blue*a+white)/0xffff
				}
			}
			if c == 1 {
				p.pix[y*p.w+x] = uint16((19595*red + 38470*green + 7471*blue + 1<<15) >> 16) // as bitmap.row
				continue
			}
			copy(p.pix[(y*p.w+x)*3:], []uint16{uint16(red), uint16(green), uint16(blue)})
		}
	}
	return nil
}
