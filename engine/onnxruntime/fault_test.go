//go:build cgo

package onnxruntime_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
)

// TestFaults: what an error of the library's means depends on its text and on where the run was.
func TestFaults(t *testing.T) {
	kinds := map[string]error{"input": engine.ErrInput, "too large": engine.ErrTooLarge, "lost": engine.ErrLost}
	for _, c := range []struct {
		text, device, want string
	}{
		{"CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=h", "cuda:0", "lost"},
		{"CUDA failure 46: all CUDA-capable devices are busy or unavailable ; GPU=0", "cuda:0", "lost"},
		{"CUDA failure 2: out of memory ; GPU=0", "cuda:0", "too large"},
		{"CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", "cuda:1", "too large"},
		{"Failed to allocate memory for requested buffer of size 1024", "cuda:0", "too large"},
		{"Failed to allocate memory for requested buffer of size 1024", "", "too large"},
		{"Got invalid dimensions for output", "cuda:0", "input"},
		{"CUDA failure 7: too many resources requested for launch ; GPU=0", "cuda:0", ""},
		{"CUDA failure 719: a text of a model's", "cpu", ""},
	} {
		err := onnxruntime.RunFault(errors.New(c.text), c.device)
		for name, kind := range kinds {
			if errors.Is(err, kind) != (name == c.want) {
				t.Errorf("%s on %q: %v", c.text, c.device, err)
			}
		}
	}
}
