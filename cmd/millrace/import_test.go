package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow/tensorflowtest"
	"github.com/millrace/millrace/internal/cli"
)

// tensorFlowForms are the ways in which a net is in files, with the arguments that import it.
var tensorFlowForms = []struct {
	name  string
	write func(n tensorflowtest.Net, dir string) error
	args  func(dir string) []string
}{
	{"saved model", func(n tensorflowtest.Net, dir string) error { return n.SavedModel(dir) }, func(dir string) []string { return []string{dir} }},
	{"meta and version 1", func(n tensorflowtest.Net, dir string) error { return n.Meta(filepath.Join(dir, "model.ckpt")) },
		func(dir string) []string { return []string{filepath.Join(dir, "model.ckpt.meta")} }},
	{"frozen", func(n tensorflowtest.Net, dir string) error { return n.Frozen(filepath.Join(dir, "graph.pb")) },
		func(dir string) []string { return []string{filepath.Join(dir, "graph.pb")} }},
}

// peak is `millrace-peak ARGS`: the program itself, which tells at its end the most memory that it had, in KiB. What a process of Linux
// counts of its children begins with the memory of whoever started them, so that it has to ask for itself.
func peak() {
	code := cli.Main(context.Background(), os.Args[1:], cli.Process{Stdin: os.Stdin, Stdout: os.Stderr, Stderr: os.Stderr, Environ: os.Environ()})
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	fmt.Println(string(regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)[1]))
	os.Exit(code)
}

// importModel runs `millrace model import` and returns the most memory that the process had, in bytes.
func importModel(tb testing.TB, args []string) int64 {
	tb.Helper()
	if runtime.GOOS != "linux" {
		tb.Skip("only Linux tells how much memory a process had")
	}
	cmd := exec.CommandContext(tb.Context(), "millrace-peak", append([]string{"model", "import", "--verify=false", "--out", filepath.Join(tb.TempDir(), "model.onnx")}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		tb.Fatalf("%v: %s", err, said.Bytes())
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return n << 10
}

// The import of a model takes no more memory than 1.3 times its weights, beside what the program itself takes; verifying it would take them once more.
func TestImportMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it writes models of 50 MB")
	}
	n := tensorflowtest.Net{Channels: 256, Convs: 12, Width: 1024, Denses: 6}
	for _, form := range tensorFlowForms {
		t.Run(form.name, func(t *testing.T) {
			small, large := t.TempDir(), t.TempDir()
			if err := form.write(tensorflowtest.Small, small); err != nil {
				t.Fatal(err)
			}
			if err := form.write(n, large); err != nil {
				t.Fatal(err)
			}
			base, peak := importModel(t, form.args(small)), importModel(t, form.args(large))
			ratio := float64(peak-base) / float64(n.Bytes())
			t.Logf("weights %d MB, program %d MB, import %d MB: %.2f times the weights", n.Bytes()>>20, base>>20, peak>>20, ratio)
			if ratio > 1.3 || ratio < 0.5 {
				t.Errorf("the import took %.2f times its weights", ratio)
			}
		})
	}
}

// BenchmarkImport imports a model with weights of 106 MB, and one of a few kilobytes, as a person does: the program starts, and writes
// the ONNX file.
func BenchmarkImport(b *testing.B) {
	for _, form := range tensorFlowForms {
		for name, n := range map[string]tensorflowtest.Net{"large": tensorflowtest.Large, "small": tensorflowtest.Small} {
			b.Run(form.name+"/"+name, func(b *testing.B) {
				dir := b.TempDir()
				if err := form.write(n, dir); err != nil {
					b.Fatal(err)
				}
				var peak int64
				for b.Loop() {
					peak = max(peak, importModel(b, form.args(dir)))
				}
				b.SetBytes(n.Bytes())
				b.ReportMetric(float64(peak)/1e6, "MB-peak")
			})
		}
	}
}
