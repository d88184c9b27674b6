package report

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A series is a line of a plot.
type series struct {
	name   string
	color  string
	points [][2]float64
	marks  bool // a dot at each point
}

// A plot is a drawing of lines. It is our own: the libraries that draw plots bring fonts and writers of five formats, 9 MB of them.
type plot struct {
	title, x, y string
	series      []series
	// Where both are 0 the limits are those of the points.
	low, high float64
}

// Sizes of a plot in pixels.
const (
	width, height         = 520, 300
	left, right, top, low = 62, 14, 34, 44
)

// palette has colours that are told apart by people who see few colours too (Okabe and Ito's).
var palette = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"}

// ticks are round numbers from lo to hi, about n of them.
func ticks(lo, hi float64, n int) []float64 {
	if !(hi > lo) {
		return []float64{lo}
	}
	step := math.Pow(10, math.Floor(math.Log10((hi-lo)/float64(n))))
	for _, k := range []float64{1, 2, 5, 10} {
		if (hi-lo)/(step*k) <= float64(n) {
			step *= k
			break
		}
	}
	var list []float64
	for v := math.Ceil(lo/step) * step; v <= hi+step*1e-9; v += step {
		list = append(list, v)
	}
	return list
}

// limits are the smallest and the largest number of the points along an axis, and a little more where they are one.
func (p *plot) limits(axis int) (lo, hi float64) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, s := range p.series {
		for _, q := range s.points {
			lo, hi = min(lo, q[axis]), max(hi, q[axis])
		}
	}
	if axis == 1 && p.low != p.high {
		return p.low, p.high
	}
	switch {
	case math.IsInf(lo, 0) || math.IsInf(hi, 0):
		return 0, 1
	case lo == hi:
		return lo - 0.5, hi + 0.5
	}
	return lo, hi
}

// svg draws the plot.
func (p *plot) svg() template.HTML {
	x0, x1 := p.limits(0)
	y0, y1 := p.limits(1)
	px := func(x float64) float64 { return left + (x-x0)/(x1-x0)*(width-left-right) }
	py := func(y float64) float64 { return height - low - (y-y0)/(y1-y0)*(height-top-low) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="sans-serif" font-size="11" role="img" aria-label="%s">`,
		width, height, width, height, template.HTMLEscapeString(p.title))
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="16" font-size="13" font-weight="bold">%s</text>`, left, template.HTMLEscapeString(p.title))
	for _, v := range ticks(y0, y1, 6) {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" dominant-baseline="middle">%.4g</text>`, left, py(v), width-right, left-6, py(v), v)
	}
	for _, v := range ticks(x0, x1, 8) {
		fmt.Fprintf(&b, `<path d="M%.1f %dv4" stroke="#888"/><text x="%.1f" y="%d" text-anchor="middle">%.6g</text>`, px(v), height-low, px(v), height-low+16, v)
	}
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" fill="none" stroke="#888"/>`, left, top, height-low, width-right)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`, (left+width-right)/2, height-8, template.HTMLEscapeString(p.x))
	fmt.Fprintf(&b, `<text x="14" y="%d" text-anchor="middle" transform="rotate(-90 14 %d)">%s</text>`, (top+height-low)/2, (top+height-low)/2, template.HTMLEscapeString(p.y))
	for i, s := range p.series {
		if s.color == "" {
			s.color = palette[i%len(palette)]
		}
		var path strings.Builder
		for k, q := range s.points {
			command := "L"
			if k == 0 {
				command = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, px(q[0]), py(q[1]))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.6"/>`, path.String(), s.color)
		if s.marks || len(s.points) == 1 {
			for _, q := range s.points {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.6" fill="%s"/>`, px(q[0]), py(q[1]), s.color)
			}
		}
		if s.name != "" {
			x := width - right - 84*(len(p.series)-i)
			fmt.Fprintf(&b, `<path d="M%d 12h14" stroke="%s" stroke-width="3"/><text x="%d" y="16">%s</text>`, x, s.color, x+18, template.HTMLEscapeString(s.name))
		}
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}
