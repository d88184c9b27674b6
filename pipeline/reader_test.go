package pipeline_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

// results waits until a cache has the results of keys at revisions, and fails where one comes twice.
func (w *workbench) results(l *grid.Listener, revs map[string]grid.Revision) map[string]pipeline.Result {
	w.Helper()
	out := map[string]pipeline.Result{}
	for len(out) < len(revs) {
		e := w.next(l, fmt.Sprintf("result %d of %d", len(out)+1, len(revs)), func(grid.Event) bool { return true })
		var r pipeline.Result
		if err := json.Unmarshal(e.Entry.Value, &r); err != nil {
			w.Fatal(err)
		}
		if _, twice := out[e.Entry.Key]; twice {
			w.Fatalf("%s has a second result", e.Entry.Key)
		}
		if r.Source.Revision != revs[e.Entry.Key] {
			w.Fatalf("%s: %+v, want revision %d", e.Entry.Key, r, revs[e.Entry.Key])
		}
		out[e.Entry.Key] = r
	}
	return out
}

// quiet fails where a cache has one more event. Something that comes later is put through first.
func (w *workbench) quiet(l *grid.Listener) {
	w.Helper()
	rev := w.put("the end", "[1, 2]")
	e := w.next(l, "the end", func(grid.Event) bool { return true })
	if e.Entry.Key != "the end" {
		w.Fatalf("one more event: %s of %s at %d", e.Type, e.Entry.Key, e.Entry.Revision)
	}
	if r := (pipeline.Result{}); json.Unmarshal(e.Entry.Value, &r) != nil || r.Source.Revision != rev {
		w.Fatalf("the end: %s", e.Entry.Value)
	}
}

// TestPausedForLong: what comes while a pipeline stands still is processed when it goes on, once.
func TestPausedForLong(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	l := w.listen("out")
	_, stop := w.run(nil)
	w.results(l, map[string]grid.Revision{"first": w.put("first", "[1, 2]")})
	stop()
	const n = 10_000
	revs := make(map[string]grid.Revision, n)
	for at := 0; at < n; at += 500 {
		puts := make([]grid.Put, 500)
		for i := range puts {
			puts[i] = grid.Put{Key: fmt.Sprint("k", at+i), Value: []byte("[1, 2]"), Options: grid.PutOptions{ContentType: "application/json"}}
		}
		done, err := w.cache("in").PutBatch(t.Context(), puts)
		if err != nil {
			t.Fatal(err)
		}
		for i, r := range done {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
			revs[puts[i].Key] = r.Revision
		}
	}
	p, _ := w.run(nil)
	w.results(l, revs)
	w.quiet(l)
	w.eventually("nothing waits", func() bool {
		lag, _, err := p.Lag(t.Context())
		return err == nil && lag == 0
	})
}

// TestOverwrittenWhileItWaits: a key that is put a hundred times while the model is missing has one result.
func TestOverwrittenWhileItWaits(t *testing.T) {
	w := newWorkbench(t)
	l := w.listen("out")
	p, _ := w.run(nil)
	var rev grid.Revision
	for i := range 100 {
		rev = w.put("k", fmt.Sprintf("[%d, 3]", i))
	}
	w.eventually("one change waits, once the pipeline has begun", func() bool {
		lag, age, err := p.Lag(t.Context())
		if err != nil || lag > 1 || age < 0 {
			t.Fatalf("lag %d of age %v, %v", lag, age, err)
		}
		return lag == 1
	})
	w.serve(1, w.larger(free, true), nil)
	w.results(l, map[string]grid.Revision{"k": rev})
	w.quiet(l)
}

// TestRemovedAndPutAgain: while the pipeline stands still, and while it runs.
func TestRemovedAndPutAgain(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	l := w.listen("out")
	_, stop := w.run(nil)
	w.results(l, map[string]grid.Revision{"k": w.put("k", "[1, 2]")})
	stop()
	again := func() grid.Revision {
		if _, err := w.cache("in").Delete(t.Context(), "k", grid.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		return w.put("k", "[2, 1]")
	}
	rev := again()
	w.run(nil)
	for range 20 {
		if r := w.result(l, "k", rev); r.Label != "first" {
			t.Fatalf("the result of what was put again: %+v", r)
		}
		rev = again()
	}
	w.result(l, "k", rev)
}

// TestReplay: from the start, the results are the same and each is made once more, with a latency that is of the replay alone; with another model they are that model's.
func TestReplay(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	l := w.listen("out")
	revs := map[string]grid.Revision{}
	for i := range 300 {
		key := fmt.Sprint("k", i)
		revs[key] = w.put(key, fmt.Sprintf("[%d, 150]", i))
	}
	first := w.results(l, revs)
	for version := range int64(2) {
		if version > 0 {
			w.serve(version+1, w.larger(free, true), nil)
		}
		asked := time.Now()
		if err := w.grid.Seek(t.Context(), "in", "p", grid.Seek{}); err != nil {
			t.Fatal(err)
		}
		again := w.results(l, revs)
		took := time.Since(asked)
		for key, r := range again {
			if r.LatencyUS > took.Microseconds() {
				t.Errorf("%s: a latency of %d us, and the replay took %v: it counts from the put", key, r.LatencyUS, took)
			}
			want := first[key]
			want.LatencyUS, want.Version = r.LatencyUS, version+1
			if fmt.Sprintf("%+v", r) != fmt.Sprintf("%+v", want) {
				t.Errorf("again: %+v, first %+v", r, want)
			}
		}
	}
	w.quiet(l)
}

// TestTwoPipelinesAndAChain: two read one cache, and a third reads what one of them writes.
func TestTwoPipelinesAndAChain(t *testing.T) {
	w := newWorkbench(t)
	for _, name := range []string{"out2", "q-errors", "out3", "r-errors"} {
		if err := w.grid.CreateCache(t.Context(), grid.CacheConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	w.run(func(c *pipeline.Config) { c.Name, c.To = "q", "out2" })
	w.run(func(c *pipeline.Config) { c.Name, c.From, c.To = "r", "out", "out3" })
	one, two, chain := w.listen("out"), w.listen("out2"), w.listen("r-errors")
	revs := map[string]grid.Revision{}
	for i := range 100 {
		key := fmt.Sprint("k", i)
		revs[key] = w.put(key, "[1, 2]")
	}
	w.results(one, revs)
	w.results(two, revs)
	// A result is no pair of numbers: the third pipeline says so of each.
	made := map[string]grid.Revision{}
	for e, err := range w.cache("out").List(t.Context(), grid.ListOptions{KeysOnly: true}) {
		if err != nil {
			t.Fatal(err)
		}
		made[e.Key] = e.Revision
	}
	for key, r := range w.results(chain, made) {
		if r.Code != "bad_input" || r.Source.Cache != "out" {
			t.Errorf("%s in the chain: %+v", key, r)
		}
	}
}

// TestRemovedResultStaysRemoved: a result that somebody removes before the pipeline's position is written does not come back
// when the change is read again. Without its position the pipeline reads everything again, as after a crash. It is invariant 3: removed
// stays removed.
func TestRemovedResultStaysRemoved(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	_, stop := w.run(nil)
	l := w.listen("out")
	w.results(l, map[string]grid.Revision{"k": w.put("k", "[1, 2]"), "stays": w.put("stays", "[1, 2]")})
	if _, err := w.cache("out").Delete(t.Context(), "k", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.next(l, "the result is removed", func(e grid.Event) bool { return e.Type == grid.Removed })
	stop()
	if err := w.grid.DeleteReader(t.Context(), "in", "p"); err != nil {
		t.Fatal(err)
	}
	p, stop := w.run(nil)
	w.quiet(l)
	stop() // a result is counted after listeners have it
	if _, err := w.cache("out").Get(t.Context(), "k"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("the result is back: %v", err)
	}
	if s := p.Snapshot(); s.Results != 1 || s.Inputs < 3 {
		t.Errorf("%d results of %d inputs after the positions went back, want that of the end alone", s.Results, s.Inputs)
	}
}
