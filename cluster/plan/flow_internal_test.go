package plan

import (
	"testing"

	"pgregory.net/rapid"
)

// TestFill: a flow that was begun in any way ends as cheap, and as large, as one that was begun with nothing.
func TestFill(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const source, sink = 0, 1
		left, right := rapid.IntRange(1, 5).Draw(t, "left"), rapid.IntRange(1, 5).Draw(t, "right")
		fresh, begun := newFlow(2+left+right), newFlow(2+left+right)
		add := func(from, to, room, cost int) int {
			fresh.add(from, to, room, cost)
			return begun.add(from, to, room, cost)
		}
		var in, out []int
		for i := range left {
			in = append(in, add(source, 2+i, rapid.IntRange(0, 3).Draw(t, "in"), 0))
		}
		for j := range right {
			out = append(out, add(2+left+j, sink, rapid.IntRange(0, 3).Draw(t, "out"), 0))
		}
		for i := range left {
			for j := range right {
				id := add(2+i, 2+left+j, 1, rapid.IntRange(0, 5).Draw(t, "cost"))
				if rapid.Bool().Draw(t, "begin") && begun.edges[in[i]].room > 0 && begun.edges[out[j]].room > 0 {
					begun.take(in[i])
					begun.take(id)
					begun.take(out[j])
				}
			}
		}
		fresh.fill(source, sink)
		begun.fill(source, sink)
		if a, b := amount(fresh, in), amount(begun, in); a != b || price(fresh) != price(begun) {
			t.Fatalf("%d for %d, and begun with something %d for %d", a, price(fresh), b, price(begun))
		}
	})
}

func amount(f *flow, in []int) (n int) {
	for _, id := range in {
		n += f.used(id)
	}
	return n
}

func price(f *flow) (sum int) {
	for id := 0; id < len(f.edges); id += 2 {
		sum += f.used(id) * f.edges[id].cost
	}
	return sum
}
