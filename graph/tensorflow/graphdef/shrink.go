package graphdef

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/millrace/millrace/tensor"
)

const (
	// largeField is the size from which parts of a file are looked into, and elements of tensors left in it.
	largeField = 64 << 10
	// fieldRef is a field of a TensorProto that no file has: it stands for elements that are still in the file.
	fieldRef = 1<<29 - 1
)

// Elements are what Shrink left in the file.
type Elements struct {
	// key is in every reference, so that a file cannot hold one.
	key [16]byte
}

// Shrink reads a message, one of the constants, in its binary form, but for the elements of large tensors. What it returns is decoded as the
// whole file would be, and refused for the same faults; errors are those of reading. Tensors of it are to be loaded before they are decoded.
func Shrink(kind string, r io.ReaderAt, size int64) ([]byte, *Elements, error) {
	s := &shrinker{r: r, size: size, most: largeField}
	return s.shrink(kind)
}

// shrinker goes through a file by a window on it.
type shrinker struct {
	r    io.ReaderAt
	size int64
	most int64 // bytes of a field that is copied as it is
	key  [16]byte
	buf  []byte
	from int64
}

func (s *shrinker) shrink(kind string) ([]byte, *Elements, error) {
	_, _ = rand.Read(s.key[:]) // which never fails
	out, err := s.message(nil, 0, s.size, kind, 0)
	if err != nil {
		return nil, nil, err
	}
	return out, &Elements{s.key}, nil
}

// at returns n bytes of the file, which must be there, until the next call.
func (s *shrinker) at(off, n int64) ([]byte, error) {
	if off < s.from || off+n > s.from+int64(len(s.buf)) {
		const window = 2 * largeField
		if s.buf == nil {
			s.buf = make([]byte, window)
		}
		s.buf, s.from = s.buf[:min(window, s.size-off)], off
		if _, err := s.r.ReadAt(s.buf, off); err != nil {
			return nil, err
		}
	}
	return s.buf[off-s.from:][:n], nil
}

// message appends the message of that type between two offsets.
func (s *shrinker) message(out []byte, off, end int64, of string, depth int) ([]byte, error) {
	const longest = 2 * binary.MaxVarintLen64 // of a tag and a length, or a number
	for off < end {
		head, err := s.at(off, min(longest, end-off))
		if err != nil {
			return nil, err
		}
		num, typ, n := protowire.ConsumeTag(head)
		if n < 0 {
			return append(out, head...), nil // for the decoder to refuse, as below
		}
		length := int64(protowire.ConsumeFieldValue(num, typ, head[n:]))
		if typ == protowire.BytesType {
			v, m := protowire.ConsumeVarint(head[n:])
			if n += m; m < 0 || v > uint64(end-off-int64(n)) {
				return append(out, head...), nil
			}
			length = int64(v)
		}
		if length < 0 {
			return append(out, head...), nil
		}
		body := off + int64(n)
		if typ != protowire.BytesType || length <= s.most {
			field, err := s.at(off, int64(n)+length)
			if err != nil {
				return nil, err
			}
			out = append(out, field...)
		} else if out, err = s.large(out, num, body, length, of, depth); err != nil {
			return nil, err
		}
		off = body + length
	}
	return out, nil
}

// large appends a field of many bytes: a reference to the elements of a tensor, a message in which there may be some, or what it is.
func (s *shrinker) large(out []byte, num protowire.Number, off, length int64, of string, depth int) ([]byte, error) {
	if of == "TensorProto" && num != 8 && num >= 4 && num <= 17 {
		ref := binary.LittleEndian.AppendUint64(bytes.Clone(s.key[:]), uint64(num))
		ref = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(ref, uint64(off)), uint64(length))
		return protowire.AppendBytes(protowire.AppendTag(out, fieldRef, protowire.BytesType), ref), nil
	}
	out = protowire.AppendTag(out, num, protowire.BytesType)
	for _, f := range schema[of] {
		if f.num == int32(num) && f.kind == msg && depth < maxDepth {
			inner, err := s.message(nil, off, off+length, f.of, depth+1)
			if err != nil {
				return nil, err
			}
			return protowire.AppendBytes(out, inner), nil
		}
	}
	out = protowire.AppendVarint(out, uint64(length))
	at := len(out)
	out = append(out, make([]byte, length)...)
	if _, err := s.r.ReadAt(out[at:], off); err != nil {
		return nil, err
	}
	return out, nil
}

// Load returns the tensor with the elements that Shrink left in the file r. The result does not refer to the file.
func (e *Elements) Load(r io.ReaderAt, t *Tensor) (*Tensor, error) {
	if len(t.refs) == 0 {
		return t, nil
	}
	out := &Tensor{Type: t.Type, Shape: t.Shape, raw: t.raw, content: t.content}
	whole := int64(t.Shape.Size()) * int64(t.Type.DType().Size())
	for _, ref := range t.refs {
		if e == nil || len(ref) != len(e.key)+24 || !bytes.Equal(ref[:len(e.key)], e.key[:]) {
			return nil, fmt.Errorf("%w: a tensor has field %d", ErrFormat, fieldRef)
		}
		num := protowire.Number(binary.LittleEndian.Uint64(ref[len(e.key):]))
		off, length := int64(binary.LittleEndian.Uint64(ref[len(e.key)+8:])), binary.LittleEndian.Uint64(ref[len(e.key)+16:])
		if length > math.MaxInt32 || num == 4 && int64(length) != whole {
			return nil, fmt.Errorf("%w: a tensor of %v%v has %d bytes", ErrFormat, t.Type, t.Shape, length)
		}
		// Floats are in their field as they are in memory, and need no copy of their own then.
		if num == 4 || len(t.refs) == 1 && int64(length) == whole && inMemory(t, num) {
			out.content = make([]byte, length)
			if _, err := r.ReadAt(out.content, off); err != nil {
				return nil, err
			}
			continue
		}
		field := protowire.AppendVarint(protowire.AppendTag(bytes.Clone(out.raw), num, protowire.BytesType), length)
		at := len(field)
		field = append(field, make([]byte, length)...)
		if _, err := r.ReadAt(field[at:], off); err != nil {
			return nil, err
		}
		out.raw = field
	}
	return out, nil
}

// inMemory reports whether a field that is all of a tensor's elements has them as they are in memory.
func inMemory(t *Tensor, num protowire.Number) bool {
	d := t.Type.DType()
	return num == 5 && d == tensor.Float32 || num == 6 && d == tensor.Float64 || num == 9 && d == tensor.Complex64 || num == 12 && d == tensor.Complex128
}
