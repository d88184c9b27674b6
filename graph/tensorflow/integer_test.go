package tensorflow_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace/millrace/tensor"
)

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// Integers of every type wrap, and divide as TensorFlow does, at their ends too.
func TestIntegers(t *testing.T) {
	testIntegers[int8](t, "DT_INT8", math.MinInt8, math.MaxInt8)
	testIntegers[int16](t, "DT_INT16", math.MinInt16, math.MaxInt16)
	testIntegers[int32](t, "DT_INT32", math.MinInt32, math.MaxInt32)
	testIntegers[int64](t, "DT_INT64", math.MinInt64, math.MaxInt64)
	testIntegers[uint8](t, "DT_UINT8", 0, math.MaxUint8)
	testIntegers[uint16](t, "DT_UINT16", 0, math.MaxUint16)
	testIntegers[uint32](t, "DT_UINT32", 0, math.MaxUint32)
	testIntegers[uint64](t, "DT_UINT64", 0, math.MaxUint64)
}

func testIntegers[T integer](t *testing.T, dtype string, low, high T) {
	some := []T{low, low + 1, low + 7, 0, 1, 2, 3, 5, 7, 100, high / 2, high - 1, high}
	if low < 0 {
		some = append(some, ^T(0), ^T(1), ^T(2), ^T(6)) // -1, -2, -3, -7
	}
	var a, b []T
	for _, x := range some {
		for _, y := range some {
			a, b = append(a, x), append(b, y)
		}
	}
	binary := func(op string, f func(x, y T) T, ok func(x, y T) bool) {
		t.Helper()
		var p, q, want []T
		for i := range a {
			if ok == nil || ok(a[i], b[i]) {
				p, q, want = append(p, a[i]), append(q, b[i]), append(want, f(a[i], b[i]))
			}
		}
		text := placeholderText("a", dtype, -1) + placeholderText("b", dtype, -1) + nodeText("out", op, []string{"a", "b"}, "T", "type: "+dtype)
		checkExact(t, op+" of "+dtype, text, map[string]*tensor.Tensor{"a:0": tensor.Vector(p...), "b:0": tensor.Vector(q...)}, want)
	}
	unary := func(op string, f func(x T) T) {
		t.Helper()
		var want []T
		for _, x := range some {
			want = append(want, f(x))
		}
		text := placeholderText("a", dtype, -1) + nodeText("out", op, []string{"a"}, "T", "type: "+dtype)
		checkExact(t, op+" of "+dtype, text, map[string]*tensor.Tensor{"a:0": tensor.Vector(some...)}, want)
	}
	divides := func(x, y T) bool { return y != 0 && !(low < 0 && x == low && y == ^T(0)) } // the rest stops or is not defined
	floor := func(x, y T) T {
		q := x / y
		if x%y != 0 && (x < 0) != (y < 0) {
			q--
		}
		return q
	}
	binary("AddV2", func(x, y T) T { return x + y }, nil)
	binary("Sub", func(x, y T) T { return x - y }, nil)
	binary("Mul", func(x, y T) T { return x * y }, nil)
	binary("Maximum", func(x, y T) T { return max(x, y) }, nil)
	binary("Minimum", func(x, y T) T { return min(x, y) }, nil)
	unary("Square", func(x T) T { return x * x })
	unary("Relu", func(x T) T { return max(x, 0) })
	unary("Relu6", func(x T) T { return min(max(x, 0), 6) })
	if low < 0 {
		unary("Neg", func(x T) T { return -x })
		unary("Abs", func(x T) T {
			if x < 0 {
				return -x
			}
			return x
		})
		unary("Sign", func(x T) T {
			switch {
			case x < 0:
				return ^T(0)
			case x > 0:
				return 1
			}
			return 0
		})
	}
	if dtype == "DT_UINT64" {
		return // refused by name: neither engine divides it
	}
	binary("FloorDiv", floor, divides)
	binary("FloorMod", func(x, y T) T { return x - floor(x, y)*y }, divides)
	binary("TruncateDiv", func(x, y T) T { return x / y }, divides)
	binary("Div", func(x, y T) T { return x / y }, divides)
	if dtype == "DT_INT32" || dtype == "DT_INT64" {
		binary("TruncateMod", func(x, y T) T { return x % y }, divides)
		binary("Mod", func(x, y T) T { return x % y }, divides)
	}
}

// checkExact holds an output of every engine against integers.
func checkExact[T integer](t *testing.T, name, text string, feeds map[string]*tensor.Tensor, want []T) {
	t.Helper()
	g, _, err := importText(t, "graph.pbtxt", text, optionsFor("out:0"))
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for engine, out := range runAll(t, g, feeds) {
		got, ok := out["out:0"].Raw().([]T)
		if !ok || len(got) != len(want) {
			t.Errorf("%s: %s: %v", name, engine, out["out:0"])
			continue
		}
		for i := range want {
			if got[i] != want[i] {
				var in []string
				for k, f := range feeds {
					in = append(in, fmt.Sprintf("%s=%v", k, f.Raw().([]T)[i]))
				}
				t.Errorf("%s: %s: %v is %v, want %v", name, engine, in, got[i], want[i])
				break
			}
		}
	}
}
