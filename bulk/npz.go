package bulk

import (
	"archive/zip"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// An .npz has a tensor whose rows are the entries, each an .npy, and may have one named "keys" with their keys.

const (
	npzKeys   = "keys"
	npzValues = "values"
	typeNPY   = "application/x-npy"
	// maxKeysBytes bounds the tensor of the keys, which is in memory whole.
	maxKeysBytes = 256 << 20
)

type npzReader struct {
	o    Options
	rows *media.NPYRows
	keys *tensor.Tensor // or nil
	file io.Closer
	row  int64
}

// NewNPZReader reads the rows of a tensor of an .npz of size bytes.
func NewNPZReader(r io.ReaderAt, size int64, o Options) (Reader, error) {
	o = o.withDefaults()
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: .npz: %w", ErrFormat, err)
	}
	var arrays []string
	files := map[string]*zip.File{}
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok || files[name] != nil {
			continue
		}
		files[name] = f
		if name != npzKeys {
			arrays = append(arrays, name)
		}
	}
	array := o.Array
	switch {
	case array != "":
	case slices.Contains(arrays, npzValues):
		array = npzValues
	case len(arrays) == 1:
		array = arrays[0]
	case len(arrays) == 0:
		return nil, fmt.Errorf("%w: .npz: there is no tensor in it", ErrFormat)
	default:
		return nil, fmt.Errorf("%w: .npz: which tensor's rows are the entries? There is %s; name the array", ErrFormat, names(arrays))
	}
	f := files[array]
	if f == nil {
		return nil, fmt.Errorf("%w: .npz: there is no tensor %q; there is %s", ErrFormat, array, names(arrays))
	}
	n := &npzReader{o: o}
	if err := n.open(f, files[npzKeys]); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

func (n *npzReader) open(values, keys *zip.File) error {
	file, err := values.Open()
	if err != nil {
		return fmt.Errorf("%w: .npz: %w", ErrFormat, err)
	}
	n.file = file
	if n.rows, err = media.ReadNPYRows(file, n.o.MaxBytes); err != nil {
		return fmt.Errorf(".npz: %q: %w", values.Name, err)
	}
	if keys == nil {
		return nil
	}
	r, err := keys.Open()
	if err != nil {
		return fmt.Errorf("%w: .npz: %w", ErrFormat, err)
	}
	defer r.Close()
	if n.keys, err = media.ReadNPY(r, maxKeysBytes); err != nil {
		return fmt.Errorf(".npz: %q: %w", keys.Name, err)
	}
	if n.keys.Rank() != 1 || n.keys.Size() != n.rows.Len() {
		return fmt.Errorf("%w: .npz: %q has shape %v, and %q has %d rows", ErrFormat, npzKeys, n.keys.Shape(), values.Name, n.rows.Len())
	}
	return nil
}

func (n *npzReader) close() error {
	if n.file == nil {
		return nil
	}
	err := n.file.Close()
	n.file = nil
	return err
}

func (n *npzReader) Next() (Record, error) {
	value, err := n.rows.Next()
	if errors.Is(err, io.EOF) {
		if err := n.close(); err != nil {
			return Record{}, err
		}
		return Record{}, io.EOF
	}
	n.row++
	r := Record{Value: value, ContentType: typeNPY, Key: n.o.numbered(n.row)}
	if err == nil && int64(len(value)) > n.o.MaxBytes {
		err = fmt.Errorf("%w: value of %d bytes, at most %d are taken", grid.ErrTooLarge, len(value), n.o.MaxBytes)
	}
	if err == nil && n.keys != nil {
		r.Key, err = elementText(n.keys, int(n.row-1))
	}
	if err == nil {
		err = checkKey(r.Key)
	}
	if err != nil {
		return Record{}, &RowError{Row: n.row, Err: err}
	}
	return r, nil
}

// elementText is an element of the keys: text, or a whole number.
func elementText(t *tensor.Tensor, i int) (string, error) {
	switch d := t.Raw().(type) {
	case []string:
		return d[i], nil
	case []int64:
		return strconv.FormatInt(d[i], 10), nil
	case []int32:
		return strconv.FormatInt(int64(d[i]), 10), nil
	case []uint64:
		return strconv.FormatUint(d[i], 10), nil
	case []uint32:
		return strconv.FormatUint(uint64(d[i]), 10), nil
	}
	return "", fmt.Errorf("%w: keys of %v are neither text nor whole numbers", ErrFormat, t.DType())
}

// WriteNPZ writes the n records that next gives until io.EOF. Values that are no .npy of one
// type and shape are ErrCannotHold.
func WriteNPZ(w io.Writer, n int, next func() (Record, error)) error {
	if n == 0 {
		return fmt.Errorf("%w: an .npz of no entry has no type and shape", ErrCannotHold)
	}
	z := zip.NewWriter(w)
	file, err := z.CreateHeader(&zip.FileHeader{Name: npzValues + ".npy", Method: zip.Store})
	if err != nil {
		return err
	}
	stack := media.NewNPYStack(file, n)
	keys := make([]string, 0, n)
	for {
		r, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if media.Sniff(r.ContentType, r.Value) != typeNPY {
			return fmt.Errorf("%w: .npz, entry %.80q: its value is of %q, not an .npy; jsonl and tar hold everything", ErrCannotHold, r.Key, r.ContentType)
		}
		if err := stack.Add(r.Value); err != nil {
			return fmt.Errorf("%w: .npz, entry %.80q: %w", ErrCannotHold, r.Key, err)
		}
		keys = append(keys, r.Key)
	}
	t, err := tensor.New(tensor.String, len(keys))
	if err != nil {
		return err
	}
	copy(t.Raw().([]string), keys)
	if file, err = z.CreateHeader(&zip.FileHeader{Name: npzKeys + ".npy", Method: zip.Store}); err != nil {
		return err
	}
	if err := media.WriteNPY(file, t); err != nil {
		return fmt.Errorf("%w: .npz: the keys: %w", ErrCannotHold, err)
	}
	return z.Close()
}

func sum(s string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // it never fails
	return strconv.FormatUint(h.Sum64(), 36)
}
