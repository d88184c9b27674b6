package cold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
)

const (
	// leaveWait is how long values that are to leave wait for the store and for readers. An owner has two seconds to answer.
	leaveWait = time.Second
	// leaveLook is the pause between two looks at how far they are.
	leaveLook = 10 * time.Millisecond
)

// Leave implements grid.Tier.
func (t *tier) Leave(ctx context.Context, some []grid.Resident, wait bool) []error {
	errs := make([]error, len(some))
	if t.store.Store == nil {
		for i := range errs {
			errs[i] = fmt.Errorf("%w: the cache has no store on this node", grid.ErrStays)
		}
		return errs
	}
	left := make([]int, len(some)) // what is still to leave, by its place in some
	for i := range left {
		left[i] = i
	}
	for end := time.Now().Add(leaveWait); ; {
		var why error
		left, why = t.leave(ctx, some, left, errs)
		if len(left) == 0 {
			return errs
		}
		over := !wait || time.Now().After(end)
		if !over {
			over = !pause(ctx, leaveLook)
		}
		if !over && t.ctx.Err() == nil {
			continue
		}
		if errors.Is(why, errReaders) {
			why = t.behind(ctx, some[left[0]])
		}
		for _, i := range left {
			errs[i] = fmt.Errorf("%w: %w", grid.ErrStays, why)
		}
		return errs
	}
}

// leave has those of left leave that everybody has passed, and returns the rest, with what stands in the way of one of them.
func (t *tier) leave(ctx context.Context, some []grid.Resident, left []int, errs []error) ([]int, error) {
	at, err := t.passed(ctx, some[left[0]].Partition, map[int]grid.Sequence{})
	if err != nil {
		return left, err
	}
	var stay, leaving []int
	var batch []grid.Resident
	for _, i := range left {
		if grid.Sequence(some[i].Revision) > at {
			stay = append(stay, i)
			continue
		}
		batch, leaving = append(batch, some[i]), append(leaving, i)
	}
	why := errReaders
	for j, err := range t.c.Demote(ctx, batch) {
		i := leaving[j]
		switch {
		case err == nil:
			t.evictions.Add(1)
		case errors.Is(err, grid.ErrRevision):
			now, ok := t.c.Resident(some[i].Key)
			if !ok { // it left by another way
				continue
			}
			some[i] = now
			stay, why = append(stay, i), err
		case errors.Is(err, grid.ErrNotOwner):
			errs[i] = err
		default:
			stay, why = append(stay, i), err
		}
	}
	return stay, why
}

// behind says who has not passed a value.
func (t *tier) behind(ctx context.Context, r grid.Resident) error {
	t.cold.mu.Lock()
	g := t.cold.grid
	t.cold.mu.Unlock()
	t.mu.Lock()
	unwritten := t.unwritten
	t.mu.Unlock()
	storeReader := ReaderName(t.config.Load().Store)
	readers, err := g.Readers(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", errReaders, err)
	}
	var names []string
	inStore := t.reader.Load() != nil
	for _, reader := range readers {
		if reader.Cache != t.name {
			continue
		}
		positions, err := g.Positions(ctx, reader.Cache, reader.Reader)
		if err != nil {
			return fmt.Errorf("%w: %w", errReaders, err)
		}
		switch at := slices.IndexFunc(positions, func(p grid.Position) bool { return p.Partition == r.Partition }); {
		case at < 0 || positions[at].Sequence >= grid.Sequence(r.Revision):
		case reader.Reader == storeReader:
			inStore = false
		default:
			names = append(names, reader.Reader)
		}
	}
	switch {
	case unwritten != nil && !inStore:
		return fmt.Errorf("the store %s does not have it: %w", t.config.Load().Store, unwritten)
	case !inStore:
		return fmt.Errorf("the store %s does not have it yet", t.config.Load().Store)
	case len(names) > 0:
		return fmt.Errorf("%w: %s", errReaders, strings.Join(names, ", "))
	}
	return errReaders
}
