package native

import (
	"math"
	"strings"
)

// rnn is H = f(X W + H R).
var rnn = floats(rnnOf[float32], rnnOf[float64])

func rnnOf[T float](c *prep) error {
	rec, err := c.recurrent(1)
	if err != nil {
		return err
	}
	r := &recurrence[T]{recurrent: rec, cell: rnnCell[T]}
	if r.acts, err = activations[T](c, rec.dirs, "Tanh"); err != nil {
		return err
	}
	if err := rec.outputs(c, false); err != nil {
		return err
	}
	return r.prepare(c, rec.hidden)
}

func rnnCell[T float](r *recurrence[T], f *frame, d int, active []member) error {
	for _, m := range active {
		g := r.limit(r.sums(f, d, m, 0, 1))
		r.acts[d][0](g)
		copy(data[T](f, r.h)[m.b*r.hidden:], g)
	}
	return nil
}

// gru has an update and a reset gate.
var gru = floats(gruOf[float32], gruOf[float64])

func gruOf[T float](c *prep) error {
	rec, err := c.recurrent(3)
	if err != nil {
		return err
	}
	r := &recurrence[T]{recurrent: rec}
	if r.acts, err = activations[T](c, rec.dirs, "Sigmoid", "Tanh"); err != nil {
		return err
	}
	if err := rec.outputs(c, false); err != nil {
		return err
	}
	if c.attrs.Bool("linear_before_reset", false) {
		r.cell = gruCellAfter[T]
		return r.prepare(c, 3*rec.hidden)
	}
	if r.reset, err = r.productFor(c, 2, 2*rec.hidden, rec.batch, rec.hidden, rec.hidden, 3*rec.hidden); err != nil {
		return err
	}
	r.cell = gruCell[T]
	return r.prepare(c, 2*rec.hidden)
}

// gruCell resets the state before it is multiplied.
func gruCell[T float](r *recurrence[T], f *frame, d int, active []member) error {
	h, rh, n := data[T](f, r.h), data[T](f, r.rh), r.hidden
	for _, m := range active {
		g := r.limit(r.sums(f, d, m, 0, 2))
		r.acts[d][0](g)
		for i, reset := range g[n:] {
			rh[m.b*n+i] = reset * h[m.b*n+i]
		}
	}
	if err := r.reset(f, d, rh, data[T](f, r.hr)[2*n:]); err != nil {
		return err
	}
	for _, m := range active {
		gruMix(r, f, d, m, r.sums(f, d, m, 2, 3))
	}
	return nil
}

// gruCellAfter resets the product.
func gruCellAfter[T float](r *recurrence[T], f *frame, d int, active []member) error {
	n := r.hidden
	for _, m := range active {
		g := r.limit(r.sums(f, d, m, 0, 2))
		r.acts[d][0](g)
		h := data[T](f, r.xw)[r.row(m.t, m.b)*3*n:][2*n : 3*n]
		product := data[T](f, r.hr)[m.b*3*n:][2*n : 3*n]
		for i := range h {
			if r.bias < 0 {
				h[i] += g[n+i] * product[i]
				continue
			}
			both := data[T](f, r.bias)[d*6*n:]
			h[i] += both[2*n+i] + g[n+i]*(product[i]+both[5*n+i])
		}
		gruMix(r, f, d, m, h)
	}
	return nil
}

// gruMix mixes the old state with the new one, whose sums are given, by the update gate.
func gruMix[T float](r *recurrence[T], f *frame, d int, m member, sums []T) {
	n := r.hidden
	r.acts[d][1](r.limit(sums))
	z := data[T](f, r.xw)[r.row(m.t, m.b)*3*n:]
	h := data[T](f, r.h)[m.b*n:]
	for i, v := range sums {
		h[i] = (1-z[i])*v + z[i]*h[i]
	}
}

// lstm has an input, an output and a forget gate, and a second state.
var lstm = floats(lstmOf[float32], lstmOf[float64])

func lstmOf[T float](c *prep) error {
	rec, err := c.recurrent(4)
	if err != nil {
		return err
	}
	rec.c0, rec.peephole = c.opt(6).slot, c.opt(7).slot
	if s := c.opt(6); s.has() && !s.shape.Equal(rec.state()) {
		return c.errf("first cell state of shape %v; it must have %v", s.shape, rec.state())
	}
	if s := c.opt(7); s.has() && (len(s.shape) != 2 || s.shape[0] != rec.dirs || s.shape[1] != 3*rec.hidden) {
		return c.errf("peepholes of shape %v for %d hidden units", s.shape, rec.hidden)
	}
	r := &recurrence[T]{recurrent: rec}
	if r.acts, err = activations[T](c, rec.dirs, "Sigmoid", "Tanh", "Tanh"); err != nil {
		return err
	}
	if err := rec.outputs(c, true); err != nil {
		return err
	}
	coupled := c.attrs.Bool("input_forget", false)
	r.cell = func(r *recurrence[T], f *frame, d int, active []member) error {
		for _, m := range active {
			lstmCell(r, f, d, m, coupled)
		}
		return nil
	}
	return r.prepare(c, 4*rec.hidden)
}

// lstmCell computes a step of a member. With coupled gates it forgets what it does not take in.
func lstmCell[T float](r *recurrence[T], f *frame, d int, m member, coupled bool) {
	n := r.hidden
	g := r.sums(f, d, m, 0, 4)
	in, out, forget, fresh := g[:n], g[n:2*n], g[2*n:3*n], g[3*n:]
	h, c := data[T](f, r.h)[m.b*n:(m.b+1)*n], data[T](f, r.c)[m.b*n:(m.b+1)*n]
	var peep []T
	if r.peephole >= 0 {
		peep = data[T](f, r.peephole)[d*3*n:]
		for i, v := range c {
			in[i] += peep[i] * v
			forget[i] += peep[2*n+i] * v
		}
	}
	gate, inner, outer := r.acts[d][0], r.acts[d][1], r.acts[d][2]
	gate(r.limit(in))
	if coupled {
		for i, v := range in {
			forget[i] = 1 - v
		}
	} else {
		gate(r.limit(forget))
	}
	inner(r.limit(fresh))
	for i := range c {
		c[i] = forget[i]*c[i] + in[i]*fresh[i]
		if peep != nil {
			out[i] += peep[n+i] * c[i]
		}
	}
	gate(r.limit(out))
	copy(h, c)
	outer(h)
	for i, v := range out {
		h[i] *= v
	}
}

// activations returns the functions of each direction: the attribute's, or the defaults. Each takes from the lists of alphas and
// betas what it needs.
func activations[T float](c *prep, dirs int, defaults ...string) ([][]rowFn[T], error) {
	names := c.attrs.Strings("activations", nil)
	if len(names) == 0 {
		for range dirs {
			names = append(names, defaults...)
		}
	}
	if len(names) != dirs*len(defaults) {
		return nil, c.errf("%d activations for %d directions", len(names), dirs)
	}
	alphas, betas := c.attrs.Floats("activation_alpha", nil), c.attrs.Floats("activation_beta", nil)
	take := func(list *[]float32, def float64) float64 {
		if len(*list) == 0 {
			return def
		}
		v := (*list)[0]
		*list = (*list)[1:]
		return float64(v)
	}
	all := make([][]rowFn[T], dirs)
	k := c.pl.e.kernel
	for i, name := range names {
		var fn func(float64) float64
		var quick func(dst, src []float32)
		switch strings.ToLower(name) {
		case "sigmoid":
			fn, quick = sigmoid, k.Sigmoid
		case "tanh":
			fn, quick = math.Tanh, k.Tanh
		case "relu":
			fn = func(x float64) float64 { return max(x, 0) }
		case "softsign":
			fn = softsign
		case "softplus":
			fn = softplus
		case "affine":
			a, b := take(&alphas, 1), take(&betas, 0)
			fn = func(x float64) float64 { return a*x + b }
		case "leakyrelu":
			a := take(&alphas, 0.01)
			fn = func(x float64) float64 { return leakyRelu(x, a, 0) }
		case "thresholdedrelu":
			a := take(&alphas, 1)
			fn = func(x float64) float64 { return thresholded(x, a, 0) }
		case "scaledtanh":
			a, b := take(&alphas, 1), take(&betas, 1)
			fn = func(x float64) float64 { return a * math.Tanh(b*x) }
		case "hardsigmoid":
			a, b := take(&alphas, 0.2), take(&betas, 0.5)
			fn = func(x float64) float64 { return hardSigmoid(x, a, b) }
		case "elu":
			a := take(&alphas, 1)
			fn = func(x float64) float64 { return elu(x, a, 0) }
		default:
			return nil, c.refuse("activation %q", name)
		}
		all[i/len(defaults)] = append(all[i/len(defaults)], rowFnOf[T](fn, quick))
	}
	return all, nil
}

func rowFnOf[T float](fn func(float64) float64, quick func(dst, src []float32)) rowFn[T] {
	return func(row []T) {
		if f32, ok := any(row).([]float32); ok && quick != nil {
			quick(f32, f32)
			return
		}
		for i, v := range row {
			row[i] = T(fn(float64(v)))
		}
	}
}
