package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// colours is the picture in testdata/*.webp: 12 by 8 pixels of (20x, 30y, 100).
func colours() *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, 12, 8))
	for y := range 8 {
		for x := range 12 {
			m.SetNRGBA(x, y, color.NRGBA{uint8(20 * x), uint8(30 * y), 100, 255})
		}
	}
	return m
}

func testdata(tb testing.TB, name string) []byte {
	tb.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// animation is a GIF of two frames, the first of which covers a part of the screen.
func animation(tb testing.TB) []byte {
	tb.Helper()
	palette := color.Palette{color.Black, color.White, color.RGBA{200, 0, 0, 255}}
	frame := func(r image.Rectangle, c uint8) *image.Paletted {
		m := image.NewPaletted(r, palette)
		for i := range m.Pix {
			m.Pix[i] = c
		}
		return m
	}
	var out bytes.Buffer
	if err := gif.EncodeAll(&out, &gif.GIF{
		Image: []*image.Paletted{frame(image.Rect(2, 1, 4, 3), 2), frame(image.Rect(0, 0, 6, 4), 0)}, Delay: []int{1, 1},
		Config: image.Config{ColorModel: palette, Width: 6, Height: 4},
	}); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

func encodeTIFF(tb testing.TB, m image.Image, o *tiff.Options) []byte {
	tb.Helper()
	var out bytes.Buffer
	if err := tiff.Encode(&out, m, o); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// TestFormats: what is in a GIF, WebP or TIFF is what is in a PNG of the same picture, whether the type is said or recognised.
func TestFormats(t *testing.T) {
	clear := colours()
	for y := range 8 {
		for x := range 6 {
			clear.SetNRGBA(x, y, color.NRGBA{255, 0, 0, 0})
		}
	}
	screen := image.NewNRGBA(image.Rect(0, 0, 6, 4))
	for i := range screen.Pix {
		screen.Pix[i] = 255
	}
	for y := 1; y < 3; y++ {
		for x := 2; x < 4; x++ {
			screen.SetNRGBA(x, y, color.NRGBA{200, 0, 0, 255})
		}
	}
	grey := image.NewGray(image.Rect(0, 0, 12, 8))
	deep := image.NewGray16(grey.Rect)
	for i := range grey.Pix {
		grey.Pix[i] = byte(2 * i)
		binary.BigEndian.PutUint16(deep.Pix[2*i:], uint16(500*i))
	}
	for _, test := range []struct {
		name, kind string
		file       []byte
		want       image.Image
	}{
		{"webp without loss", "image/webp", testdata(t, "colours.webp"), colours()},
		{"webp with alpha", "image/webp", testdata(t, "clear.webp"), clear},
		{"webp that moves", "image/webp", testdata(t, "moving.webp"), colours()},
		{"gif", "image/gif", animation(t), screen},
		{"tiff", "image/tiff", encodeTIFF(t, colours(), nil), colours()},
		{"tiff, deflate", "image/tiff", encodeTIFF(t, colours(), &tiff.Options{Compression: tiff.Deflate, Predictor: true}), colours()},
		{"tiff, grey", "image/tiff", encodeTIFF(t, grey, nil), grey},
		{"tiff, 16 bits", "image/x-tiff", encodeTIFF(t, deep, nil), deep},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := test.want.Bounds()
			for _, s := range []media.Spec{
				{DType: tensor.Uint8, Shape: tensor.Shape{3, r.Dy(), r.Dx()}}, {DType: tensor.Float32, Shape: tensor.Shape{5, 5, 3}, Mean: []float64{0.5}},
				{DType: tensor.Uint16, Shape: tensor.Shape{1, r.Dy(), r.Dx()}},
			} {
				want := decode(t, s, "image/png", encodePNG(t, test.want))
				for _, kind := range []string{test.kind, "", "application/octet-stream"} {
					if got := decode(t, s, kind, test.file); !bytes.Equal(got.Bytes(), want.Bytes()) {
						t.Errorf("%v as %q: %v, want %v", s.Shape, kind, got, want)
					}
				}
			}
			p, err := media.Look(test.file, "")
			if err != nil || p.Width != r.Dx() || p.Height != r.Dy() {
				t.Errorf("%v: %+v", err, p)
			}
		})
	}
}

// TestFormatsTurn: a WebP's Exif data and a TIFF's own tag turn it upright, as a photograph's of JPEG.
func TestFormatsTurn(t *testing.T) {
	for name, files := range map[string][2][]byte{
		"webp": {testdata(t, "turned.webp"), testdata(t, "lossy.webp")},
		"tiff": {turnedTIFF(t, encodeTIFF(t, colours(), nil), 6), encodeTIFF(t, colours(), nil)},
	} {
		turned := decode(t, spec(tensor.Uint8, 3, 12, 8), "", files[0])
		lying := decode(t, media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{3, 8, 12}, Orientation: "ignore"}, "", files[0])
		plain := decode(t, spec(tensor.Uint8, 3, 8, 12), "", files[1])
		if !bytes.Equal(lying.Bytes(), plain.Bytes()) {
			t.Errorf("%s: ignored, it is %v, want %v", name, lying, plain)
		}
		a, b := tensor.Data[uint8](turned), tensor.Data[uint8](plain)
		for c := range 3 {
			for y := range 12 {
				for x := range 8 { // by 90 degrees clockwise
					if got, want := a[c*96+y*8+x], b[c*96+(7-x)*12+y]; got != want {
						t.Fatalf("%s: channel %d at %d, %d is %d, want %d", name, c, x, y, got, want)
					}
				}
			}
		}
		if p, err := media.Look(files[0], ""); err != nil || p.Width != 8 || p.Height != 12 {
			t.Errorf("%s: %v %+v", name, err, p)
		}
	}
}

// turnedTIFF puts an orientation in place of a tag of the first directory that says little: the resolution's unit.
func turnedTIFF(tb testing.TB, file []byte, orientation uint16) []byte {
	tb.Helper()
	file = slices.Clone(file)
	at := binary.LittleEndian.Uint32(file[4:])
	for i := range int(binary.LittleEndian.Uint16(file[at:])) {
		e := file[int(at)+2+12*i:]
		if binary.LittleEndian.Uint16(e) == 0x0112 {
			binary.LittleEndian.PutUint16(e[8:], orientation)
			return file
		}
	}
	// The directory is the last thing in the file: it gets an entry more, in its order.
	dir := slices.Clone(file[at:])
	n := binary.LittleEndian.Uint16(dir)
	entry := binary.LittleEndian.AppendUint16(nil, 0x0112)
	entry = binary.LittleEndian.AppendUint16(entry, 3)
	entry = binary.LittleEndian.AppendUint32(entry, 1)
	entry = binary.LittleEndian.AppendUint32(entry, uint32(orientation))
	place := 2
	for binary.LittleEndian.Uint16(dir[place:]) < 0x0112 {
		place += 12
	}
	binary.LittleEndian.PutUint16(dir, n+1)
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)))
	return slices.Concat(file, dir[:place], entry, dir[place:])
}

// TestFormatsAreBounded: whatever says in a file that it has too many pixels is refused before memory is taken.
func TestFormatsAreBounded(t *testing.T) {
	big := func(file []byte, at int, size ...byte) []byte {
		file = slices.Clone(file)
		copy(file[at:], size)
		return file
	}
	still, moving := testdata(t, "lossy.webp"), testdata(t, "moving.webp")
	frame := bytes.Index(moving, []byte("ANMF"))
	vp8 := bytes.Index(still, []byte("VP8 "))
	file := encodeTIFF(t, colours(), nil)
	dir := int(binary.LittleEndian.Uint32(file[4:]))
	wide := slices.Clone(file)
	for i := range int(binary.LittleEndian.Uint16(file[dir:])) {
		if tag := binary.LittleEndian.Uint16(file[dir+2+12*i:]); tag == 256 || tag == 257 {
			binary.LittleEndian.PutUint16(wide[dir+2+12*i+2:], 4)
			binary.LittleEndian.PutUint32(wide[dir+2+12*i+8:], 60000)
		}
	}
	for name, data := range map[string][]byte{
		"gif":        big(animation(t), 6, 0xff, 0xff, 0xff, 0xff),
		"webp":       big(still, vp8+8+6, 0xff, 0x3f, 0xff, 0x3f),
		"webp head":  big(moving, bytes.Index(moving, []byte("VP8X"))+8+4, 0xff, 0xff, 0, 0xff, 0xff, 0),
		"webp frame": big(moving, frame+8+6, 0xff, 0xff, 0, 0xff, 0xff, 0),
		"tiff":       wide,
	} {
		d := decoder(t, spec(tensor.Float32, 3, 28, 28))
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := d.Decode("", data); !errors.Is(err, media.ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		})
		if allocated > 300 {
			t.Errorf("%s: %v allocations", name, allocated)
		}
	}
}

// TestPhotographsInColour: the way of a photograph's colours without a detour is that of image/draw, to a rounding.
func TestPhotographsInColour(t *testing.T) {
	for _, ratio := range []image.YCbCrSubsampleRatio{image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio420} {
		m := image.NewYCbCr(image.Rect(0, 0, 33, 17), ratio)
		for i := range m.Y {
			m.Y[i] = byte(i * 7)
		}
		for i := range m.Cb {
			m.Cb[i], m.Cr[i] = byte(i*3), byte(255-i*5)
		}
		var file bytes.Buffer
		if err := jpeg.Encode(&file, m, &jpeg.Options{Quality: 100}); err != nil {
			t.Fatal(err)
		}
		img, err := jpeg.Decode(bytes.NewReader(file.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		got := tensor.Data[uint8](decode(t, spec(tensor.Uint8, 17, 33, 3), "", file.Bytes()))
		for y := range 17 {
			for x := range 33 {
				r, g, b, _ := img.At(x, y).RGBA()
				for c, v := range []uint32{r, g, b} {
					if d := int(got[(y*33+x)*3+c]) - int(v>>8); d < -1 || d > 1 {
						t.Fatalf("channel %d at %d, %d is %d, want %d", c, x, y, got[(y*33+x)*3+c], v>>8)
					}
				}
			}
		}
	}
}

// FuzzPictures holds that no file of the formats that are not read by ourselves makes anything but a picture or an error, in bounds.
func FuzzPictures(f *testing.F) {
	for _, name := range []string{"colours.webp", "clear.webp", "moving.webp", "turned.webp", "lossy.webp"} {
		f.Add(testdata(f, name))
	}
	f.Add(animation(f))
	deep := image.NewRGBA64(image.Rect(0, 0, 5, 3))
	for _, m := range []image.Image{colours(), deep} {
		f.Add(encodeTIFF(f, m, nil))
		f.Add(encodeTIFF(f, m, &tiff.Options{Compression: tiff.Deflate, Predictor: true}))
	}
	all := []*media.Decoder{
		decoder(f, media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{3, 5, 7}, MaxPixels: 1 << 14}),
		decoder(f, media.Spec{DType: tensor.Uint16, Shape: tensor.Shape{1, 5, 7}, MaxPixels: 1 << 14}),
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = media.Look(data, "") // must not panic
		for _, d := range all {
			_, err := d.Decode("", data)
			if err != nil && !errors.Is(err, media.ErrMalformed) && !errors.Is(err, media.ErrTooLarge) && !errors.Is(err, media.ErrShape) && !errors.Is(err, media.ErrUnsupportedType) && !errors.Is(err, media.ErrNotFinite) {
				t.Error(err)
			}
		}
	})
}
