package checkpoint_test

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/graph/tensorflow/checkpoint"
	"github.com/millrace/millrace/graph/tensorflow/checkpoint/checkpointtest"
	"github.com/millrace/millrace/tensor"
)

// BenchmarkRead opens checkpoints of 100 MB in 25 variables, and reads all.
func BenchmarkRead(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	var vars []checkpointtest.Variable
	for i := range 25 {
		vars = append(vars, checkpointtest.Variable{Name: string(rune('a' + i)), Value: random(r, tensor.Float32, 1000, 1000)})
	}
	dir := b.TempDir()
	write := func(prefix string, files map[string][]byte) {
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(dir, prefix+name), data, 0o600); err != nil {
				b.Fatal(err)
			}
		}
	}
	write("v2", checkpointtest.Bundle(vars, 2, false))
	write("v1", map[string][]byte{"": checkpointtest.Legacy(vars, 1, checkpointtest.Options{Snappy: true})[0]})
	for _, name := range []string{"v1", "v2"} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(100e6)
			for b.Loop() {
				c, err := checkpoint.Open(filepath.Join(dir, name))
				if err != nil {
					b.Fatal(err)
				}
				for v := range c.List() {
					if _, err := c.Read(v.Name); err != nil {
						b.Fatal(err)
					}
				}
				c.Close()
			}
		})
	}
}
