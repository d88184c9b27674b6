package engine_test

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func TestRows(t *testing.T) {
	const width = 5
	for _, test := range []struct {
		name   string
		output func(b *graph.Builder, x string) string
		want   string // of the error; "" for rows that are independent
	}{
		{"product", func(b *graph.Builder, x string) string {
			w := make([]float32, width*width)
			for i := range w {
				w[i] = rand.Float32()
			}
			return b.Op("Relu", nil, b.Op("MatMul", nil, x, b.Init("w", tensor.Must(tensor.Of(w, width, width)))))
		}, ""},
		{"largest of each row", func(b *graph.Builder, x string) string {
			return b.Op("ArgMax", graph.Attrs{"axis": int64(1)}, x)
		}, ""},
		{"softmax over the batch", func(b *graph.Builder, x string) string {
			return b.Op("Softmax", graph.Attrs{"axis": int64(0)}, x)
		}, `rows 3 to 3 of output "y" are others`},
		{"sum of those before", func(b *graph.Builder, x string) string {
			return b.Op("CumSum", nil, x, b.Init("axis", tensor.Scalar(int64(0))))
		}, `rows 3 to 3 of output "y" are others`},
		{"sum of those behind", func(b *graph.Builder, x string) string {
			return b.Op("CumSum", graph.Attrs{"reverse": int64(1)}, x, b.Init("axis", tensor.Scalar(int64(0))))
		}, `rows 0 to 0 of output "y" are others`},
		{"mean", func(b *graph.Builder, x string) string {
			return b.Op("ReduceMean", graph.Attrs{"keepdims": int64(1)}, x, b.Ints(0))
		}, `output "y" has shape [1,5] for a batch of 4`},
		{"pairs", func(b *graph.Builder, x string) string {
			pairs := b.Op("Reshape", nil, x, b.Ints(2, -1, 5))
			return b.Op("Reshape", nil, pairs, b.Ints(-1, 5))
		}, "rows 3 to 3 of a batch of 4 fail without the others"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := graph.NewBuilder("g")
			b.Output(b.Name(test.output(b, b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: width}})), "y"))
			g, err := infer.Build(b)
			if err != nil {
				t.Fatal(err)
			}
			s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			in := []*tensor.Tensor{tensor.Must(tensor.New(tensor.Float32, 4, width))}
			for i := range tensor.Data[float32](in[0]) {
				tensor.Data[float32](in[0])[i] = rand.Float32() + 1
			}
			out := make([]*tensor.Tensor, 1)
			if err := s.Run(t.Context(), in, out); err != nil {
				t.Fatal(err)
			}
			var rows engine.Rows
			for range 6 {
				err = rows.Check(t.Context(), s, in, out, 1, 1)
				if test.want == "" && err != nil || test.want != "" && !errors.Is(err, engine.ErrRows) {
					t.Fatalf("got %v", err)
				}
				if test.want == "" {
					continue
				}
				if !rows.Depend() || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %s", err, test.want)
				}
				break
			}
		})
	}
}
