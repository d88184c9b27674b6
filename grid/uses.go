package grid

import (
	"context"
	"sync"
)

// uses are reads of what other nodes own, which they are told once a second, for what leaves memory. They are approximate: some are
// left out where there are many.
type uses struct {
	mu   sync.Mutex
	keys map[useOf]map[string]struct{}
}

type useOf struct {
	p     *partition
	cache string
}

// usesMax is how many keys of a cache and a partition are told at a time.
const usesMax = 1024

func (u *uses) note(at place) {
	if !u.mu.TryLock() {
		return
	}
	defer u.mu.Unlock()
	of := useOf{at.partition, at.cache}
	keys := u.keys[of]
	if keys == nil {
		if u.keys == nil {
			u.keys = make(map[useOf]map[string]struct{})
		}
		keys = make(map[string]struct{})
		u.keys[of] = keys
	}
	if len(keys) < usesMax {
		keys[at.key] = struct{}{}
	}
}

// tellUses tells the owners what was read here.
func (g *Grid) tellUses(ctx context.Context) {
	g.uses.mu.Lock()
	all := g.uses.keys
	g.uses.keys = nil
	g.uses.mu.Unlock()
	for of, keys := range all {
		q := question{Op: askUsed, Cache: of.cache}
		for key := range keys {
			q.Keys = append(q.Keys, []byte(key))
		}
		if _, err := g.ask(ctx, of.p, q); err != nil {
			g.cfg.Logger.Debug("tell what was read", "cache", of.cache, "partition", of.p.number, "error", err)
		}
	}
}
