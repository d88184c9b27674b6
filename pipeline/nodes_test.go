package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
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
