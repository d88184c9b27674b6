package app

import (
	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
)

// openONNXRuntime loads the library that the configuration names, or says why there is none. Who reads the
// configuration looks for the library where it names none.
func openONNXRuntime(cfg ONNXRuntimeConfig) (engine.Engine, error) {
	e, err := onnxruntime.New(onnxruntime.Config{Library: string(cfg.Library)})
	if err != nil {
		return nil, err
	}
	return e, nil
}
