//go:build cgo

package onnxruntime_test

import (
	"flag"
	"os"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/catalogue"
	"github.com/millrace/millrace/engine/native"
)

var update = flag.Bool("update", false, "write onnxruntime's column of docs/operators.md")

// TestOperatorsDoc holds onnxruntime's column of docs/operators.md against what runs.
func TestOperatorsDoc(t *testing.T) {
	const page = "../../docs/operators.md"
	e := open(t)
	results, cells := map[string]catalogue.Result{}, map[string]string{}
	for _, o := range catalogue.Operators() {
		cells[o.String()] = catalogue.Cell(catalogue.Run(t.Context(), e, o))
		if *update {
			results[o.String()] = catalogue.Run(t.Context(), native.New(native.Config{}), o)
		}
	}
	if *update {
		text, err := catalogue.Doc(results, cells, e.Capabilities().Version)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(page, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	listed, version := catalogue.Others(string(have))
	if v := e.Capabilities().Version; v != version {
		t.Skipf("the page has version %s, this is %s", version, v)
	}
	for name, cell := range cells {
		if listed[name] != cell {
			t.Errorf("%s: %q runs, the page says %q; go test ./engine/onnxruntime -run TestOperatorsDoc -update writes it", name, cell, listed[name])
		}
	}
}
