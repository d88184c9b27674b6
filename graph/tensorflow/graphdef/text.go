package graphdef

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Kinds of files, as Binary takes them.
const (
	GraphDef     = "GraphDef"
	MetaGraphDef = "MetaGraphDef"
	SavedModel   = "SavedModel"
)

// maxDepth limits how deep messages nest in the text form.
const maxDepth = 64

// Binary turns the text form of a message, one of the constants, into the binary one. Fields that are not read are left out,
// known or not. A fault is ErrFormat, with its line.
func Binary(kind string, data []byte) ([]byte, error) {
	p := &parser{rest: string(data), line: 1}
	out, err := p.message(schema[kind], kind, nil, "", 0)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", p.line, err)
	}
	return out, nil
}

// IsText reports whether data looks like the text form: it begins with a field's name or a comment.
func IsText(data []byte) bool {
	head := strings.TrimLeft(string(data[:min(len(data), 4096)]), " \t\r\n")
	if head == "" {
		return false
	}
	for i, c := range []byte(head) {
		switch {
		case c == '#' && i == 0:
			return true
		case isWord(c):
		case i > 0 && (c == ':' || c == '{' || c == '<' || c == ' '):
			return true
		default:
			return false
		}
	}
	return false
}

// parser reads protobuf's text form.
type parser struct {
	rest string
	line int
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func (p *parser) fail(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// peek skips space and comments, and returns the next character, or 0 at the end.
func (p *parser) peek() byte {
	for p.rest != "" {
		switch c := p.rest[0]; c {
		case '\n':
			p.line++
			p.rest = p.rest[1:]
		case ' ', '\t', '\r', '\v', '\f':
			p.rest = p.rest[1:]
		case '#':
			if i := strings.IndexByte(p.rest, '\n'); i >= 0 {
				p.rest = p.rest[i:]
			} else {
				p.rest = ""
			}
		default:
			return c
		}
	}
	return 0
}

// take reads c where it comes next.
func (p *parser) take(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// word reads letters, digits, and whatever else numbers are made of.
func (p *parser) word(more string) string {
	p.peek()
	n := 0
	for n < len(p.rest) && (isWord(p.rest[n]) || strings.IndexByte(more, p.rest[n]) >= 0) {
		n++
	}
	w := p.rest[:n]
	p.rest = p.rest[n:]
	return w
}

// message reads fields until end ("" for the end of the file), and appends their binary form. A nil m skips them.
func (p *parser) message(m message, name string, out []byte, end string, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, p.fail("messages nest more than %d deep", maxDepth)
	}
	for {
		c := p.peek()
		if c == 0 {
			if end != "" {
				return nil, p.fail("%s is not closed", name)
			}
			return out, nil
		}
		if end != "" && c == end[0] {
			p.rest = p.rest[1:]
			return out, nil
		}
		var err error
		if out, err = p.field(m, name, out, depth); err != nil {
			return nil, err
		}
		if !p.take(',') {
			p.take(';')
		}
	}
}

func (p *parser) field(m message, of string, out []byte, depth int) ([]byte, error) {
	var name string
	if p.take('[') { // an extension or a packed Any
		i := strings.IndexByte(p.rest, ']')
		if i < 0 {
			return nil, p.fail("a name in brackets is not closed")
		}
		name, p.rest = p.rest[:i], p.rest[i+1:]
	} else if name = p.word(""); name == "" {
		return nil, p.fail("expected the name of a field of %s, not %q", of, p.rest[:1])
	}
	f, known := m[name]
	colon := p.take(':')
	if p.take('[') {
		for !p.take(']') {
			var err error
			if out, err = p.value(f, known, name, out, depth); err != nil {
				return nil, err
			}
			if !p.take(',') && p.peek() != ']' {
				return nil, p.fail("the list of %s is not closed", name)
			}
		}
		return out, nil
	}
	if c := p.peek(); !colon && c != '{' && c != '<' {
		return nil, p.fail("expected a colon or a brace after %s", name)
	}
	return p.value(f, known, name, out, depth)
}

// value reads one value of a field.
func (p *parser) value(f field, known bool, name string, out []byte, depth int) ([]byte, error) {
	end := ""
	if p.take('{') {
		end = "}"
	} else if p.take('<') {
		end = ">"
	}
	if end != "" {
		if known && f.kind != msg {
			return nil, p.fail("%s is no message", name)
		}
		var sub message
		if known {
			sub = schema[f.of]
		}
		inner, err := p.message(sub, name, nil, end, depth+1)
		if err != nil || !known {
			return out, err
		}
		return protowire.AppendBytes(protowire.AppendTag(out, protowire.Number(f.num), protowire.BytesType), inner), nil
	}
	if c := p.peek(); c == '"' || c == '\'' {
		s, err := p.str()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if !known {
			return out, nil
		}
		if f.kind != text {
			return nil, p.fail("%s is no string", name)
		}
		return protowire.AppendBytes(protowire.AppendTag(out, protowire.Number(f.num), protowire.BytesType), s), nil
	}
	word := ""
	if p.take('-') {
		word = "-"
	}
	if word += p.word(".+-"); word == "" || word == "-" {
		return nil, p.fail("%s has no value", name)
	}
	if !known {
		return out, nil
	}
	return p.scalar(f, name, word, out)
}

func (p *parser) scalar(f field, name, word string, out []byte) ([]byte, error) {
	num := protowire.Number(f.num)
	switch f.kind {
	case varint:
		v, err := integer(word)
		if err != nil {
			return nil, p.fail("%s is %q, which is no integer", name, word)
		}
		return protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), v), nil
	case dataType:
		for i, d := range dataTypes {
			if ref, isRef := strings.CutSuffix(word, "_REF"); d.name == ref {
				if isRef {
					i += 100
				}
				return protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), uint64(i)), nil
			}
		}
		v, err := integer(word)
		if err != nil {
			return nil, p.fail("%s is %q, which is no data type", name, word)
		}
		return protowire.AppendVarint(protowire.AppendTag(out, num, protowire.VarintType), v), nil
	case float, double:
		v, err := strconv.ParseFloat(strings.TrimRight(word, "fF"), 64)
		if err != nil && strings.EqualFold(strings.TrimLeft(word, "-"), "inf") {
			v, err = strconv.ParseFloat(word, 64)
		}
		if err != nil && !math.IsInf(v, 0) { // beyond the range is an infinity
			return nil, p.fail("%s is %q, which is no number", name, word)
		}
		if f.kind == double {
			return protowire.AppendFixed64(protowire.AppendTag(out, num, protowire.Fixed64Type), math.Float64bits(v)), nil
		}
		v32, _ := strconv.ParseFloat(strings.TrimRight(word, "fF"), 32)
		if math.IsInf(v, 0) || math.IsNaN(v) {
			v32 = v
		}
		return protowire.AppendFixed32(protowire.AppendTag(out, num, protowire.Fixed32Type), math.Float32bits(float32(v32))), nil
	}
	return nil, p.fail("%s is %q, which does not fit", name, word)
}

// integer reads a number or a boolean as protobuf keeps it.
func integer(word string) (uint64, error) {
	switch word {
	case "true", "True", "t":
		return 1, nil
	case "false", "False", "f":
		return 0, nil
	}
	if v, err := strconv.ParseInt(word, 0, 64); err == nil {
		return uint64(v), nil
	}
	return strconv.ParseUint(word, 0, 64)
}

// str reads one or more quoted strings that follow each other.
func (p *parser) str() ([]byte, error) {
	out := []byte{}
	for {
		quote := p.peek()
		if quote != '"' && quote != '\'' {
			return out, nil
		}
		p.rest = p.rest[1:]
		for {
			i := strings.IndexAny(p.rest, "\\\n"+string(quote))
			if i < 0 || p.rest[i] == '\n' {
				return nil, p.fail("a string is not closed")
			}
			out = append(out, p.rest[:i]...)
			closed := p.rest[i] == quote
			p.rest = p.rest[i+1:]
			if closed {
				break
			}
			var err error
			if out, err = p.escape(out); err != nil {
				return nil, err
			}
		}
	}
}

var escapes = map[byte]byte{'n': '\n', 'r': '\r', 't': '\t', 'a': '\a', 'b': '\b', 'f': '\f', 'v': '\v', '\\': '\\', '\'': '\'', '"': '"', '?': '?'}

// escape reads what follows a backslash.
func (p *parser) escape(out []byte) ([]byte, error) {
	if p.rest == "" {
		return nil, p.fail("a string is not closed")
	}
	c := p.rest[0]
	if plain, ok := escapes[c]; ok {
		p.rest = p.rest[1:]
		return append(out, plain), nil
	}
	digits := func(skip, most, base int) (uint64, error) {
		n := skip
		for n < len(p.rest) && n < skip+most && strings.IndexByte("0123456789abcdefABCDEF"[:map[int]int{8: 8, 16: 22}[base]], p.rest[n]) >= 0 {
			n++
		}
		v, err := strconv.ParseUint(p.rest[skip:n], base, 32)
		if err != nil {
			return 0, p.fail("the escape \\%s is damaged", p.rest[:n])
		}
		p.rest = p.rest[n:]
		return v, nil
	}
	switch {
	case c >= '0' && c <= '7':
		v, err := digits(0, 3, 8)
		return append(out, byte(v)), err
	case c == 'x' || c == 'X':
		v, err := digits(1, 2, 16)
		return append(out, byte(v)), err
	case c == 'u':
		v, err := digits(1, 4, 16)
		return append(out, string(rune(v))...), err
	case c == 'U':
		v, err := digits(1, 8, 16)
		return append(out, string(rune(v))...), err
	}
	return nil, p.fail("there is no escape \\%c", c)
}
