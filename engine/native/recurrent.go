package native

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine/native/gemm"
	"github.com/millrace/millrace/tensor"
)

// A recurrent is what the plan knows of RNN, GRU or LSTM: X times W for all steps at once, then step by step H times R and
// the cell.
type recurrent struct {
	seq, batch, input, hidden, gates, dirs int
	reverse                                []bool // of each direction
	batchFirst                             bool   // attribute layout: batch before sequence and directions
	clip                                   float64

	x, w, r, bias, lengths, h0, c0, peephole int // slots; -1: left out
	y, yh, yc                                int // outputs
	xw, hr, h, c, rh                         int // scratch memory
}

// recurrent reads shapes and attributes that RNN, GRU and LSTM have in common.
func (c *prep) recurrent(gates int) (*recurrent, error) {
	if err := c.need(3); err != nil {
		return nil, err
	}
	x, w, r := c.in[0].shape, c.in[1].shape, c.in[2].shape
	if len(x) != 3 || len(w) != 3 || len(r) != 3 {
		return nil, c.errf("input %v, weights %v and %v; they must have 3 dimensions", x, w, r)
	}
	rec := &recurrent{seq: x[0], batch: x[1], input: x[2], gates: gates, dirs: 1, hidden: r[2], batchFirst: c.attrs.Bool("layout", false),
		x: c.in[0].slot, w: c.in[1].slot, r: c.in[2].slot, clip: float64(c.attrs.Float("clip", 0)),
		bias: c.opt(3).slot, lengths: c.opt(4).slot, h0: c.opt(5).slot, c0: -1, peephole: -1, yc: -1}
	if rec.batchFirst {
		rec.seq, rec.batch = rec.batch, rec.seq
	}
	switch way := strings.ToLower(c.attrs.String("direction", "forward")); way {
	case "forward":
		rec.reverse = []bool{false}
	case "reverse":
		rec.reverse = []bool{true}
	case "bidirectional":
		rec.reverse, rec.dirs = []bool{false, true}, 2
	default:
		return nil, c.refuse("direction %q", way)
	}
	if h := c.attrs.Int("hidden_size", int64(rec.hidden)); h != int64(rec.hidden) {
		return nil, c.errf("hidden_size is %d, the recurrence weights are %v", h, r)
	}
	n := gates * rec.hidden
	for _, s := range []struct {
		i    int
		what string
		want tensor.Shape
	}{
		{1, "weights", tensor.Shape{rec.dirs, n, rec.input}}, {2, "recurrence weights", tensor.Shape{rec.dirs, n, rec.hidden}},
		{3, "biases", tensor.Shape{rec.dirs, 2 * n}}, {4, "lengths", tensor.Shape{rec.batch}}, {5, "first state", rec.state()},
	} {
		if in := c.opt(s.i); in.has() && !in.shape.Equal(s.want) {
			return nil, c.errf("%s of shape %v; they must have %v", s.what, in.shape, s.want)
		}
	}
	if l := c.opt(4); l.has() && !isIndex(l.dtype) {
		return nil, c.refuse("lengths of %v", l.dtype)
	}
	for i := range c.in {
		if i != 4 && c.in[i].has() && c.in[i].dtype != c.in[0].dtype {
			return nil, c.errf("input 0 is %v and input %d is %v", c.in[0].dtype, i, c.in[i].dtype)
		}
	}
	return rec, nil
}

// state is the shape of a state.
func (rec *recurrent) state() tensor.Shape {
	if rec.batchFirst {
		return tensor.Shape{rec.batch, rec.dirs, rec.hidden}
	}
	return tensor.Shape{rec.dirs, rec.batch, rec.hidden}
}

// row returns the row of the input at a step of a batch's member.
func (rec *recurrent) row(t, b int) int {
	if rec.batchFirst {
		return b*rec.seq + t
	}
	return t*rec.batch + b
}

// stateAt returns where the state of a direction and a batch's member begins.
func (rec *recurrent) stateAt(d, b int) int {
	if rec.batchFirst {
		return (b*rec.dirs + d) * rec.hidden
	}
	return (d*rec.batch + b) * rec.hidden
}

// outAt returns where the output of a step begins.
func (rec *recurrent) outAt(t, d, b int) int {
	if rec.batchFirst {
		return ((b*rec.seq+t)*rec.dirs + d) * rec.hidden
	}
	return ((t*rec.dirs+d)*rec.batch + b) * rec.hidden
}

// outputs declares the outputs and the memory that a run needs.
func (rec *recurrent) outputs(c *prep, cells bool) error {
	dtype := c.in[0].dtype
	shape := tensor.Shape{rec.seq, rec.dirs, rec.batch, rec.hidden}
	if rec.batchFirst {
		shape = tensor.Shape{rec.batch, rec.seq, rec.dirs, rec.hidden}
	}
	n := rec.gates * rec.hidden
	var err error
	out := func(slot *int, i int, shape tensor.Shape) {
		if err == nil {
			*slot, err = c.out(i, dtype, shape)
		}
	}
	scratch := func(slot *int, rows, columns int) {
		if err == nil {
			*slot, err = c.scratchOf(dtype, tensor.Shape{rows, columns})
		}
	}
	out(&rec.y, 0, shape)
	out(&rec.yh, 1, rec.state())
	if cells {
		out(&rec.yc, 2, rec.state())
	}
	scratch(&rec.xw, rec.seq*rec.batch, n)
	scratch(&rec.hr, rec.batch, n)
	scratch(&rec.h, rec.batch, rec.hidden)
	scratch(&rec.c, rec.batch, rec.hidden)
	scratch(&rec.rh, rec.batch, rec.hidden)
	return err
}

// member is a member of a batch at a step, which is not the same for all where sequences of several lengths are reversed.
type member struct{ b, t int }

// A recurrence runs an operator in a type.
type recurrence[T float] struct {
	*recurrent
	acts   [][]rowFn[T] // of each direction
	inputs rowProduct[T]
	states rowProduct[T]
	reset  rowProduct[T] // GRU: a product of its own for the reset state
	// cell computes a step of the members that have one, and leaves their new states in h and c.
	cell func(r *recurrence[T], f *frame, d int, active []member) error
}

// rowFn is a function of each number of a row, in place.
type rowFn[T float] func(row []T)

// prepare adds the step that runs all directions. The product of the states and the recurrence weights has their first
// rows, as many as stateRows.
func (r *recurrence[T]) prepare(c *prep, stateRows int) error {
	n := r.gates * r.hidden
	var err error
	if r.inputs, err = r.productFor(c, 1, 0, r.seq*r.batch, n, r.input, n); err != nil {
		return err
	}
	if r.states, err = r.productFor(c, 2, 0, r.batch, stateRows, r.hidden, n); err != nil {
		return err
	}
	c.step(func(f *frame) error {
		y := data[T](f, r.y)
		clear(y) // what is after a sequence's end
		if r.batch == 0 {
			return nil // states are as empty as y
		}
		longest := r.seq
		if r.lengths >= 0 {
			longest = 0
			for b := range r.batch {
				l := indexOf(f.t[r.lengths], b)
				if l < 0 || l > r.seq {
					return fmt.Errorf("sequence %d has length %d of %d", b, l, r.seq)
				}
				longest = max(longest, l)
			}
		}
		active := make([]member, 0, r.batch)
		for d := range r.dirs {
			if err := r.inputs(f, d, data[T](f, r.x), data[T](f, r.xw)); err != nil {
				return err
			}
			r.load(f, d)
			for s := range longest {
				if err := f.ctx.Err(); err != nil {
					return err
				}
				active = r.at(f, d, s, active[:0])
				if err := r.states(f, d, data[T](f, r.h), data[T](f, r.hr)); err != nil {
					return err
				}
				if err := r.cell(r, f, d, active); err != nil {
					return err
				}
				for _, m := range active {
					copy(y[r.outAt(m.t, d, m.b):], data[T](f, r.h)[m.b*r.hidden:(m.b+1)*r.hidden])
				}
			}
			r.store(f, d)
		}
		return nil
	})
	return nil
}

// at appends the members that have a step s, and which step of the sequence it is.
func (r *recurrence[T]) at(f *frame, d, s int, active []member) []member {
	for b := range r.batch {
		length := r.seq
		if r.lengths >= 0 {
			length = indexOf(f.t[r.lengths], b)
		}
		if s >= length {
			continue
		}
		t := s
		if r.reverse[d] {
			t = length - 1 - s
		}
		active = append(active, member{b, t})
	}
	return active
}

// load sets the states to the first ones, or to zero.
func (r *recurrence[T]) load(f *frame, d int) {
	for _, s := range [][2]int{{r.h, r.h0}, {r.c, r.c0}} {
		to := data[T](f, s[0])
		if s[1] < 0 {
			clear(to)
			continue
		}
		for b := range r.batch {
			copy(to[b*r.hidden:(b+1)*r.hidden], data[T](f, s[1])[r.stateAt(d, b):])
		}
	}
}

// store keeps the last states of a direction.
func (r *recurrence[T]) store(f *frame, d int) {
	for _, s := range [][2]int{{r.yh, r.h}, {r.yc, r.c}} {
		if s[0] < 0 {
			continue
		}
		for b := range r.batch {
			copy(data[T](f, s[0])[r.stateAt(d, b):][:r.hidden], data[T](f, s[1])[b*r.hidden:])
		}
	}
}

// sums adds the two products and the biases of a member's gates lo to hi, and returns those.
func (r *recurrence[T]) sums(f *frame, d int, m member, lo, hi int) []T {
	n := r.gates * r.hidden
	lo, hi = lo*r.hidden, hi*r.hidden
	g := data[T](f, r.xw)[r.row(m.t, m.b)*n:][lo:hi]
	for i, v := range data[T](f, r.hr)[m.b*n:][lo:hi] {
		g[i] += v
	}
	if r.bias >= 0 {
		both := data[T](f, r.bias)[d*2*n:]
		for i, v := range both[lo:hi] {
			g[i] += v + both[n+lo+i]
		}
	}
	return g
}

// limit applies attribute clip.
func (r *recurrence[T]) limit(row []T) []T {
	if r.clip > 0 {
		for i, v := range row {
			row[i] = min(max(v, T(-r.clip)), T(r.clip))
		}
	}
	return row
}

// A rowProduct multiplies rows with the transpose of a direction's weights.
type rowProduct[T float] func(f *frame, d int, rows, dst []T) error

// productFor returns the product of m rows of k numbers with n rows of the weights in input in, from row first of each direction on, into rows of ldc.
func (r *recurrence[T]) productFor(c *prep, in, first, m, n, k, ldc int) (rowProduct[T], error) {
	slot := c.in[in].slot
	of := func(f *frame, d int) []T { return data[T](f, slot)[(d*r.gates*r.hidden+first)*k:] }
	switch {
	case m*n == 0:
		return func(*frame, int, []T, []T) error { return nil }, nil
	case k == 0:
		return func(_ *frame, _ int, _, dst []T) error { clear(dst[:(m-1)*ldc+n]); return nil }, nil
	case !isFloat32[T]():
		return func(f *frame, d int, rows, dst []T) error {
			for i := range m {
				multiply(dst[i*ldc:i*ldc+n], rows[i*k:], of(f, d), 1, n, k, k, 1, 1, k)
			}
			return nil
		}, nil
	}
	pr, err := c.newProduct(gemm.Product{M: m, N: n, K: k, Alpha: 1, LDA: k, LDB: k, TransB: true, LDC: ldc}, nil, false)
	if err != nil {
		return nil, err
	}
	all := slices.Repeat([]*product{pr}, r.dirs)
	if b := &c.in[in]; b.weight { // every step reads them: they are packed once a session
		for d := range all {
			own := *pr
			at := (d*r.gates*r.hidden + first) * k
			own.p.Packed = derive(c, b, fmt.Sprintf("pack from %d %d %d", at, n, k), func(t *tensor.Tensor) gemm.Packed {
				var packed gemm.Packed
				packed, err = own.kernel.PackB(make([]float32, own.kernel.PackedLen(k, n)), tensor.Data[float32](t)[at:], k, n, k, true)
				return packed
			})
			if err != nil {
				return nil, c.errf("%w", err)
			}
			all[d] = &own
		}
	}
	return func(f *frame, d int, rows, dst []T) error {
		return all[d].run(f, any(rows).([]float32), any(of(f, d)).([]float32), any(dst).([]float32), nil, nil)
	}, nil
}
