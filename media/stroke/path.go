package stroke

import (
	"fmt"
	"strconv"
	"strings"
)

type point struct{ x, y float64 }

// curveSteps is how many lines a Bézier curve becomes.
const curveSteps = 24

// parsePath turns a path into strokes of short lines.
func parsePath(path string) ([][]point, error) {
	var lines [][]point
	words := strings.FieldsFunc(path, func(r rune) bool { return r == ' ' })
	for len(words) > 0 {
		command := words[0][0]
		words[0] = words[0][1:]
		count := map[byte]int{'M': 1, 'L': 1, 'C': 3}[command]
		if count == 0 || len(words) < 2*count {
			return nil, fmt.Errorf("path %q: command %q", path, command)
		}
		var p [3]point
		for i := range count {
			x, err := strconv.ParseFloat(words[2*i], 64)
			if err != nil {
				return nil, fmt.Errorf("path %q: %w", path, err)
			}
			y, err := strconv.ParseFloat(words[2*i+1], 64)
			if err != nil {
				return nil, fmt.Errorf("path %q: %w", path, err)
			}
			p[i] = point{x, y}
		}
		words = words[2*count:]
		if command == 'M' {
			lines = append(lines, []point{p[0]})
			continue
		}
		if len(lines) == 0 {
			return nil, fmt.Errorf("path %q does not begin with M", path)
		}
		line := &lines[len(lines)-1]
		from := (*line)[len(*line)-1]
		if command == 'L' {
			p = [3]point{between(from, p[0], 1.0/3), between(from, p[0], 2.0/3), p[0]}
		}
		for i := 1; i <= curveSteps; i++ {
			*line = append(*line, bezier(from, p[0], p[1], p[2], float64(i)/curveSteps))
		}
	}
	return lines, nil
}

func between(a, b point, t float64) point { return point{a.x + (b.x-a.x)*t, a.y + (b.y-a.y)*t} }

func bezier(a, b, c, d point, t float64) point {
	u := 1 - t
	wa, wb, wc, wd := u*u*u, 3*u*u*t, 3*u*t*t, t*t*t
	return point{wa*a.x + wb*b.x + wc*c.x + wd*d.x, wa*a.y + wb*b.y + wc*c.y + wd*d.y}
}
