package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

var (
	// ErrNode says that the cluster has no node of that name.
	ErrNode = errors.New("no such node")
	// ErrRefused says that something cannot be done to a node or the cluster as it is.
	ErrRefused = errors.New("refused")
	// ErrAlone says that a node is in no cluster.
	ErrAlone = errors.New("this node is in no cluster: its configuration has none")
)

// decision is what people have decided. It is kept in the grid, so that it is not forgotten when nodes are restarted.
type decision struct {
	Paused   bool     `json:"paused,omitempty"`
	Draining []string `json:"draining,omitempty"`
	Removing []string `json:"removing,omitempty"`
	// Members have had replicas, and are no longer in it once they are removed. A node that is not has nothing that its voice is kept for.
	Members []string `json:"members,omitempty"`
}

const aboutBalance = "balance"

// readDecision reads it, with the number to replace it by.
func readDecision(value []byte) (d decision, err error) {
	if len(value) == 0 {
		return d, nil
	}
	if err := json.Unmarshal(value, &d); err != nil {
		return d, fmt.Errorf("what was decided about the cluster is no JSON of this program: %q: %w", value, err)
	}
	return d, nil
}

// decide changes what was decided. change may be called more than once, and returns why it may not be.
func (m *Manager) decide(ctx context.Context, change func(*decision) error) error {
	for {
		value, number, err := m.grid.Decision(ctx, aboutBalance)
		if err != nil {
			return err
		}
		d, err := readDecision(value)
		if err != nil {
			return err
		}
		if err := change(&d); err != nil {
			return err
		}
		if value, err = json.Marshal(d); err != nil {
			return fmt.Errorf("write what was decided: %w", err)
		}
		err = m.grid.Decide(ctx, aboutBalance, value, number)
		if errors.Is(err, grid.ErrRevision) {
			continue
		}
		if err == nil {
			err = m.grid.Tell(aboutWake, nil)
		}
		return err
	}
}

// Pause begins no new moves, but for what nodes lead; those under way end.
func (m *Manager) Pause(ctx context.Context) error {
	return m.decide(ctx, func(d *decision) error { d.Paused = true; return nil })
}

// Resume goes on, and looks at once.
func (m *Manager) Resume(ctx context.Context) error {
	return m.decide(ctx, func(d *decision) error { d.Paused = false; return nil })
}

// Rebalance looks at once. It is refused while it is paused.
func (m *Manager) Rebalance(ctx context.Context) error {
	return m.decide(ctx, func(d *decision) error {
		if d.Paused {
			return fmt.Errorf("%w: rebalancing is paused; resume it", ErrRefused)
		}
		return nil
	})
}

// Cancel pauses, and has the moves under way go back. A replica that is built again, for a node that is lost, has nowhere to go back to, and goes on.
func (m *Manager) Cancel(ctx context.Context) error {
	if err := m.Pause(ctx); err != nil {
		return err
	}
	groups, err := m.grid.Groups(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, g := range groups {
		from, to := direction(g)
		if len(g.Wanted) == 0 || from == "" || to == "" {
			continue
		}
		if err := m.grid.CancelMove(ctx, g.Stream); err != nil {
			errs = append(errs, fmt.Errorf("cancel the move of %s from %s to %s: %w", g.Stream, from, to, err))
		}
	}
	return errors.Join(errs...)
}

// keeps returns an error where a node that is there keeps nothing of the grid.
func (m *Manager) keeps(node, what string) error {
	for _, member := range m.grid.Members(nil) {
		if member.Name == node && member.Connected && !member.Has(grid.RoleGrid) {
			return fmt.Errorf("%w: %s: node %s has no %s in its roles, and so no replicas; it may be stopped at any time", ErrRefused, what, node, grid.RoleGrid)
		}
	}
	return nil
}

// Drain has a node give away all it has. It stays empty until Undrain. It is refused where the nodes that are left are too few.
func (m *Manager) Drain(ctx context.Context, node string) error {
	if err := m.known(ctx, node); err != nil {
		return err
	}
	if err := m.keeps(node, "drain "+node); err != nil {
		return err
	}
	return m.decide(ctx, func(d *decision) error {
		if slices.Contains(d.Draining, node) {
			return nil
		}
		d.Draining = append(d.Draining, node)
		slices.Sort(d.Draining)
		return m.enough(*d, "drain "+node)
	})
}

// Undrain gives a node its share again.
func (m *Manager) Undrain(ctx context.Context, node string) error {
	if err := m.known(ctx, node); err != nil {
		return err
	}
	return m.decide(ctx, func(d *decision) error {
		d.Draining = slices.DeleteFunc(d.Draining, func(n string) bool { return n == node })
		return nil
	})
}

// Remove takes a node that is gone out of the cluster: what it had is built again on others at once, and then it has no voice any more. It is refused
// while the node stays connected for 5 s, and, where it has replicas, where the nodes that are left are too few. It is ErrUnavailable while no node leads the cluster.
func (m *Manager) Remove(ctx context.Context, node string) error {
	if why := m.grid.NoLeader(); why != "" {
		return fmt.Errorf("%w: remove %s: %s, and repeat this", grid.ErrUnavailable, node, why)
	}
	s, err := m.awaitGone(ctx, node)
	if err != nil {
		return err
	}
	name := func(name string) func(Node) bool { return func(n Node) bool { return n.Name == name } }
	at := slices.IndexFunc(s.Nodes, name(node))
	if at < 0 { // one that was never there since the leader's start has no name
		at = slices.IndexFunc(s.Nodes, name(grid.VoiceID(node)))
	}
	if at < 0 {
		return unknownNode(s, node)
	}
	found := s.Nodes[at]
	return m.decide(ctx, func(d *decision) error {
		if !slices.Contains(d.Removing, found.Name) {
			d.Removing = append(d.Removing, found.Name)
			slices.Sort(d.Removing)
		}
		if found.Replicas == 0 && !slices.ContainsFunc(s.Partitions, func(p Partition) bool { return p.Error != "" }) {
			return nil // nothing has to be built again
		}
		return m.enough(*d, "remove "+node)
	})
}

const (
	// goneWithin is how long a removal waits for a node that is connected: one that was killed a moment ago is taken for that, for 1.5 s as a rule.
	goneWithin = 5 * time.Second
	// goneLook is the pause between two looks at it.
	goneLook = 100 * time.Millisecond
)

// awaitGone returns the cluster once a node is not connected, or an error where it stays.
func (m *Manager) awaitGone(ctx context.Context, node string) (Status, error) {
	for began := time.Now(); ; {
		s := m.Status(ctx)
		if !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == node && n.Connected }) {
			return s, nil
		}
		if time.Since(began) >= goneWithin {
			return s, fmt.Errorf("%w: node %s is connected, and was so for %v: drain it and stop it first; where it was stopped or killed, repeat this once `millrace cluster status` shows it as away",
				ErrRefused, node, goneWithin)
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(goneLook):
		}
	}
}

// known returns an error where the cluster has no such node.
func (m *Manager) known(ctx context.Context, node string) error {
	s := m.Status(ctx)
	if !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == node }) {
		return unknownNode(s, node)
	}
	return nil
}

func unknownNode(s Status, node string) error {
	var names []string
	for _, n := range s.Nodes {
		names = append(names, n.Name)
	}
	return fmt.Errorf("%w: %s; the nodes are %s", ErrNode, node, strings.Join(names, ", "))
}

// enough returns an error where the nodes that are there and stay are fewer than each partition is to have replicas.
func (m *Manager) enough(d decision, what string) error {
	stay := 0
	for name := range m.connected() {
		if !slices.Contains(d.Draining, name) && !slices.Contains(d.Removing, name) {
			stay++
		}
	}
	if need := max(2, m.cfg.Replicas); stay < need {
		return fmt.Errorf("%w: %s would leave %d nodes that are there, and %d are needed for %d replicas", ErrRefused, what, stay, need, m.cfg.Replicas)
	}
	return nil
}

// connected are the nodes that are there now and keep the grid. One that came back without that role is gone, as far as what it had is concerned.
func (m *Manager) connected() map[string]bool {
	out := map[string]bool{}
	for _, member := range m.grid.Members(nil) {
		if member.Connected && member.Has(grid.RoleGrid) {
			out[member.Name] = true
		}
	}
	return out
}
