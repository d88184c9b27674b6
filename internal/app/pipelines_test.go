package app

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
)

// A pipeline that some owners do not run says so where something waits for it, and only there.
func TestElsewhere(t *testing.T) {
	positions := []grid.Position{
		{Partition: 0, Open: true, Changes: 5}, {Partition: 1}, {Partition: 2, Changes: 1}, {Partition: 3, Changes: 7},
	}
	if got := elsewhere(positions, false); !strings.Contains(got, "partitions 2, 3: configure it on every node") {
		t.Errorf("got %q", got)
	}
	if got := elsewhere(positions, true); !strings.Contains(got, "partitions 2, 3: they are taking them over") {
		t.Errorf("of a cluster it says %q", got)
	}
	if got := elsewhere(positions[:2], false); got != "" {
		t.Errorf("nothing waits elsewhere, and it says %q", got)
	}
}
