package media_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"testing"

	"golang.org/x/image/bmp"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// TestPixelsGolden compares with what libjpeg-turbo's djpeg and libwebp's dwebp make of the same files (testdata/*.ppm).
func TestPixelsGolden(t *testing.T) {
	for name, most := range map[string]int{"photo.webp": 0, "chroma.jpg": 0, "restart.jpg": 0} {
		got, err := media.Pixels(testdata(t, name), "RGB")
		if err != nil {
			t.Fatal(err)
		}
		want, err := media.Pixels(testdata(t, name+".ppm"), "RGB")
		if err != nil || !got.Shape().Equal(want.Shape()) {
			t.Fatalf("%s: %v, want %v (%v)", name, got.Shape(), want, err)
		}
		differ := 0
		for i, w := range tensor.Data[uint8](want) {
			g := int(tensor.Data[uint8](got)[i]) - int(w)
			if max(g, -g) > most {
				t.Fatalf("%s: sample %d is off by %d", name, i, g)
			}
			if g != 0 {
				differ++
			}
		}
		if differ > want.Size()/20 {
			t.Errorf("%s: %d of %d samples differ", name, differ, want.Size())
		}
	}
}

func TestPixels(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	m.SetNRGBA(0, 0, color.NRGBA{10, 20, 30, 255})
	m.SetNRGBA(1, 0, color.NRGBA{40, 50, 60, 0}) // its colours count all the same
	var opaque, clear bytes.Buffer
	if err := png.Encode(&clear, m); err != nil {
		t.Fatal(err)
	}
	m.SetNRGBA(1, 0, color.NRGBA{40, 50, 60, 255})
	if err := bmp.Encode(&opaque, m); err != nil {
		t.Fatal(err)
	}
	jp2 := "\x00\x00\x00\x0cjP  \r\n\x87\n"
	for _, c := range []struct {
		name, file, format string
		want               string
		is                 error
	}{
		{"png", clear.String(), "RGB", "uint8[1,2,3]{10 20 30 40 50 60}", nil},
		{"png", clear.String(), "BGR", "uint8[1,2,3]{30 20 10 60 50 40}", nil},
		{"png", clear.String(), "Grayscale", "uint8[1,2,1]{18 48}", nil},
		{"bmp", opaque.String(), "RGB", "uint8[1,2,3]{10 20 30 40 50 60}", nil},
		{"ppm", "P6 1 2 255\n\x01\x02\x03\x04\x05\x06", "RGB", "uint8[2,1,3]{1 2 3 4 5 6}", nil},
		{"ppm as text", "P3\n# by hand\n1 1\n15\n15 0 1", "RGB", "uint8[1,1,3]{255 0 17}", nil},
		{"pgm of 16 bits", "P5 2 1 65535\n\xff\xff\x80\x00", "Grayscale", "uint8[1,2,1]{255 128}", nil},
		{"pgm as text", "P2 2 1 4 0 4", "RGB", "uint8[1,2,3]{0 0 0 255 255 255}", nil},
		{"pbm", "P4 3 2\n\xa0\x40", "Grayscale", "uint8[2,3,1]{0 255 0 255 0 255}", nil},
		{"pbm as text", "P1 3 1 1 01", "Grayscale", "uint8[1,3,1]{0 255 0}", nil},
		{"cut off", "P6 2 2 255\n\x01", "RGB", "", media.ErrMalformed},
		{"no number", "P6 x 2 255\n\x01", "RGB", "", media.ErrMalformed},
		{"no samples", "P6 2 2 0\n\x01", "RGB", "", media.ErrMalformed},
		{"too large a sample", "P2 1 1 4 5", "RGB", "", media.ErrMalformed},
		{"large", "P6 100000 100000 255\n", "RGB", "", media.ErrTooLarge},
		{"jpeg 2000", jp2, "RGB", "", media.ErrUnsupportedType},
		{"text", "hello", "RGB", "", media.ErrUnsupportedType},
		{"nothing", "", "RGB", "", media.ErrUnsupportedType},
		{"format", clear.String(), "HSV", "", media.ErrUnsupportedType},
	} {
		got, err := media.Pixels([]byte(c.file), c.format)
		if !errors.Is(err, c.is) || c.is == nil && (err != nil || fmt.Sprint(got) != c.want) {
			t.Errorf("%s as %s: %v (%v), want %s (%v)", c.name, c.format, got, err, c.want, c.is)
		}
	}
	if !media.IsJPEG2000([]byte(jp2)) || media.IsJPEG2000(clear.Bytes()) {
		t.Error("JPEG 2000 is taken for another format")
	}
}

func FuzzPixels(f *testing.F) {
	for _, name := range []string{"chroma.jpg", "restart.jpg", "photo.webp", "chroma.jpg.ppm", "colours.webp", "clear.webp"} {
		f.Add(testdata(f, name), byte(0))
	}
	for i, file := range []string{"P1 3 1 1 01", "P2 2 1 4 0 4", "P3 1 1 15 15 0 1", "P4 3 2\n\xa0\x40", "P5 2 1 65535\n\xff\xff\x80\x00", "BM\x00\x00"} {
		f.Add([]byte(file), byte(i))
	}
	f.Fuzz(func(t *testing.T, data []byte, format byte) {
		x, err := media.PixelsWithin(data, []string{"RGB", "BGR", "Grayscale"}[format%3], 1<<16)
		if err == nil && (x.Rank() != 3 || x.Size() == 0) {
			t.Errorf("a picture of %v", x.Shape())
		}
		if err != nil && !errors.Is(err, media.ErrMalformed) && !errors.Is(err, media.ErrTooLarge) && !errors.Is(err, media.ErrUnsupportedType) {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}
