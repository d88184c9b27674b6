package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/pipeline"
)

// TestNodesComeAndGo: nodes join and stop in good order, one after the other, while entries are put. Nothing is lost, whatever
// the classes of the caches.
func TestNodesComeAndGo(t *testing.T) {
	for _, classes := range [][]grid.Class{{grid.Durable, grid.Durable}, {grid.Volatile, grid.Durable}, {grid.Durable, grid.Volatile}} {
		t.Run(fmt.Sprintf("%s to %s", classes[0], classes[1]), func(t *testing.T) {
			url := natstest.URL(t)
			w := openWorkbench(t, grid.Config{URL: url, Partitions: 4}, classes...)
			w.serve(1, w.larger(free, true), nil)
			w.run(nil)

			var ended atomic.Bool
			var putting sync.WaitGroup
			revs := map[string]grid.Revision{}
			putting.Go(func() {
				for i := 0; !ended.Load(); i++ {
					key := fmt.Sprint("k", i)
					rev, err := w.cache("in").Put(context.Background(), key, []byte("[1, 2]"), grid.PutOptions{ContentType: "application/json"})
					if err != nil {
						t.Error(err)
						return
					}
					revs[key] = rev
				}
			})
			for range 5 {
				t.Run("a node", func(t *testing.T) {
					other := openWorkbench(t, grid.Config{URL: url}, classes...)
					other.serve(1, other.larger(free, true), nil)
					other.run(nil)
					l := other.listen("out")
					for range 300 { // long enough to be given its share
						other.next(l, "a result", func(grid.Event) bool { return true })
					}
				})
			}
			ended.Store(true)
			putting.Wait()
			out := w.cache("out")
			for key := range revs {
				w.eventually(fmt.Sprintf("the result of %s, one of %d", key, len(revs)), func() bool {
					_, err := out.Get(t.Context(), key)
					return err == nil
				})
			}
		})
	}
}

// TestServerIsAway: a pipeline outlives a NATS server that does not answer for longer than the grid's time limit, whether it
// waits for the model, has entries before it, or has yet to begin.
func TestServerIsAway(t *testing.T) {
	s := natstest.Start(t, natstest.MaxPayload)
	warned := make(chan string, 100)
	w := openWorkbench(t, grid.Config{URL: s.URL(), Timeout: 300 * time.Millisecond, Logger: slog.New(warnings(warned))})
	for _, name := range []string{"out2", "late-errors"} {
		if err := w.grid.CreateCache(t.Context(), grid.CacheConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := w.run(nil)
	rev := w.put("k", "[1, 2]")
	w.eventually("the reader has the entry before it", func() bool {
		lag, _, err := p.Lag(t.Context())
		return err == nil && lag == 1
	})
	s.Stop()
	w.serve(1, w.larger(free, true), nil)
	late, _ := w.run(func(c *pipeline.Config) { c.Name, c.To = "late", "out2" })
	w.eventually("the late one waits", func() bool { return strings.Contains(late.Status().Reason, "the grid does not answer") })
	w.eventually("the reader waits", func() bool {
		select {
		case what := <-warned:
			return what == "a reader waits for the grid"
		default:
			return false
		}
	})
	s.Restart()
	w.eventually("the grid is back", func() bool { return w.grid.Ready(t.Context()) == nil })
	w.result(w.listen("out"), "k", rev)
	w.result(w.listen("out2"), "k", rev)
}

// warnings sends the messages of warnings to a channel.
type warnings chan<- string

func (w warnings) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (w warnings) WithAttrs([]slog.Attr) slog.Handler           { return w }
func (w warnings) WithGroup(string) slog.Handler                { return w }

func (w warnings) Handle(_ context.Context, r slog.Record) error {
	select {
	case w <- r.Message:
	default: // nobody reads them any more
	}
	return nil
}

// eventually waits up to 10 s.
func (w *workbench) eventually(what string, is func() bool) {
	w.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(10 * time.Second); !is(); <-ticker.C {
		if time.Now().After(deadline) {
			w.Fatalf("not within 10 s: %s", what)
		}
	}
}

// What is made, changed, paused, resumed and removed on one node is so on all, also on one that restarts meanwhile; each runs what its partitions have.
func TestManagersOfOneGrid(t *testing.T) {
	url := natstest.URL(t)
	ctx := t.Context()
	one, two := openWorkbench(t, grid.Config{URL: url, Partitions: 4}), openBare(t, grid.Config{URL: url})
	one.serve(1, one.larger(free, true), nil)
	two.serve(1, two.larger(free, true), nil)
	a, _ := one.manage()
	b, stop := two.manage()
	if created, err := a.Put(ctx, "new", pipeline.Definition{From: "in", Model: "m", To: "fresh"}); err != nil || !created {
		t.Fatal(created, err)
	}
	one.eventually("the other node has it", func() bool { _, err := b.Get("new"); return err == nil })
	one.eventually("all partitions are read", func() bool {
		at, err := one.grid.Positions(ctx, "in", "new")
		return err == nil && len(at) == 4 && !slices.ContainsFunc(at, func(p grid.Position) bool { return !p.Open })
	})
	l := one.listen("fresh")
	fences := map[uint64]bool{}
	results := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			one.put(fmt.Sprint("k", i), "[1, 2]")
		}
		for range to - from {
			e := one.next(l, "a result", func(grid.Event) bool { return true })
			_, fence, _ := e.Entry.Source()
			fences[fence] = true
		}
	}
	results(0, 40)
	if len(fences) < 2 {
		t.Errorf("the results were stored under %d fencing numbers", len(fences))
	}
	if _, err := b.Put(ctx, "new", pipeline.Definition{From: "in", Model: "m", To: "fresh", MaxBatch: 3}); err != nil {
		t.Fatal(err)
	}
	one.eventually("the first node follows the change", func() bool { o, err := a.Get("new"); return err == nil && o.Config.MaxBatch == 3 })

	if err := a.Pause(ctx, "new"); err != nil {
		t.Fatal(err)
	}
	two.stateOf(b, "new", pipeline.Paused)
	stop()
	two.close()
	two = openBare(t, grid.Config{URL: url})
	two.serve(1, two.larger(free, true), nil)
	b, stop = two.manage()
	defer two.close()
	defer stop()
	two.stateOf(b, "new", pipeline.Paused)
	before, err := one.cache("fresh").Size(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		two.put(fmt.Sprint("paused", i), "[1, 2]")
	}
	if n, err := one.cache("fresh").Size(ctx); err != nil || n != before {
		t.Errorf("a paused pipeline made %d results, %v", n-before, err)
	}
	if err := b.Resume(ctx, "new"); err != nil {
		t.Fatal(err)
	}
	one.eventually("it goes on on both", func() bool {
		n, err := one.cache("fresh").Size(ctx)
		o, gone := a.Get("new")
		return err == nil && n == before+20 && gone == nil && o.Status.State == pipeline.Waiting
	})
	if err := a.Delete(ctx, "new"); err != nil {
		t.Fatal(err)
	}
	one.eventually("it is gone on the other node", func() bool { _, err := b.Get("new"); return errors.Is(err, pipeline.ErrNone) })
	if _, err := one.grid.Positions(ctx, "in", "new"); !errors.Is(err, grid.ErrNoReader) {
		t.Errorf("its positions: %v", err)
	}
}

// A pipeline of one node's configuration file and one of the grid with its name: the node runs its file's and says that it hides another; that one can be
// removed there, and what the file's has read is left alone. One of the grid that cannot stand beside the file's is blocked on that node.
func TestFileAgainstGrid(t *testing.T) {
	url := natstest.URL(t)
	ctx := t.Context()
	one, two := openWorkbench(t, grid.Config{URL: url, Partitions: 4}), openWorkbench(t, grid.Config{URL: url})
	one.serve(1, one.larger(free, true), nil)
	two.serve(1, two.larger(free, true), nil)
	a, _ := one.manage()
	for name, to := range map[string]string{"p": "fresh", "q": "out"} {
		if _, err := a.Put(ctx, name, pipeline.Definition{From: "in", Model: "m", To: to}); err != nil {
			t.Fatal(err)
		}
	}
	b, stop := two.manage(fixedP) // into out
	got, err := b.Get("p")
	if err != nil || got.Origin != pipeline.File || got.Config.To != "out" || !got.Hides {
		t.Errorf("the file's: %+v, %v", got, err)
	}
	if o, err := a.Get("p"); err != nil || o.Origin != pipeline.Grid || o.Hides {
		t.Errorf("on the node without it in its file: %+v, %v", o, err)
	}
	if reason := two.stateOf(b, "q", pipeline.Blocked); !strings.Contains(reason, `"out" is written by pipeline p too`) {
		t.Errorf("one target on that node: %q", reason)
	}
	if _, err := b.Put(ctx, "p", pipeline.Definition{From: "in", Model: "m", To: "other"}); !errors.Is(err, pipeline.ErrInFile) {
		t.Errorf("changing it where the file has it: %v", err)
	}
	one.stateOf(a, "q", pipeline.Waiting)
	two.eventually("the file's pipeline reads", func() bool {
		at, err := two.grid.Positions(ctx, "in", "p")
		return err == nil && slices.ContainsFunc(at, func(p grid.Position) bool { return p.Open })
	})
	two.put("k", "[1, 2]")
	two.eventually("the entry is done with", func() bool {
		at, err := two.grid.Positions(ctx, "in", "p")
		return err == nil && !slices.ContainsFunc(at, func(p grid.Position) bool { return p.Changes > 0 })
	})
	if err := b.Delete(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	one.eventually("the hidden one is gone", func() bool { _, err := a.Get("p"); return errors.Is(err, pipeline.ErrNone) })
	if o, err := b.Get("p"); err != nil || o.Hides || o.Origin != pipeline.File {
		t.Errorf("the file's afterwards: %+v, %v", o, err)
	}
	if _, err := two.grid.Positions(ctx, "in", "p"); err != nil {
		t.Errorf("its positions: %v", err)
	}
	if err := b.Delete(ctx, "p"); !errors.Is(err, pipeline.ErrInFile) {
		t.Errorf("removing the file's: %v", err)
	}
	// Without the file's, the grid's can run.
	stop()
	b, _ = two.manage()
	two.stateOf(b, "q", pipeline.Waiting)
}
