package native_test

import (
	"os"
	"slices"
	"testing"

	"github.com/millrace/millrace/engine/enginetest/catalogue"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/tensor"
)

// TestOperatorsDoc runs the examples of every operator for every type, and holds docs/operators.md against what ran.
func TestOperatorsDoc(t *testing.T) {
	const page = "../../docs/operators.md"
	e := native.New(native.Config{})
	results := map[string]catalogue.Result{}
	for _, o := range catalogue.Operators() {
		results[o.String()] = catalogue.Run(t.Context(), e, o)
	}
	have, err := os.ReadFile(page)
	if err != nil && !*update {
		t.Fatal(err)
	}
	cells, version := catalogue.Others(string(have))
	want, err := catalogue.Doc(results, cells, version)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(have) != want {
		t.Errorf("%s is not what runs; go test ./engine/native -run TestOperatorsDoc -update writes it", page)
	}
}

// TestEveryVersion runs each operator's example for float32, or its first type, at every opset in which the operator was changed
// from the one on that has the example's form.
func TestEveryVersion(t *testing.T) {
	e := native.New(native.Config{})
	for _, o := range catalogue.Operators() {
		if o.Domain != "" || o.Name == "Upsample" || o.Name == "Scatter" {
			continue
		}
		d := tensor.Float32
		if !slices.Contains(o.Types, d) {
			d = o.Types[0]
		}
		for opset := int64(o.Versions[0]); opset <= catalogue.Opset; opset++ {
			g, in := o.Example(d)
			g.Opset[""] = opset
			if err := catalogue.RunGraph(t.Context(), e, g, in); err != nil {
				t.Errorf("%v at opset %d: %v", o, opset, err)
			}
		}
	}
}
