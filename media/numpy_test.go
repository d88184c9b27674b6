package media_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// every has one tensor of each type that the format holds.
func every() map[string]*tensor.Tensor {
	return map[string]*tensor.Tensor{
		"float32": tensor.Must(tensor.Of([]float32{1, float32(math.Inf(-1)), 0, 1e-45, 5, 6}, 2, 3)), "float64": tensor.Vector(math.Pi, -0.5),
		"float16": tensor.Vector(tensor.HalfOf(1.5), tensor.HalfOf(-2)), "bfloat16": tensor.Vector(tensor.BHalfOf(3)),
		"bool": tensor.Vector(true, false, true), "string": tensor.Vector("", "zwölf", "漢字🙂"), "empty": tensor.Must(tensor.New(tensor.Float32, 0, 3)),
		"int8": tensor.Vector[int8](-128, 127), "uint8": tensor.Vector[uint8](255), "int16": tensor.Vector[int16](-3), "uint16": tensor.Vector[uint16](65535),
		"int32": tensor.Scalar[int32](-7), "uint32": tensor.Vector[uint32](1 << 31), "int64": tensor.Vector[int64](math.MinInt64, 1<<53+1),
		"uint64": tensor.Vector[uint64](math.MaxUint64), "complex64": tensor.Vector[complex64](1 + 2i), "complex128": tensor.Vector(3 - 4i),
	}
}

func same(a, b *tensor.Tensor) bool {
	return a.DType() == b.DType() && a.Shape().Equal(b.Shape()) && reflect.DeepEqual(a.Raw(), b.Raw())
}

func TestNPZKeepsEverything(t *testing.T) {
	want := every()
	var file bytes.Buffer
	if err := media.WriteNPZ(&file, want); err != nil {
		t.Fatal(err)
	}
	got, err := media.ReadNPZ(bytes.NewReader(file.Bytes()), int64(file.Len()), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Errorf("%d tensors, want %d", len(got), len(want))
	}
	for name, w := range want {
		if g := got[name]; g == nil || !same(g, w) {
			t.Errorf("%s: %v, want %v", name, g, w)
		}
	}
	again, err := media.ParseTensors("", file.Bytes())
	if err != nil || len(again) != len(want) {
		t.Errorf("sniffed: %d tensors, %v", len(again), err)
	}
}

// npy writes a file by hand, as NumPy would.
func npy(dict string, raw ...byte) []byte {
	head := dict + "\n"
	return append([]byte("\x93NUMPY\x01\x00"+string([]byte{byte(len(head)), byte(len(head) >> 8)})+head), raw...)
}

func TestNPYForms(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		want *tensor.Tensor
	}{
		{"big-endian", npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }", 1, 2, 0, 3), tensor.Vector[int16](258, 3)},
		{"columns first", npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", 1, 4, 2, 5, 3, 6), tensor.Must(tensor.Of([]uint8{1, 2, 3, 4, 5, 6}, 2, 3))},
		{"scalar", npy("{'descr': '|b1', 'fortran_order': False, 'shape': (), }", 2), tensor.Scalar(true)},
		{"bytes", npy("{'descr': '|S3', 'fortran_order': False, 'shape': (2,), }", 'a', 'b', 0, 'c', 0, 0), tensor.Vector("ab", "c")},
		{"big-endian text", npy("{'descr': '>U1', 'fortran_order': False, 'shape': (1,), }", 0, 0, 0, 'x'), tensor.Vector("x")},
		{"other spacing", npy(`{"shape":(1,),"fortran_order":False,"descr":"<u2"}`, 1, 0), tensor.Vector[uint16](1)},
		{"version 2", append([]byte("\x93NUMPY\x02\x00\x3b\x00\x00\x00"), []byte("{'descr': '|i1', 'fortran_order': False, 'shape': (1,), } \n\xff")...), tensor.Vector[int8](-1)},
	} {
		got, err := media.ReadNPY(bytes.NewReader(c.file), 1000)
		if err != nil || !same(got, c.want) {
			t.Errorf("%s: %v, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestNPYErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		file []byte
		is   error
		says string
	}{
		{"pickle", npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 0x80, 4), media.ErrUnsupportedType, "pickle"},
		{"record", npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }"), media.ErrUnsupportedType, "fields"},
		{"type", npy("{'descr': '<m8[ns]', 'fortran_order': False, 'shape': (1,), }"), media.ErrUnsupportedType, "m8"},
		{"short", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 1, 2, 3), media.ErrMalformed, "8 bytes"},
		{"claims much", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }"), media.ErrTooLarge, "limit"},
		{"overflows", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 3), }"), media.ErrMalformed, "shape"},
		{"negative", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), media.ErrMalformed, "shape"},
		{"no shape", npy("{'descr': '<f4', 'fortran_order': False, }"), media.ErrMalformed, "missing"},
		{"magic", []byte("\x93NUMPX\x01\x00  "), media.ErrMalformed, "begin"},
		{"version", []byte("\x93NUMPY\x09\x00  "), media.ErrMalformed, "version"},
		{"header size", []byte("\x93NUMPY\x02\x00\xff\xff\xff\xff"), media.ErrTooLarge, "header"},
		{"empty", nil, media.ErrMalformed, "cut off"},
		{"surrogate", npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", 0, 0xd8, 0, 0), media.ErrMalformed, "Unicode"},
	} {
		_, err := media.ReadNPY(bytes.NewReader(c.file), 1000)
		if !errors.Is(err, c.is) || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v; want %v with %q", c.name, err, c.is, c.says)
		}
	}
}

// Types that numpy and the protocol lack are refused by name.
func TestSmallTypesAreRefused(t *testing.T) {
	for _, x := range []*tensor.Tensor{tensor.Vector[tensor.E4M3FN](1), tensor.Vector[tensor.I4](1), tensor.Vector[tensor.E8M0](1), tensor.Vector[tensor.U2](1)} {
		if err := media.WriteNPY(io.Discard, x); !errors.Is(err, media.ErrUnsupportedType) || !strings.Contains(err.Error(), x.DType().String()) {
			t.Errorf(".npy of %v: %v", x.DType(), err)
		}
		if _, err := media.AppendJSON(nil, "x", x); !errors.Is(err, media.ErrUnsupportedType) || !strings.Contains(err.Error(), x.DType().String()) {
			t.Errorf("JSON of %v: %v", x.DType(), err)
		}
	}
}

func TestZipBombIsLimited(t *testing.T) {
	var file bytes.Buffer
	w := zip.NewWriter(&file)
	for i := range 3 {
		f, err := w.Create(fmt.Sprintf("t%d.npy", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := media.WriteNPY(f, tensor.Must(tensor.New(tensor.Uint8, 1<<20))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if file.Len() > 1<<14 {
		t.Fatalf("the bomb has %d bytes", file.Len())
	}
	if _, err := media.ReadNPZ(bytes.NewReader(file.Bytes()), int64(file.Len()), 2<<20); !errors.Is(err, media.ErrTooLarge) {
		t.Errorf("three tensors of 1 MiB within 2 MiB: %v", err)
	}
	if all, err := media.ReadNPZ(bytes.NewReader(file.Bytes()), int64(file.Len()), 3<<20); err != nil || len(all) != 3 {
		t.Errorf("within 3 MiB: %d tensors, %v", len(all), err)
	}
}

func TestDecodeNPY(t *testing.T) {
	pixels := tensor.Must(tensor.Of([]uint8{0, 51, 102, 255}, 1, 2, 2))
	wide := tensor.Must(tensor.Of([]int64{-1, 2, 3, 4}, 2, 2, 1))
	for _, c := range []struct {
		name string
		in   *tensor.Tensor
		want []float64
		err  error
	}{
		{"pixels", pixels, []float64{0, .2, .4, 1}, nil},
		{"numbers", wide, []float64{-1, 2, 3, 4}, nil},
		{"a batch of one", tensor.Must(wide.Reshape(1, 1, 2, 2)), []float64{-1, 2, 3, 4}, nil},
		{"flat", tensor.Must(wide.Reshape(4)), []float64{-1, 2, 3, 4}, nil},
		{"other shape", tensor.Must(wide.Reshape(4, 1)), nil, media.ErrShape},
		{"too many", tensor.Must(tensor.New(tensor.Float32, 2, 2, 2)), nil, media.ErrShape},
		{"NaN", tensor.Vector(0, 1, 2, math.NaN()), nil, media.ErrNotFinite},
		{"text", tensor.Vector("1", "2", "3", "4"), nil, media.ErrShape},
	} {
		var file bytes.Buffer
		if err := media.WriteNPY(&file, c.in); err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"application/x-npy", ""} {
			got, err := decoder(t, spec(tensor.Float32, 1, 2, 2)).Decode(kind, file.Bytes())
			if !errors.Is(err, c.err) {
				t.Errorf("%s: %v, want %v", c.name, err, c.err)
			}
			for i, want := range c.want {
				if err == nil && math.Abs(element(got, i)-want) > 1e-6 {
					t.Errorf("%s: element %d is %v, want %v", c.name, i, element(got, i), want)
				}
			}
		}
	}
	var file bytes.Buffer
	if err := media.WriteNPY(&file, tensor.Vector(1, 2.5)); err != nil {
		t.Fatal(err)
	}
	if _, err := decoder(t, spec(tensor.Int32, 2)).Decode("", file.Bytes()); !errors.Is(err, media.ErrShape) {
		t.Errorf("2.5 as an integer: %v", err)
	}
}
