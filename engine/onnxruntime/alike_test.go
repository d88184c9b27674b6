//go:build cgo

package onnxruntime_test

import (
	"fmt"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/enginetest/random"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/tensor"
)

// TestRandomGraphs: both engines answer alike on 200 random graphs, without a tolerance of their own.
func TestRandomGraphs(t *testing.T) {
	library, own := open(t), native.New(native.Config{})
	ops := map[string]bool{}
	for seed := range uint64(200) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			c, err := random.New(seed)
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range c.Graph.Nodes {
				ops[n.OpType] = true
			}
			want := answer(t, library, c)
			got := answer(t, own, c)
			for i, v := range c.Graph.Outputs {
				if err := conformance.Alike(got[i], want[i]); err != nil {
					t.Errorf("output %q: %v\n%v", v.Name, err, c.Graph)
				}
			}
		})
	}
	if len(ops) < 40 {
		t.Errorf("the graphs have only %d different operators", len(ops))
	}
}

func answer(t *testing.T, e engine.Engine, c random.Case) []*tensor.Tensor {
	t.Helper()
	s, err := e.Open(t.Context(), c.Graph, engine.Options{})
	if err != nil {
		t.Fatalf("%s: %v\n%v", e.Name(), err, c.Graph)
	}
	defer s.Close()
	out, err := engine.Run(t.Context(), s, c.Inputs)
	if err != nil {
		t.Fatalf("%s: %v\n%v", e.Name(), err, c.Graph)
	}
	var outputs []*tensor.Tensor
	for _, v := range c.Graph.Outputs {
		outputs = append(outputs, out[v.Name])
	}
	return outputs
}
