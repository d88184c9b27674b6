package native_test

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestEdges runs the small cases of inputs at the edges of operators that others' reports came with.
func TestEdges(t *testing.T) {
	for _, config := range []native.Config{{}, {Portable: true}} {
		r, err := conformance.Run(t.Context(), "../enginetest/testdata/edges", native.New(config))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.Cases {
			if c.Verdict != conformance.Passed || c.Reason != "" {
				t.Errorf("%s %s: %s", c.Verdict, c.Name, c.Reason)
			}
		}
	}
}

// TestPoolDeclared: a pool whose output is declared as inference finds it has that many elements. The window that would begin in the padding
// is not there.
func TestPoolDeclared(t *testing.T) {
	for _, c := range []struct {
		kernel, stride, begin, end int64
		want                       []float32
	}{
		{1, 2, 0, 1, []float32{1, 3}},
		{1, 1, 0, 3, []float32{1, 2, 3, 4}}, // several of them
		{2, 3, 0, 1, []float32{2, 4}},
		{3, 2, 1, 2, []float32{2, 4, 4}},
	} {
		n := node("MaxPool", graph.Attrs{"kernel_shape": []int64{c.kernel}, "strides": []int64{c.stride}, "pads": []int64{c.begin, c.end}, "ceil_mode": int64(1)}, []string{"x0"}, "y0")
		for _, d := range []tensor.DType{tensor.Float32, tensor.Float64, tensor.Int8} {
			x := cast(t, of([]int{1, 1, 4}, 1.0, 2, 3, 4), d)
			if err := conformance.Alike(apply(t, 22, n, x)[0], cast(t, of([]int{1, 1, len(c.want)}, c.want...), d)); err != nil {
				t.Errorf("%+v of %v: %v", c, d, err)
			}
		}
	}
}

// TestSlices compares with the elements that ONNX's text picks, counted one by one.
func TestSlices(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for range 3000 {
		n := r.Int64N(7)
		start, end, step := some(r, -9, 9), some(r, -9, 9), some(r, -4, 4)
		if step == 0 {
			continue
		}
		x := make([]int64, n)
		for i := range x {
			x[i] = int64(i)
		}
		want := []int64{}
		low, high := big.NewInt(0), big.NewInt(n) // of a start, and of an end
		if step < 0 {
			high.SetInt64(n - 1)
		}
		clamp := func(v int64, low *big.Int) *big.Int {
			b := big.NewInt(v)
			if v < 0 {
				b.Add(b, big.NewInt(n))
			}
			if b.Cmp(low) < 0 {
				b.Set(low)
			}
			if b.Cmp(high) > 0 {
				b.Set(high)
			}
			return b
		}
		at, to := clamp(start, low), clamp(end, low)
		if step < 0 {
			to = clamp(end, big.NewInt(-1))
		}
		for n > 0 && at.Cmp(to) == -big.NewInt(step).Sign() {
			want = append(want, at.Int64())
			at.Add(at, big.NewInt(step))
		}
		got := apply(t, 13, node("Slice", nil, []string{"x0", "x1", "x2", "x3", "x4"}, "y0"), tensor.Vector(x...), ints(start), ints(end), ints(0), ints(step))[0]
		if !slices.Equal(tensor.Data[int64](got), want) {
			t.Fatalf("%d elements [%d:%d:%d]: got %v, want %v", n, start, end, step, got.Raw(), want)
		}
	}
}

// TestPadCropsFirst: what negative pads take away is not there to pad with.
func TestPadCropsFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 9))
	wrapped := map[string]func(k, n int) int{
		"edge": func(k, n int) int { return min(max(k, 0), n-1) },
		"wrap": func(k, n int) int { return ((k % n) + n) % n },
		"reflect": func(k, n int) int {
			for n > 1 && (k < 0 || k >= n) { // from wall to wall
				if k = max(k, -k); k >= n {
					k = 2*(n-1) - k
				}
			}
			return min(max(k, 0), n-1)
		},
	}
	refused := 0
	for range 2000 {
		n, begin, end := 1+r.IntN(5), r.IntN(10)-4, r.IntN(10)-4
		mode := []string{"edge", "wrap", "reflect"}[r.IntN(3)]
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i)
		}
		from, to := max(0, -begin), n-max(0, -end)
		got, err := tryApply(t, 19, node("Pad", graph.Attrs{"mode": mode}, []string{"x0", "x1"}, "y0"), tensor.Vector(x...), ints(int64(begin), int64(end)))
		if n+begin+end < 0 || from >= to && n+begin+end > 0 {
			if refused++; err == nil {
				t.Fatalf("%s of %d by %d and %d: got %v", mode, n, begin, end, got[0].Raw())
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s of %d by %d and %d: %v", mode, n, begin, end, err)
		}
		want := []float32{}
		if from < to {
			for k := -max(0, begin); k < to-from+max(0, end); k++ {
				want = append(want, x[from:to][wrapped[mode](k, to-from)])
			}
		}
		if !slices.Equal(tensor.Data[float32](got[0]), want) {
			t.Fatalf("%s of %d by %d and %d: got %v, want %v", mode, n, begin, end, got[0].Raw(), want)
		}
	}
	if refused < 50 {
		t.Errorf("only %d were refused", refused)
	}
}

// TestRangesOfFloats: the difference of two float32 is not rounded before it is divided.
func TestRangesOfFloats(t *testing.T) {
	n := node("Range", nil, []string{"x0", "x1", "x2"}, "y0")
	for _, c := range []struct {
		start, limit, delta float32
		count               int
	}{{-0.5, 1.6, 2.1, 2}, {4.2, -0.3, -0.9, 5}, {0.1, 1.3, 0.1, 12}} {
		if got := apply(t, 13, n, tensor.Scalar(c.start), tensor.Scalar(c.limit), tensor.Scalar(c.delta))[0]; got.Size() != c.count {
			t.Errorf("%+v: %v", c, got.Raw())
		}
	}
}

// TestRangesOfIntegers: integers are counted as such, up to the ends of their type.
func TestRangesOfIntegers(t *testing.T) {
	n := node("Range", nil, []string{"x0", "x1", "x2"}, "y0")
	for _, c := range []struct{ start, limit, delta, count int64 }{
		{1700000000000000001, 1700000000000000006, 1, 5},
		{math.MaxInt64 - 2, math.MaxInt64, 1, 2},
		{math.MinInt64, math.MaxInt64, math.MaxInt64, 3},
		{math.MaxInt64, math.MinInt64, math.MinInt64, 2},
		{math.MinInt64 + 3, math.MinInt64, -2, 2},
		{1 << 53, 1<<53 + 5, 2, 3},
		{0, 5, 5, 1}, {0, 6, 5, 2}, {5, 0, 1, 0}, {3, 3, 1, 0}, {0, -1, 2, 0},
	} {
		got := tensor.Data[int64](apply(t, 13, n, tensor.Scalar(c.start), tensor.Scalar(c.limit), tensor.Scalar(c.delta))[0])
		if int64(len(got)) != c.count {
			t.Errorf("%+v: %v", c, got)
		}
		for i, v := range got {
			if want := c.start + int64(i)*c.delta; v != want {
				t.Errorf("%+v: element %d is %d, want %d", c, i, v, want)
			}
		}
	}
	if _, err := tryApply(t, 13, n, tensor.Scalar[int64](math.MinInt64), tensor.Scalar[int64](math.MaxInt64), tensor.Scalar[int64](1)); err == nil {
		t.Error("2^64-1 elements are no error")
	}
	got := tensor.Data[int16](apply(t, 13, n, tensor.Scalar[int16](-32768), tensor.Scalar[int16](32767), tensor.Scalar[int16](1))[0])
	if len(got) != 65535 || got[0] != -32768 || got[65534] != 32766 {
		t.Errorf("%d elements of int16", len(got))
	}
}
