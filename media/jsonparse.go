package media

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// maxDepth is how deep nested arrays may be: more than any tensor's rank, less than a stack.
const maxDepth = 32

// elements parses nested JSON arrays of numbers, strings or booleans straight into a tensor. The bare tokens NaN,
// Infinity and -Infinity, which Python writes, are read as what they say; null is refused.
type elements struct {
	dst  *tensor.Tensor
	at   int // where in dst the first element goes
	most int // elements there is room for
	n    int // elements read
	data []byte
	pos  int
}

// parse returns the shape that the nesting has; a value without brackets has the empty one.
func (p *elements) parse(data []byte) (tensor.Shape, error) {
	p.data, p.pos = data, 0
	var sizes [maxDepth]int
	for i := range sizes {
		sizes[i] = -1
	}
	rank, err := p.value(sizes[:], 0)
	if err != nil {
		return nil, err
	}
	p.space()
	if p.pos != len(p.data) {
		return nil, p.fault("nothing more was expected")
	}
	shape := make(tensor.Shape, rank)
	copy(shape, sizes[:rank])
	return shape, nil
}

func (p *elements) value(sizes []int, depth int) (rank int, err error) {
	p.space()
	if p.pos >= len(p.data) {
		return 0, p.fault("the end came too early")
	}
	if p.data[p.pos] != '[' {
		return depth, p.element()
	}
	if depth == len(sizes) {
		return 0, p.fault("arrays are nested too deep")
	}
	p.pos++
	rank = depth + 1
	count := 0
	for p.space(); p.pos < len(p.data) && p.data[p.pos] != ']'; p.space() {
		if count > 0 {
			if p.data[p.pos] != ',' {
				return 0, p.fault("a comma or ] was expected")
			}
			p.pos++
		}
		r, err := p.value(sizes, depth+1)
		if err != nil {
			return 0, err
		}
		if count > 0 && r != rank {
			return 0, p.fault("arrays of different depth stand side by side")
		}
		rank = r
		count++
	}
	if p.pos >= len(p.data) {
		return 0, p.fault("the end came too early")
	}
	p.pos++
	if sizes[depth] >= 0 && sizes[depth] != count {
		return 0, p.fault(fmt.Sprintf("an array has %d elements, one before it %d", count, sizes[depth]))
	}
	sizes[depth] = count
	return rank, nil
}

func (p *elements) element() error {
	if p.n >= p.most {
		return fmt.Errorf("%w: JSON: more than %d elements", ErrShape, p.most)
	}
	start := p.pos
	if p.data[start] == '"' {
		return p.text()
	}
	for p.pos < len(p.data) && !slices.Contains([]byte(",] \t\r\n"), p.data[p.pos]) {
		p.pos++
	}
	token := p.data[start:p.pos]
	if err := p.store(token); err != nil {
		p.pos = start
		return p.fault(err.Error())
	}
	p.n++
	return nil
}

// text reads a string, which only string tensors take.
func (p *elements) text() error {
	start := p.pos
	for p.pos++; p.pos < len(p.data) && p.data[p.pos] != '"'; p.pos++ {
		if p.data[p.pos] == '\\' {
			p.pos++
		}
	}
	if p.pos >= len(p.data) {
		return p.fault("a string does not end")
	}
	p.pos++
	d, ok := p.dst.Raw().([]string)
	if !ok {
		p.pos = start
		return p.fault(fmt.Sprintf("a string cannot be an element of type %v", p.dst.DType()))
	}
	if err := json.Unmarshal(p.data[start:p.pos], &d[p.at+p.n]); err != nil {
		p.pos = start
		return p.fault(err.Error())
	}
	p.n++
	return nil
}

// store parses a number or boolean as element p.n.
func (p *elements) store(token []byte) error {
	i := p.at + p.n
	word := string(token) // on the stack: what errors show of it is cloned
	switch d := p.dst.Raw().(type) {
	case []bool:
		switch word {
		case "true":
			d[i] = true
		case "false":
			d[i] = false
		default:
			return fmt.Errorf("%.40q is neither true nor false", strings.Clone(word))
		}
		return nil
	case []int64:
		v, err := parseInt(word, 64)
		d[i] = v
		return err
	case []int32:
		v, err := parseInt(word, 32)
		d[i] = int32(v)
		return err
	case []int16:
		v, err := parseInt(word, 16)
		d[i] = int16(v)
		return err
	case []int8:
		v, err := parseInt(word, 8)
		d[i] = int8(v)
		return err
	case []uint64:
		v, err := parseUint(word, 64)
		d[i] = v
		return err
	case []uint32:
		v, err := parseUint(word, 32)
		d[i] = uint32(v)
		return err
	case []uint16:
		v, err := parseUint(word, 16)
		d[i] = uint16(v)
		return err
	case []uint8:
		v, err := parseUint(word, 8)
		d[i] = uint8(v)
		return err
	case []string:
		return fmt.Errorf("%.40q is no string", strings.Clone(word))
	}
	bits := 64
	if p.dst.DType() == tensor.Float32 {
		bits = 32
	}
	v, err := parseFloat(word, bits)
	if err != nil {
		return err
	}
	return setFloat(p.dst, i, v)
}

func parseFloat(word string, bits int) (float64, error) {
	switch word {
	case "NaN":
		return math.NaN(), nil
	case "Infinity":
		return math.Inf(1), nil
	case "-Infinity":
		return math.Inf(-1), nil
	}
	if !isNumber(word) {
		return 0, fmt.Errorf("%.40q is no number", strings.Clone(word))
	}
	v, err := strconv.ParseFloat(word, bits)
	if err != nil {
		return 0, fmt.Errorf("%.40s is out of float%d's range", strings.Clone(word), bits)
	}
	return v, nil
}

func parseInt(word string, bits int) (int64, error) {
	v, err := strconv.ParseInt(word, 10, bits)
	if err != nil || !isNumber(word) {
		return 0, fmt.Errorf("%.40q is no int%d", strings.Clone(word), bits)
	}
	return v, nil
}

func parseUint(word string, bits int) (uint64, error) {
	v, err := strconv.ParseUint(word, 10, bits)
	if err != nil || !isNumber(word) {
		return 0, fmt.Errorf("%.40q is no uint%d", strings.Clone(word), bits)
	}
	return v, nil
}

// isNumber holds word against JSON's grammar, which is narrower than strconv's (no hexadecimal, no underscores, no
// leading zeros or plus).
func isNumber(word string) bool {
	i := 0
	digits := func() bool {
		start := i
		for i < len(word) && word[i] >= '0' && word[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(word) && word[i] == '-' {
		i++
	}
	start := i
	if !digits() || word[start] == '0' && i > start+1 {
		return false
	}
	if i < len(word) && word[i] == '.' {
		i++
		if !digits() {
			return false
		}
	}
	if i < len(word) && (word[i] == 'e' || word[i] == 'E') {
		i++
		if i < len(word) && (word[i] == '+' || word[i] == '-') {
			i++
		}
		if !digits() {
			return false
		}
	}
	return i == len(word)
}

func (p *elements) space() {
	for p.pos < len(p.data) {
		switch p.data[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

func (p *elements) fault(what string) error {
	return fmt.Errorf("%w: JSON at byte %d: %s", ErrMalformed, p.pos, what)
}
