package gradient

import (
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A direction is what RNN, GRU and LSTM have of one direction, all of it with time first and in the order in which the steps are made.
type direction struct {
	t      *tape
	n      *graph.Node
	acts   []cellFunction
	clip   float64
	hidden int64

	x, y, before string // [T,B,*]: the input, the states, and the state before each step
	w, r         string // [gates*H, *]
	wb, rb       string // [gates*H]; "" where there are none
	mask, pass   string // [T,B,1]: 1 where a sequence has a step, and where it has none; "" where all have all
	h0           string // [B,H]
	c0, peep     string // LSTM; peep [3*H] or ""
	dy, dh, dc   string // gradients of the states [T,B,H], and of the last ones [B,H]
}

// A part is what a direction gives: the gradients of its gates' sums and of what is before the first step.
type part struct {
	sums    string // [T,B,gates*H], of what the input adds to
	states  string // the same of what the state before adds to
	h0, c0  string
	peep    string
	rStates string // what the recurrence weights' last rows are multiplied with, where that is not the state before; "" elsewhere
}

// recurrentGradient makes the gradient of RNN, GRU and LSTM through time. What the operator gives has every state, so the sums of the gates are made again for all steps at
// once; only what goes from step to step is left to a Scan, whose body cell appends.
func recurrentGradient(gates int64, cell func(*direction) (part, error), defaults ...string) func(*tape, *graph.Node, []string) ([]string, error) {
	return func(t *tape, n *graph.Node, dy []string) ([]string, error) {
		s := t.shape(n.Input(2))
		if len(s) != 3 || !s[2].Known() || !s[0].Known() {
			return nil, fmt.Errorf("%w: %s: the shape of its recurrence weights is not known", ErrNoGradient, nodeName(n))
		}
		k := &recurrence{t: t, n: n, gates: gates, hidden: s[2].Size, dirs: int(s[0].Size), dy: dy, first: n.Attrs.Int("layout", 0) != 0}
		return k.gradient(cell, defaults)
	}
}

// A recurrence is a recurrent operator whose gradient is made.
type recurrence struct {
	t             *tape
	n             *graph.Node
	gates, hidden int64
	dirs          int
	first         bool // the batch is before the time
	dy            []string
	x, y, lengths string
	zero          string // [B,H]
	mask          string
}

func (k *recurrence) gradient(cell func(*direction) (part, error), defaults []string) ([]string, error) {
	t, n := k.t, k.n
	acts, err := k.activations(defaults)
	if err != nil {
		return nil, err
	}
	if n.Output(0) == "" {
		if len(n.Outputs) == 0 {
			n.Outputs = []string{""}
		}
		n.Outputs[0] = t.name("states")
	}
	timeAxis, batchAxis := 0, 1
	k.x, k.y = n.Input(0), n.Output(0)
	if k.first {
		timeAxis, batchAxis = 1, 0
		k.x, k.y = t.transpose(k.x, 1, 0, 2), t.transpose(k.y, 1, 2, 0, 3)
	}
	k.zero = t.with(graph.Attrs{"value": zeroOf(t.dtype)}, "ConstantOfShape", t.concat(t.dims(n.Input(0), batchAxis, batchAxis+1), t.ints(k.hidden)))
	if in := n.Input(4); in != "" {
		k.lengths = t.cast(in, tensor.Int64)
		steps := t.op("Reshape", t.countAlong(n.Input(0), timeAxis), t.ints(-1, 1, 1))
		k.mask = t.mask(t.op("Less", steps, t.op("Reshape", k.lengths, t.ints(1, -1, 1))))
	}
	parts := make([][]string, 8) // by input, of each direction
	for d := range k.dirs {
		dir := k.direction(d)
		dir.acts = acts[d]
		p, err := cell(dir)
		if err != nil {
			return nil, err
		}
		k.collect(parts, dir, p, d)
	}
	dx := make([]string, len(n.Inputs))
	for i := range dx {
		if !t.want(n, i) || i >= len(parts) || parts[i] == nil {
			continue
		}
		axis := int64(0)
		switch {
		case i == 0:
			dx[0] = parts[0][0]
			if k.dirs > 1 {
				dx[0] = t.op("Add", parts[0][0], parts[0][1])
			}
			if k.first {
				dx[0] = t.transpose(dx[0], 1, 0, 2)
			}
			continue
		case i >= 5 && i <= 6 && k.first:
			axis = 1
		}
		each := make([]string, k.dirs)
		for d, p := range parts[i] {
			each[d] = t.op("Unsqueeze", p, t.ints(axis))
		}
		dx[i] = each[0]
		if k.dirs > 1 {
			dx[i] = t.with(graph.Attrs{"axis": axis}, "Concat", each...)
		}
	}
	return dx, nil
}

// collect makes the gradients of the operator's inputs of a direction's part.
func (k *recurrence) collect(parts [][]string, dir *direction, p part, d int) {
	t, n := k.t, k.n
	give := func(i int, f func() string) {
		if t.want(n, i) {
			parts[i] = append(parts[i], f())
		}
	}
	rows := func(v string) string {
		return t.op("Reshape", v, t.concat(t.ints(-1), t.op("Slice", t.op("Shape", v), t.ints(-1), t.ints(toEnd), t.ints(0))))
	}
	sum := func(v string) string { return t.reduce("ReduceSum", v, false, 0, 1) }
	give(0, func() string { return k.turn(t.op("MatMul", p.sums, dir.w), d) })
	give(1, func() string { return t.gemm(rows(p.sums), rows(dir.x), true, false, 1) })
	give(2, func() string {
		if p.rStates == "" {
			return t.gemm(rows(p.states), rows(dir.before), true, false, 1)
		}
		both := t.split(p.states, 2*k.hidden, k.hidden)
		upper, last := t.gemm(rows(both[0]), rows(dir.before), true, false, 1), t.gemm(rows(both[1]), rows(p.rStates), true, false, 1)
		return t.concat(upper, last)
	})
	give(3, func() string { return t.concat(sum(p.sums), sum(p.states)) })
	give(5, func() string { return p.h0 })
	give(6, func() string { return p.c0 })
	give(7, func() string { return p.peep })
}

// take is a value of a direction, whose axis goes.
func (k *recurrence) take(v string, d int, axis int64) string {
	if v == "" {
		return ""
	}
	return k.t.with(graph.Attrs{"axis": axis}, "Gather", v, k.t.constant(tensor.Scalar(int64(d))))
}

// backwards reports whether a direction goes from the last step to the first.
func (k *recurrence) backwards(d int) bool {
	way := strings.ToLower(k.n.Attrs.String("direction", "forward"))
	return way == "reverse" || d == 1
}

// turn puts a value with time first into the order of a direction's steps, or back.
func (k *recurrence) turn(v string, d int) string {
	t := k.t
	switch {
	case v == "" || !k.backwards(d):
		return v
	case k.lengths != "":
		return t.with(graph.Attrs{"time_axis": int64(0), "batch_axis": int64(1)}, "ReverseSequence", v, k.lengths)
	}
	return t.op("Slice", v, t.ints(-1), t.ints(-toEnd), t.ints(0), t.ints(-1))
}

func (k *recurrence) direction(d int) *direction {
	t, n := k.t, k.n
	stateAxis := int64(0)
	if k.first {
		stateAxis = 1
	}
	state := func(v string) string {
		if v == "" {
			return k.zero
		}
		return k.take(v, d, stateAxis)
	}
	dir := &direction{t: t, n: n, hidden: k.hidden, clip: float64(n.Attrs.Float("clip", 0)), mask: k.mask,
		x: k.turn(k.x, d), y: k.turn(k.take(k.y, d, 1), d), w: k.take(n.Input(1), d, 0), r: k.take(n.Input(2), d, 0),
		h0: state(n.Input(5)), peep: k.take(n.Input(7), d, 0)}
	dir.before = t.concat(t.op("Unsqueeze", dir.h0, t.ints(0)), t.op("Slice", dir.y, t.ints(0), t.ints(-1), t.ints(0)))
	if n.Input(3) != "" {
		both := t.split(k.take(n.Input(3), d, 0), k.gates*k.hidden, k.gates*k.hidden)
		dir.wb, dir.rb = both[0], both[1]
	}
	grads := func(i int) string {
		if i >= len(k.dy) {
			return ""
		}
		return k.dy[i]
	}
	dy := grads(0)
	switch {
	case dy == "":
		dir.dy = t.filledAs(dir.y, 0)
	case k.first:
		dir.dy = k.turn(k.take(t.transpose(dy, 1, 2, 0, 3), d, 1), d)
	default:
		dir.dy = k.turn(k.take(dy, d, 1), d)
	}
	dir.dh, dir.dc = state(grads(1)), state(grads(2))
	if k.mask != "" {
		dir.dy = t.op("Mul", dir.dy, k.mask)
		dir.pass = t.op("Sub", t.num(1), k.mask)
	}
	if n.Op() == "LSTM" {
		dir.c0 = state(n.Input(6))
	}
	return dir
}

// split cuts the last axis, or the only one, into parts of those lengths.
func (t *tape) split(v string, lengths ...int64) []string {
	return t.node(graph.OnnxDomain, "Split", graph.Attrs{"axis": int64(-1)}, len(lengths), v, t.ints(lengths...))
}

// product is rows times weights, transposed, and a bias.
func (d *direction) product(rows, weights, bias string) string {
	s := d.t.op("MatMul", rows, d.t.transpose(weights, 1, 0))
	if bias != "" {
		s = d.t.op("Add", s, bias)
	}
	return s
}

// masked is v where a sequence has a step, else 0.
func (d *direction) masked(v string) string {
	if d.mask == "" {
		return v
	}
	return d.t.op("Mul", v, d.mask)
}

// gate applies an activation to a gate's sums; the slope is 0 beyond clip.
func (d *direction) gate(b *builder, act int, sums string) (y, slope string) {
	if d.clip <= 0 {
		y = d.acts[act].value(b, sums)
		return y, d.acts[act].slope(b, sums, y)
	}
	cut := b.op("Clip", sums, b.num(-d.clip), b.num(d.clip))
	y = d.acts[act].value(b, cut)
	inside := b.cast(b.op("LessOrEqual", b.op("Abs", sums), b.num(d.clip)), b.dtype)
	return y, b.op("Mul", d.acts[act].slope(b, cut, y), inside)
}

// passed adds what a sequence without a step hands on.
func passed(b *builder, next, state string, pass []string) string {
	if len(pass) == 0 {
		return next
	}
	return b.op("Add", next, b.op("Mul", state, pass[0]))
}

// back are the elements of a loop back through the steps: those that are given, and which sequences have none.
func (d *direction) back(ins ...string) []string {
	if d.pass != "" {
		ins = append(ins, d.pass)
	}
	return ins
}

// rnnCell is H = f(sums).
func rnnCell(d *direction) (part, error) {
	t := d.t
	_, slope := d.gate(t.builder, 0, t.op("Add", d.product(d.x, d.w, d.wb), d.product(d.before, d.r, d.rb)))
	slope = d.masked(t.op("Mul", slope, t.filledAs(d.y, 1)))
	last, outs := t.scan(loop{states: []string{d.dh}, ins: d.back(d.dy, slope), reverse: true, stateRank: 2, body: func(b *builder, states, ins []string) (next, outs []string) {
		dh := b.op("Add", states[0], ins[0])
		sums := b.op("Mul", dh, ins[1])
		return []string{passed(b, b.op("MatMul", sums, d.r), dh, ins[2:])}, []string{sums}
	}})
	return part{sums: outs[0], states: outs[0], h0: last[0]}, nil
}

// filledAs is a number in the shape of a value that is made here, whatever that has in it: a product with 0 would hand on what is no number.
func (t *tape) filledAs(v string, x float64) string {
	return t.with(graph.Attrs{"value": vectorOf(t.dtype, x)}, "ConstantOfShape", t.op("Shape", v))
}

// gruCell is H = (1-z)*n + z*h. All gradients of the gates' sums are the new state's times what is known before the loop; without linear_before_reset that of the reset
// gate goes through a product.
func gruCell(d *direction) (part, error) {
	t, h := d.t, d.hidden
	after := d.n.Attrs.Int("linear_before_reset", 0) != 0
	xs := t.split(d.product(d.x, d.w, d.wb), h, h, h)
	r := t.node(graph.OnnxDomain, "Split", graph.Attrs{"axis": int64(0)}, 2, d.r, t.ints(2*h, h))
	var rb []string
	if d.rb != "" {
		rb = t.split(d.rb, 2*h, h)
	} else {
		rb = []string{"", ""}
	}
	hs := t.split(d.product(d.before, r[0], rb[0]), h, h)
	z, zs := d.gate(t.builder, 0, t.op("Add", xs[0], hs[0]))
	reset, rs := d.gate(t.builder, 0, t.op("Add", xs[1], hs[1]))
	var product, kept string // of the reset state, or of the state before
	if after {
		product = d.product(d.before, r[1], rb[1])
		kept = t.op("Mul", reset, product)
	} else {
		product = t.op("Mul", reset, d.before)
		kept = d.product(product, r[1], rb[1])
	}
	fresh, ns := d.gate(t.builder, 1, t.op("Add", xs[2], kept))
	kz := d.masked(t.op("Mul", t.op("Sub", d.before, fresh), zs))
	kn := d.masked(t.op("Mul", t.op("Sub", t.num(1), z), ns))
	keep := d.masked(z)
	if d.pass != "" {
		keep = t.op("Add", keep, d.pass) // a state is handed on as it is
	}
	if after {
		factors := t.with(graph.Attrs{"axis": int64(-1)}, "Concat", kz, t.op("Mul", t.op("Mul", kn, product), rs), t.op("Mul", kn, reset))
		last, outs := t.scan(loop{states: []string{d.dh}, ins: []string{d.dy, factors, keep}, reverse: true, stateRank: 2, body: func(b *builder, states, ins []string) (next, outs []string) {
			dh := b.op("Add", states[0], ins[0])
			sums := b.op("Mul", b.with(graph.Attrs{"axis": int64(-1)}, "Concat", dh, dh, dh), ins[1])
			return []string{b.op("Add", b.op("MatMul", sums, d.r), b.op("Mul", dh, ins[2]))}, []string{sums, dh}
		}})
		own := t.split(outs[0], 2*h, h)
		sums := t.with(graph.Attrs{"axis": int64(-1)}, "Concat", own[0], t.op("Mul", outs[1], kn))
		return part{sums: sums, states: outs[0], h0: last[0]}, nil
	}
	rk := t.op("Mul", d.before, rs)
	ins := []string{d.dy, kz, kn, rk, reset, keep}
	last, outs := t.scan(loop{states: []string{d.dh}, ins: ins, reverse: true, stateRank: 2, body: func(b *builder, states, ins []string) (next, outs []string) {
		dh := b.op("Add", states[0], ins[0])
		dn := b.op("Mul", dh, ins[2])
		through := b.op("MatMul", dn, r[1]) // the gradient of the reset state
		gates := b.with(graph.Attrs{"axis": int64(-1)}, "Concat", b.op("Mul", dh, ins[1]), b.op("Mul", through, ins[3]))
		prev := b.op("Add", b.op("MatMul", gates, r[0]), b.op("Mul", through, ins[4]))
		return []string{b.op("Add", prev, b.op("Mul", dh, ins[5]))}, []string{gates, dn}
	}})
	sums := t.with(graph.Attrs{"axis": int64(-1)}, "Concat", outs...)
	return part{sums: sums, states: sums, h0: last[0], rStates: product}, nil
}

// lstmCell is c' = forget*c + in*fresh and h = out*g(c'). The cells are not among what the operator gives: a loop makes them again.
func lstmCell(d *direction) (part, error) {
	t, h := d.t, d.hidden
	coupled := d.n.Attrs.Int("input_forget", 0) != 0
	s := t.split(t.op("Add", d.product(d.x, d.w, d.wb), d.product(d.before, d.r, d.rb)), h, h, h, h) // in, out, forget, fresh
	fresh, fs := d.gate(t.builder, 1, s[3])
	var peep []string // in, out, forget
	if d.peep != "" {
		peep = t.split(d.peep, h, h, h)
	}
	// gates are the input and the forget gate after the cell c.
	gates := func(b *builder, in, forget, c string) (i, islope, f, fslope string) {
		if peep != nil {
			in, forget = b.op("Add", in, b.op("Mul", peep[0], c)), b.op("Add", forget, b.op("Mul", peep[2], c))
		}
		i, islope = d.gate(b, 0, in)
		if coupled {
			return i, islope, b.op("Sub", b.num(1), i), ""
		}
		f, fslope = d.gate(b, 0, forget)
		return i, islope, f, fslope
	}
	_, cells := t.scan(loop{states: []string{d.c0}, ins: []string{s[0], s[2], fresh}, stateRank: 2, body: func(b *builder, states, ins []string) (next, outs []string) {
		i, _, f, _ := gates(b, ins[0], ins[1], states[0])
		c := b.op("Add", b.op("Mul", f, states[0]), b.op("Mul", i, ins[2]))
		return []string{c}, []string{states[0], c}
	}})
	before, c := cells[0], cells[1]
	in, is, forget, gs := gates(t.builder, s[0], s[2], before)
	outSums := s[1]
	if peep != nil {
		outSums = t.op("Add", outSums, t.op("Mul", peep[1], c))
	}
	out, os := d.gate(t.builder, 0, outSums)
	outer := d.acts[2].value(t.builder, c)
	k1 := d.masked(t.op("Mul", out, d.acts[2].slope(t.builder, c, outer)))
	ko := d.masked(t.op("Mul", outer, os))
	kg := d.masked(t.op("Mul", in, fs))
	var ki, kf string
	if coupled {
		ki = d.masked(t.op("Mul", t.op("Sub", fresh, before), is))
		kf = t.filledAs(ki, 0)
	} else {
		ki, kf = d.masked(t.op("Mul", fresh, is)), d.masked(t.op("Mul", before, gs))
	}
	keep := d.masked(forget)
	if d.pass != "" {
		keep = t.op("Add", keep, d.pass)
	}
	last, outs := t.scan(loop{states: []string{d.dh, d.dc}, ins: d.back(d.dy, k1, ki, ko, kf, kg, keep), reverse: true, stateRank: 2, body: func(b *builder, states, ins []string) (next, outs []string) {
		dh := b.op("Add", states[0], ins[0])
		do := b.op("Mul", dh, ins[3])
		dc := b.op("Add", states[1], b.op("Mul", dh, ins[1]))
		if peep != nil {
			dc = b.op("Add", dc, b.op("Mul", do, peep[1]))
		}
		di, df := b.op("Mul", dc, ins[2]), b.op("Mul", dc, ins[4])
		sums := b.with(graph.Attrs{"axis": int64(-1)}, "Concat", di, do, df, b.op("Mul", dc, ins[5]))
		prev := b.op("Mul", dc, ins[6])
		if peep != nil {
			prev = b.op("Add", prev, b.op("Add", b.op("Mul", di, peep[0]), b.op("Mul", df, peep[2])))
		}
		return []string{passed(b, b.op("MatMul", sums, d.r), dh, ins[7:]), prev}, []string{sums}
	}})
	p := part{sums: outs[0], states: outs[0], h0: last[0], c0: last[1]}
	if peep != nil && t.want(d.n, 7) {
		gs := t.split(outs[0], h, h, h, h)
		sum := func(g, cell string) string { return t.reduce("ReduceSum", t.op("Mul", g, cell), false, 0, 1) }
		p.peep = t.concat(sum(gs[0], before), sum(gs[1], c), sum(gs[2], before))
	}
	return p, nil
}
