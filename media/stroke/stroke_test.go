package stroke_test

import (
	"encoding/json"
	"errors"
	"flag"
	"image"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/millrace/millrace/media/stroke"
)

var update = flag.Bool("update", false, "write testdata/drawings.json anew: only before a model is trained")

// drawing is a row of the table of drawings that the shipped model must read.
type drawing struct {
	Group string `json:"group"`
	stroke.Params
}

const tableFile = "testdata/drawings.json"

// TestDrawings holds the table against what it is for: it has every digit in every group, both polarities, many sizes,
// and each of its drawings has the ink that its parameters say.
func TestDrawings(t *testing.T) {
	if *update {
		writeTable(t)
	}
	text, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	var all []drawing
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) < 300 {
		t.Errorf("%d drawings, want 300 or more", len(all))
	}
	type pair struct {
		group string
		digit int
	}
	count, light, canvases := map[pair]int{}, 0, map[int]bool{}
	for i, d := range all {
		count[pair{d.Group, d.Digit}]++
		canvases[d.Canvas] = true
		if d.Light {
			light++
		}
		m, err := stroke.Draw(d.Params)
		if err != nil {
			t.Fatalf("drawing %d: %v", i, err)
		}
		if share := inkShare(m, d.Light); share < 0.001 || share > 0.5 {
			t.Errorf("drawing %d (%s %d): ink covers %.2f %%", i, d.Group, d.Digit, 100*share)
		}
	}
	for _, group := range stroke.Groups() {
		for digit := range 10 {
			if count[pair{group, digit}] < 3 {
				t.Errorf("%d drawings of %d in group %q", count[pair{group, digit}], digit, group)
			}
		}
	}
	if light < len(all)/4 || light > 3*len(all)/4 || len(canvases) < 5 || !canvases[28] || !canvases[400] {
		t.Errorf("%d of %d are light on dark, %d sizes of canvas", light, len(all), len(canvases))
	}
}

func writeTable(t *testing.T) {
	hand := stroke.NewHand(20170511)
	text := []byte("[\n")
	for i, group := range stroke.Groups() {
		for digit := range 10 {
			for range 4 {
				row, err := json.Marshal(drawing{group, hand.Drawing(digit, i)})
				if err != nil {
					t.Fatal(err)
				}
				text = append(append(text, row...), ",\n"...)
			}
		}
	}
	text = append(text[:len(text)-2], "\n]\n"...)
	if err := os.WriteFile(tableFile, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// inkShare is the part of the canvas that ink covers.
func inkShare(m *image.Gray, light bool) float64 {
	sum := 0
	for _, v := range m.Pix {
		if !light {
			v = 255 - v
		}
		sum += int(v)
	}
	return float64(sum) / 255 / float64(len(m.Pix))
}

func everyday() stroke.Params {
	return stroke.Params{Digit: 7, Style: 1, Seed: 1, Canvas: 100, Size: 0.6, Width: 1, Pen: 0.1, Jitter: 0.02, Light: true}
}

// bounds of the ink above half.
func bounds(m *image.Gray) image.Rectangle {
	var r image.Rectangle
	for i, v := range m.Pix {
		if v > 127 {
			x, y := i%m.Stride, i/m.Stride
			r = r.Union(image.Rect(x, y, x+1, y+1))
		}
	}
	return r
}

func TestDrawFollowsItsParameters(t *testing.T) {
	draw := func(change func(*stroke.Params)) *image.Gray {
		t.Helper()
		p := everyday()
		change(&p)
		m, err := stroke.Draw(p)
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	plain := draw(func(*stroke.Params) {})
	r := bounds(plain)
	if h := r.Dy(); h < 56 || h > 62 {
		t.Errorf("the digit is %d high, want about 60", h)
	}
	if again := draw(func(*stroke.Params) {}); !slices.Equal(again.Pix, plain.Pix) {
		t.Error("the same parameters gave another picture")
	}
	if other := draw(func(p *stroke.Params) { p.Seed = 2 }); slices.Equal(other.Pix, plain.Pix) {
		t.Error("another seed gave the same picture")
	}
	moved := bounds(draw(func(p *stroke.Params) { p.X, p.Y = .1, -.1 }))
	if dx, dy := moved.Min.X-r.Min.X, moved.Min.Y-r.Min.Y; dx < 9 || dx > 11 || dy > -9 || dy < -11 {
		t.Errorf("moved by %d, %d; want 10, -10", dx, dy)
	}
	dark := draw(func(p *stroke.Params) { p.Light = false })
	for i, v := range dark.Pix {
		if v != 255-plain.Pix[i] {
			t.Fatalf("pixel %d is %d dark on light and %d light on dark", i, v, plain.Pix[i])
		}
	}
	thin, thick := inkShare(draw(func(p *stroke.Params) { p.Pen = 0.05 }), true), inkShare(plain, true)
	if ratio := thick / thin; math.Abs(ratio-2) > 0.3 {
		t.Errorf("a pen of double width leaves %.2f times the ink", ratio)
	}
	for digit := range 10 {
		seen := map[string]bool{}
		for style := range stroke.Styles(digit) {
			m := draw(func(p *stroke.Params) { p.Digit, p.Style = digit, style })
			seen[string(m.Pix)] = true
		}
		if len(seen) != stroke.Styles(digit) || len(seen) < 3 {
			t.Errorf("%d looks %d ways, it has %d styles", digit, len(seen), stroke.Styles(digit))
		}
	}
}

func TestDrawRefusesBadParameters(t *testing.T) {
	for name, change := range map[string]func(*stroke.Params){
		"digit":  func(p *stroke.Params) { p.Digit = 10 },
		"below":  func(p *stroke.Params) { p.Digit = -1 },
		"style":  func(p *stroke.Params) { p.Style = 99 },
		"canvas": func(p *stroke.Params) { p.Canvas = 1 << 20 },
		"size":   func(p *stroke.Params) { p.Size = 0 },
		"pen":    func(p *stroke.Params) { p.Pen = math.NaN() },
		"jitter": func(p *stroke.Params) { p.Jitter = math.Inf(1) },
		"width":  func(p *stroke.Params) { p.Width = 0 },
		"x":      func(p *stroke.Params) { p.X = math.NaN() },
	} {
		p := everyday()
		change(&p)
		if _, err := stroke.Draw(p); !errors.Is(err, stroke.ErrParams) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	p := everyday()
	p.Canvas = 280
	for b.Loop() {
		if _, err := stroke.Draw(p); err != nil {
			b.Fatal(err)
		}
	}
}
