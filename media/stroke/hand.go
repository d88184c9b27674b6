package stroke

import (
	"math"
	"math/rand/v2"
)

// Hand draws the parameters of drawings at random, as many people with many pens would.
type Hand struct {
	r *rand.Rand
}

// NewHand returns a hand whose drawings depend on the seed alone. It is for one goroutine.
func NewHand(seed uint64) *Hand { return &Hand{rand.New(rand.NewPCG(seed, 0x737472_6f6b65))} }

// between is a number in [low, high), rounded so that a table of drawings stays readable.
func (h *Hand) between(low, high float64) float64 {
	return math.Round((low+(high-low)*h.r.Float64())*1000) / 1000
}

// Digit draws one digit in an everyday way: upright or leaning a little, in the middle, with an ordinary pen, light
// on dark.
func (h *Hand) Digit(digit, canvas int) Params {
	return Params{
		Digit: digit, Style: h.r.IntN(max(1, Styles(digit))), Seed: h.r.Uint64N(1 << 32), Canvas: canvas,
		Size: h.between(0.55, 0.75), X: h.between(-.05, .05), Y: h.between(-.05, .05), Width: h.between(0.85, 1.2),
		Slant: h.between(-.05, .22), Rotation: h.between(-5, 5), Pen: h.between(0.07, 0.13), Jitter: h.between(0.01, 0.03),
		Light: true,
	}
}

// groups are the ways in which drawings differ from an everyday one.
var groups = []struct {
	name   string
	change func(h *Hand, p *Params)
}{
	{"everyday", func(*Hand, *Params) {}},
	{"off-centre", func(h *Hand, p *Params) {
		p.Size = h.between(0.3, 0.5)
		room := (1 - p.Size) / 2
		p.X, p.Y = h.between(-room*.9, room*.9), h.between(-room*.9, room*.9)
	}},
	{"thin", func(h *Hand, p *Params) { p.Pen = h.between(0.02, 0.04) }},
	{"thick", func(h *Hand, p *Params) { p.Pen = h.between(0.17, 0.23) }},
	{"small", func(h *Hand, p *Params) { p.Size = h.between(0.18, 0.3) }},
	{"large", func(h *Hand, p *Params) { p.Size, p.X, p.Y = h.between(0.86, 0.98), 0, 0 }},
	{"slanted", func(h *Hand, p *Params) { p.Slant, p.Rotation = h.between(.25, .45), h.between(-4, 8) }},
	{"turned", func(h *Hand, p *Params) {
		p.Rotation = h.between(9, 15)
		if h.r.IntN(2) == 0 {
			p.Rotation = -p.Rotation
		}
	}},
	{"unsteady", func(h *Hand, p *Params) { p.Jitter = h.between(0.06, 0.085) }},
	{"wide or narrow", func(h *Hand, p *Params) {
		p.Width = h.between(0.65, 0.8)
		if h.r.IntN(2) == 0 {
			p.Width = h.between(1.25, 1.5)
		}
	}},
}

// Groups returns the names of the groups that Drawing knows.
func Groups() []string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = g.name
	}
	return names
}

// Drawing draws a digit of a group, by its index in Groups, on a canvas of a random size from 28 to 400 pixels, light
// on dark or dark on light. A small digit has at least 14 pixels, and a pen at least one.
func (h *Hand) Drawing(digit, group int) Params {
	canvas := []int{28, 28, 56, 64, 100, 140, 200, 280, 400}[h.r.IntN(9)]
	p := h.Digit(digit, canvas)
	p.Light = h.r.IntN(2) == 0
	groups[group%len(groups)].change(h, &p)
	if p.Size*float64(p.Canvas) < 14 {
		p.Canvas = int(math.Ceil(14 / p.Size))
	}
	height := p.Size * float64(p.Canvas)
	p.Pen = math.Ceil(max(p.Pen, 1/height)*1000) / 1000
	return p
}
