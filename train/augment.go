package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Augment says how far training pictures are changed at random, each time they are used. The zero value changes nothing.
type Augment struct {
	// Shift is the most that a picture moves along each axis, as a share of its side.
	Shift float64
	// Rotate is the most that it turns, in degrees.
	Rotate float64
	// Scale is the most that it grows or shrinks: 0.1 is from 1/1.1 to 1.1. The axes differ by a third of it.
	Scale float64
	// Shear is the most that its rows are moved against each other, in pixels a row.
	Shear float64
	// Thickness is how much of a pixel its light strokes grow or shrink at most, from 0 to 1.
	Thickness float64
}

// Digits is an Augment for handwritten digits, which must not turn far.
var Digits = Augment{Shift: 0.06, Rotate: 12, Scale: 0.12, Shear: 0.15, Thickness: 0.6}

// fields are the names in ParseAugment's text, with the most that each may be.
func (a *Augment) fields() []struct {
	name string
	v    *float64
	most float64
} {
	return []struct {
		name string
		v    *float64
		most float64
	}{{"shift", &a.Shift, 0.5}, {"rotate", &a.Rotate, 180}, {"scale", &a.Scale, 1}, {"shear", &a.Shear, 1}, {"thickness", &a.Thickness, 1}}
}

// ParseAugment reads "none", "digits", or a list such as "shift=0.05,rotate=10,scale=0.1,shear=0.1,thickness=0.5".
func ParseAugment(text string) (Augment, error) {
	switch text {
	case "", "none":
		return Augment{}, nil
	case "digits":
		return Digits, nil
	}
	var a Augment
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		v, err := strconv.ParseFloat(value, 64)
		known := false
		for _, f := range a.fields() {
			if f.name == name {
				known, *f.v = true, v
			}
		}
		if err != nil || !known {
			return a, fmt.Errorf("augmentation %q: say none, digits, or a list of shift=, rotate=, scale=, shear= and thickness= with numbers", part)
		}
	}
	return a, a.validate()
}

// String is what ParseAugment reads.
func (a Augment) String() string {
	var parts []string
	for _, f := range a.fields() {
		if *f.v != 0 {
			parts = append(parts, f.name+"="+strconv.FormatFloat(*f.v, 'g', -1, 64))
		}
	}
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ",")
}

func (a Augment) validate() error {
	for _, f := range a.fields() {
		if !(*f.v >= 0 && *f.v <= f.most) {
			return fmt.Errorf("augmentation %s=%v is not from 0 to %v", f.name, *f.v, f.most)
		}
	}
	return nil
}

// augmenter changes pictures of one size. It is for one goroutine.
type augmenter struct {
	Augment
	channels, h, w int
	turned         []float32
	pcg            *rand.PCG
	random         *rand.Rand
}

func newAugmenter(a Augment, channels, h, w int) *augmenter {
	pcg := rand.NewPCG(0, 0)
	return &augmenter{Augment: a, channels: channels, h: h, w: w, turned: make([]float32, h*w), pcg: pcg, random: rand.New(pcg)}
}

// symmetric draws from -most to most.
func (a *augmenter) symmetric(most float64) float64 { return (2*a.random.Float64() - 1) * most }

// apply writes a changed copy of src, bytes [C,H,W], to dst as numbers from 0 to 255. The seeds alone decide how: the same
// seeds give the same bits.
func (a *augmenter) apply(dst []float32, src []uint8, seed1, seed2 uint64) {
	a.pcg.Seed(seed1, seed2)
	turn := a.symmetric(a.Rotate) * math.Pi / 180
	size := math.Pow(1+a.Scale, a.symmetric(1))
	ratio := math.Pow(1+a.Scale/3, a.symmetric(1))
	shear := a.symmetric(a.Shear)
	dx, dy := a.symmetric(a.Shift)*float64(a.w), a.symmetric(a.Shift)*float64(a.h)
	thick := a.symmetric(a.Thickness)

	// The matrix takes a place in the new picture to the place in the old one that it shows.
	sin, cos := math.Sincos(turn)
	sx, sy := 1/(size*ratio), ratio/size
	xx, xy := cos*sx, (sin+shear*cos)*sx
	yx, yy := -sin*sy, (cos-shear*sin)*sy
	cx, cy := float64(a.w-1)/2, float64(a.h-1)/2
	ox, oy := cx-xx*(cx+dx)-xy*(cy+dy), cy-yx*(cx+dx)-yy*(cy+dy)
	plane := a.h * a.w
	for c := range a.channels {
		from, to := src[c*plane:(c+1)*plane], dst[c*plane:(c+1)*plane]
		out := to
		if thick != 0 {
			out = a.turned
		}
		for y := range a.h {
			px, py := float32(ox+xy*float64(y)), float32(oy+yy*float64(y))
			stepX, stepY := float32(xx), float32(yx)
			row := out[y*a.w : (y+1)*a.w]
			for x := range row {
				row[x] = a.sample(from, px, py)
				px += stepX
				py += stepY
			}
		}
		if thick != 0 {
			a.thicken(to, a.turned, float32(thick))
		}
	}
}

// sample reads between pixels, linearly; what is outside is like the edge.
func (a *augmenter) sample(p []uint8, x, y float32) float32 {
	x, y = min(max(x, 0), float32(a.w-1)), min(max(y, 0), float32(a.h-1))
	x0, y0 := int(x), int(y)
	x1, y1 := min(x0+1, a.w-1), min(y0+1, a.h-1)
	rx, ry := x-float32(x0), y-float32(y0)
	upper, lower := p[y0*a.w:], p[y1*a.w:]
	u0, u1, l0, l1 := float32(upper[x0]), float32(upper[x1]), float32(lower[x0]), float32(lower[x1])
	top, low := u0+(u1-u0)*rx, l0+(l1-l0)*rx
	return top + (low-top)*ry
}

// thicken mixes each pixel with the lightest of its four neighbours (thick > 0) or the darkest.
func (a *augmenter) thicken(dst, src []float32, thick float32) {
	for y := range a.h {
		// At the edges, a pixel is its own neighbour.
		row := src[y*a.w : (y+1)*a.w]
		above, below := src[max(y-1, 0)*a.w:][:a.w], src[min(y+1, a.h-1)*a.w:][:a.w]
		out := dst[y*a.w : (y+1)*a.w]
		for x, v := range row {
			left, right := row[max(x-1, 0)], row[min(x+1, a.w-1)]
			if thick > 0 {
				out[x] = v + (max(v, above[x], below[x], left, right)-v)*thick
			} else {
				out[x] = v - (min(v, above[x], below[x], left, right)-v)*thick
			}
		}
	}
}
