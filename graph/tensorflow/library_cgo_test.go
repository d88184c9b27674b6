//go:build cgo

package tensorflow_test

import (
	"os"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/onnxruntime"
)

// library opens onnxruntime, or returns nil where it is not installed, which fails in CI.
func library(tb testing.TB) engine.Engine {
	tb.Helper()
	e, err := onnxruntime.New(onnxruntime.Config{Library: os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), Paths: onnxruntime.SearchPaths("", "")})
	if err != nil {
		if os.Getenv("CI") != "" {
			tb.Fatal(err)
		}
		tb.Logf("without onnxruntime: %v", err)
		return nil
	}
	return e
}
