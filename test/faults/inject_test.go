//go:build linux

package faults

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// fault is one thing that a cluster must survive.
type fault struct {
	name string
	what string
	// prepare, where it is set, begins before anything is started what the fault will need.
	prepare func(*run)
	// inject makes it happen under load and ends it; what is to be mended by itself is left to the cluster.
	inject func(*run) error
	// ci: it is in the form that CI runs.
	ci bool
}

const (
	// downFor is how long a killed or stopped node is away: longer than an election takes.
	downFor = 10 * time.Second
	// cutFor is how long a node is frozen, or its network broken.
	cutFor = 15 * time.Second
	// settleLimit is how long a cluster may take to be whole again after a fault.
	settleLimit = 2 * time.Minute
	// oneHour is by how much a clock is wrong.
	oneHour = "3600"
)

var faults = []fault{
	{name: "kill -9 of a node", what: "10 s away", inject: func(r *run) error { return r.away(syscall.SIGKILL, r.anyNode()) }},
	{name: "kill -9 of a leader", what: "of a partition; 10 s away", ci: true, inject: func(r *run) error {
		node, err := r.nodes.leader(r.random.IntN(partitions))
		if err != nil {
			return err
		}
		return r.away(syscall.SIGKILL, node)
	}},
	{name: "stop of the minority", what: "SIGTERM to one node; 10 s away", inject: func(r *run) error { return r.away(syscall.SIGTERM, r.anyNode()) }},
	{name: "stop of the majority", what: "two nodes killed at once; 20 s away", ci: true, inject: (*run).majority},
	{name: "kill -9 of all nodes", what: "at once; 10 s away", inject: (*run).all},
	{name: "SIGSTOP", what: "a leader frozen for 15 s", ci: true, inject: (*run).freeze},
	{name: "partition", what: "a leader without the other nodes for 15 s", ci: true, inject: func(r *run) error {
		node, err := r.nodes.leader(r.random.IntN(partitions))
		if err != nil {
			return err
		}
		r.nodes.network.among(node, impairment{loss: 1})
		return r.cut(fmt.Sprintf("n%d is cut off", node))
	}},
	{name: "one-way loss", what: "what a leader sends to the others, or what they send to it, is lost for 15 s", inject: (*run).oneWay},
	{name: "broken link", what: "a leader and one other node do not reach each other for 15 s; the third reaches both", inject: (*run).breakLink},
	{name: "slow network", what: "100 ms delay and 1 % loss between all nodes for 15 s", inject: func(r *run) error {
		for i := range r.nodes.all {
			r.nodes.network.among(i, impairment{delay: 100 * time.Millisecond, loss: 0.01})
		}
		return r.cut("every packet takes 100 ms")
	}},
	{name: "full disk", what: "of a node, for 10 s", inject: (*run).fullDisk},
	{name: "lost disk", what: "a leader dies while what it sends to one of the others takes 300 ms, and starts again at once on an empty disk", inject: (*run).loseDisk},
	{name: "rolling restart", what: "SIGTERM to each node in turn", inject: (*run).rolling},
	{name: "join and drain", what: "a fourth node gets its share, gives it away, and leaves", inject: (*run).joinAndDrain},
	{name: "clock skew", what: "of a node by an hour, ahead and then behind", inject: (*run).skew, prepare: func(r *run) { go r.skewed() }},
}

func (r *run) anyNode() int { return r.random.IntN(members) }

// wait lets the load go on for a while; nothing tells when a fault has lasted long enough.
func (r *run) wait(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-r.t.Context().Done():
		return r.t.Context().Err()
	}
}

// away ends a node and starts it again.
func (r *run) away(s syscall.Signal, node int) error {
	r.t.Logf("  %v to n%d", s, node)
	if err := r.nodes.end(node, s); err != nil {
		return err
	}
	if err := r.wait(downFor); err != nil {
		return err
	}
	return r.nodes.start(node)
}

// cut leaves the network as it is for a while.
func (r *run) cut(what string) error {
	r.t.Logf("  %s", what)
	defer r.nodes.network.heal()
	return r.wait(cutFor)
}

func (r *run) majority() error {
	left := r.anyNode()
	down := []int{(left + 1) % members, (left + 2) % members}
	r.t.Logf("  n%d alone is left", left)
	for _, i := range down {
		if err := r.nodes.end(i, syscall.SIGKILL); err != nil {
			return err
		}
	}
	from := r.rec.now()
	// Longer than a write is tried, so that those that began in this time fail in it.
	if err := r.wait(20 * time.Second); err != nil {
		return err
	}
	to := r.rec.now()
	r.afterwards = func(ops []*op) error { return failClearly(ops, left, from, to) }
	for _, i := range down {
		if err := r.nodes.start(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) all() error {
	r.t.Log("  no node is left")
	for i := range members {
		if err := r.nodes.end(i, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := r.wait(downFor); err != nil {
		return err
	}
	for i := range members {
		if err := r.nodes.start(i); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) freeze() error {
	node, err := r.nodes.leader(r.random.IntN(partitions))
	if err != nil {
		return err
	}
	r.t.Logf("  n%d is frozen", node)
	if err := r.nodes.signal(node, syscall.SIGSTOP); err != nil {
		return err
	}
	return errors.Join(r.wait(cutFor), r.nodes.signal(node, syscall.SIGCONT))
}

func (r *run) oneWay() error {
	node, err := r.nodes.leader(r.random.IntN(partitions))
	if err != nil {
		return err
	}
	sends := r.random.IntN(2) == 0
	for other := range r.nodes.all {
		switch {
		case other == node:
		case sends:
			r.nodes.network.impair(node, other, impairment{loss: 1})
		default:
			r.nodes.network.impair(other, node, impairment{loss: 1})
		}
	}
	if sends {
		return r.cut(fmt.Sprintf("nobody hears n%d", node))
	}
	return r.cut(fmt.Sprintf("n%d hears nobody", node))
}

func (r *run) breakLink() error {
	node, err := r.nodes.leader(r.random.IntN(partitions))
	if err != nil {
		return err
	}
	other := (node + 1 + r.random.IntN(members-1)) % members
	r.nodes.network.impair(node, other, impairment{loss: 1})
	r.nodes.network.impair(other, node, impairment{loss: 1})
	return r.cut(fmt.Sprintf("n%d and n%d do not reach each other", node, other))
}

func (r *run) fullDisk() error {
	node := r.anyNode()
	r.t.Logf("  the disk of n%d is full", node)
	free, err := r.nodes.fill(node)
	if err != nil {
		return err
	}
	return errors.Join(r.wait(downFor), free())
}

// loseDisk has a node begin anew before the others have elected leaders. One of these lacks what the two others had acknowledged last, and it must not come to lead what it lacks
// with the voice of the node that has forgotten.
func (r *run) loseDisk() error {
	node, err := r.nodes.leader(r.random.IntN(partitions))
	if err != nil {
		return err
	}
	slow := (node + 1 + r.random.IntN(members-1)) % members
	r.t.Logf("  n%d loses its disk, and n%d hears it late", node, slow)
	r.nodes.network.impair(node, slow, impairment{delay: 300 * time.Millisecond})
	err = r.wait(5 * time.Second)
	if err == nil {
		err = r.nodes.end(node, syscall.SIGKILL)
	}
	r.nodes.network.heal()
	x := r.nodes.all[node]
	return errors.Join(err, x.unmount(), x.mount(), r.nodes.start(node))
}

func (r *run) rolling() error {
	for i := range members {
		if err := r.nodes.end(i, syscall.SIGTERM); err != nil {
			return err
		}
		if err := r.nodes.start(i); err != nil {
			return err
		}
		took, err := r.nodes.settle(settleLimit)
		if err != nil {
			return err
		}
		r.t.Logf("  the cluster is whole %v after the start of n%d", took.Round(time.Millisecond), i)
	}
	return nil
}

func (r *run) skew() error {
	binary, err := r.skewed()
	if err != nil {
		return err
	}
	node := r.anyNode()
	for _, by := range []string{oneHour, "-" + oneHour} {
		r.t.Logf("  the clock of n%d is wrong by %s s", node, by)
		if err := r.nodes.end(node, syscall.SIGTERM); err != nil {
			return err
		}
		if err := r.nodes.startWith(node, binary, skewVariable+"="+by); err != nil {
			return err
		}
		took, err := r.nodes.settle(settleLimit)
		if err != nil {
			return fmt.Errorf("with a wrong clock: %w", err)
		}
		r.t.Logf("  the cluster is whole with it after %v", took.Round(time.Millisecond))
		if err := r.wait(downFor); err != nil {
			return err
		}
		// Killed, so that what it leaves has to be taken from it.
		if err := r.nodes.end(node, syscall.SIGKILL); err != nil {
			return err
		}
		if err := r.nodes.start(node); err != nil {
			return err
		}
		if took, err = r.nodes.settle(settleLimit); err != nil {
			return fmt.Errorf("after a wrong clock: %w", err)
		}
		r.t.Logf("  and without it after %v", took.Round(time.Millisecond))
		node = (node + 1) % members
	}
	return nil
}
