package tensorflow_test

import (
	"strings"
	"testing"
)

// What is a simple recurrence becomes one RNN, with the numbers that the loop gives; what is nearly one stays a loop.
func TestRNN(t *testing.T) {
	const keras = `
	xw = MatMul xt w
	xs1 = BiasAdd xw b
	hr = MatMul h r
	sum = AddV2 xs1 hr
	h1 = Tanh sum
	c1 = Identity c`
	const basic = `
	axis0 = int 0
	k = ConcatV2 w r axis0
	xh = ConcatV2 xt h axis
	zk = MatMul xh k
	sum = BiasAdd zk b
	h1 = Tanh sum
	c1 = Identity c`
	const zeros, others = "hf = float 0\n cf = float 0", "hf = float 0.5\n cf = float -0.25"
	for _, c := range []struct {
		name, cell, start string
		rnn               bool
	}{
		{"keras", keras, zeros, true},
		{"of input and state side by side", basic, zeros, true},
		{"other states at the start, no bias", strings.Replace(keras, "BiasAdd xw b", "Identity xw", 1), others, true},
		{"relu", strings.Replace(keras, "Tanh", "Relu", 1), others, true},
		{"sigmoid", strings.Replace(keras, "Tanh", "Sigmoid", 1), others, true},
		{"another activation", strings.Replace(keras, "Tanh", "Softsign", 1), zeros, false},
		{"the state twice", strings.Replace(keras, "sum = AddV2 xs1 hr", "once = AddV2 xs1 hr\n sum = AddV2 once h", 1), zeros, false},
		{"two biases", strings.Replace(keras, "sum = AddV2 xs1 hr", "once = AddV2 xs1 hr\n sum = BiasAdd once b", 1), zeros, false},
		{"a state that is not the product's", strings.Replace(keras, "MatMul h r", "MatMul c r", 1), others, false},
	} {
		t.Run(c.name, func(t *testing.T) { checkRecurrence(t, "RNN", 1, c.cell, c.start, c.rnn) })
	}
}
