package grid

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// In a cluster the leader of a partition's durable stream is to be its owner, so that feed, index and readers run where writes are decided. The lease stays
// what decides; it follows the leader: a node takes a free lease where it leads, and gives its lease to the node that leads in its place.

// nodeMark stands between a node's name and the number of its opening.
const nodeMark = "."

// nameOf is the name of a node, by which the servers know it.
func nameOf(node string) string {
	name, _, _ := strings.Cut(node, nodeMark)
	return name
}

const (
	// leaderless is how long a free lease waits for the leader to take it, before another node does.
	leaderless = 3 * time.Second
	// leaderTry limits one question about a leader, or one request that it step down.
	leaderTry = time.Second
	// stepDownSubject is followed by the name of a stream.
	stepDownSubject = "$JS.API.STREAM.LEADER.STEPDOWN."
	// metaStepDown is for the system's account alone.
	metaStepDown = "$JS.API.META.LEADER.STEPDOWN"
)

// leads reports whether this node leads a partition's stream, as far as it knows.
func (g *Grid) leads(p *partition) bool {
	if g.grown.Load() != 0 {
		return false // the server in this process has what it had before
	}
	srv := g.server.running()
	return srv != nil && srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, p.stream)
}

// replica reports whether this node has a replica of a partition's stream.
func (g *Grid) replica(p *partition) bool {
	srv := g.server.running()
	return srv != nil && srv.JetStreamIsStreamAssigned(server.DEFAULT_GLOBAL_ACCOUNT, p.stream)
}

// group asks who leads a partition's stream, and who has its replicas.
func (g *Grid) group(ctx context.Context, p *partition) (*jetstream.ClusterInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, leaderTry)
	defer cancel()
	stream, err := g.js.Stream(ctx, p.stream)
	if err != nil {
		return nil, fmt.Errorf("ask who leads %s: %w", p.stream, apiError(err))
	}
	info := stream.CachedInfo().Cluster
	if info == nil {
		return nil, fmt.Errorf("%w: %s has no leader", ErrUnavailable, p.stream)
	}
	return info, nil
}

// mayTake reports whether this node is the one to take a lease that is free since a moment.
func (o *owners) mayTake(ctx context.Context, number int, free time.Duration) bool {
	g, p := o.g, o.durable[number]
	if g.guest() {
		return false
	}
	if !g.clustered() || g.leads(p) {
		return true
	}
	if free < leaderless {
		return false
	}
	info, err := g.group(ctx, p)
	return err == nil && info.Leader != ""
}

// follow gives a lease away that this node holds where another leads, as soon as that one is known to be there.
func (o *owners) follow(ctx context.Context, number int) (to string, ok bool) {
	g, p := o.g, o.durable[number]
	if !g.clustered() || g.leads(p) {
		return "", false
	}
	info, err := g.group(ctx, p)
	if err != nil || info.Leader == "" || info.Leader == nameOf(g.node) {
		return "", false
	}
	return o.members.named(info.Leader, time.Now())
}

// stepDown has the leader of a group, which a subject names, make way for a node, any where to is "".
func stepDown(ctx context.Context, nc *nats.Conn, subject, to string) error {
	body := map[string]any{}
	if to != "" {
		body["placement"] = map[string]string{"preferred": to}
	}
	if err := request(ctx, nc, subject, leaderTry, body); err != nil {
		return fmt.Errorf("make %s lead: %w", cmp.Or(to, "another node"), err)
	}
	return nil
}

// handOver makes another node lead a number's streams in all classes, and gives it the lease. Where it cannot lead, the lease stays.
func (o *owners) handOver(ctx context.Context, number int, to string) error {
	g, p := o.g, o.durable[number]
	info, err := g.group(ctx, p)
	if err != nil {
		return err
	}
	if info.Leader != nameOf(to) {
		if !follows(info, nameOf(to)) {
			return fmt.Errorf("%w: %s has no replica of partition %d that is up to date", ErrUnavailable, nameOf(to), number)
		}
		if err := g.LeadStream(ctx, p.stream, nameOf(to)); err != nil {
			return err
		}
	}
	o.giveAway(ctx, number, to)
	return nil
}

// moves reports whether a stream is on its way to other nodes. Then it is the servers that make another one lead, when that has everything: a new replica counts
// as current as soon as it is a member, before it has asked for what the stream has. Where the leader makes way for it then, there is nobody to ask.
func moves(info *jetstream.ClusterInfo) bool { return info.Desired != nil }

// complete reports whether this node's replica of a stream has all that it knows to be there. What the leader says of it is too early: see moves.
func (g *Grid) complete(p *partition) bool {
	srv := g.server.running()
	return srv != nil && srv.JetStreamIsStreamCurrent(server.DEFAULT_GLOBAL_ACCOUNT, p.stream)
}

// follows reports whether a node has a replica that could lead now, as the leader sees it.
func follows(info *jetstream.ClusterInfo, name string) bool {
	for _, r := range info.Replicas {
		if r.Name == name {
			return r.Current && !r.Offline
		}
	}
	return false
}

// gather makes this node lead the streams of its numbers in the classes whose streams have no lease, one a call.
func (o *owners) gather(ctx context.Context) {
	g := o.g
	for _, number := range o.owned() {
		for _, p := range o.partitions(number) {
			if p.class == Durable || g.leads(p) || !g.replica(p) || !g.leads(o.durable[number]) {
				continue
			}
			info, err := g.group(ctx, p)
			if err != nil || moves(info) || !follows(info, g.cfg.Cluster.Node) || !g.complete(p) {
				continue
			}
			if err := g.LeadStream(ctx, p.stream, g.cfg.Cluster.Node); err != nil {
				g.cfg.Logger.Debug("lead a partition", "partition", number, "class", p.class, "error", err)
			}
			return
		}
	}
}

// leaveCluster makes others lead what this node leads, and gives them its leases: first what places consumers, which new owners need.
func (o *owners) leaveCluster(ctx context.Context) {
	g := o.g
	srv := g.server.running()
	if srv == nil {
		return
	}
	if srv.JetStreamIsLeader() {
		if err := g.LeadCluster(ctx, ""); err != nil {
			g.cfg.Logger.Debug("another node is to lead the cluster", "error", err)
		}
	}
	nodes := o.members.takers(g.node, time.Now())
	if len(nodes) < 2 {
		return // nobody is left
	}
	count := o.count()
	for _, number := range o.owned() {
		to := ""
		if info, err := g.group(ctx, o.durable[number]); err == nil {
			for _, node := range nodes {
				if node != g.node && follows(info, nameOf(node)) && (to == "" || count[node] < count[to]) {
					to = node
				}
			}
		}
		if to == "" {
			continue
		}
		count[to]++
		for _, p := range o.partitions(number) {
			if p.class != Durable && g.leads(p) {
				if err := g.LeadStream(ctx, p.stream, nameOf(to)); err != nil {
					g.cfg.Logger.Debug("another node is to lead", "partition", number, "class", p.class, "error", err)
				}
			}
		}
		if err := o.handOver(ctx, number, to); err != nil {
			g.cfg.Logger.Debug("another node is to own", "partition", number, "error", err)
		}
	}
}

// heirsFor is how long a node that leaves waits for those that have its partitions now.
const heirsFor = 2 * time.Second

// awaitHeirs returns when others read what this node owned: until then the cluster may place on its server what they need for that.
func (o *owners) awaitHeirs(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, heirsFor)
	defer cancel()
	for len(o.members.alive(o.g.node, time.Now())) > 1 {
		err := o.g.othersReady(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			o.g.cfg.Logger.Debug("others do not read everything yet", "error", err)
			return
		case <-time.After(joinEvery):
		}
	}
}

// count is how many partitions each node owns, as far as this one has seen.
func (o *owners) count() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	count := map[string]int{}
	for number, s := range o.seen {
		switch {
		case o.held[number] == nil:
			count[s.record.Node]++
		case !o.leaving[number]:
			count[o.g.node]++
		}
	}
	return count
}
