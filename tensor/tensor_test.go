package tensor_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/tensor"
)

func TestShape(t *testing.T) {
	tests := []struct {
		shape tensor.Shape
		size  int
		text  string
	}{
		{nil, 1, "[]"}, {tensor.Shape{}, 1, "[]"}, {tensor.Shape{0}, 0, "[0]"}, {tensor.Shape{2, 0, 3}, 0, "[2,0,3]"},
		{tensor.Shape{1, 28, 28}, 784, "[1,28,28]"},
	}
	for _, tt := range tests {
		n, err := tt.shape.Check()
		if err != nil || n != tt.size || tt.shape.Size() != tt.size || tt.shape.String() != tt.text {
			t.Errorf("%v: %d elements (%v), want %d; text %s", []int(tt.shape), n, err, tt.size, tt.shape)
		}
		if c := tt.shape.Clone(); c == nil || !c.Equal(tt.shape) {
			t.Errorf("%v cloned is %v", tt.shape, c)
		}
	}
	for _, bad := range []tensor.Shape{{-1}, {0, -1}, {1 << 40, 1 << 40}, {math.MaxInt}, {math.MaxInt, math.MaxInt, 0}, {math.MaxInt / 16, 2}} {
		if n, err := bad.Check(); !errors.Is(err, tensor.ErrShape) {
			t.Errorf("%v: %d, %v; want ErrShape", []int(bad), n, err)
		}
		if _, err := tensor.New(tensor.Uint8, bad...); !errors.Is(err, tensor.ErrShape) {
			t.Errorf("New of %v: %v; want ErrShape", []int(bad), err)
		}
	}
}

func TestOf(t *testing.T) {
	data := []int32{1, 2, 3, 4, 5, 6}
	x, err := tensor.Of(data, 2, 3)
	if err != nil {
		t.Fatal(err)
	}
	if data[0] = 9; tensor.Data[int32](x)[0] != 9 {
		t.Error("the tensor does not keep the slice")
	}
	y, err := x.Reshape(3, 2)
	if err != nil || !y.Shape().Equal(tensor.Shape{3, 2}) {
		t.Errorf("reshaped: %v, %v", y, err)
	}
	if tensor.Data[int32](y)[5] = 7; data[5] != 7 {
		t.Error("a reshaped tensor does not share its elements")
	}
	c := x.Clone()
	if tensor.Data[int32](c)[1] = 8; data[1] != 2 {
		t.Error("a clone shares its elements")
	}
	for _, shape := range [][]int{{5}, {2, 2}, {-2, -3}, {}} {
		if _, err := tensor.Of(data, shape...); !errors.Is(err, tensor.ErrShape) {
			t.Errorf("six elements as %v: %v", shape, err)
		}
		if _, err := x.Reshape(shape...); !errors.Is(err, tensor.ErrShape) {
			t.Errorf("six elements reshaped to %v: %v", shape, err)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("reading int32 as float32 did not panic")
		}
	}()
	tensor.Data[float32](x)
}

func TestScalarVector(t *testing.T) {
	if s := tensor.Scalar[float32](2); s.Rank() != 0 || s.Size() != 1 || s.DType() != tensor.Float32 || s.String() != "float32[]{2}" {
		t.Errorf("scalar %v", s)
	}
	if v := tensor.Vector[int64](); v.Rank() != 1 || v.Size() != 0 || tensor.Data[int64](v) == nil || v.String() != "int64[0]{}" {
		t.Errorf("empty vector %v", v)
	}
	if got := tensor.Vector("a", "ü\n").String(); got != `string[2]{"a" "ü\n"}` {
		t.Errorf("strings %s", got)
	}
	if got := tensor.Vector[uint8](1, 2, 3, 4, 5, 6, 7, 8, 9).String(); got != "uint8[9]{1 2 3 4 5 6 7 8 ...}" {
		t.Errorf("many elements %s", got)
	}
	if got := tensor.Vector(tensor.HalfOf(1.5)).String() + tensor.Vector(tensor.BHalfOf(-2)).String(); got != "float16[1]{1.5}bfloat16[1]{-2}" {
		t.Errorf("16-bit floats %s", got)
	}
}

// one returns a tensor of each type whose elements are not all alike.
func one() []*tensor.Tensor {
	return []*tensor.Tensor{
		tensor.Vector[float32](1, -2), tensor.Vector(1.5, -2.5), tensor.Vector[int8](1, -2), tensor.Vector[int16](1, -2),
		tensor.Vector[int32](1, -2), tensor.Vector[int64](1, -2), tensor.Vector[uint8](1, 200), tensor.Vector[uint16](1, 40000),
		tensor.Vector[uint32](1, 1<<31), tensor.Vector[uint64](1, 1<<63), tensor.Vector(true, false),
		tensor.Vector(tensor.HalfOf(1), tensor.HalfOf(-2)), tensor.Vector(tensor.BHalfOf(1), tensor.BHalfOf(-2)),
		tensor.Vector(complex64(1-2i), 3i), tensor.Vector(1-2i, 3i),
	}
}

// Bytes, FromBytes and View agree for each type, aligned or not; only View shares, and only where it can.
func TestBytes(t *testing.T) {
	for _, x := range one() {
		raw := slices.Clone(x.Bytes())
		for _, make := range []func(tensor.DType, []byte, ...int) (*tensor.Tensor, error){tensor.FromBytes, tensor.View} {
			y, err := make(x.DType(), raw, 2, 1)
			if err != nil || y.DType() != x.DType() || !bytes.Equal(y.Bytes(), x.Bytes()) || !y.Shape().Equal(tensor.Shape{2, 1}) {
				t.Errorf("%v from its bytes is %v (%v)", x, y, err)
			}
			odd := append([]byte{0}, raw...)[1:]
			y, err = make(x.DType(), odd, 2)
			if err != nil || !bytes.Equal(y.Bytes(), x.Bytes()) {
				t.Errorf("%v from bytes at an odd address is %v (%v)", x, y, err)
			}
			for _, bad := range [][]byte{raw[:len(raw)-1], append(slices.Clone(raw), 0), nil} {
				if _, err := make(x.DType(), bad, 2); !errors.Is(err, tensor.ErrShape) {
					t.Errorf("%v from %d bytes: %v", x.DType(), len(bad), err)
				}
			}
		}
		if c := x.Clone(); !bytes.Equal(c.Bytes(), raw) {
			t.Errorf("%v cloned is %v", x, c)
		}
	}
	if _, err := tensor.FromBytes(tensor.String, nil, 0); err == nil {
		t.Error("strings from bytes gave no error")
	}
	if x := tensor.Vector("a"); x.Bytes() != nil || tensor.Data[string](x.Clone())[0] != "a" {
		t.Error("strings have bytes, or are not cloned")
	}
	aligned := tensor.Vector[float32](1, 2).Bytes()
	v := tensor.Must(tensor.View(tensor.Float32, aligned, 2))
	if aligned[3] = 0xc0; tensor.Data[float32](v)[0] >= 0 {
		t.Error("a view of aligned bytes does not share them")
	}
	raw := []byte{0, 1, 2}
	b := tensor.Must(tensor.View(tensor.Bool, raw, 3))
	if !slices.Equal(tensor.Data[bool](b), []bool{false, true, true}) || !bytes.Equal(b.Bytes(), []byte{0, 1, 1}) {
		t.Errorf("booleans from %v are %v", raw, b.Bytes())
	}
	if x, err := tensor.View(tensor.Float32, nil, 0, 3); err != nil || x.Size() != 0 || x.Bytes() == nil {
		t.Errorf("a view of nothing: %v, %v", x, err)
	}
}

func TestMust(t *testing.T) {
	defer func() {
		if err, ok := recover().(error); !ok || !errors.Is(err, tensor.ErrShape) {
			t.Errorf("Must panicked with %v", err)
		}
	}()
	tensor.Must(tensor.New(tensor.Float32, -1))
}

func TestConcat(t *testing.T) {
	a, b := tensor.Must(tensor.Of([]int64{1, 2, 3, 4}, 2, 2)), tensor.Must(tensor.Of([]int64{5, 6}, 1, 2))
	c, err := tensor.Concat(a, tensor.Must(tensor.New(tensor.Int64, 0, 2)), b)
	if err != nil || !c.Shape().Equal(tensor.Shape{3, 2}) || !slices.Equal(tensor.Data[int64](c), []int64{1, 2, 3, 4, 5, 6}) {
		t.Fatalf("got %v, %v", c, err)
	}
	tensor.Data[int64](c)[0] = 9
	if tensor.Data[int64](a)[0] != 1 {
		t.Error("the result shares its part's memory")
	}
	if s, err := tensor.Concat(tensor.Vector("a"), tensor.Vector("b", "c")); err != nil || !slices.Equal(tensor.Data[string](s), []string{"a", "b", "c"}) {
		t.Errorf("strings: %v, %v", s, err)
	}
	for name, parts := range map[string][]*tensor.Tensor{
		"none": nil, "scalars": {tensor.Scalar(1.0)}, "a scalar among them": {tensor.Vector(1.0), tensor.Scalar(1.0)},
		"types": {tensor.Vector[int64](1), tensor.Vector(1.0)}, "lengths": {a, tensor.Must(tensor.New(tensor.Int64, 1, 3))}, "ranks": {a, tensor.Vector[int64](1, 2)},
	} {
		if got, err := tensor.Concat(parts...); !errors.Is(err, tensor.ErrShape) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
