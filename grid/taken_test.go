package grid_test

import (
	"errors"
	"testing"

	"github.com/millrace/millrace/grid"
)

// TestTaken: a write whose condition failed after it was sent several times is stored where the key's last message is its own, is not stored where nothing came after what it was to
// replace, and else nobody knows.
func TestTaken(t *testing.T) {
	t.Parallel()
	c := cache(t, open(t, grid.Config{InMemory: true}), grid.CacheConfig{Name: "c"})
	before := put(t, c, "k", "v")
	own, err := grid.StoreAs(t.Context(), c, "k", "own")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		what, id string
		expected grid.Sequence
		sent     bool
		want     grid.Sequence
		err      error
	}{
		{"its own is there", "own", grid.Sequence(before), true, own, nil},
		{"it was sent once", "own", grid.Sequence(before), false, 0, nil},
		{"nothing came after what it was to replace", "another", own, true, 0, nil},
		{"another one came after", "another", grid.Sequence(before), true, 0, grid.ErrUnavailable},
	} {
		got, err := grid.Taken(t.Context(), c, "k", tc.id, tc.expected, tc.sent)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d, %v; want %d, %v", tc.what, got, err, tc.want, tc.err)
		}
	}
	if got, err := grid.Taken(t.Context(), c, "never", "own", 0, true); got != 0 || err != nil {
		t.Errorf("of a key that was never written: %d, %v", got, err)
	}
}
