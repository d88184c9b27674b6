package app

import (
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

// A pipeline that some owners do not run says so where something waits for it, only there, and only where that lasts: a partition that changes its owner has no
// reader for a moment, which is no reason to send a node's clients elsewhere.
func TestElsewhere(t *testing.T) {
	var u unread
	start := time.Now()
	waits := []grid.Position{
		{Partition: 0, Open: true, Changes: 5}, {Partition: 1}, {Partition: 2, Changes: 1, Sequence: 4}, {Partition: 3, Changes: 7, Sequence: 9},
	}
	says := func(after time.Duration, positions []grid.Position, clustered bool, want string) {
		t.Helper()
		got := elsewhere(u.lasting("p", positions, start.Add(after)), clustered)
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("after %v it says %q, want %q", after, got, want)
		}
	}
	says(0, waits, true, "")
	says(takeoverFor-1, waits, true, "")
	says(takeoverFor, waits, false, "partitions 2, 3: configure it on every node")
	says(takeoverFor, waits, true, "partitions 2, 3: they are taking them over")
	says(takeoverFor, waits[:2], false, "")
	says(takeoverFor, waits, true, "") // it was read meanwhile

	moved := []grid.Position{waits[2], {Partition: 3, Changes: 7, Sequence: 10}}
	says(2*takeoverFor, moved, true, "partitions 2: ")
	if got := elsewhere(u.lasting("p", moved, start.Add(2*takeoverFor)), true); strings.Contains(got, "3") {
		t.Errorf("a partition that was read since then is named: %q", got)
	}

	u.keep([]standing{{One: pipeline.One{Config: pipeline.Config{Name: "other"}}}})
	says(4*takeoverFor, moved, true, "")
}
