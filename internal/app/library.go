package app

import (
	"context"

	"github.com/millrace/millrace/engine/onnxruntime"
)

// FindONNXRuntime returns the library that a configuration without one should name: what the environment says, else Millrace's own
// folder's, else the system's. It is empty where there is none, and opening the engine then says what to do.
func FindONNXRuntime(fromEnvironment, dir string) Path {
	path, err := onnxruntime.Config{Paths: onnxruntime.SearchPaths(fromEnvironment, dir)}.Find()
	if err != nil {
		return ""
	}
	return Path(path)
}

// InstallONNXRuntime puts the library into dir and returns its path. from is the archive, a file or a URL; empty asks npm for it.
func InstallONNXRuntime(ctx context.Context, from, dir string) (string, error) {
	return onnxruntime.Install(ctx, onnxruntime.InstallOptions{From: from, Dir: dir})
}
