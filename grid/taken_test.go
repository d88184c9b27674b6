package grid_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid"
)

// TestTaken: a write whose condition failed, after it was sent several times or by a leader with an older state than the condition names, is stored where the key's last message is its own,
// is not stored where nothing came after what it was to replace, and else nobody knows. A leader that has the newest state is believed.
func TestTaken(t *testing.T) {
	t.Parallel()
	c := cache(t, open(t, grid.Config{InMemory: true}), grid.CacheConfig{Name: "c"})
	before := grid.Sequence(put(t, c, "k", "v"))
	own, err := grid.StoreAs(t.Context(), c, "k", "own")
	if err != nil {
		t.Fatal(err)
	}
	at := func(last grid.Sequence) error {
		return &jetstream.APIError{ErrorCode: 10071, Description: fmt.Sprintf("wrong last sequence: %d", last)}
	}
	several := fmt.Errorf("%w: %w", grid.ErrSent, at(own))
	for _, tc := range []struct {
		what, id string
		expected grid.Sequence
		failed   error
		want     grid.Sequence
		err      error
	}{
		{"several times, its own is there", "own", before, several, own, nil},
		{"several times, nothing came after what it was to replace", "another", own, several, 0, nil},
		{"several times, another one came after", "another", before, several, 0, grid.ErrUnavailable},
		{"once, the leader has what came after", "another", before, at(own), 0, nil},
		{"once, a former leader, its own is there", "own", before, at(before - 1), own, nil},
		{"once, a former leader, another one came after", "another", before, at(before - 1), 0, grid.ErrUnavailable},
		{"once, a former leader, nothing came after", "another", own, at(before), 0, nil},
		{"once, more was expected than there is", "another", own + 1, at(own), 0, nil},
		{"once, as a new key, its own is there", "own", 0, at(before), own, nil},
		{"once, as a new key, another one is there", "another", 0, at(before), 0, nil},
		{"without an id", "", before, several, 0, nil},
	} {
		got, err := grid.Taken(t.Context(), c, "k", tc.id, tc.expected, tc.failed)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("%s: %d, %v; want %d, %v", tc.what, got, err, tc.want, tc.err)
		}
	}
	if got, err := grid.Taken(t.Context(), c, "never", "own", 0, several); got != 0 || err != nil {
		t.Errorf("of a key that was never written: %d, %v", got, err)
	}
}
