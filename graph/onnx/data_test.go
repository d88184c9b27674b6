package onnx_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// folders of models that tests read where they are there.
const (
	onnxCases    = "/usr/share/libonnx-testdata/data"
	pytorchCases = "../../../shared/data/pytorch"
)

// models returns the files that end with suffix under dir. A missing folder skips the test, or fails it in CI.
func models(t testing.TB, dir, suffix string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, suffix) {
			files = append(files, path)
		}
		return err
	})
	if err == nil && len(files) > 0 {
		return files
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("no models under %s: install the package libonnx-testdata and the shared data", dir)
	}
	t.Skipf("no models under %s: they come with Debian's package libonnx-testdata and with the shared data", dir)
	return nil
}
