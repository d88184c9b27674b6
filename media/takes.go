package media

import (
	"errors"
	"fmt"
	"image/jpeg"
	"image/png"

	"golang.org/x/image/tiff"

	"github.com/millrace/millrace/tensor"
)

const pictureForms = "PNG, JPEG, GIF, WebP, TIFF"

// takes says for people what an entry may be.
func (d *Decoder) takes() string {
	raw := fmt.Sprintf("%d or %d raw bytes", d.size, d.size*d.spec.DType.Size())
	if d.spec.DType.Size() == 1 {
		raw = fmt.Sprintf("%d raw bytes", d.size)
	}
	switch {
	case d.rows != nil:
		return "a row of a table: JSON (an object by the columns' names, or a list), CSV with a header, or .npy"
	case d.spec.DType == tensor.String:
		return "text: plain, or JSON"
	case d.picture && d.samples:
		return fmt.Sprintf("a picture: %s, JSON or .npy of %v%v, or %s", pictureForms, d.spec.DType, d.spec.Shape, raw)
	case d.picture:
		return fmt.Sprintf("numbers: JSON or .npy of %v%v, %s, or a picture (%s)", d.spec.DType, d.spec.Shape, raw, pictureForms)
	}
	return fmt.Sprintf("numbers: JSON or .npy of %v%v, or %s", d.spec.DType, d.spec.Shape, raw)
}

// explain adds what the model takes to a fault of content that was read and does not fit.
func (d *Decoder) explain(err error) error {
	if d.rows != nil || !errors.Is(err, ErrShape) && !errors.Is(err, ErrMalformed) {
		return err
	}
	return fmt.Errorf("%w (this model takes %s)", err, d.takes())
}

// formNames are the formats of pictures for people.
var formNames = map[string]string{typePNG: "PNG", typeJPEG: "JPEG", typeGIF: "GIF", typeWebP: "WebP", typeTIFF: "TIFF"}

// begins reports whether data may be the beginning of a picture's file, cut off before its kind is known.
func begins(kind string, data []byte) bool {
	for _, magic := range map[string][]string{
		typePNG: {pngMagic}, typeJPEG: {"\xff\xd8\xff"}, typeGIF: {"GIF87a", "GIF89a"}, typeWebP: {"RIFF"}, typeTIFF: {"II*\x00", "MM\x00*"},
	}[kind] {
		if hasPrefix(data, magic) || hasPrefix([]byte(magic), string(data)) {
			return true
		}
	}
	return false
}

// pictureFault says what a codec's error means for who sent the picture.
func pictureFault(kind string, data []byte, err error) error {
	var jpegForm jpeg.UnsupportedError
	var pngForm png.UnsupportedError
	var tiffForm tiff.UnsupportedError
	name := formNames[kind]
	if errors.As(err, &jpegForm) || errors.As(err, &pngForm) || errors.As(err, &tiffForm) {
		return fmt.Errorf("%w: a %s of this form is not read (%w)", ErrMalformed, name, err)
	}
	switch is := Sniff("", data); {
	case formNames[is] != "" && is != kind:
		return fmt.Errorf("%w: it is said to be a %s, and is a %s (%w)", ErrMalformed, name, formNames[is], err)
	case is != kind && !begins(kind, data):
		return fmt.Errorf("%w: it is said to be a %s, and is none (%w)", ErrMalformed, name, err)
	}
	return fmt.Errorf("%w: the %s is cut off or damaged (%w)", ErrMalformed, name, err)
}
