package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/grid"
)

// leaderless is a cluster whose description has no leader: who asks for it waits.
type leaderless struct {
	Nodes
	told []byte
}

func (*leaderless) Peers() ([]grid.Peer, bool) { return []grid.Peer{{Name: "n0"}}, true }
func (*leaderless) Members([]grid.PartitionState) []grid.Member {
	return []grid.Member{{Name: "n0", Connected: true}}
}

func (*leaderless) Decision(ctx context.Context, _ string) ([]byte, uint64, error) {
	<-ctx.Done()
	return nil, 0, ctx.Err()
}

func (*leaderless) NoLeader() string { return "" }

func (l *leaderless) Tell(about string, data []byte) error {
	if about == aboutReport {
		l.told = data
	}
	return nil
}

// TestControllerThatWaits: where the cluster does not answer the controller, the nodes hear that before they take what it said last for too old.
func TestControllerThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nodes := &leaderless{}
		m := New(Config{Name: "test", Node: "n0", Replicas: 3, Moves: 1, Logger: slog.New(slog.DiscardHandler)}, nodes)
		ctx, cancel := context.WithTimeout(t.Context(), staleAfter)
		defer cancel()
		m.control.step(ctx)
		var r report
		if err := json.Unmarshal(nodes.told, &r); err != nil {
			t.Fatalf("the controller says %q: %v", nodes.told, err)
		}
		if r.Rebalancing.State != Waiting || !strings.Contains(r.Rebalancing.Reason, context.DeadlineExceeded.Error()) || r.Rebalancing.Controller != "n0" {
			t.Errorf("the controller says %+v", r.Rebalancing)
		}
	})
}

// drained is a cluster of two nodes, of which n1 is to be emptied and leads a stream.
type drained struct {
	Nodes
	group grid.Group
	leads []string
	// decided is what is kept in the grid.
	decided []byte
}

func (*drained) Peers() ([]grid.Peer, bool) { return []grid.Peer{{Name: "n0"}, {Name: "n1"}}, true }
func (*drained) Tell(string, []byte) error  { return nil }
func (*drained) Members([]grid.PartitionState) []grid.Member {
	return []grid.Member{{Name: "n0", Connected: true}, {Name: "n1", Connected: true}}
}

func (d *drained) Decision(context.Context, string) ([]byte, uint64, error) { return d.decided, 1, nil }

func (d *drained) Decide(_ context.Context, _ string, value []byte, _ uint64) error {
	d.decided = value
	return nil
}

func (d *drained) Groups(context.Context) ([]grid.Group, error) { return []grid.Group{d.group}, nil }

func (d *drained) LeadStream(_ context.Context, stream, to string) error {
	d.leads = append(d.leads, stream+" "+to)
	return nil
}

// TestDrainOfWhatMoves: nobody is asked to lead a stream that moves, even where its new replica counts as current: it does so before it has anything, and a leader
// that makes way for it is none from whom it could get the rest.
func TestDrainOfWhatMoves(t *testing.T) {
	for name, wanted := range map[string][]string{"moves": {"n0"}, "stays": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				replicas := []grid.Replica{{Node: "n0", Current: true}, {Node: "n1", Current: true}}
				d := &drained{decided: []byte(`{"draining":["n1"]}`), group: grid.Group{Stream: "s", Leader: "n1", Wanted: wanted, Replicas: replicas}}
				m := New(Config{Name: "test", Node: "n0", Replicas: 1, Moves: 1, Grace: time.Hour, Logger: slog.New(slog.DiscardHandler)}, d)
				m.control.step(t.Context())
				time.Sleep(settleFor)
				m.control.step(t.Context())
				want := ""
				if wanted == nil {
					want = "s n0"
				}
				if got := strings.Join(d.leads, ", "); got != want {
					t.Errorf("asked to lead: %q, want %q", got, cmp.Or(want, "nobody"))
				}
			})
		})
	}
}
