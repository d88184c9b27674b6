package cluster

import (
	"time"

	"github.com/millrace/millrace/grid"
)

// Summary is the cluster in few numbers, from what this node has heard: nobody is asked for it.
type Summary struct {
	Rebalancing Rebalancing
	// Known is how many nodes the cluster has, and There how many of them are there now.
	Known, There int
	// Health is nil where the controller has not said lately, or could not look at all partitions.
	Health *Health
}

// Health is what of the cluster's streams, those of both classes and the grid's description, is not as it should be.
type Health struct {
	// Leaderless have no leader: nothing can be written to them.
	Leaderless int `json:"leaderless"`
	// Behind are replicas on nodes that are there and do not have everything yet, and Offline those whose nodes are gone.
	Behind  int `json:"behind"`
	Offline int `json:"offline"`
}

// healthOf counts; nil where there is nothing to count. connected are the nodes that are there.
func healthOf(groups []grid.Group, connected map[string]bool) *Health {
	if len(groups) == 0 {
		return nil
	}
	h := &Health{}
	for _, g := range groups {
		if g.Leader == "" {
			h.Leaderless++
		}
		for _, r := range g.Replicas {
			switch {
			case !connected[r.Node], r.Offline && g.Leader != "": // without a leader nobody knows
				h.Offline++
			case !r.Current && g.Leader != "":
				h.Behind++
			}
		}
	}
	return h
}

// Summary returns it as it is now.
func (m *Manager) Summary() Summary {
	s := Summary{Rebalancing: m.Rebalancing()}
	known := m.connected()
	s.There = len(known)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range m.heard.Voices {
		known[name] = true
	}
	s.Known = len(known)
	if time.Since(m.heardAt) <= staleAfter {
		s.Health = m.heard.Health
	}
	return s
}
