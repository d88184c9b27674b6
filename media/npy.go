package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/millrace/millrace/tensor"
)

// The .npy format is NumPy's, described in its documentation under numpy.lib.format: a magic number, a version, and a
// Python dictionary that gives type, order and shape of the elements after it.
const (
	npyMagic   = "\x93NUMPY"
	npyMaxHead = 1 << 16
	npyMaxRank = 64
)

// npyHeader is what the dictionary says.
type npyHeader struct {
	descr   string
	fortran bool
	shape   tensor.Shape

	dtype tensor.DType
	width int // bytes of one element in the file
	big   bool
	text  byte // 'U' (UTF-32) or 'S' (bytes) for strings
}

// ReadNPY reads a tensor from r, at most limit bytes of elements. Booleans, integers, floats (float16 too), complex
// numbers and strings of fixed width are read; two opaque bytes (V2), as which ml_dtypes saves bfloat16, are that.
// Pickled Python objects are refused, as reading them would run code: ErrUnsupportedType.
func ReadNPY(r io.Reader, limit int64) (*tensor.Tensor, error) {
	head, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	n, err := head.shape.Check()
	if err != nil {
		return nil, fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	}
	if head.width > 0 && int64(n) > limit/int64(head.width) {
		return nil, fmt.Errorf("%w: .npy: %v of %s is over the limit of %d bytes", ErrTooLarge, head.shape, head.descr, limit)
	}
	size := n * head.width
	// What the header claims is allocated as it arrives, not before.
	var raw bytes.Buffer
	if got, err := io.Copy(&raw, io.LimitReader(r, int64(size))); err != nil {
		return nil, fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	} else if got < int64(size) {
		return nil, fmt.Errorf("%w: .npy: %v of %s needs %d bytes, the file has %d", ErrMalformed, head.shape, head.descr, size, got)
	}
	if head.text != 0 && head.width == 0 && n > 1<<20 {
		return nil, fmt.Errorf("%w: .npy: %d empty strings", ErrTooLarge, n)
	}
	t, err := tensor.New(head.dtype, head.shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	}
	if err := head.fill(t, 0, raw.Bytes()); err != nil {
		return nil, err
	}
	return t, nil
}

// decodeNPY copies an .npy's elements into the item, in place where type and order are the item's.
func (d *Decoder) decodeNPY(dst *tensor.Tensor, at int, data []byte) error {
	r := bytes.NewReader(data)
	head, err := readNPYHeader(r)
	if err != nil {
		return err
	}
	if err := d.fits(head.shape); err != nil {
		return err
	}
	body := data[len(data)-r.Len():]
	n := d.size * head.width
	if len(body) < n {
		return fmt.Errorf("%w: .npy: %v of %s needs %d bytes, the file has %d", ErrMalformed, head.shape, head.descr, n, len(body))
	}
	if !head.fortran && !head.big && head.text == 0 {
		if head.dtype == d.spec.DType {
			return d.copyElements(dst, at, body[:n])
		}
		if head.dtype == tensor.Uint8 && d.takesSamples() {
			mapBytes(dst, at, d.lut, d.geo, body[:n])
			return nil
		}
	}
	t, err := tensor.New(head.dtype, head.shape...)
	if err != nil {
		return fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	}
	if err := head.fill(t, 0, body[:n]); err != nil {
		return err
	}
	return d.place(dst, at, t)
}

// readNPYHeader reads up to the first element.
func readNPYHeader(r io.Reader) (npyHeader, error) {
	var h npyHeader
	var start [12]byte
	if _, err := io.ReadFull(r, start[:8]); err != nil {
		return h, fmt.Errorf("%w: .npy: the header is cut off", ErrMalformed)
	}
	if string(start[:6]) != npyMagic {
		return h, fmt.Errorf("%w: .npy: it does not begin with \\x93NUMPY", ErrMalformed)
	}
	lengthBytes := 2
	switch start[6] {
	case 1:
	case 2, 3:
		lengthBytes = 4
	default:
		return h, fmt.Errorf("%w: .npy: version %d.%d is unknown", ErrMalformed, start[6], start[7])
	}
	if _, err := io.ReadFull(r, start[8:8+lengthBytes]); err != nil {
		return h, fmt.Errorf("%w: .npy: the header is cut off", ErrMalformed)
	}
	size := uint32(binary.LittleEndian.Uint16(start[8:]))
	if lengthBytes == 4 {
		size = binary.LittleEndian.Uint32(start[8:])
	}
	if size > npyMaxHead {
		return h, fmt.Errorf("%w: .npy: a header of %d bytes; at most %d are read", ErrTooLarge, size, npyMaxHead)
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r, text); err != nil {
		return h, fmt.Errorf("%w: .npy: the header is cut off", ErrMalformed)
	}
	if err := h.parse(string(text)); err != nil {
		return h, err
	}
	return h, h.resolve()
}

// parse reads {'descr': '<f4', 'fortran_order': False, 'shape': (1, 28, 28), }.
func (h *npyHeader) parse(text string) error {
	bad := func(what string) error {
		return fmt.Errorf("%w: .npy: %s in the header %.120q", ErrMalformed, what, text)
	}
	rest := strings.TrimSpace(text)
	if !strings.HasPrefix(rest, "{") || !strings.HasSuffix(rest, "}") {
		return bad("no dictionary")
	}
	rest = rest[1 : len(rest)-1]
	seen := 0
	for {
		rest = strings.TrimLeft(rest, ", \t\n")
		if rest == "" {
			break
		}
		key, after, ok := quoted(rest)
		if !ok {
			return bad("no key")
		}
		after = strings.TrimLeft(after, " \t\n")
		if !strings.HasPrefix(after, ":") {
			return bad("no colon")
		}
		rest = strings.TrimLeft(after[1:], " \t\n")
		switch key {
		case "descr":
			if h.descr, rest, ok = quoted(rest); !ok {
				return fmt.Errorf("%w: .npy: records of several fields", ErrUnsupportedType)
			}
			seen |= 1
		case "fortran_order":
			word := rest[:len(rest)-len(strings.TrimLeft(rest, "TrueFals"))]
			if word != "True" && word != "False" {
				return bad("no True or False")
			}
			h.fortran, rest = word == "True", rest[len(word):]
			seen |= 2
		case "shape":
			inner, after, ok := strings.Cut(rest, ")")
			if !ok || !strings.HasPrefix(inner, "(") {
				return bad("no shape")
			}
			h.shape, rest = tensor.Shape{}, after
			for part := range strings.SplitSeq(inner[1:], ",") {
				part = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(part), "L")) // Python 2 wrote 28L
				if part == "" {
					continue
				}
				n, err := strconv.Atoi(part)
				if err != nil || n < 0 || len(h.shape) == npyMaxRank {
					return bad("no shape")
				}
				h.shape = append(h.shape, n)
			}
			seen |= 4
		default:
			return bad("an unknown key")
		}
	}
	if seen != 7 {
		return bad("something missing")
	}
	return nil
}

// quoted splits 'word' off the front.
func quoted(s string) (word, rest string, ok bool) {
	if s == "" || s[0] != '\'' && s[0] != '"' {
		return "", s, false
	}
	end := strings.IndexByte(s[1:], s[0])
	if end < 0 {
		return "", s, false
	}
	return s[1 : end+1], s[end+2:], true
}

// npyTypes are NumPy's codes without the byte order.
var npyTypes = map[string]tensor.DType{
	"b1": tensor.Bool, "u1": tensor.Uint8, "i1": tensor.Int8, "u2": tensor.Uint16, "i2": tensor.Int16, "u4": tensor.Uint32,
	"i4": tensor.Int32, "u8": tensor.Uint64, "i8": tensor.Int64, "f2": tensor.Float16, "f4": tensor.Float32,
	"f8": tensor.Float64, "c8": tensor.Complex64, "c16": tensor.Complex128, "V2": tensor.BFloat16,
}

// resolve turns the type's code into ours.
func (h *npyHeader) resolve() error {
	code := h.descr
	if code == "" {
		return fmt.Errorf("%w: .npy: no element type", ErrMalformed)
	}
	switch code[0] {
	case '<', '|', '=':
		code = code[1:]
	case '>':
		h.big, code = true, code[1:]
	}
	if strings.HasPrefix(code, "O") {
		return fmt.Errorf("%w: .npy: it holds pickled Python objects, and reading those could run code; save the array with a number or string type", ErrUnsupportedType)
	}
	if d, ok := npyTypes[code]; ok {
		h.dtype, h.width = d, d.Size()
		return nil
	}
	if len(code) > 1 && (code[0] == 'U' || code[0] == 'S') {
		n, err := strconv.Atoi(code[1:])
		if err == nil && n >= 0 && n <= 1<<24 {
			h.dtype, h.text, h.width = tensor.String, code[0], n
			if h.text == 'U' {
				h.width *= 4
			}
			return nil
		}
	}
	return fmt.Errorf("%w: .npy: element type %.20q", ErrUnsupportedType, h.descr)
}

// fill writes the elements in raw to t from at, in row-major order.
func (h *npyHeader) fill(t *tensor.Tensor, at int, raw []byte) error {
	if h.big {
		raw = h.swapped(raw)
	}
	if h.fortran && len(h.shape) > 1 {
		raw = h.transposed(raw)
	}
	switch d := t.Raw().(type) {
	case []bool:
		for i, b := range raw {
			d[at+i] = b != 0
		}
	case []string:
		for i := range h.shape.Size() {
			s, err := h.string(raw[i*h.width:][:h.width])
			if err != nil {
				return fmt.Errorf("%w: .npy: element %s: %w", ErrMalformed, position(h.shape, i), err)
			}
			d[at+i] = s
		}
	default:
		copy(t.Bytes()[at*h.width:], raw)
	}
	return nil
}

// swapped returns raw with the bytes of each number in the other order.
func (h *npyHeader) swapped(raw []byte) []byte {
	word := h.width
	switch {
	case h.text == 'S' || word < 2:
		return raw
	case h.text == 'U':
		word = 4
	case h.dtype == tensor.Complex64 || h.dtype == tensor.Complex128:
		word /= 2
	}
	out := slices.Clone(raw)
	for i := 0; i+word <= len(out); i += word {
		slices.Reverse(out[i:][:word])
	}
	return out
}

// transposed returns raw, whose first dimension changes fastest, with the last one doing so.
func (h *npyHeader) transposed(raw []byte) []byte {
	out := make([]byte, len(raw))
	n := h.shape.Size()
	index := make([]int, len(h.shape))
	for i := range n {
		from, stride := 0, 1
		for d, k := range index {
			from += k * stride
			stride *= h.shape[d]
		}
		copy(out[i*h.width:][:h.width], raw[from*h.width:])
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < h.shape[d] {
				break
			}
			index[d] = 0
		}
	}
	return out
}

// string reads one string of fixed width, which zeros fill up.
func (h *npyHeader) string(raw []byte) (string, error) {
	if h.text == 'S' {
		s := strings.TrimRight(string(raw), "\x00")
		if !utf8.ValidString(s) {
			return "", fmt.Errorf("the bytes are not UTF-8")
		}
		return s, nil
	}
	var b strings.Builder
	for ; len(raw) >= 4; raw = raw[4:] {
		v := binary.LittleEndian.Uint32(raw)
		if v > utf8.MaxRune || !utf8.ValidRune(rune(v)) {
			return "", fmt.Errorf("%#x is no Unicode character", v)
		}
		b.WriteRune(rune(v))
	}
	return strings.TrimRight(b.String(), "\x00"), nil
}

// maxStrings limits the size of a string array's file, in which the longest string sets the width of all.
const maxStrings = math.MaxInt32

// WriteNPY writes t to w, little-endian and row-major. Strings become UTF-32 of the longest one's width, bfloat16 two
// opaque bytes.
func WriteNPY(w io.Writer, t *tensor.Tensor) error {
	descr, raw, err := npyElements(t)
	if err != nil {
		return err
	}
	for _, part := range [][]byte{npyHead(descr, t.Shape()), raw} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("write .npy: %w", err)
		}
	}
	return nil
}

// npyElements returns the type's code and the elements as the file holds them.
func npyElements(t *tensor.Tensor) (descr string, raw []byte, err error) {
	if ss, ok := t.Raw().([]string); ok {
		longest := 1
		for i, s := range ss {
			if !utf8.ValidString(s) {
				return "", nil, fmt.Errorf("%w: .npy: string %s is not UTF-8", ErrUnsupportedType, position(t.Shape(), i))
			}
			longest = max(longest, utf8.RuneCountInString(s))
		}
		if len(ss) > maxStrings/4/longest {
			return "", nil, fmt.Errorf("%w: .npy: %d strings of up to %d characters", ErrTooLarge, len(ss), longest)
		}
		raw = make([]byte, len(ss)*longest*4)
		for i, s := range ss {
			at := raw[i*longest*4:]
			for _, r := range s {
				binary.LittleEndian.PutUint32(at, uint32(r))
				at = at[4:]
			}
		}
		return fmt.Sprintf("<U%d", longest), raw, nil
	}
	for code, d := range npyTypes {
		if d == t.DType() {
			order := "<"
			if d.Size() == 1 {
				order = "|"
			}
			return order + code, t.Bytes(), nil
		}
	}
	return "", nil, fmt.Errorf("%w: .npy: %v", ErrUnsupportedType, t.DType())
}
