//go:build cgo

package onnxruntime_test

import (
	"context"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/random"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// FuzzModel opens and runs damaged files. Any error will do; the process must live.
func FuzzModel(f *testing.F) {
	e := open(f)
	for seed := range uint64(40) {
		c, err := random.New(seed)
		if err != nil {
			f.Fatal(err)
		}
		data, err := onnx.Encode(c.Graph)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 16<<10 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := onnx.Decode(data, onnx.Options{MaxBytes: 1 << 20})
		if err != nil || !modest(g) {
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		s, err := e.Open(ctx, g, engine.Options{})
		if err != nil {
			return
		}
		defer s.Close()
		var in []*tensor.Tensor
		for _, v := range s.Inputs() {
			shape, known := v.Shape.Static()
			if n, err := shape.Check(); !known || err != nil || n > 1<<18 || !v.DType.Valid() {
				return
			}
			in = append(in, tensor.Must(tensor.New(v.DType, shape...)))
		}
		out := make([]*tensor.Tensor, len(s.Outputs()))
		if err := s.Run(ctx, in, out); err != nil {
			return
		}
		for i, o := range out {
			if o == nil {
				t.Errorf("output %d was not set", i)
			}
		}
	})
}

// modest reports whether all shapes are known and small: the library takes what memory a model asks for.
func modest(g *graph.Graph) bool {
	c := g.Clone()
	if err := infer.Shapes(c); err != nil {
		return false
	}
	for _, v := range append(c.Values, c.Outputs...) {
		shape, known := v.Shape.Static()
		if n, err := shape.Check(); !known || err != nil || n > 1<<20 {
			return false
		}
	}
	return true
}
