package graphdef

import (
	"encoding/binary"
	"fmt"
	"math"

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
		s.err = fmt.Errorf("%w: a field's tag is damaged at byte %d of %d", ErrFormat, s.size-len(s.rest), s.size)
		return false
	}
	body := s.rest[n:]
	s.u, s.b = 0, nil
	switch s.typ {
	case protowire.VarintType:
		s.u, n = protowire.ConsumeVarint(body)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(body)
		s.u = uint64(v)
	case protowire.Fixed64Type:
		s.u, n = protowire.ConsumeFixed64(body)
	case protowire.BytesType:
		s.b, n = protowire.ConsumeBytes(body)
	default:
		s.err = fmt.Errorf("%w: field %d at byte %d has wire type %d, which TensorFlow does not use", ErrFormat, s.num, s.size-len(s.rest), s.typ)
		return false
	}
	if n < 0 {
		s.err = fmt.Errorf("%w: field %d at byte %d of %d %s", ErrFormat, s.num, s.size-len(s.rest), s.size, damage(body, s.typ))
		return false
	}
	s.rest = body[n:]
	return true
}

// damage says what is wrong with a field's value.
func damage(body []byte, typ protowire.Type) string {
	if typ == protowire.VarintType && len(body) >= 10 {
		return "is a varint without end"
	}
	return "is truncated"
}

func (s *scanner) want(name string, typ protowire.Type) bool {
	if s.typ == typ {
		return true
	}
	if s.err == nil {
		s.err = fmt.Errorf("%w: %s (field %d) has wire type %d, not %d", ErrFormat, name, s.num, s.typ, typ)
	}
	return false
}

func (s *scanner) int(name string) int64 {
	if !s.want(name, protowire.VarintType) {
		return 0
	}
	return int64(s.u)
}

func (s *scanner) bytes(name string) []byte {
	if !s.want(name, protowire.BytesType) {
		return nil
	}
	return s.b
}

func (s *scanner) str(name string) string { return string(s.bytes(name)) }

// pair reads an entry of a map of strings.
func (s *scanner) pair(name string) (key, value string) {
	e := scan(s.bytes(name))
	for e.next() {
		switch e.num {
		case 1:
			key = e.str("key")
		case 2:
			value = e.str("value")
		}
	}
	if s.err == nil {
		s.err = e.err
	}
	return key, value
}

// entry reads an entry of a map of messages.
func (s *scanner) entry(name string) (key string, value []byte) {
	e := scan(s.bytes(name))
	for e.next() {
		switch e.num {
		case 1:
			key = e.str("key")
		case 2:
			value = e.bytes("value")
		}
	}
	if s.err == nil {
		s.err = e.err
	}
	return key, value
}

// varints calls add for each number of a packed or single field.
func (s *scanner) varints(name string, add func(uint64)) {
	if s.typ == protowire.VarintType {
		add(s.u)
		return
	}
	for b := s.bytes(name); len(b) > 0; {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 {
			s.err = fmt.Errorf("%w: %s: a number %s", ErrFormat, name, damage(b, protowire.VarintType))
			return
		}
		add(v)
		b = b[n:]
	}
}

// floats calls add for each number of a packed or single field of 32-bit floats.
func (s *scanner) floats(name string, add func(float32)) {
	if s.typ == protowire.Fixed32Type {
		add(math.Float32frombits(uint32(s.u)))
		return
	}
	for b := s.packed(name, 4); len(b) > 0; b = b[4:] {
		add(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	}
}

// doubles calls add for each number of a packed or single field of 64-bit floats.
func (s *scanner) doubles(name string, add func(float64)) {
	if s.typ == protowire.Fixed64Type {
		add(math.Float64frombits(s.u))
		return
	}
	for b := s.packed(name, 8); len(b) > 0; b = b[8:] {
		add(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}
}

func (s *scanner) packed(name string, size int) []byte {
	b := s.bytes(name)
	if len(b)%size != 0 {
		s.err = fmt.Errorf("%w: %s: %d bytes are no whole number of %d-byte numbers", ErrFormat, name, len(b), size)
		return nil
	}
	return b
}
