package media_test

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// kinds that Sniff tells apart, and one that it does not know.
var kinds = []string{"", "image/png", "image/jpeg", "application/json", "application/x-npy", "application/x-npz", "text/plain", "video/mp4"}

// seeds has a small file of each kind.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	var photo, array, archive bytes.Buffer
	if err := jpeg.Encode(&photo, digit(), nil); err != nil {
		f.Fatal(err)
	}
	if err := media.WriteNPY(&array, tensor.Vector[float32](1, 2, 3, 4)); err != nil {
		f.Fatal(err)
	}
	if err := media.WriteNPZ(&archive, every()); err != nil {
		f.Fatal(err)
	}
	deep := image.NewRGBA64(image.Rect(0, 0, 2, 3))
	deep.SetRGBA64(1, 1, color.RGBA64{R: 1000, G: 2000, B: 3000, A: 65535})
	colours := image.NewNRGBA(image.Rect(0, 0, 3, 3))
	colours.SetNRGBA(1, 1, color.NRGBA{1, 2, 3, 4})
	return [][]byte{photo.Bytes(), array.Bytes(), archive.Bytes(), encodePNG(f, digit()), encodePNG(f, colours), encodePNG(f, deep), encodePNG(f, grey16(2, 200, 100, 255, 0)), digit().Pix,
		withExif(photo.Bytes(), exif(binary.BigEndian, 6)),
		[]byte("[[1,2],[3,-4e-1]]"), []byte(`{"inputs":[{"name":"x","shape":[4],"datatype":"FP32","data":[1,2,3,4]}]}`),
		npy("{'descr': '>f2', 'fortran_order': True, 'shape': (2, 2), }", 1, 2, 3, 4, 5, 6, 7, 8)}
}

func FuzzDecode(f *testing.F) {
	for _, data := range seeds(f) {
		for k := range kinds {
			f.Add(byte(k), data)
		}
	}
	specs := []media.Spec{
		{DType: tensor.Float32, Shape: tensor.Shape{1, 28, 28}, Invert: "auto", Centre: "mnist", MaxPixels: 1 << 16},
		{DType: tensor.Uint8, Shape: tensor.Shape{5, 7, 3}, MaxPixels: 1 << 16}, {DType: tensor.Float16, Shape: tensor.Shape{2, 2}, MaxPixels: 1 << 16},
		{DType: tensor.String, Shape: tensor.Shape{1}}, {DType: tensor.Int64, Shape: tensor.Shape{4}}, {DType: tensor.Bool, Shape: tensor.Shape{}},
		{DType: tensor.Uint16, Shape: tensor.Shape{3, 4, 4}, Invert: "auto", MaxPixels: 1 << 16},
	}
	var all []*media.Decoder
	for _, s := range specs {
		all = append(all, decoder(f, s))
	}
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		for _, d := range all {
			got, err := d.Decode(kinds[int(kind)%len(kinds)], data)
			if err != nil {
				continue
			}
			if !got.Shape().Equal(d.Spec().Shape) || got.DType() != d.Spec().DType {
				t.Errorf("%v, want %v%v", got, d.Spec().DType, d.Spec().Shape)
			}
			if err := media.CheckNaN(got); err != nil {
				t.Error(err)
			}
		}
	})
}

func FuzzParseTensors(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := media.ParseTensors("", data)
		if err != nil {
			return
		}
		var file bytes.Buffer
		if err := media.WriteNPZ(&file, all); err != nil {
			t.Skip(err) // names that a zip cannot hold
		}
		again, err := media.ReadNPZ(bytes.NewReader(file.Bytes()), int64(file.Len()), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range all {
			got := again[name]
			if got == nil || got.DType() != want.DType() || !got.Shape().Equal(want.Shape()) || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%q: %v, want %v", name, got, want)
			}
		}
	})
}

// The reader for common PNGs and image/png must agree on every file that both read.
func FuzzPNGAgrees(f *testing.F) {
	f.Add(uint16(3), uint16(2), []byte("some samples of pixels, as many as it takes"), byte(0))
	f.Fuzz(func(t *testing.T, w, h uint16, samples []byte, kind byte) {
		width, height := int(w%64)+1, int(h%64)+1
		if len(samples) == 0 {
			return
		}
		m := image.NewNRGBA(image.Rect(0, 0, width, height))
		for i := range m.Pix {
			m.Pix[i] = samples[i%len(samples)]
		}
		var source image.Image = m
		if kind%2 == 1 {
			grey := image.NewGray(m.Rect)
			copy(grey.Pix, m.Pix)
			source = grey
		}
		s := media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{height, width, 3}, Layout: media.NHWC}
		got := tensor.Data[uint8](decode(t, s, "image/png", encodePNG(t, source)))
		for i := range width * height {
			var want [3]uint8
			if grey, ok := source.(*image.Gray); ok {
				want = [3]uint8{grey.Pix[i], grey.Pix[i], grey.Pix[i]}
			} else {
				a := int(m.Pix[4*i+3])
				for c := range 3 {
					want[c] = uint8((int(m.Pix[4*i+c])*a + 255*(255-a) + 127) / 255)
				}
			}
			if [3]uint8(got[3*i:][:3]) != want {
				t.Fatalf("pixel %d is %v, want %v", i, got[3*i:][:3], want)
			}
		}
	})
}
