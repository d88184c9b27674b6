package jsontensor

import (
	"math"
	"strconv"
)

var pow10 = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
}

// float reads a number that nearly all are like: up to 15 digits, and a power of ten that is exact (Clinger 1990,
// "How to read floating point numbers accurately": one rounding of two exact operands is right). ok is false for any
// other, with the scanner where it was.
func (s *Scanner) float() (v float64, ok bool) {
	b, i := s.b, s.i
	neg := i < len(b) && b[i] == '-'
	if neg {
		i++
	}
	start := i
	var mant uint64
	for i < len(b) && b[i]-'0' <= 9 {
		mant = mant*10 + uint64(b[i]-'0')
		i++
	}
	n := i - start
	if n == 0 || n > 1 && b[start] == '0' {
		return 0, false
	}
	exp := 0
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			mant = mant*10 + uint64(b[i]-'0')
			i++
		}
		exp = point - i
		n -= exp
		if exp == 0 {
			return 0, false
		}
	}
	if n > 15 {
		return 0, false
	}
	if i < len(b) {
		switch c := b[i]; c {
		case ',', ']', ' ', '\n', '\r', '\t':
		default: // an exponent, or no number
			return 0, false
		}
	}
	v = float64(mant)
	if exp < 0 {
		v /= pow10[-exp]
	}
	if neg {
		v = -v
	}
	s.i = i
	return v, true
}

// pow10f are the powers of ten that float32 holds exactly.
var pow10f = [...]float32{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10}

// outOf is the fault of an element that its type cannot hold.
func (s *Scanner) outOf(kind, text string) error {
	return s.Fault("element %d: %.40s is out of %s's range", s.element, text, kind)
}

// floats reads the numbers of an array into dst from n on, until the array's end or until dst is full, where it stops behind a
// comma; it returns how many there are then. The loop itself reads what nearly all numbers are like, up to 15 digits without
// an exponent: a whole number below 2^24 over one of these powers of ten is one rounding of two exact operands, as in float,
// and a longer one takes float64 for a step between. Everything else goes through float32.
func (s *Scanner) floats(dst []float32, n int) (int, error) {
	if s.Peek() == ']' {
		return n, nil
	}
	b := s.b
	for n < len(dst) {
		i := s.i
		neg := i < len(b) && b[i] == '-'
		if neg {
			i++
		}
		first := i
		var mant uint64
		for i < len(b) && b[i]-'0' <= 9 && i-first < 15 {
			mant = mant*10 + uint64(b[i]-'0')
			i++
		}
		digits := i - first
		ok := digits > 0 && (digits == 1 || b[first] != '0')
		exp := 0
		if ok && i < len(b) && b[i] == '.' {
			i++
			point := i
			for i < len(b) && b[i]-'0' <= 9 && i-first < 16 {
				mant = mant*10 + uint64(b[i]-'0')
				i++
			}
			exp = i - point
			ok = exp > 0
		}
		var v float32
		switch {
		case !ok || i >= len(b) || b[i] != ',' && b[i] != ']':
			ok = false
		case mant <= 1<<24 && exp < len(pow10f):
			v = float32(mant)
			if exp > 0 && mant > 0 {
				v /= pow10f[exp]
			}
		default:
			v, ok = narrow(float64(mant) / pow10[exp])
		}
		if !ok {
			s.element = n
			v, err := s.float32()
			if err != nil {
				return n, err
			}
			dst[n] = v
			n++
			if s.Peek() != ',' {
				return n, nil
			}
			i = s.i
		} else {
			if neg {
				v = -v
			}
			dst[n] = v
			n++
			s.i = i
			if b[i] == ']' {
				return n, nil
			}
		}
		s.i = i + 1
		if s.i < len(b) && (b[s.i]-'0' <= 9 || b[s.i] == '-') {
			continue
		}
		if s.Peek() == ']' {
			return n, s.Unexpected("a number")
		}
	}
	return n, nil
}

// float32 reads one number; NaN and infinities as their tokens.
func (s *Scanner) float32() (float32, error) {
	if v, ok := s.float(); ok {
		if f, ok := narrow(v); ok {
			return f, nil
		}
		return s.slow32(v)
	}
	v, special, err := s.special()
	if special || err != nil {
		return float32(v), err
	}
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(text, 32)
	if err != nil {
		return 0, s.outOf("FP32", text)
	}
	return float32(f), nil
}

// narrow rounds to float32. It is not ok where v, itself rounded once, lies half-way between two float32s, so that
// rounding again might go the wrong way, and where float32s are subnormal or infinite.
func narrow(v float64) (float32, bool) {
	bits := math.Float64bits(v)
	const half = 1 << 28
	if bits&(1<<29-1) == half {
		return 0, false
	}
	abs := math.Abs(v)
	if abs > math.MaxFloat32 || abs < 0x1p-126 && v != 0 {
		return 0, false
	}
	return float32(v), true
}

// slow32 rounds a number that float read; it goes back to its text.
func (s *Scanner) slow32(v float64) (float32, error) {
	start := s.i
	for start > 0 && (s.b[start-1]-'0' <= 9 || s.b[start-1] == '.' || s.b[start-1] == '-') {
		start--
	}
	f, err := strconv.ParseFloat(string(s.b[start:s.i]), 32)
	if err != nil {
		return 0, s.outOf("FP32", strconv.FormatFloat(v, 'g', -1, 64))
	}
	return float32(f), nil
}

func (s *Scanner) float64() (float64, error) {
	if v, ok := s.float(); ok {
		return v, nil
	}
	v, special, err := s.special()
	if special || err != nil {
		return v, err
	}
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, s.outOf("FP64", text)
	}
	return f, nil
}

// special reads null and the tokens that are no JSON numbers.
func (s *Scanner) special() (v float64, ok bool, err error) {
	c := s.Peek()
	if c == 'n' && s.dialect.Null && s.literal("null") {
		return math.NaN(), true, nil
	}
	if v, ok := s.token(); ok {
		return v, true, nil
	}
	if c == '-' || c >= '0' && c <= '9' {
		return 0, false, nil
	}
	return 0, false, s.Unexpected("a number")
}

// token takes one of Python's bare tokens.
func (s *Scanner) token() (v float64, ok bool) {
	if !s.dialect.Special || s.i >= len(s.b) {
		return 0, false
	}
	switch s.b[s.i] {
	case 'N':
		return math.NaN(), s.literal("NaN")
	case 'I':
		return math.Inf(1), s.literal("Infinity")
	case '-':
		return math.Inf(-1), s.literal("-Infinity")
	}
	return 0, false
}

// Integer reads a whole number of at most 64 bits, exactly: its size and whether it is negative.
func (s *Scanner) Integer() (mag uint64, neg bool, err error) {
	text, err := s.number()
	if err != nil {
		return 0, false, err
	}
	mag, neg, ok := parseWhole(text)
	if !ok {
		err = s.Fault("%.40s is no whole number of at most 64 bits", text)
	}
	return mag, neg, err
}

// whole is Integer for an element.
func (s *Scanner) whole() (mag uint64, neg bool, err error) {
	text, err := s.number()
	if err != nil {
		return 0, false, err
	}
	mag, neg, ok := parseWhole(text)
	if !ok {
		err = s.Fault("element %d: %.40s is no whole number of at most 64 bits", s.element, text)
	}
	return mag, neg, err
}

func parseWhole(text string) (mag uint64, neg, ok bool) {
	if text[0] == '-' {
		neg, text = true, text[1:]
	}
	mag, err := strconv.ParseUint(text, 10, 64)
	return mag, neg, err == nil
}

// Shape reads an array of lengths.
func (s *Scanner) Shape() ([]int, error) {
	shape := make([]int, 0, 4)
	err := s.Array(func() error {
		if len(shape) == MaxRank {
			return s.Fault("a shape has more than %d dimensions", MaxRank)
		}
		mag, neg, err := s.Integer()
		if err == nil && (neg || mag > math.MaxInt32) {
			err = s.Fault("a dimension must be from 0 to %d", math.MaxInt32)
		}
		shape = append(shape, int(mag))
		return err
	})
	return shape, err
}
