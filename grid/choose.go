package grid

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// strayFor is how long a node that meets only nodes of another cluster waits for one of its own before it stops.
	strayFor = 3 * time.Second
	// formAfter is how long a node that would begin a cluster waits for the terms of one that is connected and says nothing: it may be busy, and of a cluster.
	formAfter = 10 * time.Second
	// seedsFor is how long a node waits for its seeds where others, which may be of another cluster, have come to it.
	seedsFor = 5 * time.Second
	// formWait is how long it waits until the others have heard that it begins one, and strayEvery how often a node at most asks the others again who they are.
	formWait   = 2 * time.Second
	strayEvery = 5 * time.Second
	// begunFor is how long nodes that miss each other come to the same id: afterwards the cluster with it may have entries, and another one must not be begun under it.
	begunFor = 30 * time.Second
	// strayLast is how long a half that has begun with the first id waits for the other: that may be a grid, which does not come.
	strayLast = 20 * time.Second
)

// choice is the cluster that a node is of, as far as the terms of the others say.
type choice struct {
	is identity // without an id where the others know none
	// forms says that there is no cluster yet and that this node begins it; with are those that it begins it with.
	forms bool
	with  []string
	// waits is what is missing for a choice.
	waits string
}

// choose says by the terms of the others which cluster this node is of, or is to be of. Its error is that it cannot be of theirs.
func (t terms) choose(others []terms) (choice, error) {
	made, begun := map[string][]terms{}, map[string][]terms{} // by ids: with replicas or an open grid, and with nothing yet
	bare := false                                             // somebody has a voice and shows no id
	var fresh []terms
	for _, o := range others {
		switch {
		case o.Guest:
		case o.Data && o.ID != "":
			made[o.ID] = append(made[o.ID], o)
		case o.Voice && o.ID != "":
			begun[o.ID] = append(begun[o.ID], o)
		case o.Data || o.Voice:
			bare = true
		case t.differ(o) == "":
			fresh = append(fresh, o)
		}
	}
	switch {
	case t.Data && t.ID != "":
		if len(made) > 0 && made[t.ID] == nil {
			return choice{}, stray(fmt.Sprintf("the folder of node %s is of another cluster (id %s) than the nodes that it meets, which have the same name and secret: %s. "+
				"Where it is to join them, start it on an empty folder (node.data); where it is to go back to its own cluster, correct cluster.seeds",
				t.Node, shortID(t.ID), named(made)))
		}
		return choice{is: identity{ID: t.ID, Sure: t.Sure}}, nil
	case t.Data:
		return t.chooseByReplicas(others)
	case t.Guest && len(made) == 0 && len(begun) == 0 && !bare:
		return choice{waits: "waits for nodes with " + string(RoleGrid) + " in node.roles, since it has none"}, nil
	case made[t.ID] != nil:
		return choice{is: identityOf(made[t.ID])}, nil
	case len(made) > 0:
		// Nodes of another cluster may have been told of this one's address before, and try it for ever.
		bySeeds := maps.Clone(made)
		maps.DeleteFunc(bySeeds, func(_ string, nodes []terms) bool {
			return !slices.ContainsFunc(nodes, func(o terms) bool { return o.seed })
		})
		if len(bySeeds) == 0 && t.bySeeds {
			return choice{waits: "waits for a node that its cluster.seeds name, since only others have come to it"}, nil
		}
		if len(bySeeds) == 0 {
			bySeeds = made
		}
		if len(bySeeds) == 1 {
			return choice{is: identityOf(bySeeds[slices.Collect(maps.Keys(bySeeds))[0]])}, nil
		}
		return choice{}, stray(fmt.Sprintf("node %s meets two clusters of the same name and secret: %s. Have cluster.seeds name nodes of one of them", t.Node, named(bySeeds)))
	case len(begun) > 0: // where two halves have begun, they meet in the first
		return choice{is: identityOf(begun[slices.Min(slices.Collect(maps.Keys(begun)))])}, nil
	case bare, slices.ContainsFunc(fresh, func(o terms) bool { return !o.Knows }):
		return choice{}, nil
	}
	first := t.Node
	var with []string
	for _, o := range fresh {
		first, with = min(first, o.Node), append(with, o.Node)
	}
	if first != t.Node {
		return choice{waits: fmt.Sprintf("waits for node %s to begin the cluster", first)}, nil
	}
	// Halves that have begun one each, and have left it for the other's, come to the same one however often they miss each other.
	id := t.Begun
	for _, o := range fresh {
		if o.Begun != "" && (id == "" || o.Begun < id) {
			id = o.Begun
		}
	}
	if id == "" {
		id = newClusterID()
	}
	return choice{is: identity{ID: id, Sure: true}, forms: true, with: with}, nil
}

// beginning is the id of a cluster that somebody begins, or that this node has come into without entries, and when that was.
type beginning struct {
	id string
	at time.Time
}

// lately is the id, "" where that was too long ago.
func (b beginning) lately(now time.Time) string {
	if now.Sub(b.at) >= begunFor {
		return ""
	}
	return b.id
}

// begunBy is the first id of those that nodes begin a cluster with at this moment, "" for none.
func begunBy(all []terms) (id string) {
	for _, o := range all {
		if o.Forms && (id == "" || o.ID < id) {
			id = o.ID
		}
	}
	return id
}

// chooseByReplicas is choose for a node with replicas whose folder says no id: it was of a program that knew none. When its streams were made says whether they are those of the others.
func (t terms) chooseByReplicas(others []terms) (choice, error) {
	var unlike, unknown []string
	for _, o := range others {
		if !o.Data || !o.Knows || o.Guest {
			continue
		}
		switch alike, common := alike(t.Made, o.Made); {
		case alike && o.ID != "":
			return choice{is: identityOf([]terms{o})}, nil
		case alike:
			return choice{}, nil
		case common:
			unlike = append(unlike, fmt.Sprintf("%s (id %s)", o.Node, shortID(o.ID)))
		case o.ID != "":
			unknown = append(unknown, o.Node)
		}
	}
	if len(unlike) > 0 {
		slices.Sort(unlike)
		return choice{}, stray(fmt.Sprintf("the folder of node %s (without an id) is of an earlier or another cluster than that of %s, of the same name and secret: its partitions were made at other times. "+
			"Where it is to join them, start it on an empty folder (node.data); where it is to go back to its own cluster, correct cluster.seeds", t.Node, strings.Join(unlike, ", ")))
	}
	if len(unknown) > 0 {
		slices.Sort(unknown)
		return choice{waits: fmt.Sprintf("waits for a node with a partition that its folder has too, by which it sees that both are of one cluster: %s have none", strings.Join(unknown, ", "))}, nil
	}
	return choice{}, nil
}

// alike reports whether two nodes have replicas of one stream, and whether they have streams of one name.
func alike(a, b map[string]int64) (alike, common bool) {
	for stream, at := range a {
		other, ok := b[stream]
		common = common || ok
		if ok && at == other {
			return true, true
		}
	}
	return false, common
}

// newClusterID makes an id that no other cluster has: 26 random letters and digits.
func newClusterID() string { return rand.Text() }

// identityOf is that of nodes that have one id.
func identityOf(nodes []terms) identity {
	return identity{ID: nodes[0].ID, Sure: !slices.ContainsFunc(nodes, func(o terms) bool { return !o.Sure })}
}

// named says which nodes have which ids.
func named(by map[string][]terms) string {
	var out []string
	for id, nodes := range by {
		var names []string
		for _, o := range nodes {
			names = append(names, o.Node)
		}
		slices.Sort(names)
		out = append(out, fmt.Sprintf("%s (id %s)", strings.Join(names, ", "), shortID(id)))
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func stray(why string) error { return fmt.Errorf("%w: %w: %s", ErrConfig, errRefused, why) }

// strays is what an agreement knows of other clusters.
type strays struct {
	err    error // why there is no cluster for this node at the moment
	since  time.Time
	turned bool // both things have been shown that may be
}

// persists returns an error that has been there for a while.
func (s *strays) persists(err error, now time.Time) error {
	if err == nil || s.err == nil {
		s.err, s.since = err, now
	}
	if err != nil && now.Sub(s.since) >= strayFor {
		return err
	}
	return nil
}

// form tells the others that this node begins a cluster, until they have heard it.
func (g *Grid) form(ctx context.Context, own terms, c choice) error {
	own.Forms, own.Voice, own.Voices, own.ID, own.Sure = true, true, []string{VoiceID(own.Node)}, c.is.ID, c.is.Sure
	g.saying.set(own)
	ticker := time.NewTicker(joinEvery)
	defer ticker.Stop()
	for began := time.Now(); !g.saying.heardBy(c.with) && time.Since(began) < formWait; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("begin a cluster: %w", contextError(ctx))
		case <-ticker.C:
		}
	}
	return nil
}

// rejoin agrees anew with the others where this node has strayed. It is for the opening alone.
func (g *Grid) rejoin(ctx context.Context) error {
	if stray, err := g.strayed(g.agreed); !stray || err != nil {
		return err
	}
	if err := g.agreeAgain(ctx); err != nil {
		return err
	}
	g.agreed = time.Now()
	return g.resay()
}

// strayed reports whether the others are of another cluster than the one that this node took for theirs: none of them lets it in, or there was none yet, and two halves have begun one each. Of those
// the one with the first id stays, as long as the other may come to it.
func (g *Grid) strayed(since time.Time) (bool, error) {
	e := g.server
	away, met, ago := e.away.Load(), e.entrance.metOther(), time.Since(since)
	switch {
	case ago < strayEvery, !away && met == "":
		return false, nil
	case !away && met > g.begun.id && ago < strayLast: // the other one is to come
		return false, nil
	}
	if away && len(e.others()) == 0 {
		return true, nil
	}
	data, err := hasData(e.dir)
	return !data, err
}

// agreeAgain takes the voice from the server, and agrees with the others anew.
func (g *Grid) agreeAgain(ctx context.Context) error {
	e := g.server
	g.cfg.Logger.Info("this node meets nodes of another cluster, and asks all who they are")
	data, err := hasData(e.dir)
	if err != nil {
		return err
	}
	e.hadData = data
	e.ask(shown{kind: showsGuest})
	if err := e.restart(ctx); err != nil {
		return err
	}
	g.listens = time.Now().Add(strayFor) // those that it is to hear of may be the ones that look for it, about once a second
	return g.agree(ctx)
}
