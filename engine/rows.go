package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/millrace/millrace/tensor"
)

// ErrRows says that a model does not compute the rows of a batch each for itself.
var ErrRows = errors.New("the rows of a batch are not computed each for itself")

// rowTrials is how many batches are looked at.
const rowTrials = 4

// Rows finds out whether a model computes the rows of a batch each for itself, so that what belongs to different people may be put into one. No
// declaration says that: a first dimension that is open may be that of a sequence, and a softmax may go over the batch. So the ends of the first
// batches are computed alone too, and compared. The zero value knows nothing. It is safe for concurrent use.
type Rows struct {
	tried  atomic.Int32
	depend atomic.Bool
}

// Depend reports whether a batch was seen whose rows depend on each other.
func (r *Rows) Depend() bool { return r.depend.Load() }

// Check looks at a batch that was computed: out of in. Its first and its last part, of so many rows, run alone. ErrRows means that they have other
// results there, or none; any other error is one that may pass, and says nothing. After the first batches Check does nothing.
func (r *Rows) Check(ctx context.Context, s Session, in, out []*tensor.Tensor, first, last int) error {
	if r.depend.Load() {
		return ErrRows
	}
	if r.tried.Load() >= rowTrials {
		return nil
	}
	n := in[0].Shape()[0]
	err := checkRows(ctx, s, in, out, n-last, n)
	if err == nil {
		err = checkRows(ctx, s, in, out, 0, first)
	}
	switch {
	case err == nil:
		r.tried.Add(1)
	case errors.Is(err, ErrRows):
		r.depend.Store(true)
	}
	return err
}

func checkRows(ctx context.Context, s Session, in, out []*tensor.Tensor, from, to int) error {
	n := in[0].Shape()[0]
	for i, t := range out {
		if t.Rank() == 0 || t.Shape()[0] != n {
			return fmt.Errorf("%w: output %q has shape %v for a batch of %d", ErrRows, s.Outputs()[i].Name, t.Shape(), n)
		}
	}
	part, err := sliceAll(in, from, to)
	if err != nil {
		return err
	}
	alone := make([]*tensor.Tensor, len(out))
	err = s.Run(ctx, part, alone)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, ErrClosed), errors.Is(err, ErrBusy):
		return err
	case err != nil:
		return fmt.Errorf("%w: rows %d to %d of a batch of %d fail without the others: %w", ErrRows, from, to-1, n, err)
	}
	want, err := sliceAll(out, from, to)
	if err != nil {
		return err
	}
	for i := range want {
		if !sameNumbers(want[i], alone[i]) {
			return fmt.Errorf("%w: in a batch of %d, rows %d to %d of output %q are others than without the rest", ErrRows, n, from, to-1, s.Outputs()[i].Name)
		}
	}
	return nil
}

func sliceAll(ts []*tensor.Tensor, from, to int) ([]*tensor.Tensor, error) {
	parts := make([]*tensor.Tensor, len(ts))
	for i, t := range ts {
		var err error
		if parts[i], err = t.Slice(from, to); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// sameNumbers reports whether two tensors differ by rounding at most, which another size of a batch may bring.
func sameNumbers(a, b *tensor.Tensor) bool {
	if a.DType() != b.DType() || !a.Shape().Equal(b.Shape()) {
		return false
	}
	switch x := a.Raw().(type) {
	case []float32:
		return nearly(x, tensor.Data[float32](b), 1e-3, func(v float32) float64 { return float64(v) })
	case []float64:
		return nearly(x, tensor.Data[float64](b), 1e-6, func(v float64) float64 { return v })
	case []tensor.Half:
		return nearly(x, tensor.Data[tensor.Half](b), 1e-2, func(v tensor.Half) float64 { return float64(v.Float32()) })
	case []tensor.BHalf:
		return nearly(x, tensor.Data[tensor.BHalf](b), 5e-2, func(v tensor.BHalf) float64 { return float64(v.Float32()) })
	case []complex64:
		return nearly(x, tensor.Data[complex64](b), 1e-3, func(v complex64) float64 { return float64(real(v)) }) &&
			nearly(x, tensor.Data[complex64](b), 1e-3, func(v complex64) float64 { return float64(imag(v)) })
	case []complex128:
		return nearly(x, tensor.Data[complex128](b), 1e-6, func(v complex128) float64 { return real(v) }) &&
			nearly(x, tensor.Data[complex128](b), 1e-6, func(v complex128) float64 { return imag(v) })
	case []string:
		return slices.Equal(x, tensor.Data[string](b))
	}
	return bytes.Equal(a.Bytes(), b.Bytes())
}

// nearly compares with a share of the largest number that there is.
func nearly[T any](a, b []T, share float64, wide func(T) float64) bool {
	largest := 0.0
	for _, v := range a {
		if w := math.Abs(wide(v)); !math.IsInf(w, 0) && !math.IsNaN(w) {
			largest = max(largest, w)
		}
	}
	for i := range a {
		x, y := wide(a[i]), wide(b[i])
		if x == y || math.IsNaN(x) && math.IsNaN(y) {
			continue
		}
		if !(math.Abs(x-y) <= share*largest) {
			return false
		}
	}
	return true
}
