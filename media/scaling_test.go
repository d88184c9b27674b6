package media_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// numbers has the same numbers in every type that holds them.
func numbers(shape ...int) []*tensor.Tensor {
	n := tensor.Shape(shape).Size()
	all := []*tensor.Tensor{
		tensor.Vector(make([]float32, n)...), tensor.Vector(make([]float64, n)...), tensor.Vector(make([]uint8, n)...),
		tensor.Vector(make([]int16, n)...), tensor.Vector(make([]uint16, n)...), tensor.Vector(make([]int32, n)...), tensor.Vector(make([]uint32, n)...),
		tensor.Vector(make([]int64, n)...), tensor.Vector(make([]uint64, n)...), tensor.Vector(make([]tensor.Half, n)...),
	}
	for i, t := range all {
		for k := range n {
			v := 10 + 10*(k%20)
			switch d := t.Raw().(type) {
			case []float32:
				d[k] = float32(v)
			case []float64:
				d[k] = float64(v)
			case []uint8:
				d[k] = uint8(v)
			case []int16:
				d[k] = int16(v)
			case []uint16:
				d[k] = uint16(v)
			case []int32:
				d[k] = int32(v)
			case []uint32:
				d[k] = uint32(v)
			case []int64:
				d[k] = int64(v)
			case []uint64:
				d[k] = uint64(v)
			case []tensor.Half:
				d[k] = tensor.HalfOf64(float64(v))
			}
		}
		all[i] = tensor.Must(t.Reshape(shape...))
	}
	return all
}

// Numbers are numbers in whatever type they come, by every way, and raw bytes too, where the model takes features.
func TestFeaturesAreNotScaled(t *testing.T) {
	for _, shape := range []tensor.Shape{{3}, {4}, {9}, {64}, {784}, {1, 5}, {5, 1}, {1, 1, 9}} {
		d := decoder(t, spec(tensor.Float32, shape...))
		check := func(how, kind string, data []byte) {
			t.Helper()
			got, err := d.Decode(kind, data)
			if err != nil {
				t.Errorf("%v, %s: %v", shape, how, err)
				return
			}
			for i := range got.Size() {
				if v := element(got, i); v != float64(10+10*(i%20)) {
					t.Fatalf("%v, %s: element %d is %v", shape, how, i, v)
				}
			}
		}
		for _, in := range numbers(shape...) {
			how := in.DType().String()
			var file, archive bytes.Buffer
			if err := media.WriteNPY(&file, in); err != nil {
				t.Fatal(err)
			}
			check(how+" .npy", "application/x-npy", file.Bytes())
			if err := media.WriteNPZ(&archive, map[string]*tensor.Tensor{"x": in}); err != nil {
				t.Fatal(err)
			}
			check(how+" .npz", "application/x-npz", archive.Bytes())
			text, err := media.AppendJSON(nil, "x", in)
			if err != nil {
				t.Fatal(err)
			}
			check(how+" JSON", "application/json", fmt.Appendf(nil, `{"inputs":[%s]}`, text))
		}
		raw := make([]byte, shape.Size())
		for i := range raw {
			raw[i] = byte(10 + 10*(i%20))
		}
		check("raw bytes", "application/octet-stream", raw)
		list := strings.Repeat(",%d", len(raw))[1:]
		var values []any
		for _, b := range raw {
			values = append(values, b)
		}
		check("a list", "application/json", fmt.Appendf(nil, "["+list+"]", values...))
	}
}

// The bytes of a picture are its samples, in a file, an array and raw; other arrays are numbers.
func TestPicturesAreScaled(t *testing.T) {
	with := func(change func(*media.Spec)) media.Spec {
		s := spec(tensor.Float32, 784)
		change(&s)
		return s
	}
	for name, s := range map[string]media.Spec{
		"channels first": spec(tensor.Float32, 1, 28, 28), "channels last": spec(tensor.Float32, 28, 28, 1), "without channels": spec(tensor.Float32, 28, 28),
		"flat with a scale": with(func(s *media.Spec) { s.Scale = 1. / 255 }), "flat with a deviation": with(func(s *media.Spec) { s.Std = []float64{1} }),
		"flat with a mean": with(func(s *media.Spec) { s.Mean = []float64{0} }), "flat with a layout": with(func(s *media.Spec) { s.Layout = "NCHW" }),
	} {
		for _, in := range numbers(s.Shape...) {
			var file bytes.Buffer
			if err := media.WriteNPY(&file, in); err != nil {
				t.Fatal(err)
			}
			want := 10.0
			if in.DType() == tensor.Uint8 {
				want = 10. / 255
				if got := element(decode(t, s, "application/octet-stream", in.Bytes()), 0); math.Abs(got-want) > 1e-6 {
					t.Errorf("%s, raw bytes: %v, want %v", name, got, want)
				}
			}
			if got := element(decode(t, s, "application/x-npy", file.Bytes()), 0); math.Abs(got-want) > 1e-6 {
				t.Errorf("%s, %v: %v, want %v", name, in.DType(), got, want)
			}
		}
	}
	// A file is a picture even where the item is flat and nothing says more.
	if got := element(decode(t, spec(tensor.Float32, 1), "image/png", encodePNG(t, digit())), 0); got > 1 {
		t.Errorf("a picture for a flat input: %v", got)
	}
	// What the metadata says of raw bytes holds for features too; arrays are numbers still.
	s := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{3}, Scale: 0.5, Mean: []float64{1}, Std: []float64{2}}
	if got := element(decode(t, s, "", []byte{10, 20, 30}), 1); got != 4.5 {
		t.Errorf("raw bytes with a scale: %v", got)
	}
	for _, in := range numbers(3) {
		var file bytes.Buffer
		if err := media.WriteNPY(&file, in); err != nil {
			t.Fatal(err)
		}
		if got := element(decode(t, s, "", file.Bytes()), 1); got != 20 {
			t.Errorf("%v with a scale: %v", in.DType(), got)
		}
	}
}

// An archive that was packed by a system has files that nobody put there.
func TestNPZWithLeftovers(t *testing.T) {
	all, err := media.ParseTensors("application/x-npz", zipOf(t,
		[2]string{"x.npy", npyText(t, 1)}, [2]string{"__MACOSX/", ""}, [2]string{"__MACOSX/._x.npy", "\x00\x05\x16\x07\x00\x02"},
		[2]string{".DS_Store", "\x00\x00\x00\x01Bud1"}, [2]string{"._y.npy", npyText(t, 2)}))
	if err != nil || len(all) != 2 || all["x"] == nil || all["._y"] == nil {
		t.Errorf("got %v, %v", all, err)
	}
	if _, err := media.ParseTensors("application/x-npz", zipOf(t, [2]string{"x.txt", "hello"})); err == nil {
		t.Error("a text is let through")
	}
}

func zipOf(t *testing.T, files ...[2]string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		out, err := w.Create(f[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(f[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func npyText(t *testing.T, v float32) string {
	t.Helper()
	var file bytes.Buffer
	if err := media.WriteNPY(&file, tensor.Vector(v)); err != nil {
		t.Fatal(err)
	}
	return file.String()
}
