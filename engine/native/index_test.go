package native_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// whole returns small whole numbers.
func whole(r *rand.Rand, dims ...int) *tensor.Tensor {
	x := tensor.Must(tensor.New(tensor.Float64, dims...))
	for i := range tensor.Data[float64](x) {
		tensor.Data[float64](x)[i] = float64(r.IntN(9) - 4)
	}
	return x
}

// offset is the place of an index in row-major order; negative numbers count from the end.
func offset(shape tensor.Shape, index []int) int {
	at := 0
	for d, i := range index {
		if i < 0 {
			i += shape[d]
		}
		at = at*shape[d] + i
	}
	return at
}

// each calls do with every index of a shape.
func each(shape []int, do func(index []int)) {
	index := make([]int, len(shape))
	for n := tensor.Shape(shape).Size(); n > 0; n-- {
		do(index)
		for d := len(shape) - 1; d >= 0; d-- {
			if index[d]++; index[d] < shape[d] {
				break
			}
			index[d] = 0
		}
	}
}

var reductions = map[string]func(old, by float64) float64{
	"none": func(_, by float64) float64 { return by }, "add": func(old, by float64) float64 { return old + by },
	"mul": func(old, by float64) float64 { return old * by }, "min": func(old, by float64) float64 { return min(old, by) },
	"max": func(old, by float64) float64 { return max(old, by) },
}

// GatherND and ScatterND against their definition, for random shapes.
func TestIndexND(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		shape := make([]int, 1+r.IntN(4))
		for i := range shape {
			shape[i] = 1 + r.IntN(4)
		}
		batch := r.IntN(len(shape))
		depth := 1 + r.IntN(len(shape)-batch)
		x := whole(r, shape...)
		rows := append(append([]int{}, shape[:batch]...), make([]int, r.IntN(3))...)
		for i := batch; i < len(rows); i++ {
			rows[i] = r.IntN(4)
		}
		ix := tensor.Must(tensor.New(tensor.Int64, append(append([]int{}, rows...), depth)...))
		for i := range tensor.Data[int64](ix) {
			d := shape[batch+i%depth]
			tensor.Data[int64](ix)[i] = int64(r.IntN(2*d) - d)
		}
		rest := shape[batch+depth:]
		want := tensor.Must(tensor.New(tensor.Float64, append(append([]int{}, rows...), rest...)...))
		each(rows, func(row []int) {
			from := append([]int{}, row[:batch]...)
			for k := range depth {
				from = append(from, int(tensor.Data[int64](ix)[offset(ix.Shape(), append(append([]int{}, row...), k))]))
			}
			each(rest, func(in []int) {
				tensor.Data[float64](want)[offset(want.Shape(), append(append([]int{}, row...), in...))] = tensor.Data[float64](x)[offset(shape, append(append([]int{}, from...), in...))]
			})
		})
		n := node("GatherND", graph.Attrs{"batch_dims": int64(batch)}, []string{"x0", "x1"}, "y0")
		got, err := tryApply(t, 13, n, x, ix)
		if err != nil {
			t.Fatalf("%v by %v, %d: %v", shape, ix.Shape(), batch, err)
		}
		if err := conformance.Alike(got[0], want); err != nil {
			t.Fatalf("GatherND %v by %v, %d: %v", shape, ix.Shape(), batch, err)
		}
		if batch > 0 {
			continue
		}
		updates := whole(r, want.Shape()...)
		for how, by := range reductions {
			want := x.Clone()
			each(rows, func(row []int) {
				var to []int
				for k := range depth {
					to = append(to, int(tensor.Data[int64](ix)[offset(ix.Shape(), append(append([]int{}, row...), k))]))
				}
				each(rest, func(in []int) {
					d := &tensor.Data[float64](want)[offset(shape, append(append([]int{}, to...), in...))]
					*d = by(*d, tensor.Data[float64](updates)[offset(updates.Shape(), append(append([]int{}, row...), in...))])
				})
			})
			got := apply(t, 18, node("ScatterND", graph.Attrs{"reduction": how}, []string{"x0", "x1", "x2"}, "y0"), x, ix, updates)
			if err := conformance.Alike(got[0], want); err != nil {
				t.Fatalf("ScatterND %v by %v, %s: %v", shape, ix.Shape(), how, err)
			}
		}
	}
}

// GatherElements and ScatterElements against their definition.
func TestIndexElements(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		shape := make([]int, 1+r.IntN(3))
		part := make([]int, len(shape))
		axis := r.IntN(len(shape))
		for i := range shape {
			shape[i] = 1 + r.IntN(4)
			part[i] = r.IntN(shape[i] + 1)
		}
		part[axis] = r.IntN(5)
		x, updates := whole(r, shape...), whole(r, part...)
		ix := tensor.Must(tensor.New(tensor.Int64, part...))
		for i := range tensor.Data[int64](ix) {
			tensor.Data[int64](ix)[i] = int64(r.IntN(2*shape[axis]) - shape[axis])
		}
		attrs := graph.Attrs{"axis": int64(axis - len(shape)*r.IntN(2))}
		to := func(at []int) int {
			at = append([]int{}, at...)
			at[axis] = int(tensor.Data[int64](ix)[offset(part, at)])
			return offset(shape, at)
		}
		want := tensor.Must(tensor.New(tensor.Float64, part...))
		each(part, func(at []int) {
			tensor.Data[float64](want)[offset(part, at)] = tensor.Data[float64](x)[to(at)]
		})
		got := apply(t, 13, node("GatherElements", attrs, []string{"x0", "x1"}, "y0"), x, ix)
		if err := conformance.Alike(got[0], want); err != nil {
			t.Fatalf("GatherElements %v by %v at %d: %v", shape, part, axis, err)
		}
		for how, by := range reductions {
			want := x.Clone()
			each(part, func(at []int) {
				d := &tensor.Data[float64](want)[to(at)]
				*d = by(*d, tensor.Data[float64](updates)[offset(part, at)])
			})
			attrs["reduction"] = how
			got := apply(t, 18, node("ScatterElements", attrs, []string{"x0", "x1", "x2"}, "y0"), x, ix, updates)
			if err := conformance.Alike(got[0], want); err != nil {
				t.Fatalf("ScatterElements %v by %v at %d, %s: %v", shape, part, axis, how, err)
			}
		}
	}
}

// Strings, booleans and complex numbers are moved as well; an index outside is an error of the run.
func TestIndexOther(t *testing.T) {
	ix := tensor.Must(tensor.Of([]int64{2, 0}, 2, 1))
	scatter := node("ScatterND", nil, []string{"x0", "x1", "x2"}, "y0")
	for _, tt := range []struct{ x, u, picked, changed *tensor.Tensor }{
		{tensor.Vector("a", "b", "c"), tensor.Vector("d", "e"), tensor.Vector("c", "a"), tensor.Vector("e", "b", "d")},
		{tensor.Vector(true, false, false), tensor.Vector(true, false), tensor.Vector(false, true), tensor.Vector(false, false, true)},
		{tensor.Vector[complex64](1, 2, 3i), tensor.Vector[complex64](4, 5), tensor.Vector[complex64](3i, 1), tensor.Vector[complex64](5, 2, 4)},
	} {
		got := apply(t, 13, node("GatherND", nil, []string{"x0", "x1"}, "y0"), tt.x, ix)[0]
		if fmt.Sprint(got) != fmt.Sprint(tt.picked) {
			t.Errorf("GatherND gives %v; want %v", got, tt.picked)
		}
		got = apply(t, 13, scatter, tt.x, ix, tt.u)[0]
		if fmt.Sprint(got) != fmt.Sprint(tt.changed) {
			t.Errorf("ScatterND gives %v; want %v", got, tt.changed)
		}
	}
	x := tensor.Vector[float32](1, 2, 3)
	for _, tt := range []struct {
		n   *graph.Node
		ix  *tensor.Tensor
		say string
	}{
		{node("GatherND", nil, []string{"x0", "x1"}, "y0"), tensor.Must(tensor.Of([]int64{3}, 1, 1)), "index 3 is outside dimension 0 of 3"},
		{node("GatherND", nil, []string{"x0", "x1"}, "y0"), tensor.Must(tensor.Of([]int64{-4}, 1, 1)), "index -4 is outside"},
		{node("GatherND", nil, []string{"x0", "x1"}, "y0"), tensor.Must(tensor.Of([]int64{0, 0}, 1, 2)), "2 numbers for 1 dimensions"},
		{node("GatherND", graph.Attrs{"batch_dims": int64(1)}, []string{"x0", "x1"}, "y0"), tensor.Must(tensor.Of([]int64{0, 0}, 2, 1)), "1 batch dimensions"},
		{node("ScatterND", graph.Attrs{"reduction": "xor"}, []string{"x0", "x1", "x2"}, "y0"), ix, `reduction "xor"`},
		{scatter, tensor.Must(tensor.Of([]int64{0, 0, 0}, 3, 1)), "must have shape [3]"},
		{scatter, tensor.Must(tensor.Of([]int64{5, 0}, 2, 1)), "index 5 is outside"},
	} {
		in := []*tensor.Tensor{x, tt.ix, tensor.Vector[float32](1, 2)}[:len(tt.n.Inputs)]
		if _, err := tryApply(t, 18, tt.n, in...); err == nil || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: got %v; want %q", tt.n.OpType, err, tt.say)
		}
	}
	// Rows without numbers, of nothing: however many there are, this must return.
	many := tensor.Must(tensor.New(tensor.Int64, 1<<40, 0))
	if _, err := tryApply(t, 18, node("GatherND", nil, []string{"x0", "x1"}, "y0"), tensor.Must(tensor.New(tensor.Float32, 0)), many); err != nil {
		t.Error(err)
	}
}
