package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// openLibrary loads onnxruntime, which both our engine and the peer use.
func openLibrary(o options) (*onnxruntime.Engine, error) {
	e, err := onnxruntime.New(onnxruntime.Config{Library: o.library})
	if err != nil {
		return nil, fmt.Errorf("set ONNXRUNTIME_SHARED_LIBRARY_PATH, or run `millrace engine install onnxruntime`: %w", err)
	}
	return e, nil
}

// A raw is a model in onnxruntime without us: its Go wrapper's session, with values that were made before. Runs take the
// sets of values in turn.
type raw struct {
	session *ort.DynamicAdvancedSession
	in, out [][]ort.Value
	next    int
}

// openRaw opens a model with this many threads and the library's other defaults.
func openRaw(g *graph.Graph, threads int, sets ...tensors) (_ *raw, err error) {
	data, err := onnx.Encode(g)
	if err != nil {
		return nil, err
	}
	settings, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, settings.Destroy()) }()
	if err := errors.Join(settings.SetIntraOpNumThreads(threads), settings.SetInterOpNumThreads(1)); err != nil {
		return nil, err
	}
	var inputs, outputs []string
	for _, v := range g.Placeholders() {
		inputs = append(inputs, v.Name)
	}
	for _, v := range g.Outputs {
		outputs = append(outputs, v.Name)
	}
	r := &raw{}
	for _, s := range sets {
		if err == nil {
			err = r.add(s)
		}
	}
	if err == nil {
		r.session, err = ort.NewDynamicAdvancedSessionWithONNXData(data, inputs, outputs, settings)
	}
	if err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *raw) run(_ context.Context, n int) error {
	for range n {
		if err := r.session.Run(r.in[r.next], r.out[r.next]); err != nil {
			return err
		}
		r.next = (r.next + 1) % len(r.in)
	}
	return nil
}

func (r *raw) close() error {
	var faults []error
	for _, v := range slices.Concat(append(r.in, r.out...)...) {
		faults = append(faults, v.Destroy())
	}
	if r.session != nil {
		faults = append(faults, r.session.Destroy())
	}
	return errors.Join(faults...)
}

// tensors are what a run takes and gives.
type tensors struct{ in, out []*tensor.Tensor }

// add makes values over the memory of tensors.
func (r *raw) add(t tensors) error {
	in, err := values(t.in)
	r.in = append(r.in, in)
	if err != nil {
		return err
	}
	out, err := values(t.out)
	r.out = append(r.out, out)
	return err
}

// values are the wrapper's tensors over the memory of ours.
func values(ts []*tensor.Tensor) ([]ort.Value, error) {
	var out []ort.Value
	for _, t := range ts {
		var v ort.Value
		var err error
		shape := make(ort.Shape, t.Rank())
		for i, d := range t.Shape() {
			shape[i] = int64(d)
		}
		switch d := t.Raw().(type) {
		case []float32:
			if len(shape) == 0 {
				var s *ort.Scalar[float32]
				if s, err = ort.NewScalar(d[0]); err == nil {
					v = s
				}
				break
			}
			v, err = ort.NewTensor(shape, d)
		case []int64:
			v, err = ort.NewTensor(shape, d)
		default:
			err = fmt.Errorf("no value for %v", t.DType())
		}
		if err != nil {
			return out, err
		}
		out = append(out, v)
	}
	return out, nil
}

// sessionSide runs a session again and again; runs take the sets of tensors in turn.
func sessionSide(s engine.Session, sets ...tensors) side {
	next := 0
	return func(ctx context.Context, n int) error {
		for range n {
			if err := s.Run(ctx, sets[next].in, sets[next].out); err != nil {
				return err
			}
			next = (next + 1) % len(sets)
		}
		return nil
	}
}
