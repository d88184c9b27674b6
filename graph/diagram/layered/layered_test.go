package layered_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/millrace/millrace/graph/diagram/layered"
)

// check holds what every drawing owes: all is inside, boxes and the room for labels are apart, no line that has a way goes through a box, and all lines go down from their box to their box.
func check(t *testing.T, boxes []layered.Box, lines []layered.Line, d *layered.Drawing) {
	t.Helper()
	type area struct{ x0, y0, x1, y1 float64 }
	var areas []area
	for i, p := range d.Boxes {
		areas = append(areas, area{p.X, p.Y, p.X + boxes[i].Width, p.Y + boxes[i].Height})
	}
	for i, r := range d.Lines {
		if l := lines[i]; !r.Direct && l.LabelWidth > 0 && l.LabelHeight > 0 {
			areas = append(areas, area{r.Label.X - l.LabelWidth/2, r.Label.Y - l.LabelHeight/2, r.Label.X + l.LabelWidth/2, r.Label.Y + l.LabelHeight/2})
		}
	}
	slices.SortFunc(areas, func(a, b area) int {
		switch {
		case a.y0 < b.y0:
			return -1
		case a.y0 > b.y0:
			return 1
		}
		return 0
	})
	const rounded = 0.2
	for i, a := range areas {
		if !(a.x0 >= -rounded && a.y0 >= -rounded && a.x1 <= d.Width+rounded && a.y1 <= d.Height+rounded) {
			t.Fatalf("%v is not inside %v by %v", a, d.Width, d.Height)
		}
		for _, b := range areas[i+1:] {
			if b.y0 >= a.y1 {
				break
			}
			if a.x0 < b.x1-rounded && b.x0 < a.x1-rounded && a.y0 < b.y1-rounded {
				t.Fatalf("%v and %v overlap", a, b)
			}
		}
	}
	for i, r := range d.Lines {
		l := lines[i]
		from, to := d.Boxes[l.From], d.Boxes[l.To]
		begin, end := r.Points[0], r.Points[len(r.Points)-1]
		if math.Abs(begin.X-from.X-boxes[l.From].Width/2-l.FromX) > rounded || math.Abs(begin.Y-from.Y-boxes[l.From].Height) > rounded {
			t.Fatalf("line %d begins at %v, its box is at %v", i, begin, from)
		}
		if math.Abs(end.X-to.X-boxes[l.To].Width/2-l.ToX) > rounded || math.Abs(end.Y-to.Y) > rounded {
			t.Fatalf("line %d ends at %v, its box is at %v", i, end, to)
		}
		for k := 1; k < len(r.Points); k++ {
			if r.Points[k].Y < r.Points[k-1].Y-rounded || k%2 == 1 && !r.Direct && r.Points[k].X != r.Points[k-1].X {
				t.Fatalf("line %d goes %v", i, r.Points)
			}
		}
	}
}

// random makes a graph without cycles: each line goes to a box with a higher number, mostly a near one.
func random(seed uint64, boxes, lines, reach int) ([]layered.Box, []layered.Line) {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]layered.Box, boxes)
	for i := range b {
		b[i] = layered.Box{Width: float64(r.IntN(120)), Height: float64(r.IntN(60)), First: r.IntN(9) == 0, Last: r.IntN(9) == 0}
	}
	var l []layered.Line
	for range lines {
		from := r.IntN(boxes - 1)
		to := from + 1 + r.IntN(min(reach, boxes-from-1))
		line := layered.Line{From: from, To: to, FromX: b[from].Width * (r.Float64() - 0.5), ToX: b[to].Width * (r.Float64() - 0.5)}
		if r.IntN(2) == 0 {
			line.LabelWidth, line.LabelHeight = float64(r.IntN(90)), 12
		}
		l = append(l, line)
	}
	return b, l
}

func TestPlaceRandom(t *testing.T) {
	for seed := range uint64(60) {
		boxes, lines := random(seed, 2+int(seed), int(seed*seed)/20, 8)
		for _, o := range []layered.Options{{}, {BoxGap: 5, RankGap: 7, MaxBends: 40}} {
			d, err := layered.Place(boxes, lines, o)
			if err != nil {
				t.Fatal(err)
			}
			check(t, boxes, lines, d)
			again, err := layered.Place(boxes, lines, o)
			if err != nil || !reflect.DeepEqual(d, again) {
				t.Fatalf("seed %d: the same graph has another drawing: %v", seed, err)
			}
		}
	}
}

// TestPlaceLarge has 10,000 boxes, with lines that are long: those with no room are Direct.
func TestPlaceLarge(t *testing.T) {
	boxes, lines := random(7, 10_000, 20_000, 3000)
	d, err := layered.Place(boxes, lines, layered.Options{MaxBends: 50_000})
	if err != nil {
		t.Fatal(err)
	}
	check(t, boxes, lines, d)
	bends, direct := 0, 0
	for _, r := range d.Lines {
		if r.Direct {
			direct++
		}
		bends += (len(r.Points) - 4) / 2
	}
	if bends > 50_000 || direct == 0 || direct == len(lines) {
		t.Errorf("%d bends, %d of %d lines are direct", bends, direct, len(lines))
	}
}

// TestPlaceChain holds that a chain is straight, and that a line beside it gets room.
func TestPlaceChain(t *testing.T) {
	boxes := []layered.Box{{Width: 40, Height: 20}, {Width: 100, Height: 20}, {Width: 60, Height: 20}, {Width: 40, Height: 20}}
	lines := []layered.Line{{From: 0, To: 1}, {From: 1, To: 2}, {From: 2, To: 3}, {From: 0, To: 3}}
	d, err := layered.Place(boxes, lines[:3], layered.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, boxes, lines[:3], d)
	for i, p := range d.Boxes {
		if p.X+boxes[i].Width/2 != 50 {
			t.Errorf("box %d is at %v: the chain is not straight", i, p)
		}
	}
	if d, err = layered.Place(boxes, lines, layered.Options{}); err != nil {
		t.Fatal(err)
	}
	check(t, boxes, lines, d)
	for _, p := range d.Lines[3].Points[2 : len(d.Lines[3].Points)-2] {
		for _, b := range []int{1, 2} {
			if at := d.Boxes[b]; p.Y > at.Y && p.Y < at.Y+20 && p.X > at.X && p.X < at.X+boxes[b].Width {
				t.Errorf("the long line goes through box %d", b)
			}
		}
	}
}

// TestPlaceCrossings has graphs that can be drawn without a crossing, given in an order that crosses.
func TestPlaceCrossings(t *testing.T) {
	boxes := make([]layered.Box, 9)
	for i := range boxes {
		boxes[i] = layered.Box{Width: 30, Height: 10}
	}
	// A tree whose leaves are given the wrong way round, two chains between the same boxes, and boxes that must change places.
	for name, lines := range map[string][]layered.Line{
		"tree":   {{From: 0, To: 1}, {From: 0, To: 2}, {From: 0, To: 3}, {From: 3, To: 4}, {From: 2, To: 5}, {From: 1, To: 6}, {From: 3, To: 7}, {From: 1, To: 8}},
		"places": {{From: 0, To: 3}, {From: 1, To: 4}, {From: 2, To: 3}, {From: 3, To: 5}, {From: 4, To: 5}, {From: 5, To: 6}, {From: 5, To: 7}, {From: 5, To: 8}},
		"chains": {{From: 0, To: 1}, {From: 0, To: 2}, {From: 2, To: 3}, {From: 1, To: 4}, {From: 4, To: 5}, {From: 3, To: 6}, {From: 6, To: 7}, {From: 5, To: 7}},
	} {
		d, err := layered.Place(boxes, lines, layered.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range lines {
			for k, b := range lines[:i] {
				pa, pb := d.Lines[i].Points, d.Lines[k].Points
				if pa[0].Y == pb[0].Y && (pa[0].X-pb[0].X)*(pa[len(pa)-1].X-pb[len(pb)-1].X) < 0 {
					t.Errorf("%s: %v crosses %v", name, a, b)
				}
			}
		}
	}
}

// TestPlaceStraight has two chains of boxes of many widths side by side: each is straight.
func TestPlaceStraight(t *testing.T) {
	var boxes []layered.Box
	var lines []layered.Line
	for i := range 12 {
		boxes = append(boxes, layered.Box{Width: float64(20 + 37*i%110), Height: 10})
		if i > 1 {
			lines = append(lines, layered.Line{From: i - 2, To: i})
		}
	}
	d, err := layered.Place(boxes, lines, layered.Options{})
	if err != nil {
		t.Fatal(err)
	}
	check(t, boxes, lines, d)
	for i, p := range d.Boxes {
		if off := p.X + boxes[i].Width/2 - d.Boxes[i%2].X - boxes[i%2].Width/2; math.Abs(off) > 0.5 {
			t.Errorf("box %d is %v beside the first of its chain", i, off)
		}
	}
}

func TestPlaceFaults(t *testing.T) {
	box := layered.Box{Width: 10, Height: 10}
	for name, c := range map[string]struct {
		boxes []layered.Box
		lines []layered.Line
		o     layered.Options
	}{
		"cycle":        {[]layered.Box{box, box, box}, []layered.Line{{From: 0, To: 1}, {From: 1, To: 2}, {From: 2, To: 1}}, layered.Options{}},
		"itself":       {[]layered.Box{box}, []layered.Line{{From: 0, To: 0}}, layered.Options{}},
		"no box":       {[]layered.Box{box}, []layered.Line{{From: 0, To: 1}}, layered.Options{}},
		"before":       {[]layered.Box{box}, []layered.Line{{From: -1, To: 0}}, layered.Options{}},
		"no number":    {[]layered.Box{{Width: math.NaN()}}, nil, layered.Options{}},
		"too wide":     {[]layered.Box{{Width: 2e6}}, nil, layered.Options{}},
		"end outside":  {[]layered.Box{box, box}, []layered.Line{{From: 0, To: 1, FromX: 6}}, layered.Options{}},
		"end nowhere":  {[]layered.Box{box, box}, []layered.Line{{From: 0, To: 1, ToX: math.NaN()}}, layered.Options{}},
		"label":        {[]layered.Box{box, box}, []layered.Line{{From: 0, To: 1, LabelWidth: math.Inf(1)}}, layered.Options{}},
		"negative gap": {[]layered.Box{box}, nil, layered.Options{BoxGap: -1}},
	} {
		if _, err := layered.Place(c.boxes, c.lines, c.o); !errors.Is(err, layered.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d, err := layered.Place(nil, nil, layered.Options{}); err != nil || d.Width != 0 || d.Height != 0 {
		t.Errorf("an empty graph: %+v, %v", d, err)
	}
}

// FuzzPlace takes any graph: it has a drawing as it should be, or ErrInvalid.
func FuzzPlace(f *testing.F) {
	f.Add([]byte{5, 10, 20, 30, 40, 50, 0, 1, 1, 2, 2, 3, 0, 4})
	f.Add([]byte{3, 1, 2, 3, 0, 1, 1, 2, 2, 0})
	f.Add([]byte{2, 255, 0, 0, 1, 0, 1, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 1000 {
			return
		}
		n := min(int(data[0]), len(data)-1)
		boxes := make([]layered.Box, n)
		for i, v := range data[1 : n+1] {
			boxes[i] = layered.Box{Width: float64(v), Height: float64(v % 16), First: v%7 == 0, Last: v%11 == 0}
		}
		var lines []layered.Line
		for ends := data[n+1:]; len(ends) > 1; ends = ends[2:] {
			lines = append(lines, layered.Line{From: int(ends[0]), To: int(ends[1]), LabelWidth: float64(ends[0] ^ ends[1]), LabelHeight: float64(ends[1] % 16)})
		}
		d, err := layered.Place(boxes, lines, layered.Options{MaxBends: 2000})
		if err != nil {
			if !errors.Is(err, layered.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		check(t, boxes, lines, d)
	})
}

// BenchmarkPlace10k places 10,000 boxes and 15,000 lines.
func BenchmarkPlace10k(b *testing.B) {
	boxes, lines := random(7, 10_000, 15_000, 40)
	for b.Loop() {
		if _, err := layered.Place(boxes, lines, layered.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
