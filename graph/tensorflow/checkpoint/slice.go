package checkpoint

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// ReadSlice returns the elements of a part of a variable, with Read's errors. A part that is stored as one is read alone; of others the
// whole variable is.
func (c *Checkpoint) ReadSlice(name string, s Slice) (*tensor.Tensor, error) {
	v, err := c.find(name)
	if err != nil {
		return nil, err
	}
	t, err := c.readSlice(name, v, s)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: variable %q: slice %v+%v: %w", c.path, name, s.Start, s.Length, err)
	}
	return t, nil
}

func (c *Checkpoint) readSlice(name string, v *variable, s Slice) (*tensor.Tensor, error) {
	i := slices.IndexFunc(v.parts, func(p part) bool { return slices.Equal(p.Start, s.Start) && slices.Equal(p.Length, s.Length) })
	dtype := v.dtype.DType()
	if i < 0 || dtype == tensor.Invalid {
		t, err := c.read(name, v)
		if err != nil {
			return nil, err
		}
		return cut(t, s)
	}
	src, err := c.source(name, v, v.parts[i], dtype)
	if err != nil {
		return nil, err
	}
	t, err := tensor.New(dtype, s.Length...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := src.read(newTarget(t, Slice{Start: make([]int, len(s.Start)), Length: s.Length}, nil)); err != nil {
		return nil, err
	}
	c.finish(t)
	return t, nil
}

// cut copies a slice of a tensor.
func cut(t *tensor.Tensor, s Slice) (*tensor.Tensor, error) {
	shape := t.Shape()
	if len(s.Start) != len(shape) {
		return nil, fmt.Errorf("a slice of %d dimensions of a variable of %d", len(s.Start), len(shape))
	}
	for i := range shape {
		if s.Start[i] < 0 || s.Length[i] < 0 || s.Length[i] > shape[i] || s.Start[i] > shape[i]-s.Length[i] {
			return nil, fmt.Errorf("the slice ends at %d of dimension %d, which has %d", s.Start[i]+s.Length[i], i, shape[i])
		}
	}
	out, err := tensor.New(t.DType(), s.Length...)
	if err != nil || out.Size() == 0 {
		return out, err
	}
	src, dst, size := t.Bytes(), out.Bytes(), t.DType().Size()
	if size == 0 {
		return nil, fmt.Errorf("a slice of a variable of %v", t.DType())
	}
	if len(shape) == 0 {
		copy(dst, src)
		return out, nil
	}
	at := slices.Clone(s.Start)
	row := s.Length[len(shape)-1] * size
	for ; len(dst) > 0; dst = dst[row:] {
		offset := 0
		for i, n := range shape {
			offset = offset*n + at[i]
		}
		copy(dst[:row], src[offset*size:])
		for i := len(shape) - 2; i >= 0; i-- {
			if at[i]++; at[i] < s.Start[i]+s.Length[i] {
				break
			}
			at[i] = s.Start[i]
		}
	}
	return out, nil
}
