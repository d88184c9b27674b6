package tensorflow_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// spaced is a convolution between SpaceToBatchND and BatchToSpaceND. The nodes pads and crops are in text.
type spaced struct {
	op, text string
	block    []int
	in       []int // shape of what comes in; the first is the batch
	filter   []int
	flat     bool // an axis is added and removed
	padding  string
}

// write writes the graph; broken has a node between, so that the three are not recognised.
func (s spaced) write(broken bool) string {
	text := placeholderText("x", "DT_FLOAT", append([]int{-1}, s.in[1:]...)...) + placeholderText("f", "DT_FLOAT", s.filter...) + ints32("block", s.block...) + s.text
	text += nodeText("space", "SpaceToBatchND", []string{"x", "block", "pads"})
	before := "space"
	if s.flat {
		text += int32Scalar("one", 1) + nodeText("expanded", "ExpandDims", []string{before, "one"})
		before = "expanded"
	}
	text += nodeText("conv", s.op, []string{before, "f"}, "T", "type: DT_FLOAT", "padding", fmt.Sprintf("s: %q", s.padding), "strides", intsText(1, 1, 1, 1))
	after := "conv"
	if s.flat {
		text += nodeText("squeezed", "Squeeze", []string{after}, "squeeze_dims", "list { i: 1 }")
		after = "squeezed"
	}
	if broken {
		text += nodeText("same", "Neg", []string{after}) + nodeText("again", "Neg", []string{"same"})
		after = "again"
	}
	return text + nodeText("out", "BatchToSpaceND", []string{after, "block", "crops"})
}

// fixed has constant paddings and crops.
func fixed(pads, crops []int) string {
	reshaped := func(name string, v []int) string {
		return ints32(name+"/flat", v...) + ints32(name+"/shape", len(v)/2, 2) + nodeText(name, "Reshape", []string{name + "/flat", name + "/shape"})
	}
	return reshaped("pads", pads) + reshaped("crops", crops)
}

// computed pads to whole blocks, by what the length is when the model runs, and crops that again.
func computed(block, begin, end int) string {
	return nodeText("shape", "Shape", []string{"x"}) + ints32("at", 1) + ints32("count", 1) + nodeText("length", "Slice", []string{"shape", "at", "count"}) +
		ints32("begin", begin) + ints32("end", end) + ints32("zero", 0) + ints32("size", block) + int32Scalar("axis", 0) + ints32("pair", 1, 2) +
		nodeText("sum", "AddV2", []string{"length", "begin"}) + nodeText("full", "AddV2", []string{"sum", "end"}) +
		nodeText("mod", "FloorMod", []string{"full", "size"}) + nodeText("less", "Sub", []string{"size", "mod"}) + nodeText("more", "FloorMod", []string{"less", "size"}) +
		nodeText("last", "AddV2", []string{"end", "more"}) +
		nodeText("pads/list", "ConcatV2", []string{"begin", "last", "axis"}, "N", "i: 2") + nodeText("pads", "Reshape", []string{"pads/list", "pair"}) +
		nodeText("crops/list", "ConcatV2", []string{"zero", "more", "axis"}, "N", "i: 2") + nodeText("crops", "Reshape", []string{"crops/list", "pair"})
}

func TestDilated(t *testing.T) {
	for _, c := range []struct {
		name string
		spaced
		one bool // it becomes one convolution
	}{
		{"a picture", spaced{op: "Conv2D", block: []int{2, 3}, in: []int{2, 5, 7, 2}, filter: []int{2, 2, 2, 3}, text: fixed([]int{0, 1, 1, 1}, []int{0, 0, 0, 0})}, true},
		{"a picture, cropped", spaced{op: "Conv2D", block: []int{2, 2}, in: []int{1, 6, 6, 2}, filter: []int{3, 3, 2, 1}, text: fixed([]int{2, 2, 1, 1}, []int{1, 0, 0, 1})}, true},
		{"depthwise", spaced{op: "DepthwiseConv2dNative", block: []int{2, 2}, in: []int{1, 6, 6, 3}, filter: []int{2, 3, 3, 2}, text: fixed([]int{1, 1, 2, 2}, []int{0, 0, 0, 0})}, true},
		{"one axis", spaced{op: "Conv2D", block: []int{4}, in: []int{2, 8, 3}, filter: []int{1, 2, 3, 4}, flat: true, text: fixed([]int{4, 0}, []int{0, 0})}, true},
		{"one axis of any length", spaced{op: "Conv2D", block: []int{4}, in: []int{2, -1, 3}, filter: []int{1, 2, 3, 4}, flat: true, text: computed(4, 5, 2)}, true},
		{"more cropped than padded", spaced{op: "Conv2D", block: []int{2, 2}, in: []int{1, 6, 6, 2}, filter: []int{2, 2, 2, 1}, text: fixed([]int{0, 0, 0, 0}, []int{1, 0, 0, 1})}, false},
		{"padded by the convolution", spaced{op: "Conv2D", block: []int{2, 2}, in: []int{1, 6, 6, 2}, filter: []int{3, 3, 2, 1}, padding: "SAME", text: fixed([]int{0, 0, 0, 0}, []int{0, 0, 0, 0})}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.padding == "" {
				c.padding = "VALID"
			}
			r := rand.New(rand.NewPCG(3, 4))
			shape := append([]int{}, c.in...)
			for i, d := range shape {
				if d < 0 {
					shape[i] = 10
				}
			}
			feeds := map[string]*tensor.Tensor{"x:0": randomFloats(r, shape...), "f:0": randomFloats(r, c.filter...)}
			run := func(broken bool) (*graph.Graph, map[string]map[string]*tensor.Tensor) {
				g, _, err := importText(t, "graph.pbtxt", c.write(broken), tensorflow.Options{Outputs: []string{"out:0"}})
				if err != nil {
					t.Fatal(err)
				}
				return g, runAll(t, g, feeds)
			}
			g, got := run(false)
			_, want := run(true)
			convs, moved := 0, 0
			for _, n := range g.Nodes {
				if n.OpType == "Conv" {
					convs++
				}
				if n.OpType == "Transpose" && len(n.Attrs.Ints("perm", nil)) > 4 || n.OpType == "Transpose" && len(c.block) == 1 && n.Attrs.Ints("perm", nil)[0] != 0 && n.Inputs[0] != "f:0" {
					moved++
				}
			}
			if one := moved == 0; convs != 1 || one != c.one {
				t.Errorf("%d convolutions, and %d nodes that move between space and batch", convs, moved)
			}
			for engine, out := range got {
				if err := conformance.Within(out["out:0"], want[engine]["out:0"], conformance.Tolerance{Abs: 1e-4, Rel: 1e-5}); err != nil {
					t.Errorf("%s: %v", engine, err)
				}
			}
		})
	}
}

// TestReshapeToOwnLength has a Reshape to the batch, which the graph computes, and a length that is left open.
func TestReshapeToOwnLength(t *testing.T) {
	text := placeholderText("x", "DT_FLOAT", -1, 2, 3) + nodeText("shape", "Shape", []string{"x"}) + ints32("zero", 0) + ints32("one", 1) + ints32("rest", -1) + int32Scalar("axis", 0) +
		nodeText("batch", "Slice", []string{"shape", "zero", "one"}) + nodeText("to", "ConcatV2", []string{"batch", "rest", "axis"}, "N", "i: 2") + nodeText("out", "Reshape", []string{"x", "to"})
	g, _, err := importText(t, "graph.pbtxt", text, tensorflow.Options{Outputs: []string{"out:0"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Nodes) != 1 || g.Nodes[0].OpType != "Reshape" {
		t.Errorf("%d nodes", len(g.Nodes))
	}
	in := randomFloats(rand.New(rand.NewPCG(1, 2)), 4, 2, 3)
	for engine, out := range runAll(t, g, map[string]*tensor.Tensor{"x:0": in}) {
		if shape := out["out:0"].Shape(); !shape.Equal(tensor.Shape{4, 6}) {
			t.Errorf("%s: shape %v", engine, shape)
		}
	}
}
