package grid

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A server that has JetStream on has a voice in the cluster from the moment in which it hears of its leader, and keeps it when it is gone: a node that the others would not have must
// have no such server. So one whose folder has no replicas is connected without JetStream first, as nodes without RoleGrid are, and asks. What the grid is decides. Where there is none yet,
// or nobody who leads it, the nodes tell each other their terms.

const (
	// agreeEvery is how often a node asks the others for their terms, and termsWait how long it waits for those of one that is connected: a program that is older says nothing.
	agreeEvery = 200 * time.Millisecond
	termsWait  = time.Second
)

// terms are what a node says of itself to one that asks whether they agree.
type terms struct {
	Node string `json:"node"`
	// Server is the id of its server, by which it is told from a node of the same name in another cluster; "" for a program that does not say it.
	Server     string `json:"server,omitempty"`
	Format     int    `json:"format"`
	Partitions int    `json:"partitions"` // 0 for any
	Replicas   int    `json:"replicas"`
	// Voice says that it has a voice, and Data that it has replicas, from before its start or of the grid that it has opened: there is a grid, which knows more than these terms.
	Voice bool `json:"voice"`
	Data  bool `json:"data"`
	// Voices are the nodes with a voice in its cluster, as its server knows them, by VoiceID. There are none while the server is started.
	Voices []string `json:"voices,omitempty"`
	// Lacks says what keeps the cluster from having a leader, as it sees that.
	Lacks string `json:"lacks,omitempty"`
	// Knows says that the program knows ids of clusters. ID is that of the cluster that the node is of, as far as it knows; Sure says that no node of it is without.
	Knows bool   `json:"knows"`
	ID    string `json:"id,omitempty"`
	Sure  bool   `json:"sure,omitempty"`
	// Forms says that the node begins the cluster with ID at this moment. Begun is the id of a cluster that somebody began so a moment ago, or that the node has come into without entries.
	Forms bool   `json:"forms,omitempty"`
	Begun string `json:"begun,omitempty"`
	// Made are the moments in which the streams were made that the node has replicas of.
	Made map[string]int64 `json:"made,omitempty"`
	// Guest says that it keeps nothing of the grid and never will: nothing depends on its terms.
	Guest bool `json:"guest,omitempty"`
	// seed says that the asking node reached it by its own seeds.
	seed bool
	// bySeeds has a node take no cluster whose nodes have come to it, and none that its seeds name.
	bySeeds bool
}

// saying is what a node tells those that ask for its terms.
type saying struct {
	mu    sync.Mutex
	terms terms
	heard map[string]bool // by which nodes, since the terms changed last
}

func (s *saying) set(t terms) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.terms, s.heard = t, map[string]bool{}
}

// tell returns the terms, to a node that says its own. Who is to know that a cluster begins has heard it when it says the id itself: an answer may be lost.
func (s *saying) tell(asker terms) terms {
	s.mu.Lock()
	defer s.mu.Unlock()
	if asker.Node != "" && (!s.terms.Forms || asker.Begun == s.terms.ID) {
		s.heard[asker.Node] = true
	}
	return s.terms
}

// heardBy reports whether all of these have heard the terms since they changed.
func (s *saying) heardBy(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(names, func(name string) bool { return !s.heard[name] })
}

// differ says in what two nodes do not agree, "" for nothing.
func (t terms) differ(o terms) string {
	switch {
	case t.Format != o.Format:
		return fmt.Sprintf("node %s has version %d of the grid's format, and this program makes version %d; the nodes of a cluster must all have the same", o.Node, o.Format, t.Format)
	case t.Partitions != o.Partitions && t.Partitions != 0 && o.Partitions != 0:
		return fmt.Sprintf("node %s has %d partitions, and grid.partitions is %d here; it must be the same on all nodes", o.Node, o.Partitions, t.Partitions)
	case t.Replicas != o.Replicas:
		return fmt.Sprintf("node %s has %d replicas, and cluster.replicas is %d here; it must be the same on all nodes", o.Node, o.Replicas, t.Replicas)
	}
	return ""
}

// judge says by the terms of the others whether a node that has no replicas may have a voice; else what it waits for, or why it must not. Of nodes that all have no voice yet
// those go on that are more; where they are as many, those of whom one has the first name. One that had a voice and has forgotten it is not new: see emptied.go.
func (t terms) judge(others []terms) (ok bool, waits string, err error) {
	var with, against []string
	var data, lacks, why string
	voice := false // it has one in the cluster of somebody who has replicas
	voices, there := map[string]bool{}, map[string]bool{VoiceID(t.Node): true}
	for _, o := range others {
		there[VoiceID(o.Node)] = true
		for _, v := range o.Voices {
			voices[v] = voices[v] || !o.Guest
		}
		switch d := t.differ(o); {
		case o.Guest:
		case d != "" && o.Voice:
			return false, "", fmt.Errorf("%w: %w: %s", ErrConfig, errRefused, d)
		case d != "":
			against, why = append(against, o.Node), d
		case o.Data:
			data, lacks, voice = o.Node, cmp.Or(o.Lacks, lacks), voice || t.voiceIn(o.ID)
		case o.Voice && o.Knows && len(o.Voices) == 0: // it says soon who has one
		case o.Voice:
			ok = true
		default:
			with = append(with, o.Node)
		}
	}
	emptied := voices[VoiceID(t.Node)] && !t.Voice
	if ok && emptied && !voice {
		away := 0
		for v, is := range voices {
			if is && !there[v] {
				away++
			}
		}
		if data == "" && away > 0 { // who is away may have replicas
			return false, fmt.Sprintf("waits until all nodes with a voice are there, of which %d are away: it had one too, and its folder is empty", away), nil
		}
		ok = data == ""
	}
	if ok || voice { // this node may be the one that the others wait for
		return true, "", nil
	}
	if data != "" {
		waits = fmt.Sprintf("waits until most of the nodes are there and the grid is opened, by which it sees that it agrees with it: %s has replicas of it", data)
		if emptied {
			waits += "; it had a voice, and its folder is empty"
		}
		if lacks != "" {
			waits += "; " + lacks
		}
		return false, waits, nil
	}
	if n := len(with) + 1; n < len(against) || n == len(against) && slices.Min(against) < min(t.Node, slices.Min(append(with, t.Node))) {
		return false, "", fmt.Errorf("%w: %w: %s", ErrConfig, errRefused, why)
	}
	if len(with) > 0 {
		return true, "", nil
	}
	if why != "" {
		return false, "waits for other nodes that agree with it: " + why, nil
	}
	return false, "", nil
}

// voiceIn reports whether a node has a voice in the cluster with an id. One that has begun another cluster, with others whose folders were empty too, has its voice in that one alone: what it once had
// acknowledged in this one it does not know any more.
func (t terms) voiceIn(id string) bool { return t.Voice && (t.ID == "" || id == "" || t.ID == id) }

// terms are this node's.
func (g *Grid) terms() (terms, error) {
	c := g.cfg.Cluster
	is := g.server.lock.is
	t := terms{
		Node: c.Node, Format: formatVersion, Partitions: g.cfg.Partitions, Replicas: c.Replicas, Voice: !g.server.voiceless, Data: g.server.hadData,
		Knows: true, ID: is.ID, Sure: is.Sure, Guest: g.guest(), Begun: g.begun.lately(time.Now()),
	}
	if t.Partitions == 0 && !t.Data && !c.Grow {
		t.Partitions = defaultPartitions // what it would make
	}
	if t.Voice {
		return t, nil
	}
	var err error
	if t.Voice, err = hasVoice(g.cfg.Dir); err == nil {
		t.Made, err = g.server.made()
	}
	return t, err
}

func (g *Grid) termsSubject() string { return fmt.Sprintf("millrace.%s.terms", g.cfg.Name) }

// answerTerms tells nodes that ask what the terms of this one are, for as long as the connection is there.
func (g *Grid) answerTerms(nc *nats.Conn) error {
	if err := g.resay(); err != nil {
		return err
	}
	if _, err := nc.Subscribe(g.termsSubject(), func(m *nats.Msg) {
		id, _ := g.server.entrance.knows()
		asker := g.emptied.hear(m.Data, id, time.Now())
		now := g.saying.tell(asker)
		if now.Guest && !asker.Knows {
			return // it would take the answer for that of a node with RoleGrid
		}
		now.Lacks, now.Server = g.NoLeader(), g.server.id()
		if now.Voice && now.Voices == nil {
			now.Voices = g.voices()
		}
		if now.Voice && !g.unopened.Load() {
			now.Data = true
			now.ID, now.Sure = g.server.entrance.knows() // it may have learned it since
		}
		var data []byte
		made, err := g.server.made()
		if err == nil {
			now.Made = made
			data, err = json.Marshal(now)
		}
		if err == nil {
			err = m.Respond(data)
		}
		if err != nil {
			g.cfg.Logger.Debug("tell another node this one's terms", "error", err)
		}
	}); err != nil {
		return fmt.Errorf("tell other nodes this one's terms: %w", connError(err))
	}
	return nil
}

// voices are the nodes that have a voice, as this node's server knows them, by VoiceID; none while it does not know.
func (g *Grid) voices() []string {
	srv := g.server.running()
	if srv == nil {
		return nil
	}
	info, err := srv.Jsz(nil)
	if err != nil || info.Meta == nil {
		return nil // it is being started or stopped
	}
	out := []string{VoiceID(g.cfg.Cluster.Node)}
	for _, r := range info.Meta.Replicas {
		out = append(out, r.Peer)
	}
	return out
}

// resay tells the terms as they are after another agreement.
func (g *Grid) resay() error {
	t, err := g.terms()
	if err != nil {
		return err
	}
	t.Voice = !g.server.voiceless && !t.Guest // until its server has it, what it had does not bind the others
	g.saying.set(t)
	return nil
}

// agree gives the server a voice as soon as the others would have this node, and the id of their cluster. It returns at once where the folder has replicas and the id: others count on
// them.
func (g *Grid) agree(ctx context.Context) error {
	if !g.server.voiceless {
		return nil
	}
	is, err := g.awaitAgreement(ctx)
	if err != nil {
		return err
	}
	as := shown{kind: showsBare}
	if is.ID != "" {
		as = shown{kind: showsID, id: is.ID}
		if err := g.server.adopt(is); err != nil {
			return err
		}
		if !g.server.hadData {
			g.begun = beginning{is.ID, time.Now()}
		}
		g.cfg.Logger.Info("this node is of a cluster", "cluster", g.cfg.Cluster.Name, "id", shortID(is.ID))
	}
	g.server.show(as, is)
	return g.server.restart(ctx)
}

func (g *Grid) awaitAgreement(ctx context.Context) (is identity, err error) {
	nc, err := g.connect("terms")
	if err != nil {
		return is, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return is, fmt.Errorf("use JetStream: %w", err)
	}
	own, err := g.terms()
	if err != nil {
		return is, err
	}
	heard := &heardTerms{of: map[string]terms{}, seen: map[string]time.Time{}}
	inbox := nc.NewInbox()
	if _, err := nc.Subscribe(inbox, heard.hear); err != nil {
		return is, fmt.Errorf("ask the other nodes for their terms: %w", connError(err))
	}
	if err := g.answerTerms(nc); err != nil {
		return is, err
	}
	ticker := time.NewTicker(joinEvery)
	defer ticker.Stop()
	var looked, asked time.Time
	var stray strays
	described := false // the grid's description said that this node can have it, when that was asked last
	began := time.Now()
	for {
		now := time.Now()
		if now.Sub(looked) >= lookEvery {
			looked = now
			if err := g.cfg.Cluster.look(ctx, g.server.id()); err != nil {
				return is, err
			}
		}
		if err := g.refusedBy(); err != nil {
			if !g.server.away.Load() || stray.turned {
				return is, err
			}
			stray.turned = true
			if err := g.server.askOtherwise(ctx); err != nil {
				return is, err
			}
		}
		connected := g.server.neighbours()
		others := namesOf(connected)
		reason := g.aloneYet(others)
		ask := reason == "" && now.Sub(asked) >= agreeEvery
		if ask {
			asked = now
			if err := g.askTerms(nc, inbox, own); err != nil {
				return is, err
			}
		}
		if all, complete, silent := heard.all(connected, now); reason == "" && complete {
			g.server.markSeeds(all)
			own.bySeeds = now.Sub(began) < seedsFor
			if id := begunBy(all); id != "" && id != own.Begun {
				g.begun = beginning{id, now}
			}
			if begun := g.begun.lately(now); begun != own.Begun { // who begins it waits until this node says so, and is away for a moment then
				own.Begun = begun
				if err := errors.Join(g.resay(), g.askTerms(nc, inbox, own)); err != nil {
					return is, err
				}
				if err := nc.FlushTimeout(termsWait); err != nil { // it is said again as long as this node asks
					g.cfg.Logger.Debug("tell the other nodes which cluster begins", "error", err)
				}
			}
			c, err := own.choose(all)
			if err = stray.persists(err, now); err != nil {
				return is, err
			}
			ok := false
			if ask && stray.err == nil && !own.Guest {
				if ok, err = g.agreesWithGrid(ctx, js); err != nil {
					return is, err
				}
				described = ok
				ok = ok && (own.Data || g.ledWithout(ctx))
			}
			waits := c.waits
			if !ok && stray.err == nil && !own.Guest {
				if ok, waits, err = own.judge(all); err != nil {
					return is, err
				}
				if !described {
					waits = g.descriptionAway(waits, all, now.Sub(began))
				}
				waits = cmp.Or(waits, c.waits)
			}
			switch {
			case stray.err != nil, now.Before(g.listens), c.waits != "" && (ok || own.Guest), ok && c.forms && now.Sub(silent) < formAfter:
			case own.Guest && !c.forms, ok && !c.forms:
				return c.is, nil
			case ok && c.forms:
				return c.is, g.form(ctx, own, c)
			}
			reason = cmp.Or(g.emptied.waits(waits), "waits for other nodes with "+string(RoleGrid)+" in node.roles: "+g.whereAll(others))
		}
		if reason != "" {
			g.waitsFor(reason)
		}
		select {
		case <-ctx.Done():
			return is, fmt.Errorf("%s: %w", cmp.Or(reason, "asks the other nodes whether it agrees with them"), contextError(ctx))
		case <-ticker.C:
		}
	}
}

// askTerms asks the other nodes for their terms, and tells them this one's.
func (g *Grid) askTerms(nc *nats.Conn, inbox string, own terms) error {
	own.Made = nil // nobody judges by what an asking node has
	told, err := json.Marshal(own)
	if err == nil {
		err = connError(nc.PublishRequest(g.termsSubject(), inbox, told))
	}
	if err != nil {
		return fmt.Errorf("ask the other nodes for their terms: %w", err)
	}
	return nil
}
