//go:build long

package grid_test

import (
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// TestAMillionKeysComeAndGo is TestManyKeysComeAndGo at size, on files.
func TestAMillionKeysComeAndGo(t *testing.T) {
	manyKeysComeAndGo(t, 1_000_000, grid.Config{Dir: t.TempDir(), MarkerTTL: 30 * time.Second})
}
