// Package cluster tells who the nodes of a grid are and who looks after which partition. How nodes find each other, agree, and follow the leaders
// is package grid's; what this is asked by is left to the protocols.
package cluster

import (
	"context"

	"github.com/millrace/millrace/grid"
)

// Grid is what of a grid is asked.
type Grid interface {
	PartitionStates(ctx context.Context) []grid.PartitionState
	Members(partitions []grid.PartitionState) []grid.Member
}

// Status is a cluster as one of its nodes sees it.
type Status struct {
	// Cluster is its name, "" for a node alone, which has neither nodes nor partitions to tell of.
	Cluster string `json:"cluster"`
	// Node is who says so.
	Node       string      `json:"node"`
	Nodes      []Node      `json:"nodes"`
	Partitions []Partition `json:"partitions"`
}

// Node is one of the nodes.
type Node struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Connected says that it is there now.
	Connected bool `json:"connected"`
	// Leads and Owns are how many partitions it leads and owns, in both classes.
	Leads int `json:"leads"`
	Owns  int `json:"owns"`
	// Replicas is how many it has replicas of.
	Replicas int `json:"replicas"`
}

// Partition is one partition of a class.
type Partition struct {
	Class     string `json:"class"`
	Partition int    `json:"partition"`
	// Leader decides the order of writes, and Owner does what is done once; "" for nobody at the moment.
	Leader   string    `json:"leader"`
	Owner    string    `json:"owner"`
	Replicas []Replica `json:"replicas"`
	// Error is why nobody could be asked.
	Error string `json:"error,omitempty"`
}

// Replica is what a node has of a partition.
type Replica struct {
	Node string `json:"node"`
	// State is current, behind or offline.
	State string `json:"state"`
	// Lag is how many operations it is behind the leader.
	Lag uint64 `json:"lag"`
}

// Read asks a grid. name is the cluster's and node this node's.
func Read(ctx context.Context, g Grid, name, node string) Status {
	s := Status{Cluster: name, Node: node, Nodes: []Node{}, Partitions: []Partition{}}
	states := g.PartitionStates(ctx)
	index := map[string]int{}
	for i, m := range g.Members(states) {
		index[m.Name] = i
		s.Nodes = append(s.Nodes, Node{Name: m.Name, Version: m.Version, Connected: m.Connected})
	}
	of := func(name string) *Node {
		if i, ok := index[name]; ok {
			return &s.Nodes[i]
		}
		return new(Node)
	}
	for _, p := range states {
		out := Partition{Class: string(p.Class), Partition: p.Number, Leader: p.Leader, Owner: p.Owner, Replicas: []Replica{}}
		if p.Error != nil {
			out.Error = p.Error.Error()
		}
		of(p.Leader).Leads++
		of(p.Owner).Owns++
		for _, r := range p.Replicas {
			of(r.Node).Replicas++
			out.Replicas = append(out.Replicas, Replica{Node: r.Node, State: state(r), Lag: r.Lag})
		}
		s.Partitions = append(s.Partitions, out)
	}
	return s
}

func state(r grid.Replica) string {
	switch {
	case r.Offline:
		return "offline"
	case r.Current:
		return "current"
	}
	return "behind"
}
