package grid_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/grid"
)

func TestSystemNames(t *testing.T) {
	for name, system := range map[string]bool{"_models": true, "_": true, "models": false, "a_b": false, "-x": false, "": false} {
		if got := grid.IsSystem(name); got != system {
			t.Errorf("IsSystem(%q) is %v", name, got)
		}
		if err := grid.CheckPublic(name); errors.Is(err, grid.ErrNoCache) != system {
			t.Errorf("CheckPublic(%q): %v", name, err)
		}
	}
}
