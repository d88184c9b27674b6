package faults

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

// entry is what a cache has under a key when all is done.
type entry struct {
	revision uint64
	source   uint64 // of a result
}

// verdict is what the checks found of a round.
type verdict struct {
	Keys        int // whose histories were searched for an order
	Lost        int
	Duplicates  int
	Regressions int
	errs        []error
}

// maxSaid is how many findings of one kind are told in words.
const maxSaid = 5

func (v *verdict) say(count *int, format string, args ...any) {
	*count++
	if *count <= maxSaid {
		v.errs = append(v.errs, fmt.Errorf(format, args...))
	}
}

func (v *verdict) err() error { return errors.Join(v.errs...) }

// checkKept holds invariant 1 on keys that are put and never removed: each acknowledged put is there, or a newer one.
func (v *verdict) checkKept(ops []*op, entries map[string]entry) {
	for _, o := range ops {
		if o.Kind == put && o.Outcome == ok && entries[o.Key].revision < o.Revision {
			v.say(&v.Lost, "invariant 1: the cache has revision %d in place of what was acknowledged: %v", entries[o.Key].revision, o)
		}
	}
}

// checkProcessed holds invariant 4, that every put has a result, and 5, that the result is of the newest revision.
func (v *verdict) checkProcessed(inputs, results map[string]entry) {
	missing := 0
	for key, in := range inputs {
		switch made := results[key].source; {
		case made == 0:
			v.say(&missing, "invariant 4: %s, at revision %d, has no result", key, in.revision)
		case made < in.revision:
			v.say(&missing, "invariant 4: %s, at revision %d, has a result of revision %d alone", key, in.revision, made)
		case made > in.revision:
			v.say(&missing, "invariant 1: %s is at revision %d, and has a result of revision %d", key, in.revision, made)
		}
	}
	v.Lost += missing
}

// checkResults holds invariants 4 and 5 on every result that any listener saw, or that is there: one of each source's revision, and none older after a newer.
func (v *verdict) checkResults(seen []event, results map[string]entry) {
	made := map[string]map[uint64]uint64{} // by key and the result's revision, the source's
	note := func(key string, revision, source uint64) {
		if made[key] == nil {
			made[key] = map[uint64]uint64{}
		}
		made[key][revision] = source
	}
	for _, e := range seen {
		if e.Bad != "" {
			v.errs = append(v.errs, fmt.Errorf("the result of %s at revision %d: %s", e.Key, e.Revision, e.Bad))
			continue
		}
		note(e.Key, e.Revision, e.Source)
	}
	for key, e := range results {
		note(key, e.revision, e.source)
	}
	for key, of := range made {
		for revision, source := range of {
			for later, other := range of {
				if later <= revision {
					continue
				}
				if other == source {
					v.say(&v.Duplicates, "invariant 4: %s has two results of revision %d, at revisions %d and %d", key, source, revision, later)
				}
				if other < source {
					v.say(&v.Regressions, "invariant 5: %s has a result of revision %d at revision %d, and then one of %d at %d", key, source, revision, other, later)
				}
			}
		}
	}
}

// checkOrder holds invariant 6 on what one listener saw: of a key no event comes after one of a later revision, and the same comes again only over another connection.
func (v *verdict) checkOrder(name string, events []event) {
	last := map[string]event{}
	wrong := 0
	for _, e := range events {
		if e.Revision == 0 { // a removal
			continue
		}
		before, found := last[e.Key]
		if found && (e.Revision < before.Revision || e.Revision == before.Revision && e.Connection == before.Connection) {
			v.say(&wrong, "invariant 6: the %s saw %s of %s at revision %d after %s at %d", name, e.Type, e.Key, e.Revision, before.Type, before.Revision)
		}
		last[e.Key] = e
	}
	v.Regressions += wrong
}

// checkNewest returns where a listener has not come to the newest state of a key yet.
func checkNewest(newest func(key string) (event, bool), keys []string, entries map[string]entry) error {
	for _, key := range keys {
		e, found := newest(key)
		is, there := entries[key]
		gone := !found || e.Type == "removed" || e.Type == "expired"
		if there == gone || there && e.Revision != is.revision {
			return fmt.Errorf("invariant 6: its newest event of %s is %+v, the cache has %+v", key, e, is)
		}
	}
	return nil
}

// gaps are the longest times in which a partition had no write acknowledged, and no read answered.
func gaps(ops []*op, from, to time.Duration) (write, read time.Duration) {
	var last [2][partitions]time.Duration
	longest := [2]time.Duration{}
	for i := range last {
		for p := range last[i] {
			last[i][p] = from
		}
	}
	note := func(i, p int, at time.Duration) {
		longest[i] = max(longest[i], at-last[i][p])
		last[i][p] = at
	}
	for _, o := range ops { // in the order of their ends
		if o.Cache != "registers" || !strings.Contains(o.Key, "-probe-") || !o.answered() {
			continue
		}
		i := 0
		if !o.writes() {
			i = 1
		}
		note(i, grid.Partition(o.Key, partitions), o.End)
	}
	for p := range partitions {
		note(0, p, to)
		note(1, p, to)
	}
	return longest[0], longest[1]
}

// failClearly holds that writes at a node that has lost the majority fail with the reason, and none is acknowledged.
func failClearly(ops []*op, node int, from, to time.Duration) error {
	var err error
	clear := 0
	for _, o := range ops {
		switch {
		case !o.writes() || o.Node != node || o.End < from+time.Second || o.End > to: // what was acknowledged before may come a moment later
		case o.Outcome == ok:
			err = errors.Join(err, fmt.Errorf("acknowledged without a majority: %v", o))
		case o.Outcome == failed && o.Status/100 == 5 && strings.Contains(o.Error, `"code"`):
			clear++
		case strings.Contains(o.Key, "-probe-"): // which does not wait for the reason
		default:
			err = errors.Join(err, fmt.Errorf("without a majority, a write does not say so: %v: status %d: %s", o, o.Status, o.Error))
		}
	}
	if clear == 0 {
		err = errors.Join(err, errors.New("without a majority, no write failed with a reason in time"))
	}
	return err
}
