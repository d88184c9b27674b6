package grid

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// joinEvery is how often a node looks whether it can go on, lookEvery how often it asks the seeds who they are, and tellEvery how often the log
	// says again what it waits for.
	joinEvery = 50 * time.Millisecond
	lookEvery = time.Second
	tellEvery = 10 * time.Second
	// patience is how long one request of the opening waits for its answer.
	patience = 2 * time.Second
	// makeAfter is how long a node leaves it to the one that places streams to make one.
	makeAfter = 2 * time.Second
)

// makes is what this node knows of streams that are to be made, by what their names begin with.
type makes struct {
	mu    sync.Mutex
	since map[string]time.Time // when they were missed first; zero where this node is to make them
}

// mayMake returns an error while a stream is another node's to make: requests of several nodes for one stream at a time are not all answered.
func (g *Grid) mayMake(stream string) error {
	if g.cfg.Cluster == nil {
		return nil
	}
	leader := g.server.metaLeader()
	if leader == g.cfg.Cluster.Node {
		return nil
	}
	kin := strings.TrimRight(stream, "0123456789")
	g.makes.mu.Lock()
	defer g.makes.mu.Unlock()
	since, ok := g.makes.since[kin]
	if !ok {
		since = time.Now()
		g.makes.set(kin, since)
	}
	if time.Since(since) > makeAfter {
		return nil
	}
	return fmt.Errorf("%w: %s is node %s's to make", ErrUnavailable, stream, leader)
}

// makeFirst makes the streams of a class before other nodes hear of a cache in it.
func (g *Grid) makeFirst(ctx context.Context, class Class) error {
	if g.cfg.Cluster == nil {
		return nil
	}
	kin := strings.TrimRight(newPartition(g.cfg.Name, class, 0).stream, "0123456789")
	g.makes.mu.Lock()
	g.makes.set(kin, time.Time{})
	g.makes.mu.Unlock()
	_, err := g.class(ctx, class)
	return err
}

// set notes something. Lock is held.
func (m *makes) set(kin string, since time.Time) {
	if m.since == nil {
		m.since = make(map[string]time.Time)
	}
	m.since[kin] = since
}

// alone reports whether nobody else has anything of this grid: the server in this process is not one of a cluster.
func (g *Grid) alone() bool { return g.server != nil && g.cfg.Cluster == nil && g.grown.Load() == 0 }

// clustered reports whether the streams have leaders among our own nodes: this one is of their cluster, or its grid has gone over to it.
func (g *Grid) clustered() bool { return g.cfg.Cluster != nil || g.grown.Load() != 0 }

// join returns when the cluster has a leader and nodes enough for the grid's streams, or for the first time in which it has them.
func (g *Grid) join(ctx context.Context) error {
	ticker := time.NewTicker(joinEvery)
	defer ticker.Stop()
	var looked time.Time
	g.agreed = time.Now()
	for {
		if now := time.Now(); now.Sub(looked) >= lookEvery {
			looked = now
			if err := g.cfg.Cluster.look(ctx, g.server.id()); err != nil {
				return err
			}
		}
		if err := g.rejoin(ctx); err != nil {
			return err
		}
		if err := g.refusedBy(); err != nil && !g.server.away.Load() {
			return err
		}
		reason := g.missing(ctx)
		if reason == "" {
			return nil
		}
		g.waitsFor(reason)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", reason, contextError(ctx))
		case <-ticker.C:
		}
	}
}

// refusedBy returns why other nodes do not have this one: all of them, or one that has its name.
func (g *Grid) refusedBy() error {
	why := g.server.refused.Load()
	if why == nil {
		return nil
	}
	if !strings.Contains(*why, sameName) && (g.server.running() == nil || len(g.server.others()) > 0) {
		return nil
	}
	return fmt.Errorf("%w: %w: %s", ErrConfig, errRefused, *why)
}

// askFor is how long a feed waits for an answer. In a cluster one that is under way when a leader goes does not come.
func (g *Grid) askFor() time.Duration {
	if g.clustered() {
		return patience
	}
	return g.cfg.Timeout
}

// whereAll names the nodes that are there, and where others are looked for.
func (g *Grid) whereAll(others []string) string {
	there := append([]string{g.cfg.Cluster.Node}, others...)
	slices.Sort(there)
	return fmt.Sprintf("cluster %s has %s; the seeds are %s", g.cfg.Cluster.Name, strings.Join(there, ", "), strings.Join(g.cfg.Cluster.Seeds, ", "))
}

// aloneYet returns what a node waits for that has no connection to another, "" for one that has.
func (g *Grid) aloneYet(others []string) string {
	if len(others) > 0 {
		return ""
	}
	return "waits for other nodes, since one alone is no cluster: " + g.whereAll(others)
}

// missing returns what the node waits for, "" for nothing.
func (g *Grid) missing(ctx context.Context) string {
	c := g.cfg.Cluster
	others := g.server.others()
	if alone := g.aloneYet(others); alone != "" {
		return alone
	}
	where := g.whereAll(others)
	if g.guest() {
		if err := g.madeYet(ctx); err != nil {
			return fmt.Sprintf("waits for the nodes that keep the grid, those with %s in node.roles, since it has none: %s: %v", RoleGrid, where, err)
		}
		return ""
	}
	if leader := g.server.metaLeader(); leader == "" {
		reason := "waits until most of the nodes are there and have elected a leader: " + where
		if why := g.NoLeader(); why != "" {
			reason += "; " + why
		}
		return reason
	}
	if len(others)+1 >= c.Replicas {
		return ""
	}
	if g.madeYet(ctx) == nil {
		return ""
	}
	return fmt.Sprintf("waits for %d more nodes, since the grid is to have %d replicas: %s", c.Replicas-len(others)-1, c.Replicas, where)
}

// madeYet returns why the grid is not there.
func (g *Grid) madeYet(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if _, err := g.js.Stream(ctx, "KV_"+g.metaBucket()); err != nil {
		return apiError(err)
	}
	return nil
}

// waitsFor tells what the opening waits for: the log where that changes, and now and then.
func (g *Grid) waitsFor(reason string) {
	if now := time.Now(); reason != g.waits || now.Sub(g.waitsTold) >= tellEvery {
		g.waits, g.waitsTold = reason, now
		g.cfg.Logger.Info("this node " + reason)
		g.cfg.Cluster.Waiting(reason)
	}
}

// patiently repeats what fails for as long as the cluster has no leader for it, or not the nodes that it needs; where the servers are outside, which may be a cluster too, for as
// long as one request may take. A server in this process alone is asked once.
func (g *Grid) patiently(ctx context.Context, do func(context.Context) error) error {
	switch {
	case g.server == nil:
		for began := time.Now(); ; {
			err := do(ctx)
			if err == nil || !errors.Is(err, ErrUnavailable) || time.Since(began) >= g.cfg.Timeout || g.settleDown(ctx) != nil {
				return err
			}
		}
	case g.cfg.Cluster == nil:
		return do(ctx)
	}
	for tries := 1; ; tries++ {
		try, cancel := context.WithTimeout(ctx, patience)
		err := do(try)
		cancel()
		// A stream that was there a step before is not gone: a server that knows less has answered.
		lags := g.unopened.Load() && (errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, nats.ErrStreamNotFound))
		if err == nil || !errors.Is(err, ErrUnavailable) && !lags {
			return err
		}
		g.cfg.Logger.Debug("the cluster is not ready", "error", err)
		if g.unopened.Load() {
			if err := g.rejoin(ctx); err != nil {
				return err
			}
		}
		switch {
		case tooFew(err):
			g.waitsFor(fmt.Sprintf("waits for more nodes with %s in node.roles, since the grid is to have %d replicas", RoleGrid, g.cfg.Replicas))
		case tries > 2 && g.unopened.Load(): // an election alone takes one or two
			g.waitsFor("waits: " + cmp.Or(g.NoLeader(), strings.ReplaceAll(err.Error(), ErrUnavailable.Error()+": ", "")))
		}
		select {
		case <-ctx.Done():
			return g.metaError(err)
		case <-g.done:
			return ErrClosed
		case <-time.After(joinEvery):
		}
	}
}

// inElection reports whether a server had no leader to ask, or not the nodes that are needed.
func inElection(err error) bool { return slices.Contains(electionErrors, codeOf(err)) }

// codeOf is the code of what a server answered; 0 where err is something else.
func codeOf(err error) jetstream.ErrorCode {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		return api.ErrorCode
	}
	var older *nats.APIError // what lists and watches of keys fail with
	if errors.As(err, &older) {
		return jetstream.ErrorCode(older.ErrorCode)
	}
	return 0
}

// tooFew reports whether there are not the nodes for the replicas of a stream.
func tooFew(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == noPeers
}

const (
	noPeers jetstream.ErrorCode = 10005
	// notClustered is what a server alone says to more than one replica.
	notClustered jetstream.ErrorCode = 10074
	// idInProcess is what a leader says to a message that it has already, by its id, and that is not stored yet.
	idInProcess jetstream.ErrorCode = 10158
)

var electionErrors = []jetstream.ErrorCode{
	10004, // incomplete results
	noPeers,
	10008, // temporarily unavailable
	10009, // not the leader
	10041, // of the group of replicas
	10118, // the stream is offline
	10119, // the consumer is offline
	idInProcess,
	10195, // the consumer is offline
	10208, // a batch that another leader had
}
