package oip

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/millrace/millrace/serve"
)

// maxDepth is how deep JSON may be nested.
const maxDepth = 64

// scanner reads JSON (RFC 8259) from memory without reflection. It refuses what the standard refuses, but for the bare
// tokens NaN, Infinity and -Infinity where a tensor's numbers are, which Python's clients write.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) fault(format string, args ...any) error {
	return fmt.Errorf("%w: JSON, byte %d: %s", serve.ErrRequest, s.i, fmt.Sprintf(format, args...))
}

// peek skips blanks and returns the next byte, 0 at the end.
func (s *scanner) peek() byte {
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

// expect takes one byte after blanks.
func (s *scanner) expect(c byte) error {
	if got := s.peek(); got != c {
		return s.unexpected(string(c))
	}
	s.i++
	return nil
}

func (s *scanner) unexpected(wanted string) error {
	if s.i >= len(s.b) {
		return s.fault("it ends where %s should be", wanted)
	}
	return s.fault("%q where %s should be", s.b[s.i], wanted)
}

// object calls field for every member, with the scanner at its value. A name twice is a fault.
func (s *scanner) object(field func(name string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.i++
		return nil
	}
	for {
		if s.peek() != '"' {
			return s.unexpected("a field's name")
		}
		name, err := s.text()
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		if err := field(name); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return s.unexpected("a comma or }")
		}
	}
}

// array calls element for every element, with the scanner at it.
func (s *scanner) array(element func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	if s.peek() == ']' {
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
func (s *scanner) next() (done bool, err error) {
	switch s.peek() {
	case ',':
		s.i++
		return false, nil
	case ']':
		s.i++
		return true, nil
	}
	return false, s.unexpected("a comma or ]")
}

// null takes null where it is next.
func (s *scanner) null() bool { return s.peek() == 'n' && s.literal("null") }

func (s *scanner) literal(word string) bool {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		return false
	}
	s.i += len(word)
	return true
}

func (s *scanner) bool() (bool, error) {
	switch {
	case s.peek() == 't' && s.literal("true"):
		return true, nil
	case s.peek() == 'f' && s.literal("false"):
		return false, nil
	}
	return false, s.unexpected("true or false")
}

// string returns a string of its own memory. What is no UTF-8, and half a surrogate pair, is a fault.
func (s *scanner) string() (string, error) {
	v, err := s.text()
	return strings.Clone(v), err
}

// text is string, but what it returns may share the scanner's memory.
func (s *scanner) text() (string, error) {
	if s.peek() != '"' {
		return "", s.unexpected("a string")
	}
	start := s.i + 1
	for i := start; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			if !utf8.Valid(s.b[start:i]) {
				return "", s.fault("a string is no UTF-8")
			}
			s.i = i + 1
			return unsafe.String(unsafe.SliceData(s.b[start:]), i-start), nil
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			s.i = i
			return "", s.fault("a control character in a string")
		}
	}
	s.i = len(s.b)
	return "", s.fault("a string has no end")
}

// escaped reads on from the first backslash.
func (s *scanner) escaped(start, i int) (string, error) {
	out := append([]byte(nil), s.b[start:i]...)
	for i < len(s.b) {
		c := s.b[i]
		switch {
		case c == '"':
			if !utf8.Valid(out) {
				return "", s.fault("a string is no UTF-8")
			}
			s.i = i + 1
			return string(out), nil
		case c < ' ':
			s.i = i
			return "", s.fault("a control character in a string")
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
				return "", s.fault("a \\u that is no character")
			}
			out = utf8.AppendRune(out, r)
			i += n
		default:
			return "", s.fault("\\%c is no escape", e)
		}
	}
	s.i = len(s.b)
	return "", s.fault("a string has no end")
}

// rune reads what follows a \u at i, the second half of a surrogate pair included, and how long that is.
func (s *scanner) rune(i int) (r rune, n int, ok bool) {
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

// skip takes a value of any kind.
func (s *scanner) skip() error {
	depth := 0
	var open [maxDepth]byte
	for {
		switch c := s.peek(); c {
		case '{', '[':
			if depth == maxDepth {
				return s.fault("it is nested too deep")
			}
			s.i++
			open[depth] = c
			depth++
			if s.peek() == c+2 { // } and ] are two after their openers
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
			if _, err := s.text(); err != nil {
				return err
			}
		case 't', 'f':
			if _, err := s.bool(); err != nil {
				return err
			}
		case 'n', 'N', 'I':
			if !s.literal("null") && !s.literal("NaN") && !s.literal("Infinity") {
				return s.unexpected("a value")
			}
		default:
			if c == '-' && s.i+1 < len(s.b) && s.b[s.i+1] == 'I' {
				s.i++
				if !s.literal("Infinity") {
					return s.unexpected("a value")
				}
			} else if _, err := s.number(); err != nil {
				return err
			}
		}
		// The value is over: close what ends with it.
		for {
			if depth == 0 {
				return nil
			}
			c := s.peek()
			if c == open[depth-1]+2 {
				s.i++
				depth--
				continue
			}
			if c != ',' {
				return s.unexpected("a comma or an end")
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
func (s *scanner) name() error {
	if s.peek() != '"' {
		return s.unexpected("a field's name")
	}
	if _, err := s.text(); err != nil {
		return err
	}
	return s.expect(':')
}

// number takes a number and returns its text, which shares the scanner's memory.
func (s *scanner) number() (string, error) {
	s.peek()
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
		return "", s.unexpected("a number")
	}
	if i < len(b) && b[i] == '.' {
		end := digits(b, i+1)
		if end == i+1 {
			return "", s.fault("a number ends in its point")
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
			return "", s.fault("a number ends in its exponent")
		}
		i = end
	}
	if i < len(b) && (b[i] >= '0' && b[i] <= '9' || b[i]|0x20 >= 'a' && b[i]|0x20 <= 'z') {
		return "", s.fault("a number goes on as none can")
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
