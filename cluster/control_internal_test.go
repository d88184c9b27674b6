package cluster

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

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
