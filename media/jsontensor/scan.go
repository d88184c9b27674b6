// Package jsontensor reads and writes tensors as JSON: nested or flat arrays of numbers, booleans and strings. What stands around
// them, and which tensor a model takes, is left to whoever uses it.
package jsontensor

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth is how deep JSON may be nested, and MaxRank how many dimensions a tensor may have.
const (
	MaxDepth = 64
	MaxRank  = 32
)

// Dialect is how a Scanner answers.
type Dialect struct {
	// Malformed is what faults of the text wrap, and Shape what data wraps that is another number of elements than its shape. Both
	// are required.
	Malformed, Shape error
	// Null takes null among numbers as NaN.
	Null bool
	// Special takes the bare tokens NaN, Infinity and -Infinity, which Python's clients write, where floating-point numbers
	// are.
	Special bool
}

// A Scanner reads JSON (RFC 8259) from memory without reflection. It refuses what the standard refuses, but for what its
// Dialect takes. After an error it stands anywhere.
type Scanner struct {
	b       []byte
	i       int
	element int // of the data that is read, for its faults
	dialect Dialect
}

// NewScanner returns a scanner at the beginning of data, which must not change while what it read is used.
func NewScanner(data []byte, d Dialect) *Scanner { return &Scanner{b: data, dialect: d} }

// Pos is where the scanner stands, in bytes.
func (s *Scanner) Pos() int { return s.i }

// At returns another scanner of the same text that stands at pos.
func (s *Scanner) At(pos int) *Scanner { return &Scanner{b: s.b, i: pos, dialect: s.dialect} }

// Since returns the text from pos to where the scanner stands.
func (s *Scanner) Since(pos int) []byte { return s.b[pos:s.i] }

// End reports whether nothing but blanks is left.
func (s *Scanner) End() bool {
	s.Peek()
	return s.i >= len(s.b)
}

// Fault is an error at the place where the scanner stands.
func (s *Scanner) Fault(format string, args ...any) error {
	return s.fault(s.dialect.Malformed, format, args...)
}

func (s *Scanner) misfit(format string, args ...any) error {
	return s.fault(s.dialect.Shape, format, args...)
}

func (s *Scanner) fault(kind error, format string, args ...any) error {
	return fmt.Errorf("%w: JSON, byte %d: %s", kind, s.i, fmt.Sprintf(format, args...))
}

// Peek skips blanks and returns the next byte, 0 at the end.
func (s *Scanner) Peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\n', '\t', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// Expect takes one byte after blanks.
func (s *Scanner) Expect(c byte) error {
	if got := s.Peek(); got != c {
		return s.Unexpected(string(c))
	}
	s.i++
	return nil
}

// Unexpected is the fault that something else than what was wanted comes next.
func (s *Scanner) Unexpected(wanted string) error {
	if s.i >= len(s.b) {
		return s.Fault("it ends where %s should be", wanted)
	}
	return s.Fault("%q where %s should be", s.b[s.i], wanted)
}

// Object calls field for every member, with the scanner at its value. A name twice is a fault.
func (s *Scanner) Object(field func(name string) error) error {
	if err := s.Expect('{'); err != nil {
		return err
	}
	if s.Peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.Peek() != '"' {
			return s.Unexpected("a field's name")
		}
		name, err := s.Text()
		if err != nil {
			return err
		}
		if err := s.Expect(':'); err != nil {
			return err
		}
		if err := field(name); err != nil {
			return err
		}
		switch s.Peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.Unexpected("a comma or }")
		}
	}
}

// Array calls element for every element, with the scanner at it.
func (s *Scanner) Array(element func() error) error {
	if err := s.Expect('['); err != nil {
		return err
	}
	if s.Peek() == ']' {
		s.i++
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		done, err := s.next()
		if err != nil || done {
			return err
		}
	}
}

// next takes the comma after an element, or the array's end.
func (s *Scanner) next() (done bool, err error) {
	switch s.Peek() {
	case ',':
		s.i++
		return false, nil
	case ']':
		s.i++
		return true, nil
	}
	return false, s.Unexpected("a comma or ]")
}

// Null takes null where it is next.
func (s *Scanner) Null() bool { return s.Peek() == 'n' && s.literal("null") }

func (s *Scanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return false
	}
	s.i += len(word)
	return true
}

// Bool takes true or false.
func (s *Scanner) Bool() (bool, error) {
	switch {
	case s.Peek() == 't' && s.literal("true"):
		return true, nil
	case s.Peek() == 'f' && s.literal("false"):
		return false, nil
	}
	return false, s.Unexpected("true or false")
}

// String returns a string of its own memory. What is no UTF-8, and half a surrogate pair, is a fault.
func (s *Scanner) String() (string, error) {
	v, err := s.Text()
	return strings.Clone(v), err
}

// Text is String, but what it returns may share the scanner's memory.
func (s *Scanner) Text() (string, error) {
	if s.Peek() != '"' {
		return "", s.Unexpected("a string")
	}
	start := s.i + 1
	for i := start; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			if !utf8.Valid(s.b[start:i]) {
				return "", s.Fault("a string is no UTF-8")
			}
			s.i = i + 1
			return unsafe.String(unsafe.SliceData(s.b[start:]), i-start), nil
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			s.i = i
			return "", s.Fault("a control character in a string")
		}
	}
	s.i = len(s.b)
	return "", s.Fault("a string has no end")
}

// escaped reads on from the first backslash.
func (s *Scanner) escaped(start, i int) (string, error) {
	out := append([]byte(nil), s.b[start:i]...)
	for i < len(s.b) {
		c := s.b[i]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", s.Fault("a string is no UTF-8")
			}
			s.i = i + 1
			return string(out), nil
		case c < ' ':
			s.i = i
			return "", s.Fault("a control character in a string")
		case c != '\\':
			out = append(out, c)
			i++
			continue
		}
		s.i = i
		if i+1 >= len(s.b) {
			break
		}
		i += 2
		switch e := s.b[i-1]; e {
		case '"', '\\', '/':
			out = append(out, e)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, n, ok := s.rune(i)
			if !ok {
				return "", s.Fault("a \\u that is no character")
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			return "", s.Fault("\\%c is no escape", e)
		}
	}
	s.i = len(s.b)
	return "", s.Fault("a string has no end")
}

// rune reads what follows a \u at i, the second half of a surrogate pair included, and how long that is.
func (s *Scanner) rune(i int) (r rune, n int, ok bool) {
	hex := func(i int) (rune, bool) {
		if i+4 > len(s.b) {
			return 0, false
		}
		v, err := strconv.ParseUint(string(s.b[i:i+4]), 16, 16)
		return rune(v), err == nil
	}
	r, ok = hex(i)
	if !ok || !utf16.IsSurrogate(r) {
		return r, 4, ok
	}
	if i+6 > len(s.b) || s.b[i+4] != '\\' || s.b[i+5] != 'u' {
		return 0, 0, false
	}
	low, ok := hex(i + 6)
	r = utf16.DecodeRune(r, low)
	return r, 10, ok && r != utf8.RuneError
}

// Skip takes a value of any kind.
func (s *Scanner) Skip() error {
	depth := 0
	var open [MaxDepth]byte
	for {
		switch c := s.Peek(); c {
		case '{', '[':
			if depth == MaxDepth {
				return s.Fault("it is nested too deep")
			}
			s.i++
			open[depth] = c
			depth++
			if s.Peek() == c+2 { // } and ] are two after their openers
				s.i++
				depth--
				break
			}
			if c == '{' {
				if err := s.name(); err != nil {
					return err
				}
			}
			continue
		case '"':
			if _, err := s.Text(); err != nil {
				return err
			}
		case 't', 'f':
			if _, err := s.Bool(); err != nil {
				return err
			}
		case 'n':
			if !s.literal("null") {
				return s.Unexpected("a value")
			}
		default:
			if _, ok := s.token(); ok {
				break
			}
			if _, err := s.number(); err != nil {
				return err
			}
		}
		// The value is over: close what ends with it.
		for {
			if depth == 0 {
				return nil
			}
			c := s.Peek()
			if c == open[depth-1]+2 {
				s.i++
				depth--
				continue
			}
			if c != ',' {
				return s.Unexpected("a comma or an end")
			}
			s.i++
			if open[depth-1] == '{' {
				if err := s.name(); err != nil {
					return err
				}
			}
			break
		}
	}
}

// name takes a field's name and its colon.
func (s *Scanner) name() error {
	if s.Peek() != '"' {
		return s.Unexpected("a field's name")
	}
	if _, err := s.Text(); err != nil {
		return err
	}
	return s.Expect(':')
}

// number takes a number and returns its text, which shares the scanner's memory.
func (s *Scanner) number() (string, error) {
	s.Peek()
	i, start := s.i, s.i
	b := s.b
	if i < len(b) && b[i] == '-' {
		i++
	}
	switch {
	case i < len(b) && b[i] == '0':
		i++
	case i < len(b) && b[i] >= '1' && b[i] <= '9':
		i = digits(b, i)
	default:
		return "", s.Unexpected("a number")
	}
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return "", s.Fault("a number ends in its point")
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := digits(b, i)
		if end == i {
			return "", s.Fault("a number ends in its exponent")
		}
		i = end
	}
	if i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i]|0x20 >= 'a' && b[i]|0x20 <= 'z') {
		return "", s.Fault("a number goes on as none can")
	}
	s.i = i
	return unsafe.String(&b[start], i-start), nil
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i] >= '0' && b[i] <= '9' {
		i++
	}
	return i
}
