//go:build cgo

package onnxruntime

import (
	"fmt"
	"path/filepath"
	"sync"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
)

// library is the shared library, which a process loads once and never unloads: its threads and allocators outlive
// every session, and a second library would share its symbols.
var library struct {
	sync.Mutex
	path string
	err  error
}

// load loads the library at path, or returns what the first load gave.
func load(path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	library.Lock()
	defer library.Unlock()
	switch {
	case library.path == abs:
		return library.err
	case library.path != "" && library.err == nil:
		return fmt.Errorf("%w: this process uses the onnxruntime library %s already, and can have no other (%s)", engine.ErrUnavailable, library.path, abs)
	}
	library.path = abs
	keepMappingsSmall()
	ort.SetSharedLibraryPath(abs)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		library.err = fmt.Errorf("%w: load %s: %w", engine.ErrUnavailable, abs, err)
		return library.err
	}
	// The library reports nothing to anybody on the platforms that Millrace is built for but Windows; there it would.
	if err := ort.DisableTelemetry(); err != nil {
		library.err = fmt.Errorf("%w: turn telemetry of %s off: %w", engine.ErrUnavailable, abs, err)
	}
	return library.err
}
