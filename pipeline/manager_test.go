package pipeline_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

// manage runs a manager over the workbench, and returns how to stop it.
func (w *workbench) manage(fixed ...pipeline.Config) (*pipeline.Manager, func()) {
	w.Helper()
	m, err := pipeline.Manage(w.Context(), w.grid, pipeline.ManagerConfig{
		Models: w.models, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Fixed: fixed, Work: w.work,
	})
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(stop)
	return m, stop
}

// stateOf waits until a pipeline is in a state, and returns the reason.
func (w *workbench) stateOf(m *pipeline.Manager, name string, state pipeline.State) string {
	w.Helper()
	var one pipeline.One
	w.eventually(name+" is "+string(state), func() bool {
		var err error
		if one, err = m.Get(name); err != nil {
			w.Fatal(err)
		}
		return one.Status.State == state
	})
	return one.Status.Reason
}

var fixedP = pipeline.Config{Name: "p", From: "in", To: "out", Model: "m"}

// A paused pipeline stays paused over a restart, and takes what came meanwhile when it is resumed.
func TestPauseIsKept(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	m, stop := w.manage(fixedP)
	if reason := w.stateOf(m, "p", pipeline.Waiting); reason != "entries of cache in" {
		w.eventually("it waits for entries", func() bool { one, _ := m.Get("p"); return one.Status.Reason == "entries of cache in" })
	}
	l := w.listen("out")
	w.result(l, "a", w.put("a", "[1, 2]"))
	if err := m.Pause(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	w.stateOf(m, "p", pipeline.Paused)
	stop()
	m, _ = w.manage(fixedP)
	w.stateOf(m, "p", pipeline.Paused)
	rev := w.put("b", "[1, 2]")
	if _, err := w.cache("out").Get(t.Context(), "b"); !errors.Is(err, grid.ErrNotFound) {
		t.Fatalf("a paused pipeline made a result: %v", err)
	}
	if err := m.Resume(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	w.result(l, "b", rev)
	if err := m.Pause(t.Context(), "nobody"); !errors.Is(err, pipeline.ErrNone) {
		t.Errorf("pausing nobody: %v", err)
	}
}

// What is missing blocks a pipeline, and its state says what.
func TestBlockedByWhat(t *testing.T) {
	w := newWorkbench(t)
	m, _ := w.manage(fixedP)
	if reason := w.stateOf(m, "p", pipeline.Blocked); !strings.Contains(reason, `no model "m"`) {
		t.Errorf("without a model: %q", reason)
	}
	if err := w.grid.UpdateCache(t.Context(), grid.CacheConfig{Name: "out", MaxEntries: 1}); err != nil {
		t.Fatal(err)
	}
	w.serve(1, w.larger(free, true), nil)
	w.stateOf(m, "p", pipeline.Waiting)
	l := w.listen("out")
	w.result(l, "a", w.put("a", "[1, 2]"))
	w.put("b", "[1, 2]")
	if reason := w.stateOf(m, "p", pipeline.Blocked); !strings.Contains(reason, "results cannot be stored") || !strings.Contains(reason, "out") {
		t.Errorf("with a full target: %q", reason)
	}
	if _, err := w.cache("in").Delete(t.Context(), "a", grid.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.grid.UpdateCache(t.Context(), grid.CacheConfig{Name: "out"}); err != nil {
		t.Fatal(err)
	}
	w.stateOf(m, "p", pipeline.Waiting)
}

// A pipeline that is made at run time works at once, is there after a restart of the whole grid, follows a change, and leaves nothing
// behind when it is removed.
func TestMadeAtRunTime(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	ctx := t.Context()
	func() {
		w := openBare(t, grid.Config{Dir: dir, Partitions: 2})
		defer w.close()
		w.serve(1, w.larger(free, true), nil)
		m, stop := w.manage()
		defer stop()
		created, err := m.Put(ctx, "new", pipeline.Definition{From: "in", Model: "m", To: "fresh"})
		if err != nil || !created {
			t.Fatal(created, err)
		}
		w.result(w.listen("fresh"), "a", w.put("a", "[1, 2]"))
		if created, err = m.Put(ctx, "new", pipeline.Definition{From: "in", Model: "m", To: "fresh", MaxBatch: 3}); err != nil || created {
			t.Fatal(created, err)
		}
		if one, err := m.Get("new"); err != nil || one.Origin != pipeline.Grid || one.Config.MaxBatch != 3 {
			t.Fatalf("%+v, %v", one, err)
		}
	}()
	w := openBare(t, grid.Config{Dir: dir})
	defer w.close()
	w.serve(1, w.larger(free, true), nil)
	m, stop := w.manage(fixedP)
	defer stop()
	if one, err := m.Get("new"); err != nil || one.Config.MaxBatch != 3 {
		t.Fatalf("after a restart: %+v, %v", one, err)
	}
	w.result(w.listen("fresh"), "b", w.put("b", "[1, 2]"))
	if err := m.Delete(ctx, "p"); !errors.Is(err, pipeline.ErrInFile) {
		t.Errorf("removing one of the file: %v", err)
	}
	if _, err := m.Put(ctx, "p", pipeline.Definition{From: "in", Model: "m", To: "fresh"}); !errors.Is(err, pipeline.ErrInFile) {
		t.Errorf("changing one of the file: %v", err)
	}
	if err := m.Delete(ctx, "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Get("new"); !errors.Is(err, pipeline.ErrNone) {
		t.Errorf("after removal: %v", err)
	}
	readers, err := w.grid.Readers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range readers {
		if r.Reader == "new" {
			t.Errorf("its positions are left: %+v", r)
		}
	}
	if err := m.Delete(ctx, "new"); !errors.Is(err, pipeline.ErrNone) {
		t.Errorf("removing it twice: %v", err)
	}
}

// Two pipelines with one target would replace each other's results.
func TestTargetsAreNotShared(t *testing.T) {
	w := newWorkbench(t)
	m, _ := w.manage(fixedP)
	_, err := m.Put(t.Context(), "q", pipeline.Definition{From: "in", Model: "m", To: "out", SharesTarget: true})
	if !errors.Is(err, pipeline.ErrConfig) || !strings.Contains(err.Error(), `"out" is written by pipeline p too`) {
		t.Errorf("one target: %v", err)
	}
	_, err = m.Put(t.Context(), "q", pipeline.Definition{From: "in", Model: "m", To: "other", Errors: "out"})
	if !errors.Is(err, pipeline.ErrConfig) || !strings.Contains(err.Error(), "q.errors") {
		t.Errorf("errors into another's results: %v", err)
	}
	shared := func(name string) pipeline.Config {
		return pipeline.Config{Name: name, From: "in" + name, To: "out", Model: "m", SharesTarget: true}
	}
	if err := pipeline.ValidateAll([]pipeline.Config{shared("a"), shared("b")}); err != nil {
		t.Errorf("two that say so: %v", err)
	}
}

// Trying an entry shows each step and stores nothing, also while the pipeline is paused.
func TestTry(t *testing.T) {
	w := newWorkbench(t)
	m, _ := w.manage(fixedP)
	if _, err := m.Try(t.Context(), "p", "application/json", []byte("[1, 2]")); err == nil || !strings.Contains(err.Error(), `no model "m"`) {
		t.Errorf("without a model: %v", err)
	}
	w.serve(3, w.larger(free, true), nil)
	if err := m.Pause(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, steps, detail, result string }{
		{"[0.25, 0.75]", "model decode run encode", "become float32[1,2] of 0.25 to 0.75, mean 0.5", `"label":"second"`},
		{"[1, 2, 3]", "model decode", "bad_input", `"code":"bad_input"`},
	} {
		trial, err := m.Try(t.Context(), "p", "application/json", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, s := range trial.Steps {
			steps = append(steps, s.Name)
			if s.US < 0 {
				t.Errorf("step %+v", s)
			}
		}
		if got := strings.Join(steps, " "); got != c.steps || !strings.Contains(trial.Steps[1].Detail, c.detail) {
			t.Errorf("%s: steps %+v", c.text, trial.Steps)
		}
		if got := string(trial.Result); !strings.Contains(got, c.result) || !strings.Contains(got, `"pipeline":"p"`) || !strings.Contains(got, `"version":3`) {
			t.Errorf("%s: result %s", c.text, got)
		}
	}
	if _, err := m.Try(t.Context(), "nobody", "application/json", nil); !errors.Is(err, pipeline.ErrNone) {
		t.Errorf("of nobody: %v", err)
	}
	for _, name := range []string{"in", "out", "p-errors"} {
		s, err := w.cache(name).Stats(t.Context())
		if err != nil || s.Entries != 0 {
			t.Errorf("cache %s has %d entries, %v", name, s.Entries, err)
		}
	}
	w.stateOf(m, "p", pipeline.Paused)
}
