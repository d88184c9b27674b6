package media

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"io"

	"golang.org/x/image/bmp"

	"github.com/millrace/millrace/tensor"
)

// Pixels decodes a picture's file to uint8[height,width,channels] as ONNX's ImageDecoder has it: format is "RGB", "BGR" or "Grayscale".
// It reads JPEG, PNG, BMP, TIFF, WebP, GIF and the portable formats (PBM, PGM, PPM); what a file says of its orientation and transparency
// is left out. The chroma of a JPEG is interpolated as ONNX asks for. Errors are ErrUnsupportedType for JPEG 2000 and what is no
// picture, ErrMalformed for a damaged one, and ErrTooLarge over [MaxPixels]. Large pictures wait for room, as those of a [Decoder] do.
func Pixels(data []byte, format string) (*tensor.Tensor, error) {
	return pixels(data, format, MaxPixels)
}

// pixels is Pixels with a limit of its own.
func pixels(data []byte, format string, most int) (*tensor.Tensor, error) {
	if format != "RGB" && format != "BGR" && format != "Grayscale" {
		return nil, fmt.Errorf("%w: pixel format %q, not RGB, BGR or Grayscale", ErrUnsupportedType, format)
	}
	img, release, err := anyImage(data, most)
	if err != nil {
		return nil, err
	}
	defer release()
	channels := 3
	if format == "Grayscale" {
		channels = 1
	}
	r := img.Bounds()
	pix := make([]uint8, r.Dx()*r.Dy()*channels)
	colour := colourOf(img)
	for y := range r.Dy() {
		row := pix[y*r.Dx()*channels:]
		for x := range r.Dx() {
			red, green, blue := colour(r.Min.X+x, r.Min.Y+y)
			switch format {
			case "RGB":
				row[3*x], row[3*x+1], row[3*x+2] = red, green, blue
			case "BGR":
				row[3*x], row[3*x+1], row[3*x+2] = blue, green, red
			default: // the weights of ITU-R BT.601, as color.Gray
				row[x] = byte((19595*uint32(red) + 38470*uint32(green) + 7471*uint32(blue) + 1<<15) >> 16)
			}
		}
	}
	return tensor.Of(pix, r.Dy(), r.Dx(), channels)
}

// anyImage decodes what [Pixels] reads. release gives back the room that the picture takes.
func anyImage(data []byte, most int) (img image.Image, release func(), err error) {
	kind := Sniff("", data)
	switch {
	case IsPicture(kind):
		release = reserve(kind, data, 3, most)
		if kind == typeJPEG {
			if head, fault := imageConfig(kind, data); fault == nil && checkSize(head.Width, head.Height, most) == nil {
				if exact, ok := exactJPEG(data, head.Width, head.Height); ok {
					return exact, release, nil
				}
			}
		}
		img, err = decodeImage(kind, data, most)
	case hasPrefix(data, "BM"):
		img, release, err = within(data, most, "bmp", bmp.DecodeConfig, bmp.Decode)
	case len(data) > 2 && data[0] == 'P' && data[1] >= '1' && data[1] <= '6':
		img, release, err = within(data, most, "pnm", portableConfig, portable)
	case IsJPEG2000(data):
		return nil, nil, fmt.Errorf("%w: JPEG 2000 is not read; save the picture as JPEG, PNG or TIFF", ErrUnsupportedType)
	default:
		return nil, nil, fmt.Errorf("%w: neither JPEG, PNG, BMP, TIFF, WebP, GIF nor a portable format", ErrUnsupportedType)
	}
	if err != nil {
		if release != nil {
			release()
		}
		return nil, nil, err
	}
	return img, release, nil
}

// IsJPEG2000 reports whether data begins as a JPEG 2000 file or stream, which is not read.
func IsJPEG2000(data []byte) bool {
	return hasPrefix(data, "\x00\x00\x00\x0cjP  ") || hasPrefix(data, "\xff\x4f\xff\x51")
}

// within decodes a picture whose head says that it has at most so many pixels.
func within(data []byte, most int, kind string, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) (image.Image, func(), error) {
	head, err := config(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %s: %w", ErrMalformed, kind, err)
	}
	if err := checkSize(head.Width, head.Height, most); err != nil {
		return nil, nil, err
	}
	n := min(int64(head.Width)*int64(head.Height)*8, decodedAtOnce)
	if err := decoding.Acquire(context.Background(), n); err != nil {
		return nil, nil, err
	}
	release := func() { decoding.Release(n) }
	img, err := decode(bytes.NewReader(data))
	if err != nil {
		return nil, release, fmt.Errorf("%w: %s: %w", ErrMalformed, kind, err)
	}
	return img, release, nil
}

// colourOf returns how the colours of a pixel are found, whatever its transparency.
func colourOf(img image.Image) func(x, y int) (r, g, b uint8) {
	switch m := img.(type) {
	case *image.Gray:
		return func(x, y int) (r, g, b uint8) {
			v := m.GrayAt(x, y).Y
			return v, v, v
		}
	case *image.YCbCr:
		blue, red := smooth(m, m.Cb), smooth(m, m.Cr)
		min := m.Bounds().Min
		wide := m.Bounds().Dx()
		return func(x, y int) (r, g, b uint8) {
			at := (y-min.Y)*wide + x - min.X
			return jfif(m.Y[m.YOffset(x, y)], blue[at], red[at])
		}
	}
	return func(x, y int) (r, g, b uint8) {
		c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
		return c.R, c.G, c.B
	}
}

// jfif turns a sample of a JPEG into colours, each part rounded to nearest as libjpeg does it.
func jfif(y, cb, cr uint8) (r, g, b uint8) {
	const half = 1 << 15
	luma, blue, red := int32(y), int32(cb)-128, int32(cr)-128
	byteOf := func(v int32) uint8 { return uint8(min(max(v, 0), 255)) }
	return byteOf(luma + (91881*red+half)>>16), byteOf(luma + (-22554*blue-46802*red+half)>>16), byteOf(luma + (116130*blue+half)>>16)
}

// smooth brings a plane of chroma to the size of the picture. A factor of two is interpolated, from centres at 1/4 and 3/4 between those
// of the samples, and halves are rounded down and up by turns; others repeat the sample.
func smooth(m *image.YCbCr, plane []uint8) []uint8 {
	r := m.Bounds()
	out := make([]uint8, r.Dx()*r.Dy())
	across, down := 1, 1
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		across = 2
	case image.YCbCrSubsampleRatio420:
		across, down = 2, 2
	case image.YCbCrSubsampleRatio440:
		down = 2
	}
	if across == 1 && down == 1 || r.Min != (image.Point{}) {
		for y := range r.Dy() {
			for x := range r.Dx() {
				out[y*r.Dx()+x] = plane[m.COffset(r.Min.X+x, r.Min.Y+y)]
			}
		}
		return out
	}
	wide, high := (r.Dx()+across-1)/across, (r.Dy()+down-1)/down
	sums := make([]int, wide)
	for y := range r.Dy() {
		row := plane[y/down*m.CStride:]
		other, near := row, 1
		if down == 2 {
			at := min(max(y/2-1+y%2*2, 0), high-1)
			other, near = plane[at*m.CStride:], 3
		}
		for x := range sums {
			if sums[x] = int(row[x]); down == 2 {
				sums[x] = near*int(row[x]) + int(other[x])
			}
		}
		dst := out[y*r.Dx():][:r.Dx()]
		for x := range dst {
			switch {
			case across == 1: // of rows alone
				dst[x] = uint8((sums[x] + 1 + y%2) >> 2)
			case down == 1:
				dst[x] = uint8(between(sums, x, 1, 2) >> 2)
			default:
				dst[x] = uint8(between(sums, x, 8, 7) >> 4)
			}
		}
	}
	return out
}

// between weighs the sample that place x of twice as many stands in with its neighbour, and adds what rounds: even at even places, odd at
// odd ones. At the ends there is no neighbour.
func between(sums []int, x, even, odd int) int {
	s := sums[x/2]
	if x%2 == 0 {
		if x == 0 {
			return 4*s + even
		}
		return 3*s + sums[x/2-1] + even
	}
	if x/2 == len(sums)-1 {
		return 4*s + odd
	}
	return 3*s + sums[x/2+1] + odd
}
