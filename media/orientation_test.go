package media_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// exif is a TIFF structure with an orientation, after another tag.
func exif(order binary.AppendByteOrder, value uint16) []byte {
	b := []byte("II")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		b = []byte("MM")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	for _, e := range []struct{ tag, kind, value uint16 }{{0x0100, 3, 7}, {0x0112, 3, value}} {
		b = order.AppendUint16(b, e.tag)
		b = order.AppendUint16(b, e.kind)
		b = order.AppendUint32(b, 1)
		b = order.AppendUint16(b, e.value)
		b = order.AppendUint16(b, 0)
	}
	return order.AppendUint32(b, 0)
}

// segment is an APP segment of a JPEG.
func segment(marker byte, body string) string {
	return "\xff" + string([]byte{marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)}) + body
}

// withExif puts segments or a chunk behind a file's beginning.
func withExif(file []byte, tiff []byte) []byte {
	if file[0] == 0xff {
		return slices.Concat(file[:2], []byte(segment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00")+
			segment(0xe1, "http://ns.adobe.com/xap/1.0/\x00<x/>")+segment(0xe1, "Exif\x00\x00"+string(tiff))), file[2:])
	}
	const head = 8 + 25 // the magic and IHDR
	chunk := append([]byte("eXIf"), tiff...)
	chunk = binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk))
	return slices.Concat(file[:head], binary.BigEndian.AppendUint32(nil, uint32(len(tiff))), chunk, file[head:])
}

// scene has 4 by 3 blocks of 8 pixels, each of its own grey.
func scene() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 32, 24))
	for y := range 24 {
		for x := range 32 {
			m.SetGray(x, y, color.Gray{uint8(20 * (1 + y/8*4 + x/8))})
		}
	}
	return m
}

// stored is the scene as a camera stores it that was held so that its file needs this orientation. The table says for each where the
// stored pixel (x, y) is seen, in a picture of w by h stored pixels: it is the specification's, not the code's.
func stored(m *image.Gray, orientation int) *image.Gray {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if orientation >= 5 {
		w, h = h, w
	}
	out := image.NewGray(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			sx, sy := x, y
			switch orientation {
			case 2: // row 0 is the top, column 0 the right side
				sx = w - 1 - x
			case 3: // bottom, right
				sx, sy = w-1-x, h-1-y
			case 4: // bottom, left
				sy = h - 1 - y
			case 5: // left, top
				sx, sy = y, x
			case 6: // right, top
				sx, sy = h-1-y, x
			case 7: // right, bottom
				sx, sy = h-1-y, w-1-x
			case 8: // left, bottom
				sx, sy = y, w-1-x
			}
			out.SetGray(x, y, m.GrayAt(sx, sy))
		}
	}
	return out
}

// Photographs come out upright for all eight orientations, of both kinds of files, both byte orders and 8 and 16 bits.
func TestOrientation(t *testing.T) {
	upright := scene()
	near := func(got []float32) bool {
		for i, v := range got {
			if d := v - float32(20*(1+i)); d < -2 || d > 2 {
				return false
			}
		}
		return len(got) == 12
	}
	spec := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 3, 4}, Scale: 1}
	for o := 1; o <= 8; o++ {
		lying := stored(upright, o)
		var photo bytes.Buffer
		if err := jpeg.Encode(&photo, lying, &jpeg.Options{Quality: 100}); err != nil {
			t.Fatal(err)
		}
		deep := image.NewGray16(lying.Rect)
		colours := image.NewNRGBA(lying.Rect)
		for y := range lying.Rect.Dy() {
			for x := range lying.Rect.Dx() {
				deep.Set(x, y, lying.At(x, y))
				colours.Set(x, y, lying.At(x, y))
			}
		}
		for name, file := range map[string][]byte{
			"JPEG": photo.Bytes(), "PNG": encodePNG(t, lying), "PNG with 16 bits": encodePNG(t, deep), "PNG with colours": encodePNG(t, colours),
		} {
			for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
				data := withExif(file, exif(order, uint16(o)))
				got := tensor.Data[float32](decode(t, spec, "", data))
				if !near(got) {
					t.Errorf("orientation %d, %s, %v: %v", o, name, order, got)
				}
				p, err := media.Look(data, "")
				if err != nil || p.Width != 32 || p.Height != 24 || p.Channels == 1 != (name != "PNG with colours") {
					t.Errorf("orientation %d, %s: %+v, %v", o, name, p, err)
				}
				asItLies := media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, lying.Rect.Dy() / 8, lying.Rect.Dx() / 8}, Scale: 1, Orientation: "ignore"}
				if got := tensor.Data[float32](decode(t, asItLies, "", data)); near(got) != (o == 1) {
					t.Errorf("orientation %d ignored, %s: %v", o, name, got)
				}
				if p, err := media.Look(data, "ignore"); err != nil || p.Width != lying.Rect.Dx() || p.Height != lying.Rect.Dy() {
					t.Errorf("orientation %d ignored, %s: %+v, %v", o, name, p, err)
				}
			}
		}
	}
}

// Three channels stay together.
func TestOrientationOfColours(t *testing.T) {
	m := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	m.Set(0, 0, color.RGBA{10, 20, 30, 255})
	m.Set(1, 0, color.RGBA{40, 50, 60, 255})
	data := withExif(encodePNG(t, m), exif(binary.BigEndian, 6))
	got := decode(t, media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{2, 1, 3}, Layout: "NHWC"}, "", data)
	if want := []uint8{10, 20, 30, 40, 50, 60}; !slices.Equal(tensor.Data[uint8](got), want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// damagedExif are TIFF structures that say nothing, or nothing that can be.
func damagedExif() [][]byte {
	whole := exif(binary.LittleEndian, 6)
	all := [][]byte{nil, []byte("II*\x00"), exif(binary.BigEndian, 0), exif(binary.BigEndian, 9), exif(binary.LittleEndian, 0xffff)}
	for n := range len(whole) - 6 { // without the value there is none; the value's last two bytes and the next directory are not looked at
		all = append(all, whole[:n])
	}
	for _, change := range []struct {
		at   int
		with string
	}{
		{0, "XX"}, {0, "IM"}, {2, "\x2b\x00"}, {4, "\xff\xff\xff\xff"}, {4, "\xfe\xff\xff\x7f"}, {4, "\x00\x00\x00\x00"}, {8, "\x00\x00"}, {22 + 2, "\x07\x00"}, {22 + 4, "\x00\x00\x00\x00"},
	} {
		b := slices.Clone(whole)
		copy(b[change.at:], change.with)
		all = append(all, b)
	}
	return all
}

// What is wrong with Exif data is no fault of the picture.
func TestDamagedExif(t *testing.T) {
	lying := scene()
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, lying, nil); err != nil {
		t.Fatal(err)
	}
	spec := media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{1, 3, 4}}
	for _, file := range [][]byte{photo.Bytes(), encodePNG(t, lying)} {
		want := tensor.Data[uint8](decode(t, spec, "", file))
		for i, tiff := range damagedExif() {
			got, err := decoder(t, spec).Decode("", withExif(file, tiff))
			if err != nil || !slices.Equal(tensor.Data[uint8](got), want) {
				t.Errorf("damage %d (% x): %v, %v", i, tiff, got, err)
			}
		}
	}
	// Many entries before the tag, and more announced than there are.
	long := exif(binary.LittleEndian, 6)[:8]
	long = binary.LittleEndian.AppendUint16(long, 0xffff)
	for i := range 1000 {
		long = append(long, fmt.Sprintf("%04d%08d", i, i)...)
	}
	if got := decode(t, spec, "", withExif(photo.Bytes(), long)); tensor.Data[uint8](got)[0] > 30 {
		t.Errorf("got %v", got)
	}
}

func FuzzOrientation(f *testing.F) {
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, scene(), nil); err != nil {
		f.Fatal(err)
	}
	files := [][]byte{photo.Bytes(), encodePNG(f, scene())}
	for o := range uint16(10) {
		f.Add(exif(binary.LittleEndian, o), uint16(0))
		f.Add(exif(binary.BigEndian, o), uint16(3))
	}
	for _, tiff := range damagedExif() {
		f.Add(tiff, uint16(1))
	}
	d := decoder(f, media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{1, 3, 4}, MaxPixels: 1 << 12})
	f.Fuzz(func(t *testing.T, tiff []byte, cut uint16) {
		if len(tiff) > 60000 {
			return
		}
		for _, file := range files {
			whole := withExif(file, tiff)
			if _, err := d.Decode("", whole); err != nil {
				t.Errorf("a picture is refused for its Exif data: %v", err)
			}
			p, err := media.Look(whole, "")
			if err != nil || p.Width*p.Height != 32*24 {
				t.Errorf("%+v, %v", p, err)
			}
			_, _ = media.Look(whole[:int(cut)%len(whole)], "") // whatever it says of half a file, it returns
		}
	})
}

// Files that others reported: photographs whose left and right are exchanged, and 16 bits for an input that has room for them.
func TestReportedPictures(t *testing.T) {
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	colours := spec(tensor.Uint8, 3, 2, 2)
	base := tensor.Data[uint8](decode(t, colours, "", read("base.jpg")))
	for _, name := range []string{"exif2.jpg", "exif3.jpg"} { // its rows are alike, so that both look the same
		got := tensor.Data[uint8](decode(t, colours, "", read(name)))
		for i, v := range got {
			if v != base[i^1] {
				t.Errorf("%s: %v, and without orientation %v", name, got, base)
				break
			}
		}
		ignore := colours
		ignore.Orientation = "ignore"
		if got := tensor.Data[uint8](decode(t, ignore, "", read(name))); !slices.Equal(got, base) {
			t.Errorf("%s, orientation ignored: %v, want %v", name, got, base)
		}
	}
	if got := tensor.Data[uint16](decode(t, spec(tensor.Uint16, 1, 2, 2), "", read("grey16.png"))); !slices.Equal(got, []uint16{200, 100, 255, 0}) {
		t.Errorf("grey16.png: %v", got)
	}
}
