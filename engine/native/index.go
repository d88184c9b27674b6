package native

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// ndIndex leads from the rows of an index tensor to places in a tensor, one number of a row for each leading dimension.
type ndIndex struct {
	batch   int   // numbers of a row belong to one of so many equal parts
	rows    int   // of each part
	part    int   // elements of each part
	dims    []int // that a row has numbers for
	strides []int
	inner   int // elements that a row leads to
}

// nd reads the shapes of data and indices, whose first batch dimensions go together.
func (c *prep) nd(batch int) (a ndIndex, err error) {
	in, index := &c.in[0], &c.in[1]
	if !isIndex(index.dtype) {
		return a, c.refuse("indices of %v", index.dtype)
	}
	if len(index.shape) == 0 || batch < 0 || batch >= len(index.shape) || batch > len(in.shape) || !in.shape[:batch].Equal(index.shape[:batch]) {
		return a, c.errf("indices %v for shape %v with %d batch dimensions", index.shape, in.shape, batch)
	}
	last := len(index.shape) - 1
	depth := index.shape[last]
	if depth > len(in.shape)-batch {
		return a, c.errf("indices %v for shape %v: %d numbers for %d dimensions", index.shape, in.shape, depth, len(in.shape)-batch)
	}
	end := batch + depth
	a = ndIndex{batch: in.shape[:batch].Size(), rows: index.shape[batch:last].Size(), part: in.shape[batch:].Size(),
		dims: in.shape[batch:end], strides: contiguous(in.shape)[batch:end], inner: in.shape[end:].Size()}
	return a, nil
}

// places calls do with the number of each row and the place that it leads to.
func (a ndIndex) places(index *tensor.Tensor, do func(k, place int)) error {
	if len(a.dims) == 0 && a.inner == 0 {
		return nil // however many rows there are
	}
	at := 0
	for k := range a.batch * a.rows {
		place := k / a.rows * a.part
		for d, dim := range a.dims {
			i := indexOf(index, at)
			at++
			if i < 0 {
				i += dim
			}
			if i < 0 || i >= dim {
				return fmt.Errorf("index %d is outside dimension %d of %d", indexOf(index, at-1), d, dim)
			}
			place += i * a.strides[d]
		}
		do(k, place)
	}
	return nil
}

// gatherND picks slices by the rows of an index tensor.
func gatherND(c *prep) error {
	if err := c.need(2); err != nil {
		return err
	}
	in, index := &c.in[0], &c.in[1]
	batch := int(c.attrs.Int("batch_dims", 0))
	a, err := c.nd(batch)
	if err != nil {
		return err
	}
	shape := append(index.shape[:len(index.shape)-1].Clone(), in.shape[batch+len(a.dims):]...)
	o, err := c.out(0, in.dtype, shape)
	if err != nil {
		return err
	}
	return byWord(c, in.dtype, gatherNDOf[uint8], gatherNDOf[uint16], gatherNDOf[uint32], gatherNDOf[uint64], gatherNDOf[complex128], gatherNDOf[string],
		gatherNDArgs{ndIndex: a, o: o, in: in.slot, index: index.slot})
}

type gatherNDArgs struct {
	ndIndex
	o, in, index int
}

func gatherNDOf[T word](c *prep, a gatherNDArgs) error {
	c.step(func(f *frame) error {
		d, s := words[T](f, a.o), words[T](f, a.in)
		return a.places(f.t[a.index], func(k, place int) { copy(d[k*a.inner:(k+1)*a.inner], s[place:]) })
	})
	return nil
}

// scatterND changes slices that the rows of an index tensor lead to.
var scatterND = scattering(func(c *prep) error {
	if err := c.need(3); err != nil {
		return err
	}
	in, index := &c.in[0], &c.in[1]
	a, err := c.nd(0)
	if err != nil {
		return err
	}
	want := append(index.shape[:len(index.shape)-1].Clone(), in.shape[len(a.dims):]...)
	if u := &c.in[2]; u.dtype != in.dtype || !u.shape.Equal(want) {
		return c.errf("updates %v%v for indices %v of %v%v; they must have shape %v", u.dtype, u.shape, index.shape, in.dtype, in.shape, want)
	}
	return c.scatter(scatterArgs{where: a.places, inner: a.inner})
})
