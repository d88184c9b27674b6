package onnxruntime

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime/cuda"
)

// A CUDAReport says whether models can run on CUDA devices of this machine, and what is missing.
type CUDAReport struct {
	// Library is the onnxruntime library that was looked at.
	Library string `json:"library"`
	// Driver is NVIDIA's driver; empty where there is none.
	Driver string `json:"driver,omitempty"`
	// Devices are those that the driver shows.
	Devices []engine.Device `json:"devices"`
	// Needs are the libraries that the provider wants from the system.
	Needs []cuda.Need `json:"needs"`
	// Reason says why there is no device, or no provider; empty where there are both.
	Reason string `json:"reason,omitempty"`
}

// InspectCUDA looks at the library's CUDA provider, at what the loader finds for it with that LD_LIBRARY_PATH, and at the driver. Nothing is loaded but the driver's
// library, so that a device which it shows may still fail when a model is opened on it.
func InspectCUDA(library, loaderPath string) (CUDAReport, error) {
	r := CUDAReport{Library: library, Devices: []engine.Device{}, Needs: []cuda.Need{}}
	driver, gpus, err := cuda.Look(cuda.Places{})
	if err != nil {
		r.Reason = err.Error()
	}
	if driver != (cuda.Driver{}) {
		r.Driver = driver.String()
	}
	for _, g := range gpus {
		r.Devices = append(r.Devices, describe(g, driver.Old()))
	}
	if err := hasProvider(library); err != nil {
		if r.Reason != "" {
			err = fmt.Errorf("%w; %s", err, r.Reason)
		}
		r.Reason = err.Error()
		return r, nil
	}
	r.Needs, err = cuda.Needs(filepath.Join(filepath.Dir(library), cuda.Provider), &cuda.Loader{Path: loaderPath})
	return r, err
}

// describe is a GPU as a device; err is why it cannot be used.
func describe(g cuda.GPU, err error) engine.Device {
	d := engine.Device{Name: fmt.Sprintf("cuda:%d", g.Ordinal), Model: g.Name, Memory: g.Memory}
	if err != nil {
		d.Reason = err.Error()
	}
	return d
}

// hasProvider is engine.ErrUnavailable, with what to do, where the CUDA provider does not lie beside the library.
func hasProvider(library string) error {
	for _, name := range []string{cuda.ProviderBridge, cuda.Provider} {
		if _, err := os.Stat(filepath.Join(filepath.Dir(library), name)); err != nil {
			return fmt.Errorf("%w: %s has no CUDA provider beside it (%s): `millrace engine install onnxruntime --cuda` installs a library that has", engine.ErrUnavailable, library, name)
		}
	}
	return nil
}
