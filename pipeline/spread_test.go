package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/tensor"
)

// sleeper is a session that takes as long as it is told for each run, and no processor: several nodes on a machine of few processors are as fast as each
// on its own.
type sleeper struct {
	engine.Session
	takes time.Duration
	runs  atomic.Int64
	fails atomic.Pointer[error] // what runs return in place of results
	holds atomic.Pointer[chan struct{}]
}

func (s *sleeper) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	s.runs.Add(1)
	if hold := s.holds.Load(); hold != nil {
		select {
		case <-*hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-time.After(s.takes):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.fails.Load(); err != nil {
		return *err
	}
	return s.Session.Run(ctx, in, out)
}

const (
	spreadBatch = 16
	spreadTakes = 20 * time.Millisecond
)

// spreadNode is a node of a grid with one partition, which one of the nodes owns.
type spreadNode struct {
	*workbench
	manager *pipeline.Manager
	stop    func()
	session *sleeper
}

func (w *workbench) sleeps(version int64) *sleeper {
	w.Helper()
	s := &sleeper{takes: spreadTakes}
	w.serve(version, w.larger(free, true), func(inner engine.Session) engine.Session {
		s.Session = inner
		return s
	})
	return s
}

// joinSpread adds a node that has the model, where serves, and pipeline p.
func joinSpread(t testing.TB, cfg grid.Config, serves bool, spread string) *spreadNode {
	t.Helper()
	n := &spreadNode{workbench: openWorkbench(t, cfg)}
	if serves {
		n.session = n.sleeps(1)
	}
	p := fixedP
	p.MaxBatch, p.Spread = spreadBatch, spread
	n.manager, n.stop = n.manage(p)
	if serves {
		n.stateOf(n.manager, "p", pipeline.Waiting)
	}
	return n
}

// spreadPair is two nodes, of which the first owns the partition.
func spreadPair(t *testing.T, serves bool, spread string) (owner, other *spreadNode) {
	t.Helper()
	url := natstest.URL(t)
	owner = joinSpread(t, grid.Config{URL: url, Partitions: 1}, true, spread)
	return owner, joinSpread(t, grid.Config{URL: url}, serves, spread)
}

// count is what a node's pipeline has done.
func (n *spreadNode) count() pipeline.Snapshot {
	n.Helper()
	one, err := n.manager.Get("p")
	if err != nil {
		n.Fatal(err)
	}
	return one.Snapshot
}

// fill puts n entries, and returns their revisions.
func (w *workbench) fill(name string, n int) map[string]grid.Revision {
	w.Helper()
	revs := map[string]grid.Revision{}
	for at := 0; at < n; at += 500 {
		puts := make([]grid.Put, min(500, n-at))
		for i := range puts {
			puts[i] = grid.Put{Key: fmt.Sprint(name, at+i), Value: fmt.Appendf(nil, "[%d, 100]", at+i), Options: grid.PutOptions{ContentType: "application/json"}}
		}
		done, err := w.cache("in").PutBatch(w.Context(), puts)
		if err != nil {
			w.Fatal(err)
		}
		for i, r := range done {
			if r.Err != nil {
				w.Fatal(r.Err)
			}
			revs[puts[i].Key] = r.Revision
		}
	}
	return revs
}

// right fails where a result is not what one node alone makes.
func (w *workbench) right(results map[string]pipeline.Result, name string) {
	w.Helper()
	for key, r := range results {
		var i int
		if _, err := fmt.Sscanf(strings.TrimPrefix(key, name), "%d", &i); err != nil {
			w.Fatal(err)
		}
		want := "second"
		if i >= 100 {
			want = "first"
		}
		if r.Label != want || r.Scores["first"] != float64(i) || r.Pipeline != "p" || r.Source.Cache != "in" || string(r.Source.Key) != key || r.Model != "m" {
			w.Errorf("%s has %+v", key, r)
		}
	}
}

// TestSpread: the batches of one partition are run on all nodes while its owner's engine is the limit, and every result is there once and the same.
func TestSpread(t *testing.T) {
	url := natstest.URL(t)
	var nodes []*spreadNode
	var took []time.Duration
	const entries = 120 * spreadBatch
	for i := range 3 {
		nodes = append(nodes, joinSpread(t, grid.Config{URL: url, Partitions: 1}, true, ""))
		l := nodes[0].listen("out")
		name := fmt.Sprint("of ", i+1, " nodes ")
		for range i * entries { // what is there already
			nodes[0].next(l, "an older result", func(grid.Event) bool { return true })
		}
		began := time.Now()
		revs := nodes[0].fill(name, entries)
		results := nodes[0].results(l, revs)
		took = append(took, time.Since(began))
		nodes[0].right(results, name)
	}
	l := nodes[0].listen("out")
	for range 3 * entries {
		nodes[0].next(l, "a result", func(grid.Event) bool { return true })
	}
	nodes[0].quiet(l)
	var out, in uint64
	for _, n := range nodes {
		c := n.count()
		out, in = out+c.ByPeers, in+c.ForPeers
		t.Logf("%d batches, %d by peers, %d for peers, %d runs", c.Batches, c.ByPeers, c.ForPeers, n.session.runs.Load())
	}
	if out == 0 || in != out {
		t.Errorf("%d batches were given to other nodes and %d taken", out, in)
	}
	t.Logf("%d entries took %v with 1, 2 and 3 nodes", entries, took)
}

// TestSpreadOverwrites: a key that is written over while its batches are at other nodes has its results in the order of its revisions.
func TestSpreadOverwrites(t *testing.T) {
	owner, other := spreadPair(t, true, "")
	l := owner.listen("out")
	var revs map[string]grid.Revision
	for range 12 {
		revs = owner.fill("k", 8*spreadBatch)
	}
	seen := map[string]grid.Revision{}
	for left := len(revs); left > 0; {
		e := owner.next(l, fmt.Sprint("results of ", left, " keys"), func(grid.Event) bool { return true })
		r := decoded(t, e)
		if r.Source.Revision <= seen[e.Entry.Key] {
			t.Fatalf("%s: the result of revision %d came after that of %d", e.Entry.Key, r.Source.Revision, seen[e.Entry.Key])
		}
		if seen[e.Entry.Key] = r.Source.Revision; r.Source.Revision == revs[e.Entry.Key] {
			left--
		}
	}
	owner.quiet(l)
	if n := other.count().ForPeers; n == 0 {
		t.Error("no batch was run by the other node")
	}
}

// TestSpreadBadInput: entries that cannot be processed have the same error entries whichever node found it.
func TestSpreadBadInput(t *testing.T) {
	owner, other := spreadPair(t, true, "")
	l, faults := owner.listen("out"), owner.listen("p-errors")
	bad := map[string]grid.Revision{}
	good := map[string]grid.Revision{}
	for i := range 30 {
		for key, rev := range owner.fill(fmt.Sprint("good", i, "."), spreadBatch-1) {
			good[key] = rev
		}
		key := fmt.Sprint("bad", i)
		bad[key] = owner.put(key, "[1,")
	}
	texts := map[string]bool{}
	for key, r := range owner.results(faults, bad) {
		if r.Code != "bad_input" || string(r.Source.Key) != key {
			t.Errorf("%s has %+v", key, r)
		}
		texts[r.Error] = true
	}
	owner.results(l, good)
	owner.quiet(l)
	if len(texts) != 1 {
		t.Errorf("the errors are told in different ways: %v", texts)
	}
	if n := other.count().ForPeers; n == 0 {
		t.Error("no batch was run by the other node")
	}
}

// TestSpreadNodeIsLost: batches at a node that does not answer any more are run by their owner, once; what that node says later changes nothing.
func TestSpreadNodeIsLost(t *testing.T) {
	owner, other := spreadPair(t, true, "")
	l := owner.listen("out")
	hold := make(chan struct{})
	other.session.holds.Store(&hold)
	revs := owner.fill("k", 40*spreadBatch)
	other.eventually("a batch is at the other node", func() bool { return other.session.runs.Load() > 0 })
	owner.right(owner.results(l, revs), "k")
	close(hold)
	owner.quiet(l)

	// One that is stopped in good order hands back what it cannot finish.
	late := make(chan struct{})
	defer close(late)
	other.session.holds.Store(&late)
	runs := other.session.runs.Load()
	revs = owner.fill("late", 100*spreadBatch)
	other.eventually("a batch is at the other node, once it is asked again", func() bool { return other.session.runs.Load() > runs })
	other.stop()
	owner.results(l, revs)
	owner.quiet(l)
}

// TestSpreadVersions: a version that is made while batches are under way is used from then on, also where one node has it later than the other.
func TestSpreadVersions(t *testing.T) {
	owner, other := spreadPair(t, true, "")
	l := owner.listen("out")
	first := owner.fill("first", 30*spreadBatch)
	other.eventually("a batch is at the other node", func() bool { return other.count().ForPeers > 0 })
	owner.sleeps(2)
	second := owner.fill("second", 30*spreadBatch)
	results := owner.results(l, merged(first, second))
	before := other.count().ForPeers
	other.sleeps(2)
	third := owner.fill("third", 30*spreadBatch)
	for key, r := range owner.results(l, third) {
		results[key] = r
	}
	versions := map[int64]int{}
	for key, r := range results {
		versions[r.Version]++
		if !strings.HasPrefix(key, "first") && r.Version != 2 {
			t.Errorf("%s was put after version 2 served: %+v", key, r)
		}
	}
	if versions[1] == 0 || versions[2] == 0 || len(versions) != 2 {
		t.Errorf("results by version: %v", versions)
	}
	if n := other.count().ForPeers; n == before {
		t.Error("no batch of version 2 was run by the other node")
	}
	owner.quiet(l)
}

func merged(maps ...map[string]grid.Revision) map[string]grid.Revision {
	out := map[string]grid.Revision{}
	for _, m := range maps {
		for key, rev := range m {
			out[key] = rev
		}
	}
	return out
}

// TestSpreadStays: batches stay with their owner where the other node cannot run them or is not to; nobody's entries are hurt.
func TestSpreadStays(t *testing.T) {
	for name, test := range map[string]struct {
		serves bool
		fails  error
		spread string
	}{
		"it has no model":          {serves: false},
		"its engine does not work": {serves: true, fails: errors.New("out of order")},
		"spread is never":          {serves: true, spread: pipeline.SpreadNever},
	} {
		t.Run(name, func(t *testing.T) {
			owner, other := spreadPair(t, test.serves, test.spread)
			if test.fails != nil {
				other.session.fails.Store(&test.fails)
			}
			l := owner.listen("out")
			owner.right(owner.results(l, owner.fill("k", 30*spreadBatch)), "k")
			owner.quiet(l)
			c := owner.count()
			if c.ByPeers != 0 || c.Errors != 0 || other.count().ForPeers != 0 {
				t.Errorf("%+v, and %d batches by the other node", c, other.count().ForPeers)
			}
			if test.fails != nil && other.session.runs.Load() == 0 {
				t.Error("the other node was not asked")
			}
		})
	}
}

// TestSpreadLarge: entries that no message between nodes has room for together go in smaller batches.
func TestSpreadLarge(t *testing.T) {
	owner, other := spreadPair(t, true, "")
	l := owner.listen("out")
	owner.results(l, owner.fill("small", 2*spreadBatch)) // it is known how long a batch takes
	for round := 0; other.count().ForPeers == 0; round++ {
		if round == 3 {
			t.Fatalf("no batch was run by the other node: %+v", owner.count())
		}
		if err := owner.manager.Pause(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		revs := map[string]grid.Revision{}
		for i := range 4 * spreadBatch {
			revs[fmt.Sprint("k", i)] = owner.put(fmt.Sprint("k", i), "[1, 2]"+strings.Repeat(" ", 700_000))
		}
		if err := owner.manager.Resume(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		owner.results(l, revs)
		owner.quiet(l)
	}
}

// TestSpreadBusy: what a node runs itself counts when others ask for its time, also of a pipeline whose batches stay with their owners.
func TestSpreadBusy(t *testing.T) {
	for _, spread := range []string{pipeline.SpreadAuto, pipeline.SpreadNever} {
		t.Run(spread, func(t *testing.T) {
			n := joinSpread(t, grid.Config{URL: natstest.URL(t), Partitions: 1}, true, spread)
			hold := make(chan struct{})
			n.session.holds.Store(&hold)
			n.put("k", "[1, 2]")
			n.eventually("it is busy", func() bool { return n.manager.Busy("p") })
			close(hold)
			n.eventually("it has time again", func() bool { return !n.manager.Busy("p") })
		})
	}
}

// TestSpreadReaderEnds: a pipeline whose entries cannot be read any more says so, as one whose batches stay here does.
func TestSpreadReaderEnds(t *testing.T) {
	n := joinSpread(t, grid.Config{URL: natstest.URL(t), Partitions: 1}, true, "")
	n.eventually("it waits for entries", func() bool { return n.stateOf(n.manager, "p", pipeline.Waiting) == "entries of cache in" })
	if err := n.grid.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if reason := n.stateOf(n.manager, "p", pipeline.Blocked); !strings.Contains(reason, "closed") {
		t.Errorf("after the grid was closed: %q", reason)
	}
}

func decoded(t *testing.T, e grid.Event) pipeline.Result {
	t.Helper()
	var r pipeline.Result
	if err := json.Unmarshal(e.Entry.Value, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// BenchmarkSpread is the throughput of one partition whose model takes 20 ms a batch, on nodes of one NATS server: the batches wait for time and not for a
// processor, so that each node is as fast as on a machine of its own. Putting, publishing and what nodes say to each other count.
func BenchmarkSpread(b *testing.B) {
	for _, n := range []int{1, 2, 3} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var nodes []*spreadNode
			url := natstest.URL(b)
			for range n {
				nodes = append(nodes, joinSpread(b, grid.Config{URL: url, Partitions: 1}, true, ""))
			}
			l := nodes[0].listen("out")
			const entries = 150 * spreadBatch
			for i := 0; b.Loop(); i++ {
				nodes[0].results(l, nodes[0].fill(fmt.Sprint(i, "."), entries))
			}
			b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "results/s")
			c := nodes[0].count()
			b.ReportMetric(100*float64(c.ByPeers)/float64(c.Batches), "%by-peers")
		})
	}
}
