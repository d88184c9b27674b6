package native

import (
	"unsafe"

	"github.com/millrace/millrace/tensor"
)

// A word is what an operator that only moves elements takes them for: types of one size are the same to it.
type word interface {
	uint8 | uint16 | uint32 | uint64 | complex128 | string
}

// words returns the elements of a slot as words of their size.
func words[T word](f *frame, slot int) []T { return wordsOf[T](f.t[slot]) }

func wordsOf[T word](t *tensor.Tensor) []T {
	if s, ok := t.Raw().([]T); ok {
		return s
	}
	b := t.Bytes()
	if len(b) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/int(unsafe.Sizeof(*new(T))))
}

// byWord calls the function for the size of dtype's elements.
func byWord[A any](c *prep, dtype tensor.DType, f8, f16, f32, f64, f128, fs func(c *prep, a A) error, a A) error {
	switch {
	case dtype == tensor.String:
		return fs(c, a)
	case dtype.Size() == 1:
		return f8(c, a)
	case dtype.Size() == 2:
		return f16(c, a)
	case dtype.Size() == 4:
		return f32(c, a)
	case dtype.Size() == 8:
		return f64(c, a)
	}
	return f128(c, a)
}

// gather describes a copy: output row by row, in the order of the walk, from places in the input.
type gatherArgs struct {
	w        *walk // operand 0 is the output, operand 1 the input
	o, i     int
	inStart  int
	outStart int
}

// strided copies elements of an input to an output, both with any strides, from a place in the input on.
func strided(c *prep, dtype tensor.DType, shape tensor.Shape, o int, oStrides []int, in int, inStart int, inStrides []int) error {
	if len(shape) > maxRank {
		return c.refuse("rank %d", len(shape))
	}
	return byWord(c, dtype, stridedOf[uint8], stridedOf[uint16], stridedOf[uint32], stridedOf[uint64], stridedOf[complex128], stridedOf[string],
		gatherArgs{newWalk(shape, oStrides, inStrides), o, in, inStart, 0})
}

func stridedOf[T word](c *prep, a gatherArgs) error {
	w := a.w
	so, si := w.step[0], w.step[1]
	part := func(f *frame, lo, hi int) {
		_, n := w.extent(f)
		d, s := words[T](f, a.o)[a.outStart:], words[T](f, a.i)
		for it := w.from(lo, hi); it.more(); it.next() {
			at := &it.at

			po, pi := at[0], a.inStart+at[1]
			switch {
			case so == 1 && si == 1:
				copy(d[po:po+n], s[pi:pi+n])
			case so == 1:
				row := d[po : po+n]
				for k := range row {
					row[k] = s[pi]
					pi += si
				}
			default:
				for range n {
					d[po] = s[pi]
					po, pi = po+so, pi+si
				}
			}
		}
	}
	c.do(func(f *frame) { f.parallel(w.outer, max(1, grain/max(w.inner, 8)), part) })
	return nil
}

// region copies a block of an input, starting at start with these steps, to the block of an output that starts at to.
func region(c *prep, dtype tensor.DType, block tensor.Shape, o int, oShape tensor.Shape, to []int, in *info, start, steps []int) error {
	if block.Size() == 0 {
		return nil
	}
	os, is := contiguous(oShape), contiguous(in.shape)
	oAt, iAt := 0, 0
	for d := range block {
		oAt += to[d] * os[d]
		iAt += start[d] * is[d]
		is[d] *= steps[d]
	}
	if len(block) > maxRank {
		return c.refuse("rank %d", len(block))
	}
	return byWord(c, dtype, stridedOf[uint8], stridedOf[uint16], stridedOf[uint32], stridedOf[uint64], stridedOf[complex128], stridedOf[string],
		gatherArgs{newWalk(block, os, is), o, in.slot, iAt, oAt})
}

// zeros returns n zeros, and ones n ones, for starts and steps.
func zeros(n int) []int { return make([]int, n) }

func ones(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 1
	}
	return s
}

// toInt64s turns lengths into those of package infer.
func toInt64s(v []int) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

// toInts turns an attribute into ints.
func toInts(v []int64) []int {
	out := make([]int, len(v))
	for i, x := range v {
		out[i] = int(x)
	}
	return out
}
