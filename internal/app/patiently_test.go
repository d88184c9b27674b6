package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// TestPatiently: in a cluster what the grid does not answer is tried again until it does or the context ends, and `ready` says why; any other failure ends it, and so does this one on a node alone.
func TestPatiently(t *testing.T) {
	away := fmt.Errorf("%w: durable partition 3 has no leader", grid.ErrUnavailable)
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		alone bool
		fails []error // the outcomes, one after the other; the last one stays
		want  error
		calls int
	}{
		"comes back":     {fails: []error{away, away, nil}, calls: 3},
		"breaks then":    {fails: []error{away, broken}, want: broken, calls: 2},
		"broken":         {fails: []error{broken}, want: broken, calls: 1},
		"alone":          {alone: true, fails: []error{away}, want: away, calls: 1},
		"stays for ever": {fails: []error{away}, want: away, calls: 6}, // in 5.5 s
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := &Node{log: slog.New(slog.DiscardHandler), gate: newGate(nil), cluster: &cluster.Manager{}}
				if c.alone {
					n.cluster = nil
				}
				ctx, cancel := context.WithTimeout(t.Context(), 5*openAgain+openAgain/2)
				defer cancel()
				calls := 0
				err := n.patiently(ctx, "the models", func() error {
					calls++
					return c.fails[min(calls, len(c.fails))-1]
				})
				if !errors.Is(err, c.want) || calls != c.calls {
					t.Errorf("%v after %d calls, not %v after %d", err, calls, c.want, c.calls)
				}
				waited := "waits for a part of the grid, to open the models: grid unavailable: durable partition 3 has no leader"
				if is := *n.gate.reason.Load(); (is == waited) != (c.calls > 1) {
					t.Errorf("the node %s", is)
				}
			})
		})
	}
}

// TestPipelinesArePatient: the pipelines are opened again where the grid did not answer the first time.
func TestPipelinesArePatient(t *testing.T) {
	s := natstest.Start(t, natstest.MaxPayload)
	g, err := grid.Open(t.Context(), grid.Config{URL: s.URL(), Partitions: 1, Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	n := &Node{log: slog.New(slog.DiscardHandler), gate: newGate(nil), cluster: &cluster.Manager{}, grid: g, metrics: prometheus.NewRegistry()}
	s.Stop()
	opened := make(chan error, 1)
	go func() { opened <- n.openPipelines(t.Context()) }()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(*n.gate.reason.Load(), "to open the pipelines"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: the node waits to open the pipelines; it %s", *n.gate.reason.Load())
		}
		select {
		case err := <-opened:
			t.Fatalf("without the grid the pipelines are opened: %v", err)
		default:
		}
	}
	s.Restart()
	select {
	case err := <-opened:
		if err != nil || len(n.pipelines.List()) != 0 {
			t.Error(err)
		}
	case <-time.After(time.Minute):
		t.Error("the pipelines are not opened when the grid is back")
	}
}
