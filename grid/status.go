package grid

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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

// PartitionStates asks who looks after each partition, in a cluster: each node that is there says at once what it leads, so that the number of questions does not grow
// with that of the partitions. What nobody leads, or whose leader does not answer within a second, has an Error, and the nodes that have its
// replicas where these tell of them.
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
	led, err := g.ledStreams(ctx)
	out := make([]PartitionState, len(all))
	for i, p := range all {
		out[i] = PartitionState{Class: p.class, Number: p.number, Owner: nameOf(g.owners.ownerOf(p.number))}
		s, ok := led[p.stream]
		switch {
		case ok:
			out[i].Leader, out[i].Replicas = s.Cluster.Leader, g.replicasOf(s.Cluster)
		case err != nil:
			out[i].Error = err
		default:
			out[i].Error = g.leaderless(ctx, &out[i], p)
		}
	}
	return out
}

// leaderless says why nobody leads a partition, and notes where its replicas are, as far as that is known.
func (g *Grid) leaderless(ctx context.Context, out *PartitionState, p *partition) error {
	l, lacks := g.lackOf(ctx, p.stream)
	for _, name := range l.nodes {
		out.Replicas = append(out.Replicas, Replica{Node: name, Offline: !slices.Contains(l.there, name)})
	}
	if lacks {
		return fmt.Errorf("%w: %s", ErrUnavailable, l.reason)
	}
	return fmt.Errorf("%w: no node that is there leads %s", ErrUnavailable, p.stream)
}

// ledStreams asks all nodes which streams they lead, and returns what they have said by the time the last one has, or after leaderTry: what nobody has spoken of has an error of its
// own. Where two say that they lead a stream, one of them did before: it is the later one's.
func (g *Grid) ledStreams(ctx context.Context) (led map[string]toldStream, err error) {
	led = map[string]toldStream{}
	_, err = g.askServers(ctx, g.NodesWith(RoleGrid), server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Streams: true, StreamLeaderOnly: true}, func(a serverAnswer) {
		for _, s := range a.streams() {
			if s.Cluster != nil && s.Cluster.Leader != "" && later(s, led[s.Name]) {
				led[s.Name] = s
			}
		}
	})
	return led, err
}

// later reports whether a leader began after another one. One that does not say since when is alone in its group.
func later(s, than toldStream) bool {
	return than.Cluster == nil || than.Cluster.LeaderSince == nil || s.Cluster.LeaderSince != nil && s.Cluster.LeaderSince.After(*than.Cluster.LeaderSince)
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
