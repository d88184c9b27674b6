//go:build cgo

package onnxruntime_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestEmpty: the library ends the process where some operators take nothing, so that such inputs are refused there, and only there. Without the check this test ends with a signal.
func TestEmpty(t *testing.T) {
	weights := func(b *graph.Builder, gates int) (w, r string) {
		return b.Init("w", tensor.Must(tensor.New(tensor.Float32, 1, 2*gates, 3))), b.Init("r", tensor.Must(tensor.New(tensor.Float32, 1, 2*gates, 2)))
	}
	recurrent := func(op string, gates int) func(b *graph.Builder, x string) string {
		return func(b *graph.Builder, x string) string {
			w, r := weights(b, gates)
			return b.Op(op, graph.Attrs{"hidden_size": int64(2)}, x, w, r)
		}
	}
	for _, c := range []struct {
		name    string
		node    func(b *graph.Builder, x string) string
		shape   tensor.Shape
		refused bool
	}{
		{"LSTM", recurrent("LSTM", 4), tensor.Shape{4, 0, 3}, true},
		{"GRU", recurrent("GRU", 3), tensor.Shape{4, 0, 3}, true},
		{"GRU", recurrent("GRU", 3), tensor.Shape{0, 4, 3}, true},
		{"Einsum", func(b *graph.Builder, x string) string {
			return b.Op("Einsum", graph.Attrs{"equation": "abc,adc->abd"}, x, x)
		}, tensor.Shape{0, 4, 3}, true},
		{"TopK", func(b *graph.Builder, x string) string {
			return b.Ops("TopK", 2, graph.Attrs{"axis": int64(2)}, x, b.Init("k", tensor.Vector[int64](2)))[0]
		}, tensor.Shape{0, 4, 3}, true},
		{"RNN", recurrent("RNN", 1), tensor.Shape{4, 0, 3}, false},
		{"Relu", func(b *graph.Builder, x string) string { return b.Op("Relu", nil, x) }, tensor.Shape{0, 4, 3}, false},
	} {
		s := build(t, engine.Options{}, func(b *graph.Builder) {
			x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: -1, Symbol: "S"}, {Size: 3}})
			b.Output(b.Name(c.node(b, x), "y"))
		})
		if _, err := engine.Run(t.Context(), s, map[string]*tensor.Tensor{"x": tensor.Must(tensor.New(tensor.Float32, 2, 2, 3))}); err != nil {
			t.Errorf("%s of two rows: %v", c.name, err)
		}
		_, err := engine.Run(t.Context(), s, map[string]*tensor.Tensor{"x": tensor.Must(tensor.New(tensor.Float32, c.shape...))})
		if refused := errors.Is(err, engine.ErrInput) && strings.Contains(err.Error(), c.name); refused != c.refused || !refused && err != nil {
			t.Errorf("%s of %v: %v", c.name, c.shape, err)
		}
	}
}
