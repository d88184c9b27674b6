package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// readExternal reads a tensor's bytes from a file in the model's folder.
func (d *decoder) readExternal(entries []entry, dtype tensor.DType, shape tensor.Shape) (*tensor.Tensor, error) {
	var location string
	offset, length := int64(0), int64(-1)
	for _, e := range entries {
		var err error
		switch e.key {
		case "location":
			location = e.value
		case "offset":
			offset, err = strconv.ParseInt(e.value, 10, 64)
		case "length":
			length, err = strconv.ParseInt(e.value, 10, 64)
		}
		if err != nil || offset < 0 || length < -1 {
			return nil, fmt.Errorf("%w: %s %q is not a number of bytes", ErrExternal, e.key, e.value)
		}
	}
	if dtype.Size() == 0 {
		return nil, fmt.Errorf("%w: %v elements as external data", ErrFormat, dtype)
	}
	want := int64(dtype.PackedSize(shape.Size()))
	if length >= 0 && length != want {
		return nil, fmt.Errorf("%w: %v%v needs %d bytes, length says %d", ErrFormat, dtype, shape, want, length)
	}
	raw, err := d.readPart(location, offset, want)
	if err != nil {
		return nil, fmt.Errorf("%w: file %q: %w", ErrExternal, location, err)
	}
	t, err := fromFile(dtype, raw, shape, true)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return t, nil
}

// readPart reads length bytes at offset of a file in the model's folder, and checks all before it allocates.
func (d *decoder) readPart(location string, offset, length int64) ([]byte, error) {
	if d.opts.External == nil {
		return nil, errors.New("the model was opened without its folder")
	}
	name := path.Clean(location)
	if location == "" || !fs.ValidPath(name) || strings.ContainsAny(location, "\\\x00") || slices.Contains(strings.Split(location, "/"), "..") {
		return nil, errors.New("it must be a relative path inside the model's folder")
	}
	st, err := fs.Stat(d.opts.External, name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	if st.Size() < length || st.Size()-length < offset {
		return nil, fmt.Errorf("%d bytes at offset %d are asked for, it has %d", length, offset, st.Size())
	}
	if d.files == nil {
		d.files = map[string]int64{}
	}
	if d.files[name] += length; d.files[name] > 2*st.Size()+1<<20 {
		return nil, errors.New("tensors take more than twice its size from it")
	}
	if d.external -= length; d.external < 0 {
		return nil, fmt.Errorf("the model is over the limit of %d bytes", d.opts.maxBytes())
	}
	f, err := d.opts.External.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := seek(f, offset); err != nil {
		return nil, err
	}
	raw := make([]byte, length)
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

func seek(f fs.File, offset int64) error {
	if s, ok := f.(io.Seeker); ok {
		_, err := s.Seek(offset, io.SeekStart)
		return err
	}
	_, err := io.CopyN(io.Discard, f, offset)
	return err
}
