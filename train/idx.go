package train

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// maxIDX is the most bytes of elements that an IDX file may have.
const maxIDX = 8 << 30

// idxTypes are the type codes of the third byte of an IDX file.
var idxTypes = map[byte]tensor.DType{0x08: tensor.Uint8, 0x09: tensor.Int8, 0x0B: tensor.Int16, 0x0C: tensor.Int32,
	0x0D: tensor.Float32, 0x0E: tensor.Float64}

// ReadIDX reads a file in the IDX format of the MNIST database (two zero bytes, a type code, the number of dimensions,
// each dimension as 32 bits, the elements; all big-endian), gzipped or not. It returns ErrData for anything else,
// and allocates in proportion to what there is to read.
func ReadIDX(r io.Reader) (*tensor.Tensor, error) {
	in := bufio.NewReaderSize(r, 1<<16)
	if head, err := in.Peek(2); err == nil && head[0] == 0x1f && head[1] == 0x8b {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("%w: gzip: %w", ErrData, err)
		}
		in = bufio.NewReaderSize(z, 1<<16)
	}
	var head [4]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, idxError("the magic number", err)
	}
	dtype, ok := idxTypes[head[2]]
	if head[0] != 0 || head[1] != 0 || !ok {
		return nil, fmt.Errorf("%w: not an IDX file: it begins with % x", ErrData, head)
	}
	rank := int(head[3])
	if rank == 0 || rank > 8 {
		return nil, fmt.Errorf("%w: an IDX file with %d dimensions", ErrData, rank)
	}
	shape, size := make(tensor.Shape, rank), int64(dtype.Size())
	for i := range shape {
		var d [4]byte
		if _, err := io.ReadFull(in, d[:]); err != nil {
			return nil, idxError(fmt.Sprintf("dimension %d", i), err)
		}
		shape[i] = int(binary.BigEndian.Uint32(d[:]))
		if shape[i] > 0 && size > maxIDX/int64(shape[i]) {
			return nil, fmt.Errorf("%w: the header's dimensions %v... have more than %d bytes", ErrData, shape[:i+1], int64(maxIDX))
		}
		size *= int64(shape[i])
	}
	var data bytes.Buffer
	n, err := io.Copy(&data, io.LimitReader(in, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, idxError(fmt.Sprintf("the elements (%d of %d bytes are there)", n, size), err)
	}
	if extra, err := in.ReadByte(); err == nil {
		return nil, fmt.Errorf("%w: bytes after the last element (the first is %#x): the header's dimensions %v do not fit", ErrData, extra, shape)
	} else if !errors.Is(err, io.EOF) {
		return nil, idxError("the end", err)
	}
	raw := data.Bytes()
	if k := dtype.Size(); k > 1 { // tensors are little-endian
		for i := 0; i < len(raw); i += k {
			slices.Reverse(raw[i : i+k])
		}
	}
	t, err := tensor.FromBytes(dtype, raw, shape...)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	return t, nil
}

func idxError(what string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: IDX file ends or breaks in %s: %w", ErrData, what, err)
}

// readIDXFile is ReadIDX of a file, with its name in errors.
func readIDXFile(name string) (*tensor.Tensor, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("read data set: %w", err)
	}
	defer f.Close()
	t, err := ReadIDX(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// findIDX returns the files of a data set among names: those that hold "images" and "labels" and "idx"; of several, those
// with "train" first and those with "t10k" or "test" last. It returns "" where there is none.
func findIDX(names []string) (images, labels string) {
	rank := func(name string) int {
		switch {
		case strings.Contains(name, "train"):
			return 2
		case strings.Contains(name, "t10k"), strings.Contains(name, "test"):
			return 0
		}
		return 1
	}
	best := func(kind string) (found string) {
		highest := -1
		for _, n := range names {
			low := strings.ToLower(n)
			if strings.Contains(low, kind) && strings.Contains(low, "idx") && rank(low) > highest {
				found, highest = n, rank(low)
			}
		}
		return found
	}
	return best("images"), best("labels")
}

// openIDX reads the pair of files in a directory.
func openIDX(dir, images, labels string) (*Set, error) {
	x, err := readIDXFile(filepath.Join(dir, images))
	if err != nil {
		return nil, err
	}
	y, err := readIDXFile(filepath.Join(dir, labels))
	if err != nil {
		return nil, err
	}
	return FromIDX(x, y)
}

// FromIDX makes a Set of an IDX file's pictures [N,H,W] or [N,C,H,W] (uint8), or of its rows [N,F], and another's labels [N].
func FromIDX(x, y *tensor.Tensor) (*Set, error) {
	if y.Rank() != 1 || y.DType().IsFloat() {
		return nil, fmt.Errorf("%w: labels are %v%v, not whole numbers in one dimension", ErrData, y.DType(), y.Shape())
	}
	n := y.Size()
	if x.Rank() < 2 || x.Rank() > 4 || x.Shape()[0] != n {
		return nil, fmt.Errorf("%w: pictures are %v for %d labels", ErrData, x.Shape(), n)
	}
	shape := x.Shape()[1:].Clone()
	if len(shape) == 2 {
		shape = append(tensor.Shape{1}, shape...)
	}
	if len(shape) == 1 || x.DType() != tensor.Uint8 {
		wide, err := toFloats(x)
		if err != nil {
			return nil, err
		}
		x = wide
	}
	top, each := 0, shape.Size()
	classes := make([]int, n)
	for i := range n {
		v := wholeAt(y, i)
		if v < 0 || v >= maxLabels {
			return nil, fmt.Errorf("%w: label %d is %d", ErrData, i, v)
		}
		classes[i] = int(v)
		top = max(top, int(v))
	}
	names := make([]string, top+1)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	var rows iter.Seq2[Example, error] = func(yield func(Example, error) bool) {
		for i, c := range classes {
			row, err := x.Reshape(n * each)
			if err == nil {
				row, err = slice(row, i*each, (i+1)*each, shape)
			}
			if !yield(Example{row, c}, err) {
				return
			}
		}
	}
	return Collect(rows, names)
}

// slice returns elements of a flat tensor as a tensor that shares them.
func slice(t *tensor.Tensor, from, to int, shape tensor.Shape) (*tensor.Tensor, error) {
	if t.DType() == tensor.Uint8 {
		return tensor.Of(tensor.Data[uint8](t)[from:to], shape...)
	}
	return tensor.Of(tensor.Data[float32](t)[from:to], shape...)
}

// wholeAt returns element i of an integer tensor.
func wholeAt(t *tensor.Tensor, i int) int64 {
	switch d := t.Raw().(type) {
	case []uint8:
		return int64(d[i])
	case []int8:
		return int64(d[i])
	case []int16:
		return int64(d[i])
	case []int32:
		return int64(d[i])
	}
	return -1
}

// toFloats converts an IDX tensor to float32, and refuses what is not finite.
func toFloats(t *tensor.Tensor) (*tensor.Tensor, error) {
	out := make([]float32, t.Size())
	for i := range out {
		switch d := t.Raw().(type) {
		case []float32:
			out[i] = d[i]
		case []float64:
			out[i] = float32(d[i])
		default:
			out[i] = float32(wholeAt(t, i))
		}
		if f := float64(out[i]); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, fmt.Errorf("%w: element %d is not a finite number", ErrData, i)
		}
	}
	return tensor.Of(out, t.Shape()...)
}
