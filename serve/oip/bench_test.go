package oip_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/tensor"
)

// pixels is a request's body with 784 numbers, most of them 0, as a picture's are.
func pixels() string {
	rng := rand.New(rand.NewPCG(1, 2))
	var b strings.Builder
	b.WriteString(`{"inputs":[{"name":"x","shape":[1,784],"datatype":"FP32","data":[`)
	for i := range 784 {
		if i > 0 {
			b.WriteByte(',')
		}
		if rng.IntN(5) > 0 {
			b.WriteString("0.0")
		} else {
			fmt.Fprintf(&b, "%.4f", rng.Float64())
		}
	}
	b.WriteString("]}]}")
	return b.String()
}

// BenchmarkInfer answers 784 floats as JSON through the handler without a connection. The model does nothing: what is
// left is what the protocol costs.
func BenchmarkInfer(b *testing.B) {
	r := newRegistry(b)
	g := newGraph([]graph.Value{value("x", tensor.Float32, 784)}, []graph.Value{value("y", tensor.Float32, 10)},
		&graph.Node{OpType: "MatMul", Inputs: []string{"x", "w"}, Outputs: []string{"y"}})
	g.Initializers = []graph.Initializer{{Name: "w", Tensor: tensor.Must(tensor.New(tensor.Float32, 784, 10))}}
	m, err := model.New(g)
	if err != nil {
		b.Fatal(err)
	}
	if m, err = m.With("m", 1, nil); err != nil {
		b.Fatal(err)
	}
	if err := r.Add(m, "bench"); err != nil {
		b.Fatal(err)
	}
	h, err := oip.New(oip.Config{Models: r})
	if err != nil {
		b.Fatal(err)
	}
	body := pixels()
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequest(http.MethodPost, "/v2/models/m/infer", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		w := &discard{header: http.Header{}}
		h.ServeHTTP(w, req)
		if w.status != 200 {
			b.Fatalf("status %d", w.status)
		}
	}
}

// discard answers into nothing.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }
