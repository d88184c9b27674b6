package checkpoint_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/tensor"
)

// A slice of a variable is the same whether it is stored as one, is part of one, or of a whole; one that is stored needs no other shard.
func TestReadSlice(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	whole := checkpointtest.Variable{Name: "w", Value: random(r, tensor.Float32, 6, 4)}
	parts := whole
	parts.Slices = []checkpoint.Slice{slice(0, 0, 2, 4), slice(2, 0, 4, 4)}
	columns := whole
	columns.Slices = []checkpoint.Slice{slice(0, 0, 6, 1), slice(0, 1, 6, 3)}
	tests := map[string]map[string][]byte{
		"v2":         checkpointtest.Bundle([]checkpointtest.Variable{whole}, 1, false),
		"v2 rows":    checkpointtest.Bundle([]checkpointtest.Variable{parts}, 2, false),
		"v2 columns": checkpointtest.Bundle([]checkpointtest.Variable{columns}, 2, true),
		"v1":         {"": checkpointtest.Legacy([]checkpointtest.Variable{whole}, 1, checkpointtest.Options{})[0]},
		"v1 rows":    legacy(checkpointtest.Legacy([]checkpointtest.Variable{parts}, 2, checkpointtest.Options{})),
	}
	for name, files := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := checkpoint.OpenFS(folder("m", files), "m")
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, s := range []checkpoint.Slice{slice(0, 0, 2, 4), slice(2, 0, 4, 4), slice(0, 1, 6, 3), slice(1, 1, 3, 2), slice(0, 0, 6, 4), slice(6, 0, 0, 4)} {
				got, err := c.ReadSlice("w", s)
				if err != nil {
					t.Fatal(err)
				}
				if want := checkpointtest.Part(whole.Value, s); !same(got, want) {
					t.Errorf("%v+%v is %v, want %v", s.Start, s.Length, got, want)
				}
			}
			for _, s := range []checkpoint.Slice{slice(5, 0, 2, 4), slice(0, -1, 2, 2), slice(0, 6)} {
				if _, err := c.ReadSlice("w", s); err == nil || !strings.Contains(err.Error(), "slice") {
					t.Errorf("%v+%v: %v", s.Start, s.Length, err)
				}
			}
		})
	}
	files := checkpointtest.Bundle([]checkpointtest.Variable{parts}, 2, false)
	delete(files, ".data-00001-of-00002")
	c, err := checkpoint.OpenFS(folder("m", files), "m")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ReadSlice("w", slice(0, 0, 2, 4)); err != nil {
		t.Error(err)
	}
	if _, err := c.Read("w"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
