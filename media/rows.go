package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// NPYRows reads an .npy along its first axis, each row as an .npy of its own, in the memory of one row.
type NPYRows struct {
	from io.Reader
	head []byte // of each row's .npy
	size int    // of a row's elements
	len  int
	left int
}

// ReadNPYRows begins to read an .npy whose rows have at most limit bytes. Strings, Fortran's order and a scalar are ErrUnsupportedType.
func ReadNPYRows(r io.Reader, limit int64) (*NPYRows, error) {
	h, err := readNPYHeader(r)
	if err != nil {
		return nil, err
	}
	switch {
	case len(h.shape) == 0:
		return nil, fmt.Errorf("%w: .npy: a single number has no rows", ErrUnsupportedType)
	case h.fortran && len(h.shape) > 1:
		return nil, fmt.Errorf("%w: .npy: it is in Fortran's order; save it with numpy.ascontiguousarray", ErrUnsupportedType)
	case h.text != 0:
		return nil, fmt.Errorf("%w: .npy: rows of text", ErrUnsupportedType)
	}
	if _, err := h.shape.Check(); err != nil {
		return nil, fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	}
	row := h.shape[1:]
	size := row.Size()
	if size == 0 && h.shape[0] > 0 {
		return nil, fmt.Errorf("%w: .npy: rows of %v have no elements", ErrUnsupportedType, row) // a header alone could announce any number of them
	}
	if int64(size) > limit/int64(h.width) {
		return nil, fmt.Errorf("%w: .npy: a row of %v of %s is over the limit of %d bytes", ErrTooLarge, row, h.descr, limit)
	}
	return &NPYRows{from: r, head: npyHead(h.descr, row), size: size * h.width, len: h.shape[0], left: h.shape[0]}, nil
}

// Len returns how many rows the header says that there are.
func (n *NPYRows) Len() int { return n.len }

// Next returns the next row, which is the caller's, or io.EOF.
func (n *NPYRows) Next() ([]byte, error) {
	if n.left == 0 {
		return nil, io.EOF
	}
	row := make([]byte, len(n.head)+n.size)
	copy(row, n.head)
	if _, err := io.ReadFull(n.from, row[len(n.head):]); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("the file ends within row %d of %d", n.len-n.left+1, n.len)
		}
		return nil, fmt.Errorf("%w: .npy: %w", ErrMalformed, err)
	}
	n.left--
	return row, nil
}

// NPYStack writes .npy values of one type and shape to one .npy, whose first axis they are.
type NPYStack struct {
	to    io.Writer
	descr string
	shape tensor.Shape
	left  int
	begun bool
}

// NewNPYStack writes n values to w.
func NewNPYStack(w io.Writer, n int) *NPYStack { return &NPYStack{to: w, left: n} }

// Add writes a value. One of another type or shape than the first is ErrShape.
func (s *NPYStack) Add(npy []byte) error {
	r := bytes.NewReader(npy)
	h, err := readNPYHeader(r)
	if err != nil {
		return err
	}
	body := npy[len(npy)-r.Len():]
	switch {
	case h.fortran && len(h.shape) > 1, h.text != 0:
		return fmt.Errorf("%w: .npy: Fortran's order and text cannot be stacked", ErrUnsupportedType)
	case s.left == 0:
		return errors.New("there is one value more than was announced")
	}
	if n, err := h.shape.Check(); err != nil || n > math.MaxInt/h.width || len(body) != n*h.width {
		return fmt.Errorf("%w: .npy: %v of %s with %d bytes", ErrMalformed, h.shape, h.descr, len(body))
	}
	if !s.begun {
		s.begun, s.descr, s.shape = true, h.descr, h.shape
		if _, err := s.to.Write(npyHead(h.descr, append(tensor.Shape{s.left}, h.shape...))); err != nil {
			return fmt.Errorf("write .npy: %w", err)
		}
	}
	if h.descr != s.descr || !h.shape.Equal(s.shape) {
		return fmt.Errorf("%w: %v of %s; those before are %v of %s", ErrShape, h.shape, h.descr, s.shape, s.descr)
	}
	s.left--
	if _, err := s.to.Write(body); err != nil {
		return fmt.Errorf("write .npy: %w", err)
	}
	return nil
}

// npyHead returns an .npy up to its first element.
func npyHead(descr string, shape tensor.Shape) []byte {
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	text := strings.Join(dims, ", ")
	if len(dims) == 1 {
		text += ","
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, text)
	const align = 64
	pad := align - (len(npyMagic)+4+len(head)+1)%align
	head += strings.Repeat(" ", pad%align) + "\n"
	return append(binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(len(head))), head...)
}
