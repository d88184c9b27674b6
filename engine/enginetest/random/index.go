package random

import (
	"math"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// einsum multiplies with a weight of some of the value's labels and a new one, and permutes the result.
func einsum(m *maker, v value) (value, bool) {
	const letters = "abcd"
	if len(v.shape) > 3 {
		return value{}, false
	}
	own := letters[:len(v.shape)]
	n := 1 + m.IntN(6)
	wide := map[byte]int{'n': n}
	other, inner := "n", 1
	for i := range own {
		wide[own[i]] = v.shape[i]
		if m.IntN(2) == 0 {
			other += own[i : i+1]
			inner *= v.shape[i]
		}
	}
	perm := func(s string) string {
		b := []byte(s)
		m.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
		return string(b)
	}
	other = perm(other)
	var out string
	for _, l := range own + "n" {
		// What only the value has stays, so that no long sum of numbers of both signs is made.
		if !strings.ContainsRune(other, l) || l == 'n' || m.IntN(2) == 0 {
			out += string(l)
		}
	}
	out = perm(out)
	shapeOf := func(labels string) []int {
		shape := make([]int, len(labels))
		for i := range labels {
			shape[i] = wide[labels[i]]
		}
		return shape
	}
	w := m.b.Init("w", m.normal(1/math.Sqrt(float64(inner)), shapeOf(other)...))
	return m.op(shapeOf(out), "Einsum", graph.Attrs{"equation": own + "," + other + "->" + out}, v.name, w)
}

// indices returns an index tensor of rows of depth numbers for the first dimensions of a shape.
func (m *maker) indices(shape []int, rows, depth int) *tensor.Tensor {
	t := tensor.Must(tensor.New(tensor.Int64, rows, depth))
	for i := range tensor.Data[int64](t) {
		d := shape[i%depth]
		tensor.Data[int64](t)[i] = int64(m.IntN(2*d) - d)
	}
	return t
}

func gatherND(m *maker, v value) (value, bool) {
	depth, rows := 1+m.IntN(len(v.shape)), 1+m.IntN(5)
	shape := append([]int{rows}, v.shape[depth:]...)
	return m.op(shape, "GatherND", nil, v.name, m.b.Init("at", m.indices(v.shape, rows, depth)))
}

// scatterND adds: without a reduction the result of an index that comes twice is open.
func scatterND(m *maker, v value) (value, bool) {
	depth, rows := 1+m.IntN(len(v.shape)), 1+m.IntN(5)
	updates := m.normal(1, append([]int{rows}, v.shape[depth:]...)...)
	attrs := graph.Attrs{"reduction": m.oneOf("add", "mul")}
	return m.op(v.shape, "ScatterND", attrs, v.name, m.b.Init("at", m.indices(v.shape, rows, depth)), m.b.Init("by", updates))
}

func scatterElements(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	part := append([]int{}, v.shape...)
	for i := range part {
		part[i] = 1 + m.IntN(part[i])
	}
	at := tensor.Must(tensor.New(tensor.Int64, part...))
	for i := range tensor.Data[int64](at) {
		tensor.Data[int64](at)[i] = int64(m.IntN(2*v.shape[axis]) - v.shape[axis])
	}
	index := m.b.Init("at", at)
	gathered := m.b.Op("GatherElements", graph.Attrs{"axis": int64(axis)}, v.name, index)
	attrs := graph.Attrs{"axis": int64(axis), "reduction": "add"}
	return m.op(v.shape, "ScatterElements", attrs, v.name, index, gathered)
}

func compress(m *maker, v value) (value, bool) {
	axis := m.IntN(len(v.shape))
	keep := make([]bool, v.shape[axis])
	shape := append([]int{}, v.shape...)
	shape[axis] = 0
	for i := range keep {
		if keep[i] = i == 0 || m.IntN(2) == 0; keep[i] {
			shape[axis]++
		}
	}
	return m.op(shape, "Compress", graph.Attrs{"axis": int64(axis)}, v.name, m.b.Init("keep", tensor.Vector(keep...)))
}

func reverseSequence(m *maker, v value) (value, bool) {
	if len(v.shape) < 2 {
		return value{}, false
	}
	batch := m.IntN(2)
	lengths := make([]int64, v.shape[batch])
	for i := range lengths {
		lengths[i] = int64(m.IntN(v.shape[1-batch] + 1))
	}
	attrs := graph.Attrs{"batch_axis": int64(batch), "time_axis": int64(1 - batch)}
	return m.op(v.shape, "ReverseSequence", attrs, v.name, m.b.Ints(lengths...))
}
