package native_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// recurrentCase is a random RNN, GRU or LSTM, and what its definition says.
type recurrentCase struct {
	op                               string
	seq, batch, input, hidden, dirs  int
	x, w, r, b, h0, c0, p            *tensor.Tensor // of layout 0
	lengths                          []int32
	reverse                          []bool
	linearBeforeReset, forgetCoupled bool
	clip                             float64
	y, yh, yc                        *tensor.Tensor
}

func at(t *tensor.Tensor, index ...int) *float64 {
	return &tensor.Data[float64](t)[offset(t.Shape(), index)]
}

// compute goes through every member of the batch by itself.
func (c *recurrentCase) compute() {
	gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[c.op]
	c.y = tensor.Must(tensor.New(tensor.Float64, c.seq, c.dirs, c.batch, c.hidden))
	c.yh, c.yc = c.h0.Clone(), c.c0.Clone()
	clip := func(v float64) float64 {
		if c.clip > 0 {
			return math.Max(-c.clip, math.Min(c.clip, v))
		}
		return v
	}
	sig := func(v float64) float64 { return 1 / (1 + math.Exp(-clip(v))) }
	tanh := func(v float64) float64 { return math.Tanh(clip(v)) }
	for d := range c.dirs {
		for b := range c.batch {
			n := int(c.lengths[b])
			for s := range n {
				t := s
				if c.reverse[d] {
					t = n - 1 - s
				}
				h, cell := make([]float64, c.hidden), make([]float64, c.hidden)
				for i := range h {
					h[i], cell[i] = *at(c.yh, d, b, i), *at(c.yc, d, b, i)
				}
				ofInput := func(gate, i int) float64 {
					v := *at(c.b, d, gate*c.hidden+i)
					for k := range c.input {
						v += *at(c.x, t, b, k) * *at(c.w, d, gate*c.hidden+i, k)
					}
					return v
				}
				ofState := func(gate, i int, h []float64) float64 {
					v := *at(c.b, d, (gates+gate)*c.hidden+i)
					for k := range h {
						v += h[k] * *at(c.r, d, gate*c.hidden+i, k)
					}
					return v
				}
				gate := func(g, i int) float64 { return ofInput(g, i) + ofState(g, i, h) }
				reset := make([]float64, c.hidden)
				for i := range h {
					if c.op == "GRU" {
						reset[i] = sig(gate(1, i)) * h[i]
					}
				}
				for i := range h {
					var v float64
					switch c.op {
					case "RNN":
						v = tanh(gate(0, i))
					case "GRU":
						z := sig(gate(0, i))
						fresh := ofInput(2, i) + ofState(2, i, reset)
						if c.linearBeforeReset {
							fresh = ofInput(2, i) + sig(gate(1, i))*ofState(2, i, h)
						}
						v = (1-z)*tanh(fresh) + z*h[i]
					case "LSTM":
						in := sig(gate(0, i) + *at(c.p, d, i)*cell[i])
						forget := sig(gate(2, i) + *at(c.p, d, 2*c.hidden+i)*cell[i])
						if c.forgetCoupled {
							forget = 1 - in
						}
						now := forget*cell[i] + in*tanh(gate(3, i))
						v = sig(gate(1, i)+*at(c.p, d, c.hidden+i)*now) * math.Tanh(now)
						*at(c.yc, d, b, i) = now
					}
					*at(c.yh, d, b, i), *at(c.y, t, d, b, i) = v, v
				}
			}
		}
	}
}

// swap is a tensor whose dimensions come in another order.
func swap(t *testing.T, x *tensor.Tensor, perm ...int64) *tensor.Tensor {
	t.Helper()
	return apply(t, 17, node("Transpose", graph.Attrs{"perm": perm}, []string{"x0"}, "y0"), x)[0]
}

func TestRecurrent(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	normal := func(dims ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Float64, dims...))
		for i := range tensor.Data[float64](x) {
			tensor.Data[float64](x)[i] = rnd.NormFloat64()
		}
		return x
	}
	for i := range 120 {
		c := recurrentCase{op: []string{"RNN", "GRU", "LSTM"}[i%3], seq: rnd.IntN(5), batch: 1 + rnd.IntN(3), input: 1 + rnd.IntN(4), hidden: 1 + rnd.IntN(5), dirs: 1,
			linearBeforeReset: rnd.IntN(2) == 0, forgetCoupled: rnd.IntN(2) == 0}
		way := []string{"forward", "reverse", "bidirectional"}[rnd.IntN(3)]
		c.reverse = map[string][]bool{"forward": {false}, "reverse": {true}, "bidirectional": {false, true}}[way]
		c.dirs = len(c.reverse)
		if rnd.IntN(2) == 0 {
			c.clip = 0.75
		}
		for range c.batch {
			c.lengths = append(c.lengths, int32(rnd.IntN(c.seq+1)))
		}
		gates := map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4}[c.op] * c.hidden
		c.x, c.w, c.r, c.b = normal(c.seq, c.batch, c.input), normal(c.dirs, gates, c.input), normal(c.dirs, gates, c.hidden), normal(c.dirs, 2*gates)
		c.h0, c.c0, c.p = normal(c.dirs, c.batch, c.hidden), normal(c.dirs, c.batch, c.hidden), normal(c.dirs, 3*c.hidden)
		c.compute()
		attrs := graph.Attrs{"direction": way, "hidden_size": int64(c.hidden)}
		if c.clip > 0 {
			attrs["clip"] = float32(c.clip)
		}
		in := list{c.x, c.w, c.r, c.b, tensor.Vector(c.lengths...), c.h0}
		want := list{c.y, c.yh}
		switch c.op {
		case "GRU":
			attrs["linear_before_reset"] = int64(map[bool]int{true: 1}[c.linearBeforeReset])
		case "LSTM":
			attrs["input_forget"] = int64(map[bool]int{true: 1}[c.forgetCoupled])
			in, want = append(in, c.c0, c.p), append(want, c.yc)
		}
		if rnd.IntN(2) == 0 {
			attrs["layout"] = int64(1)
			in[0], in[5], want[0], want[1] = swap(t, in[0], 1, 0, 2), swap(t, in[5], 1, 0, 2), swap(t, want[0], 2, 0, 1, 3), swap(t, want[1], 1, 0, 2)
			if c.op == "LSTM" {
				in[6], want[2] = swap(t, in[6], 1, 0, 2), swap(t, want[2], 1, 0, 2)
			}
		}
		n := node(c.op, attrs, nil, "y0", "y1", "y2")
		n.Outputs = n.Outputs[:len(want)]
		for k := range in {
			n.Inputs = append(n.Inputs, fmt.Sprintf("x%d", k))
		}
		for _, d := range floatTypes {
			typed := append(list{}, in...)
			for k := range typed {
				if k != 4 {
					typed[k] = cast(t, in[k], d)
				}
			}
			got, err := tryApply(t, 14, n, typed...)
			if err != nil {
				t.Fatalf("%s%v of %v: %v", c.op, attrs, d, err)
			}
			tolerance := map[tensor.DType]float64{tensor.Float64: 1e-12, tensor.Float32: 1e-5, tensor.Float16: 0.06, tensor.BFloat16: 0.5}[d]
			for k, w := range want {
				if err := conformance.Within(cast(t, got[k], tensor.Float64), w, conformance.Tolerance{Abs: tolerance, Rel: tolerance}); err != nil {
					t.Fatalf("%s%v of %v, seq %d, batch %d: output %d: %v", c.op, attrs, d, c.seq, c.batch, k, err)
				}
			}
		}
	}
}

func TestRecurrentAttributes(t *testing.T) {
	one := func(v float32) *tensor.Tensor { return of[float32]([]int{1, 1, 1}, v) }
	step := func(names []string, alpha, beta []float32) graph.Attrs {
		a := graph.Attrs{"hidden_size": int64(1), "activations": names}
		if alpha != nil {
			a["activation_alpha"] = alpha
		}
		if beta != nil {
			a["activation_beta"] = beta
		}
		return a
	}
	var cases []operatorCase
	for _, tt := range []struct {
		name        string
		alpha, beta []float32
		x, want     float32
	}{
		{"Relu", nil, nil, -2, 0}, {"relu", nil, nil, 2, 2}, {"Affine", []float32{2}, []float32{1}, 3, 7}, {"LeakyRelu", nil, nil, -2, -0.02},
		{"LeakyRelu", []float32{0.5}, nil, -2, -1}, {"ThresholdedRelu", nil, nil, 0.5, 0}, {"ScaledTanh", []float32{2}, []float32{0.5}, 2, 2 * float32(math.Tanh(1))},
		{"HardSigmoid", nil, nil, 1, 0.7}, {"Elu", nil, nil, -1, float32(math.Expm1(-1))}, {"Softsign", nil, nil, 1, 0.5}, {"Softplus", nil, nil, 0, math.Ln2},
	} {
		cases = append(cases, operatorCase{op: "RNN", attrs: step([]string{tt.name}, tt.alpha, tt.beta), in: list{one(tt.x), one(1), one(0)}, want: list{of([]int{1, 1, 1, 1}, tt.want)}})
	}
	cases = append(cases,
		operatorCase{op: "RNN", attrs: step([]string{"Swish"}, nil, nil), in: list{one(1), one(1), one(0)}, err: `activation "Swish"`},
		operatorCase{op: "RNN", attrs: step([]string{"Relu", "Relu"}, nil, nil), in: list{one(1), one(1), one(0)}, err: "2 activations for 1 directions"},
		operatorCase{op: "RNN", attrs: graph.Attrs{"direction": "sideways"}, in: list{one(1), one(1), one(0)}, err: `direction "sideways"`},
		operatorCase{op: "RNN", attrs: graph.Attrs{"hidden_size": int64(2)}, in: list{one(1), one(1), one(0)}, err: "hidden_size is 2"},
		operatorCase{op: "LSTM", in: list{one(1), one(1), one(0)}, err: "weights of shape [1,1,1]; they must have [1,4,1]"},
		operatorCase{op: "RNN", in: list{one(1), one(1), one(0), nil, tensor.Vector[int32](2)}, err: "sequence 0 has length 2 of 1"},
		operatorCase{op: "RNN", in: list{one(1), one(1), one(0), nil, nil, of[float32]([]int{1, 2, 1}, 1, 2)}, err: "first state of shape [1,2,1]"},
	)
	empty := func(shape ...int) *tensor.Tensor { return of[float32](shape) }
	for op, gates := range map[string]int{"RNN": 1, "GRU": 3, "LSTM": 4} { // of no rows, and of rows without a step
		w, r := tensor.Must(tensor.New(tensor.Float32, 1, 2*gates, 3)), tensor.Must(tensor.New(tensor.Float32, 1, 2*gates, 2))
		cases = append(cases,
			operatorCase{op: op, in: list{empty(4, 0, 3), w, r}, want: list{empty(4, 1, 0, 2), empty(1, 0, 2)}},
			operatorCase{op: op, attrs: graph.Attrs{"direction": "reverse"}, in: list{empty(0, 2, 3), w, r}, want: list{empty(0, 1, 2, 2), of[float32]([]int{1, 2, 2}, 0, 0, 0, 0)}},
		)
	}
	for _, c := range cases {
		t.Run(c.op, c.run)
	}
}
