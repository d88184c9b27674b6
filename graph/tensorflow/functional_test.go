package tensorflow_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// choice is x doubled where its sum is small, else the sum's negative added to x, and in the first case again if it is very small.
const choice = `
main
	axes = ints 0
	s = Sum x axes
	n = float 100
	p = Less s n
	c/Switch = Switch p p
	c/t = Identity c/Switch:1
	c/f = Identity c/Switch
	c/pred = Identity p
	c/x = Switch x c/pred
	c/two = float 2 ^c/t
	c/mul = Mul c/x:1 c/two
	c/s = Switch s c/pred
	c/q = Greater c/s:1 c/zero
	c/zero = float 10 ^c/t
	c/d/x = Switch c/mul c/q
	c/d/neg = Neg c/d/x:1
	c/d/Merge = Merge c/d/x c/d/neg
	c/sub = Sub c/x c/s
	c/Merge = Merge c/sub c/d/Merge
	y = AddV2 c/Merge x`

// rising writes the sums of what came before to an array, as long as they are below a limit.
const rising = `
main
	size = int 3
	zero = int 0
	start = float 1
	limit = int 3
	array = TensorArrayV3 size dtype=DT_FLOAT
	in/array = TensorArrayV3 size dtype=DT_FLOAT
	from = int 0
	by = int 1
	places = Range from size by
	in = TensorArrayScatterV3 in/array places x in/array:1
	w/i = Enter zero frame_name=w
	w/s = Enter start frame_name=w
	w/flow = Enter array:1 frame_name=w
	w/n = Enter limit frame_name=w is_constant=true
	w/array = Enter array frame_name=w is_constant=true
	w/in = Enter in frame_name=w is_constant=true
	w/in/array = Enter in/array frame_name=w is_constant=true
	w/Merge = Merge w/i w/NextIteration
	w/Merge_1 = Merge w/s w/NextIteration_1
	w/Merge_2 = Merge w/flow w/NextIteration_2
	w/Less = Less w/Merge w/n
	w/LoopCond = LoopCond w/Less
	w/Switch = Switch w/Merge w/LoopCond
	w/Switch_1 = Switch w/Merge_1 w/LoopCond
	w/Switch_2 = Switch w/Merge_2 w/LoopCond
	w/Identity = Identity w/Switch:1
	w/one = int 1 ^w/Identity
	w/add = AddV2 w/Identity w/one
	w/read = TensorArrayReadV3 w/in/array w/Identity w/in dtype=DT_FLOAT
	w/sum = AddV2 w/Switch_1:1 w/read
	w/write = TensorArrayWriteV3 w/array w/Identity w/sum w/Switch_2:1
	w/NextIteration = NextIteration w/add
	w/NextIteration_1 = NextIteration w/sum
	w/NextIteration_2 = NextIteration w/write
	w/Exit = Exit w/Switch_1
	w/Exit_1 = Exit w/Switch_2
	y = TensorArrayGatherV3 array places w/Exit_1 dtype=DT_FLOAT
	last = Identity w/Exit`

// Loops, conditions and arrays of TensorFlow 1, each with what comes out.
func TestFrames(t *testing.T) {
	inBranch := strings.ReplaceAll(rising, "last = Identity w/Exit", "") + `
	axes = ints 0
	s = Sum x axes
	p = Less s start`
	for _, c := range []struct {
		name, text, output string
		x, want            []float64
	}{
		{"one branch in the other", choice, "y:0", []float64{1, 2, 3}, []float64{3, 6, 9}},
		{"both branches", choice, "y:0", []float64{10, 2, 3}, []float64{-10, -2, -3}},
		{"the other branch", choice, "y:0", []float64{100, 2, 3}, []float64{95, -101, -99}},
		{"an array", rising, "y:0", []float64{1, 2, 3}, []float64{2, 4, 7}},
		{"a state", rising, "last:0", []float64{1, 2, 3}, []float64{7}},
		{"an array, with more than the output needs", inBranch, "y:0", []float64{1, 2, 4}, []float64{2, 4, 8}},
		{"an array that grows", strings.Replace(rising, "array = TensorArrayV3 size dtype=DT_FLOAT", "array = TensorArrayV3 zero dtype=DT_FLOAT dynamic_size=true", 1), "y:0", []float64{1, 2, 3}, []float64{2, 4, 7}},
	} {
		in := make([]float32, len(c.x))
		for i, v := range c.x {
			in[i] = float32(v)
		}
		shape := []int{len(c.want)}
		if c.output == "last:0" {
			shape = []int{}
		}
		checkOutput(t, c.name, program(c.text), map[string]*tensor.Tensor{"x:0": tensor.Vector(in...)}, c.output, shape, c.want)
	}
}

// The pass itself: what it makes of a loop and of conditions, and that it leaves the graph which it is given alone.
func TestFunctional(t *testing.T) {
	for _, c := range []struct {
		name, text string
		cut        map[string]bool
		want       []string
	}{
		{"a loop", rising, nil, []string{
			"w/Exit = Identity [w/While:1]", "w/Exit_1 = Identity [w/While:2]",
			"w/While = While [zero start array:1 limit array in in/array ^w/Identity]",
			"w/While/cond([(0) (1) (2) (3) (4) (5) (6)]) = [w/Less::0]: Less [(0) (3)]",
			"w/While/body([(0) (1) (2) (3) (4) (5) (6)]) = [w/add::0 w/sum::0 w/write::0 (3) (4) (5) (6)]: " +
				"AddV2 [w/Identity::0 w/one::0], AddV2 [(1) w/read::0], TensorArrayWriteV3 [(4) w/Identity::0 w/sum::0 (2)], Identity [(0)], Const [], " +
				"TensorArrayReadV3 [(6) w/Identity::0 (5)]",
		}},
		{"conditions", choice, nil, []string{
			"c/d/Merge = Identity [c/d/Merge/If:0]", "c/Merge = Identity [c/Merge/If:0]",
			"c/d/Merge/If = If [c/q c/mul]", "c/Merge/If = If [p x s ^c/t]",
			"c/d/Merge/If/then([(0)]) = [c/d/neg::0]: Neg [(0)]", "c/d/Merge/If/else([(0)]) = [(0)]: ",
			"c/Merge/If/then([(0) (1)]) = [c/d/Merge::0]: Identity [c/d/Merge/If::0], If [c/q::0 c/mul::0], Greater [(1) c/zero::0], Mul [(0) c/two::0], Const [], Const []",
			"c/Merge/If/else([(0) (1)]) = [c/sub::0]: Sub [(0) (1)]",
		}},
		{"a condition in which a tensor is fed", choice, map[string]bool{"c/mul:0": true}, []string{
			"c/d/Merge = Identity [c/d/Merge/If:0]", "c/Merge = Identity [c/Merge/If:0]",
			"c/d/Merge/If = If [c/q c/mul]", "c/Merge/If = If [p x s c/mul ^c/t]",
			"c/d/Merge/If/then([(0)]) = [c/d/neg::0]: Neg [(0)]", "c/d/Merge/If/else([(0)]) = [(0)]: ",
			"c/Merge/If/then([(0) (1) (2)]) = [c/d/Merge::0]: Identity [c/d/Merge/If::0], If [c/q::0 (2)], Greater [(1) c/zero::0], Const []",
			"c/Merge/If/else([(0) (1) (2)]) = [c/sub::0]: Sub [(0) (1)]",
		}},
		{"a loop without a condition stays", strings.ReplaceAll(rising, "w/LoopCond = LoopCond", "w/LoopCond = Identity"), nil, nil},
	} {
		data, err := graphdef.Binary(graphdef.GraphDef, []byte(program(c.text)))
		if err != nil {
			t.Fatal(err)
		}
		g, err := graphdef.DecodeGraph(data)
		if err != nil {
			t.Fatal(err)
		}
		before := map[*graphdef.Node]string{}
		for _, n := range g.Nodes {
			before[n] = line(n)
		}
		nodes, functions := tensorflow.Functional(g.Nodes, c.cut)
		var got []string
		for _, n := range nodes {
			if _, old := before[n]; !old {
				got = append(got, n.Name+" = "+line(n))
			}
		}
		for _, f := range functions {
			var in, out, body []string
			for _, a := range f.Inputs {
				in = append(in, a.Name)
			}
			for _, a := range f.Outputs {
				out = append(out, f.Return[a.Name])
			}
			for _, n := range f.Nodes {
				body = append(body, line(n))
			}
			got = append(got, fmt.Sprintf("%s(%v) = %v: %s", f.Name, in, out, strings.Join(body, ", ")))
		}
		if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
		for _, n := range g.Nodes {
			if line(n) != before[n] {
				t.Errorf("%s: node %q was %s and is %s", c.name, n.Name, before[n], line(n))
			}
		}
	}
}

func line(n *graphdef.Node) string { return fmt.Sprintf("%s %v", n.Op, n.Inputs) }
