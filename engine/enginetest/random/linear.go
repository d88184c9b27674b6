package random

import (
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// Linear makes the case of that seed with LinearAttention or CausalConvWithState of opset 27, which the library has under a domain of
// its own before it has the opset: the same case every time.
func Linear(seed uint64) (Case, error) {
	m := begin("linear", seed, 4)
	[]func(m *maker){linearAttention, causalConv}[seed%2](m)
	return m.finish("linear", seed)
}

func linearAttention(m *maker) {
	batch, rows, heads, group, keys, values := 1+m.IntN(3), 1+m.IntN(6), 1+m.IntN(3), 1+m.IntN(2), 1+m.IntN(5), 1+m.IntN(5)
	in := []string{
		m.table("q", m.normal(1, batch, rows, heads*group*keys)), m.table("k", m.normal(0.4, batch, rows, heads*keys)),
		m.table("v", m.normal(1, batch, rows, heads*values)), "", "", "",
	}
	rule := m.oneOf("linear", "gated", "delta", "gated_delta")
	if m.IntN(2) == 0 {
		in[3] = m.table("past", m.normal(1, batch, heads, keys, values))
	}
	if rule == "gated" || rule == "gated_delta" {
		width := heads
		if m.IntN(2) == 0 {
			width *= keys
		}
		decay := m.normal(1, batch, rows, width)
		for i, v := range tensor.Data[float32](decay) {
			tensor.Data[float32](decay)[i] = float32(-math.Abs(float64(v)))
		}
		in[4] = m.table("decay", decay)
	}
	if rule == "delta" || rule == "gated_delta" {
		width := heads
		if m.IntN(3) == 0 {
			width = 1
		}
		in[5] = m.table("beta", m.normal(0.5, batch, rows, width))
	}
	attrs := graph.Attrs{"update_rule": rule, "q_num_heads": int64(heads * group), "kv_num_heads": int64(heads)}
	if m.IntN(2) == 0 {
		attrs["scale"] = float32(0.25)
	}
	m.b.Output(m.b.Ops("LinearAttention", 2, attrs, in...)...)
}

func causalConv(m *maker) {
	batch, channels, length, width := 1+m.IntN(3), 1+m.IntN(4), 1+m.IntN(6), 2+m.IntN(4)
	in := []string{m.table("x", m.normal(1, batch, channels, length)), m.table("w", m.normal(1, channels, 1, width)), "", ""}
	if m.IntN(2) == 0 {
		in[2] = m.table("b", m.normal(1, channels))
	}
	if m.IntN(2) == 0 {
		in[3] = m.table("past", m.normal(1, batch, channels, width-1))
	}
	m.b.Output(m.b.Ops("CausalConvWithState", 2, graph.Attrs{"activation": m.oneOf("none", "silu", "swish")}, in...)...)
}
