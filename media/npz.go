package media

import (
	"archive/zip"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/tensor"
)

// npzMaxTensors is how many tensors one .npz may hold.
const npzMaxTensors = 4096

// ReadNPZ reads the tensors of an .npz, which is a zip of .npy files, by name without ".npy". The files together may
// unpack to at most limit bytes, counted as they unpack: what an archive claims about itself is not believed. Folders are passed over, and files that are no
// .npy where a system left them (see [Leftover]).
func ReadNPZ(r io.ReaderAt, size, limit int64) (map[string]*tensor.Tensor, error) {
	archive, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: .npz: %w", ErrMalformed, err)
	}
	if len(archive.File) > npzMaxTensors {
		return nil, fmt.Errorf("%w: .npz: %d files; at most %d are read", ErrTooLarge, len(archive.File), npzMaxTensors)
	}
	all := make(map[string]*tensor.Tensor, len(archive.File))
	for _, f := range archive.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if strings.HasSuffix(f.Name, "/") || Leftover(f.Name) && !(ok && isNPY(f)) {
			continue
		}
		if !ok {
			return nil, fmt.Errorf("%w: .npz: %.80q is no .npy", ErrUnsupportedType, f.Name)
		}
		if all[name] != nil {
			return nil, fmt.Errorf("%w: .npz: %q is there twice", ErrMalformed, name)
		}
		t, used, err := readMember(f, limit)
		if err != nil {
			return nil, fmt.Errorf(".npz: %q: %w", name, err)
		}
		limit -= used
		all[name] = t
	}
	return all, nil
}

// isNPY reports whether a file begins as an .npy does: a tensor may have any name, such as "._x", which AppleDouble files have too.
func isNPY(f *zip.File) bool {
	r, err := f.Open()
	if err != nil {
		return false
	}
	defer r.Close()
	head := make([]byte, len(npyMagic))
	_, err = io.ReadFull(r, head)
	return err == nil && string(head) == npyMagic
}

// readMember reads one file and says how many bytes its tensor has.
func readMember(f *zip.File, limit int64) (*tensor.Tensor, int64, error) {
	r, err := f.Open()
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	defer r.Close()
	t, err := ReadNPY(r, limit)
	if err != nil {
		return nil, 0, err
	}
	// The rest is read for the sum at its end, and must be empty.
	if n, err := io.Copy(io.Discard, io.LimitReader(r, 1)); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	} else if n > 0 {
		return nil, 0, fmt.Errorf("%w: there is more than the tensor", ErrMalformed)
	}
	used := int64(len(t.Bytes()))
	if ss, ok := t.Raw().([]string); ok {
		for _, s := range ss {
			used += int64(len(s)) + 16
		}
	}
	return t, used, nil
}

// WriteNPZ writes tensors to w as an .npz, uncompressed and sorted by name, as numpy.savez does.
func WriteNPZ(w io.Writer, tensors map[string]*tensor.Tensor) error {
	archive := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		f, err := archive.CreateHeader(&zip.FileHeader{Name: name + ".npy", Method: zip.Store})
		if err != nil {
			return fmt.Errorf("write .npz: %w", err)
		}
		if err := WriteNPY(f, tensors[name]); err != nil {
			return fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("write .npz: %w", err)
	}
	return nil
}
