// Package cuda says what is on this machine of NVIDIA's: the driver, the devices, and the libraries that onnxruntime's CUDA provider wants. It runs nothing
// on a device, which is the engine's business, and installs nothing.
package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Provider is the file with onnxruntime's CUDA provider, and ProviderBridge the one between it and the library. All three have to lie in one folder.
const (
	Provider       = "libonnxruntime_providers_cuda.so"
	ProviderBridge = "libonnxruntime_providers_shared.so"
)

// Toolkit is the version of CUDA that the provider is made for: the driver has to know it.
const Toolkit = 13

// ErrNone says that no device of NVIDIA's can be seen; the message says what is missing.
var ErrNone = errors.New("no CUDA device")

// A Driver is NVIDIA's driver as it is loaded.
type Driver struct {
	// Version is the driver's own, such as 580.82.07; empty where the system does not tell.
	Version string
	// CUDA is the newest version of CUDA that it knows, as 1000 times the first number plus 10 times the second; 0 where it was not asked.
	CUDA int
}

func (d Driver) String() string {
	s := "NVIDIA's driver"
	if d.Version != "" {
		s += " " + d.Version
	}
	if d.CUDA > 0 {
		s += fmt.Sprintf(" (CUDA %d.%d)", d.CUDA/1000, d.CUDA%1000/10)
	}
	return s
}

// Old says why the driver cannot carry the provider; nil where it can, or did not say what it knows.
func (d Driver) Old() error {
	if d.CUDA > 0 && d.CUDA < Toolkit*1000 {
		return fmt.Errorf("%v is too old for CUDA %d: install a newer driver", d, Toolkit)
	}
	return nil
}

// A GPU is a device as CUDA numbers it: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER count.
type GPU struct {
	Ordinal int
	Name    string
	// Memory is how much the device has, in bytes.
	Memory int64
	// Major and Minor are its compute capability.
	Major, Minor int
}

// Places are where Look looks. The zero value is the system's.
type Places struct {
	// Library is the driver's library; libcuda.so.1, which the loader finds, if empty.
	Library string
	// Proc is the kernel module's folder; /proc/driver/nvidia if empty.
	Proc string
}

// Look asks the driver for its devices. It returns ErrNone, with what is missing, where there is no driver or it shows no device; the driver is filled as far as
// it is known then too.
func Look(p Places) (Driver, []GPU, error) {
	if p.Library == "" {
		p.Library = "libcuda.so.1"
	}
	if p.Proc == "" {
		p.Proc = "/proc/driver/nvidia"
	}
	var d Driver
	var err error
	if d.Version, err = version(p.Proc); err != nil {
		return d, nil, err
	}
	version, gpus, err := ask(p.Library)
	d.CUDA = version
	switch {
	case errors.Is(err, errNoLibrary) && d.Version == "":
		return d, nil, fmt.Errorf("%w: there is no NVIDIA driver on this machine: no %s, and the loader finds no %s", ErrNone, p.Proc, p.Library)
	case errors.Is(err, errNoLibrary):
		return d, nil, fmt.Errorf("%w: %v is loaded, but its %s is not here: install the driver's libraries, or give them to the container (--gpus all): %w", ErrNone, d, p.Library, err)
	case err != nil:
		return d, nil, fmt.Errorf("%w: %v: %w", ErrNone, d, err)
	case len(gpus) == 0:
		return d, nil, fmt.Errorf("%w: %v shows no device: CUDA_VISIBLE_DEVICES may hide them", ErrNone, d)
	}
	return d, gpus, nil
}

// version reads the driver's version from the kernel module's folder; it is empty where there is no such folder.
func version(proc string) (string, error) {
	text, err := os.ReadFile(filepath.Join(proc, "version"))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: the version of NVIDIA's driver: %w", ErrNone, err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	for _, word := range strings.Fields(line) {
		if word[0] >= '0' && word[0] <= '9' && strings.Contains(word, ".") {
			return word, nil
		}
	}
	return "", nil
}
