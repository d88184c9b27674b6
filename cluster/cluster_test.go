package cluster_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
)

type fake []grid.PartitionState

func (f fake) ClusterID() string { return "an id" }

func (f fake) PartitionStates(context.Context) []grid.PartitionState { return f }

func (f fake) Members([]grid.PartitionState) []grid.Member {
	return []grid.Member{{Name: "n1", Version: "v1", Roles: []grid.Role{grid.RoleGrid, grid.RoleDoor}, Connected: true}, {Name: "n2"}}
}

func TestRead(t *testing.T) {
	got := cluster.Read(t.Context(), fake{
		{Class: grid.Durable, Number: 0, Leader: "n1", Owner: "n1", Replicas: []grid.Replica{{Node: "n1", Current: true}, {Node: "n2", Offline: true, Lag: 7}}},
		{Class: grid.Volatile, Number: 3, Owner: "n1", Error: errors.New("nobody answers")},
		{Class: grid.Durable, Number: 1, Leader: "n1", Replicas: []grid.Replica{{Node: "n1", Lag: 2}, {Node: "n2", Current: true}}},
	}, "c", "n1")
	want := cluster.Status{
		Cluster: "c", ID: "an id", Node: "n1", Rebalancing: cluster.Rebalancing{State: cluster.Unknown, Current: []cluster.Move{}},
		Nodes: []cluster.Node{{Name: "n1", Version: "v1", Roles: []string{"grid", "door"}, Connected: true, Leads: 2, Owns: 2, Replicas: 2}, {Name: "n2", Replicas: 2}},
		Partitions: []cluster.Partition{
			{Class: "durable", Leader: "n1", Owner: "n1", Replicas: []cluster.Replica{{Node: "n1", State: "current"}, {Node: "n2", State: "offline", Lag: 7}}},
			{Class: "volatile", Partition: 3, Owner: "n1", Replicas: []cluster.Replica{}, Error: "nobody answers"},
			{Class: "durable", Partition: 1, Leader: "n1", Replicas: []cluster.Replica{{Node: "n1", State: "behind", Lag: 2}, {Node: "n2", State: "offline"}}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
