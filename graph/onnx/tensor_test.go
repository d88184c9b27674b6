package onnx_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/tensor"
)

// allTypes has a tensor of every element type, with values at the ends of its range.
func allTypes() []*tensor.Tensor {
	must := tensor.Must
	return []*tensor.Tensor{
		must(tensor.Of([]float32{0, -1.5, 3e38}, 3)), must(tensor.Of([]float64{1e-300, -2}, 2, 1)),
		tensor.Vector[int8](-128, 127), tensor.Vector[int16](-32768, 32767), tensor.Vector[int32](-1<<31, 1<<31-1),
		tensor.Vector[int64](-1<<63, 1<<63-1), tensor.Vector[uint8](0, 255), tensor.Vector[uint16](0, 65535),
		tensor.Vector[uint32](0, 1<<32-1), tensor.Vector[uint64](0, 1<<64-1), tensor.Vector(true, false),
		tensor.Vector("", "ü", "\xff"), tensor.Vector(tensor.HalfOf(1.5), tensor.Half(0xfc00)),
		tensor.Vector(tensor.BHalfOf(1.5), tensor.BHalf(0x7f80)), tensor.Vector(complex64(1 - 2i)), tensor.Vector(1e300 - 2i),
		tensor.Vector[tensor.E4M3FN](0, 0x7e, 0xff), tensor.Vector[tensor.E4M3FNUZ](0x80), tensor.Vector[tensor.E5M2](0x7c, 0xfb),
		tensor.Vector[tensor.E5M2FNUZ](1), tensor.Vector[tensor.E8M0](0, 127, 255), tensor.Vector[tensor.E2M1](0, 7, 15),
		tensor.Vector[tensor.I4](-8, 7, -1), must(tensor.Of([]tensor.U4{0, 15, 9, 1}, 2, 2)), tensor.Vector[tensor.I2](-2, 1, 0, -1, 1),
		tensor.Vector[tensor.U2](3, 0, 2), tensor.Scalar[tensor.I4](-3), must(tensor.New(tensor.Int4, 0)),
		tensor.Scalar[float32](7), must(tensor.New(tensor.Float32, 0, 5)), must(tensor.New(tensor.String, 0)),
	}
}

func TestTensorTypes(t *testing.T) {
	for _, want := range allTypes() {
		data, err := onnx.EncodeTensor("t", want)
		if err != nil {
			t.Errorf("%v: %v", want, err)
			continue
		}
		got, err := onnx.DecodeTensor(data)
		if err != nil || !sameTensor(got, want) {
			t.Errorf("%v came back as %v (%v)", want, got, err)
		}
	}
}

// The typed fields hold several types each; numbers may be packed or single.
func TestTensorTypedFields(t *testing.T) {
	tests := []struct {
		name string
		data []byte
		want *tensor.Tensor
	}{
		{"int32 packed", pb(1, 2, 2, 6, 5, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), tensor.Vector[int32](1, -1)},
		{"int32 single", pb(1, 2, 2, 6, 5, 1, 5, -1), tensor.Vector[int32](1, -1)},
		{"int8", pb(1, 1, 2, 3, 5, -128), tensor.Vector[int8](-128)},
		{"uint16", pb(1, 1, 2, 4, 5, 65535), tensor.Vector[uint16](65535)},
		{"bool", pb(1, 2, 2, 9, 5, 1, 5, 0), tensor.Vector(true, false)},
		{"float16", pb(1, 1, 2, 10, 5, 0x3c00), tensor.Vector(tensor.HalfOf(1))},
		{"bfloat16", pb(1, 1, 2, 16, 5, 0x3f80), tensor.Vector(tensor.BHalfOf(1))},
		{"int64", pb(1, 1, 2, 7, 7, -5), tensor.Vector[int64](-5)},
		{"uint32", pb(1, 1, 2, 12, 11, 1<<32-1), tensor.Vector[uint32](1<<32 - 1)},
		{"uint64", pb(1, 1, 2, 13, 11, -1), tensor.Vector[uint64](1<<64 - 1)},
		{"float", pb(1, 1, 2, 1, 4, "\x00\x00\x80\x3f"), tensor.Vector[float32](1)},
		{"complex64", pb(1, 1, 2, 14, 4, "\x00\x00\x80\x3f\x00\x00\x00\x40"), tensor.Vector(complex64(1 + 2i))},
		{"double", pb(1, 1, 2, 11, 10, "\x00\x00\x00\x00\x00\x00\xf0\x3f"), tensor.Vector(1.0)},
		{"scalar", pb(2, 7, 7, 4), tensor.Scalar[int64](4)},
		{"dims packed", pb(1, "\x01\x02", 2, 3, 5, 1, 5, 2), tensor.Must(tensor.Of([]int8{1, 2}, 1, 2))},
		{"float8 by its bits", pb(1, 2, 2, 17, 5, 0x7e, 5, 255), tensor.Vector[tensor.E4M3FN](0x7e, 0xff)},
		{"int4 in pairs", pb(1, 3, 2, 22, 5, 0x78, 5, 0x0f), tensor.Vector[tensor.I4](-8, 7, -1)},
		{"int4, the byte negative", pb(1, 2, 2, 22, 5, -8), tensor.Vector[tensor.I4](-8, -1)},
		{"uint2 in fours, packed", pb(1, 5, 2, 25, 5, "\xe4\x01\x02"), tensor.Vector[tensor.U2](0, 1, 2, 3, 2)},
		{"float4 raw", pb(1, 3, 2, 23, 9, "\x7f\x0a"), tensor.Vector[tensor.E2M1](15, 7, 10)},
		{"raw bool", pb(1, 2, 2, 9, 9, "\x02\x00"), tensor.Vector(true, false)},
	}
	for _, tt := range tests {
		got, err := onnx.DecodeTensor(tt.data)
		if err != nil || !sameTensor(got, tt.want) {
			t.Errorf("%s: got %v (%v), want %v", tt.name, got, err, tt.want)
		}
	}
}

// external makes a model whose initializer lies in a file.
func external(location, offset, length string) []byte {
	f := []any{1, 2, 2, 1, 14, 1, 13, pb(1, "location", 2, location)}
	if offset != "" {
		f = append(f, 13, pb(1, "offset", 2, offset))
	}
	if length != "" {
		f = append(f, 13, pb(1, "length", 2, length))
	}
	return withInit(f...)
}

func TestExternalData(t *testing.T) {
	content := []byte("____\x00\x00\x80\x3f\x00\x00\x00\x40")
	folder := fstest.MapFS{"w.bin": {Data: content}, "sub/w.bin": {Data: content}, "dir/x": {}}
	for _, location := range []string{"w.bin", "./w.bin", "sub/w.bin"} {
		g, err := onnx.Decode(external(location, "4", "8"), onnx.Options{External: folder})
		if err != nil || !sameTensor(g.Initializer("w"), tensor.Vector[float32](1, 2)) {
			t.Errorf("%s: %v, %v", location, g, err)
		}
	}
	refused := []struct{ location, offset, length, say string }{
		{"../w.bin", "4", "8", "inside the model's folder"}, {"/w.bin", "4", "8", "inside the model's folder"},
		{"sub/../w.bin", "4", "8", "inside"}, {`..\w.bin`, "4", "8", "inside"}, {"", "4", "8", "inside"},
		{"dir", "0", "8", "not a regular file"}, {"none.bin", "0", "8", "not exist"}, {"w.bin", "5", "8", "it has 12"},
		{"w.bin", "-4", "8", "offset"}, {"w.bin", "x", "8", "offset"}, {"w.bin", "9223372036854775807", "8", "it has 12"},
		{"w.bin", "0", "12", "length says 12"},
	}
	for _, r := range refused {
		_, err := onnx.Decode(external(r.location, r.offset, r.length), onnx.Options{External: folder})
		if err == nil || !strings.Contains(err.Error(), r.say) || !errors.Is(err, onnx.ErrExternal) && !errors.Is(err, onnx.ErrFormat) {
			t.Errorf("%q at %s: %v; want an error with %q", r.location, r.offset, err, r.say)
		}
	}
}

// On a disk, neither links nor special files lead out of the folder.
func TestExternalDataFiles(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "secret.bin")
	for name, data := range map[string][]byte{
		secret: make([]byte, 8), filepath.Join(dir, "w.bin"): make([]byte, 8),
		filepath.Join(dir, "good.onnx"): external("w.bin", "", ""), filepath.Join(dir, "link.onnx"): external("link.bin", "", ""),
		filepath.Join(dir, "folder.onnx"): external("out/secret.bin", "", ""),
	} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(secret, filepath.Join(dir, "link.bin")), os.Symlink(outside, filepath.Join(dir, "out"))); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	if _, err := onnx.Open(filepath.Join(dir, "good.onnx")); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"link.onnx", "folder.onnx"} {
		if _, err := onnx.Open(filepath.Join(dir, name)); !errors.Is(err, onnx.ErrExternal) {
			t.Errorf("%s: %v; want ErrExternal", name, err)
		}
	}
	if _, err := onnx.Open(dir); err == nil {
		t.Error("a folder was opened as a model")
	}
	if _, err := onnx.OpenWith(filepath.Join(dir, "good.onnx"), onnx.Options{MaxBytes: 10}); err == nil || !strings.Contains(err.Error(), "limit is 10") {
		t.Errorf("a limit of 10 bytes: %v", err)
	}
}

// Tensors that take the same part of a small file again and again are refused.
func TestExternalDataBomb(t *testing.T) {
	const size = 1 << 20
	folder := fstest.MapFS{"w.bin": {Data: make([]byte, size)}}
	fields := relu()
	for i := range 100 {
		fields = append(fields, 5, pb(8, "w"+string(rune('0'+i)), 1, size/4, 2, 1, 14, 1, 13, pb(1, "location", 2, "w.bin")))
	}
	_, err := onnx.Decode(model(fields...), onnx.Options{External: folder})
	if !errors.Is(err, onnx.ErrExternal) || !strings.Contains(err.Error(), "twice its size") {
		t.Errorf("got %v", err)
	}
}
