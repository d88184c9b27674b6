//go:build cgo

package onnxruntime

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime/cuda"
)

// ToValue and FromValue are how tensors become the library's values, and back.
var (
	ToValue   = toValue
	FromValue = fromValue
)

// CUDADevices are those of a driver at a place of its own.
func (e *Engine) CUDADevices(p cuda.Places) []engine.Device { return e.cudaDevices(p) }

// RunFault is what an error of a run on a device means.
var RunFault = runFault
