package media_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/media/stroke"
	"github.com/millrace/millrace/tensor"
)

func decoder(tb testing.TB, s media.Spec) *media.Decoder {
	tb.Helper()
	d, err := media.NewDecoder(s)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func decode(tb testing.TB, s media.Spec, kind string, data []byte) *tensor.Tensor {
	tb.Helper()
	t, err := decoder(tb, s).Decode(kind, data)
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

func spec(d tensor.DType, shape ...int) media.Spec { return media.Spec{DType: d, Shape: shape} }

func TestValidate(t *testing.T) {
	for name, s := range map[string]media.Spec{
		"no type":      {Shape: tensor.Shape{1}},
		"no elements":  spec(tensor.Float32, 0),
		"negative":     spec(tensor.Float32, -1, 28),
		"layout":       {DType: tensor.Float32, Shape: tensor.Shape{4}, Layout: "CHW"},
		"invert":       {DType: tensor.Float32, Shape: tensor.Shape{4}, Invert: "yes"},
		"centre":       {DType: tensor.Float32, Shape: tensor.Shape{4}, Centre: "middle"},
		"centre shape": {DType: tensor.Float32, Shape: tensor.Shape{3, 28, 28}, Centre: "mnist"},
		"std zero":     {DType: tensor.Float32, Shape: tensor.Shape{4}, Std: []float64{0}},
		"mean count":   {DType: tensor.Float32, Shape: tensor.Shape{3, 8, 8}, Mean: []float64{1, 2}},
		"mean NaN":     {DType: tensor.Float32, Shape: tensor.Shape{4}, Mean: []float64{math.NaN()}},
		"scale":        {DType: tensor.Float32, Shape: tensor.Shape{4}, Scale: math.Inf(1)},
		"pixels":       {DType: tensor.Float32, Shape: tensor.Shape{4}, MaxPixels: -1},
	} {
		if _, err := media.NewDecoder(s); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	err := media.Spec{Shape: tensor.Shape{4}, Layout: "x", Invert: "y"}.Validate()
	for _, part := range []string{"element type", "layout", "invert"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not reported in %v", part, err)
		}
	}
}

func TestPixelsBecomeElements(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 2, 1))
	m.Set(0, 0, color.RGBA{255, 0, 51, 255})
	m.Set(1, 0, color.RGBA{0, 102, 204, 255})
	data := encodePNG(t, m)
	for _, c := range []struct {
		name string
		spec media.Spec
		want []float64
	}{
		{"planes", media.Spec{DType: tensor.Float32, Shape: tensor.Shape{3, 1, 2}}, []float64{1, 0, 0, .4, .2, .8}},
		{"interleaved", media.Spec{DType: tensor.Float64, Shape: tensor.Shape{1, 2, 3}, Layout: "NHWC"}, []float64{1, 0, .2, 0, .4, .8}},
		{"bytes", media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{1, 2, 3}, Layout: "NHWC"}, []float64{255, 0, 51, 0, 102, 204}},
		{"normalized", media.Spec{DType: tensor.Float32, Shape: tensor.Shape{3, 1, 2}, Mean: []float64{.5, .4, .2}, Std: []float64{.5, 1, 2}},
			[]float64{1, -1, -.4, 0, 0, .3}},
		{"scaled", media.Spec{DType: tensor.Float16, Shape: tensor.Shape{3, 1, 2}, Scale: 2}, []float64{510, 0, 0, 204, 102, 408}},
		{"inverted", media.Spec{DType: tensor.Int32, Shape: tensor.Shape{3, 1, 2}, Invert: "true"}, []float64{0, 255, 255, 153, 204, 51}},
		{"grey", media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{1, 1, 2}}, []float64{82, 83}},
	} {
		got := decode(t, c.spec, "image/png", data)
		for i, want := range c.want {
			if v := element(got, i); math.Abs(v-want) > 1e-6 {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, v, want)
			}
		}
	}
}

// element reads element i of the types used in these tests.
func element(t *tensor.Tensor, i int) float64 {
	switch d := t.Raw().(type) {
	case []float32:
		return float64(d[i])
	case []float64:
		return d[i]
	case []uint8:
		return float64(d[i])
	case []int16:
		return float64(d[i])
	case []uint16:
		return float64(d[i])
	case []int32:
		return float64(d[i])
	case []int64:
		return float64(d[i])
	case []tensor.Half:
		return float64(d[i].Float32())
	}
	return math.NaN()
}

func TestTransparentIsWhite(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	m.SetNRGBA(0, 0, color.NRGBA{0, 0, 0, 0})
	m.SetNRGBA(1, 0, color.NRGBA{0, 0, 0, 255})
	m.SetNRGBA(2, 0, color.NRGBA{0, 0, 0, 51})
	got := tensor.Data[uint8](decode(t, spec(tensor.Uint8, 1, 1, 3), "image/png", encodePNG(t, m)))
	if !slices.Equal(got, []uint8{255, 0, 204}) {
		t.Errorf("got %v", got)
	}
}

// Every form that image/png writes decodes to the same numbers, whichever of the two readers takes it.
func TestPNGForms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	grey := image.NewGray(image.Rect(0, 0, 31, 17))
	for i := range grey.Pix {
		grey.Pix[i] = byte(r.IntN(256))
	}
	rgba, nrgba, deep := image.NewRGBA(grey.Rect), image.NewNRGBA(grey.Rect), image.NewGray16(grey.Rect)
	palette := make(color.Palette, 256)
	for i := range palette {
		palette[i] = color.Gray{byte(i)}
	}
	paletted := image.NewPaletted(grey.Rect, palette)
	for y := range 17 {
		for x := range 31 {
			v := grey.GrayAt(x, y)
			rgba.Set(x, y, v)
			nrgba.Set(x, y, v)
			deep.Set(x, y, v)
			paletted.Set(x, y, v)
		}
	}
	for name, m := range map[string]image.Image{"grey": grey, "rgba": rgba, "nrgba": nrgba, "16 bit": deep, "palette": paletted} {
		for _, channels := range []int{1, 3} {
			got := tensor.Data[uint8](decode(t, spec(tensor.Uint8, 17, 31, channels), "", encodePNG(t, m)))
			for i, v := range grey.Pix {
				for c := range channels {
					if got[i*channels+c] != v {
						t.Fatalf("%s with %d channels: pixel %d is %d, want %d", name, channels, i, got[i*channels+c], v)
					}
				}
			}
		}
	}
}

func TestJPEG(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 32, 32))
	for i := range m.Pix {
		m.Pix[i] = byte(i / 32 * 8)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"image/jpeg", "image/jpg", "", "application/octet-stream; charset=binary"} {
		got := tensor.Data[float32](decode(t, spec(tensor.Float32, 1, 16, 16), kind, b.Bytes()))
		for y := range 16 {
			want := (float64(y)*16 + 4) / 255
			if v := float64(got[y*16+8]); math.Abs(v-want) > 0.02 {
				t.Errorf("row %d is %.3f, want %.3f", y, v, want)
			}
		}
	}
}

func TestRaw(t *testing.T) {
	exact := tensor.Vector[float32](1, 2, 3, 4)
	for _, c := range []struct {
		name string
		spec media.Spec
		data []byte
		want []float64
	}{
		{"own memory", spec(tensor.Float32, 4), exact.Bytes(), []float64{1, 2, 3, 4}},
		{"a byte each", spec(tensor.Float32, 2, 2), []byte{0, 51, 102, 255}, []float64{0, .2, .4, 1}},
		{"bytes for integers", spec(tensor.Int64, 4), []byte{9, 0, 255, 1}, []float64{9, 0, 255, 1}},
		{"bytes that look like JSON", spec(tensor.Uint8, 4), []byte("[1!]"), []float64{'[', '1', '!', ']'}},
		{"JSON without its type", spec(tensor.Float32, 2, 2), []byte(" [[1,2],[3,4]]\n"), []float64{1, 2, 3, 4}},
	} {
		d := decoder(t, c.spec)
		got, err := d.Decode("", c.data)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for i, want := range c.want {
			if v := element(got, i); math.Abs(v-want) > 1e-6 {
				t.Errorf("%s: element %d is %v, want %v", c.name, i, v, want)
			}
		}
	}
	words := decode(t, spec(tensor.String, 1), "text/plain; charset=utf-8", []byte("a word"))
	if tensor.Data[string](words)[0] != "a word" {
		t.Errorf("got %v", words)
	}
}

func TestRowsOfABatch(t *testing.T) {
	d := decoder(t, spec(tensor.Float32, 1, 2, 2))
	batch := tensor.Must(tensor.New(tensor.Float32, 3, 1, 2, 2))
	for row, v := range []byte{255, 51, 102} {
		if err := d.DecodeInto(batch, row, "", []byte{v, v, v, v}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.DecodeInto(batch, 1, "image/png", []byte("no picture")); !errors.Is(err, media.ErrMalformed) {
		t.Errorf("a bad row: %v", err)
	}
	got := tensor.Data[float32](batch)
	if got[0] != 1 || got[3] != 1 || got[8] != 102.0/255 || got[11] != 102.0/255 {
		t.Errorf("the neighbours changed: %v", got)
	}
	for _, bad := range []struct {
		dst *tensor.Tensor
		row int
	}{{batch, 3}, {batch, -1}, {tensor.Must(tensor.New(tensor.Float32, 3, 4)), 0}, {tensor.Must(tensor.New(tensor.Float64, 3, 1, 2, 2)), 0}} {
		if err := d.DecodeInto(bad.dst, bad.row, "", []byte{1, 2, 3, 4}); !errors.Is(err, media.ErrShape) {
			t.Errorf("row %d of %v: %v", bad.row, bad.dst.Shape(), err)
		}
	}
}

func TestErrorsSayWhy(t *testing.T) {
	picture := encodePNG(t, digit())
	nan := tensor.Vector(1, 2, float32(math.NaN()), 4)
	for _, c := range []struct {
		name string
		spec media.Spec
		kind string
		data []byte
		is   error
		says string
	}{
		{"type", spec(tensor.Float32, 1, 28, 28), "text/html", picture, media.ErrUnsupportedType, "text/html"},
		{"no picture", spec(tensor.Float32, 3), "image/png", picture, media.ErrUnsupportedType, "float32[3]"},
		{"cut", spec(tensor.Float32, 1, 28, 28), "image/png", picture[:len(picture)/2], media.ErrMalformed, "the PNG is cut off or damaged"},
		{"empty", spec(tensor.Float32, 1, 28, 28), "image/png", nil, media.ErrMalformed, "the entry is empty"},
		{"empty raw", spec(tensor.Float32, 1, 28, 28), "", nil, media.ErrShape, "784"},
		{"sizes", spec(tensor.Float32, 1, 28, 28), "", make([]byte, 785), media.ErrShape, "3136"},
		{"not a number", spec(tensor.Float32, 2, 2), "", nan.Bytes(), media.ErrNotFinite, "[1,0]"},
		{"not a number in JSON", spec(tensor.Float32, 2, 2), "application/json", []byte("[[1,2],[3,NaN]]"), media.ErrNotFinite, "[1,1]"},
		{"half", spec(tensor.Float16, 2), "", []byte{0, 0, 1, 0xfe}, media.ErrNotFinite, "[1]"},
		{"JSON shape", spec(tensor.Float32, 2, 2), "application/json", []byte("[[1,2,3]]"), media.ErrShape, "[1,3]"},
		{"JSON ragged", spec(tensor.Float32, 2, 2), "application/json", []byte("[[1,2],[3]]"), media.ErrMalformed, "byte 9"},
		{"JSON text", spec(tensor.Float32, 2), "application/json", []byte(`[1,"2"]`), media.ErrMalformed, "where a number should be"},
		{"JSON range", spec(tensor.Int8, 2), "application/json", []byte(`[1,200]`), media.ErrMalformed, "element 1: 200 is out of INT8"},
	} {
		_, err := decoder(t, c.spec).Decode(c.kind, c.data)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %v with %q", c.name, err, c.is, c.says)
		}
	}
}

// chunk writes one PNG chunk.
func chunk(kind string, body []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	out = append(append(out, kind...), body...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

func TestBombsAreRefusedBeforeDecoding(t *testing.T) {
	for _, depth := range []byte{8, 16} { // ours and image/png
		head := binary.BigEndian.AppendUint32(nil, 60000)
		head = binary.BigEndian.AppendUint32(head, 60000)
		head = append(head, depth, 0, 0, 0, 0)
		bomb := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", head)...)
		bomb = append(bomb, chunk("IDAT", make([]byte, 1000))...)
		d := decoder(t, spec(tensor.Float32, 1, 28, 28))
		allocated := testing.AllocsPerRun(1, func() {
			if _, err := d.Decode("image/png", bomb); !errors.Is(err, media.ErrTooLarge) {
				t.Errorf("depth %d: %v", depth, err)
			}
		})
		if allocated > 100 {
			t.Errorf("depth %d: %v allocations", depth, allocated)
		}
	}
	small := decoder(t, media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 28, 28}, MaxPixels: 28*28 - 1})
	if _, err := small.Decode("", encodePNG(t, digit())); !errors.Is(err, media.ErrTooLarge) {
		t.Errorf("one pixel over the limit: %v", err)
	}
}

func TestPlainPathsDoNotAllocate(t *testing.T) {
	s := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 28, 28}, Invert: "auto", Centre: "mnist"}
	d := decoder(t, s)
	dst := tensor.Must(tensor.New(tensor.Float32, 4, 1, 28, 28))
	item := tensor.Must(tensor.New(tensor.Float32, 1, 28, 28))
	for name, data := range map[string][]byte{"bytes": digit().Pix, "elements": item.Bytes()} {
		if n := testing.AllocsPerRun(100, func() {
			if err := d.DecodeInto(dst, 2, "application/octet-stream", data); err != nil {
				t.Error(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestScaling(t *testing.T) {
	m := image.NewGray(image.Rect(0, 0, 6, 4))
	for i := range m.Pix {
		m.Pix[i] = byte(i * 10)
	}
	// Halved, each pixel is the mean of four.
	got := tensor.Data[uint8](decode(t, spec(tensor.Uint8, 2, 3), "", encodePNG(t, m)))
	if want := []uint8{35, 55, 75, 155, 175, 195}; !slices.Equal(got, want) {
		t.Errorf("halved: %v, want %v", got, want)
	}
	// Doubled, the corners stay and the values between rise steadily.
	got = tensor.Data[uint8](decode(t, spec(tensor.Uint8, 8, 12), "", encodePNG(t, m)))
	if got[0] != 0 || got[95] != 230 || !slices.IsSorted(got[:12]) {
		t.Errorf("doubled: %v", got)
	}
	// A plain area stays plain at any size.
	for i := range m.Pix {
		m.Pix[i] = 200
	}
	for _, v := range tensor.Data[uint8](decode(t, spec(tensor.Uint8, 7, 5), "", encodePNG(t, m))) {
		if v != 200 {
			t.Errorf("a plain area became %d", v)
		}
	}
}

// Workers share one decoder.
func TestConcurrentDecoding(t *testing.T) {
	d := decoder(t, centredSpec)
	var want, files [][]byte
	for _, p := range drawings(t)[:16] {
		m, err := stroke.Draw(p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, encodePNG(t, m))
		got, err := d.Decode("", files[len(files)-1])
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, tensor.Data[uint8](got))
	}
	batch := tensor.Must(tensor.New(tensor.Uint8, len(files), 1, 28, 28))
	var group errgroup.Group
	for row, file := range files {
		group.Go(func() error {
			for range 5 {
				if err := d.DecodeInto(batch, row, "image/png", file); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for row, w := range want {
		if !bytes.Equal(tensor.Data[uint8](batch)[row*784:][:784], w) {
			t.Errorf("row %d differs from what was decoded alone", row)
		}
	}
}
