package checkpoint

import (
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// readParts puts a variable together from its slices.
func (c *Checkpoint) readParts(name string, v *variable, dtype tensor.DType, n int) (*tensor.Tensor, error) {
	if c.version == 1 && len(v.parts) == 0 {
		return nil, fmt.Errorf("%w: it has no slices", ErrFormat)
	}
	have := 0
	for i, p := range v.parts {
		if have += p.size(); have > n || have < 0 {
			return nil, fmt.Errorf("%w: slices overlap: slice %d makes %d elements of %d", ErrFormat, i, have, n)
		}
	}
	if have < n {
		return nil, fmt.Errorf("%w: slices are missing: %d of %d elements are there%s", ErrFormat, have, n, c.missing())
	}
	// Everything that can be checked is, before memory for the whole is asked for.
	sources := make([]source, len(v.parts))
	for i, p := range v.parts {
		var err error
		if sources[i], err = c.source(name, v, p, dtype); err != nil {
			return nil, fmt.Errorf("slice %v+%v: %w", p.Start, p.Length, err)
		}
	}
	t, err := tensor.New(dtype, v.shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	var covered bitmap
	if len(v.parts) > 1 {
		covered = make(bitmap, (n+63)/64)
	}
	for i, p := range v.parts {
		dst := newTarget(t, p.Slice, covered)
		if err := sources[i].read(dst); err != nil {
			return nil, fmt.Errorf("slice %v+%v: %w", p.Start, p.Length, err)
		}
	}
	c.finish(t)
	return t, nil
}

func (c *Checkpoint) missing() string {
	if len(c.gone) == 0 {
		return ""
	}
	return fmt.Sprintf("; these shards are missing: %v", c.gone)
}

// source is the stored form of a slice.
type source interface{ read(*target) error }

// source finds a slice's entry.
func (c *Checkpoint) source(name string, v *variable, p part, dtype tensor.DType) (source, error) {
	key := sliceKey(name, p.Slice)
	if c.version == 1 {
		return c.value(key, name, v, p)
	}
	e := c.vars[string(key)]
	switch {
	case e == nil:
		return nil, fmt.Errorf("%w: the index has no entry for it", ErrFormat)
	case e.dtype != v.dtype || !tensor.Shape(e.shape).Equal(p.Length) || len(e.parts) > 0:
		return nil, fmt.Errorf("%w: its entry is %v%v", ErrFormat, e.dtype, tensor.Shape(e.shape))
	case dtype == tensor.String:
		t, err := c.readStrings(e, p.size())
		if err != nil {
			return nil, err
		}
		return stringPart(tensor.Data[string](t)), nil
	}
	// Opened here, so that no memory is asked for where a shard is missing or too short.
	if _, err := c.checked(e, dtype, p.size()); err != nil {
		return nil, err
	}
	return bundlePart{c: c, entry: e}, nil
}

// bundlePart is a slice in a shard of version 2.
type bundlePart struct {
	c     *Checkpoint
	entry *variable
}

func (b bundlePart) read(dst *target) error {
	r, err := b.c.data(b.entry)
	if err != nil {
		return err
	}
	for {
		run, err := dst.next()
		if err != nil {
			return err
		}
		if run == nil {
			return r.done()
		}
		if err := r.fill(run); err != nil {
			return err
		}
	}
}

// stringPart is a slice of strings, already read.
type stringPart []string

func (s stringPart) read(dst *target) error {
	for _, v := range s {
		if err := dst.put(v); err != nil {
			return err
		}
	}
	return nil
}

// target is where a slice's elements go, in their order: runs of memory of the whole tensor.
type target struct {
	bytes   []byte
	strings []string
	elem    int // bytes of an element; 1 of strings, which are counted alone
	run     int // elements of a run
	runs    int // how many are left
	stride  []int
	length  []int
	at      []int // where the next run is, in the dimensions that runs differ in
	base    int
	covered bitmap

	off, end int // of strings: what is left of the run in hand
}

// newTarget makes a target of a slice of t. Trailing dimensions that the slice has all of make longer runs.
func newTarget(t *tensor.Tensor, s Slice, covered bitmap) *target {
	shape := t.Shape()
	stride := make([]int, len(shape))
	step := 1
	for i := len(shape) - 1; i >= 0; i-- {
		stride[i] = step
		step *= shape[i]
	}
	outer := len(shape)
	run := 1
	for outer > 0 {
		outer--
		run *= s.Length[outer]
		if s.Length[outer] != shape[outer] {
			break
		}
	}
	d := &target{bytes: t.Bytes(), elem: t.DType().Size(), run: run, runs: 1, covered: covered,
		stride: stride[:outer], length: s.Length[:outer], at: make([]int, outer)}
	for i, start := range s.Start {
		d.base += start * stride[i]
	}
	for _, n := range d.length {
		d.runs *= n
	}
	if run == 0 {
		d.runs = 0
	}
	if t.DType() == tensor.String {
		d.strings, d.elem = tensor.Data[string](t), 1
	}
	return d
}

// advance returns the first element of the next run, or -1 at the end.
func (d *target) advance() (int, error) {
	if d.runs == 0 {
		return -1, nil
	}
	d.runs--
	off := d.base
	for i, at := range d.at {
		off += at * d.stride[i]
	}
	for i := len(d.at) - 1; i >= 0; i-- {
		if d.at[i]++; d.at[i] < d.length[i] {
			break
		}
		d.at[i] = 0
	}
	if d.covered != nil && !d.covered.set(off, off+d.run) {
		return 0, fmt.Errorf("%w: it overlaps another slice", ErrFormat)
	}
	return off, nil
}

// next returns the memory of the next run, or nil at the end.
func (d *target) next() ([]byte, error) {
	off, err := d.advance()
	if off < 0 || err != nil {
		return nil, err
	}
	return d.bytes[off*d.elem : (off+d.run)*d.elem], nil
}

// put puts the next string.
func (d *target) put(s string) error {
	if d.off == d.end {
		off, err := d.advance()
		if err != nil {
			return err
		}
		if off < 0 {
			return errTooMany
		}
		d.off, d.end = off, off+d.run
	}
	d.strings[d.off] = s
	d.off++
	return nil
}

var errTooMany = fmt.Errorf("%w: it has more values than elements", ErrFormat)

// bitmap holds which elements have a value.
type bitmap []uint64

// set marks elements from lo to hi, and returns false where one was marked.
func (b bitmap) set(lo, hi int) bool {
	for lo < hi {
		w, bit := lo/64, lo%64
		n := min(64-bit, hi-lo)
		mask := ^uint64(0) >> (64 - n) << bit
		if b[w]&mask != 0 {
			return false
		}
		b[w] |= mask
		lo += n
	}
	return true
}
