package native_test

import (
	"bufio"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
)

// onnxCases is where Debian's package libonnx-testdata puts ONNX's own cases.
const onnxCases = "/usr/share/libonnx-testdata/data"

var update = flag.Bool("update", false, "write testdata/conformance.txt")

// TestConformance runs ONNX's own cases. testdata/conformance.txt lists those that pass: a case that stops passing fails
// here, and so does one that is missing in the list. No case may be wrong or crash; the others are refused.
func TestConformance(t *testing.T) {
	if _, err := os.Stat(onnxCases); err != nil {
		missing(t, "ONNX's cases are not here; apt-get install libonnx-testdata")
	}
	r, err := conformance.Run(t.Context(), onnxCases, native.New(native.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", r.Totals)
	var passed []string
	for _, c := range r.Cases {
		switch c.Verdict {
		case conformance.Passed:
			passed = append(passed, c.Name)
			if c.Reason != "" {
				t.Logf("%s: %s", c.Name, c.Reason)
			}
		case conformance.Refused:
			if !strings.Contains(c.Reason, "does not support") && !strings.Contains(c.Reason, "not supported") {
				t.Errorf("%s is refused without naming an operator: %s", c.Name, c.Reason)
			}
		default:
			t.Errorf("%s %s: %s", c.Verdict, c.Name, c.Reason)
		}
	}
	const list = "testdata/conformance.txt"
	if *update {
		if err := os.WriteFile(list, []byte(strings.Join(passed, "\n")+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range lines(t, list) {
		if !slices.Contains(passed, name) {
			t.Errorf("%s no longer passes", name)
		}
	}
	for _, name := range passed {
		if !slices.Contains(lines(t, list), name) {
			t.Errorf("%s passes and is not in %s; run the test with -update", name, list)
		}
	}
}

// TestConformancePortable runs the same cases with the kernels for any processor.
func TestConformancePortable(t *testing.T) {
	if _, err := os.Stat(onnxCases); err != nil {
		missing(t, "ONNX's cases are not here; apt-get install libonnx-testdata")
	}
	r, err := conformance.Run(t.Context(), onnxCases, native.New(native.Config{Portable: true}))
	if err != nil {
		t.Fatal(err)
	}
	if want := len(lines(t, "testdata/conformance.txt")); r.Passed != want || r.Wrong+r.Crashed > 0 {
		t.Errorf("%+v, want %d to pass", r.Totals, want)
	}
}

// missing skips a test whose data is not on this machine; in CI it fails.
func missing(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ls []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if l := s.Text(); l != "" && !strings.HasPrefix(l, "#") {
			ls = append(ls, l)
		}
	}
	return ls
}
