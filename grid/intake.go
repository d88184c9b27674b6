package grid

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Intake is what a node alone reaches a node of a cluster by that is to take over its grid. It is there from the moment that the node waits.
type Intake struct{ g *Grid }

// Offer is what the node says of its cluster.
type Offer struct {
	Cluster  string `json:"cluster"`
	Node     string `json:"node"`
	Grid     string `json:"grid"`
	Replicas int    `json:"replicas"`
	// Partitions is what this node's configuration says; 0 for nothing.
	Partitions int `json:"partitions"`
	Format     int `json:"format"`
	// Password is what the connection shows that Dial makes.
	Password string `json:"password"`
}

// Offer returns what the node says of its cluster.
func (i *Intake) Offer() Offer {
	c := i.g.cfg.Cluster
	return Offer{
		Cluster: c.Name, Node: c.Node, Grid: i.g.cfg.Name, Replicas: c.Replicas, Partitions: i.g.cfg.Partitions, Format: formatVersion, Password: c.leafPassword(),
	}
}

// Dial connects to where the server in this process waits for that of a node alone.
func (i *Intake) Dial(ctx context.Context) (net.Conn, error) {
	srv := i.g.server.running()
	if srv == nil {
		return nil, fmt.Errorf("%w: the embedded server is not running", ErrUnavailable)
	}
	v, err := srv.Varz(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(v.LeafNode.Port)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return conn, nil
}

// Withdraw reports whether the cluster has taken the grid of an opening over. Where it has not, it will not.
func (i *Intake) Withdraw(ctx context.Context, source, node string) (taken bool, err error) {
	for {
		s, rev, err := readGrow(ctx, i.g.js, i.g.cfg.Name)
		switch {
		case err != nil:
			return false, err
		case rev == 0 || s.Source != source:
			return false, nil
		case s.Phase != growCopies:
			return true, nil
		}
		// What the opening asked for, and did not hear of, is refused from now on. That this is taken says that the note was the newest.
		s.Node = ""
		if _, err = writeGrow(ctx, i.g.js, i.g.cfg.Name, s, rev); err == nil {
			return false, nil
		}
		if !isReplaced(err) {
			return false, err
		}
	}
}

const (
	growReason = "waits for the grid of a node alone, since cluster.grow is set: run `millrace cluster grow`"
	// takesReason is that of a node without cluster.grow, and unreadReason that of one that cannot ask.
	takesReason  = "waits until the cluster has taken over the grid of a node alone: `millrace cluster grow` says how far that is"
	unreadReason = "waits until the cluster says what grid it has"
	// promoteAfter is how long the nodes of a cluster leave it to the node alone to promote.
	promoteAfter = 3 * time.Second
)

// awaitGrown waits, in a cluster, while its grid is that of a node alone.
func (g *Grid) awaitGrown(ctx context.Context) error {
	if g.cfg.Cluster == nil {
		return nil
	}
	if g.cfg.Cluster.Grow {
		g.cfg.Cluster.Intake(&Intake{g: g})
	}
	var since time.Time
	told := time.Now() // when the cluster said last what grid it has
	for {
		done, err := g.hasGrown(ctx, &since)
		if err != nil && !errors.Is(err, ErrUnavailable) && ctx.Err() == nil {
			return err
		}
		if done {
			return nil
		}
		if err == nil {
			told = time.Now()
		}
		reason := growReason
		switch {
		case err != nil:
			g.cfg.Logger.Debug("look whether the cluster has its grid", "error", err)
			reason = unreadReason
			if why := g.NoLeader(); why != "" {
				reason += "; " + why
			} else if time.Since(told) >= awayFor {
				reason += "; " + descriptionAway
			}
		case !g.cfg.Cluster.Grow:
			reason = takesReason
		}
		g.waitsFor(reason)
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", reason, contextError(ctx))
		case <-time.After(joinEvery):
		}
	}
}

// hasGrown reports whether the cluster's grid is its own, or is to be made. Where the node alone has given its grid away, and has left the rest undone for a
// while, the node that leads the cluster does it.
func (g *Grid) hasGrown(ctx context.Context, since *time.Time) (bool, error) {
	look, cancel := context.WithTimeout(ctx, leaderTry)
	defer cancel()
	s, rev, err := readGrow(look, g.js, g.cfg.Name)
	if err != nil {
		return false, err
	}
	switch s.Phase {
	case growDone:
		return true, nil
	case growPromotes:
		if since.IsZero() {
			*since = time.Now()
		}
		if time.Since(*since) < promoteAfter || g.server.metaLeader() != g.cfg.Cluster.Node {
			return false, nil
		}
		finishing, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
		defer cancel()
		if err := finishGrow(finishing, g.js, g.cfg.Name, s, rev); err != nil {
			return false, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return true, nil
	}
	stream, err := g.js.Stream(look, "KV_"+g.metaBucket())
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return !g.cfg.Cluster.Grow && rev == 0, nil
	case err != nil:
		return false, apiError(err)
	}
	return stream.CachedInfo().Config.Mirror == nil, nil
}

// finishGrow does what is left once a cluster has been given a grid. Doing it twice changes nothing.
func finishGrow(ctx context.Context, js jetstream.JetStream, grid string, s growState, rev uint64) error {
	if err := promote(ctx, js, s.Streams); err != nil {
		return err
	}
	if err := settleGrown(ctx, js, grid, s.Streams[0].Replicas); err != nil {
		return err
	}
	s.Phase = growDone
	if _, err := writeGrow(ctx, js, grid, s, rev); err != nil && !isReplaced(err) {
		return err
	}
	return nil
}
