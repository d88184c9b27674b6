// Package media turns bytes of a content type into tensors and back: PNG, JPEG, raw elements, JSON, .npy and .npz.
// Running a model on the tensors is left to the engines, and moving the bytes to package pipeline and the protocols.
//
// A [Spec] says what one input of a model looks like and how pixels become numbers; a [Decoder] made from it writes
// one item after another into the rows of a batch. [ParseTensors] and [ReadNPZ] read several named tensors at once.
package media

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace/millrace/tensor"
)

var (
	// ErrUnsupportedType says that a content type cannot become this tensor, such as text for a model of pictures.
	ErrUnsupportedType = errors.New("content type is not supported")
	// ErrMalformed says that the bytes are not what their content type says: truncated, corrupt, or not that at all.
	ErrMalformed = errors.New("content is malformed")
	// ErrShape says that the content was read but does not fit the model's input.
	ErrShape = errors.New("content does not fit the input")
	// ErrTooLarge says that the content would need more memory than allowed; it was refused before it was unpacked.
	ErrTooLarge = errors.New("content is too large")
	// ErrNotFinite says that a number is NaN, or for JSON output an infinity, and where it stands.
	ErrNotFinite = errors.New("number is not finite")
)

// MaxPixels is the limit on a picture's width times height where a Spec sets none: a telephone's largest photographs fit.
const MaxPixels = 50_000_000

// What is done with a photograph's orientation.
const (
	useExif    = "exif"
	ignoreExif = "ignore"
)

// Layouts of an item's tensor: of a picture with its channels first or last, and of a sequence of steps, which is no picture.
const (
	NCHW = "NCHW"
	NHWC = "NHWC"
	NTC  = "NTC"
)

// Layouts are all of them.
var Layouts = []string{NCHW, NHWC, NTC}

// A Spec describes one item of a model's input and how pixels and bytes become its elements. The zero value of every
// field but DType and Shape is useful.
type Spec struct {
	// DType is the type of the elements.
	DType tensor.DType
	// Shape is that of one item, without the batch dimension: [1,28,28], [28,28,3], [784], [] for a scalar.
	Shape tensor.Shape
	// Layout says where a picture's channels are, NCHW or NHWC, or that the item is a sequence of steps, NTC. "" takes it from Shape, where what has two dimensions is a grey
	// picture.
	Layout string
	// Scale multiplies each sample of a picture, and each byte of raw input; 0 means 1/255 for floating-point types and 1 for the others, and 1 for raw bytes
	// of an item that is no picture. Where the item is a picture, bytes in a uint8 array are its samples too. All other
	// arrays are numbers, and are taken as they are. An item is a picture where its shape has a height and a width of 2 and more; for a
	// flat one with as many elements as a square, Scale, Mean, Std, Layout, Invert or Centre say so.
	Scale float64
	// Mean is subtracted after Scale and Std divides then, one for each channel or one for all.
	Mean, Std []float64
	// Invert turns pictures from dark on light into light on dark: "true", "false" (also ""), or "auto", which
	// inverts where the mean of the picture's border is light. Raw bytes and numbers are never inverted.
	Invert string
	// Centre is "none" (also ""), or "mnist": the ink is cut out, scaled to fit a box of 20/28 of the side and placed
	// by its centre of mass, as the makers of MNIST did. It needs a square grey input and light ink on dark.
	Centre string
	// Orientation is "exif" (also ""): a photograph is turned upright as its Exif data says, or "ignore": it is taken as its pixels lie.
	Orientation string
	// MaxPixels limits width times height of a picture, before it is decoded; 0 means [MaxPixels].
	MaxPixels int
	// Columns, where they are there, make the item a row of a table, one element each: it may be an object by their names, a list of their values, or
	// CSV with a header. Ignored are names that such an object or header may have beside them.
	Columns []Column
	Ignored []string
}

// Validate reports every fault of s at once.
func (s Spec) Validate() error {
	var faults []error
	bad := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if !s.DType.Valid() {
		bad("element type %v is unknown", s.DType)
	}
	n, err := s.Shape.Check()
	switch {
	case err != nil:
		faults = append(faults, err)
	case n == 0:
		bad("%w: %v has no elements; one item's shape must be known", ErrShape, s.Shape)
	}
	if s.Layout != "" && !slices.Contains(Layouts, s.Layout) {
		bad("layout %q is unknown: say NCHW or NHWC, or NTC of sequences", s.Layout)
	}
	if !slices.Contains([]string{"", "auto", "true", "false"}, s.Invert) {
		bad("invert %q is unknown: say auto, true or false", s.Invert)
	}
	if !slices.Contains([]string{"", "none", "mnist"}, s.Centre) {
		bad("centre %q is unknown: say mnist or none", s.Centre)
	}
	if !slices.Contains([]string{"", useExif, ignoreExif}, s.Orientation) {
		bad("orientation %q is unknown: say exif or ignore", s.Orientation)
	}
	if s.MaxPixels < 0 {
		bad("max pixels %d is negative", s.MaxPixels)
	}
	if math.IsNaN(s.Scale) || math.IsInf(s.Scale, 0) {
		bad("scale %v is no number", s.Scale)
	}
	for _, v := range s.Std {
		if v == 0 || math.IsNaN(v) || math.IsInf(v, 0) {
			bad("standard deviation %v cannot divide", v)
		}
	}
	for _, v := range s.Mean {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			bad("mean %v is no number", v)
		}
	}
	if err := CheckColumns(s.Columns, s.Ignored); err != nil {
		faults = append(faults, err)
	}
	if k := len(s.Columns); k > 0 && k != n {
		bad("there are %d columns for %d elements", k, n)
	}
	if len(faults) == 0 {
		g, ok := s.geometry()
		if !ok {
			g.c = 1
		}
		for _, p := range []struct {
			name string
			vs   []float64
		}{{"mean", s.Mean}, {"standard deviation", s.Std}} {
			if k := len(p.vs); k > 1 && k != g.c {
				bad("%d values of the %s given for %d channels", k, p.name, g.c)
			}
		}
		if s.Centre == "mnist" && (!ok || g.c != 1 || g.h != g.w) {
			bad("centre mnist needs a square grey picture as input, not %v", s.Shape)
		}
	}
	if len(faults) > 0 {
		return fmt.Errorf("input of a model: %w", errors.Join(faults...))
	}
	return nil
}

// geometry says how an item's elements lie in a picture.
type geometry struct {
	c, h, w int
	planar  bool // NCHW: a channel's pixels lie together
}

// geometry reads the picture's size from the shape; ok is false where the shape is no picture's.
func (s Spec) geometry() (g geometry, ok bool) {
	if s.Layout == NTC {
		return geometry{}, false
	}
	shape := s.Shape
	for len(shape) > 3 && shape[0] == 1 {
		shape = shape[1:]
	}
	channels := func(n int) bool { return n == 1 || n == 3 }
	switch len(shape) {
	case 1:
		side := int(math.Sqrt(float64(shape[0])))
		if side > 0 && side*side == shape[0] {
			return geometry{c: 1, h: side, w: side, planar: true}, true
		}
	case 2:
		return geometry{c: 1, h: shape[0], w: shape[1], planar: true}, true
	case 3:
		first, last := channels(shape[0]), channels(shape[2])
		switch {
		case s.Layout == NCHW && first, s.Layout == "" && first:
			return geometry{c: shape[0], h: shape[1], w: shape[2], planar: true}, true
		case s.Layout == NHWC && last, s.Layout == "" && last:
			return geometry{c: shape[2], h: shape[0], w: shape[1]}, true
		}
	}
	return geometry{}, false
}

// Size is how wide and high a picture becomes, and how many channels it has then; ok is false where the item cannot be a picture.
func (s Spec) Size() (width, height, channels int, ok bool) {
	g, ok := s.geometry()
	return g.w, g.h, g.c, ok && len(s.Columns) == 0
}

// Picture reports whether an item of bytes, other than those of a file, is a picture: see Scale.
func (s Spec) Picture() bool {
	g, ok := s.geometry()
	switch {
	case !ok, len(s.Columns) > 0:
		return false
	case s.Scale != 0, len(s.Mean) > 0, len(s.Std) > 0, s.Layout != "", s.Centre == "mnist", s.Invert == "true", s.Invert == "auto":
		return true
	}
	return len(s.Shape) > 1 && g.h > 1 && g.w > 1
}

// PictureSize returns the channels, height and width of an item that is a picture.
func (s Spec) PictureSize() (channels, height, width int, ok bool) {
	g, _ := s.geometry()
	return g.c, g.h, g.w, s.Picture()
}

// scale is the factor of samples, or of raw bytes that are none.
func (s Spec) scale(sample bool) float64 {
	switch {
	case s.Scale != 0:
		return s.Scale
	case sample && s.DType.IsFloat():
		return 1.0 / 255
	}
	return 1
}

// element is what a sample of a channel becomes.
func (s Spec) element(v float64, channel int, scale float64) float64 {
	pick := func(vs []float64, none float64) float64 {
		switch len(vs) {
		case 0:
			return none
		case 1:
			return vs[0]
		}
		return vs[channel]
	}
	return (v*scale - pick(s.Mean, 0)) / pick(s.Std, 1)
}

// Kinds of content that are told apart.
const (
	typePNG  = "image/png"
	typeJPEG = "image/jpeg"
	typeGIF  = "image/gif"
	typeWebP = "image/webp"
	typeTIFF = "image/tiff"
	typeJSON = "application/json"
	typeNPY  = "application/x-npy"
	typeNPZ  = "application/x-npz"
	typeRaw  = "application/octet-stream"
	typeText = "text/plain"
	typeCSV  = "text/csv"
)

// Sniff returns the media type of data. A contentType that says something is kept, without its parameters and in
// lower case; where it is missing or generic (octet-stream, curl's form type) the first bytes decide, and what they do
// not tell stays application/octet-stream.
func Sniff(contentType string, data []byte) string {
	t := contentType
	if i := strings.IndexByte(t, ';'); i >= 0 {
		t = t[:i]
	}
	t = strings.ToLower(strings.TrimSpace(t)) // allocates only where there is an upper-case letter
	switch t {
	case "image/jpg", "image/pjpeg":
		return typeJPEG
	case "image/tif", "image/x-tiff":
		return typeTIFF
	case "application/npy", "application/x-numpy", "application/vnd.numpy":
		return typeNPY
	case "application/npz":
		return typeNPZ
	case "application/csv", "text/tab-separated-values":
		return typeCSV
	case "", typeRaw, "binary/octet-stream", "application/x-www-form-urlencoded", typeText, "application/zip":
	default:
		return t
	}
	switch {
	case hasPrefix(data, pngMagic):
		return typePNG
	case hasPrefix(data, "\xff\xd8\xff"):
		return typeJPEG
	case hasPrefix(data, "GIF87a"), hasPrefix(data, "GIF89a"):
		return typeGIF
	case hasPrefix(data, "RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		return typeWebP
	case hasPrefix(data, "II*\x00"), hasPrefix(data, "MM\x00*"):
		return typeTIFF
	case hasPrefix(data, npyMagic):
		return typeNPY
	case hasPrefix(data, "PK\x03\x04"):
		return typeNPZ
	case t == typeText:
		return typeText
	}
	return typeRaw
}

func hasPrefix(data []byte, magic string) bool {
	return len(data) >= len(magic) && string(data[:len(magic)]) == magic
}
