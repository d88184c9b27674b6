//go:build cgo

package tensorflow_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/tensor"
)

// withoutKernel are the files whose types the library has no kernel for, with the operator that its error must name. Our engine over it computes these in float32, and says so.
var withoutKernel = map[string]string{"ops op-conv2-d-33": "Conv", "ops op-erfc-01": "Erf"}

// TestNoWarnings: onnxruntime, told to print warnings, prints nothing while it opens the file that each case becomes. A process of its own opens
// them, since the library writes to the process's standard error. One more file, which it must warn of, shows that it does so.
func TestNoWarnings(t *testing.T) {
	const child, bad = "MILLRACE_TEST_WARNINGS", "an initializer that nobody uses"
	if dir := os.Getenv(child); dir != "" {
		openAll(t, dir)
		return
	}
	root := sharedtest.Data(t, "tensorflow")
	if library(t) == nil {
		t.Skip("without onnxruntime nothing can be opened")
	}
	dir := t.TempDir()
	write := func(name string, g *graph.Graph) {
		data, err := onnx.Encode(g)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name+".onnx"), data, 0o644)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	files := 0
	for _, part := range []string{"ops", "nets"} {
		for _, c := range cases(t, filepath.Join(root, part)) {
			name := filepath.Base(c.dir)
			if c.Expect == "refused" || !strings.Contains(name, *only) {
				continue
			}
			res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
			switch {
			case err == nil:
				files++
				write(part+" "+name, res.Graph)
			case !errors.Is(err, tensorflow.ErrRefused) || !c.refusable():
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if files < 350 && *only == "" {
		t.Errorf("%d files", files)
	}
	b := graph.NewBuilder("unused")
	b.Output(b.Name(b.Op("Relu", nil, b.Input("x", tensor.Float32, graph.Dims(2))), "y"))
	b.Init("unused", tensor.Vector[float32](1))
	g, err := b.Graph()
	if err != nil {
		t.Fatal(err)
	}
	g.Opset = map[string]int64{graph.OnnxDomain: 17}
	g.Initializers = []graph.Initializer{{Name: "unused", Tensor: tensor.Vector[float32](1)}}
	write(bad, g)

	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestNoWarnings$", "-test.v")
	cmd.Env, cmd.Stderr = append(os.Environ(), child+"="+dir), &said
	if out, err := cmd.Output(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Fatalf("%v\n%s%s", err, out, said.String())
	}
	opened, warned := 0, false
	var name string
	for line := range strings.Lines(said.String()) {
		switch file, ok := strings.CutPrefix(strings.TrimSpace(line), marker); {
		case ok:
			name = strings.TrimSuffix(file, ".onnx")
			opened++
		case name == bad:
			warned = true
		default:
			t.Errorf("%s: %s", name, strings.TrimSpace(line))
		}
	}
	if opened != files+1 {
		t.Errorf("%d of %d files were opened", opened, files+1)
	}
	if !warned {
		t.Errorf("the library did not warn of %s", bad)
	}
}

// marker begins the line that says which file is opened next.
const marker = "opens: "

// openAll opens every file of a folder in the library, which prints its warnings.
func openAll(t *testing.T, dir string) {
	if library(t) == nil {
		t.Fatal("there is no library")
	}
	if err := ort.SetEnvironmentLogLevel(ort.LoggingLevelWarning); err != nil {
		t.Fatal(err)
	}
	settings, err := ort.NewSessionOptions()
	if err != nil {
		t.Fatal(err)
	}
	defer settings.Destroy()
	if err := errors.Join(settings.SetIntraOpNumThreads(1), settings.SetInterOpNumThreads(1), settings.SetLogSeverityLevel(ort.LoggingLevelWarning)); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g, err := onnx.Decode(data, onnx.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var in, out []string
		for _, v := range g.Placeholders() {
			in = append(in, v.Name)
		}
		for _, v := range g.Outputs {
			out = append(out, v.Name)
		}
		fmt.Fprintln(os.Stderr, marker+filepath.Base(file))
		if len(in) == 0 { // its wrapper wants an input by name, though the file is read before
			in = []string{""}
		}
		s, err := ort.NewDynamicAdvancedSessionWithONNXData(data, in, out, settings)
		if op := withoutKernel[strings.TrimSuffix(filepath.Base(file), ".onnx")]; op != "" {
			if err == nil || !strings.Contains(err.Error(), "Could not find an implementation for "+op+"(") {
				t.Errorf("%s has a kernel for %s: %v", filepath.Base(file), op, err)
			}
			if err != nil {
				continue
			}
		}
		if err != nil {
			t.Errorf("%s: %v", filepath.Base(file), err)
			continue
		}
		if err := s.Destroy(); err != nil {
			t.Error(err)
		}
	}
}
