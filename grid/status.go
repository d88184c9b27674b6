package grid

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Member is a node of the grid as this one knows it.
type Member struct {
	Name string
	// Version is that of its program, "" where it has not said.
	Version string
	// Roles are what it does; all where it has not said.
	Roles []Role
	// Connected says that it is there now.
	Connected bool
}

// Has reports whether the node has a role; one that has not said has all.
func (m Member) Has(r Role) bool { return len(m.Roles) == 0 || slices.Contains(m.Roles, r) }

// Replica is what one node has of a partition's stream.
type Replica struct {
	Node string
	// Current says that it has everything, as far as the leader knows; Lag is how many operations it is behind.
	Current, Offline bool
	Lag              uint64
}

// PartitionState is who looks after a partition.
type PartitionState struct {
	Class  Class
	Number int
	// Leader and Owner are nodes, "" for none at the moment. Both are the same but for a moment.
	Leader, Owner string
	Replicas      []Replica
	// Error is why the stream could not be asked.
	Error error
}

// Members returns the nodes of a cluster in the order of their names: those that are there, and those that have replicas here.
func (g *Grid) Members(partitions []PartitionState) []Member {
	if g.cfg.Cluster == nil {
		return nil
	}
	found := map[string]Member{g.cfg.Cluster.Node: {Name: g.cfg.Cluster.Node, Version: g.cfg.Version, Roles: slices.Clone(g.cfg.Cluster.Roles), Connected: true}}
	for _, node := range g.owners.members.alive(g.node, time.Now()) {
		if name := nameOf(node); name != g.cfg.Cluster.Node {
			found[name] = Member{Name: name, Version: g.owners.members.versionOf(node), Roles: g.owners.members.rolesOf(node), Connected: true}
		}
	}
	note := func(name string) {
		if _, ok := found[name]; !ok && name != "" {
			found[name] = Member{Name: name}
		}
	}
	for _, p := range partitions {
		note(p.Leader)
		for _, r := range p.Replicas {
			note(r.Node)
		}
	}
	out := make([]Member, 0, len(found))
	for _, m := range found {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// PartitionStates asks who looks after each partition, in a cluster.
func (g *Grid) PartitionStates(ctx context.Context) []PartitionState {
	if g.cfg.Cluster == nil {
		return nil
	}
	var all []*partition
	g.mu.Lock()
	for _, class := range []Class{Durable, Volatile} {
		all = append(all, g.classes[class]...)
	}
	g.mu.Unlock()
	out := make([]PartitionState, len(all))
	var asking errgroup.Group
	for i, p := range all {
		asking.Go(func() error {
			out[i] = g.groupState(ctx, p)
			return nil
		})
	}
	// Its functions return no error.
	_ = asking.Wait()
	return out
}

func (g *Grid) groupState(ctx context.Context, p *partition) PartitionState {
	s := PartitionState{Class: p.class, Number: p.number, Owner: nameOf(g.owners.ownerOf(p.number))}
	info, err := g.group(ctx, p)
	if err != nil {
		s.Error = err
		return s
	}
	s.Leader = info.Leader
	if info.Leader != "" {
		s.Replicas = append(s.Replicas, Replica{Node: info.Leader, Current: true})
	}
	for _, r := range info.Replicas {
		s.Replicas = append(s.Replicas, Replica{Node: r.Name, Current: r.Current, Offline: r.Offline, Lag: r.Lag})
	}
	slices.SortFunc(s.Replicas, func(a, b Replica) int { return strings.Compare(a.Node, b.Node) })
	return s
}

// ownerOf returns the node that owns a number, "" for none.
func (o *owners) ownerOf(number int) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.held[number]; l != nil && l.held(time.Now()) {
		return o.g.node
	}
	if s := o.seen[number]; time.Since(s.at) <= 2*o.g.cfg.lease {
		return s.record.Node
	}
	return ""
}
