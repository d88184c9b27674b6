package cuda

import (
	"debug/elf"
	"fmt"
	"strings"
)

// A Need is a library that the provider wants from the system.
type Need struct {
	// Name is the library's SONAME.
	Name string `json:"name"`
	// From is what has it.
	From string `json:"from"`
	// Later says that it is looked for only when a model needs it (cuDNN for convolutions and recurrent operators, cuFFT for Fourier transforms): without it the others run.
	Later bool `json:"later,omitempty"`
	// Path is where the loader finds it; empty where it does not.
	Path string `json:"path,omitempty"`
}

// later are the libraries that the provider does not name in its header, but looks for when it runs.
var later = []string{"libcudnn.so.9", "libcufft.so.12"}

// Needs returns what a provider wants from the system, and whether the loader finds it there: what its header names (DT_NEEDED), in its order, then what it loads later.
func Needs(provider string, l *Loader) ([]Need, error) {
	f, err := elf.Open(provider)
	if err != nil {
		return nil, fmt.Errorf("read the CUDA provider: %w", err)
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("read what %s needs: %w", provider, err)
	}
	l.Machine = f.Machine
	needs := make([]Need, 0, len(names)+len(later))
	for _, name := range names {
		needs = append(needs, Need{Name: name, From: from(name)})
	}
	for _, name := range later {
		needs = append(needs, Need{Name: name, From: from(name), Later: true})
	}
	for i := range needs {
		if needs[i].Path, err = l.Find(needs[i].Name); err != nil {
			return nil, err
		}
	}
	return needs, nil
}

// from says what has a library.
func from(name string) string {
	switch base, _, _ := strings.Cut(name, ".so"); base {
	case "libcuda":
		return "NVIDIA's driver"
	case "libcudnn":
		return "cuDNN 9"
	case "libcublas", "libcublasLt", "libcurand", "libcudart", "libcufft", "libnvrtc":
		return fmt.Sprintf("CUDA %d", Toolkit)
	}
	return "the system"
}
