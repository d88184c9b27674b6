//go:build cgo

package onnxruntime

import (
	"fmt"
	"os"
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
	if err := silence(); err != nil {
		library.err = fmt.Errorf("%w: turn telemetry of %s off: %w", engine.ErrUnavailable, abs, err)
		return library.err
	}
	ort.SetSharedLibraryPath(abs)
	if err := ort.InitializeEnvironment(ort.WithLogLevelError()); err != nil {
		library.err = fmt.Errorf("%w: load %s: %w", engine.ErrUnavailable, abs, err)
		return library.err
	}
	// On Windows the library reports what it did to its makers by this switch alone.
	if err := ort.DisableTelemetry(); err != nil {
		library.err = fmt.Errorf("%w: turn telemetry of %s off: %w", engine.ErrUnavailable, abs, err)
	}
	return library.err
}

// telemetryOff is the variable by which the library, from 1.30 on, is told on Linux and macOS that it is to report nothing. Without it, it makes a file of events and an
// id of the device in the home folder when it is loaded, before anybody can tell it otherwise, and sends the events to its makers.
const telemetryOff = "ORT_DISABLE_TELEMETRY"

// silence sets it for this process, for C too, where nobody has set it.
func silence() error {
	if _, set := os.LookupEnv(telemetryOff); set {
		return nil
	}
	return os.Setenv(telemetryOff, "1")
}
