package app

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
)

// takeoverFor is how long a partition in which something waits may be without a reader before that is a reason not to be ready. One that changes its owner is read
// again within a second or so, and who balances load over the nodes is not to take them all out for that.
const takeoverFor = 5 * time.Second

// unread knows since when partitions have waited for a reader, by pipeline. Its methods may be called concurrently.
type unread struct {
	mu    sync.Mutex
	since map[string][]waiting
}

// waiting is one of a pipeline's partitions with no reader.
type waiting struct {
	partition int
	// at is how far it was read: where it is read further, another time without reader begins.
	at    grid.Sequence
	since time.Time
}

// lasting returns the positions of a pipeline where nobody reads although something waits, and has not for takeoverFor, as far as it was asked.
func (u *unread) lasting(pipeline string, positions []grid.Position, now time.Time) []grid.Position {
	u.mu.Lock()
	defer u.mu.Unlock()
	before := u.since[pipeline]
	var left []waiting
	var out []grid.Position
	for _, at := range positions {
		if at.Open || at.Changes <= 0 {
			continue
		}
		w := waiting{partition: at.Partition, at: at.Sequence, since: now}
		if i := slices.IndexFunc(before, func(b waiting) bool { return b.partition == w.partition && b.at == w.at }); i >= 0 {
			w.since = before[i].since
		}
		left = append(left, w)
		if now.Sub(w.since) >= takeoverFor {
			out = append(out, at)
		}
	}
	if u.since == nil {
		u.since = map[string][]waiting{}
	}
	u.since[pipeline] = left
	return out
}

// keep forgets all pipelines but these.
func (u *unread) keep(pipelines []standing) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.since, func(name string, _ []waiting) bool {
		return !slices.ContainsFunc(pipelines, func(s standing) bool { return s.Config.Name == name })
	})
}
