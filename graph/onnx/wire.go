package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// scanner goes through the fields of one protobuf message. Its readers return zero on an error, which stops next and
// stays in err.
type scanner struct {
	rest []byte
	size int
	num  protowire.Number
	typ  protowire.Type
	u    uint64 // of varint, fixed32 and fixed64 fields
	b    []byte // of length-delimited fields
	err  error
}

func scan(b []byte) *scanner { return &scanner{rest: b, size: len(b)} }

// next goes to the next field, and returns false at the end or on an error.
func (s *scanner) next() bool {
	if s.err != nil || len(s.rest) == 0 {
		return false
	}
	var n int
	s.num, s.typ, n = protowire.ConsumeTag(s.rest)
	if n < 0 {
		s.bad(n)
		return false
	}
	s.rest = s.rest[n:]
	s.u, s.b = 0, nil
	switch s.typ {
	case protowire.VarintType:
		s.u, n = protowire.ConsumeVarint(s.rest)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(s.rest)
		s.u = uint64(v)
	case protowire.Fixed64Type:
		s.u, n = protowire.ConsumeFixed64(s.rest)
	case protowire.BytesType:
		s.b, n = protowire.ConsumeBytes(s.rest)
	default:
		s.err = fmt.Errorf("%w: field %d at byte %d has wire type %d, which ONNX does not use", ErrFormat, s.num, s.size-len(s.rest), s.typ)
		return false
	}
	if n < 0 {
		s.bad(n)
		return false
	}
	s.rest = s.rest[n:]
	return true
}

func (s *scanner) bad(n int) {
	why := "is damaged"
	if n == -1 { // protowire's code of an unexpected end
		why = "is truncated"
	}
	s.err = fmt.Errorf("%w: field %d %s at byte %d of %d", ErrFormat, s.num, why, s.size-len(s.rest), s.size)
}

func (s *scanner) want(name string, typ protowire.Type) bool {
	if s.typ == typ {
		return true
	}
	s.err = fmt.Errorf("%w: %s (field %d) has wire type %d, not %d", ErrFormat, name, s.num, s.typ, typ)
	return false
}

func (s *scanner) int(name string) int64 {
	if !s.want(name, protowire.VarintType) {
		return 0
	}
	return int64(s.u)
}

func (s *scanner) float(name string) float32 {
	if !s.want(name, protowire.Fixed32Type) {
		return 0
	}
	return math.Float32frombits(uint32(s.u))
}

func (s *scanner) bytes(name string) []byte {
	if !s.want(name, protowire.BytesType) {
		return nil
	}
	return s.b
}

func (s *scanner) str(name string) string { return string(s.bytes(name)) }

// word is str for what comes again and again in a file.
func (s *scanner) word(name string, d *decoder) string { return d.words.of(s.bytes(name)) }

// varints appends the numbers of a packed or single field.
func (s *scanner) varints(name string, d *decoder, dst []int64) []int64 {
	if s.typ == protowire.VarintType {
		return append(single(s, d, dst), int64(s.u))
	}
	b := s.bytes(name)
	n := 0
	for _, c := range b {
		if c < 0x80 {
			n++
		}
	}
	if !s.charged(d, 8*n) {
		return dst
	}
	dst = slices.Grow(dst, n)
	for len(b) > 0 {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			s.err = fmt.Errorf("%s: %w: number %d is damaged", name, ErrFormat, len(dst))
			return dst
		}
		dst = append(dst, int64(v))
		b = b[n:]
	}
	return dst
}

func (s *scanner) floats(name string, d *decoder, dst []float32) []float32 {
	if s.typ == protowire.Fixed32Type {
		return append(single(s, d, dst), math.Float32frombits(uint32(s.u)))
	}
	b := s.packed(name, 4, d)
	dst = slices.Grow(dst, len(b)/4)
	for ; len(b) > 0; b = b[4:] {
		dst = append(dst, math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
	return dst
}

func (s *scanner) doubles(name string, d *decoder, dst []float64) []float64 {
	if s.typ == protowire.Fixed64Type {
		return append(single(s, d, dst), math.Float64frombits(s.u))
	}
	b := s.packed(name, 8, d)
	dst = slices.Grow(dst, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		dst = append(dst, math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
	return dst
}

// single returns dst with room for this and, where it had none, for all further fields like this one.
func single[T any](s *scanner, d *decoder, dst []T) []T {
	if len(dst) < cap(dst) {
		return dst
	}
	n := 1
	for rest := scan(s.rest); rest.next(); {
		if rest.num == s.num && rest.typ == s.typ {
			n++
		}
	}
	if !s.charged(d, 8*n) {
		return dst[:0:0]
	}
	return slices.Grow(dst, n)
}

// packed returns the bytes of a packed field of numbers of that size.
func (s *scanner) packed(name string, size int, d *decoder) []byte {
	b := s.bytes(name)
	if len(b)%size != 0 {
		s.err = fmt.Errorf("%s: %w: %d bytes are no whole number of %d-byte numbers", name, ErrFormat, len(b), size)
		return nil
	}
	if !s.charged(d, len(b)) {
		return nil
	}
	return b
}

// charged counts bytes that are about to be allocated; it returns false on an error.
func (s *scanner) charged(d *decoder, n int) bool {
	if s.err == nil {
		s.err = d.charge(n)
	}
	return s.err == nil
}

// count returns how many times fields of each of nums occur, so that slices get their size at once.
func count(b []byte, nums ...protowire.Number) (n [5]int) {
	for s := scan(b); s.next(); {
		if i := slices.Index(nums, s.num); i >= 0 {
			n[i]++
		}
	}
	return n
}

// text returns the string in field num, or "": for messages about what could not be read.
func text(b []byte, num protowire.Number) string {
	for s := scan(b); s.next(); {
		if s.num == num && s.typ == protowire.BytesType {
			return string(s.b)
		}
	}
	return ""
}
