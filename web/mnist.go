package web

import (
	"errors"
	"fmt"
	"image"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// readMNIST reads the first n digits of MNIST's test half, or of the training half where that is not there.
func readMNIST(dir string, n int) ([]sample, string, error) {
	var faults []error
	for _, half := range []struct{ name, note string }{
		{"t10k", "From MNIST's test half, which the network has never seen."},
		{"train", "From MNIST's training half, which the network may have seen."},
	} {
		images, err := readIDX(filepath.Join(dir, half.name+"-images-idx3-ubyte"), 3)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		labels, err := readIDX(filepath.Join(dir, half.name+"-labels-idx1-ubyte"), 1)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		h, w := images.Shape()[1], images.Shape()[2]
		pix := tensor.Data[uint8](images)
		all := make([]sample, min(n, images.Shape()[0], labels.Shape()[0]))
		for i := range all {
			m := image.NewGray(image.Rect(0, 0, w, h))
			copy(m.Pix, pix[i*h*w:])
			all[i] = sample{m, int(tensor.Data[uint8](labels)[i])}
		}
		return all, half.note, nil
	}
	return nil, "", fmt.Errorf("MNIST in %s: %w", dir, errors.Join(faults...))
}

// readIDX reads a file of bytes with the given rank, gzip or not.
func readIDX(name string, rank int) (*tensor.Tensor, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.Open(name + ".gz")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := train.ReadIDX(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	if t.DType() != tensor.Uint8 || t.Rank() != rank || t.Size() == 0 {
		return nil, fmt.Errorf("%s: it holds %v%v and not bytes with %d dimensions", f.Name(), t.DType(), t.Shape(), rank)
	}
	return t, nil
}
