// Package stroke draws digits as people write them: each digit in several styles, as strokes of a pen whose width,
// slant, size and unsteadiness are parameters. Telling what was drawn is left to the models.
//
// The drawings test the shipped model on digits that no data set holds, and fill the samples of the web page. The
// same parameters give the same picture, but for the last bit of rounding between processors.
package stroke

import (
	"errors"
	"fmt"
	"image"
	"math"
	"math/rand/v2"
)

// ErrParams says that a drawing's parameters are out of range.
var ErrParams = errors.New("drawing has bad parameters")

// Params describe one drawing. Lengths are relative, so that the same drawing can be made at any size.
type Params struct {
	// Digit is what is drawn, 0 to 9, and Style one of its [Styles] ways.
	Digit int `json:"digit"`
	Style int `json:"style"`
	// Seed chooses how the hand trembles.
	Seed uint64 `json:"seed"`
	// Canvas is the picture's width and height in pixels, 8 to 4096.
	Canvas int `json:"canvas"`
	// Size is the digit's height as a share of the canvas, above 0 and at most 1.
	Size float64 `json:"size"`
	// X and Y move the digit's centre from the canvas's, as shares of the canvas.
	X float64 `json:"x"`
	Y float64 `json:"y"`
	// Width stretches the digit sideways; 1 leaves it.
	Width float64 `json:"width"`
	// Slant leans the digit to the right by so much for each height; Rotation turns it clockwise, in degrees.
	Slant    float64 `json:"slant"`
	Rotation float64 `json:"rotation"`
	// Pen is the stroke's width as a share of the digit's height.
	Pen float64 `json:"pen"`
	// Jitter is how far the hand strays, as a share of the digit's height.
	Jitter float64 `json:"jitter"`
	// Light draws light ink on a dark ground, as MNIST has it, and not dark on light.
	Light bool `json:"light"`
}

// Validate reports the first parameter that is out of range.
func (p Params) Validate() error {
	check := func(ok bool, what string, v any) error {
		if ok {
			return nil
		}
		return fmt.Errorf("%w: %s %v", ErrParams, what, v)
	}
	within := func(v, low, high float64) bool { return v >= low && v <= high } // false for NaN
	return errors.Join(
		check(p.Digit >= 0 && p.Digit <= 9, "digit", p.Digit),
		check(p.Digit < 0 || p.Digit > 9 || p.Style >= 0 && p.Style < Styles(p.Digit), "style", p.Style),
		check(p.Canvas >= 8 && p.Canvas <= 4096, "canvas", p.Canvas),
		check(p.Size > 0 && p.Size <= 1, "size", p.Size),
		check(within(p.X, -1, 1), "x", p.X), check(within(p.Y, -1, 1), "y", p.Y),
		check(within(p.Width, 0.1, 10), "width", p.Width),
		check(within(p.Slant, -2, 2), "slant", p.Slant),
		check(within(p.Rotation, -360, 360), "rotation", p.Rotation),
		check(p.Pen > 0 && p.Pen <= 1, "pen", p.Pen),
		check(within(p.Jitter, 0, 0.5), "jitter", p.Jitter),
	)
}

// Styles returns how many ways of writing a digit there are; 0 for what is no digit.
func Styles(digit int) int {
	if digit < 0 || digit >= len(styles) {
		return 0
	}
	return len(styles[digit])
}

// Draw makes the picture.
func Draw(p Params) (*image.Gray, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	lines, err := parsePath(styles[p.Digit][p.Style])
	if err != nil {
		return nil, fmt.Errorf("style %d of %d: %w", p.Style, p.Digit, err)
	}
	p.write(lines)
	m := image.NewGray(image.Rect(0, 0, p.Canvas, p.Canvas))
	radius := p.Pen * p.Size * float64(p.Canvas) / 2
	for i, line := range lines {
		ink(m, line, radius, p.Seed+uint64(i))
	}
	if !p.Light {
		for i, v := range m.Pix {
			m.Pix[i] = 255 - v
		}
	}
	return m, nil
}

// write moves the points of a digit, 100 high, to where the hand puts them on the canvas.
func (p Params) write(lines [][]point) {
	r := rand.New(rand.NewPCG(p.Seed, 0x6d696c6c72616365))
	wave := func() func(point) float64 { // a slow random wave over the plane
		fx, fy, phase := (r.Float64()-.5)*0.16, (r.Float64()-.5)*0.16, r.Float64()*2*math.Pi
		return func(q point) float64 { return math.Sin(q.x*fx + q.y*fy + phase) }
	}
	ax, bx, ay, by := wave(), wave(), wave(), wave()
	stray := p.Jitter * 100
	left, right, top, bottom := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	sin, cos := math.Sincos(p.Rotation * math.Pi / 180)
	for _, line := range lines {
		dx, dy := r.NormFloat64()*stray/3, r.NormFloat64()*stray/3 // a stroke begins a little off
		for i, q := range line {
			x := q.x + stray*(ax(q)+bx(q))/2 + dx
			y := q.y + stray*(ay(q)+by(q))/2 + dy
			x = x*p.Width + (50-y)*p.Slant
			x, y = x*cos-y*sin, x*sin+y*cos
			line[i] = point{x, y}
			left, right, top, bottom = min(left, x), max(right, x), min(top, y), max(bottom, y)
		}
	}
	scale := p.Size * float64(p.Canvas) / max(bottom-top, (right-left)*0.8)
	scale *= 1 - min(p.Pen, 0.5) // the ink, not its middle line, has the size
	middle := float64(p.Canvas) / 2
	for _, line := range lines {
		for i, q := range line {
			line[i] = point{
				middle + p.X*float64(p.Canvas) + (q.x-(left+right)/2)*scale,
				middle + p.Y*float64(p.Canvas) + (q.y-(top+bottom)/2)*scale,
			}
		}
	}
}

// ink draws a line with round ends, anti-aliased. The pressure, and so the width, changes slowly along it.
func ink(m *image.Gray, line []point, radius float64, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	phase, depth := r.Float64()*2*math.Pi, 0.05+0.1*r.Float64()
	size := m.Rect.Dx()
	for i := range max(1, len(line)-1) {
		a := line[i]
		b := line[min(i+1, len(line)-1)]
		rad := radius * (1 + depth*math.Sin(phase+float64(i)*0.15))
		full := min(1, 2*rad) // a pen thinner than a pixel leaves grey
		reach := rad + 1
		x0, x1 := max(0, int(min(a.x, b.x)-reach)), min(size-1, int(max(a.x, b.x)+reach))
		y0, y1 := max(0, int(min(a.y, b.y)-reach)), min(size-1, int(max(a.y, b.y)+reach))
		for y := y0; y <= y1; y++ {
			for x := x0; x <= x1; x++ {
				d := distance(point{float64(x) + .5, float64(y) + .5}, a, b)
				v := byte(255 * min(max(rad+0.5-d, 0), full))
				if at := y*m.Stride + x; v > m.Pix[at] {
					m.Pix[at] = v
				}
			}
		}
	}
}

// distance is that of q from the segment between a and b.
func distance(q, a, b point) float64 {
	dx, dy := b.x-a.x, b.y-a.y
	t := 0.0
	if length := dx*dx + dy*dy; length > 0 {
		t = min(max(((q.x-a.x)*dx+(q.y-a.y)*dy)/length, 0), 1)
	}
	return math.Hypot(q.x-a.x-t*dx, q.y-a.y-t*dy)
}
