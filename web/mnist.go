package web

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// readMNIST reads the first n digits of MNIST's test half, or of the training half where that is not there. The
// format, IDX, is described on the data set's page: a magic number, the dimensions, and then the bytes.
func readMNIST(dir string, n int) ([]sample, error) {
	var faults []error
	for _, half := range []string{"t10k", "train"} {
		images, err := readIDX(filepath.Join(dir, half+"-images-idx3-ubyte"), 3, n)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		labels, err := readIDX(filepath.Join(dir, half+"-labels-idx1-ubyte"), 1, n)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		h, w := images.dims[1], images.dims[2]
		all := make([]sample, min(images.read, labels.read))
		for i := range all {
			m := &image.Gray{Pix: images.data[i*h*w:][:h*w], Stride: w, Rect: image.Rect(0, 0, w, h)}
			all[i] = sample{m, int(labels.data[i])}
		}
		return all, nil
	}
	return nil, fmt.Errorf("MNIST in %s: %w", dir, errors.Join(faults...))
}

// idx is the beginning of an IDX file.
type idx struct {
	dims []int
	read int // items of the first dimension that data holds
	data []byte
}

// maxSide bounds a picture's sides, so that a damaged header allocates nothing much.
const maxSide = 512

// readIDX reads up to n items of a file of bytes with the given rank, gzip or not.
func readIDX(name string, rank, n int) (x idx, err error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(name + ".gz")
	}
	if err != nil {
		return x, err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	if filepath.Ext(f.Name()) == ".gz" {
		if r, err = gzip.NewReader(r); err != nil {
			return x, fmt.Errorf("%s: %w", f.Name(), err)
		}
	}
	head := make([]byte, 4+4*rank)
	if _, err := io.ReadFull(r, head); err != nil {
		return x, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if magic := [4]byte(head); magic != [4]byte{0, 0, 8, byte(rank)} {
		return x, fmt.Errorf("%s: it begins with %x and not as an IDX file of bytes with %d dimensions", f.Name(), magic, rank)
	}
	size := 1
	for i := range rank {
		d := binary.BigEndian.Uint32(head[4+4*i:])
		if d == 0 {
			return x, fmt.Errorf("%s: it is empty", f.Name())
		}
		if i > 0 {
			if d > maxSide {
				return x, fmt.Errorf("%s: a side of %d pixels", f.Name(), d)
			}
			size *= int(d)
		}
		x.dims = append(x.dims, int(d))
	}
	x.read = min(n, x.dims[0])
	x.data = make([]byte, x.read*size)
	if _, err := io.ReadFull(r, x.data); err != nil {
		return x, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return x, nil
}
