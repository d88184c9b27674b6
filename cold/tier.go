package cold

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/grid"
)

// tier is what is behind one cache.
type tier struct {
	cold    *Cold
	c       *grid.Cache
	name    string
	store   Store // its Store is nil where the cache has none
	config  atomic.Pointer[grid.CacheConfig]
	ctx     context.Context //nolint:containedctx // from its start until the cache is deleted or the node closed
	cancel  context.CancelFunc
	before  <-chan struct{} // closed when the tier before this one has ended; nil for none
	ended   chan struct{}
	reader  atomic.Pointer[grid.Reader] // that writes behind; nil while it is not open
	opened  chan struct{}               // closed when it is
	wakes   chan struct{}               // values should leave
	more    chan struct{}               // the store has more: what could not leave may
	flights flights

	preloading preloading

	evictions, loaded, loadErrors atomic.Uint64
	deleted                       deleted

	mu      sync.Mutex
	policy  policy
	values  map[string]*value // in memory here
	writing map[string]int    // how many writes of a key have room
	parked  parking
	size    amount // of values
	under   amount // taken by writes that are not counted yet
	wanted  amount // by writes that wait
	lag     lag
	// blocked is why nothing could leave at the last look, and unwritten why the store did not take what it was given last.
	blocked, unwritten error
	over               bool
}

// amount is a number of values and their bytes.
type amount struct{ entries, bytes int64 }

func (a amount) plus(b amount) amount  { return amount{a.entries + b.entries, a.bytes + b.bytes} }
func (a amount) minus(b amount) amount { return amount{a.entries - b.entries, a.bytes - b.bytes} }

// over reports whether a is more than a limit, of which 0 is none.
func (a amount) over(limit amount) bool {
	return limit.entries > 0 && a.entries > limit.entries || limit.bytes > 0 && a.bytes > limit.bytes
}

// lag is what the store does not have yet.
type lag struct {
	grid.Lag
	since amount // taken in since Lag was measured
}

func newTier(cold *Cold, c *grid.Cache, config grid.CacheConfig, s Store) *tier {
	t := &tier{
		cold: cold, c: c, name: config.Name, store: s, ended: make(chan struct{}), opened: make(chan struct{}), wakes: make(chan struct{}, 1), more: make(chan struct{}, 1),
		policy: newPolicy(config.Policy), values: make(map[string]*value), writing: make(map[string]int), parked: newParking(), flights: newFlights(),
	}
	t.preloading.done = make(chan struct{})
	t.ctx, t.cancel = context.WithCancel(cold.ctx)
	t.config.Store(&config)
	return t
}

func (t *tier) configure(config grid.CacheConfig) {
	t.config.Store(&config)
	t.wakeUp()
}

// start runs what goes on behind the cache.
func (t *tier) start(g *grid.Grid) {
	var parts sync.WaitGroup
	part := func(run func()) {
		parts.Add(1)
		t.cold.running.Go(func() {
			defer parts.Done()
			if t.before != nil {
				select {
				case <-t.before:
				case <-t.cold.ctx.Done():
					return
				}
			}
			run()
		})
	}
	// Beside the evictor: while partitions have no leaders, readers cannot be listed, and what leaves memory needs no list of them.
	part(func() { t.forgetReaders(g) })
	part(t.evictLoop)
	if t.store.Store != nil {
		part(func() { t.preload(g) })
		part(func() { t.writeLoop(g) })
		part(t.lagLoop)
		part(t.sweepLoop)
	}
	t.cold.running.Go(func() {
		parts.Wait()
		t.forgetAll()
		close(t.ended)
	})
}

// Hot implements grid.Memory.
func (t *tier) Hot(key string, size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[key]
	if v == nil {
		v = &value{key: key}
		t.values[key] = v
		t.count(1, 0)
	} else {
		t.takeOut(v)
		t.count(0, -int64(v.size))
	}
	v.size, v.used = uint32(size), false
	t.count(0, int64(size))
	t.policy.add(v)
}

// Gone implements grid.Memory.
func (t *tier) Gone(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.values[key]
	if v == nil {
		return
	}
	t.takeOut(v)
	delete(t.values, key)
	t.count(-1, -int64(v.size))
	t.cold.room.tell()
}

// takeOut takes a value out of the policy, or from where it is parked; the evictor may have it in hand. Lock is held.
func (t *tier) takeOut(v *value) {
	switch v.in {
	case inNone:
	case inParked:
		t.parked.take(v)
	default:
		t.policy.remove(v)
	}
}

// count notes what is in memory. Lock is held.
func (t *tier) count(entries, bytes int64) {
	a := amount{entries, bytes}
	t.size = t.size.plus(a)
	if !t.over {
		t.cold.used.add(a)
	}
}

// forgetAll says that nothing is in memory here, when the tier ends.
func (t *tier) forgetAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cold.used.add(amount{}.minus(t.size))
	t.over = true
}

// Used implements grid.Tier. One of several at a time counts: it is about recency, and must cost a read nothing.
func (t *tier) Used(key string) {
	if !t.mu.TryLock() {
		return
	}
	defer t.mu.Unlock()
	switch v := t.values[key]; {
	case v == nil, v.in == inNone:
	case v.in == inParked:
		v.used = true
	default:
		t.policy.touch(v)
	}
}

// limit is what this node may have of the cache in memory: as much of its limit as it owns of its partitions.
func (t *tier) limit() amount {
	config := t.config.Load()
	owned, of := t.c.Owned()
	share := func(limit int64) int64 {
		if limit == 0 || owned == of {
			return limit
		}
		return max(1, limit*int64(owned)/int64(of))
	}
	return amount{share(config.MaxEntries), share(config.MaxBytes)}
}

// nodeLimit is what all caches may have in memory together.
func (t *tier) nodeLimit() amount { return amount{t.cold.cfg.MaxEntries, t.cold.cfg.MaxBytes} }

// Admit implements grid.Tier.
func (t *tier) Admit(ctx context.Context, need grid.Need) (grid.Need, error) {
	taken, high, err := t.take(need)
	if high {
		t.wakeUp()
	}
	if err == nil {
		return taken, nil
	}
	if t.config.Load().Evict == grid.EvictRefuse && !errors.Is(err, errLag) || errors.Is(err, errNever) {
		return need, err
	}
	room, add := &t.cold.room, amount{taken.Entries, taken.Bytes}
	room.waiting.Add(1)
	t.want(add)
	defer func() {
		t.want(amount{}.minus(add))
		room.waiting.Add(-1)
	}()
	timer := time.NewTimer(t.cold.cfg.Wait)
	defer timer.Stop()
	for {
		more := room.wait()
		if taken, _, err = t.take(need); err == nil {
			return taken, nil
		}
		t.cold.wake()
		select {
		case <-more:
			continue
		case <-timer.C:
		case <-t.ctx.Done():
		case <-ctx.Done():
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		for _, why := range []error{t.blocked, t.unwritten} {
			if why != nil {
				err = fmt.Errorf("%w; %w", err, why)
			}
		}
		return need, err
	}
}

// take takes room for a write, or says why there is none. What it writes over counts where it stays until then: the evictor does not have it in hand, and
// does not take it. High says that values should leave.
func (t *tier) take(need grid.Need) (taken grid.Need, high bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if need.Entries == 0 {
		if v := t.values[need.Key]; v == nil || v.in == inNone {
			need = need.Whole()
		}
	}
	add := amount{need.Entries, need.Bytes}
	if err := t.fits(add); err != nil {
		return need, true, err
	}
	t.under = t.under.plus(add)
	t.cold.under.add(add)
	t.lag.since = t.lag.since.plus(amount{1, add.bytes})
	t.writing[need.Key]++
	return need, t.high(), nil
}

func (t *tier) want(a amount) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wanted = t.wanted.plus(a)
	t.cold.wanted.add(a)
}

// Release implements grid.Tier.
func (t *tier) Release(taken grid.Need) {
	a := amount{}.minus(amount{taken.Entries, taken.Bytes})
	t.mu.Lock()
	if t.writing[taken.Key]--; t.writing[taken.Key] == 0 {
		delete(t.writing, taken.Key)
	}
	t.under = t.under.plus(a)
	t.mu.Unlock()
	t.cold.under.add(a)
	t.cold.room.tell()
}

var (
	errNever = errors.New("it never will")
	errLag   = errors.New("the store is behind")
)

// fits returns nil where a write has room, else why not. Lock is held.
func (t *tier) fits(add amount) error {
	if t.store.Store != nil {
		if err := t.fitsLag(); err != nil {
			return err
		}
	}
	if add == (amount{}) {
		return nil
	}
	limit, used := t.limit(), t.size.plus(t.under).plus(add)
	switch {
	case limit.bytes > 0 && add.bytes > limit.bytes:
		return fmt.Errorf("%w: a value of %d bytes is larger than all that cache %s may have in memory, %d: %w", grid.ErrFull, add.bytes, t.name, limit.bytes, errNever)
	case add.entries > 0 && limit.entries > 0 && used.entries > limit.entries:
		return fmt.Errorf("%w: cache %s has its %d entries in memory", grid.ErrFull, t.name, limit.entries)
	case add.bytes > 0 && limit.bytes > 0 && used.bytes > limit.bytes:
		return fmt.Errorf("%w: cache %s has no room for %d bytes more of its %d in memory", grid.ErrFull, t.name, add.bytes, limit.bytes)
	}
	node := t.nodeLimit()
	if all := t.cold.used.amount().plus(t.cold.under.amount()).plus(add); all.over(node) {
		return fmt.Errorf("%w: this node has its %s in memory", grid.ErrFull, node)
	}
	return nil
}

func (a amount) String() string {
	switch {
	case a.bytes == 0:
		return fmt.Sprintf("%d entries", a.entries)
	case a.entries == 0:
		return fmt.Sprintf("%d bytes", a.bytes)
	}
	return fmt.Sprintf("%d entries or %d bytes", a.entries, a.bytes)
}

// Stats implements grid.Tier.
func (t *tier) Stats() grid.TierStats {
	t.measure()
	t.mu.Lock()
	l, here := t.lag, t.size.entries
	t.mu.Unlock()
	out := grid.TierStats{
		InMemory: here, Evictions: t.evictions.Load(), Loads: t.loaded.Load(), LoadErrors: t.loadErrors.Load(), LagEntries: l.Entries, LagBytes: l.Bytes,
	}
	if !l.Oldest.IsZero() {
		out.Lag = max(0, time.Since(l.Oldest))
	}
	return out
}
