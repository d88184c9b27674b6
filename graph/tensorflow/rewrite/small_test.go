package rewrite_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/rewrite"
	"github.com/millrace/millrace/tensor"
)

func TestNeutral(t *testing.T) {
	ones := func(n net, dims ...int) string {
		v := tensor.Must(tensor.New(tensor.Float32, dims...))
		for i := range tensor.Data[float32](v) {
			tensor.Data[float32](v)[i] = 1
		}
		return n.Init("ones", v)
	}
	for _, c := range []struct {
		name          string
		write         func(n net, x string) string
		before, after string
	}{
		{"identity", func(n net, x string) string { return n.Op("Tanh", nil, n.Op("Identity", nil, n.Op("Relu", nil, x))) }, "Relu, Identity, Tanh", "Relu, Tanh"},
		{"identity at the end", func(n net, x string) string { return n.Op("Identity", nil, n.Op("Relu", nil, x)) }, "Relu, Identity", "Relu"},
		{"identity of an input", func(n net, x string) string { return n.Op("Identity", nil, x) }, "Identity", "Identity"},
		{"times one", func(n net, x string) string { return n.Op("Relu", nil, n.Op("Mul", nil, ones(n, 4), x)) }, "Mul, Relu", "Relu"},
		{"by one", func(n net, x string) string { return n.Op("Relu", nil, n.Op("Div", nil, x, n.Float(1))) }, "Div, Relu", "Relu"},
		{"times ones of more axes", func(n net, x string) string { return n.Op("Relu", nil, n.Op("Mul", nil, x, ones(n, 2, 1, 1))) }, "Mul, Relu", "Mul, Relu"},
		{"less zero", func(n net, x string) string { return n.Op("Relu", nil, n.Op("Sub", nil, x, n.Float(0))) }, "Sub, Relu", "Relu"},
		{"zero less", func(n net, x string) string { return n.Op("Tanh", nil, n.Op("Sub", nil, n.Float(0), x)) }, "Sub, Tanh", "Sub, Tanh"},
		{"cast to its own type", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Cast", graph.Attrs{"to": int64(tensor.Float32)}, x))
		}, "Cast, Relu", "Relu"},
		{"squeeze of unsqueeze", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Squeeze", nil, n.Op("Unsqueeze", nil, x, n.Ints(1)), n.Ints(-2)))
		}, "Unsqueeze, Squeeze, Relu", "Relu"},
		{"slice of all", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Slice", nil, x, n.Ints(-3, 0), n.Ints(9, 4), n.Ints(0, -1)))
		}, "Slice, Relu", "Relu"},
		{"slice without axes", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Slice", nil, x, n.Ints(0), n.Ints(3)))
		}, "Slice, Relu", "Relu"},
		{"slice of most", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Slice", nil, x, n.Ints(0, 0), n.Ints(3, -1)))
		}, "Slice, Relu", "Slice, Relu"},
		{"slice of every second", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Slice", nil, x, n.Ints(0), n.Ints(3), n.Ints(0), n.Ints(2)))
		}, "Slice, Relu", "Slice, Relu"},
		{"slice from one on", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Slice", nil, x, n.Ints(-2), n.Ints(3), n.Ints(0)))
		}, "Slice, Relu", "Slice, Relu"},
		{"unsqueeze elsewhere", func(n net, x string) string {
			return n.Op("Relu", nil, n.Op("Unsqueeze", nil, n.Op("Squeeze", nil, n.Op("Unsqueeze", nil, x, n.Ints(0)), n.Ints(0)), n.Ints(2)))
		}, "Unsqueeze, Squeeze, Unsqueeze, Relu", "Unsqueeze, Relu"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			testPass(t, "neutral", n, c.before, c.after, c.write(n, n.input("x", 3, 4)))
		})
	}
}

func TestDuplicates(t *testing.T) {
	n := newNet()
	x := n.input("x", 3, 4)
	same := n.Op("Add", nil, n.Op("Relu", nil, x), n.Op("Relu", nil, x))
	mean := func(axis int64) string { return n.Op("ReduceMean", graph.Attrs{"axes": []int64{axis}}, x) }
	other := n.Op("Add", nil, n.Op("Add", nil, mean(0), mean(1)), mean(0))
	testPass(t, "duplicates", n, "Relu, Relu, Add, ReduceMean axes=[0], ReduceMean axes=[1], Add, ReduceMean axes=[0], Add",
		"Relu, Add, ReduceMean axes=[0], ReduceMean axes=[1], Add, Add", same, other)
}

// TestDuplicatesStay holds what must not become one: outputs of the graph, and random numbers.
func TestDuplicatesStay(t *testing.T) {
	n := newNet()
	x := n.input("x", 3)
	testPass(t, "duplicates", n, "Relu, Relu", "Relu, Relu", n.Op("Relu", nil, x), n.Op("Relu", nil, x))

	n = newNet()
	draw := func() string { return n.Op("Shape", nil, n.Op("RandomNormal", graph.Attrs{"shape": []int64{3}})) }
	testPass(t, "duplicates", n, "RandomNormal, Shape, RandomNormal, Shape, Add", "RandomNormal, Shape, RandomNormal, Shape, Add", n.Op("Add", nil, draw(), draw()))
}

func TestLengths(t *testing.T) {
	n := newNet()
	x := n.input("x", 3, 4, 5)
	plain := n.Op("Slice", nil, n.Op("Shape", nil, x), n.Ints(-2), n.Ints(9), n.Ints(0))
	cast := n.Op("Slice", nil, n.Op("Cast", graph.Attrs{"to": int64(tensor.Int32)}, n.Op("Shape", nil, x)), n.Ints(1), n.Ints(2))
	step := n.Op("Slice", nil, n.Op("Shape", nil, x), n.Ints(0), n.Ints(3), n.Ints(0), n.Ints(2))
	testPass(t, "lengths", n, "Shape, Slice, Shape, Cast, Slice, Shape, Slice", "Shape, Slice, Shape start=1 end=3, Shape start=1 end=2, Cast", plain, cast, step)
}

func TestReshapes(t *testing.T) {
	n := newNet()
	x := n.input("x", 2, 3, 4)
	flat := n.Op("Reshape", nil, x, n.Ints(-1, 12))
	picture := n.transpose(n.Op("Reshape", nil, n.Op("Reshape", nil, flat, n.Ints(4, 6)), n.Ints(2, 1, 1, 12)), 0, 3, 1, 2)
	zero := n.Op("Reshape", nil, n.Op("Reshape", nil, x, n.Ints(6, 4)), n.Ints(0, 2, 2))
	testPass(t, "reshapes", n, "Reshape, Reshape, Reshape, Transpose perm=[0 3 1 2], Reshape, Reshape", "Reshape, Reshape, Reshape", picture, zero)
}

func TestClips(t *testing.T) {
	for low, after := range map[float32]string{0: "Clip", 0.5: "Clip", -1: "Relu, Clip"} {
		n := newNet()
		testPass(t, "clips", n, "Relu, Clip", after, n.Op("Clip", nil, n.Op("Relu", nil, n.input("x", 50)), n.Float(low), n.Float(1)))
	}
}

func TestFlats(t *testing.T) {
	for _, c := range []struct {
		name  string
		attrs graph.Attrs
		at    int64
		after string
	}{
		{"padded and with gaps", graph.Attrs{"kernel_shape": []int64{1, 3}, "pads": []int64{0, 2, 0, 1}, "dilations": []int64{1, 2}, "strides": []int64{1, 2}}, 2, "Conv"},
		{"without attributes", nil, -2, "Conv"},
		{"padded there", graph.Attrs{"pads": []int64{1, 0, 0, 0}, "strides": []int64{2, 1}}, 2, "Unsqueeze, Conv, Squeeze"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			wide := n.Op("Unsqueeze", nil, n.input("x", 2, 4, 9), n.Ints(c.at))
			y := n.Op("Squeeze", nil, n.Op("Conv", c.attrs, wide, n.weights("w", 5, 4, 1, 3)), n.Ints(2))
			testPass(t, "flats", n, "Unsqueeze, Conv, Squeeze", c.after, y)
		})
	}
}

func TestInverses(t *testing.T) {
	n := newNet()
	x := n.input("x", 2, 3, 4)
	gone := n.Op("Relu", nil, n.transpose(n.transpose(x, 1, 0, 2), 1, 0, 2))
	first := n.transpose(x, 1, 2, 0)
	one := n.transpose(first, 1, 2, 0)
	testPass(t, "inverses", n, "Transpose perm=[1 0 2], Transpose perm=[1 0 2], Relu, Transpose perm=[1 2 0], Transpose perm=[1 2 0], Tanh",
		"Relu, Transpose perm=[1 2 0], Transpose perm=[2 0 1], Tanh", gone, one, n.Op("Tanh", nil, first))
}

func TestPads(t *testing.T) {
	for _, c := range []struct {
		name  string
		pads  []int64
		value float32
		attrs graph.Attrs
		after string
	}{
		{"zeros around", []int64{0, 0, 1, 2, 0, 0, 3, 0}, 0, graph.Attrs{"pads": []int64{1, 0, 0, 1}}, "Conv"},
		{"of a convolution without", []int64{0, 0, 0, 0, 0, 0, 1, 1}, 0, nil, "Conv"},
		{"ones", []int64{0, 0, 1, 1, 0, 0, 1, 1}, 1, nil, "Pad, Conv"},
		{"channels", []int64{0, 1, 0, 0, 0, 0, 0, 0}, 0, nil, "Pad, Conv"},
		{"cropped", []int64{0, 0, -1, 0, 0, 0, 1, 0}, 0, nil, "Pad, Conv"},
		{"that pads by itself", []int64{0, 0, 1, 1, 0, 0, 1, 1}, 0, graph.Attrs{"auto_pad": "SAME_UPPER"}, "Pad, Conv"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			channels := 2 + int(c.pads[1])
			padded := n.Op("Pad", nil, n.input("x", 1, 2, 6, 5), n.Ints(c.pads...), n.Float(c.value))
			testPass(t, "pads", n, "Pad, Conv", c.after, n.Op("Conv", c.attrs, padded, n.weights("w", 3, channels, 3, 3)))
		})
	}
}

func TestPools(t *testing.T) {
	for _, c := range []struct {
		name  string
		attrs graph.Attrs
		conv  bool
		after string
	}{
		{"of a convolution", graph.Attrs{"axes": []int64{2, 3}}, true, "Conv, GlobalAveragePool"},
		{"its axes from the end", graph.Attrs{"axes": []int64{-1, -2}}, true, "Conv, GlobalAveragePool"},
		{"over one axis", graph.Attrs{"axes": []int64{2}}, true, ""},
		{"over channels", graph.Attrs{"axes": []int64{1, 2}}, true, ""},
		{"that keeps no axes", graph.Attrs{"axes": []int64{2, 3}, "keepdims": int64(0)}, true, ""},
		{"of something else", graph.Attrs{"axes": []int64{2, 3}}, false, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x, before := n.input("x", 1, 2, 6, 5), "Exp, "
			if c.conv {
				x, before = n.Op("Conv", nil, x, n.weights("w", 3, 2, 3, 3)), "Conv, "
			} else {
				x = n.Op("Exp", nil, x)
			}
			before += "ReduceMean axes=" + fmt.Sprint(c.attrs["axes"])
			after := c.after
			if after == "" {
				after = before
			}
			testPass(t, "pools", n, before, after, n.Op("ReduceMean", c.attrs, x))
		})
	}
}

func TestRows(t *testing.T) {
	for _, c := range []struct {
		name   string
		flat   []int64
		perm   []int64
		shared bool
		after  string
	}{
		{"channels last", []int64{-1, 24}, []int64{0, 2, 3, 1}, false, "Relu, Reshape, MatMul"},
		{"another order", []int64{-1, 24}, []int64{0, 3, 1, 2}, false, "Relu, Reshape, MatMul"},
		{"the batch moves", []int64{-1, 24}, []int64{1, 0, 2, 3}, false, ""},
		{"not all in one row", []int64{-1, 12}, []int64{0, 2, 3, 1}, false, ""},
		{"weights of two", []int64{-1, 24}, []int64{0, 2, 3, 1}, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			n := newNet()
			x := n.Op("Relu", nil, n.input("x", 5, 2, 3, 4))
			weights := n.weights("w", int(c.flat[1]), 7)
			outputs := []string{n.Op("MatMul", nil, n.Op("Reshape", nil, n.transpose(x, c.perm...), n.Ints(c.flat...)), weights)}
			before := "Relu, Transpose perm=" + strings.ReplaceAll(fmt.Sprint(c.perm), ",", "") + ", Reshape, MatMul"
			after := c.after
			if c.shared {
				outputs, before = append(outputs, n.Op("Neg", nil, weights)), before+", Neg"
			}
			if after == "" {
				after = before
			}
			testPass(t, "rows", n, before, after, outputs...)
		})
	}
}

// TestDuplicatesWide has a value that very many nodes take.
func TestDuplicatesWide(t *testing.T) {
	const many = 30_000
	n := newNet()
	x := n.input("x", 3)
	var all []string
	for range many {
		all = append(all, n.Op("Relu", nil, x))
	}
	n.Output(n.Op("Sum", nil, all...))
	g, err := n.Graph()
	if err != nil {
		t.Fatal(err)
	}
	if err := rewrite.Run(t.Context(), g, native.Evaluator(), rewrite.All()); err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 2 || len(g.Nodes[1].Inputs) != many {
		t.Errorf("%d nodes are left", len(g.Nodes))
	}
}
