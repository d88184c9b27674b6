// Package cluster tells who the nodes of a grid are and who looks after which partition, and gives them even shares when nodes come and go (Manager). How nodes
// find each other, agree, and follow the leaders is package grid's; what this is asked by is left to the protocols.
package cluster

import (
	"context"
	"time"

	"github.com/millrace/millrace/grid"
)

// Grid is what of a grid is asked.
type Grid interface {
	ClusterID() string
	PartitionStates(ctx context.Context) []grid.PartitionState
	Members(partitions []grid.PartitionState) []grid.Member
}

// Status is a cluster as one of its nodes sees it.
type Status struct {
	// Cluster is its name, "" for a node alone, which has neither nodes nor partitions to tell of.
	Cluster string `json:"cluster"`
	// ID tells it from all others, those of the same name too; "" where the node does not know it yet.
	ID string `json:"id,omitempty"`
	// Node is who says so.
	Node       string      `json:"node"`
	Nodes      []Node      `json:"nodes"`
	Partitions []Partition `json:"partitions"`
	// Age is how old what is said of the partitions is, in seconds: all who ask a node within a second share one look.
	Age float64 `json:"age"`
	// Rebalancing is what is being done for the nodes to have even shares.
	Rebalancing Rebalancing `json:"rebalancing"`
}

// Rebalancing is what the controller says of its work.
type Rebalancing struct {
	// State is even, moving, paused, waiting or unknown; Reason says what it waits for, or why somebody has no place to move to.
	State  string `json:"state"`
	Reason string `json:"reason,omitempty"`
	// Controller is the node that decides, which is the one that leads the cluster; "" for none at the moment.
	Controller string `json:"controller"`
	// Paused says that no new move is begun until somebody has it resumed.
	Paused bool `json:"paused"`
	// Done and Total are moves since the shares were even last; Total may change with the nodes.
	Done  int `json:"done"`
	Total int `json:"total"`
	// Current are the moves under way.
	Current []Move `json:"current"`
}

// Move is a replica on its way from one node to another.
type Move struct {
	// Class is that of the partition, "" for the grid's description.
	Class     string    `json:"class"`
	Partition int       `json:"partition"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Since     time.Time `json:"since"`
	// Lag is how many operations the new replica is behind, as far as the partition's leader knows.
	Lag uint64 `json:"lag"`
	// Why is rebuild, drain, even or together.
	Why string `json:"why"`
	// Doing is what the partition's leader says of it.
	Doing string `json:"doing,omitempty"`
}

// Load is what a node's process takes.
type Load struct {
	// CPU is in cores, over the last seconds.
	CPU float64 `json:"cpu"`
	// Memory is the process's, in bytes; Disk and Volatile are what its replicas take of the disk and, of the volatile class, of the memory.
	Memory   uint64 `json:"memory"`
	Disk     uint64 `json:"disk"`
	Volatile uint64 `json:"volatile"`
}

// Node is one of the nodes.
type Node struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	// Roles are what it does: grid (has replicas), compute, door.
	Roles []string `json:"roles,omitempty"`
	// Connected says that it is there now.
	Connected bool `json:"connected"`
	// Leads and Owns are how many partitions it leads and owns, in both classes.
	Leads int `json:"leads"`
	Owns  int `json:"owns"`
	// Replicas is how many it has replicas of.
	Replicas int `json:"replicas"`
	// Draining says that it gives everything away; it has nothing left where Drained says so too, and may be stopped.
	Draining bool `json:"draining,omitempty"`
	Drained  bool `json:"drained,omitempty"`
	// Removing says that it is being taken out of the cluster.
	Removing bool `json:"removing,omitempty"`
	// Load is nil where the node has not said lately.
	Load *Load `json:"load,omitempty"`
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
	// State is current, behind, or offline where its node is not there.
	State string `json:"state"`
	// Lag is how many operations it is behind the leader.
	Lag uint64 `json:"lag"`
}

// The states of Rebalancing.
const (
	Evenly  = "even"
	Moving  = "moving"
	Paused  = "paused"
	Waiting = "waiting"
	Unknown = "unknown"
)

// Read asks a grid. name is the cluster's and node this node's.
func Read(ctx context.Context, g Grid, name, node string) Status {
	states := g.PartitionStates(ctx)
	s := read(states, g.Members(states), name, node)
	s.ID = g.ClusterID()
	return s
}

func read(states []grid.PartitionState, members []grid.Member, name, node string) Status {
	s := Status{Cluster: name, Node: node, Nodes: []Node{}, Partitions: []Partition{}, Rebalancing: Rebalancing{State: Unknown, Current: []Move{}}}
	index := map[string]int{}
	for i, m := range members {
		index[m.Name] = i
		s.Nodes = append(s.Nodes, Node{Name: m.Name, Version: m.Version, Roles: roles(m), Connected: m.Connected})
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
			out.Replicas = append(out.Replicas, Replica{Node: r.Node, State: state(r, of(r.Node).Connected), Lag: r.Lag})
		}
		s.Partitions = append(s.Partitions, out)
	}
	return s
}

func roles(m grid.Member) []string {
	var out []string
	for _, r := range m.Roles {
		out = append(out, string(r))
	}
	return out
}

// state is a replica's. The servers take up to a minute to call one offline whose node was killed; the nodes miss each other at once.
func state(r grid.Replica, connected bool) string {
	switch {
	case r.Offline, !connected:
		return "offline"
	case r.Current:
		return "current"
	}
	return "behind"
}
