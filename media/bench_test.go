package media_test

import (
	"bytes"
	"image"
	"image/png"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// digit is a 28 by 28 picture with ink in it.
func digit() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 28, 28))
	for y := 4; y < 24; y++ {
		for x := 12; x < 16; x++ {
			m.Pix[y*28+x] = byte(250 - y*x%40)
		}
	}
	m.Pix[4*28+12] = 255
	return m
}

func encodePNG(tb testing.TB, m image.Image) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func benchmark(b *testing.B, spec media.Spec, kind string, data []byte) {
	d, err := media.NewDecoder(spec)
	if err != nil {
		b.Fatal(err)
	}
	dst := tensor.Must(tensor.New(spec.DType, append(tensor.Shape{1}, spec.Shape...)...))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.DecodeInto(dst, 0, kind, data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	mnist := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 28, 28}, Invert: "auto", Centre: "mnist"}
	large := image.NewGray(image.Rect(0, 0, 280, 280))
	for y := 60; y < 220; y++ {
		for x := 130; x < 150; x++ {
			large.Pix[y*280+x] = 255
		}
	}
	colour := image.NewRGBA(large.Rect)
	for i, v := range large.Pix {
		colour.Pix[4*i], colour.Pix[4*i+1], colour.Pix[4*i+2], colour.Pix[4*i+3] = v, v, v, 255
	}
	one := tensor.Must(tensor.New(tensor.Float32, 1, 28, 28))
	var npy bytes.Buffer
	if err := media.WriteNPY(&npy, one); err != nil {
		b.Fatal(err)
	}
	b.Run("png28", func(b *testing.B) { benchmark(b, mnist, "image/png", encodePNG(b, digit())) })
	b.Run("png280", func(b *testing.B) { benchmark(b, mnist, "image/png", encodePNG(b, large)) })
	b.Run("png280rgba", func(b *testing.B) { benchmark(b, mnist, "image/png", encodePNG(b, colour)) })
	b.Run("bytes784", func(b *testing.B) { benchmark(b, mnist, "", digit().Pix) })
	b.Run("npy", func(b *testing.B) { benchmark(b, mnist, "application/x-npy", npy.Bytes()) })
	b.Run("exact", func(b *testing.B) { benchmark(b, mnist, "application/octet-stream", one.Bytes()) })
	b.Run("json784", func(b *testing.B) {
		text := append([]byte("["), bytes.Repeat([]byte("0.123,"), 784)...)
		text[len(text)-1] = ']'
		benchmark(b, media.Spec{DType: tensor.Float32, Shape: tensor.Shape{784}}, "application/json", text)
	})
}
