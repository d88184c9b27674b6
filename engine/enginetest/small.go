package enginetest

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// smallTypes passes every element of the types under 16 bits in, widens it, and takes it out again. An engine that lacks a type says so
// by its name when it opens the graph.
func smallTypes(t *testing.T, e engine.Engine) {
	for d := tensor.Float8E4M3FN; d.Small(); d++ {
		t.Run(d.String(), func(t *testing.T) {
			n := 1 << d.Bits()
			raw := make([]byte, n)
			for i := range raw {
				raw[i] = byte(i)
			}
			x := tensor.Must(tensor.FromBytes(d, raw, 2, n/2))
			wide := tensor.Must(tensor.New(tensor.Float32, 2, n/2))
			for i, b := range x.Bytes() {
				tensor.Data[float32](wide)[i] = tensor.SmallTable(d)[b]
			}
			back := graph.Attrs{"to": int64(d)}
			if d.Bits() == 8 {
				back["saturate"] = int64(0) // infinities stay
			}
			g := model([]graph.Value{value("x", d, size(2), size(int64(n/2))), value("w", tensor.Float32, size(2), size(int64(n/2)))},
				[]graph.Value{value("y", tensor.Float32, size(2), size(int64(n/2))), value("z", d, size(2), size(int64(n/2)))},
				node("Cast", graph.Attrs{"to": int64(tensor.Float32)}, []string{"x"}, "y"),
				node("Cast", back, []string{"w"}, "z"))
			g.Opset[""], g.IRVersion = graph.LowestOpset(g), 0
			s, err := e.Open(t.Context(), g, engine.Options{})
			if err != nil {
				var u *engine.UnsupportedError
				if !errors.As(err, &u) {
					t.Fatalf("open: %v", err)
				}
				t.Skipf("refused: %v", err)
			}
			defer s.Close()
			out := run(t, s, x, wide)
			if out[1].DType() != d || !out[1].Shape().Equal(x.Shape()) {
				t.Fatalf("the output is %v%v, not %v%v", out[1].DType(), out[1].Shape(), d, x.Shape())
			}
			for i, v := range tensor.Data[float32](wide) {
				y, z := tensor.Data[float32](out[0])[i], tensor.SmallTable(d)[out[1].Bytes()[i]]
				if v != v && y != y && z != z || y == v && z == v {
					continue
				}
				t.Errorf("element %#x, which is %v, is %v widened; %v became %v", x.Bytes()[i], v, y, v, z)
			}
		})
	}
}
