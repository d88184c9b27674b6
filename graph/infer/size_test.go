package infer_test

import (
	"errors"
	"math"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// A length that 64 bits do not hold is an error, neither a wrong length nor an unknown one.
func TestOverflow(t *testing.T) {
	const huge = 1 << 62
	f32 := tensor.Float32
	weights := func(b *graph.Builder, dims ...int) string { return b.Init("w", tensor.Must(tensor.New(f32, dims...))) }
	tests := map[string]func(b *graph.Builder, in func(dims ...any) string) string{
		"Flatten": func(b *graph.Builder, in func(...any) string) string { return b.Op("Flatten", nil, in(2, huge, 4)) },
		"Size":    func(b *graph.Builder, in func(...any) string) string { return b.Op("Size", nil, in(huge, 4)) },
		"Tile": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Tile", nil, in(1<<40), b.Ints(1<<40))
		},
		"Pad": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Pad", nil, in(math.MaxInt64), b.Ints(0, 1))
		},
		"Pad by pads that overflow": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Pad", nil, in(3), b.Ints(math.MaxInt64, math.MaxInt64))
		},
		"Concat": func(b *graph.Builder, in func(...any) string) string {
			x := in(huge)
			return b.Op("Concat", graph.Attrs{"axis": int64(0)}, x, x)
		},
		"Conv": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Conv", graph.Attrs{"pads": []int64{2, 2}}, in(1, 1, math.MaxInt64), weights(b, 1, 1, 3))
		},
		"MaxPool": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{2}, "pads": []int64{1, 0}, "ceil_mode": int64(1)}, in(1, 1, math.MaxInt64))
		},
		"ConvTranspose": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("ConvTranspose", graph.Attrs{"strides": []int64{4}}, in(1, 1, huge), weights(b, 1, 1, 3))
		},
		"ConvTranspose of automatic pads": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("ConvTranspose", graph.Attrs{"strides": []int64{4}, "auto_pad": "SAME_UPPER"}, in(1, 1, huge), weights(b, 1, 1, 3))
		},
		"MaxUnpool": func(b *graph.Builder, in func(...any) string) string {
			x := in(1, 1, huge)
			return b.Op("MaxUnpool", graph.Attrs{"kernel_shape": []int64{2}, "strides": []int64{4}}, x, x)
		},
		"Resize": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Resize", nil, in(huge), "", b.Init("s", tensor.Vector[float32](2)))
		},
		"Reshape": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Reshape", nil, in(huge, 4), b.Ints(-1))
		},
		"Reshape to": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("Reshape", nil, in(4, 4), b.Ints(huge, 4))
		},
		"DepthToSpace": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("DepthToSpace", graph.Attrs{"blocksize": int64(2)}, in(1, 4, huge, 1))
		},
		"SpaceToDepth": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("SpaceToDepth", graph.Attrs{"blocksize": int64(2)}, in(1, huge, 2, 2))
		},
		"GatherND": func(b *graph.Builder, in func(...any) string) string {
			return b.Op("GatherND", graph.Attrs{"batch_dims": int64(1)}, in(2, 3), b.Input("i", tensor.Int64, sym(2, math.MaxInt64)))
		},
		"Range": func(b *graph.Builder, _ func(...any) string) string {
			return b.Op("Range", nil, b.Init("a", tensor.Scalar[int64](math.MinInt64)), b.Init("b", tensor.Scalar[int64](math.MaxInt64)), b.Init("c", tensor.Scalar[int64](1)))
		},
		"Split": func(b *graph.Builder, in func(...any) string) string {
			return b.Ops("Split", 2, nil, in(4), b.Ints(math.MaxInt64, math.MaxInt64))[0]
		},
	}
	for name, build := range tests {
		t.Run(name, func(t *testing.T) {
			b := graph.NewBuilder("g")
			b.Output(build(b, func(dims ...any) string { return b.Input("x", f32, sym(dims...)) }))
			g, err := infer.Build(b)
			if !errors.Is(err, graph.ErrInvalid) {
				t.Errorf("got %v, %v", g, err)
			}
		})
	}
}

// A length of zero hides no overflow of the others, and many elements of no bytes are fine.
func TestLargeShapes(t *testing.T) {
	if n, err := infer.Product(1<<40, 0, 1<<40); n != 0 || err != nil {
		t.Errorf("product %d, %v", n, err)
	}
	if n, err := infer.Product(int64(1)<<31, 1<<31); n != 1<<62 || err != nil {
		t.Errorf("product %d, %v", n, err)
	}
	for _, v := range [][]int{{1 << 32, 1 << 31}, {1 << 62, 1 << 62}, {-1, 2}} {
		if n, err := infer.Product(v...); err == nil {
			t.Errorf("product of %v is %d", v, n)
		}
	}
	b := graph.NewBuilder("g")
	x := b.Input("x", tensor.Float32, sym(1, 1, math.MaxInt64))
	b.Output(b.Op("MaxPool", graph.Attrs{"kernel_shape": []int64{3}, "strides": []int64{2}, "auto_pad": "SAME_LOWER"}, x))
	g, err := infer.Build(b)
	if err != nil || g.Outputs[0].Shape.String() != "[1,1,4611686018427387904]" {
		t.Errorf("got %v, %v", g, err)
	}
}

// Integers are followed as such, with the ends of their types: what the engine would wrap is not known.
func TestFollowedIntegers(t *testing.T) {
	long := func(b *graph.Builder, v ...int64) string { return b.Ints(v...) }
	tests := []struct {
		name  string
		shape func(b *graph.Builder) string
		want  string
	}{
		{"difference of large numbers", func(b *graph.Builder) string {
			return b.Op("Sub", nil, long(b, 1<<53+3, 1<<62+5), long(b, 1<<53, 1<<62))
		}, "[3,5]"},
		{"quotient", func(b *graph.Builder) string {
			return b.Op("Div", nil, long(b, math.MaxInt64), long(b, math.MaxInt64-1))
		}, "[1]"},
		{"remainder", func(b *graph.Builder) string { return b.Op("Mod", nil, long(b, 1<<62+7), long(b, 10)) }, "[1]"},
		{"comparison", func(b *graph.Builder) string {
			return b.Op("Where", nil, b.Op("Less", nil, long(b, 1<<53), long(b, 1<<53+1)), long(b, 4), long(b, 6))
		}, "[4]"},
		{"sum that wraps", func(b *graph.Builder) string { return b.Op("Add", nil, long(b, math.MaxInt64), long(b, 5)) }, "[?]"},
		{"product that wraps", func(b *graph.Builder) string { return b.Op("Mul", nil, long(b, 1<<40), long(b, 1<<40)) }, "[?]"},
		{"opposite that wraps", func(b *graph.Builder) string { return b.Op("Neg", nil, long(b, math.MinInt64)) }, "[?]"},
		{"sum that wraps in 32 bits", func(b *graph.Builder) string {
			sum := b.Op("Add", nil, b.Init("a", tensor.Vector[int32](math.MaxInt32)), b.Init("b", tensor.Vector[int32](1)))
			return b.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, sum)
		}, "[?]"},
		{"cast that wraps", func(b *graph.Builder) string {
			return b.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, b.Op("Cast", graph.Attrs{"to": int64(tensor.Uint8)}, long(b, 300, 200)))
		}, "[?,200]"},
		{"cast of a real number beyond", func(b *graph.Builder) string {
			return b.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, b.Init("a", tensor.Vector[float64](1e300, 2.9)))
		}, "[?,2]"},
		{"range of timestamps", func(b *graph.Builder) string {
			start, limit := tensor.Scalar[int64](1700000000000000001), tensor.Scalar[int64](1700000000000000004)
			r := b.Op("Range", nil, b.Init("a", start), b.Init("b", limit), b.Init("c", tensor.Scalar[int64](1)))
			return b.Op("Sub", nil, r, long(b, 1700000000000000000))
		}, "[1,2,3]"},
		{"unsigned beyond 63 bits", func(b *graph.Builder) string {
			return b.Op("Cast", graph.Attrs{"to": int64(tensor.Int64)}, b.Init("a", tensor.Vector[uint64](1<<63, 4)))
		}, "[?,4]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := graph.NewBuilder("g")
			b.Output(b.Op("ConstantOfShape", nil, tt.shape(b)))
			g, err := infer.Build(b)
			if err != nil {
				t.Fatal(err)
			}
			if got := g.Outputs[0].Shape.String(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// What a file declares of an output that its operator makes otherwise is a contradiction.
func TestDeclaredSizes(t *testing.T) {
	for declared, fits := range map[int]bool{9: false, 10: true, -1: true} {
		b := graph.NewBuilder("g")
		b.Output(b.Op("Resize", nil, b.Input("x", tensor.Float32, sym(1, 1, 3)), "", b.Init("s", tensor.Vector[float32](1, 1, 10.0/3))))
		g, err := b.Graph()
		if err != nil {
			t.Fatal(err)
		}
		g.Outputs[0].DType, g.Outputs[0].Shape = tensor.Float32, graph.Dims(1, 1, declared)
		err = infer.Shapes(g)
		if fits != (err == nil) || fits && g.Outputs[0].Shape.String() != "[1,1,10]" || !fits && !errors.Is(err, graph.ErrInvalid) {
			t.Errorf("declared %d: %v, %v", declared, g.Outputs, err)
		}
	}
}
