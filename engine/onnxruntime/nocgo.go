//go:build !cgo

package onnxruntime

import (
	"fmt"

	"github.com/millrace/millrace/engine"
)

// New says that this build cannot have the engine.
func New(Config) (engine.Engine, error) {
	return nil, fmt.Errorf("%w: this program was built without cgo, which onnxruntime needs; take the build for glibc (millrace-cgo), or build with CGO_ENABLED=1", engine.ErrUnavailable)
}
