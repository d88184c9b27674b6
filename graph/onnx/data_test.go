package onnx_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// onnxCases returns the folder of ONNX's own cases. Without it the test is skipped, but in CI.
func onnxCases(t testing.TB) string {
	t.Helper()
	const dir = "/usr/share/libonnx-testdata/data"
	if _, err := os.Stat(dir); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v: install Debian's package libonnx-testdata", err)
		}
		t.Skipf("%v: they come with Debian's package libonnx-testdata", err)
	}
	return dir
}

// models returns the files that end with suffix under dir.
func models(t testing.TB, dir, suffix string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, suffix) {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files *%s under %s: %v", len(files), suffix, dir, err)
	}
	return files
}
