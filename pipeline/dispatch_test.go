package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/pipeline"
)

// joinWithout adds a node that owns the one partition and opens no models.
func joinWithout(t testing.TB, url string) *spreadNode {
	t.Helper()
	return joinLimited(t, url, dispatchTimeout)
}

const dispatchTimeout = 3 * time.Second // of a run

func joinLimited(t testing.TB, url string, limit time.Duration) *spreadNode {
	t.Helper()
	n := &spreadNode{workbench: openWorkbench(t, grid.Config{URL: url, Partitions: 1})}
	n.work = pipeline.WorkElsewhere
	p := fixedP
	p.MaxBatch, p.Spread, p.RunTimeout = spreadBatch, pipeline.SpreadNever, limit // its batches have no other place, whatever spread says
	n.manager, n.stop = n.manage(p)
	return n
}

// joinTo adds a node that opens the model, for the pipeline of joinWithout.
func joinTo(t testing.TB, url string, serves bool) *spreadNode {
	t.Helper()
	return joinToLimited(t, url, serves, dispatchTimeout)
}

func joinToLimited(t testing.TB, url string, serves bool, limit time.Duration) *spreadNode {
	t.Helper()
	n := &spreadNode{workbench: openWorkbench(t, grid.Config{URL: url})}
	if serves {
		n.session = n.sleeps(1)
		n.session.takes = 0
	}
	p := fixedP
	p.MaxBatch, p.Spread, p.RunTimeout = spreadBatch, pipeline.SpreadNever, limit
	n.manager, n.stop = n.manage(p)
	if serves {
		n.stateOf(n.manager, "p", pipeline.Waiting)
	}
	return n
}

// TestDispatch: the owner of a partition that opens no models has each batch run by a node that does, and says what it waits for where there is none: entries wait then,
// and none has an error entry because of that.
func TestDispatch(t *testing.T) {
	url := natstest.URL(t)
	owner := joinWithout(t, url)
	l, faults := owner.listen("out"), owner.listen("p-errors")
	revs := owner.fill("k", 3*spreadBatch+1)
	if reason := owner.stateOf(owner.manager, "p", pipeline.Blocked); !strings.Contains(reason, "no node that opens models is there") {
		t.Errorf("without a node that opens models: %s", reason)
	}
	other := joinTo(t, url, false)
	owner.eventually("it says that the model is not there", func() bool {
		return strings.Contains(owner.stateOf(owner.manager, "p", pipeline.Blocked), "no node runs model m: ")
	})
	other.session = other.sleeps(1)
	owner.right(owner.results(l, revs), "k")
	owner.eventually("it waits for more", func() bool {
		one, err := owner.manager.Get("p")
		return err == nil && one.Status.State == pipeline.Waiting && one.Status.Version == 1
	})
	c, of := owner.count(), other.count()
	if c.ByPeers == 0 || c.ByPeers != of.ForPeers || c.Batches != c.ByPeers || c.Inputs != uint64(len(revs)) || c.Results != uint64(len(revs)) || c.Errors != 0 {
		t.Errorf("the owner has %+v, the other node %+v", c, of)
	}
	owner.quiet(l)

	// What is wrong with an entry, or with its run, is told as everywhere.
	wrong := map[string]grid.Revision{"bad": owner.put("bad", "[1,")}
	if r := owner.results(faults, wrong)["bad"]; r.Code != "bad_input" || r.Model != "m" || r.Version != 1 || r.Pipeline != "p" {
		t.Errorf("bad input: %+v", r)
	}
	broken := errors.New("out of order")
	other.session.fails.Store(&broken)
	wrong = map[string]grid.Revision{"broken": owner.put("broken", "[1, 2]")}
	if r := owner.results(faults, wrong)["broken"]; r.Code != "run_failed" || !strings.Contains(r.Error, "out of order") {
		t.Errorf("a run that fails: %+v", r)
	}
	other.session.fails.Store(nil)
	hold := make(chan struct{})
	other.session.holds.Store(&hold)
	wrong = map[string]grid.Revision{"slow": owner.put("slow", "[1, 2]")}
	if r := owner.results(faults, wrong)["slow"]; r.Code != "run_timeout" {
		t.Errorf("a run that takes too long: %+v", r)
	}
	close(hold)

	// Removals need no model, and versions follow.
	if _, err := owner.cache("in").Delete(t.Context(), "k0", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	owner.next(l, "the result is removed", func(e grid.Event) bool { return e.Type == grid.Removed && e.Entry.Key == "k0" })
	other.sleeps(2).takes = 0
	if r := owner.result(l, "new", owner.put("new", "[100, 2]")); r.Version != 2 {
		t.Errorf("after a new version: %+v", r)
	}
}

// TestDispatchNodeIsLost: what a node had that is gone another one is given, and nothing is there twice.
func TestDispatchNodeIsLost(t *testing.T) {
	url := natstest.URL(t)
	owner := joinWithout(t, url)
	l := owner.listen("out")
	first, second := joinTo(t, url, true), joinTo(t, url, true)
	revs := owner.fill("k", 20*spreadBatch)
	owner.right(owner.results(l, revs), "k")
	if a, b := first.count().ForPeers, second.count().ForPeers; a == 0 || b == 0 {
		t.Errorf("one node ran %d batches, the other %d", a, b)
	}
	hold := make(chan struct{})
	defer close(hold)
	first.session.holds.Store(&hold)
	runs := first.session.runs.Load()
	revs = owner.fill("late", 20*spreadBatch)
	first.eventually("a batch is at the first node", func() bool { return first.session.runs.Load() > runs })
	first.stop()
	owner.right(owner.results(l, revs), "late")
	owner.quiet(l)
	if n := owner.count().Errors; n != 0 {
		t.Errorf("%d error entries", n)
	}
}

// TestDispatchAnswerIsLost: a node that takes a batch, and whose answer does not come though it is there, has it no more: another one is given it.
func TestDispatchAnswerIsLost(t *testing.T) {
	url := natstest.URL(t)
	const limit = time.Hour // of a run: who waits for that to be over waits too long
	owner := joinLimited(t, url, limit)
	l := owner.listen("out")
	deaf := openWorkbench(t, grid.Config{URL: url})
	got := make(chan struct{}, 1)
	stop, err := deaf.grid.AnswerPeers("batch", func(ctx context.Context, message []byte) []byte {
		switch {
		case bytes.HasPrefix(message, []byte("o")):
			return []byte(`{"number":7,"version":1}`)
		case bytes.HasPrefix(message, []byte("b")):
			select {
			case got <- struct{}{}:
			default:
			}
			<-ctx.Done()
		}
		return []byte(`{"reason":"it has no such batch"}`)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	revs := owner.fill("k", 1)
	select {
	case <-got:
	case <-time.After(15 * time.Second):
		t.Fatal("the node was given nothing")
	}
	joinToLimited(t, url, true, limit)
	owner.right(owner.results(l, revs), "k")
	owner.quiet(l)
}

// TestDispatchLarge: results that no message between nodes has room for together come in smaller batches, and one that is too large for itself is an error entry.
func TestDispatchLarge(t *testing.T) {
	url := natstest.URL(t)
	owner := joinWithout(t, url)
	l := owner.listen("out")
	joinTo(t, url, true)
	revs := map[string]grid.Revision{}
	for i := range 2 * spreadBatch {
		revs[fmt.Sprint("k", i)] = owner.put(fmt.Sprint("k", i), "[1, 2]"+strings.Repeat(" ", 700_000))
	}
	owner.results(l, revs)
	owner.quiet(l)
}

// TestDispatchNone: a node without partitions and models has the pipelines, changes them, and runs none.
func TestDispatchNone(t *testing.T) {
	url := natstest.URL(t)
	owner := joinSpread(t, grid.Config{URL: url, Partitions: 1}, true, "")
	door := &spreadNode{workbench: openWorkbench(t, grid.Config{URL: url})}
	door.work = pipeline.WorkNone
	p := fixedP
	p.MaxBatch = spreadBatch
	door.manager, door.stop = door.manage(p)
	if reason := door.stateOf(door.manager, "p", pipeline.Waiting); !strings.Contains(reason, "other nodes run it") {
		t.Errorf("its state: %s", reason)
	}
	l := door.listen("out")
	door.result(l, "k", door.put("k", "[1, 2]"))
	if err := door.manager.Pause(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	owner.stateOf(owner.manager, "p", pipeline.Paused)
}

// BenchmarkDispatch is what it costs that another node runs every batch: the throughput of one partition with a model that takes no time.
func BenchmarkDispatch(b *testing.B) {
	for name, nodes := range map[string]int{"here": 0, "1 node": 1, "2 nodes": 2} {
		b.Run(name, func(b *testing.B) {
			url := natstest.URL(b)
			var owner *spreadNode
			if nodes == 0 {
				owner = &spreadNode{workbench: openWorkbench(b, grid.Config{URL: url, Partitions: 1})}
				owner.serve(1, owner.larger(free, true), func(s engine.Session) engine.Session { return s })
				p := fixedP
				p.MaxBatch = spreadBatch
				owner.manager, owner.stop = owner.manage(p)
			} else {
				owner = joinWithout(b, url)
			}
			for range nodes {
				joinTo(b, url, true)
			}
			l := owner.listen("out")
			const entries = 150 * spreadBatch
			for i := 0; b.Loop(); i++ {
				owner.results(l, owner.fill(fmt.Sprint(i, "."), entries))
			}
			b.ReportMetric(float64(entries*b.N)/b.Elapsed().Seconds(), "results/s")
		})
	}
}
