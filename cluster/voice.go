package cluster

import (
	"context"
	"slices"

	"github.com/millrace/millrace/cluster/plan"
	"github.com/millrace/millrace/grid"
)

// removeNodes takes the voice from nodes that are to be removed and have nothing any more, and forgets what was decided about those that are not there.
func (c *controller) removeNodes(ctx context.Context, v view) {
	forget := func(name string, gone bool) {
		err := c.m.decide(ctx, func(d *decision) error {
			is := func(n string) bool { return n == name }
			d.Removing = slices.DeleteFunc(d.Removing, is)
			if gone {
				d.Draining, d.Members = slices.DeleteFunc(d.Draining, is), slices.DeleteFunc(d.Members, is)
			}
			return nil
		})
		if err != nil {
			c.m.cfg.Logger.Debug("forget a node", "node", name, "error", err)
		}
	}
	for _, name := range v.decision.Removing {
		voice := slices.ContainsFunc(v.peers, func(p grid.Peer) bool { return p.Name == name })
		switch {
		case v.connected[name]: // it came back
			c.m.cfg.Logger.Warn("a node that was to be removed is back, and stays", "node", name)
			forget(name, false)
		case v.has(name) > 0:
		case voice:
			if err := c.m.grid.RemovePeer(ctx, name); err != nil {
				c.m.cfg.Logger.Warn("a node cannot be removed; it is tried again", "node", name, "error", err)
				continue
			}
			c.m.cfg.Logger.Info("a node was removed", "node", name)
			delete(c.gone, name)
			forget(name, true)
		default:
			delete(c.gone, name)
			forget(name, true)
		}
	}
}

// removeStrangers takes the voice from nodes that are gone for as long as the grace and never had a replica: they joined and could not stay, and each is one more that a
// majority needs. Which nodes have had one is noted with what was decided.
func (c *controller) removeStrangers(ctx context.Context, v view) {
	var news []string
	for _, p := range v.peers {
		if v.has(p.Name) > 0 && !slices.Contains(v.decision.Members, p.Name) && p.Name != "" {
			news = append(news, p.Name)
		}
	}
	if len(news) > 0 {
		err := c.m.decide(ctx, func(d *decision) error {
			d.Members = slices.Compact(slices.Sorted(slices.Values(append(d.Members, news...))))
			return nil
		})
		if err != nil {
			c.m.cfg.Logger.Debug("note which nodes have replicas", "error", err)
		}
		return
	}
	for _, p := range v.peers {
		member := slices.ContainsFunc(v.decision.Members, func(name string) bool { return name == p.Name || grid.VoiceID(name) == p.Name })
		if member || v.states[p.Name] != plan.Lost || !p.Offline || v.has(p.Name) > 0 {
			continue
		}
		if err := c.m.grid.RemovePeer(ctx, p.Name); err != nil {
			c.m.cfg.Logger.Warn("a node that never had anything cannot be removed; it is tried again", "node", p.Name, "error", err)
			continue
		}
		c.m.cfg.Logger.Info("a node that is gone and never had anything has no voice any more", "node", p.Name)
		delete(c.gone, p.Name)
	}
}

// voiceless are the nodes that are there and have no voice.
func (v view) voiceless() (names []string) {
	for name := range v.connected {
		if !slices.ContainsFunc(v.peers, func(p grid.Peer) bool { return p.Name == name }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
