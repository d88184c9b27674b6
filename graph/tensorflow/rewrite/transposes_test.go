package rewrite_test

import (
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

const toFirst, toLast = "Transpose perm=[0 3 1 2]", "Transpose perm=[0 2 3 1]"

// TestTransposes has convolutions with something between them, which the transposes must move over.
func TestTransposes(t *testing.T) {
	for _, c := range []struct {
		name    string
		between func(n net, x string) string
		before  string
		after   string
	}{
		{"nothing", func(n net, x string) string { return x }, "", ""},
		{"relu", func(n net, x string) string { return n.Op("Relu", nil, x) }, "Relu, ", "Relu, "},
		{"bias and clip", func(n net, x string) string {
			return n.Op("Clip", nil, n.Op("Add", nil, x, n.weights("b", 3)), n.Float(0), n.Float(6))
		}, "Add, Clip, ", "Add, Clip, "},
		{"a constant of all axes", func(n net, x string) string { return n.Op("Mul", nil, n.weights("m", 1, 5, 6, 3), x) }, "Mul, ", "Mul, "},
		{"itself", func(n net, x string) string { return n.Op("Mul", nil, x, n.Op("Sigmoid", nil, x)) }, "Sigmoid, Mul, ", "Sigmoid, Mul, "},
		{"pad", func(n net, x string) string { return n.Op("Pad", nil, x, n.Ints(0, 1, 2, 0, 0, 3, 4, 0)) }, "Pad, ", "Pad, "},
		{"slice", func(n net, x string) string { return n.Op("Slice", nil, x, n.Ints(1, -2), n.Ints(4, 6), n.Ints(1, -2)) }, "Slice, ", "Slice, "},
		{"slice without axes", func(n net, x string) string { return n.Op("Slice", nil, x, n.Ints(0, 1, 2), n.Ints(9, 4, 6)) }, "Slice, ", "Slice, "},
		{"concat", func(n net, x string) string {
			return n.Op("Concat", graph.Attrs{"axis": int64(2)}, x, n.Op("Tanh", nil, x))
		},
			"Tanh, Concat axis=2, ", "Tanh, Concat axis=3, "},
		{"concat with a constant", func(n net, x string) string {
			return n.Op("Concat", graph.Attrs{"axis": int64(-3)}, n.weights("c", 2, 4, 6, 3), x)
		},
			"Concat axis=-3, ", "Concat axis=2, "},
		{"softmax", func(n net, x string) string { return n.Op("Softmax", graph.Attrs{"axis": int64(-1)}, x) }, "Softmax axis=-1, ", "Softmax axis=1, "},
		{"mean that keeps", func(n net, x string) string {
			return n.Op("Sub", nil, x, n.Op("ReduceMean", graph.Attrs{"axes": []int64{1, 2}}, x))
		}, "ReduceMean axes=[1 2], Sub, ", "ReduceMean axes=[2 3], Sub, "},
		{"sum over channels", func(n net, x string) string { return n.Op("Mul", nil, n.Op("ReduceSum", nil, x, n.Ints(3)), x) }, "ReduceSum, Mul, ", "ReduceSum, Mul, "},
		{"squeeze and unsqueeze", func(n net, x string) string {
			row := n.Op("Slice", nil, x, n.Ints(1), n.Ints(2), n.Ints(1))
			return n.Op("Unsqueeze", nil, n.Op("Squeeze", nil, row, n.Ints(1)), n.Ints(1))
		}, "Slice, Squeeze, Unsqueeze, ", "Slice, Squeeze, Unsqueeze, "},
		{"where", func(n net, x string) string {
			return n.Op("Where", nil, n.Op("Greater", nil, x, n.Float(0)), x, n.Op("Neg", nil, x))
		}, "Greater, Neg, Where, ", "Greater, Neg, Where, "},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.conv(n.input("x", 2, 5, 6, 4), n.weights("w", 3, 4, 1, 1))
			y := n.conv(c.between(n, x), n.weights("v", 2, 3, 1, 1))
			testPass(t, "transposes", n, toFirst+", Conv, "+toLast+", "+c.before+toFirst+", Conv, "+toLast, toFirst+", Conv, "+c.after+"Conv, "+toLast, y)
		})
	}
}

// TestTransposesEnd has one convolution, and behind it what makes the transposes go, or what they cannot be moved over.
func TestTransposesEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		end    func(n net, x string) string
		before string
		after  string
	}{
		{"mean over the picture", func(n net, x string) string {
			return n.Op("ReduceMean", graph.Attrs{"axes": []int64{1, 2}, "keepdims": int64(0)}, x)
		}, toLast + ", ReduceMean axes=[1 2]", "ReduceMean axes=[2 3]"},
		{"all of it", func(n net, x string) string { return n.Op("ReduceMax", graph.Attrs{"keepdims": int64(0)}, x) }, toLast + ", ReduceMax", "ReduceMax"},
		{"its length", func(n net, x string) string { return n.Op("Shape", graph.Attrs{"start": int64(1), "end": int64(3)}, x) },
			toLast + ", Shape start=1 end=3", "Shape start=2 end=4"},
		{"the strongest channel", func(n net, x string) string {
			return n.Op("ArgMax", graph.Attrs{"axis": int64(3), "keepdims": int64(0)}, x)
		}, toLast + ", ArgMax axis=3", "ArgMax axis=1"},
		{"a product, which stays", func(n net, x string) string { return n.Op("MatMul", nil, n.Op("Relu", nil, x), n.weights("m", 3, 2)) },
			toLast + ", Relu, MatMul", toLast + ", Relu, MatMul"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.conv(n.input("x", 2, 5, 6, 4), n.weights("w", 3, 4, 1, 1))
			testPass(t, "transposes", n, toFirst+", Conv, "+c.before, toFirst+", Conv, "+c.after, c.end(n, x))
		})
	}
}

// TestTransposesOnes has a Reshape of a picture of one pixel.
func TestTransposesOnes(t *testing.T) {
	n := newNet()
	x := n.conv(n.input("x", 2, 3, 3, 4), n.weights("w", 5, 4, 3, 3))
	testPass(t, "transposes", n, toFirst+", Conv, "+toLast+", Reshape", toFirst+", Conv, Reshape", n.Op("Reshape", nil, x, n.Ints(-1, 5)))
}

// TestTransposesFork holds that a value with users of both kinds keeps its transpose for one of them.
func TestTransposesFork(t *testing.T) {
	n := newNet()
	x := n.conv(n.input("x", 2, 5, 6, 3), n.weights("w", 3, 3, 1, 1))
	r := n.Op("Relu", nil, x)
	y := n.conv(r, n.weights("v", 3, 3, 1, 1))
	testPass(t, "transposes", n,
		toFirst+", Conv, "+toLast+", Relu, "+toFirst+", Conv, "+toLast+", Add",
		toFirst+", Conv, Relu, Conv, Add, "+toLast, n.Op("Add", nil, r, y))
}

// TestTransposesOther holds that a transpose which is not a layout's stays where it is.
func TestTransposesOther(t *testing.T) {
	n := newNet()
	x := n.transpose(n.Op("Relu", nil, n.input("x", 2, 3, 4)), 0, 2, 1)
	text := "Relu, Transpose perm=[0 2 1], Tanh, Transpose perm=[0 2 1]"
	testPass(t, "transposes", n, text, text, n.transpose(n.Op("Tanh", nil, x), 0, 2, 1))
}

// TestTransposesOpenBatch holds what has a length that is not known.
func TestTransposesOpenBatch(t *testing.T) {
	n := newNet()
	x := n.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}, {Size: 4}, {Size: 3}})
	y := n.conv(n.Op("Relu", nil, n.conv(x, n.weights("w", 3, 3, 1, 1))), n.weights("v", 3, 3, 1, 1))
	testPass(t, "transposes", n, toFirst+", Conv, "+toLast+", Relu, "+toFirst+", Conv, "+toLast, toFirst+", Conv, Relu, Conv, "+toLast, y)
}
