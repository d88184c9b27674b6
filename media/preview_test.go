package media_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// TestPreview: whatever a spec does to samples and their places is undone, to a rounding; the picture that is seen decodes to the same item.
func TestPreview(t *testing.T) {
	m := colours()
	for name, s := range map[string]media.Spec{
		"bytes":          {DType: tensor.Uint8, Shape: tensor.Shape{3, 8, 12}},
		"floats":         {DType: tensor.Float32, Shape: tensor.Shape{3, 8, 12}},
		"last":           {DType: tensor.Float32, Shape: tensor.Shape{8, 12, 3}},
		"normalised":     {DType: tensor.Float32, Shape: tensor.Shape{3, 8, 12}, Mean: []float64{0.485, 0.456, 0.406}, Std: []float64{0.229, 0.224, 0.225}},
		"around nothing": {DType: tensor.Float32, Shape: tensor.Shape{1, 8, 12, 3}, Scale: 1 / 127.5, Mean: []float64{1}},
		"half":           {DType: tensor.Float16, Shape: tensor.Shape{3, 8, 12}, Scale: 1},
		"grey":           {DType: tensor.Float32, Shape: tensor.Shape{8, 12}},
		"turned around":  {DType: tensor.Float32, Shape: tensor.Shape{1, 8, 12}, Invert: "true"},
		"smaller":        {DType: tensor.Float32, Shape: tensor.Shape{3, 4, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			item := decode(t, s, "image/png", encodePNG(t, m))
			seen, err := s.Preview(item)
			if err != nil || seen.Stretched || seen.Least > seen.Mean || seen.Mean > seen.Most {
				t.Fatalf("%v: %+v", err, seen)
			}
			s.Invert = ""
			again := decode(t, s, "image/png", encodePNG(t, seen.Image))
			if s.DType == tensor.Uint8 && !bytes.Equal(item.Bytes(), again.Bytes()) {
				t.Errorf("%v, want %v", again, item)
			}
			for i := range item.Size() {
				if a, b := element(item, i), element(again, i); a-b > 0.02*(seen.Most-seen.Least) || b-a > 0.02*(seen.Most-seen.Least) {
					t.Fatalf("element %d is %v, and %v when it is seen again", i, a, b)
				}
			}
		})
	}
}

// TestPreviewStretches: elements that are no samples are shown from the least to the most.
func TestPreviewStretches(t *testing.T) {
	s := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 2, 2}}
	seen, err := s.Preview(tensor.Must(tensor.Of([]float32{-3, 0, 0, 7}, 1, 2, 2)))
	if err != nil || !seen.Stretched || seen.Least != -3 || seen.Most != 7 || seen.Mean != 1 {
		t.Fatalf("%v: %+v", err, seen)
	}
	g := seen.Image.(*image.Gray)
	if g.Pix[0] != 0 || g.Pix[3] != 255 || g.GrayAt(1, 0) != (color.Gray{Y: 76}) {
		t.Errorf("%v", g.Pix)
	}
	if _, err := (media.Spec{DType: tensor.Float32, Shape: tensor.Shape{6}}).Preview(tensor.Vector[float32](1, 2, 3, 4, 5, 6)); !errors.Is(err, media.ErrUnsupportedType) {
		t.Errorf("a table's row: %v", err)
	}
}
