package cluster

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/grid"
)

// killed is a cluster of four nodes, of which n3 is missed from a moment on.
type killed struct {
	Nodes
	missed  time.Time
	decided []byte
}

func (k *killed) Members([]grid.PartitionState) (all []grid.Member) {
	for _, name := range []string{"n0", "n1", "n2", "n3"} {
		all = append(all, grid.Member{Name: name, Connected: name != "n3" || time.Now().Before(k.missed)})
	}
	return all
}

func (*killed) PartitionStates(context.Context) []grid.PartitionState      { return []grid.PartitionState{} }
func (*killed) NoLeader() string                                           { return "" }
func (*killed) ClusterID() string                                          { return "" }
func (*killed) Tell(string, []byte) error                                  { return nil }
func (k *killed) Decision(context.Context, string) ([]byte, uint64, error) { return k.decided, 1, nil }
func (k *killed) Decide(_ context.Context, _ string, v []byte, _ uint64) error {
	k.decided = v
	return nil
}

// TestRemoveKilled: a node that was killed a moment ago, which the others have not missed yet, is removed; one that stays connected is not, and the error says what to do.
func TestRemoveKilled(t *testing.T) {
	for after, want := range map[time.Duration]error{2 * time.Second: nil, time.Hour: ErrRefused} {
		synctest.Test(t, func(t *testing.T) {
			nodes := &killed{missed: time.Now().Add(after)}
			m := New(Config{Name: "test", Node: "n0", Replicas: 3, Moves: 1, Logger: slog.New(slog.DiscardHandler)}, nodes)
			err := m.Remove(t.Context(), "n3")
			d, readErr := readDecision(nodes.decided)
			if readErr != nil || !errors.Is(err, want) || slices.Contains(d.Removing, "n3") != (want == nil) {
				t.Errorf("missed after %v: %v, %v; decided is %s", after, err, readErr, nodes.decided)
			}
			if want != nil && (!strings.Contains(err.Error(), "drain it and stop it") || !strings.Contains(err.Error(), "killed, repeat this")) {
				t.Error(err)
			}
		})
	}
}
