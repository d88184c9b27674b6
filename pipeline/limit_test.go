package pipeline_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/tensor"
)

// endless is larger after a Loop of 2^62 turns, which goes on while the largest number of its input is over a limit.
func (w *workbench) endless(limit float32) *graph.Graph {
	w.Helper()
	rows := graph.Shape{free, {Size: 2}}
	node := func(op string, in []string, out ...string) *graph.Node {
		return &graph.Node{Name: out[0] + "Of", OpType: op, Inputs: in, Outputs: out}
	}
	largest := node("ReduceMax", []string{"s"}, "m")
	largest.Attrs = graph.Attrs{"keepdims": int64(0)}
	body := &graph.Graph{
		Name:    "turn",
		Inputs:  []graph.Value{{Name: "i", DType: tensor.Int64, Shape: graph.Shape{}}, {Name: "c", DType: tensor.Bool, Shape: graph.Shape{}}, {Name: "s", DType: tensor.Float32, Shape: rows}},
		Outputs: []graph.Value{{Name: "go", DType: tensor.Bool, Shape: graph.Shape{}}, {Name: "t", DType: tensor.Float32, Shape: rows}},
		Nodes:   []*graph.Node{largest, node("Greater", []string{"m", "limit"}, "go"), node("Identity", []string{"s"}, "t")},
	}
	loop := node("Loop", []string{"turns", "yes", "x"}, "y")
	loop.Attrs = graph.Attrs{"body": body}
	return &graph.Graph{
		Name: "endless", Opset: map[string]int64{"": 17},
		Inputs: []graph.Value{{Name: "x", DType: tensor.Float32, Shape: rows}}, Outputs: []graph.Value{{Name: "y", DType: tensor.Float32, Shape: rows}},
		Initializers: []graph.Initializer{
			{Name: "turns", Tensor: tensor.Scalar(int64(1) << 62)}, {Name: "yes", Tensor: tensor.Scalar(true)}, {Name: "limit", Tensor: tensor.Scalar(limit)},
		},
		Nodes:    []*graph.Node{loop},
		Metadata: map[string]string{"millrace.labels": `["first","second"]`, "millrace.output": "probabilities"},
	}
}

// An input on which the model runs without end becomes an error entry; those that were with it have their results, and what runs is seen.
func TestRunTimeout(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.endless(10), nil)
	p, _ := w.run(func(c *pipeline.Config) { c.RunTimeout = 300 * time.Millisecond })

	revs := map[string]grid.Revision{}
	for _, in := range []struct{ key, text string }{{"a", "[1, 2]"}, {"b", "[1, 99]"}, {"c", "[3, 4]"}} {
		revs[in.key] = w.put(in.key, in.text)
	}
	w.eventually("the run is seen", func() bool {
		s := p.Status()
		return s.State == pipeline.Running && s.Run > 100*time.Millisecond && s.Version == 1
	})
	w.result(w.listen("out"), "a", revs["a"])
	r := w.result(w.listen("p-errors"), "b", revs["b"])
	if r.Code != "run_timeout" || !strings.Contains(r.Error, "300ms") || r.Pipeline != "p" || r.Version != 1 {
		t.Errorf("error entry %+v", r)
	}
	if r := w.result(w.listen("out"), "c", revs["c"]); r.Label != "second" || r.Pipeline != "p" {
		t.Errorf("result %+v", r)
	}
}

// A model that never ends holds up its pipeline alone, and only until another version serves.
func TestNewVersionTakesOver(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.endless(float32(math.Inf(-1))), nil)
	p, stop := w.run(nil) // the limit is 30 s

	revs := map[string]grid.Revision{}
	for _, key := range []string{"a", "b", "c"} {
		revs[key] = w.put(key, "[1, 2]")
	}
	w.eventually("it runs", func() bool { return p.Status().Run > 0 })
	began := time.Now()
	w.serve(2, w.larger(free, true), nil)
	for _, key := range []string{"a", "b", "c"} {
		if r := w.result(w.listen("out"), key, revs[key]); r.Version != 2 {
			t.Errorf("result %+v", r)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the new version took over after %v", took)
	}
	stop()
	if s := p.Status(); s.Run != 0 || s.State != pipeline.Waiting {
		t.Errorf("after its end: %+v", s)
	}
}

// A pipeline whose model runs without end can be stopped, and what was under way is done after a restart.
func TestStopWhileItRuns(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.endless(float32(math.Inf(-1))), nil)
	m, _ := w.manage(fixedP)
	rev := w.put("a", "[1, 2]")
	w.stateOf(m, "p", pipeline.Running)
	began := time.Now()
	if err := m.Pause(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 9*time.Second {
		t.Errorf("it was paused after %v", took)
	}
	w.stateOf(m, "p", pipeline.Paused)
	w.serve(2, w.larger(free, true), nil)
	if err := m.Resume(t.Context(), "p"); err != nil {
		t.Fatal(err)
	}
	w.result(w.listen("out"), "a", rev)
}

// deaf is a session whose runs do not look at their context.
type deaf struct {
	engine.Session
	end chan struct{}
	mu  sync.Mutex
	n   int
}

func (d *deaf) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	d.mu.Lock()
	d.n++
	d.mu.Unlock()
	<-d.end
	return errors.New("it ended late")
}

// Runs that cannot be cancelled are left alone, a few of them; then the version runs no more, and another one does.
func TestDeafEngine(t *testing.T) {
	w := newWorkbench(t)
	d := &deaf{end: make(chan struct{})}
	w.serve(1, w.larger(free, true), func(s engine.Session) engine.Session { d.Session = s; return d })
	p, _ := w.run(func(c *pipeline.Config) { c.RunTimeout, c.MaxBatch = 50*time.Millisecond, 1 })

	revs := map[string]grid.Revision{}
	for _, key := range []string{"a", "b", "c"} {
		revs[key] = w.put(key, "[1, 2]")
		if key != "c" {
			if r := w.result(w.listen("p-errors"), key, revs[key]); r.Code != "run_timeout" {
				t.Errorf("error entry %+v", r)
			}
		}
	}
	w.eventually("it is blocked", func() bool {
		s := p.Status()
		return s.State == pipeline.Blocked && strings.Contains(s.Reason, "2 runs of model m version 1 were cancelled and do not end")
	})
	w.serve(2, w.larger(free, true), nil)
	if r := w.result(w.listen("out"), "c", revs["c"]); r.Version != 2 {
		t.Errorf("result %+v", r)
	}
	close(d.end)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.n != 2 {
		t.Errorf("it ran %d times", d.n)
	}
}

// slow takes a time for each row.
type slow struct {
	engine.Session
	each time.Duration
}

func (s slow) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	select {
	case <-time.After(time.Duration(in[0].Shape()[0]) * s.each):
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Session.Run(ctx, in, out)
}

// A batch that takes too long though none of its inputs does makes smaller batches, and no error entries.
func TestSlowBatches(t *testing.T) {
	w := newWorkbench(t)
	w.put("first", "[1, 2]")
	var keys []string
	for i := range 12 {
		key := string(rune('a' + i))
		keys = append(keys, key)
		w.put(key, "[1, 2]")
	}
	w.serve(1, w.larger(free, true), func(s engine.Session) engine.Session { return slow{s, 40 * time.Millisecond} })
	p, _ := w.run(func(c *pipeline.Config) { c.RunTimeout = 200 * time.Millisecond })
	for _, key := range keys {
		w.eventually("the result of "+key, func() bool { _, err := w.cache("out").Get(t.Context(), key); return err == nil })
	}
	if n := p.Snapshot().Errors; n != 0 {
		t.Errorf("%d errors", n)
	}
}
