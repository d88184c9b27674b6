package pipeline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace/millrace/grid"
)

// batch is a set of items that were computed together and are published together.
type batch struct {
	items []*item
	plan  *plan
	clock stopwatch
}

// publish stores a batch's results and error entries, removes the results of removed sources, and acknowledges the
// inputs that are covered then. It tries again until all of it is done or ctx ends: what is not acknowledged then
// comes again after a restart.
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
	if err := p.store(ctx, p.faults, faults); err != nil {
		return err
	}
	b.clock.lap(&b.clock.publish)
	if err := p.clearFaults(ctx, results); err != nil {
		return err
	}
	now := time.Now()
	for _, it := range b.items {
		for _, m := range it.acks {
			if err := m.Ack(); err != nil {
				// It comes again, and its result is recognized as stored.
				p.log.Debug("acknowledge input", "key", it.source.Key, "error", err)
			}
		}
		p.count.item(it, now)
	}
	p.count.batch(b)
	return nil
}

// target is a cache that a pipeline writes.
type target struct {
	cache  *grid.Cache
	prefix string // begins message ids
}

// store writes the values of items. Each write is on condition that the result which it replaces is still there,
// which a worker that lost its partition meanwhile cannot meet.
func (p *Pipeline) store(ctx context.Context, t *target, items []*item) error {
	if len(items) == 0 {
		return nil
	}
	puts := make([]grid.Put, len(items))
	if err := p.persist(ctx, func() error {
		now := time.Now()
		for i, it := range items {
			last, err := t.cache.Sequence(ctx, it.source.Key)
			if err != nil {
				return err
			}
			puts[i] = t.put(it, now, last)
		}
		return nil
	}); err != nil {
		return err
	}
	return p.persist(ctx, func() error {
		done, err := t.cache.PutBatch(ctx, puts)
		if err != nil {
			return err
		}
		var left []grid.Put
		var leftItems []*item
		for i, r := range done {
			it := items[i]
			switch {
			case r.Err == nil:
				if r.Duplicate {
					p.count.duplicates.Inc()
				}
				continue
			case errors.Is(r.Err, grid.ErrRevision):
				if err = p.resolve(ctx, t, it); err == nil {
					continue
				}
			default:
				err = fmt.Errorf("write %q to cache %s: %w", it.source.Key, t.cache.Name(), r.Err)
			}
			left, leftItems = append(left, puts[i]), append(leftItems, it)
		}
		puts, items = left, leftItems
		if len(left) > 0 {
			return err
		}
		return nil
	})
}

func (t *target) put(it *item, now time.Time, last uint64) grid.Put {
	return grid.Put{
		Key: it.source.Key, Value: it.finish(now),
		Options:    grid.PutOptions{ContentType: contentType},
		MsgID:      fmt.Sprintf("%s/%s/%s/%d", t.prefix, it.source.Cache, it.source.Key, it.source.Revision),
		ExpectLast: &last, Unread: !it.again(),
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
		if last.Live {
			if rev, ours := revisionOf(last.Entry, it.source); ours && rev >= it.source.Revision {
				p.count.superseded.Inc()
				return nil
			}
		}
		source, err := p.from.Get(ctx, it.source.Key)
		switch {
		case errors.Is(err, grid.ErrNotFound), err == nil && source.Revision != it.source.Revision:
			p.count.superseded.Inc()
			return nil // the newer revision, or the removal, has its own message
		case err != nil:
			return err
		}
		done, err := t.cache.PutBatch(ctx, []grid.Put{t.put(it, time.Now(), last.Sequence)})
		if err != nil {
			return err
		}
		if done[0].Err == nil {
			return nil
		}
		if !errors.Is(done[0].Err, grid.ErrRevision) {
			return done[0].Err
		}
	}
	return fmt.Errorf("write %q to cache %s: the entry changed at each of %d tries", it.source.Key, t.cache.Name(), tries)
}

// remove takes away the result and the error entry of a source that was removed, unless the source is back.
func (p *Pipeline) remove(ctx context.Context, it *item) error {
	if p.cfg.OnRemove == KeepResult {
		return nil
	}
	if _, err := p.from.Get(ctx, it.source.Key); err == nil {
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
		e, err := t.cache.Get(ctx, it.source.Key)
		if errors.Is(err, grid.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if rev, ours := revisionOf(e, it.source); !ours || rev > it.source.Revision {
			return nil
		}
		_, err = t.cache.Delete(ctx, it.source.Key, grid.DeleteOptions{IfRevision: e.Revision})
		if err == nil || !errors.Is(err, grid.ErrRevision) && !errors.Is(err, grid.ErrNotFound) {
			return err
		}
	}
}

// clearFaults removes the error entries of keys that have a result again.
func (p *Pipeline) clearFaults(ctx context.Context, results []*item) error {
	for _, it := range results {
		if !p.failing.has(it.source.Key) {
			continue
		}
		if err := p.persist(ctx, func() error { return p.faults.remove(ctx, it) }); err != nil {
			return err
		}
		p.failing.remove(it.source.Key)
	}
	return nil
}

// persist calls do until it succeeds or ctx ends, and says in the pipeline's status what it waits for.
func (p *Pipeline) persist(ctx context.Context, do func() error) error {
	const first, longest = 20 * time.Millisecond, 2 * time.Second
	for wait := first; ; wait = min(2*wait, longest) {
		err := do()
		if err == nil {
			p.blocked(nil)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.blocked(err)
		p.count.retries.Inc()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
