package pipeline_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

func TestFaultKindsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for i, k := range pipeline.FaultKinds() {
		if seen[k.Code] || k.Code == "" || strings.Trim(k.Code, "abcdefghijklmnopqrstuvwxyz_") != "" || k.Cause == "" || k.Remedy == "" {
			t.Errorf("kind %d lacks a code of its own, a cause or a remedy: %+v", i, k)
		}
		seen[k.Code] = true
	}
}

// A result or an error entry that its cache never takes stands in nobody's way: it becomes an error entry, which is short where it must be.
func TestResultTooLarge(t *testing.T) {
	w := newWorkbench(t)
	for name, most := range map[string]int64{"small": 400, "few": 800} {
		if err := w.grid.CreateCache(t.Context(), grid.CacheConfig{Name: name, MaxEntryBytes: most}); err != nil {
			t.Fatal(err)
		}
	}
	w.serve(1, w.meter(), nil)
	w.run(func(c *pipeline.Config) { c.To, c.Errors, c.Carry = "small", "few", []string{"id"} })
	entry := func(id int, rest string) string {
		return `{"id":"` + strings.Repeat("x", id) + `","temperature":1` + rest + `}`
	}
	for _, c := range []struct{ key, entry, cache, code, says string }{
		{"a", entry(1, `,"door":0`), "small", "", `"carry":{"id":"x"}`},
		{"too large", entry(350, `,"door":0`), "few", "too_large", `"carry":{"id":"xxx`},
		{"far too large", entry(9000, `,"door":0`), "few", "too_large", "small takes at most 400"},
		{"bad and too large", entry(9000, ``), "few", "bad_input", "door"},
		{"bad with a long message", `{"` + strings.Repeat("ä", 5000) + `":1}`, "few", "bad_input", "missing"},
		{"b", entry(2, `,"door":0`), "small", "", `"carry":{"id":"xx"}`},
	} {
		w.put(c.key, c.entry)
		got := w.raw(w.listen(c.cache), c.key)
		var r pipeline.Result
		if err := json.Unmarshal([]byte(got), &r); err != nil || r.Code != c.code || !strings.Contains(got, c.says) || string(r.Source.Key) != c.key {
			t.Errorf("%s: %s %v", c.key, got, err)
		}
	}
	// What was too large and is not any more has its result, and the error goes.
	faults := w.listen("few")
	w.raw(faults, "too large") // the current state was read: what goes from now on is an event
	w.put("too large", entry(1, `,"door":0`))
	w.raw(w.listen("small"), "too large")
	w.next(faults, "the error is removed", func(e grid.Event) bool { return e.Entry.Key == "too large" && e.Type == grid.Removed })
}
