package native

import (
	"errors"
	"fmt"

	"github.com/millrace/millrace/tensor"
)

var errUntyped = errors.New("it is empty, and its type is not declared")

// copyElements copies n elements of a tensor to another one of its type.
func copyElements(dst *tensor.Tensor, to int, src *tensor.Tensor, from, n int) {
	if d, ok := dst.Raw().([]string); ok {
		copy(d[to:to+n], tensor.Data[string](src)[from:from+n])
		return
	}
	size := dst.DType().Size()
	copy(dst.Bytes()[to*size:(to+n)*size], src.Bytes()[from*size:(from+n)*size])
}

// stack joins tensors of one type and shape along a new axis.
func stack(parts []*tensor.Tensor, axis int) (*tensor.Tensor, error) {
	shape := parts[0].Shape()
	outer, inner := shape[:axis].Size(), shape[axis:].Size()
	full := make(tensor.Shape, 0, len(shape)+1)
	full = append(append(append(full, shape[:axis]...), len(parts)), shape[axis:]...)
	t, err := tensor.New(parts[0].DType(), full...)
	if err != nil {
		return nil, err
	}
	for k, p := range parts {
		for o := range outer {
			copyElements(t, (o*len(parts)+k)*inner, p, o*inner, inner)
		}
	}
	return t, nil
}

// join joins tensors along an axis that they have.
func join(parts []*tensor.Tensor, axis int) (*tensor.Tensor, error) {
	shape := parts[0].Shape().Clone()
	for _, p := range parts[1:] {
		s := p.Shape()
		fits := p.DType() == parts[0].DType() && len(s) == len(shape)
		for d := range shape {
			fits = fits && (d == axis || s[d] == shape[d])
		}
		if !fits {
			return nil, fmt.Errorf("%v%v and %v%v cannot be joined along axis %d", parts[0].DType(), parts[0].Shape(), p.DType(), s, axis)
		}
		shape[axis] += s[axis]
	}
	t, err := tensor.New(parts[0].DType(), shape...)
	if err != nil {
		return nil, err
	}
	outer, row, at := shape[:axis].Size(), shape[axis:].Size(), 0
	for _, p := range parts {
		n := p.Shape()[axis:].Size()
		for o := range outer {
			copyElements(t, o*row+at, p, o*n, n)
		}
		at += n
	}
	return t, nil
}

// part of a tensor along an axis: n places from at on.
func partOf(t *tensor.Tensor, axis, at, n int) (*tensor.Tensor, error) {
	shape := t.Shape().Clone()
	outer, inner, dim := shape[:axis].Size(), shape[axis+1:].Size(), shape[axis]
	shape[axis] = n
	r, err := tensor.New(t.DType(), shape...)
	if err != nil {
		return nil, err
	}
	for o := range outer {
		copyElements(r, o*n*inner, t, (o*dim+at)*inner, n*inner)
	}
	return r, nil
}

// pickAt returns one place along an axis, which goes.
func pickAt(t *tensor.Tensor, axis, at int) (*tensor.Tensor, error) {
	r, err := partOf(t, axis, at, 1)
	if err != nil {
		return nil, err
	}
	shape := t.Shape()
	return r.Reshape(append(append(tensor.Shape{}, shape[:axis]...), shape[axis+1:]...)...)
}
