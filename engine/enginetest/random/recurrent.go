package random

import (
	"math"

	"github.com/millrace/millrace/graph"
)

// recurrent runs one of the recurrent operators over the first dimension.
func recurrent(m *maker, v value) (value, bool) {
	if len(v.shape) != 3 {
		return value{}, false
	}
	hidden, dirs := 1+m.IntN(6), 1+m.IntN(2)
	direction := m.oneOf("forward", "reverse")
	if dirs == 2 {
		direction = "bidirectional"
	}
	attrs := graph.Attrs{"hidden_size": int64(hidden), "direction": direction}
	op := m.oneOf("RNN", "GRU", "LSTM")
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[op] * hidden
	if op == "GRU" {
		attrs["linear_before_reset"] = int64(m.IntN(2))
	}
	w := m.b.Init("w", m.normal(1/math.Sqrt(float64(v.shape[2])), dirs, gates, v.shape[2]))
	r := m.b.Init("r", m.normal(1/math.Sqrt(float64(hidden)), dirs, gates, hidden))
	inputs := []string{v.name, w, r}
	if m.IntN(2) == 0 {
		inputs = append(inputs, m.b.Init("b", m.normal(0.5, dirs, 2*gates)))
	}
	return m.op([]int{v.shape[0], dirs, v.shape[1], hidden}, op, attrs, inputs...)
}

// gridSample reads images at places of which some are outside.
func gridSample(m *maker, v value) (value, bool) {
	if len(v.shape) != 4 {
		return value{}, false
	}
	h, w := 1+m.IntN(6), 1+m.IntN(6)
	attrs := graph.Attrs{"mode": m.oneOf("bilinear", "bicubic", "nearest"), "padding_mode": m.oneOf("zeros", "border", "reflection"), "align_corners": int64(m.IntN(2))}
	grid := m.b.Init("grid", m.between(-1.3, 1.3, v.shape[0], h, w, 2))
	return m.op([]int{v.shape[0], v.shape[1], h, w}, "GridSample", attrs, v.name, grid)
}
