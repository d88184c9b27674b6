//go:build cgo

package onnxruntime_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// TestSilent: a process that loads the library and opens a model leaves nothing in the home folder: no id of the device and no events that wait to be sent.
func TestSilent(t *testing.T) {
	const child = "MILLRACE_TEST_SILENT"
	if os.Getenv(child) != "" {
		build(t, engine.Options{}, func(b *graph.Builder) {
			b.Output(b.Name(b.Op("Neg", nil, b.Input("x", tensor.Float32, graph.Dims(2))), "y"))
		})
		return
	}
	open(t) // where there is no library, this says so
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestSilent$", "-test.v")
	for _, v := range os.Environ() {
		// The library is silent in CI by itself.
		if name, _, _ := strings.Cut(v, "="); name != "HOME" && name != "CI" && name != "ORT_DISABLE_TELEMETRY" && !strings.HasPrefix(name, "XDG_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+home, child+"=1")
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s", err, out)
	}
	err := filepath.WalkDir(home, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			t.Errorf("the library made %s", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
