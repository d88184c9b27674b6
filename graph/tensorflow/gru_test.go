package tensorflow_test

import (
	"strings"
	"testing"
)

// What is a GRU whose reset gate works on the product becomes one, with the numbers that the loop gives; what is nearly one stays a loop.
func TestGRU(t *testing.T) {
	const keras = `
	b2 = floats 0.1 -0.2 0.3 0.4 -0.5 0.6
	xw = MatMul xt w
	xs1 = BiasAdd xw b
	hr = MatMul h r
	hs = BiasAdd hr b2
	sx = Split axis xs1 num_split=3
	sh = Split axis hs num_split=3
	za = AddV2 sx:output:0 sh:output:0
	z = Sigmoid za
	ra = AddV2 sx:output:1 sh:output:1
	reset = Sigmoid ra
	rh = Mul reset sh:output:2
	na = AddV2 sx:output:2 rh
	new = Tanh na
	unit = float 1
	left = Sub unit z
	old = Mul z h
	fresh = Mul left new
	h1 = AddV2 old fresh
	c1 = Identity c`
	const zeros, others = "hf = float 0\n cf = float 0", "hf = float 0.5\n cf = float -0.25"
	change := func(from, to string) string {
		if !strings.Contains(keras, from) {
			t.Fatalf("there is no %q", from)
		}
		return strings.ReplaceAll(keras, from, to)
	}
	for _, c := range []struct {
		name, cell, start string
		gru               bool
	}{
		{"keras", keras, zeros, true},
		{"other states at the start", keras, others, true},
		{"operands and gates in another order, no second bias", strings.NewReplacer("rh = Mul reset sh:output:2", "rh = Mul sh:output:2 reset", "na = AddV2 sx:output:2 rh", "na = AddV2 rh sx:output:2",
			"output:0", "output:1", "output:1", "output:0", "hs = BiasAdd hr b2", "hs = Identity hr", "h1 = AddV2 old fresh", "h1 = AddV2 fresh old",
			"za = AddV2 sx:output:0 sh:output:0", "za = AddV2 sh:output:1 sx:output:1").Replace(keras), others, true},
		{"gates crossed", change("ra = AddV2 sx:output:1 sh:output:1", "ra = AddV2 sx:output:1 sh:output:0"), zeros, false},
		{"the reset gate for the update gate", change("rh = Mul reset", "rh = Mul z"), zeros, false},
		{"two less the gate", change("unit = float 1", "unit = float 2"), zeros, false},
		{"the reset gate on the input", change("rh = Mul reset sh:output:2", "rh = Mul reset sx:output:2"), zeros, false},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "GRU", 3, c.cell, c.start, c.gru) })
	}
}

// So does one whose reset gate works on the hidden state.
func TestGRUBefore(t *testing.T) {
	const keras = `
	b2 = floats 0.1 -0.2 0.3 0.4
	xw = MatMul xt w
	xs1 = BiasAdd xw b
	at = ints 4 2
	parts = SplitV r at axis num_split=2
	hr = MatMul h parts:output:0
	hs = BiasAdd hr b2
	sx = Split axis xs1 num_split=3
	sh = Split axis hs num_split=2
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
	const zeros, others = "hf = float 0\n cf = float 0", "hf = float 0.5\n cf = float -0.25"
	change := func(from, to string) string {
		if !strings.Contains(keras, from) {
			t.Fatalf("there is no %q", from)
		}
		return strings.ReplaceAll(keras, from, to)
	}
	for _, c := range []struct {
		name, cell, start string
		gru               bool
	}{
		{"keras", keras, zeros, true},
		{"other states at the start, no second bias", change("hs = BiasAdd hr b2", "hs = Identity hr"), others, true},
		{"operands and gates in another order", strings.NewReplacer("Mul reset h", "Mul h reset", "AddV2 sx:output:2 inner", "AddV2 inner sx:output:2", "AddV2 old fresh", "AddV2 fresh old",
			"sx:output:0 sh:output:0", "sh:output:1 sx:output:0", "sx:output:1 sh:output:1", "sx:output:1 sh:output:0", "Mul z h", "Mul h z", "Mul left new", "Mul new left").Replace(keras), others, true},
		{"a gate of the input twice", change("ra = AddV2 sx:output:1", "ra = AddV2 sx:output:0"), zeros, false},
		{"a gate of the state twice", change("ra = AddV2 sx:output:1 sh:output:1", "ra = AddV2 sx:output:1 sh:output:0"), zeros, false},
		{"the update gate for the reset gate", change("rh = Mul reset h", "rh = Mul z h"), zeros, false},
		{"another state", change("rh = Mul reset h", "rh = Mul reset c"), others, false},
		{"two less the gate", change("unit = float 1", "unit = float 2"), zeros, false},
		{"another activation", change("Tanh na", "Relu na"), zeros, false},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "GRU", 3, c.cell, c.start, c.gru) })
	}
}
