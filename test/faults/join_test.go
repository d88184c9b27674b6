//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/millrace/millrace/cluster"
)

const (
	// newcomer is the number of the node that joins.
	newcomer = members
	// moveLimit is how long a node may take to get its share, or to give everything away.
	moveLimit = 5 * time.Minute
)

// joinAndDrain has a node join, and once it has its share give everything away, stop, and leave the cluster.
func (r *run) joinAndDrain() error {
	name := r.nodes.all[newcomer].name
	began := time.Now()
	step := func(what string) {
		r.t.Logf("  %s after %v", what, time.Since(began).Round(time.Millisecond))
		began = time.Now()
	}
	if err := r.nodes.start(newcomer); err != nil {
		return err
	}
	if err := r.awaitShares("has its share", func(s cluster.Status) error { return hasShare(s, name) }); err != nil {
		return err
	}
	step(name + " has its share")
	if err := r.wait(time.Second); err != nil {
		return err
	}
	began = time.Now()
	if err := r.asking(func(ctx context.Context) error { return r.nodes.all[r.anyNode()].client.Drain(ctx, name, false) }); err != nil {
		return fmt.Errorf("drain %s: %w", name, err)
	}
	err := r.awaitShares("is drained", func(s cluster.Status) error {
		if n := nodeOf(s, name); n == nil || !n.Drained {
			return fmt.Errorf("it is %+v", n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	step(name + " is drained")
	if err := r.nodes.end(newcomer, syscall.SIGTERM); err != nil {
		return err
	}
	if err := r.dismiss(); err != nil {
		return err
	}
	step(name + " has stopped and is removed")
	return nil
}

// dismiss takes a newcomer that has ended out of the cluster, and gives it a new disk.
func (r *run) dismiss() error {
	x := r.nodes.all[newcomer]
	asked := func() error {
		return r.asking(func(ctx context.Context) error { return r.nodes.all[0].client.RemoveNode(ctx, x.name) })
	}
	// The cluster has to notice first that it is gone.
	if err := until(r.t.Context(), moveLimit, asked); err != nil {
		return fmt.Errorf("remove %s: %w", x.name, err)
	}
	err := r.awaitShares("is removed", func(s cluster.Status) error {
		if n := nodeOf(s, x.name); n != nil {
			return fmt.Errorf("it is %+v", n)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(x.unmount(), x.mount())
}

// asking limits a request to a node.
func (r *run) asking(do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(r.t.Context(), startLimit)
	defer cancel()
	return do(ctx)
}

// awaitShares waits until the cluster says of the newcomer what it is to say, and that nothing moves.
func (r *run) awaitShares(what string, is func(cluster.Status) error) error {
	var s cluster.Status
	err := until(r.t.Context(), moveLimit, func() (err error) {
		if err = r.nodes.died(); err != nil {
			return err
		}
		if s, err = r.nodes.status(0); err != nil {
			return err
		}
		return is(s)
	})
	if err != nil {
		return fmt.Errorf("that %s %s: not within %v: %w; the controller says %+v%s", r.nodes.all[newcomer].name, what, moveLimit, err, s.Rebalancing, r.nodes.tails())
	}
	return nil
}

func nodeOf(s cluster.Status, name string) *cluster.Node {
	if i := slices.IndexFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == name }); i >= 0 {
		return &s.Nodes[i]
	}
	return nil
}

// hasShare returns why a node has not as many replicas as the others have, and not as many partitions that it leads and owns, or more are on their way.
func hasShare(s cluster.Status, name string) error {
	n := nodeOf(s, name)
	replicas := 0
	for _, p := range s.Partitions {
		replicas += len(p.Replicas)
	}
	least := func(all int) int { return all/len(s.Nodes) - 1 }
	switch {
	case n == nil || !n.Connected || len(s.Nodes) != members+1:
		return fmt.Errorf("it is not there: %+v", s.Nodes)
	case s.Rebalancing.State != cluster.Evenly:
		return errors.New("not all is moved")
	case n.Replicas < least(replicas) || n.Leads < least(len(s.Partitions)) || n.Owns < least(len(s.Partitions)):
		return fmt.Errorf("it has less than its share: %+v", *n)
	}
	return nil
}

// recover brings the cluster back after a round that left it broken, so that the next ones can be run: what does not come back by itself is restarted.
func (r *run) recover(res *result) {
	for i := range r.nodes.all {
		up := slices.Contains(r.nodes.running(), i)
		if up {
			if err := r.nodes.end(i, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
				r.t.Fatal(err)
			}
		}
		if i == newcomer {
			continue
		}
		if err := r.nodes.start(i); err != nil {
			r.t.Fatal(err)
		}
	}
	left := func() error {
		s, err := r.nodes.status(0)
		if err != nil || nodeOf(s, r.nodes.all[newcomer].name) == nil {
			return err
		}
		return r.dismiss()
	}
	if err := until(r.t.Context(), settleLimit, left); err != nil {
		r.t.Fatalf("after %s: %v", res.Fault, err)
	}
	if _, err := r.nodes.settle(settleLimit); err != nil {
		r.t.Fatalf("after %s: %v", res.Fault, err)
	}
}
