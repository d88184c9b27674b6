package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/millrace/millrace/grid"
)

// batch is a set of items that were computed together and are published together.
type batch struct {
	changes []grid.Change
	items   []*item
	plan    *plan
	clock   stopwatch
}

func newBatch(changes []grid.Change) *batch {
	b := &batch{changes: changes, items: make([]*item, len(changes)), clock: stopwatch{last: time.Now()}}
	for i, c := range changes {
		stamp := c.Time
		if c.Again { // asked for: what it waited before says nothing
			stamp = b.clock.last
		}
		b.items[i] = &item{source: c.Entry, stamp: stamp, again: c.Again, gone: c.Type == grid.Removed || c.Type == grid.Expired}
	}
	return b
}

// again has what the model ran on for too long run again: another version serves.
func (b *batch) again() {
	for _, it := range b.items {
		if timedOut(it) {
			it.fails = nil
		}
	}
}

func timedOut(it *item) bool { return it.fails != nil && it.fails.code == codeTimeout }

// publish stores a batch's results and error entries, and removes the results of removed sources. It tries again until all
// of it is done or ctx ends: what is not done then is given out again after a restart. Items of partitions that this node does
// not own are left.
func (p *Pipeline) publish(ctx context.Context, b *batch) error {
	var results, faults, gone []*item
	for _, it := range b.items {
		switch {
		case it.gone:
			gone = append(gone, it)
		case it.fails != nil:
			it.value = b.plan.encodeError(it)
			faults = append(faults, it)
		case it.value != nil:
			results = append(results, it)
		}
	}
	for _, it := range gone {
		if err := p.persist(ctx, func() error { return p.remove(ctx, it) }); err != nil {
			return err
		}
	}
	if err := p.store(ctx, p.results, results); err != nil {
		return err
	}
	stored := results[:0]
	for _, it := range results {
		if it.large == nil {
			stored = append(stored, it)
			continue
		}
		it.fails, it.large = &fails{codeLarge, fmt.Errorf("the result: %w", it.large)}, nil
		it.value = b.plan.encodeError(it)
		faults = append(faults, it)
	}
	results = stored
	if err := p.storeFaults(ctx, b.plan, faults); err != nil {
		return err
	}
	b.clock.lap(&b.clock.publish)
	if err := p.clearFaults(ctx, results); err != nil {
		return err
	}
	now := time.Now()
	for _, it := range b.items {
		p.count.item(it, now)
	}
	p.count.batch(b)
	return nil
}

// split returns the changes that are dealt with and those that are left.
func (b *batch) split() (done, left []grid.Change) {
	if !slices.ContainsFunc(b.items, func(it *item) bool { return it.left }) {
		return b.changes, nil
	}
	for i, it := range b.items {
		if it.left {
			left = append(left, b.changes[i])
		} else {
			done = append(done, b.changes[i])
		}
	}
	return done, left
}

// target is a cache that a pipeline writes.
type target struct {
	cache  *grid.Cache
	reader string // the pipeline's name
}

// storeFaults stores error entries, in a short form those that are too large for the cache. Where even that is, the pipeline waits and says why.
func (p *Pipeline) storeFaults(ctx context.Context, plan *plan, items []*item) error {
	if err := p.store(ctx, p.faults, items); err != nil {
		return err
	}
	var again []*item
	for _, it := range items {
		if it.large != nil {
			it.large, it.short = nil, true
			it.value = plan.encodeError(it)
			again = append(again, it)
		}
	}
	return p.store(ctx, p.faults, again)
}

// store writes the values of items that were not stored before a crash or a move. Each write is on condition that the result
// which it replaces is still there, which a former owner of the partition cannot meet. An item whose value the cache never takes
// has large then.
func (p *Pipeline) store(ctx context.Context, t *target, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	var made []grid.Made
	var left []*item
	if err := p.persist(ctx, func() error {
		made, left = make([]grid.Made, 0, len(items)), make([]*item, 0, len(items))
		now := time.Now()
		for _, it := range items {
			known, stored, err := p.stored(ctx, t, it)
			switch {
			case errors.Is(err, grid.ErrNotOwner):
				it.left = true
			case err != nil:
				return err
			case stored:
				it.known = true
				p.count.duplicates.Inc()
			default:
				made, left = append(made, t.made(it, now, known.Sequence)), append(left, it)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	return p.persist(ctx, func() (err error) {
		done := t.cache.PutMade(ctx, made)
		var again []grid.Made
		var againItems []*item
		for i, fault := range done {
			it := left[i]
			if errors.Is(fault, grid.ErrRevision) {
				fault = p.resolve(ctx, t, it)
			}
			switch {
			case fault == nil:
			case errors.Is(fault, grid.ErrNotOwner):
				it.left = true
			case errors.Is(fault, grid.ErrTooLarge) && !it.short:
				it.large = fault
			default:
				err = fmt.Errorf("write %q to cache %s: %w", it.source.Key, t.cache.Name(), fault)
				again, againItems = append(again, made[i]), append(againItems, it)
			}
		}
		made, left = again, againItems
		return err
	})
}

// stored reports whether a target has what a change made, or a newer revision of it, and what the target has of the key.
func (p *Pipeline) stored(ctx context.Context, t *target, it *item) (grid.MadeOf, bool, error) {
	known, err := t.cache.MadeOf(ctx, it.source.Key)
	if err != nil {
		return known, false, err
	}
	before := known
	if t != p.results { // the model may have made a result of what it refuses now
		if before, err = p.results.cache.MadeOf(ctx, it.source.Key); err != nil {
			return known, false, err
		}
	}
	has := func(m grid.MadeOf) bool {
		return m.Reader == t.reader && (m.Revision > it.source.Revision || m.Revision == it.source.Revision && !it.again)
	}
	return known, has(known) || has(before), nil
}

func (t *target) made(it *item, now time.Time, expect grid.Sequence) grid.Made {
	return grid.Made{
		Key: it.source.Key, Value: it.finish(now), Options: grid.PutOptions{ContentType: contentType},
		Reader: t.reader, Revision: it.source.Revision, Expect: expect,
	}
}

// resolve handles a result that met another one than expected: it is dropped where the other is as new or its source
// is no longer what it was made from, and written against the other otherwise.
func (p *Pipeline) resolve(ctx context.Context, t *target, it *item) error {
	const tries = 10
	for range tries {
		last, err := t.cache.Last(ctx, it.source.Key)
		if err != nil {
			return err
		}
		if last.Reader == t.reader && (last.Revision > it.source.Revision || last.Revision == it.source.Revision && !it.again) {
			p.count.superseded.Inc()
			it.known = true
			return nil
		}
		source, err := p.from.Stat(ctx, it.source.Key)
		switch {
		case errors.Is(err, grid.ErrNotFound), err == nil && source.Entry.Revision != it.source.Revision:
			p.count.superseded.Inc()
			it.known = true
			return nil // the newer revision, or the removal, is a change of its own
		case err != nil:
			return err
		}
		fault := t.cache.PutMade(ctx, []grid.Made{t.made(it, time.Now(), last.Sequence)})[0]
		if !errors.Is(fault, grid.ErrRevision) {
			return fault
		}
	}
	return fmt.Errorf("write %q to cache %s: the entry changed at each of %d tries", it.source.Key, t.cache.Name(), tries)
}

// remove takes away the result and the error entry of a source that was removed, unless the source is back.
func (p *Pipeline) remove(ctx context.Context, it *item) error {
	if p.cfg.OnRemove == KeepResult {
		return nil
	}
	if _, err := p.from.Stat(ctx, it.source.Key); err == nil {
		return nil
	} else if !errors.Is(err, grid.ErrNotFound) {
		return err
	}
	for _, t := range []*target{p.results, p.faults} {
		if err := t.remove(ctx, it); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes the entry that was made from an older revision of the item's source.
func (t *target) remove(ctx context.Context, it *item) error {
	for {
		is, err := t.cache.Stat(ctx, it.source.Key)
		if errors.Is(err, grid.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if rev, _, reader := is.Entry.Source(); reader != t.reader || rev > it.source.Revision {
			return nil
		}
		_, err = t.cache.Delete(ctx, it.source.Key, grid.DeleteOptions{IfRevision: is.Entry.Revision})
		if err == nil || !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrNotFound) {
			return err
		}
	}
}

// clearFaults removes the error entries of keys that have a result again.
func (p *Pipeline) clearFaults(ctx context.Context, results []*item) error {
	for _, it := range results {
		if err := p.persist(ctx, func() error {
			known, err := p.faults.cache.MadeOf(ctx, it.source.Key)
			switch {
			case errors.Is(err, grid.ErrNotOwner):
				it.left = true
				return nil
			case err == nil && !known.Live:
				return nil
			case err != nil:
				return err
			}
			return p.faults.remove(ctx, it)
		}); err != nil {
			return err
		}
	}
	return nil
}

// persist calls do until it succeeds or ctx ends, and says in the pipeline's status what it waits for.
func (p *Pipeline) persist(ctx context.Context, do func() error) error {
	const first, longest = 20 * time.Millisecond, 2 * time.Second
	var who *byte // once it was in vain
	defer func() {
		if who != nil && p.board.block(who, nil) {
			p.log.Info("results are stored again")
		}
	}()
	for wait := first; ; wait = min(2*wait, longest) {
		err := do()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if who == nil {
			who = new(byte)
		}
		if p.board.block(who, err) {
			p.log.Warn("results cannot be stored, trying again", "error", err)
		}
		p.count.retries.Inc()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
