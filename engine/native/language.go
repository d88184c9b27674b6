package native

import (
	"math"

	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// Operators of language models, of opset 23 and later.

func swish(x, alpha, _ float64) float64 { return x * sigmoid(alpha*x) }

// rmsNorm divides by the root of the mean of the squares over the last dimensions.
var rmsNorm = oneType(2, floats(rmsNormOf[float32], rmsNormOf[float64]))

// oneType refuses first inputs of different types.
func oneType(n int, prepare func(c *prep) error) func(c *prep) error {
	return func(c *prep) error {
		if err := c.need(n); err != nil {
			return err
		}
		for i := range n {
			if c.in[i].dtype != c.in[0].dtype {
				return c.refuse("%v and %v", c.in[0].dtype, c.in[i].dtype)
			}
		}
		return prepare(c)
	}
}

func rmsNormOf[T float](c *prep) error {
	x, scale := &c.in[0], &c.in[1]
	if stash := c.attrs.Int("stash_type", 1); stash != 1 {
		return c.refuse("stash_type %d", stash)
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(x.shape))
	if err != nil {
		return err
	}
	if s, err := infer.Broadcast(scale.shape, x.shape); err != nil || !s.Equal(x.shape) || scale.dtype != x.dtype {
		return c.errf("the scale is %v%v for %v%v", scale.dtype, scale.shape, x.dtype, x.shape)
	}
	o, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	outer, inner := x.shape[:axis].Size(), x.shape[axis:].Size()
	k := scale.slot
	row := scale.size() == inner && len(scale.shape) <= len(x.shape)-axis // the same for each row
	if !row {
		if k, err = c.scratchOf(x.dtype, x.shape); err != nil {
			return err
		}
		if err := strided(c, x.dtype, x.shape, k, contiguous(x.shape), scale.slot, 0, broadcastStrides(scale.shape, x.shape)); err != nil {
			return err
		}
	}
	eps, s := float64(c.attrs.Float("epsilon", 1e-5)), x.slot
	part := func(f *frame, lo, hi int) {
		src, dst, scales := data[T](f, s), data[T](f, o), data[T](f, k)
		for i := lo; i < hi; i++ {
			from, to, by := src[i*inner:(i+1)*inner], dst[i*inner:(i+1)*inner], scales
			if !row {
				by = scales[i*inner:]
			}
			sum := 0.0
			for _, v := range from {
				sum += float64(v) * float64(v)
			}
			inv := 1 / math.Sqrt(sum/float64(inner)+eps)
			for j, v := range from {
				to[j] = T(float64(v)*inv) * by[j]
			}
		}
	}
	c.do(func(f *frame) { f.parallel(outer, max(1, grain/max(inner, 1)), part) })
	return nil
}

// rotaryEmbedding turns pairs of elements of each head by angles that positions give.
var rotaryEmbedding = oneType(3, floats(rotaryOf[float32], rotaryOf[float64]))

func rotaryOf[T float](c *prep) error {
	x, cos, sin := &c.in[0], &c.in[1], &c.in[2]
	heads := int(c.attrs.Int("num_heads", 0))
	var batch, length, size, atLength, atHead int
	switch {
	case len(x.shape) == 4:
		batch, length, size = x.shape[0], x.shape[2], x.shape[3]
		if heads != 0 && heads != x.shape[1] {
			return c.errf("num_heads is %d for shape %v", heads, x.shape)
		}
		heads = x.shape[1]
		atLength, atHead = size, length*size
	case len(x.shape) == 3 && heads > 0 && x.shape[2]%heads == 0:
		batch, length, size = x.shape[0], x.shape[1], x.shape[2]/heads
		atLength, atHead = x.shape[2], size
	default:
		return c.errf("shape %v with num_heads %d", x.shape, heads)
	}
	turned := int(c.attrs.Int("rotary_embedding_dim", 0))
	if turned == 0 {
		turned = size
	}
	if turned < 0 || turned > size || turned%2 != 0 {
		return c.errf("%d of %d elements of a head cannot be turned", turned, size)
	}
	half := turned / 2
	positions := -1
	want := tensor.Shape{batch, length, half}
	if in := c.opt(3); in.has() {
		if in.dtype != tensor.Int64 || !in.shape.Equal(tensor.Shape{batch, length}) || len(cos.shape) != 2 || cos.shape[1] != half {
			return c.errf("positions %v%v and a cache of shape %v for shape %v", in.dtype, in.shape, cos.shape, x.shape)
		}
		positions, want = in.slot, cos.shape
	}
	if !cos.shape.Equal(want) || !sin.shape.Equal(want) || cos.dtype != x.dtype || sin.dtype != x.dtype {
		return c.errf("caches %v%v and %v%v for %v%v", cos.dtype, cos.shape, sin.dtype, sin.shape, x.dtype, x.shape)
	}
	o, err := c.out(0, x.dtype, x.shape)
	if err != nil {
		return err
	}
	first, second, step := 0, half, 1 // where the members of a pair are
	if c.attrs.Bool("interleaved", false) {
		first, second, step = 0, 1, 2
	}
	a := rotaryArgs{x: x.slot, cos: cos.slot, sin: sin.slot, o: o, positions: positions, rows: want[0], heads: heads, length: length, size: size,
		half: half, first: first, second: second, step: step, atLength: atLength, atHead: atHead}
	c.step(func(f *frame) error {
		if positions >= 0 {
			for _, p := range data[int64](f, positions) {
				if p < 0 || p >= int64(a.rows) {
					return c.errf("position %d in a cache of %d", p, a.rows)
				}
			}
		}
		f.parallel(batch*length, max(1, grain/max(heads*size, 1)), func(f *frame, lo, hi int) { rotate[T](f, a, lo, hi) })
		return nil
	})
	return nil
}

type rotaryArgs struct {
	x, cos, sin, o, positions int
	rows, heads, length, size int
	half, first, second, step int
	atLength, atHead          int
}

// rotate turns the heads of places lo to hi.
func rotate[T float](f *frame, a rotaryArgs, lo, hi int) {
	src, dst, cos, sin := data[T](f, a.x), data[T](f, a.o), data[T](f, a.cos), data[T](f, a.sin)
	for place := lo; place < hi; place++ {
		row := place
		if a.positions >= 0 {
			row = int(data[int64](f, a.positions)[place])
		}
		angles := row * a.half
		start := place/a.length*a.length*a.heads*a.size + place%a.length*a.atLength
		for h := range a.heads {
			from, to := src[start+h*a.atHead:][:a.size], dst[start+h*a.atHead:][:a.size]
			for i := range a.half {
				p, q := a.first+i*a.step, a.second+i*a.step
				x, y, k, s := from[p], from[q], cos[angles+i], sin[angles+i]
				to[p], to[q] = k*x-s*y, s*x+k*y
			}
			copy(to[2*a.half:], from[2*a.half:])
		}
	}
}
