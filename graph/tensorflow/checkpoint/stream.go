package checkpoint

import (
	"bufio"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
)

var errTruncated = fmt.Errorf("%w: the protobuf message is damaged or truncated", ErrFormat)

// stream reads protobuf messages of any size. left is what is left of the message in hand.
type stream struct {
	r    *bufio.Reader
	left int64
}

// message calls field for each field of the message in hand, which must read it.
func (s *stream) message(field func(protowire.Number, protowire.Type) error) error {
	for s.left > 0 {
		tag, err := s.raw()
		if err != nil {
			return err
		}
		num, typ := protowire.DecodeTag(tag)
		if num <= 0 {
			return errTruncated
		}
		if err := field(num, typ); err != nil {
			return err
		}
	}
	return nil
}

// nested reads the message in a field.
func (s *stream) nested(typ protowire.Type, field func(protowire.Number, protowire.Type) error) error {
	n, err := s.length(typ)
	if err != nil {
		return err
	}
	after := s.left - n
	s.left = n
	err = s.message(field)
	s.left = after
	return err
}

// raw reads a varint.
func (s *stream) raw() (uint64, error) {
	var v uint64
	for i := range 10 {
		if s.left == 0 {
			return 0, errTruncated
		}
		b, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		s.left--
		v |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if i == 9 && b > 1 {
				break
			}
			return v, nil
		}
	}
	return 0, errTruncated
}

func (s *stream) varint(typ protowire.Type) (uint64, error) {
	if typ != protowire.VarintType {
		return 0, errTruncated
	}
	return s.raw()
}

// length reads the length of a field of bytes.
func (s *stream) length(typ protowire.Type) (int64, error) {
	if typ != protowire.BytesType {
		return 0, errTruncated
	}
	n, err := s.raw()
	if err == nil && n > uint64(s.left) {
		err = errTruncated
	}
	return int64(n), err
}

func (s *stream) read(b []byte) error {
	if _, err := io.ReadFull(s.r, b); err != nil {
		return err
	}
	s.left -= int64(len(b))
	return nil
}

// bytes reads a field of at most that many bytes.
func (s *stream) bytes(typ protowire.Type, most int64) ([]byte, error) {
	n, err := s.length(typ)
	if err != nil {
		return nil, err
	}
	if n > most {
		return nil, fmt.Errorf("%w: a field of %d bytes where at most %d make sense", ErrFormat, n, most)
	}
	b := make([]byte, n)
	return b, s.read(b)
}

// skip reads over a field.
func (s *stream) skip(typ protowire.Type) error {
	var n int64
	switch typ {
	case protowire.VarintType:
		_, err := s.raw()
		return err
	case protowire.Fixed32Type:
		n = 4
	case protowire.Fixed64Type:
		n = 8
	default:
		var err error
		if n, err = s.length(typ); err != nil {
			return err
		}
	}
	if n > s.left {
		return errTruncated
	}
	s.left -= n
	_, err := io.CopyN(io.Discard, s.r, n)
	return err
}
