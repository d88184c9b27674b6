package cluster

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/cluster/plan"
	"github.com/millrace/millrace/grid"
)

// settleFor is how long a new controller looks before it does anything: nodes tell others twice a second that they are there, and leaders are being elected.
const settleFor = 3 * time.Second

// lookFor is how long one look may take: what is asked for may have no leader, and then the nodes are to hear of that.
const lookFor = 8 * time.Second

// unevenFor is how long leaders stay uneven before the controller evens them: nodes do that among themselves where they can.
const unevenFor = 2 * time.Second

// controller is what decides, on the node that leads the cluster. All that it does is begun by step.
type controller struct {
	m     *Manager
	since time.Time // when this node began to be the controller, zero where it is not
	// gone is when each node that has a voice or a replica was missed first. All managers keep it, so that grace goes on with another controller.
	gone map[string]time.Time
	// moving are the moves under way, by stream; those that it did not begin itself too.
	moving map[string]Move
	// known are the nodes that had each stream when it had a leader last.
	known map[string][]grid.Replica
	// uneven is when the leaders were seen to be uneven first.
	uneven time.Time
	done   int
}

// view is the cluster at one moment.
type view struct {
	decision  decision
	groups    []grid.Group
	peers     []grid.Peer
	connected map[string]bool
	states    map[string]plan.State
	voices    []string
}

// step looks once, and does what is to be done next. It reports whether more is to be done soon.
func (c *controller) step(ctx context.Context) (busy bool) {
	now := time.Now()
	c.miss(now)
	peers, ok := c.m.grid.Peers()
	if !ok {
		c.since, c.done = time.Time{}, 0
		clear(c.moving)
		return false
	}
	if c.since.IsZero() {
		c.since = now
	}
	v, err := c.look(ctx, peers, now)
	var r Rebalancing
	switch {
	case err != nil:
		r = Rebalancing{State: Waiting, Reason: err.Error()}
	case now.Sub(c.since) < settleFor:
		c.follow(v, now)
		r, busy = Rebalancing{State: Waiting, Reason: "the controller is new and looks around"}, true
	default:
		r, busy = c.act(ctx, v, now)
	}
	if ctx.Err() != nil {
		return false
	}
	r.Controller, r.Paused = c.m.cfg.Node, v.decision.Paused
	r.Current = []Move{}
	for _, stream := range slices.Sorted(maps.Keys(c.moving)) {
		r.Current = append(r.Current, c.moving[stream])
	}
	out := report{Rebalancing: r, Draining: v.decision.Draining, Removing: v.decision.Removing, Voices: v.voices, Health: healthOf(v.groups, v.connected)}
	if err == nil {
		for _, name := range v.decision.Draining {
			if v.has(name) == 0 {
				out.Drained = append(out.Drained, name)
			}
		}
	}
	c.m.tell(aboutReport, out)
	return busy
}

// miss notes which of the nodes that were there are gone, and since when.
func (c *controller) miss(now time.Time) {
	connected := c.m.connected()
	for name := range connected {
		c.gone[name] = time.Time{}
	}
	for name, since := range c.gone {
		if !connected[name] && since.IsZero() {
			c.gone[name] = now
		}
	}
}

// look collects what is to be known.
func (c *controller) look(ctx context.Context, peers []grid.Peer, now time.Time) (v view, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	v.peers, v.connected, v.states = peers, c.m.connected(), map[string]plan.State{}
	value, _, err := c.m.grid.Decision(ctx, aboutBalance)
	if err != nil {
		return v, err
	}
	if v.decision, err = readDecision(value); err != nil {
		return v, err
	}
	if v.groups, err = c.m.grid.Groups(ctx); err != nil {
		return v, err
	}
	for i := range v.groups {
		switch g := &v.groups[i]; {
		case g.Leader != "":
			c.known[g.Stream] = g.Replicas
		case c.known[g.Stream] == nil:
			return v, fmt.Errorf("%w: %s has no leader, who would know its replicas", grid.ErrUnavailable, g.Stream)
		default:
			for _, r := range c.known[g.Stream] {
				g.Replicas = append(g.Replicas, grid.Replica{Node: r.Node, Offline: true})
			}
		}
	}
	voice := map[string]bool{}
	for _, p := range peers {
		v.voices = append(v.voices, p.Name)
		voice[p.Name] = !p.Offline
		v.states[p.Name] = plan.Away
	}
	for _, g := range v.groups {
		for _, r := range g.Replicas {
			v.states[r.Node] = plan.Away
		}
	}
	for name := range v.states {
		if _, ok := c.gone[name]; !ok && !v.connected[name] {
			c.gone[name] = now
		}
		switch {
		case v.connected[name] && !voice[name]:
		case v.connected[name] && slices.Contains(v.decision.Draining, name):
			v.states[name] = plan.Draining
		case v.connected[name]:
			v.states[name] = plan.Ready
		case slices.Contains(v.decision.Removing, name), now.Sub(c.gone[name]) >= c.m.cfg.Grace:
			v.states[name] = plan.Lost
		}
	}
	return v, nil
}

// has is how many replicas a node has, or is to have.
func (v view) has(node string) (n int) {
	for _, g := range v.groups {
		if slices.Contains(g.Wanted, node) || slices.ContainsFunc(g.Replicas, func(r grid.Replica) bool { return r.Node == node }) {
			n++
		}
	}
	return n
}

// plan returns what the plans work with. A group that moves is taken to be where it moves to.
func (v view) plan() (nodes []plan.Node, groups []plan.Group) {
	for name, state := range v.states {
		nodes = append(nodes, plan.Node{Name: name, State: state})
	}
	durable := map[int]string{}
	for _, g := range v.groups {
		if g.Class == grid.Durable {
			durable[g.Number] = g.Stream
		}
	}
	for _, g := range v.groups {
		out := plan.Group{ID: g.Stream, Leader: g.Leader, Apart: g.Class == ""}
		if g.Class == grid.Volatile {
			out.With = durable[g.Number]
		}
		for _, r := range g.Replicas {
			out.Replicas = append(out.Replicas, r.Node)
			if able(r) {
				out.Able = append(out.Able, r.Node)
			}
		}
		if len(g.Wanted) > 0 {
			out.Replicas = g.Wanted
		}
		groups = append(groups, out)
	}
	return nodes, groups
}

func able(r grid.Replica) bool { return r.Current && !r.Offline }

// act does what is to be done next.
func (c *controller) act(ctx context.Context, v view, now time.Time) (r Rebalancing, busy bool) {
	c.follow(v, now)
	c.removeNodes(ctx, v)
	c.removeStrangers(ctx, v)
	nodes, groups := v.plan()
	moves, stuck := plan.Moves(nodes, groups)
	leading, pending := c.leave(ctx, v)
	var waits string
	if !v.decision.Paused {
		waits = c.begin(ctx, v, moves, now)
	}
	if !leading && len(c.moving) == 0 {
		if leads := plan.Leaders(nodes, groups); len(leads) == 0 {
			c.uneven = time.Time{}
		} else {
			pending = true
			if c.uneven.IsZero() {
				c.uneven = now
			}
			if now.Sub(c.uneven) >= unevenFor {
				c.lead(ctx, leads[0].Group, leads[0].To)
			}
		}
	}
	left := 0
	for _, m := range moves {
		if _, ok := c.moving[m.Group]; !ok {
			left++
		}
	}
	r = Rebalancing{State: Evenly, Done: c.done, Total: c.done + len(c.moving) + left, Reason: waits}
	switch {
	case len(c.moving) > 0:
		r.State = Moving
	case v.decision.Paused:
		r.State = Paused
	case left > 0 && waits == "":
		r.State = Moving
	case left > 0:
		r.State = Waiting
	case len(stuck) > 0:
		r.State, r.Reason = Waiting, fmt.Sprintf("%d replicas have to leave %s, and there is no other node for them", len(stuck), names(stuck))
	default:
		c.done = 0
		if lack := v.voiceless(); len(lack) > 0 {
			r.State, r.Reason = Waiting, fmt.Sprintf("%s came back after having been removed, or joined just now: the cluster gives it a voice within some seconds, and then its share", strings.Join(lack, ", "))
			pending = true
		}
	}
	return r, pending || leading || r.State == Moving
}

func names(stuck []plan.Stuck) string {
	var out []string
	for _, s := range stuck {
		if !slices.Contains(out, s.From) {
			out = append(out, s.From)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// follow learns which moves are under way, and which have ended.
func (c *controller) follow(v view, now time.Time) {
	under := map[string]bool{}
	for _, g := range v.groups {
		m, known := c.moving[g.Stream]
		if g.Leader == "" && known {
			under[g.Stream] = true // nobody says what becomes of it
			continue
		}
		if len(g.Wanted) == 0 {
			continue
		}
		under[g.Stream] = true
		if !known {
			m = Move{Class: string(g.Class), Partition: g.Number, Since: now}
		}
		if from, to := direction(g); from != "" || to != "" {
			m.From, m.To = cmp.Or(from, m.From), cmp.Or(to, m.To)
		}
		m.Doing, m.Lag = g.Doing, 0
		for _, r := range g.Replicas {
			if r.Node == m.To {
				m.Lag = r.Lag
			}
		}
		c.moving[g.Stream] = m
	}
	for stream, m := range c.moving {
		if under[stream] {
			continue
		}
		g := v.group(stream)
		arrived := g != nil && !slices.ContainsFunc(g.Replicas, func(r grid.Replica) bool { return r.Node == m.From })
		if !arrived && now.Sub(m.Since) < time.Second {
			continue // the leader may not know yet
		}
		delete(c.moving, stream)
		c.m.cfg.Logger.Info("a replica was moved", "stream", stream, "from", m.From, "to", m.To, "why", m.Why, "arrived", arrived, "took", now.Sub(m.Since).Round(time.Millisecond))
		if arrived {
			c.done++
		}
	}
}

// direction is where a group that moves has a replica that it is to lose, and one that it is to have.
func direction(g grid.Group) (from, to string) {
	for _, r := range g.Replicas {
		switch wanted := slices.Contains(g.Wanted, r.Node); {
		case !wanted:
			from = r.Node
		case !r.Current:
			to = r.Node
		}
	}
	for _, name := range g.Wanted {
		if !slices.ContainsFunc(g.Replicas, func(r grid.Replica) bool { return r.Node == name }) {
			to = name
		}
	}
	return from, to
}

// begin begins moves for as long as there may be more at a time. It returns why some that are to be made are not.
func (c *controller) begin(ctx context.Context, v view, moves []plan.Move, now time.Time) (waits string) {
	for _, move := range moves {
		if len(c.moving) >= c.m.cfg.Moves {
			return ""
		}
		g := v.group(move.Group)
		if _, ok := c.moving[move.Group]; ok || g == nil {
			continue
		}
		if why := v.unfit(*g, move); why != "" {
			waits = why
			continue
		}
		if g.Leader == move.From && len(g.Replicas) > 1 { // a replica that has no other leads until the new one has everything
			to := v.successor(*g, move.From)
			if to == "" {
				waits = fmt.Sprintf("%s leads %s, and no other node could now", move.From, g.Stream)
				continue
			}
			c.lead(ctx, g.Stream, to)
			return "" // the next look finds another leader
		}
		var err error
		if move.Why == plan.Rebuild {
			err = c.m.grid.RebuildReplica(ctx, g.Stream, move.From)
			move.To = "" // the cluster chooses
		} else {
			err = c.m.grid.MoveReplica(ctx, g.Stream, move.From, move.To)
		}
		if err != nil {
			c.m.cfg.Logger.Warn("a replica cannot be moved; it is tried again", "stream", g.Stream, "from", move.From, "to", move.To, "error", err)
			return err.Error()
		}
		c.m.cfg.Logger.Info("a replica is moved", "stream", g.Stream, "from", move.From, "to", move.To, "why", why(move.Why))
		c.moving[g.Stream] = Move{Class: string(g.Class), Partition: g.Number, From: move.From, To: move.To, Since: now, Why: why(move.Why)}
	}
	return waits
}

func why(w plan.Why) string {
	return [...]string{plan.Rebuild: "rebuild", plan.Drain: "drain", plan.Even: "even", plan.Together: "together"}[w]
}

func (v view) group(stream string) *grid.Group {
	for i := range v.groups {
		if v.groups[i].Stream == stream {
			return &v.groups[i]
		}
	}
	return nil
}

// unfit says why a group's replica is not to be moved now: one that moves has a replica more for a while, and with it needs more for a majority; so all
// that it has must be there.
func (v view) unfit(g grid.Group, move plan.Move) string {
	if g.Leader == "" {
		return g.Stream + " has no leader"
	}
	if len(g.Wanted) > 0 {
		return g.Stream + " is being moved"
	}
	for _, r := range g.Replicas {
		if !able(r) && (move.Why != plan.Rebuild || v.states[r.Node] != plan.Lost) {
			return fmt.Sprintf("%s's replica on %s is not up to date", g.Stream, r.Node)
		}
	}
	return ""
}

// successor is who is to lead a group that does not move in place of a node: of those that could, the ready one that leads the fewest; "" for none.
func (v view) successor(g grid.Group, from string) (to string) {
	leads := map[string]int{}
	for _, other := range v.groups {
		leads[other.Leader]++
	}
	for _, r := range g.Replicas {
		if r.Node != from && able(r) && v.states[r.Node] == plan.Ready && (to == "" || leads[r.Node] < leads[to]) {
			to = r.Node
		}
	}
	return to
}

func (c *controller) lead(ctx context.Context, stream, to string) {
	if err := c.m.grid.LeadStream(ctx, stream, to); err != nil {
		c.m.cfg.Logger.Debug("another node is to lead", "stream", stream, "to", to, "error", err)
	}
}

// leave has nodes that drain lead nothing: first one group, which leading reports, and last the cluster. pending says that something is left.
func (c *controller) leave(ctx context.Context, v view) (leading, pending bool) {
	for _, g := range v.groups {
		if g.Leader == "" || v.states[g.Leader] != plan.Draining {
			continue
		}
		pending = true
		if g.Wanted != nil {
			continue // its new replica seems able before it has everything; when it has, the servers have it lead
		}
		if to := v.successor(g, g.Leader); to != "" {
			c.lead(ctx, g.Stream, to)
			return true, true
		}
	}
	if v.states[c.m.cfg.Node] != plan.Draining {
		return false, pending
	}
	for _, p := range v.peers {
		if v.states[p.Name] == plan.Ready {
			if err := c.m.grid.LeadCluster(ctx, p.Name); err != nil {
				c.m.cfg.Logger.Debug("another node is to lead the cluster", "to", p.Name, "error", err)
			}
			return false, true
		}
	}
	return false, pending
}
