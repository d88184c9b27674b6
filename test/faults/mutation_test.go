package faults

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// history makes operations of one key, each a millisecond after the other, from lines of kind, value, condition, outcome and revision.
func history(lines ...string) (ops []*op) {
	for i, line := range lines {
		o := &op{Client: i, Key: "k", Cache: "registers", Start: time.Duration(2*i) * time.Millisecond, End: time.Duration(2*i+1) * time.Millisecond}
		if _, err := fmt.Sscan(line, &o.Kind, &o.Value, &o.If, &o.Outcome, &o.Revision); err != nil {
			panic(fmt.Errorf("%s: %w", line, err))
		}
		if o.Value == "-" {
			o.Value = ""
		}
		ops = append(ops, o)
	}
	return ops
}

// TestLinear: each kind of wrong answer is found, and none is where an order explains them all.
func TestLinear(t *testing.T) {
	good := []string{
		"get - 0 absent 0", "put a 0 ok 3", "get a 0 ok 3", "create b 0 refused 0", "cas c 3 ok 7", "cas d 3 refused 0", "get c 0 ok 7", "remove - 0 ok 0",
		"get - 0 absent 0", "remove - 0 absent 0", "create e 0 ok 9", "get e 0 ok 9",
	}
	if _, err := checkLinear(history(good...)); err != nil {
		t.Errorf("a history without a fault: %v", err)
	}
	mutations := map[string]struct {
		line int
		with string
	}{
		"an acknowledged put is lost":              {2, "get - 0 absent 0"},
		"a stale read":                             {6, "get a 0 ok 3"},
		"a read of a value that was never written": {6, "get x 0 ok 7"},
		"a read with another revision":             {6, "get c 0 ok 8"},
		"a second write on one condition":          {5, "cas d 3 ok 8"},
		"a condition that holds is refused":        {4, "cas c 3 refused 0"},
		"a create over an entry":                   {3, "create b 0 ok 5"},
		"a create refused where nothing is":        {10, "create e 0 refused 0"},
		"a removed entry is back":                  {8, "get c 0 ok 7"},
		"a removal of nothing":                     {9, "remove - 0 ok 0"},
		"a revision that falls":                    {10, "create e 0 ok 5"},
		"a write that failed before was read":      {1, "put a 0 unsent 0"},
	}
	for name, m := range mutations {
		lines := slices.Clone(good)
		lines[m.line] = m.with
		if _, err := checkLinear(history(lines...)); !errors.Is(err, errNotLinear) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLinearInDoubt: a write without an answer may have been done, or not, now or later, and nothing else.
func TestLinearInDoubt(t *testing.T) {
	cases := map[string]struct {
		lines []string
		legal bool
	}{
		"not done":                        {[]string{"put a 0 ok 1", "put b 0 unknown 0", "get a 0 ok 1"}, true},
		"done":                            {[]string{"put a 0 ok 1", "put b 0 failed 0", "get b 0 ok 2"}, true},
		"done later":                      {[]string{"put a 0 ok 1", "put b 0 unknown 0", "get a 0 ok 1", "get b 0 ok 2"}, true},
		"done unseen":                     {[]string{"put a 0 ok 1", "put b 0 unknown 0", "cas c 1 refused 0"}, true},
		"removed unseen":                  {[]string{"put a 0 ok 1", "remove - 0 unknown 0", "get - 0 absent 0"}, true},
		"done before it began":            {[]string{"put a 0 ok 1", "get b 0 ok 2", "put b 0 unknown 0"}, false},
		"done and undone":                 {[]string{"put a 0 ok 1", "put b 0 unknown 0", "get b 0 ok 2", "get a 0 ok 1"}, false},
		"done twice":                      {[]string{"put b 0 unknown 0", "get b 0 ok 2", "put c 0 ok 3", "get b 0 ok 4"}, false},
		"done although never sent":        {[]string{"put a 0 ok 1", "put b 0 unsent 0", "get b 0 ok 2"}, false},
		"done against its condition":      {[]string{"put a 0 ok 2", "cas b 1 unknown 0", "get b 0 ok 3"}, false},
		"removed without any who removes": {[]string{"put a 0 ok 1", "put b 0 unknown 0", "get - 0 absent 0"}, false},
	}
	for name, c := range cases {
		if _, err := checkLinear(history(c.lines...)); (err == nil) != c.legal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEarly: a node that has not opened the grid does nothing, and says so; that its answer is counted among the writes that may have been done makes a search of a history endless, and
// allows what must not be.
func TestEarly(t *testing.T) {
	for what, c := range map[string]struct {
		text  string
		legal bool
	}{
		"a node that waits": {`{"error":"grid unavailable: the node waits until most of the nodes are there","code":"grid_unavailable"}`, false},
		"a node that tried": {`{"error":"put registers/k: grid unavailable: no answer in time","code":"grid_unavailable"}`, true},
	} {
		ops := history("put a 0 ok 1", "put b 0 failed 0", "cas c 1 refused 0")
		ops[1].Status, ops[1].Error = 503, c.text
		if _, err := checkLinear(ops); (err == nil) != c.legal {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestLinearOverlap: operations at the same time may have any order, others not.
func TestLinearOverlap(t *testing.T) {
	ops := history("put a 0 ok 1", "put b 0 ok 3", "put c 0 ok 2", "get b 0 ok 3")
	if _, err := checkLinear(ops); !errors.Is(err, errNotLinear) {
		t.Errorf("a revision fell: %v", err)
	}
	ops[1].End = ops[2].End
	if _, err := checkLinear(ops); err != nil {
		t.Errorf("two at a time: %v", err)
	}
}

// TestChecks: each check of the invariants finds what it is for, and nothing else.
func TestChecks(t *testing.T) {
	ops := history("put a 0 ok 3", "put b 0 ok 5", "put c 0 unknown 0")
	inputs := map[string]entry{"k": {revision: 5}}
	results := map[string]entry{"k": {revision: 9, source: 5}}
	seen := []event{{Key: "k", Type: "created", Revision: 4, Source: 3}, {Key: "k", Type: "updated", Revision: 9, Source: 5}}
	again := event{Key: "k", Type: "updated", Revision: 9, Source: 5, Connection: 1}
	newest := func(events []event) func(string) (event, bool) {
		return func(string) (event, bool) {
			if len(events) == 0 {
				return event{}, false
			}
			return events[len(events)-1], true
		}
	}
	check := func(ops []*op, inputs, results map[string]entry, seen []event) *verdict {
		v := &verdict{}
		v.checkKept(ops, inputs)
		v.checkProcessed(inputs, results)
		v.checkResults(seen, results)
		v.checkOrder("listener", seen)
		if err := checkNewest(newest(seen), []string{"k"}, results); err != nil {
			v.errs = append(v.errs, err)
		}
		return v
	}
	for name, events := range map[string][]event{"all": seen, "one again after a new connection": append(slices.Clone(seen), again), "the newest alone": seen[1:]} {
		if v := check(ops, inputs, results, events); v.err() != nil || v.Lost+v.Duplicates+v.Regressions != 0 {
			t.Errorf("without a fault, %s: %+v", name, v)
		}
	}
	cases := []struct {
		name            string
		inputs, results map[string]entry
		seen            []event
		says            string
	}{
		{"a put is lost", map[string]entry{"k": {revision: 3}}, map[string]entry{"k": {revision: 4, source: 3}}, seen[:1], "invariant 1"},
		{"all is lost", map[string]entry{}, results, seen, "invariant 1"},
		{"no result", inputs, map[string]entry{}, nil, "invariant 4"},
		{"no result of the newest", inputs, map[string]entry{"k": {revision: 4, source: 3}}, seen[:1], "invariant 4"},
		{"two results of one put, both seen", inputs, map[string]entry{"k": {revision: 10, source: 5}}, append(slices.Clone(seen), event{Key: "k", Revision: 10, Source: 5}), "has two results"},
		{"two results of one put, one seen", inputs, map[string]entry{"k": {revision: 10, source: 5}}, seen, "has two results"},
		{"a result of an older revision", inputs, results, append([]event{{Key: "k", Revision: 3, Source: 5}, {Key: "k", Revision: 4, Source: 3}}, seen[1:]...), "invariant 5"},
		{"events in another order", inputs, results, []event{seen[1], seen[0], seen[1]}, "invariant 6"},
		{"an event twice", inputs, results, []event{seen[0], seen[1], seen[1]}, "invariant 6"},
		{"the newest is not seen", inputs, results, seen[:1], "invariant 6"},
		{"nothing is seen", inputs, results, nil, "invariant 6"},
		{"a removal that was none", inputs, results, append(slices.Clone(seen), event{Key: "k", Type: "removed", Revision: 12, Source: 6}), "invariant 6"},
		{"a result that is none", inputs, results, append([]event{{Key: "k", Revision: 2, Bad: "no label"}}, seen...), "no label"},
	}
	for _, c := range cases {
		if v := check(ops, c.inputs, c.results, c.seen); v.err() == nil || !strings.Contains(v.err().Error(), c.says) {
			t.Errorf("%s: %v", c.name, v.err())
		}
	}
}

// TestGaps: the longest silence of a partition counts, also one that lasts from the beginning or to the end.
func TestGaps(t *testing.T) {
	var ops []*op
	for i := range 10 {
		for p := range partitions {
			if p == 3 && i > 4 {
				continue
			}
			at := time.Duration(i) * time.Second
			for _, k := range []kind{put, get} {
				ops = append(ops, &op{Kind: k, Cache: "registers", Key: keyIn(p, "r0-probe"), End: at, Outcome: ok})
			}
		}
	}
	write, read := gaps(ops, -2*time.Second, 10*time.Second)
	if write != 6*time.Second || read != 6*time.Second {
		t.Errorf("write gap %v, read gap %v, both are 6 s in partition 3", write, read)
	}
	if write, _ = gaps(nil, 0, time.Minute); write != time.Minute {
		t.Errorf("without any answer the gap is %v", write)
	}
}

// TestFailClearly: without a majority a write has to fail with a code, in time, and not to succeed.
func TestFailClearly(t *testing.T) {
	at := func(o op) *op {
		o.Kind, o.Node, o.Start, o.End = put, 1, 2*time.Second, 3*time.Second
		return &o
	}
	refusal := at(op{Outcome: failed, Status: 503, Error: `{"error":"no leader","code":"grid_unavailable"}`})
	if err := failClearly([]*op{refusal}, 1, time.Second, time.Minute); err != nil {
		t.Error(err)
	}
	for name, ops := range map[string][]*op{
		"no write":     nil,
		"acknowledged": {refusal, at(op{Outcome: ok})},
		"no answer":    {refusal, at(op{Outcome: unknown})},
		"no reason":    {refusal, at(op{Outcome: failed, Status: 500, Error: "oops"})},
		"too late":     {{Kind: put, Node: 1, Start: 2 * time.Second, End: 2 * time.Minute, Outcome: failed, Status: 503, Error: `"code"`}},
	} {
		if err := failClearly(ops, 1, time.Second, time.Minute); err == nil {
			t.Errorf("%s: nothing is found", name)
		}
	}
}
