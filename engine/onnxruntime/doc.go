// Package onnxruntime is the engine over the onnxruntime shared library, through cgo: the fast one, on CPU and CUDA.
// It finds and installs the library; what a graph is and what it means is left to package graph.
package onnxruntime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/millrace/millrace/engine"
)

// Name is the engine's name in the configuration.
const Name = "onnxruntime"

// MaxOpset and MaxIR are the newest that the library which Install gives reads.
const (
	MaxOpset = 26
	MaxIR    = 13
)

// CUDAVersion is the version of the library that Install gives with the CUDA provider, and CUDADir the folder that it goes to, in the library's own. The provider
// and the library have to be of one version.
const (
	CUDAVersion = "1.29.0"
	CUDADir     = "onnxruntime-cuda-" + CUDAVersion
)

// Config says where the library is.
type Config struct {
	// Library is the shared library's path. Where it is empty, Paths are tried in order.
	Library string
	// Paths are where the library may be; see SearchPaths.
	Paths []string
}

// SearchPaths returns where the library is looked for: what the environment variable
// ONNXRUNTIME_SHARED_LIBRARY_PATH says (given by the caller), Millrace's own folder, and the system's. In Millrace's folder the library with the CUDA provider, where
// somebody installed it, goes before the one without: a process can have one library.
func SearchPaths(fromEnvironment, dir string) []string {
	var paths []string
	if fromEnvironment != "" {
		paths = append(paths, fromEnvironment)
	}
	if dir != "" {
		paths = append(paths, filepath.Join(dir, CUDADir, LibraryName()), filepath.Join(dir, LibraryName()))
	}
	switch runtime.GOOS {
	case "linux":
		for _, d := range []string{"/usr/local/lib", "/usr/lib/" + multiarch(), "/usr/lib64", "/usr/lib"} {
			paths = append(paths, filepath.Join(d, "libonnxruntime.so"), filepath.Join(d, "libonnxruntime.so.1"))
		}
	case "darwin":
		paths = append(paths, "/opt/homebrew/lib/libonnxruntime.dylib", "/usr/local/lib/libonnxruntime.dylib")
	}
	return paths
}

func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// LibraryName is the name that Install gives the library on this system.
func LibraryName() string {
	switch runtime.GOOS {
	case "windows":
		return "onnxruntime.dll"
	case "darwin":
		return "libonnxruntime.1.dylib"
	}
	return "libonnxruntime.so.1"
}

// Find returns the library's path. It is engine.ErrUnavailable, with what to do, where there is none.
func (c Config) Find() (string, error) {
	if c.Library != "" {
		if _, err := os.Stat(c.Library); err != nil {
			return "", fmt.Errorf("%w: the onnxruntime library that the configuration names: %w", engine.ErrUnavailable, err)
		}
		return c.Library, nil
	}
	for _, p := range c.Paths {
		if _, err := os.Stat(p); err == nil {
			return p, nil
		} else if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
		}
	}
	return "", fmt.Errorf("%w: the onnxruntime library was not found; `millrace engine install onnxruntime` installs it", engine.ErrUnavailable)
}
