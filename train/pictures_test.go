package train_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"log/slog"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/image/tiff"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// photograph has waves that run across (0), down (1) or both (2), in colours and noise of its own.
func photograph(tb testing.TB, r *rand.Rand, kind, w, h int) []byte {
	tb.Helper()
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	base, phase, freq := 90+80*r.Float64(), 6*r.Float64(), 25+15*r.Float64()
	for y := range h {
		for x := range w {
			u, v := math.Sin(freq*float64(x)/float64(w)+phase), math.Sin(freq*float64(y)/float64(w)+phase)
			t := [3]float64{u, v, 1.5 * u * v}[kind]
			c := func(gain float64) uint8 { return uint8(max(0, min(255, base+gain*t+20*r.NormFloat64()))) }
			m.SetRGBA(x, y, color.RGBA{c(50), c(40), c(30), 255})
		}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, m, nil); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// TestPhotographs: a folder of photographs of three kinds, each of its own size, is learned with nothing but the defaults; what was found and made
// of them is said, and is the model's input.
func TestPhotographs(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	for kind, name := range []string{"across", "down", "both"} {
		for i := range 60 {
			write(t, dir, fmt.Sprintf("%s/%d.jpg", name, i), photograph(t, r, kind, 120+r.IntN(120), 90+r.IntN(90)))
		}
	}
	write(t, dir, "across/big.jpg", photograph(t, r, 0, 400, 300))
	write(t, dir, "down/small.jpg", photograph(t, r, 1, 20, 10))
	var log bytes.Buffer
	out := filepath.Join(t.TempDir(), "photos.onnx")
	result, err := train.Run(t.Context(), train.Config{Data: dir, Out: out, Engine: native.New(native.Config{}), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if result.Evaluation == nil || result.Evaluation.Accuracy() < 0.8 {
		t.Errorf("%+v", result.Evaluation)
	}
	for _, says := range []string{"182 pictures of ", " sizes, from 20 x 10 to 400 x 300, in colour; each becomes 96 x ", "--size WIDTHxHEIGHT", "the net is convolutional"} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("%q is not in %s", says, log.String())
		}
	}
	m, err := model.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	in := m.Inputs()[0].Shape
	if len(in) != 4 || in[1].Size != 3 || in[3].Size != 96 || m.Layout != "NCHW" || len(m.Labels) != 3 {
		t.Errorf("input %v, %+v", in, m.Metadata)
	}
	// A model's own size is that of every other folder which it is measured on or trained further with.
	other := t.TempDir()
	for kind, name := range []string{"across", "down", "both"} {
		write(t, other, name+"/1.jpg", photograph(t, r, kind, 333, 222))
	}
	set, err := train.Open(other, train.Options{}.Of(m))
	if err != nil {
		t.Fatal(err)
	}
	if !set.Shape().Equal(tensor.Shape{3, int(in[2].Size), 96}) {
		t.Errorf("for the model the pictures become %v, not %v", set.Shape(), in)
	}
	if _, err := train.Evaluate(t.Context(), native.New(native.Config{}), engine.Options{}, m.Graph, set); err != nil {
		t.Error(err)
	}
	if _, err := train.Run(t.Context(), train.Config{Arch: out, Data: other, Eval: "0", Epochs: 1, Batch: 3, Engine: native.New(native.Config{})}); err != nil {
		t.Error(err)
	}
}

// TestDividedFolder: train/ is trained on, val/ validates, test/ is reported, whatever the size of their pictures; a label that is not trained
// on is refused.
func TestDividedFolder(t *testing.T) {
	dir := t.TempDir()
	for part, n := range map[string]int{"train": 20, "val": 3, "Test": 5} {
		for i := range n {
			side := 8
			if part != "train" {
				side = 30
			}
			write(t, dir, fmt.Sprintf("%s/dark/%d.png", part, i), picture(t, color.Gray{uint8(10 + i)}, side, side))
			write(t, dir, fmt.Sprintf("%s/light/%d.png", part, i), picture(t, color.Gray{uint8(240 - i)}, side, side))
		}
	}
	var log bytes.Buffer
	result, err := train.Run(t.Context(), train.Config{Data: dir, Epochs: 5, Engine: native.New(native.Config{}), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	if result.Examples != 40 || result.Evaluation == nil || result.Evaluation.Examples != 6 || result.Test == nil || result.Test.Examples != 10 {
		t.Fatalf("%d, %+v, %+v", result.Examples, result.Evaluation, result.Test)
	}
	if result.Test.Accuracy() < 1 {
		t.Errorf("%+v", result.Test)
	}
	if !strings.Contains(log.String(), "train (40 pictures) is trained on, val (6) validates each epoch, Test (10) is looked at in the end alone") {
		t.Error(log.String())
	}
	write(t, dir, "val/grey/1.png", picture(t, color.Gray{128}, 8, 8))
	if _, err := train.Open(dir, train.Options{}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "no picture that is trained on has the label grey; the labels are dark, light") {
		t.Errorf("a label of val alone: %v", err)
	}
}

// TestNotDivided: folders that are called so are labels where there are others.
func TestNotDivided(t *testing.T) {
	dir := t.TempDir()
	for _, label := range []string{"train", "test", "bus"} {
		write(t, dir, label+"/1.png", picture(t, color.Gray{1}, 4, 4))
	}
	s, err := train.Open(dir, train.Options{})
	if err != nil || len(s.Labels()) != 3 {
		t.Errorf("%v", err)
	}
}

// TestPictureFormats: every format goes into a set, and a size that is given is taken.
func TestPictureFormats(t *testing.T) {
	dir := t.TempDir()
	m := image.NewGray(image.Rect(0, 0, 40, 20))
	var g, ti bytes.Buffer
	if err := gif.Encode(&g, m, nil); err != nil {
		t.Fatal(err)
	}
	if err := tiff.Encode(&ti, m, nil); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a/1.gif", g.Bytes())
	write(t, dir, "a/2.TIFF", ti.Bytes())
	write(t, dir, "b/1.png", picture(t, color.Gray{9}, 8, 8))
	for size, want := range map[string]tensor.Shape{"": {3, 20, 40}, "12x6": {3, 6, 12}, "7": {3, 7, 7}} {
		s, err := train.Open(dir, train.Options{Size: size})
		if err != nil {
			t.Fatal(err)
		}
		if !s.Shape().Equal(want) || s.Len() != 3 { // a GIF has a palette of colours
			t.Errorf("%q: %d of %v, want %v", size, s.Len(), s.Shape(), want)
		}
	}
	for _, size := range []string{"x", "0x3", "3x", "5000", "-1x2", "3x4x5"} {
		if err := (train.Options{Size: size}).Validate(); err == nil || !strings.Contains(err.Error(), "size") {
			t.Errorf("%q: %v", size, err)
		}
	}
}

// TestUsualSize: where sizes differ, pictures become what is usual among them; one odd picture decides nothing, wherever it stands by pixels.
func TestUsualSize(t *testing.T) {
	// With the photographs around 439 x 344 stands a panorama that has the middle number of pixels.
	odd := [][2]int{{628, 222}}
	for i := range 9 {
		odd = append(odd, [2]int{300 + 10*i, 240 + 8*i}, [2]int{460 + 10*i, 350 + 8*i})
	}
	for name, c := range map[string]struct {
		sizes [][2]int
		want  tensor.Shape
	}{
		"one panorama has the middle area": {odd, tensor.Shape{1, 74, 96}},
		"one size of most":                 {[][2]int{{40, 20}, {8, 8}, {40, 20}}, tensor.Shape{1, 20, 40}},
		"upright and across, half each":    {[][2]int{{400, 300}, {300, 400}, {400, 300}, {300, 400}}, tensor.Shape{1, 96, 96}},
		"half each, of sizes of their own": {[][2]int{{400, 300}, {300, 400}, {200, 150}, {150, 200}}, tensor.Shape{1, 96, 96}},
		"small ones are not enlarged":      {[][2]int{{20, 10}, {22, 10}, {24, 10}}, tensor.Shape{1, 10, 22}},
		"one picture":                      {[][2]int{{628, 222}}, tensor.Shape{1, 34, 96}},
		"one line":                         {[][2]int{{1000, 1}}, tensor.Shape{1, 1, 96}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for i, size := range c.sizes {
				write(t, dir, fmt.Sprintf("a/%02d.png", i), picture(t, color.Gray{9}, size[0], size[1]))
			}
			s, err := train.Open(dir, train.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !s.Shape().Equal(c.want) {
				t.Errorf("%v, want %v", s.Shape(), c.want)
			}
		})
	}
}
