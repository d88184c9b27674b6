package native_test

import (
	"os"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
)

const onnxCases = "/usr/share/libonnx-testdata/data"

func TestConformance(t *testing.T) {
	if _, err := os.Stat(onnxCases); err != nil {
		t.Skip(err)
	}
	r, err := conformance.Run(t.Context(), onnxCases, native.New(native.Config{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Cases {
		if c.Verdict != conformance.Passed || c.Reason != "" {
			t.Logf("%s %s: %s", c.Verdict, c.Name, c.Reason)
		}
	}
	t.Logf("%+v", r.Totals)
}
