package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/tensor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// workbench is a grid with the caches in, out and p-errors, and the models that a pipeline p may use.
type workbench struct {
	testing.TB
	grid   *grid.Grid
	models *models
	work   pipeline.Work
}

func newWorkbench(t testing.TB) *workbench {
	t.Helper()
	return openWorkbench(t, grid.Config{InMemory: true, Partitions: 4})
}

// openWorkbench opens one; in and out may have other classes than the default.
func openWorkbench(t testing.TB, cfg grid.Config, classes ...grid.Class) *workbench {
	t.Helper()
	w := openBare(t, cfg, classes...)
	t.Cleanup(w.close)
	return w
}

// openBare is openWorkbench for who closes it.
func openBare(t testing.TB, cfg grid.Config, classes ...grid.Class) *workbench {
	t.Helper()
	g, err := grid.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := &workbench{TB: t, grid: g, models: &models{changed: make(chan struct{})}}
	for i, name := range []string{"in", "out", "p-errors"} {
		config := grid.CacheConfig{Name: name}
		if i < len(classes) {
			config.Class = classes[i]
		}
		if err := g.CreateCache(t.Context(), config); err != nil && !errors.Is(err, grid.ErrCacheExists) {
			t.Fatal(err)
		}
	}
	return w
}

func (w *workbench) close() {
	w.models.closeAll()
	if err := w.grid.Close(context.Background()); err != nil {
		w.Error(err)
	}
}

func (w *workbench) cache(name string) *grid.Cache {
	w.Helper()
	c, err := w.grid.Cache(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return c
}

func (w *workbench) put(key, text string) grid.Revision {
	w.Helper()
	rev, err := w.cache("in").Put(w.Context(), key, []byte(text), grid.PutOptions{ContentType: "application/json"})
	if err != nil {
		w.Fatal(err)
	}
	return rev
}

// run starts a pipeline and returns how to stop it.
func (w *workbench) run(change func(*pipeline.Config)) (*pipeline.Pipeline, func()) {
	w.Helper()
	cfg := pipeline.Config{Name: "p", From: "in", To: "out", Model: "m", MaxBatch: 16}
	if change != nil {
		change(&cfg)
	}
	p, err := pipeline.New(w.Context(), w.grid, w.models, pipeline.NewMetrics(prometheus.NewRegistry()), cfg)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(stop)
	return p, stop
}

// listener follows a cache; next returns the next event that fits.
func (w *workbench) listen(cache string) *grid.Listener {
	w.Helper()
	l, err := w.cache(cache).Listen(w.Context(), grid.ListenOptions{Values: true, IncludeCurrent: true})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { l.Close() })
	return l
}

func (w *workbench) next(l *grid.Listener, what string, fits func(grid.Event) bool) grid.Event {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), 10*time.Second)
	defer cancel()
	for {
		e, err := l.Next(ctx)
		if err != nil {
			w.Fatalf("%s: %v", what, err)
		}
		if fits(e) {
			return e
		}
	}
}

// result waits for the result (or error entry) of a key at a revision of its source.
func (w *workbench) result(l *grid.Listener, key string, rev grid.Revision) pipeline.Result {
	w.Helper()
	var r pipeline.Result
	w.next(l, "result of "+key, func(e grid.Event) bool {
		if e.Entry.Key != key || e.Type != grid.Created && e.Type != grid.Updated {
			return false
		}
		r = pipeline.Result{}
		if err := json.Unmarshal(e.Entry.Value, &r); err != nil {
			w.Fatalf("%v: %s", err, e.Entry.Value)
		}
		return r.Source.Revision == rev
	})
	return r
}

// models is a fixed set of models on the native engine.
type models struct {
	mu      sync.Mutex
	newest  *handle
	changed chan struct{}
	all     []*handle
}

type handle struct {
	model   *model.Model
	session engine.Session
}

func (h *handle) Model() *model.Model     { return h.model }
func (h *handle) Session() engine.Session { return h.session }
func (h *handle) Release()                {}

func (ms *models) Acquire(_ context.Context, name string, _ int64) (pipeline.Handle, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.newest == nil {
		return nil, fmt.Errorf("there is no model %q", name)
	}
	return ms.newest, nil
}

func (ms *models) Changed() <-chan struct{} {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	return ms.changed
}

func (ms *models) closeAll() {
	for _, h := range ms.all {
		h.session.Close()
	}
}

// serve makes g the newest version.
func (w *workbench) serve(version int64, g *graph.Graph, wrap func(engine.Session) engine.Session) {
	w.Helper()
	m, err := model.New(g)
	if err != nil {
		w.Fatal(err)
	}
	if m, err = m.With("m", version, nil); err != nil {
		w.Fatal(err)
	}
	s, err := native.New(native.Config{}).Open(w.Context(), m.Graph, engine.Options{})
	if err != nil {
		w.Fatal(err)
	}
	if wrap != nil {
		s = wrap(s)
	}
	w.models.mu.Lock()
	defer w.models.mu.Unlock()
	w.models.newest = &handle{m, s}
	w.models.all = append(w.models.all, w.models.newest)
	close(w.models.changed)
	w.models.changed = make(chan struct{})
}

// larger tells which of two numbers is larger: the scores are the input.
func (w *workbench) larger(batch graph.Dim, labels bool) *graph.Graph {
	w.Helper()
	b := graph.NewBuilder("larger")
	b.Output(b.Name(b.Op("Identity", nil, b.Input("x", tensor.Float32, graph.Shape{batch, {Size: 2}})), "y"))
	g, err := infer.Build(b)
	if err != nil {
		w.Fatal(err)
	}
	if labels {
		g.Metadata = map[string]string{"millrace.labels": `["first","second"]`, "millrace.output": "probabilities"}
	}
	return g
}

var free = graph.Dim{Size: -1, Symbol: "N"}

func TestResult(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	l := w.listen("out")
	rev := w.put("a b", "[0.25, 0.75]")
	r := w.result(l, "a b", rev)
	if r.Label != "second" || r.Score != 0.75 || r.Scores["first"] != 0.25 || len(r.Scores) != 2 || r.Model != "m" || r.Version != 1 ||
		r.Source != (pipeline.Source{Cache: "in", Key: "a b", Revision: rev}) || r.LatencyUS < 0 {
		t.Errorf("result %+v", r)
	}
}

// TestSourceKeyIsWhole holds that a result and an error entry name their source whatever bytes its key has.
func TestSourceKeyIsWhole(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	out, faults := w.listen("out"), w.listen("p-errors")
	for _, key := range []string{"\xff", "a\xc3", "\uFFFD", "k\nx", "ä", `"`} {
		if r := w.result(out, key, w.put(key, "[0.25, 0.75]")); string(r.Source.Key) != key {
			t.Errorf("the result of %q names %q", key, r.Source.Key)
		}
		if r := w.result(faults, key, w.put(key, "[1,")); string(r.Source.Key) != key {
			t.Errorf("the error of %q names %q", key, r.Source.Key)
		}
	}
}

// TestBadInput holds invariant 7: entries that cannot be processed say why, and the others of their batch have results.
func TestBadInput(t *testing.T) {
	w := newWorkbench(t)
	bad := map[string]string{"json": "[1,", "shape": "[1,2,3]", "nan": "[NaN, 1]", "words": `"hello"`}
	revs := map[string]grid.Revision{}
	for key, text := range bad {
		revs[key] = w.put(key, text)
	}
	for i := range 20 {
		key := fmt.Sprint("good", i)
		revs[key] = w.put(key, "[1, 0]")
	}
	w.serve(1, w.larger(free, true), nil)
	p, stop := w.run(nil)
	out := w.listen("out")
	for i := range 20 {
		if r := w.result(w.listen("out"), fmt.Sprint("good", i), revs[fmt.Sprint("good", i)]); r.Label != "first" {
			t.Errorf("good %d: %+v", i, r)
		}
	}
	for key := range bad {
		r := w.result(w.listen("p-errors"), key, revs[key])
		if r.Error == "" || r.Code != "bad_input" || r.Model != "m" || string(r.Source.Key) != key {
			t.Errorf("%s: %+v", key, r)
		}
		if _, err := w.cache("out").Get(t.Context(), key); !errors.Is(err, grid.ErrNotFound) {
			t.Errorf("%s has a result: %v", key, err)
		}
	}
	// A good put takes the error away.
	faults := w.listen("p-errors")
	w.result(faults, "json", revs["json"])
	w.result(out, "json", w.put("json", "[1, 2]"))
	w.next(faults, "the error of json is removed", func(e grid.Event) bool { return e.Entry.Key == "json" && e.Type == grid.Removed })
	stop()
	if s := p.Snapshot(); s.Errors != uint64(len(bad)) {
		t.Errorf("%d errors counted", s.Errors)
	}
}

// TestOverwritten holds invariants 4 and 5: results of a key come in the order of its revisions, and the last one is
// the newest revision's.
func TestOverwritten(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	l := w.listen("out")
	var last grid.Revision
	for i := range 500 {
		last = w.put("k", fmt.Sprintf("[%d, 3]", i))
	}
	var seen grid.Revision
	w.next(l, "the newest result", func(e grid.Event) bool {
		var r pipeline.Result
		if err := json.Unmarshal(e.Entry.Value, &r); err != nil {
			t.Fatal(err)
		}
		if r.Source.Revision <= seen {
			t.Fatalf("the result of revision %d came after that of %d", r.Source.Revision, seen)
		}
		seen = r.Source.Revision
		return seen == last
	})
}

func TestRemoved(t *testing.T) {
	for _, keep := range []bool{false, true} {
		t.Run(fmt.Sprint("keep ", keep), func(t *testing.T) {
			w := newWorkbench(t)
			w.serve(1, w.larger(free, true), nil)
			w.run(func(c *pipeline.Config) {
				if keep {
					c.OnRemove = pipeline.KeepResult
				}
			})
			l := w.listen("out")
			w.result(l, "k", w.put("k", "[1, 2]"))
			if _, err := w.cache("in").Delete(t.Context(), "k", grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			if !keep {
				w.next(l, "the result is removed", func(e grid.Event) bool { return e.Entry.Key == "k" && e.Type == grid.Removed })
				return
			}
			w.result(l, "other", w.put("other", "[1, 2]"))
			if _, err := w.cache("out").Get(t.Context(), "k"); err != nil {
				t.Errorf("the result that is kept: %v", err)
			}
		})
	}
}

// TestWaitsForModel: puts are kept until the model comes, and the status says what is waited for.
func TestWaitsForModel(t *testing.T) {
	w := newWorkbench(t)
	p, _ := w.run(nil)
	rev := w.put("k", "[1, 2]")
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(p.Status().Reason, `no model "m"`); {
		if time.Now().After(deadline) {
			t.Fatalf("status %+v", p.Status())
		}
	}
	w.serve(1, w.larger(free, true), nil)
	w.result(w.listen("out"), "k", rev)
}

// TestNewVersion: a version that comes under load is used, and no put is without a result.
func TestNewVersion(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	w.run(nil)
	revs := map[string]grid.Revision{}
	for i := range 300 {
		if i == 150 {
			w.serve(2, w.larger(free, true), nil)
		}
		key := fmt.Sprint("k", i)
		revs[key] = w.put(key, "[1, 2]")
	}
	l := w.listen("out")
	versions := map[int64]int{}
	for len(revs) > 0 {
		e := w.next(l, "a result", func(grid.Event) bool { return true })
		var r pipeline.Result
		if err := json.Unmarshal(e.Entry.Value, &r); err != nil {
			t.Fatal(err)
		}
		versions[r.Version]++
		delete(revs, e.Entry.Key)
	}
	if versions[2] < 100 {
		t.Errorf("results by version: %v", versions)
	}
}

// TestTwoNodes: the nodes of one grid make one result a put between them.
func TestTwoNodes(t *testing.T) {
	url := natstest.URL(t)
	one, two := openWorkbench(t, grid.Config{URL: url, Partitions: 4}), openWorkbench(t, grid.Config{URL: url})
	l := one.listen("out")
	const puts = 500
	for _, w := range []*workbench{one, two} {
		w.serve(1, w.larger(free, true), nil)
		w.run(nil)
	}
	for i := range puts {
		two.put(fmt.Sprint("k", i), "[1, 2]")
	}
	seen, fences := map[string]bool{}, map[uint64]bool{}
	for len(seen) < puts {
		e := one.next(l, "a result", func(grid.Event) bool { return true })
		if seen[e.Entry.Key] {
			t.Fatalf("%s has a second result", e.Entry.Key)
		}
		seen[e.Entry.Key] = true
		_, fence, _ := e.Entry.Source()
		fences[fence] = true
	}
	if len(fences) < 2 {
		t.Errorf("the results were stored under %d fencing numbers", len(fences))
	}
}

// TestRestart: what is not acknowledged is processed by the next run, with one result each.
func TestRestart(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.larger(free, true), nil)
	l := w.listen("out")
	seen := map[string]bool{}
	for round := range 3 {
		_, stop := w.run(nil)
		for i := range 200 {
			w.put(fmt.Sprint("k", round, "-", i), "[1, 2]")
		}
		stop()
	}
	w.run(nil)
	for len(seen) < 600 {
		e := w.next(l, "a result", func(grid.Event) bool { return true })
		if seen[e.Entry.Key] {
			t.Fatalf("%s has a second result", e.Entry.Key)
		}
		seen[e.Entry.Key] = true
	}
}

// faulty refuses every batch that has a number above 100.
type faulty struct{ engine.Session }

func (f faulty) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	for _, v := range tensor.Data[float32](in[0]) {
		if v > 100 {
			return errors.New("a number above 100")
		}
	}
	return f.Session.Run(ctx, in, out)
}

func TestRunFails(t *testing.T) {
	w := newWorkbench(t)
	revs := map[string]grid.Revision{}
	for i := range 10 {
		revs[fmt.Sprint("k", i)] = w.put(fmt.Sprint("k", i), fmt.Sprintf("[%d, 0]", i*15))
	}
	w.serve(1, w.larger(free, true), func(s engine.Session) engine.Session { return faulty{s} })
	w.run(nil)
	for i := range 10 {
		key := fmt.Sprint("k", i)
		if i*15 > 100 {
			if r := w.result(w.listen("p-errors"), key, revs[key]); r.Code != "run_failed" || !strings.Contains(r.Error, "above 100") {
				t.Errorf("%s: %+v", key, r)
			}
			continue
		}
		w.result(w.listen("out"), key, revs[key])
	}
}

// busy takes a run only at the third time that it is asked.
type busy struct {
	engine.Session
	asked atomic.Int32
}

func (b *busy) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	if b.asked.Add(1)%3 != 0 {
		return fmt.Errorf("%w: somebody else's", engine.ErrBusy)
	}
	return b.Session.Run(ctx, in, out)
}

// TestBusyModel shows that other users of a model cost an input time, not its result.
func TestBusyModel(t *testing.T) {
	w := newWorkbench(t)
	rev := w.put("a", "[1, 2]")
	w.serve(1, w.larger(free, true), func(s engine.Session) engine.Session { return &busy{Session: s} })
	w.run(nil)
	w.result(w.listen("out"), "a", rev)
	named := w.put("b", `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[3,4]}]}`)
	w.result(w.listen("out"), "b", named)
}

func TestOutputs(t *testing.T) {
	for name, batch := range map[string]graph.Dim{"free": free, "one": {Size: 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorkbench(t)
			first, second := w.put("a", "[1, 2]"), w.put("b", "[3, 4]")
			w.serve(1, w.larger(batch, false), nil)
			w.run(nil)
			for key, want := range map[string]struct {
				rev  grid.Revision
				data string
			}{"a": {first, "[1,2]"}, "b": {second, "[3,4]"}} {
				r := w.result(w.listen("out"), key, want.rev)
				var outs []struct {
					Name, Datatype string
					Shape          []int
					Data           json.RawMessage
				}
				if err := json.Unmarshal(r.Outputs, &outs); err != nil {
					t.Fatalf("%v: %s", err, r.Outputs)
				}
				if len(outs) != 1 || outs[0].Name != "y" || outs[0].Datatype != "FP32" || fmt.Sprint(outs[0].Shape) != "[1 2]" || string(outs[0].Data) != want.data {
					t.Errorf("%s: %s", key, r.Outputs)
				}
			}
		})
	}
}

// TestNamedInputs has a model with two inputs of any number of rows: an entry brings its own batch, and its outputs come whole.
func TestNamedInputs(t *testing.T) {
	w := newWorkbench(t)
	b := graph.NewBuilder("sum")
	x, y := b.Input("x", tensor.Float32, graph.Shape{free, {Size: 2}}), b.Input("y", tensor.Float32, graph.Shape{free, {Size: 2}})
	b.Output(b.Name(b.Op("Add", nil, x, y), "sum"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	one := w.put("one", `{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]},{"name":"y","shape":[1,2],"datatype":"FP32","data":[3,4]}]}`)
	two := w.put("two", `{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]},{"name":"y","shape":[2,2],"datatype":"FP32","data":[1,1,1,1]}]}`)
	w.serve(1, g, nil)
	w.run(nil)
	for key, want := range map[string]struct {
		rev  grid.Revision
		data string
	}{"one": {one, `"shape":[1,2],"datatype":"FP32","data":[4,6]`}, "two": {two, `"shape":[2,2],"datatype":"FP32","data":[2,3,4,5]`}} {
		if r := w.result(w.listen("out"), key, want.rev); !strings.Contains(string(r.Outputs), want.data) {
			t.Errorf("%s: %s %s", key, r.Outputs, r.Error)
		}
	}
}

// TestDependentRows has models that look like those that take batches, and mix the entries of one.
func TestDependentRows(t *testing.T) {
	for name, test := range map[string]struct {
		op    string
		attrs graph.Attrs
	}{
		"softmax over the batch": {"Softmax", graph.Attrs{"axis": int64(0)}},
		"one row for all":        {"ReduceMean", graph.Attrs{"axes": []int64{0}}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorkbench(t)
			revs := map[string]grid.Revision{"bad": w.put("bad", "[1]")}
			for i := range 20 {
				key := fmt.Sprint(i)
				revs[key] = w.put(key, fmt.Sprintf("[%d, %d]", i, 2*i))
			}
			b := graph.NewBuilder("mixes")
			b.Output(b.Name(b.Op(test.op, test.attrs, b.Input("x", tensor.Float32, graph.Shape{free, {Size: 2}})), "y"))
			g, err := infer.Build(b)
			if err != nil {
				t.Fatal(err)
			}
			g.Outputs[0].Shape[0] = free // as files say that were exported so
			w.serve(1, g, nil)
			w.run(nil)
			w.result(w.listen("p-errors"), "bad", revs["bad"])
			delete(revs, "bad")
			for key, rev := range revs {
				want := "[1,1]"
				if test.op == "ReduceMean" {
					i, _ := strconv.Atoi(key)
					want = fmt.Sprintf("[%d,%d]", i, 2*i)
				}
				if r := w.result(w.listen("out"), key, rev); !strings.Contains(string(r.Outputs), `"data":`+want) {
					t.Errorf("%s: %s, want %s", key, r.Outputs, want)
				}
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	err := pipeline.Config{Name: "a/b", From: "x", To: "x", MaxBatch: 1 << 20, Start: "later", OnRemove: "burn", Version: -1, Top: -1}.WithDefaults().Validate()
	if !errors.Is(err, pipeline.ErrConfig) {
		t.Fatal(err)
	}
	for _, want := range []string{`name: "a/b"`, "to: must be another cache than from", "max_batch: 1048576", "later", "burn", "model: is required", "version: -1", "top: -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}
