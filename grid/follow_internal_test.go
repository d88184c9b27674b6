package grid

import (
	"context"
	"errors"
	"testing"
	"time"
)

// TestReadingTheCachesIsLate: a cluster that does not answer in time is asked again, so that its node is told that it was late, not that somebody called it off.
func TestReadingTheCachesIsLate(t *testing.T) {
	g, err := Open(t.Context(), Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close(context.Background()) })
	late, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	for range 100 { // the watch is begun or not: what ends it goes on beside it
		if err := g.loadCaches(late); !errors.Is(err, ErrUnavailable) || errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
}
