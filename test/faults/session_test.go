package faults

import (
	"testing"
	"time"
)

// checkSessions holds what a get with `consistency: session` promises: it sees every write through its node that was acknowledged before it began, or
// something newer. A session is as long as a node's process runs.
func (v *verdict) checkSessions(ops []*op) {
	byKey := map[string][]*op{}
	for _, o := range ops {
		byKey[o.Key] = append(byKey[o.Key], o)
	}
	wrong := 0
	for _, of := range byKey {
		for _, o := range of {
			if o.Kind != get || !o.answered() || o.Life == 0 {
				continue
			}
			if unseen := missed(of, o); unseen != nil {
				v.say(&wrong, "consistency session: %v does not see %v", o, unseen)
			}
		}
	}
	v.Regressions += wrong
}

// missed returns a write of the same session that a get should have seen, and did not; nil where there is none.
func missed(ops []*op, g *op) *op {
	for _, w := range ops {
		own := w.writes() && w.Outcome == ok && w.Node == g.Node && w.Life == g.Life && w.End <= g.Start
		switch {
		case !own:
		case w.Kind == remove:
			// What was there before has a revision that somebody was told before the removal began.
			for _, before := range ops {
				if g.Outcome == ok && before.Outcome == ok && before.Revision >= g.Revision && before.End <= w.Start {
					return w
				}
			}
		case g.Outcome == ok && g.Revision < w.Revision, g.Outcome == absent && !removedSince(ops, w, g):
			return w
		}
	}
	return nil
}

// removedSince reports whether anybody may have removed what was written, before a get ended.
func removedSince(ops []*op, w, g *op) bool {
	for _, o := range ops {
		inDoubt := o.Outcome == failed || o.Outcome == unknown
		if o.Kind == remove && o.Start < g.End && (inDoubt || o.Outcome == ok && o.End > w.Start) {
			return true
		}
	}
	return false
}

// TestSessions: a get that does not see what its node was told before is found, and none where it is explained.
func TestSessions(t *testing.T) {
	second := time.Second
	w := op{Kind: put, Key: "k", Life: 1, Start: 1 * second, End: 2 * second, Outcome: ok, Revision: 5}
	g := op{Kind: get, Key: "k", Life: 1, Start: 3 * second, End: 4 * second, Outcome: ok, Revision: 5}
	removal := op{Kind: remove, Key: "k", Life: 1, Start: 2 * second, End: 3 * second, Outcome: ok}
	with := func(o op, change func(*op)) *op {
		change(&o)
		return &o
	}
	is := func(o op) *op { return &o }
	old := with(g, func(o *op) { o.Revision = 4 })
	absence := with(g, func(o *op) { o.Outcome, o.Revision = absent, 0 })
	for name, c := range map[string]struct {
		ops   []*op
		found int
	}{
		"it is seen":                          {[]*op{is(w), is(g)}, 0},
		"a newer one is seen":                 {[]*op{is(w), with(g, func(o *op) { o.Revision = 6 })}, 0},
		"an older one is seen":                {[]*op{is(w), old}, 1},
		"twice":                               {[]*op{is(w), old, old}, 2},
		"an older one through another node":   {[]*op{is(w), with(*old, func(o *op) { o.Node = 1 })}, 0},
		"an older one of another process":     {[]*op{is(w), with(*old, func(o *op) { o.Life = 2 })}, 0},
		"an older one before it was answered": {[]*op{is(w), with(*old, func(o *op) { o.Start = 1 * second })}, 0},
		"an older one where it failed":        {[]*op{with(w, func(o *op) { o.Outcome = failed }), old}, 0},
		"nothing is seen":                     {[]*op{is(w), absence}, 1},
		"nothing is seen that was removed":    {[]*op{is(w), is(removal), absence}, 0},
		"what may have been removed before":   {[]*op{is(w), with(removal, func(o *op) { o.Start, o.End, o.Outcome = 0, second/2, unknown }), absence}, 0},
		"removed before it was written":       {[]*op{is(w), with(removal, func(o *op) { o.Start, o.End = 0, second/2 }), absence}, 1},
		"removed after it was not seen":       {[]*op{is(w), with(removal, func(o *op) { o.Start, o.End = 5*second, 6*second }), absence}, 1},
		"a removal of what was not there":     {[]*op{is(w), with(removal, func(o *op) { o.Outcome = absent }), absence}, 1},
		"what was removed is seen":            {[]*op{is(w), is(removal), is(g)}, 1},
		"what was removed by others is seen":  {[]*op{is(w), with(removal, func(o *op) { o.Node = 1 }), is(g)}, 0},
		"written again after the removal":     {[]*op{is(w), is(removal), with(g, func(o *op) { o.Revision = 9 })}, 0},
	} {
		v := &verdict{}
		v.checkSessions(c.ops)
		if v.Regressions != c.found || len(v.errs) != c.found {
			t.Errorf("%s: %d found, want %d: %v", name, v.Regressions, c.found, v.err())
		}
	}
}
