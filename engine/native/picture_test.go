package native_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

func TestImageDecoder(t *testing.T) {
	file := func(s string) *tensor.Tensor { return tensor.Vector([]uint8(s)...) }
	as := func(format string) graph.Attrs { return graph.Attrs{"pixel_format": format} }
	ppm := file("P6 2 1 255\n\x01\x02\x03\x04\x05\x06")
	run(t, []operatorCase{
		{op: "ImageDecoder", opset: 20, in: list{ppm}, want: list{of[uint8]([]int{1, 2, 3}, 1, 2, 3, 4, 5, 6)}},
		{op: "ImageDecoder", opset: 20, attrs: as("BGR"), in: list{ppm}, want: list{of[uint8]([]int{1, 2, 3}, 3, 2, 1, 6, 5, 4)}},
		{op: "ImageDecoder", opset: 20, attrs: as("Grayscale"), in: list{ppm}, want: list{of[uint8]([]int{1, 2, 1}, 2, 5)}},
		{op: "ImageDecoder", opset: 20, in: list{file("P6 2 2 255\n\x01")}, want: list{of[uint8]([]int{0, 0, 3})}},
		{op: "ImageDecoder", opset: 20, attrs: as("Grayscale"), in: list{file("hello")}, want: list{of[uint8]([]int{0, 0, 1})}},
		{op: "ImageDecoder", opset: 20, in: list{file("\x00\x00\x00\x0cjP  \r\n")}, err: "JPEG 2000 is not read"},
		{op: "ImageDecoder", opset: 20, in: list{file("P6 100000 100000 255\n")}, err: "the limit is"},
		{op: "ImageDecoder", opset: 20, attrs: as("HSV"), in: list{ppm}, err: `pixel_format "HSV"`},
		{op: "ImageDecoder", opset: 20, in: list{tensor.Vector[int8](1)}, err: "not int8[1]"},
	})
}
