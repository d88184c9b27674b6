package graphdef_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/internal/limittest"
)

// field appends a field of bytes.
func field(b []byte, num protowire.Number, v ...byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), v)
}

// constant makes a GraphDef of a node whose value is the TensorProto's fields behind its type and shape.
func constant(dtype uint64, n int, fields []byte) []byte {
	t := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), dtype)
	dim := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(n))
	t = append(field(t, 2, field(nil, 2, dim...)...), fields...)
	node := field(field(nil, 1, 'c'), 2, []byte("Const")...)
	node = field(node, 5, field(field(nil, 1, []byte("value")...), 2, field(nil, 8, t...)...)...)
	return field(nil, 1, node...)
}

// Elements of large tensors stay in the file, wherever TensorFlow puts them, and are the same when they are loaded.
func TestShrink(t *testing.T) {
	const n = 50_000
	bits := bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, n)
	varints := bytes.Repeat([]byte{0x81, 1}, n)
	tests := map[string]struct {
		dtype  uint64
		fields []byte
	}{
		"content":           {1, field(nil, 4, bits[:4*n]...)},
		"float_val":         {1, field(nil, 5, bits[:4*n]...)},
		"double_val":        {2, field(nil, 6, bits[:8*n]...)},
		"int_val":           {3, field(nil, 7, varints...)},
		"int64_val":         {9, field(nil, 10, varints...)},
		"scomplex_val":      {8, field(nil, 9, bits[:8*n]...)},
		"fewer than needed": {1, field(nil, 5, bits[:2*n]...)},
		"in two fields":     {1, field(field(nil, 5, bits[:2*n]...), 5, bits[:2*n]...)},
		"a small part":      {1, field(field(nil, 5, bits[:40]...), 5, bits[:4*n-40]...)},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			data := constant(tt.dtype, n, tt.fields)
			small, elements, err := graphdef.Shrink(graphdef.GraphDef, bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if len(small) > 1000 {
				t.Errorf("%d of %d bytes were read", len(small), len(data))
			}
			want := value(t, data)
			got, err := elements.Load(bytes.NewReader(data), value(t, small))
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		})
	}
}

func value(t *testing.T, data []byte) *graphdef.Tensor {
	t.Helper()
	g, err := graphdef.DecodeGraph(data)
	if err != nil {
		t.Fatal(err)
	}
	v, err := g.Nodes[0].Attrs.Tensor("value")
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// same compares two tensors, or the errors that they are decoded with.
func same(t *testing.T, a, b *graphdef.Tensor) {
	t.Helper()
	if n, err := b.Stored(); err == nil && n < b.Shape.Size()/2 { // what a few bytes claim is not made
		return
	}
	x, errX := a.Decode()
	y, errY := b.Decode()
	if (errX == nil) != (errY == nil) {
		t.Fatalf("one is %v, the other %v", errX, errY)
	}
	if errX == nil && (x.DType() != y.DType() || !x.Shape().Equal(y.Shape()) || fmt.Sprint(x.Raw()) != fmt.Sprint(y.Raw())) {
		t.Errorf("got %v, want %v", x, y)
	}
}

// What a file claims to have elsewhere is refused, and a tensor whose bytes are too many is before they are read.
func TestShrinkFaults(t *testing.T) {
	key := make([]byte, 40)
	key[16], key[32] = 4, 16 // tensor_content, 16 bytes of the file
	forged := constant(1, 4, field(nil, 1<<29-1, key...))
	for name, e := range map[string]*graphdef.Elements{"read as a whole": nil, "left in the file": {}} {
		if _, err := new(graphdef.Elements).Load(nil, value(t, constant(1, 0, nil))); err != nil {
			t.Error(err)
		}
		if name != "read as a whole" {
			_, e, _ = graphdef.Shrink(graphdef.GraphDef, bytes.NewReader(forged), int64(len(forged)))
		}
		if _, err := e.Load(bytes.NewReader(forged), value(t, forged)); !errors.Is(err, graphdef.ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
	long := constant(1, 3, field(nil, 4, make([]byte, 1<<20)...))
	small, e, err := graphdef.Shrink(graphdef.GraphDef, bytes.NewReader(long), int64(len(long)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Load(nil, value(t, small)); err == nil || !strings.Contains(err.Error(), "1048576 bytes") {
		t.Error(err)
	}
}

// FuzzShrink: a file of which the elements stay where they are means what the whole file does.
func FuzzShrink(f *testing.F) {
	for _, kind := range []string{graphdef.GraphDef, graphdef.MetaGraphDef, graphdef.SavedModel} {
		if data, err := graphdef.Binary(kind, []byte(text)); err == nil {
			f.Add(data, uint8(3))
		}
	}
	f.Add(constant(1, 4, field(nil, 4, []byte("0123456789abcdef")...)), uint8(8))
	f.Add(constant(3, 4, field(nil, 7, 1, 2, 3, 4)), uint8(0))
	f.Fuzz(func(t *testing.T, data []byte, large uint8) {
		limittest.Hold(t, len(data), func() {
			small, elements, err := graphdef.ShrinkFrom(int64(large), graphdef.GraphDef, bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			a, errA := graphdef.DecodeGraph(data)
			b, errB := graphdef.DecodeGraph(small)
			if (errA == nil) != (errB == nil) {
				t.Fatalf("whole: %v; in part: %v", errA, errB)
			}
			if errA != nil {
				return
			}
			for i, n := range a.Nodes {
				for _, attr := range n.Attrs {
					want, errA := n.Attrs.Tensor(attr.Name)
					got, errB := b.Nodes[i].Attrs.Tensor(attr.Name)
					if errA != nil || want == nil || errB != nil || got == nil {
						continue
					}
					if got, err = elements.Load(bytes.NewReader(data), got); err == nil {
						same(t, got, want)
					} else if n, stored := want.Stored(); stored == nil && n == want.Shape.Size() && n > 1 && want.Type != graphdef.String {
						t.Errorf("%d elements are not loaded: %v", n, err)
					}
				}
			}
		})
	})
}
