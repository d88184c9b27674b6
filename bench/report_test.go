package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRow(t *testing.T) {
	// The median of the ratios is not the ratio of the medians.
	pairs := []pair{{1, 2}, {3, 4}, {10, 5}}
	if r := row("a", "us", "peer", pairs, 0.75, true); r.Value != 3 || r.PeerValue != 4 || r.Ratio != 0.75 || !r.Met {
		t.Errorf("at most: %+v", r)
	}
	if r := row("a", "1/s", "peer", pairs, 0.76, false); r.Met {
		t.Errorf("at least: %+v", r)
	}
	if r := alone("a", "s", []float64{2, 1, 4, 3}, 2.5); r.Value != 2.5 || !r.Met {
		t.Errorf("alone: %+v", r)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	page, results := filepath.Join(dir, "page.md"), filepath.Join(dir, "results.json")
	r := Report{Date: "2026-01-02", Rows: []Row{row("a run", "us", "peer", []pair{{1, 2}}, 1, true)}}
	if err := os.WriteFile(page, []byte("before\n<!-- table -->\nold\n<!-- end of table -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time over what the first wrote
		if err := r.write(results, page); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	text := string(got)
	if !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") || strings.Contains(text, "old") || strings.Count(text, "| a run | 1 us | peer: 2 | 0.500 | ≤ 1 | met |") != 1 {
		t.Errorf("page:\n%s", text)
	}
	if err := os.WriteFile(page, []byte("no marks"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.write(results, page); err == nil {
		t.Error("a page without marks was taken")
	}
}

// TestAlternate: a side that takes three times as long has three times the value, though its blocks are as long as the other's.
func TestAlternate(t *testing.T) {
	var now time.Duration
	cost := func(each time.Duration) side {
		return func(_ context.Context, n int) error {
			now += time.Duration(n) * each
			return nil
		}
	}
	o := options{short: true, rounds: 1}
	pairs, err := alternate(t.Context(), o, func() time.Duration { return now }, cost(time.Millisecond), cost(3*time.Millisecond))
	if err != nil || len(pairs) != 1 || pairs[0] != (pair{0.001, 0.003}) {
		t.Errorf("%v, %v", pairs, err)
	}
	broken := errors.New("broken")
	if _, err := alternate(t.Context(), o, wallTime, cost(0), func(context.Context, int) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a side that fails: %v", err)
	}
}
