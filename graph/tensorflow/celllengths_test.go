package tensorflow_test

import (
	"testing"
)

// What TensorFlow 1's dynamic_rnn does with the lengths of its rows becomes lengths of the operator, with the numbers that the loop gives, also where a length is none, below that, or more
// than there are steps, and where the loop ends before the steps do. What is nearly that stays a loop.
func TestLengths(t *testing.T) {
	masked := func(lengths string) string {
		step := changed(t, lstmStep, "c1 = AddV2 kept fresh", "cn = AddV2 kept fresh", "tc = Tanh c1", "tc = Tanh cn", "h1 = Mul tc so", "hn = Mul tc so")
		return lstmGates + step + `
	lens = ints ` + lengths + `
	behind = GreaterEqual i lens
	c1 = Select behind c cn
	h1 = Select behind h hn
	none = float 0
	two = ints 2 2
	zeros = Fill two none
	out = Select behind zeros hn`
	}
	for _, c := range []struct {
		name, cell, start string
		turns             string
		want              bool
	}{
		{"of two rows", masked("2 1"), zeroStart, "3", true},
		{"all steps, and none", masked("3 0"), zeroStart, "3", true},
		{"none at all", masked("0 0"), zeroStart, "3", true},
		{"below none, and more than there are", masked("-1 9"), zeroStart, "3", true},
		{"in a loop that ends before", masked("3 1"), zeroStart, "2", true},
		{"with other states at the start", masked("2 0"), otherStart, "3", false},
		{"of the hidden state alone", changed(t, masked("2 1"), "c1 = Select behind c cn", "c1 = Identity cn"), zeroStart, "3", false},
		{"whose last number is collected again", changed(t, masked("2 1"), "out = Select behind zeros hn", "out = Identity h1"), zeroStart, "3", false},
		{"of states that change places", changed(t, masked("2 1"), "c1 = Select behind c cn", "c1 = Select behind h cn"), zeroStart, "3", false},
		{"one step more", changed(t, masked("2 1"), "behind = GreaterEqual i lens", "behind = Greater i lens"), zeroStart, "3", false},
		{"the other way round", changed(t, masked("2 1"), "c1 = Select behind c cn", "c1 = Select behind cn c"), zeroStart, "3", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkLoop(t, "LSTM", c.want, func(asked bool) string {
				return program(changed(t, recurrenceLines(4, c.cell, c.start, asked), "l1 = TensorListSetItem l i h1", "l1 = TensorListSetItem l i out",
					"last1 = TensorListSetItem last zero h1", "last1 = Identity last", "n = int 3", "n = int "+c.turns))
			})
		})
	}
}
