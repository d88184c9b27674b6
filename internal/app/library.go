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

// InstallONNXRuntime puts the library into dir, with cuda the one that has the CUDA provider beside it, and returns its path. from are the archives, files or URLs; none
// asks npm for them.
func InstallONNXRuntime(ctx context.Context, from []string, dir string, cuda bool) (string, error) {
	return onnxruntime.Install(ctx, onnxruntime.InstallOptions{From: from, Dir: dir, CUDA: cuda})
}

// CUDAReport says whether models can run on CUDA devices of this machine, and what is missing.
type CUDAReport = onnxruntime.CUDAReport

// InspectCUDA looks at what a library of onnxruntime needs to run on CUDA devices. loaderPath is what LD_LIBRARY_PATH says.
func InspectCUDA(library, loaderPath string) (CUDAReport, error) {
	return onnxruntime.InspectCUDA(library, loaderPath)
}
