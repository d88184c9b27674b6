package pipeline_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/pipeline"
)

// TestStopLast: the node of a cluster that stops last cannot write down how far its pipelines have come. That is a warning and no error: at the next start what they did last is known.
func TestStopLast(t *testing.T) {
	t.Parallel()
	addresses := make([]string, 3)
	for i := range addresses {
		var err error
		if addresses[i], err = natstest.Address(); err != nil {
			t.Fatal(err)
		}
	}
	all := make([]*grid.Grid, 3)
	var opening errgroup.Group
	for i := range all {
		opening.Go(func() (err error) {
			all[i], err = grid.Open(t.Context(), grid.Config{Dir: t.TempDir(), Partitions: 4, Cluster: &grid.Cluster{
				Name: "test", Node: fmt.Sprint("n", i), Listen: addresses[i], Seeds: addresses, Secret: "a secret of the tests",
			}})
			return err
		})
	}
	err := opening.Wait()
	for _, g := range all {
		if g != nil {
			t.Cleanup(func() {
				if err := g.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	w := &workbench{TB: t, grid: all[0], models: &models{changed: make(chan struct{})}}
	t.Cleanup(w.models.closeAll)
	for _, name := range []string{"in", "out", "p-errors"} {
		if err := all[0].CreateCache(t.Context(), grid.CacheConfig{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	w.serve(1, w.larger(free, true), nil)
	logged := make(chan slog.Record, 1000)
	m, err := pipeline.Manage(t.Context(), all[0], pipeline.ManagerConfig{
		Models: w.models, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Logger: slog.New(records(logged)),
		Fixed: []pipeline.Config{{Name: "p", From: "in", To: "out", Model: "m", Logger: slog.New(records(logged))}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	w.stateOf(m, "p", pipeline.Waiting)
	w.eventually("the pipeline reads", func() bool {
		one, err := m.Get("p")
		return err == nil && one.Status.Reason == "entries of cache in"
	})
	for _, g := range all[1:] {
		if err := g.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the manager does not end")
	}
	warned := false
	for {
		select {
		case r := <-logged:
			if r.Level >= slog.LevelError {
				r.Attrs(func(a slog.Attr) bool { t.Errorf("%s: %v", r.Message, a); return true })
			}
			warned = warned || r.Level == slog.LevelWarn && r.Message == "the grid does not take how far the pipeline has come: what it did last is given out again when it goes on, and is not stored twice"
			continue
		default:
		}
		break
	}
	if !warned {
		t.Error("no warning says that the position is not written")
	}
}

// records sends what is logged to a channel.
type records chan<- slog.Record

func (l records) Enabled(context.Context, slog.Level) bool { return true }
func (l records) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l records) WithGroup(string) slog.Handler            { return l }

func (l records) Handle(_ context.Context, r slog.Record) error {
	select {
	case l <- r:
	default: // debug lines are many
	}
	return nil
}
