package tensorflow_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/tensor"
)

// recurrence is one over x, which is [3, 2, 2]: 3 steps of 2 rows of 2 numbers, with 2 hidden numbers in so many gates. cell are the lines that make h1 and c1 of
// xt, h and c. Only what runs three times in any case can be a node: asked makes the loop ask its data each time, which is always true.
func recurrence(gates int, cell, start string, asked bool) string {
	return program(recurrenceLines(gates, cell, start, asked))
}

// recurrenceLines are those of the program.
func recurrenceLines(gates int, cell, start string, asked bool) string {
	cond := "r = Identity p"
	if asked {
		cond = "axes = ints 0 1\n s = Sum h axes\n big = float 1000000\n q = Less s big\n r = LogicalAnd p q"
	}
	numbers := func(n int, seed float64) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, " %.3f", math.Sin(seed+float64(i)*1.7)/1.5)
		}
		return b.String()
	}
	return `
func cond(i, h, c, l, last, xs) (r)
	n = int 3
	p = Less i n
	` + cond + `
func body(i, h, c, l, last, xs) (j, h1, c1, l1, last1, xs)
	one = int 1
	zero = int 0
	j = AddV2 i one
	any = ints
	axis = int 1
	xt = TensorListGetItem xs i any element_dtype=DT_FLOAT
	wf = floats` + numbers(4*gates, 1) + `
	rf = floats` + numbers(4*gates, 2) + `
	b = floats` + numbers(2*gates, 3) + `
	ws = ints 2 ` + fmt.Sprint(2*gates) + `
	w = Reshape wf ws
	r = Reshape rf ws
	` + cell + `
	l1 = TensorListSetItem l i h1
	last1 = TensorListSetItem last zero h1
main
	zero = int 0
	one = int 1
	three = int 3
	any = int -1
	shape = ints 3 2 2
	x3 = Reshape x shape
	xs = TensorListFromTensor x3 any
	state = ints 2 2
	` + start + `
	h0 = Fill state hf
	c0 = Fill state cf
	l = TensorListReserve state three element_dtype=DT_FLOAT
	last = TensorListReserve state one element_dtype=DT_FLOAT
	w = While zero h0 c0 l last xs cond=cond body=body
	all = TensorListStack w:3 any
	end = TensorListStack w:4 any
	flat = ints -1
	a1 = Reshape all flat
	a2 = Reshape w:1 flat
	a3 = Reshape w:2 flat
	a4 = Reshape end flat
	y = ConcatV2 a1 a2 a3 a4 zero`
}

// lstmStep is what an LSTM makes of its gates.
const lstmStep = `
	si = Sigmoid i_
	sf = Sigmoid f_
	so = Sigmoid o_
	tg = Tanh g_
	kept = Mul c sf
	fresh = Mul si tg
	c1 = AddV2 kept fresh
	tc = Tanh c1
	h1 = Mul tc so`

// What is an LSTM becomes one, with the numbers that the loop gives; what is nearly one stays a loop.
func TestLSTM(t *testing.T) {
	const keras = `zx = MatMul xt w
	zh = MatMul h r
	zs = AddV2 zx zh
	z = BiasAdd zs b
	split = Split axis z num_split=4
	i_ = Identity split:output:0
	f_ = Identity split:output:1
	g_ = Identity split:output:2
	o_ = Identity split:output:3`
	const basic = `axis0 = int 0
	k = ConcatV2 w r axis0
	xh = ConcatV2 xt h axis
	zk = MatMul xh k
	z = BiasAdd zk b
	split = Split axis z num_split=4
	forget = float 1
	i_ = Identity split:output:0
	g_ = Identity split:output:1
	f_ = AddV2 split:output:2 forget
	o_ = Identity split:output:3`
	const zeros, others = "hf = float 0\n cf = float 0", "hf = float 0.5\n cf = float -0.25"
	for _, c := range []struct {
		name, cell, start string
		lstm              bool
	}{
		{"keras", keras, zeros, true},
		{"basic, of input and state side by side, with a forget bias", basic, zeros, true},
		{"the sum in another order, without a bias", strings.Replace(strings.Replace(keras, "AddV2 zx zh", "AddV2 zh zx", 1), "z = BiasAdd zs b", "z = Identity zs", 1), zeros, true},
		{"other states at the start", keras, others, true},
		{"a gate twice", strings.Replace(keras, "o_ = Identity split:output:3", "o_ = Identity split:output:0", 1), zeros, false},
		{"another activation", strings.Replace(keras, "o_ = Identity split:output:3", "o_ = Relu split:output:3", 1), zeros, false},
		{"steps from the end", strings.Replace(keras, "zx = MatMul xt w", "two = int 2\n at = Sub two i\n xr = TensorListGetItem xs at any element_dtype=DT_FLOAT\n zx = MatMul xr w", 1), zeros, false},
		{"a step ago", strings.Replace(keras, "zx = MatMul xt w", "zx = MatMul c w", 1), zeros, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkRecurrence(t, "LSTM", 4, c.cell+lstmStep, c.start, c.lstm)
		})
	}
}

// checkRecurrence holds what a recurrence becomes against the loop that it is: the same numbers, by one node of that operator if wanted.
func checkRecurrence(t *testing.T, op string, gates int, cell, start string, want bool) {
	t.Helper()
	checkLoop(t, op, want, func(asked bool) string { return recurrence(gates, cell, start, asked) })
}

// checkLoop is checkRecurrence of a program, which says itself what it is when its loop asks its data.
func checkLoop(t *testing.T, op string, want bool, text func(asked bool) string) {
	t.Helper()
	x := tensor.Vector[float32](0.1, -0.5, 2, 1, 0.3, -1, 0.7, 0.2, -0.4, 1.5, 0, 0.6)
	var results [2]map[string]map[string]*tensor.Tensor
	for i, asked := range []bool{false, true} {
		g, _, err := importText(t, "graph.pbtxt", text(asked), tensorflow.Options{Outputs: []string{"y:0"}})
		if err != nil {
			t.Fatal(err)
		}
		ops := map[string]int{}
		graph.Walk(g.Nodes, func(n *graph.Node) { ops[n.OpType]++ })
		if is := ops[op] == 1 && ops["Loop"] == 0; is != (want && !asked) || ops[op]+ops["Loop"] != 1 {
			t.Errorf("asked %v: %d %s and %d Loop", asked, ops[op], op, ops["Loop"])
		}
		results[i] = runAll(t, g, map[string]*tensor.Tensor{"x:0": x})
	}
	for name, out := range results[0] {
		got, loop := tensor.Data[float32](out["y:0"]), tensor.Data[float32](results[1][name]["y:0"])
		if len(got) != 24 || len(loop) != 24 {
			t.Fatalf("%s: %d and %d numbers", name, len(got), len(loop))
		}
		for i := range loop {
			if math.Abs(float64(got[i]-loop[i])) > 1e-6 {
				t.Errorf("%s: number %d is %v, the loop gives %v", name, i, got[i], loop[i])
			}
		}
	}
}
