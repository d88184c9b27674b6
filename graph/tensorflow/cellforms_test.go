package tensorflow_test

import (
	"strings"
	"testing"
)

const zeroStart, otherStart = "hf = float 0\n cf = float 0", "hf = float 0.5\n cf = float -0.25"

// changed changes a cell's text, and fails where there is nothing to change.
func changed(t *testing.T, cell string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(cell, pairs[i]) {
			t.Fatalf("there is no %q", pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(cell)
}

// hardLines write the hard sigmoid of v as Keras 2 has it, and as Keras 3.
var hardLines = map[string]func(name, v string) string{
	"Keras 2": func(name, v string) string {
		return strings.NewReplacer("NAME", name, "VALUE", v).Replace(`NAMEa = float 0.2
	NAMEm = Mul NAMEa VALUE
	NAMEb = float 0.5
	NAMEs = AddV2 NAMEm NAMEb
	NAMEo = float 1
	NAMEz = float 0
	NAMEi = Minimum NAMEs NAMEo
	NAME = Maximum NAMEi NAMEz`)
	},
	"Keras 3": func(name, v string) string {
		return strings.NewReplacer("NAME", name, "VALUE", v).Replace(`NAMEb = float 3
	NAMEs = AddV2 VALUE NAMEb
	NAMEc = Relu6 NAMEs
	NAMEd = float 6
	NAME = RealDiv NAMEc NAMEd`)
	},
}

const lstmGates = `zx = MatMul xt w
	zh = MatMul h r
	zs = AddV2 zx zh
	z = BiasAdd zs b
	split = Split axis z num_split=4
	i_ = Identity split:output:0
	f_ = Identity split:output:1
	g_ = Identity split:output:2
	o_ = Identity split:output:3`

// An LSTM of the hard sigmoid, and one with peepholes, becomes one, with the numbers that the loop gives; what is nearly one stays a loop.
func TestLSTMForms(t *testing.T) {
	hard := func(form string, gates ...string) string {
		cell := lstmGates + lstmStep
		for _, g := range gates {
			cell = changed(t, cell, "s"+g+" = Sigmoid "+g+"_", hardLines[form]("s"+g, g+"_"))
		}
		return cell
	}
	peep := func(memory string) string {
		cell := changed(t, lstmGates, "i_ = Identity split:output:0", "pi = floats 0.3 -0.7\n ci = Mul pi c\n i_ = AddV2 split:output:0 ci",
			"f_ = Identity split:output:1", "forget = float 1\n pf = floats -0.2 0.9\n cf = Mul pf c\n f1 = AddV2 split:output:1 forget\n f_ = AddV2 f1 cf", "o_ = Identity split:output:3", "")
		return cell + changed(t, lstmStep, "so = Sigmoid o_", "", "tc = Tanh c1", "po = floats 0.6 0.4\n co = Mul po "+memory+"\n o_ = AddV2 split:output:3 co\n so = Sigmoid o_\n tc = Tanh c1")
	}
	for _, c := range []struct {
		name, cell, start string
		lstm              bool
	}{
		{"hard sigmoids of Keras 2", hard("Keras 2", "i", "f", "o"), otherStart, true},
		{"hard sigmoids of Keras 3", hard("Keras 3", "i", "f", "o"), otherStart, true},
		{"hard sigmoids and one that is not", hard("Keras 3", "i", "f"), otherStart, false},
		{"hard sigmoids of another height", changed(t, hard("Keras 2", "i", "f", "o"), "fo = float 1", "fo = float 0.9"), otherStart, false},
		{"hard sigmoids of two lines", changed(t, hard("Keras 2", "i", "f", "o"), "fb = float 0.5", "fb = float 0.4"), otherStart, false},
		{"peepholes", peep("c1"), otherStart, true},
		{"the output's peephole at the memory before", peep("c"), otherStart, false},
		{"a peephole at the hidden state", changed(t, peep("c1"), "ci = Mul pi c", "ci = Mul pi h"), otherStart, false},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "LSTM", 4, c.cell, c.start, c.lstm) })
	}
}

// A GRU whose pieces are cut out one by one, and one of the hard sigmoid, becomes one.
func TestGRUForms(t *testing.T) {
	const cut = `
	b2 = floats 0.1 -0.2 0.3 0.4 -0.5 0.6
	xw = MatMul xt w
	xs1 = BiasAdd xw b
	hr = MatMul h r
	hs = BiasAdd hr b2
	sx = Split axis xs1 num_split=3
	from0 = ints 0 0
	from1 = ints 0 2
	from2 = ints 0 4
	to1 = ints 0 2
	to2 = ints 0 4
	to3 = ints 0 0
	by = ints 1 1
	h0_ = StridedSlice hs from0 to1 by begin_mask=1 end_mask=1
	h1_ = StridedSlice hs from1 to2 by begin_mask=1 end_mask=1
	h2_ = StridedSlice hs from2 to3 by begin_mask=1 end_mask=3
	za = AddV2 sx:output:0 h0_
	z = Sigmoid za
	ra = AddV2 sx:output:1 h1_
	reset = Sigmoid ra
	rh = Mul reset h2_
	na = AddV2 sx:output:2 rh
	new = Tanh na
	unit = float 1
	left = Sub unit z
	old = Mul z h
	fresh = Mul left new
	h1 = AddV2 old fresh
	c1 = Identity c`
	hard := changed(t, cut, "z = Sigmoid za", hardLines["Keras 3"]("z", "za"), "reset = Sigmoid ra", hardLines["Keras 3"]("reset", "ra"))
	for _, c := range []struct {
		name, cell, start string
		gru               bool
	}{
		{"pieces cut out", cut, otherStart, true},
		{"a piece twice", changed(t, cut, "h1_ = StridedSlice hs from1 to2", "h1_ = StridedSlice hs from0 to1"), otherStart, false},
		{"pieces that are not thirds", changed(t, cut, "from1 = ints 0 2", "from1 = ints 0 1", "to2 = ints 0 4", "to2 = ints 0 3"), otherStart, false},
		{"a piece between two", changed(t, cut, "from1 = ints 0 2", "from1 = ints 0 3", "to2 = ints 0 4", "to2 = ints 0 5"), otherStart, false},
		{"hard sigmoids", hard, otherStart, true},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "GRU", 3, c.cell, c.start, c.gru) })
	}
}

// A GRU without reset_after whose product of the state has an empty third piece, as Keras 2 writes it, becomes one.
func TestGRUEmptyPiece(t *testing.T) {
	const cell = `
	xw = MatMul xt w
	xs1 = BiasAdd xw b
	at = ints 4 2
	parts = SplitV r at axis num_split=2
	hs = MatMul h parts:output:0
	sizes = ints 2 2 0
	sx = Split axis xs1 num_split=3
	sh = SplitV hs sizes axis num_split=3
	za = AddV2 sx:output:0 sh:output:0
	z = Sigmoid za
	ra = AddV2 sx:output:1 sh:output:1
	reset = Sigmoid ra
	rh = Mul reset h
	inner = MatMul rh parts:output:1
	na = AddV2 sx:output:2 inner
	new = Tanh na
	unit = float 1
	left = Sub unit z
	old = Mul z h
	fresh = Mul left new
	h1 = AddV2 old fresh
	c1 = Identity c`
	checkRecurrence(t, "GRU", 3, cell, otherStart, true)
	checkRecurrence(t, "GRU", 3, changed(t, cell, "sizes = ints 2 2 0", "sizes = ints 2 0 2", "sh:output:1", "sh:output:2"), otherStart, true)
}

// TensorFlow 1's GRUCell becomes a GRU.
func TestGRUCell(t *testing.T) {
	const cell = `
	axis0 = int 0
	kf = floats 0.1 -0.6 0.7 0.2 -0.3 0.5 0.9 -0.1 0.4 0.8 -0.7 0.3 0.2 -0.9 0.6 0.1
	ks = ints 4 4
	k = Reshape kf ks
	gb = floats 0.2 -0.1 0.5 0.3
	cf = floats 0.6 -0.2 0.4 0.9 -0.8 0.3 0.1 0.7
	cs = ints 4 2
	ck = Reshape cf cs
	cb = floats -0.3 0.2
	xh = ConcatV2 xt h axis
	gm = MatMul xh k
	gs = BiasAdd gm gb
	gates = Sigmoid gs
	split = Split axis gates num_split=2
	rh = Mul split:output:0 h
	xr = ConcatV2 xt rh axis
	cm = MatMul xr ck
	ca = BiasAdd cm cb
	new = Tanh ca
	old = Mul split:output:1 h
	unit = float 1
	left = Sub unit split:output:1
	fresh = Mul left new
	h1 = AddV2 old fresh
	c1 = Identity c`
	for _, c := range []struct {
		name, cell, start string
		gru               bool
	}{
		{"as it is", cell, zeroStart, true},
		{"other states at the start, without biases", changed(t, cell, "gs = BiasAdd gm gb", "gs = Identity gm", "ca = BiasAdd cm cb", "ca = Identity cm"), otherStart, true},
		{"its gates in another order", changed(t, cell, "rh = Mul split:output:0 h", "rh = Mul h split:output:1", "old = Mul split:output:1 h", "old = Mul split:output:0 h",
			"left = Sub unit split:output:1", "left = Sub unit split:output:0"), otherStart, true},
		{"one gate for both", changed(t, cell, "rh = Mul split:output:0 h", "rh = Mul split:output:1 h"), otherStart, false},
		{"the reset gate on another state", changed(t, cell, "rh = Mul split:output:0 h", "rh = Mul split:output:0 c"), otherStart, false},
		{"the sides the other way round", changed(t, cell, "xr = ConcatV2 xt rh axis", "xr = ConcatV2 rh xt axis"), otherStart, false},
		{"another activation", changed(t, cell, "new = Tanh ca", "new = Relu ca"), otherStart, false},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "GRU", 3, c.cell, c.start, c.gru) })
	}
}
