package random

import (
	"fmt"
	"math/rand/v2"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// Newer makes the case of that seed with one operator that came after opset 17: the same one every time.
func Newer(seed uint64) (Case, error) {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 3)), b: graph.NewBuilder(fmt.Sprint("newer-", seed)), inputs: map[string]*tensor.Tensor{}}
	newer[seed%uint64(len(newer))](m)
	g, err := infer.Build(m.b)
	if err != nil {
		return Case{}, fmt.Errorf("random newer %d: %w", seed, err)
	}
	if g.Nodes[0].OpType == "Attention" {
		g.Opset[""] = 24
	}
	return Case{Graph: g, Inputs: m.inputs}, nil
}

// newer each make a graph of one operator.
var newer = []func(m *maker){attention}

// attention has one of its forms: packed heads or not, a past or an outer cache, a mask of one of its shapes.
func attention(m *maker) {
	batch, groups, kv, size, wide := 1+m.IntN(3), 1+m.IntN(3), 1+m.IntN(3), 1+m.IntN(9), 1+m.IntN(9)
	queries, keys, past := 1+m.IntN(6), 1+m.IntN(6), 0
	if m.IntN(8) == 0 {
		queries, keys, size = 20+m.IntN(30), 40+m.IntN(50), 16+m.IntN(50)
	}
	attrs := graph.Attrs{}
	if queries > 1 && m.IntN(2) == 0 { // the library lets a single query see all keys
		attrs["is_causal"] = int64(1)
	}
	heads := groups * kv
	shape := func(n, rows, size int) []int { return []int{batch, n, rows, size} }
	if m.IntN(2) == 0 {
		attrs["q_num_heads"], attrs["kv_num_heads"] = int64(heads), int64(kv)
		shape = func(n, rows, size int) []int { return []int{batch, rows, n * size} }
	}
	in := []string{
		m.table("q", m.normal(1, shape(heads, queries, size)...)), m.table("k", m.normal(1, shape(kv, keys, size)...)), m.table("v", m.normal(1, shape(kv, keys, wide)...)),
		"", "", "", "",
	}
	outer := m.IntN(4) == 0
	if !outer && m.IntN(2) == 0 {
		past = 1 + m.IntN(5)
		in[4], in[5] = m.table("pk", m.normal(1, batch, kv, past, size)), m.table("pv", m.normal(1, batch, kv, past, wide))
	}
	if outer {
		lengths := make([]int64, batch)
		for i := range lengths {
			lengths[i] = 1 + m.Int64N(int64(keys))
		}
		in[6] = m.table("n", tensor.Vector(lengths...))
	}
	if m.IntN(2) == 0 {
		dims := [][]int{{queries, past + keys}, {1, queries, past + keys}, {heads, queries, past + keys}, {batch, 1, queries, past + keys}, {batch, heads, queries, past + keys}}[m.IntN(5)]
		mask := m.normal(1, dims...)
		if m.IntN(2) == 0 {
			seen := make([]bool, mask.Size())
			for i, v := range tensor.Data[float32](mask) {
				seen[i] = v > -0.7
			}
			mask = tensor.Must(tensor.Of(seen, dims...))
		}
		in[3] = m.table("m", mask)
	}
	if m.IntN(3) == 0 {
		attrs["softcap"] = float32(0.5 + m.Float64())
	}
	if queries < 20 && m.IntN(3) == 0 {
		attrs["scale"] = float32(m.Float64())
	}
	outputs := 1
	if past > 0 {
		outputs = 3
	}
	if outputs == 3 && m.IntN(2) == 0 {
		outputs = 4
		attrs["qk_matmul_output_mode"] = int64([]int{0, 1, 3}[m.IntN(3)]) // the library has the lowest number in 2, not minus infinity
	}
	m.b.Output(m.b.Ops("Attention", outputs, attrs, in...)...)
}
