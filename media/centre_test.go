package media_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"image"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/media/stroke"
	"github.com/millrace/millrace/tensor"
)

// centredSpec is the shipped model's input, kept as bytes to compare.
var centredSpec = media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{1, 28, 28}, Invert: "auto", Centre: "mnist"}

// form measures a digit: the longer side of its ink, its centre of mass and its strongest ink.
func form(pix []byte) (side int, cx, cy float64, peak int) {
	left, right, top, bottom, sum := 28, -1, 28, -1, 0.0
	for i, v := range pix {
		x, y := i%28, i/28
		if v > 0 {
			left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
		}
		sum += float64(v)
		cx += float64(v) * (float64(x) + .5)
		cy += float64(v) * (float64(y) + .5)
		peak = max(peak, int(v))
	}
	return max(right-left, bottom-top) + 1, cx / sum, cy / sum, peak
}

// drawings reads the table of package stroke.
func drawings(tb testing.TB) []stroke.Params {
	tb.Helper()
	text, err := os.ReadFile("stroke/testdata/drawings.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all []stroke.Params
	if err := json.Unmarshal(text, &all); err != nil {
		tb.Fatal(err)
	}
	return all
}

func TestDrawingsGetTheFormOfMNIST(t *testing.T) {
	d := decoder(t, centredSpec)
	for i, p := range drawings(t) {
		if i%3 > 0 { // a third has all groups and digits in it
			continue
		}
		m, err := stroke.Draw(p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Decode("image/png", encodePNG(t, m))
		if err != nil {
			t.Fatal(err)
		}
		pix := tensor.Data[uint8](got)
		side, cx, cy, peak := form(pix)
		if side < 19 || side > 20 || peak != 255 {
			t.Errorf("drawing %d: the ink is %d long and %d strong", i, side, peak)
		}
		if math.Abs(cx-14.5) > 0.6 || math.Abs(cy-14.5) > 0.6 {
			t.Errorf("drawing %d: the centre of mass is at %.2f, %.2f", i, cx, cy)
		}
		// What has the form keeps it, bit by bit.
		again, err := d.Decode("", encodePNG(t, &image.Gray{Pix: pix, Stride: 28, Rect: image.Rect(0, 0, 28, 28)}))
		if err != nil || !slices.Equal(tensor.Data[uint8](again), pix) {
			t.Errorf("drawing %d changed when it was decoded again (%v)", i, err)
		}
	}
}

func TestPolarityDoesNotMatter(t *testing.T) {
	d := decoder(t, centredSpec)
	for i, p := range drawings(t)[:20] {
		var pair [2][]byte
		for k := range pair {
			p.Light = k == 0
			m, err := stroke.Draw(p)
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Decode("", encodePNG(t, m))
			if err != nil {
				t.Fatal(err)
			}
			pair[k] = tensor.Data[uint8](got)
		}
		if !slices.Equal(pair[0], pair[1]) {
			t.Errorf("drawing %d differs", i)
		}
	}
}

func TestOddPicturesAreCentred(t *testing.T) {
	d := decoder(t, centredSpec)
	for name, fill := range map[string]func(m *image.Gray){
		"blank":       func(*image.Gray) {},
		"one dot":     func(m *image.Gray) { m.Pix[5*50+5] = 255 },
		"a line":      func(m *image.Gray) { copy(m.Pix[20*50:21*50], bytes.Repeat([]byte{200}, 50)) },
		"all ink":     func(m *image.Gray) { copy(m.Pix, bytes.Repeat([]byte{200}, 2500)) },
		"faint noise": func(m *image.Gray) { copy(m.Pix, bytes.Repeat([]byte{3, 9, 1, 7}, 625)) },
	} {
		m := image.NewGray(image.Rect(0, 0, 50, 50))
		fill(m)
		got, err := d.Decode("", encodePNG(t, m))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ink := slices.Max(tensor.Data[uint8](got))
		if blank := name == "blank" || name == "faint noise" || name == "all ink"; blank != (ink == 0) {
			t.Errorf("%s: the strongest ink is %d", name, ink)
		}
	}
}

// MNIST's own images must reach the model as they are, or its accuracy would fall.
func TestMNISTStaysAsItIs(t *testing.T) {
	f, err := os.Open(sharedtest.Data(t, "mnist", "train-images-idx3-ubyte.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	data, err := io.ReadAll(io.LimitReader(z, 16+n*784))
	if err != nil {
		t.Fatal(err)
	}
	d := decoder(t, centredSpec)
	changed := 0
	for i := range n {
		pix := data[16+i*784:][:784]
		got, err := d.Decode("", encodePNG(t, &image.Gray{Pix: pix, Stride: 28, Rect: image.Rect(0, 0, 28, 28)}))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tensor.Data[uint8](got), pix) {
			changed++
		}
	}
	if changed > 0 {
		t.Errorf("%d of %d images of MNIST changed", changed, n)
	}
}
