package media

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"github.com/millrace/millrace/tensor"
)

// Seen is an item as a picture, and what its elements are.
type Seen struct {
	// Image has a pixel for each place of the item.
	Image image.Image
	// Least, Most and Mean are of the elements as the model gets them.
	Least, Most, Mean float64
	// Stretched says that the elements are no scaled samples of a picture, by the spec: black is Least and white Most then.
	Stretched bool
}

// Preview turns an item of the spec, as a Decoder makes it, back into a picture: its layout, scale, mean and standard deviation are undone. What was done to the
// picture itself (its size, its orientation, centring, inversion) shows. ErrUnsupportedType is for items that are no pictures.
func (s Spec) Preview(item *tensor.Tensor) (Seen, error) {
	g, ok := s.geometry()
	if !ok || !s.Picture() {
		return Seen{}, fmt.Errorf("%w: the model takes %v%v, which is no picture", ErrUnsupportedType, s.DType, s.Shape)
	}
	if item.DType() != s.DType || item.Size() != s.Shape.Size() {
		return Seen{}, fmt.Errorf("%w: %v%v is no item of %v%v", ErrShape, item.DType(), item.Shape(), s.DType, s.Shape)
	}
	values := make([]float64, item.Size())
	for i := range values {
		v, err := floatAt(item, i)
		if err != nil {
			return Seen{}, err
		}
		values[i] = v
	}
	out := Seen{Least: math.Inf(1), Most: math.Inf(-1)}
	samples := make([]float64, len(values))
	low, high := math.Inf(1), math.Inf(-1)
	for i, v := range values {
		out.Least, out.Most, out.Mean = min(out.Least, v), max(out.Most, v), out.Mean+v/float64(len(values))
		samples[i] = s.sample(v, g.channel(i))
		low, high = min(low, samples[i]), max(high, samples[i])
	}
	// Half a sample more is rounding; 16 bits are beyond 8.
	if deep := high > 256 && s.DType.IsInteger() && s.Scale == 0 && low >= 0; deep && high <= 0xffff {
		for i := range samples {
			samples[i] /= 257
		}
	} else if low < -1 || high > 256 {
		out.Stretched = true
		for i, v := range values {
			samples[i] = 0
			if out.Most > out.Least {
				samples[i] = 255 * (v - out.Least) / (out.Most - out.Least)
			}
		}
	}
	out.Image = g.image(samples)
	return out, nil
}

// sample undoes element.
func (s Spec) sample(v float64, channel int) float64 {
	pick := func(vs []float64, none float64) float64 {
		switch len(vs) {
		case 0:
			return none
		case 1:
			return vs[0]
		}
		return vs[channel]
	}
	return (v*pick(s.Std, 1) + pick(s.Mean, 0)) / s.scale(true)
}

// channel returns an element's channel.
func (g geometry) channel(i int) int {
	if g.planar {
		return i / (g.h * g.w)
	}
	return i % g.c
}

func (g geometry) image(samples []float64) image.Image {
	at := func(c, y, x int) uint8 {
		i := (y*g.w+x)*g.c + c
		if g.planar {
			i = (c*g.h+y)*g.w + x
		}
		return uint8(clamp(samples[i], 0, 255))
	}
	r := image.Rect(0, 0, g.w, g.h)
	if g.c == 1 {
		m := image.NewGray(r)
		for y := range g.h {
			for x := range g.w {
				m.SetGray(x, y, color.Gray{Y: at(0, y, x)})
			}
		}
		return m
	}
	m := image.NewNRGBA(r)
	for y := range g.h {
		for x := range g.w {
			m.SetNRGBA(x, y, color.NRGBA{at(0, y, x), at(1, y, x), at(2, y, x), 255})
		}
	}
	return m
}
