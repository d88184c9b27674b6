package checkpoint

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// fields goes through the fields of one small protobuf message. Its readers return zero on an error, which stops next and
// stays in err.
type fields struct {
	rest []byte
	num  protowire.Number
	typ  protowire.Type
	u    uint64
	b    []byte
	err  error
}

func fieldsOf(b []byte) *fields { return &fields{rest: b} }

// next goes to the next field, and returns false at the end or on an error.
func (f *fields) next() bool {
	if f.err != nil || len(f.rest) == 0 {
		return false
	}
	var n int
	f.num, f.typ, n = protowire.ConsumeTag(f.rest)
	if n < 0 {
		f.err = fmt.Errorf("%w: a protobuf tag is damaged", ErrFormat)
		return false
	}
	body := f.rest[n:]
	f.u, f.b = 0, nil
	switch f.typ {
	case protowire.VarintType:
		f.u, n = protowire.ConsumeVarint(body)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(body)
		f.u = uint64(v)
	case protowire.Fixed64Type:
		f.u, n = protowire.ConsumeFixed64(body)
	case protowire.BytesType:
		f.b, n = protowire.ConsumeBytes(body)
	default:
		n = -1
	}
	if n < 0 {
		f.err = fmt.Errorf("%w: protobuf field %d is damaged or truncated", ErrFormat, f.num)
		return false
	}
	f.rest = body[n:]
	return true
}

func (f *fields) want(typ protowire.Type) bool {
	if f.typ != typ && f.err == nil {
		f.err = fmt.Errorf("%w: protobuf field %d has wire type %d, not %d", ErrFormat, f.num, f.typ, typ)
	}
	return f.typ == typ
}

func (f *fields) int() int64 {
	if !f.want(protowire.VarintType) {
		return 0
	}
	return int64(f.u)
}

func (f *fields) bytes() []byte {
	if !f.want(protowire.BytesType) {
		return nil
	}
	return f.b
}

// shape reads a TensorShapeProto.
func readShape(b []byte) ([]int, error) {
	shape := []int{}
	for f := fieldsOf(b); ; {
		if !f.next() {
			return shape, f.err
		}
		switch f.num {
		case 2:
			size := int64(0)
			dim := fieldsOf(f.bytes())
			for dim.next() {
				if dim.num == 1 {
					size = dim.int()
				}
			}
			if dim.err != nil {
				return nil, dim.err
			}
			if size < 0 {
				return nil, fmt.Errorf("%w: dimension %d is %d", ErrFormat, len(shape), size)
			}
			if len(shape) == maxRank {
				return nil, fmt.Errorf("%w: more than %d dimensions", ErrFormat, maxRank)
			}
			shape = append(shape, int(size))
		case 3:
			if f.int() != 0 {
				return nil, fmt.Errorf("%w: a stored tensor of unknown rank", ErrFormat)
			}
		}
	}
}

// A Slice says where a part of a tensor lies: a start and a length in each dimension.
type Slice struct {
	Start, Length []int
	full          []bool // the dimension was written without a length, which means all of it
}

// readSlice reads a TensorSliceProto of a tensor of that shape.
func readSlice(b []byte, shape []int) (Slice, error) {
	var s Slice
	f := fieldsOf(b)
	for f.next() {
		if f.num != 1 {
			continue
		}
		i := len(s.Start)
		if i == len(shape) {
			return s, fmt.Errorf("%w: a slice of more than the tensor's %d dimensions", ErrFormat, len(shape))
		}
		start, length, full := int64(0), int64(shape[i]), true
		e := fieldsOf(f.bytes())
		for e.next() {
			switch e.num {
			case 1:
				start = e.int()
			case 2:
				length, full = e.int(), false
			}
		}
		if e.err != nil {
			return s, e.err
		}
		if full && start != 0 || start < 0 || length < 0 || length > int64(shape[i]) || start > int64(shape[i])-length {
			return s, fmt.Errorf("%w: a slice from %d, %d long, of dimension %d, which has %d", ErrFormat, start, length, i, shape[i])
		}
		s.Start = append(s.Start, int(start))
		s.Length = append(s.Length, int(length))
		s.full = append(s.full, full)
	}
	if f.err == nil && len(s.Start) != len(shape) {
		return s, fmt.Errorf("%w: a slice of %d dimensions of a tensor of %d", ErrFormat, len(s.Start), len(shape))
	}
	return s, f.err
}

// size returns the number of elements.
func (s Slice) size() int {
	n := 1
	for _, d := range s.Length {
		n *= d
	}
	return n
}

// readVersion checks a VersionDef: whether a reader of version 1 may read what it is in.
func readVersion(b []byte) error {
	f := fieldsOf(b)
	bad := func(v int64) error {
		if v == 1 {
			return fmt.Errorf("%w: it says that readers of version 1 would read it wrong", ErrUnsupported)
		}
		return nil
	}
	for f.next() {
		switch f.num {
		case 2:
			if v := f.int(); v > 1 {
				return fmt.Errorf("%w: it needs a reader of version %d, this one has version 1", ErrUnsupported, v)
			}
		case 3:
			if f.typ == protowire.VarintType {
				if err := bad(f.int()); err != nil {
					return err
				}
				continue
			}
			for b := f.bytes(); len(b) > 0; {
				v, n := protowire.ConsumeVarint(b)
				if n < 0 {
					return fmt.Errorf("%w: bad_consumers is damaged", ErrFormat)
				}
				if err := bad(int64(v)); err != nil {
					return err
				}
				b = b[n:]
			}
		}
	}
	return f.err
}
