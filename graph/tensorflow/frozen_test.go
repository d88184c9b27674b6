package tensorflow_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/sharedtest"
)

// TestFrozen: what training left alone is told of, and of what it changed nothing, also where weights were transposed, reshaped or happen to be alike.
func TestFrozen(t *testing.T) {
	nets := filepath.Join(sharedtest.Data(t, "tensorflow"), "nets")
	for net, want := range map[string][]string{
		"k2-wide-deep":      {"Const_1", "model/normalization/Maximum/Max"}, // the mean and deviation that a Normalization layer has learned before
		"k2-lenet":          nil,
		"k3-mobilenet-mini": nil, // its biases are all zero
		"nn2h-v1":           nil, // a graph alone does not say what is trained
	} {
		c := readCase(t, filepath.Join(nets, net))
		res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
		if err != nil {
			t.Errorf("%s: %v", net, err)
			continue
		}
		if d := cmp.Diff(want, res.Frozen, cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s:\n%s", net, d)
		}
	}
}
