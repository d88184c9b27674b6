package grid

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// change is what a stored message did to its key, for those who take a cache's changes.
type change struct {
	seq    Sequence
	kind   EventType
	entry  Entry // without value and labels where nobody asked for them
	shared bool  // several takers have the entry: who hands it out makes a copy
}

// taker is given every change of a cache in one partition, in order, with the partition's index or relay locked. It must
// not block.
type taker interface {
	offer(partition int, c change)
	// fallBehind says that changes were not offered, or come from somewhere else from now on: what changed after the last
	// one that was offered is to be read.
	fallBehind(partition int)
	// rewind says that the stream began anew: nothing of what was offered is there.
	rewind(partition int)
	wantsValues() bool
}

// hub hands a partition's changes to whoever takes them on this node. It is filled by the partition's feed where this node
// owns it, and by relays of its owner where it does not.
type hub struct {
	mu     sync.Mutex // held to replace takers
	takers atomic.Pointer[map[string]*takers]
}

// takers are those of one cache. They are never changed, only replaced.
type takers struct {
	list   []taker
	values bool
}

// of returns who takes a cache's changes; nil for nobody.
func (h *hub) of(cache string) *takers {
	return h.all()[cache]
}

func (h *hub) add(cache string, t taker) {
	h.edit(cache, func(list []taker) []taker { return append(slices.Clip(list), t) })
}

func (h *hub) remove(cache string, t taker) {
	h.edit(cache, func(list []taker) []taker {
		i := slices.Index(list, t)
		if i < 0 {
			return list
		}
		return slices.Delete(slices.Clone(list), i, i+1)
	})
}

func (h *hub) edit(cache string, how func([]taker) []taker) {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := maps.Clone(h.all())
	if all == nil {
		all = map[string]*takers{}
	}
	var list []taker
	if old := all[cache]; old != nil {
		list = old.list
	}
	list = how(list)
	if len(list) == 0 {
		delete(all, cache)
	} else {
		all[cache] = &takers{list: list, values: slices.ContainsFunc(list, taker.wantsValues)}
	}
	h.takers.Store(&all)
}

// all returns the takers by cache.
func (h *hub) all() map[string]*takers {
	if all := h.takers.Load(); all != nil {
		return *all
	}
	return nil
}

func (h *hub) fallBehind(partition int) {
	for _, takers := range h.all() {
		takers.fallBehind(partition)
	}
}

// listeners returns the listeners of a cache.
func (h *hub) listeners(cache string) []*Listener {
	t := h.of(cache)
	if t == nil {
		return nil
	}
	var out []*Listener
	for _, t := range t.list {
		if l, ok := t.(*Listener); ok {
			out = append(out, l)
		}
	}
	return out
}

func (t *takers) fallBehind(partition int) {
	for _, taker := range t.list {
		taker.fallBehind(partition)
	}
}

// offer hands a change to all.
func (t *takers) offer(partition int, c change) {
	c.shared = len(t.list) > 1
	for _, taker := range t.list {
		taker.offer(partition, c)
	}
}
