package native

import (
	"math"

	"github.com/millrace/millrace/tensor"
)

// linearAttention is attention without its softmax: what was read so far is one matrix a head of keys, which forgets (decay), puts right
// what it has under a key (the delta rule, with beta) and takes up key and value, one row after the other.
func linearAttention(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	types := [2]tensor.DType{c.in[0].dtype, c.in[0].dtype} // of the output and of the state, before they are widened
	if c.opt(3).has() {
		types[1] = c.in[3].dtype
	}
	prepare := floats(
		func(c *prep) error { return linearAttentionOf[float32](c, types) },
		func(c *prep) error { return linearAttentionOf[float64](c, types) })
	return oneType(3, prepare)(c)
}

// outAs declares an output of a kernel that computes in T, whose type is T or one of 16 bits.
func (c *prep) outAs(i int, dtype, computed tensor.DType, shape tensor.Shape) (int, error) {
	if dtype == computed {
		return c.outExact(i, dtype, shape)
	}
	return c.outHalf(i, dtype, shape)
}

type linearArgs struct {
	q, k, v, y  heads
	group       int // query heads to a head of keys
	scale       float64
	past, state int  // slots; past may be -1
	decay, beta int  // slots, or -1
	decayEach   int  // elements of a row of decay for a head
	betaAll     bool // one is for all heads
}

func linearAttentionOf[T float](c *prep, types [2]tensor.DType) error {
	a := linearArgs{past: -1, decay: -1, beta: -1}
	computed := c.in[0].dtype
	qn, kn := int(c.attrs.Int("q_num_heads", 0)), int(c.attrs.Int("kv_num_heads", 0))
	for i, in := range []*heads{&a.q, &a.k, &a.v} {
		n, attr := kn, "kv_num_heads"
		if i == 0 {
			n, attr = qn, "q_num_heads"
		}
		if len(c.in[i].shape) != 3 {
			return c.errf("input %d has shape %v; it has to be [batch, rows, heads*size]", i, c.in[i].shape)
		}
		var err error
		if *in, err = c.headsOf(&c.in[i], n, attr); err != nil {
			return err
		}
	}
	q, k, v := &a.q, &a.k, &a.v
	if k.batch != q.batch || v.batch != q.batch || k.rows != q.rows || v.rows != q.rows || k.size != q.size || q.n%k.n != 0 {
		return c.errf("queries %v of %d heads, keys %v and values %v of %d", c.in[0].shape, q.n, c.in[1].shape, c.in[2].shape, k.n)
	}
	a.group = q.n / k.n
	if a.scale = float64(c.attrs.Float("scale", 0)); a.scale == 0 {
		a.scale = 1 / math.Sqrt(float64(q.size))
	}
	state := tensor.Shape{q.batch, k.n, k.size, v.size}
	if in := c.opt(3); in.has() {
		if !in.shape.Equal(state) || in.dtype != computed {
			return c.errf("a past of %v%v, not %v", types[1], in.shape, state)
		}
		a.past = in.slot
	}
	if err := c.linearRule(&a); err != nil {
		return err
	}
	a.y = *q
	a.y.size, a.y.atHead = v.size, v.size
	a.y.atRow, a.y.atBatch = q.n*v.size, q.rows*q.n*v.size
	var err error
	if a.y.slot, err = c.outAs(0, types[0], computed, a.y.shape()); err != nil {
		return err
	}
	if a.state, err = c.outAs(1, types[1], computed, state); err != nil {
		return err
	}
	work := q.rows * k.size * v.size * (a.group + 3)
	c.step(func(f *frame) error {
		f.parallel(q.batch*k.n, max(1, grain/max(1, work)), func(f *frame, lo, hi int) {
			row := make([]T, v.size)
			for i := lo; i < hi && f.ctx.Err() == nil; i++ {
				linearHead(f, &a, row, i/k.n, i%k.n)
			}
		})
		return f.ctx.Err()
	})
	return nil
}

// linearRule reads decay and beta, which update_rule asks for.
func (c *prep) linearRule(a *linearArgs) error {
	rule := c.attrs.String("update_rule", "gated_delta")
	gated, delta := rule == "gated" || rule == "gated_delta", rule == "delta" || rule == "gated_delta"
	if !gated && !delta && rule != "linear" {
		return c.errf("update_rule %q is none of linear, gated, delta, gated_delta", rule)
	}
	width, err := c.linearGate(a, 4, "decay", rule, gated)
	if err != nil {
		return err
	}
	switch width {
	case 0:
	case a.k.n:
		a.decay, a.decayEach = c.in[4].slot, 1
	case a.k.n * a.k.size:
		a.decay, a.decayEach = c.in[4].slot, a.k.size
	default:
		return c.errf("decay of %v for %d heads of %d", c.in[4].shape, a.k.n, a.k.size)
	}
	if width, err = c.linearGate(a, 5, "beta", rule, delta); err != nil {
		return err
	}
	switch width {
	case 0:
	case a.k.n:
		a.beta = c.in[5].slot
	case 1:
		a.beta, a.betaAll = c.in[5].slot, true
	default:
		return c.errf("beta of %v for %d heads", c.in[5].shape, a.k.n)
	}
	return nil
}

// linearGate returns how many elements an input of a rule has for each row; 0 where it is rightly not there.
func (c *prep) linearGate(a *linearArgs, i int, name, rule string, wanted bool) (int, error) {
	in := c.opt(i)
	switch {
	case in.has() && !wanted:
		return 0, c.errf("update_rule %s takes no %s", rule, name)
	case !in.has() && wanted:
		return 0, c.errf("update_rule %s needs input %d, %s", rule, i, name)
	case !wanted:
		return 0, nil
	case len(in.shape) != 3 || in.shape[0] != a.q.batch || in.shape[1] != a.q.rows || in.shape[2] == 0 || in.dtype != c.in[0].dtype:
		return 0, c.errf("%s of %v%v for queries %v", name, in.dtype, in.shape, c.in[0].shape)
	}
	return in.shape[2], nil
}

// linearHead goes through the rows of one head of keys; row is memory for a value.
func linearHead[T float](f *frame, a *linearArgs, row []T, batch, head int) {
	keys, size := a.k.size, a.v.size
	from := (batch*a.k.n + head) * keys * size
	state := data[T](f, a.state)[from:][:keys*size]
	if a.past >= 0 {
		copy(state, data[T](f, a.past)[from:])
	} else {
		clear(state)
	}
	for t := range a.q.rows {
		at := batch*a.q.rows + t
		if a.decay >= 0 {
			g := data[T](f, a.decay)[(at*a.k.n+head)*a.decayEach:]
			for d := range keys {
				by := T(math.Exp(float64(g[d%a.decayEach])))
				for j := range state[d*size : (d+1)*size] {
					state[d*size+j] *= by
				}
			}
		}
		k := data[T](f, a.k.slot)[a.k.from(batch, head)+t*a.k.atRow:][:keys]
		copy(row, data[T](f, a.v.slot)[a.v.from(batch, head)+t*a.v.atRow:][:size])
		if a.beta >= 0 {
			for d, x := range k {
				addScaled(row, state[d*size:(d+1)*size], -x)
			}
			b := at*a.k.n + head
			if a.betaAll {
				b = at
			}
			by := data[T](f, a.beta)[b]
			for j := range row {
				row[j] *= by
			}
		}
		for d, x := range k {
			addScaled(state[d*size:(d+1)*size], row, x)
		}
		for h := head * a.group; h < (head+1)*a.group; h++ {
			q := data[T](f, a.q.slot)[a.q.from(batch, h)+t*a.q.atRow:][:keys]
			y := data[T](f, a.y.slot)[a.y.from(batch, h)+t*a.y.atRow:][:size]
			clear(y)
			for d, x := range q {
				addScaled(y, state[d*size:(d+1)*size], x*T(a.scale))
			}
		}
	}
}

// addScaled adds by times src to dst.
func addScaled[T float](dst, src []T, by T) {
	for i, v := range src {
		dst[i] += by * v
	}
}

// causalConv is a convolution of each channel for itself that looks only back: at the state that the last call left, then at the input.
var causalConv = oneType(2, floats(causalConvOf[float32], causalConvOf[float64]))

type causalArgs struct {
	x, w, y, bias, past, state     int // slots; bias and past may be -1
	batch, channels, length, width int
	silu                           bool
}

func causalConvOf[T float](c *prep) error {
	x, w := c.in[0].shape, c.in[1].shape
	if len(x) != 3 || len(w) != 3 || w[0] != x[1] || w[1] != 1 || w[2] < 1 {
		return c.errf("input %v with weights %v; they have to be [batch, channels, length] and [channels, 1, width]", x, w)
	}
	a := causalArgs{x: c.in[0].slot, w: c.in[1].slot, bias: -1, past: -1, batch: x[0], channels: x[1], length: x[2], width: w[2]}
	if in := c.opt(2); in.has() {
		if in.dtype != c.in[0].dtype || !in.shape.Equal(tensor.Shape{a.channels}) {
			return c.errf("a bias %v%v for %d channels", in.dtype, in.shape, a.channels)
		}
		a.bias = in.slot
	}
	state := tensor.Shape{a.batch, a.channels, a.width - 1}
	if in := c.opt(3); in.has() {
		if in.dtype != c.in[0].dtype || !in.shape.Equal(state) {
			return c.errf("a past of %v%v, not %v", in.dtype, in.shape, state)
		}
		a.past = in.slot
	}
	switch act := c.attrs.String("activation", "none"); act {
	case "none":
	case "silu", "swish":
		a.silu = true
	default:
		return c.errf("activation %q is none of none, silu, swish", act)
	}
	var err error
	if a.y, err = c.out(0, c.in[0].dtype, x); err != nil {
		return err
	}
	if a.state, err = c.out(1, c.in[0].dtype, state); err != nil {
		return err
	}
	c.do(func(f *frame) {
		f.parallel(a.batch*a.channels, max(1, grain/max(1, a.length*a.width)), func(f *frame, lo, hi int) {
			seen := make([]T, a.width-1+a.length)
			for i := lo; i < hi; i++ {
				causalChannel(f, &a, seen, i)
			}
		})
	})
	return nil
}

// causalChannel goes through one channel of one item; seen is memory for the past and the input.
func causalChannel[T float](f *frame, a *causalArgs, seen []T, i int) {
	before := a.width - 1
	clear(seen[:before])
	if a.past >= 0 {
		copy(seen, data[T](f, a.past)[i*before:(i+1)*before])
	}
	copy(seen[before:], data[T](f, a.x)[i*a.length:(i+1)*a.length])
	copy(data[T](f, a.state)[i*before:(i+1)*before], seen[a.length:])
	ch := i % a.channels
	w, first := data[T](f, a.w)[ch*a.width:(ch+1)*a.width], 0.0
	if a.bias >= 0 {
		first = float64(data[T](f, a.bias)[ch])
	}
	y := data[T](f, a.y)[i*a.length : (i+1)*a.length]
	for t := range y {
		sum := first
		for j, by := range w {
			sum += float64(by) * float64(seen[t+j])
		}
		if a.silu {
			sum /= 1 + math.Exp(-sum)
		}
		y[t] = T(sum)
	}
}
