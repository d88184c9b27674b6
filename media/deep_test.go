package media_test

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// grey16 is a picture of 16-bit samples.
func grey16(w int, samples ...uint16) *image.Gray16 {
	m := image.NewGray16(image.Rect(0, 0, w, len(samples)/w))
	for i, v := range samples {
		m.SetGray16(i%w, i/w, color.Gray16{Y: v})
	}
	return m
}

// Elements that have room for 16 bits get them; for the others the lower 8 bits are left out.
func TestSixteenBits(t *testing.T) {
	grey := encodePNG(t, grey16(2, 200, 100, 255, 0))
	strong := encodePNG(t, grey16(2, 65535, 257, 0x8000, 0x1234))
	rgb := image.NewRGBA64(image.Rect(0, 0, 2, 1))
	rgb.SetRGBA64(0, 0, color.RGBA64{R: 65535, G: 300, B: 7, A: 65535})
	rgb.SetRGBA64(1, 0, color.RGBA64{R: 1, G: 2, B: 3, A: 65535})
	colours := encodePNG(t, rgb)
	half := image.NewNRGBA64(image.Rect(0, 0, 2, 1))
	half.SetNRGBA64(0, 0, color.NRGBA64{R: 1000, G: 1000, B: 1000, A: 0})
	half.SetNRGBA64(1, 0, color.NRGBA64{R: 1000, G: 2000, B: 3000, A: 0x8000})
	alpha := encodePNG(t, half)
	over := func(v float64) float64 { a := float64(0x8000) / 65535; return v*a + 65535*(1-a) }

	picture := func(d tensor.DType) media.Spec { return spec(d, 1, 2, 2) }
	for _, c := range []struct {
		name  string
		spec  media.Spec
		data  []byte
		want  []float64
		slack float64
	}{
		{"uint16", picture(tensor.Uint16), grey, []float64{200, 100, 255, 0}, 0},
		{"uint16, strong", picture(tensor.Uint16), strong, []float64{65535, 257, 0x8000, 0x1234}, 0},
		{"int32", picture(tensor.Int32), strong, []float64{65535, 257, 0x8000, 0x1234}, 0},
		{"int64", picture(tensor.Int64), strong, []float64{65535, 257, 0x8000, 0x1234}, 0},
		{"int16 has no more", picture(tensor.Int16), strong, []float64{32767, 257, 32767, 0x1234}, 0},
		{"flat uint16", spec(tensor.Uint16, 4), grey, []float64{200, 100, 255, 0}, 0},
		{"uint8", picture(tensor.Uint8), strong, []float64{255, 1, 0x80, 0x12}, 0},
		{"float32", picture(tensor.Float32), strong, []float64{1, 257. / 65535, 0x8000 / 65535., 0x1234 / 65535.}, 1e-7},
		{"float32, dark", picture(tensor.Float32), grey, []float64{200. / 65535, 100. / 65535, 255. / 65535, 0}, 1e-8},
		{"float64", picture(tensor.Float64), strong, []float64{1, 257. / 65535, 0x8000 / 65535., 0x1234 / 65535.}, 1e-12},
		{"float16", picture(tensor.Float16), strong, []float64{1, 257. / 65535, 0x8000 / 65535., 0x1234 / 65535.}, 1e-4},
		{"scaled", media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 2, 2}, Scale: 1, Mean: []float64{1}, Std: []float64{2}}, strong,
			[]float64{127, 0, (0x8000/257. - 1) / 2, (0x1234/257. - 1) / 2}, 1e-5},
		{"scaled uint16", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 2, 2}, Scale: 2}, grey, []float64{400, 200, 510, 0}, 0},
		{"inverted", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 2, 2}, Invert: "true"}, grey, []float64{65335, 65435, 65280, 65535}, 0},
		{"inverted for a light border", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 1, 2}, Invert: "auto"}, encodePNG(t, grey16(2, 65000, 64000)), []float64{535, 1535}, 0},
		{"not inverted for a dark border", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 1, 2}, Invert: "auto"}, encodePNG(t, grey16(2, 500, 30000)), []float64{500, 30000}, 0},
		{"fewer pixels", spec(tensor.Uint16, 1, 1, 1), grey, []float64{139}, 0},
		{"more pixels", spec(tensor.Uint16, 1, 1, 4), encodePNG(t, grey16(2, 1000, 2000)), []float64{1000, 1250, 1750, 2000}, 0},
		{"planes", spec(tensor.Uint16, 3, 1, 2), colours, []float64{65535, 1, 300, 2, 7, 3}, 0},
		{"interleaved", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 2, 3}, Layout: "NHWC"}, colours, []float64{65535, 300, 7, 1, 2, 3}, 0},
		{"a mean for each channel", media.Spec{DType: tensor.Float32, Shape: tensor.Shape{3, 1, 2}, Scale: 257, Mean: []float64{1, 2, 3}, Std: []float64{1, 2, 4}}, colours,
			[]float64{65534, 0, 149, 0, 1, 0}, 1e-2},
		{"grey of colours", spec(tensor.Uint16, 1, 1, 2), colours, []float64{math.Round(.299*65535 + .587*300 + .114*7), 2}, 1},
		{"colours of grey", spec(tensor.Uint16, 3, 2, 2), grey, []float64{200, 100, 255, 0, 200, 100, 255, 0, 200, 100, 255, 0}, 0},
		{"on white", media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 2, 3}, Layout: "NHWC"}, alpha, []float64{65535, 65535, 65535, over(1000), over(2000), over(3000)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := decode(t, c.spec, "image/png", c.data)
			if got.Size() != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i, want := range c.want {
				if v := element(got, i); math.IsNaN(v) || math.Abs(v-want) > c.slack {
					t.Errorf("element %d is %v, want %v", i, v, want)
				}
			}
		})
	}
	if _, err := decoder(t, media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 2, 2}, MaxPixels: 3}).Decode("", grey); err == nil {
		t.Error("four pixels are let through where three are the most")
	}
	if _, err := decoder(t, picture(tensor.Uint16)).Decode("", strong[:len(strong)-20]); err == nil {
		t.Error("a cut file is let through")
	}
}
