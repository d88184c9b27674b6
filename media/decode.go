package media

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/millrace/millrace/tensor"
)

// A Decoder turns bytes into items of one Spec. It is safe for concurrent use.
type Decoder struct {
	spec    Spec
	size    int // elements of an item
	geo     geometry
	picture bool // files of pictures can be made to fit
	samples bool // bytes are a picture's samples, whatever they come in
	invert  string
	limit   int
	// lut holds the element that each sample of a picture becomes: [channels][256] of the spec's type, nil where bytes cannot; raw is
	// the same for bytes without a type.
	lut, raw *tensor.Tensor
	rows     *rowReader // nil where the item is no row of a table
	scratch  sync.Pool  // of *scratch
}

// NewDecoder checks the spec and prepares the tables.
func NewDecoder(spec Spec) (*Decoder, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	spec.Shape = spec.Shape.Clone()
	d := &Decoder{spec: spec, size: spec.Shape.Size(), limit: spec.MaxPixels, invert: spec.Invert}
	d.geo, d.picture = spec.geometry()
	if len(spec.Columns) > 0 {
		d.picture, d.rows = false, newRowReader(spec.Columns, spec.Ignored)
	}
	if d.limit == 0 {
		d.limit = MaxPixels
	}
	d.scratch.New = func() any { return new(scratch) }
	d.samples = spec.Picture()
	var err error
	if d.lut, err = d.table(spec.scale(true)); err != nil {
		return nil, err
	}
	if d.raw = d.lut; !d.samples {
		if d.raw, err = d.table(spec.scale(false)); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// Spec returns what the decoder was made from.
func (d *Decoder) Spec() Spec { return d.spec }

// table computes the element of each byte and channel; nil for strings, which bytes cannot be.
func (d *Decoder) table(scale float64) (*tensor.Tensor, error) {
	channels := max(d.geo.c, 1)
	if d.spec.DType == tensor.String {
		return nil, nil
	}
	lut, err := tensor.New(d.spec.DType, channels, 256)
	if err != nil {
		return nil, err
	}
	for c := range channels {
		for b := range 256 {
			if err := setFloat(lut, c*256+b, d.spec.element(float64(b), c, scale)); err != nil {
				return nil, err
			}
		}
	}
	return lut, nil
}

// Decode returns one item with the spec's shape.
func (d *Decoder) Decode(contentType string, data []byte) (*tensor.Tensor, error) {
	dst, err := tensor.New(d.spec.DType, append(tensor.Shape{1}, d.spec.Shape...)...)
	if err != nil {
		return nil, err
	}
	if err := d.DecodeInto(dst, 0, contentType, data); err != nil {
		return nil, err
	}
	return dst.Reshape(d.spec.Shape...)
}

// DecodeInto writes one item into a row of dst, whose shape is a number of rows and then the spec's. Different rows
// may be written concurrently. After an error the row's elements are undefined and the other rows untouched. It does
// not keep data. The errors are those at the top of this package.
func (d *Decoder) DecodeInto(dst *tensor.Tensor, row int, contentType string, data []byte) error {
	if s := dst.Shape(); dst.DType() != d.spec.DType || len(s) != len(d.spec.Shape)+1 || !s[1:].Equal(d.spec.Shape) {
		return fmt.Errorf("%w: a batch of %v%v cannot hold items of %v%v", ErrShape, dst.DType(), s, d.spec.DType, d.spec.Shape)
	} else if row < 0 || row >= s[0] {
		return fmt.Errorf("%w: row %d of a batch of %d", ErrShape, row, s[0])
	}
	at := row * d.size
	if err := d.decode(dst, at, contentType, data); err != nil || d.rows == nil {
		return err
	}
	return d.rows.check(dst, at)
}

func (d *Decoder) decode(dst *tensor.Tensor, at int, contentType string, data []byte) error {
	kind := Sniff(contentType, data)
	if len(data) == 0 && d.spec.DType != tensor.String {
		is := ErrMalformed
		if kind == typeText || kind == typeRaw {
			is = ErrShape
		}
		return fmt.Errorf("%w: the entry is empty, and this model takes %s", is, d.takes())
	}
	switch kind {
	case typePNG, typeJPEG, typeGIF, typeWebP, typeTIFF:
		return d.decodePicture(dst, at, kind, data)
	case typeJSON:
		return d.explain(d.decodeJSON(dst, at, data))
	case typeNPY:
		return d.decodeNPY(dst, at, data)
	case typeNPZ:
		return d.decodeNamed(dst, at, kind, data)
	case typeText, typeRaw:
		return d.decodeRaw(dst, at, data)
	case typeCSV:
		if d.rows == nil {
			return fmt.Errorf("%w: CSV is for models that know their columns (metadata millrace.columns); this model takes %s", ErrUnsupportedType, d.takes())
		}
		return d.rows.csv(data, dst, at)
	default:
		return fmt.Errorf("%w: %.80q; this model takes %s", ErrUnsupportedType, kind, d.takes())
	}
}

// decodeRaw takes bytes without a type: the exact memory of the item, one byte for each element, text for a string
// model, or JSON that was sent without its content type.
func (d *Decoder) decodeRaw(dst *tensor.Tensor, at int, data []byte) error {
	if d.spec.DType == tensor.String {
		if d.size == 1 && !looksJSON(data) {
			if !utf8.Valid(data) {
				return fmt.Errorf("%w: the text is not UTF-8", ErrMalformed)
			}
			tensor.Data[string](dst)[at] = string(data)
			return nil
		}
		return d.decodeJSON(dst, at, data)
	}
	exact, bytewise := d.size*d.spec.DType.Size(), d.size
	fits := len(data) == exact || len(data) == bytewise
	switch {
	case d.rows != nil && !looksJSON(data) && d.rows.looksCSV(data):
		return d.rows.csv(data, dst, at)
	case looksJSON(data) && (!fits || json.Valid(data)):
		return d.explain(d.decodeJSON(dst, at, data))
	case len(data) == exact && d.spec.DType != tensor.Uint8:
		return d.copyElements(dst, at, data)
	case len(data) == bytewise:
		mapBytes(dst, at, d.raw, d.geo, data)
		return nil
	}
	return fmt.Errorf("%w: these %d bytes are of no known form; this model takes %s", ErrShape, len(data), d.takes())
}

// copyElements takes little-endian elements of the item's own type.
func (d *Decoder) copyElements(dst *tensor.Tensor, at int, data []byte) error {
	if d.spec.DType == tensor.Bool {
		out := tensor.Data[bool](dst)[at:]
		for i, b := range data {
			out[i] = b != 0
		}
		return nil
	}
	size := d.spec.DType.Size()
	copy(dst.Bytes()[at*size:], data)
	return checkNaN(dst, at, d.size, d.spec.Shape)
}

// place takes the elements of t, whose number and order fit the item: as they are, converted by value, or as a picture's samples
// where they are bytes, the item is a picture and its elements are no bytes.
func (d *Decoder) place(dst *tensor.Tensor, at int, t *tensor.Tensor) error {
	if err := d.fits(t.Shape()); err != nil {
		return err
	}
	switch {
	case t.DType() == d.spec.DType && t.DType() == tensor.String:
		copy(tensor.Data[string](dst)[at:], tensor.Data[string](t))
		return nil
	case t.DType() == tensor.Uint8 && d.takesSamples():
		mapBytes(dst, at, d.lut, d.geo, tensor.Data[uint8](t))
		return nil
	case t.DType() == d.spec.DType:
		size := t.DType().Size()
		copy(dst.Bytes()[at*size:], t.Bytes())
	default:
		if err := convert(dst, at, t); err != nil {
			return err
		}
	}
	return checkNaN(dst, at, d.size, d.spec.Shape)
}

// takesSamples reports whether the bytes of a uint8 array are a picture's samples, not numbers.
func (d *Decoder) takesSamples() bool {
	return d.samples && d.lut != nil && d.spec.DType != tensor.Uint8
}

// fits accepts the item's shape, that shape with dimensions of 1 more or fewer, and a flat list.
func (d *Decoder) fits(shape tensor.Shape) error {
	if len(shape) == 1 && shape[0] == d.size {
		return nil
	}
	a, b := shape, d.spec.Shape
	for {
		for len(a) > 0 && a[0] == 1 {
			a = a[1:]
		}
		for len(b) > 0 && b[0] == 1 {
			b = b[1:]
		}
		if len(a) == 0 && len(b) == 0 {
			return nil
		}
		if len(a) == 0 || len(b) == 0 || a[0] != b[0] {
			return fmt.Errorf("%w: it is %v and the model takes %v", ErrShape, shape, d.spec.Shape)
		}
		a, b = a[1:], b[1:]
	}
}

func looksJSON(data []byte) bool {
	data = bytes.TrimSpace(data)
	if len(data) < 2 {
		return false
	}
	first, last := data[0], data[len(data)-1]
	return first == '[' && last == ']' || first == '{' && last == '}'
}
