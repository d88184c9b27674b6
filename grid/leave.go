package grid

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sync/errgroup"
)

// leaveBatch is how many values an owner is asked to have leave at a time.
const leaveBatch = 256

// wireLeft is what became of one value, on its way.
type wireLeft struct {
	What leaving `json:"w,omitempty"`
	Why  string  `json:"e,omitempty"`
}

type leaving uint8

const (
	leftMemory leaving = iota
	leftBefore
	leftNothing // there is no entry
	leftStays
)

// Leave has the values of keys leave memory, and returns for each nil where it did; ErrCold where it was in the store alone;
// ErrNotFound where there is no entry; ErrStays, which says what stands in the way; or why the owner could not be asked. Nothing leaves that the
// store or a reader does not have; wait says that what they are about to have is waited for, a second at most. The other error says
// that the cache has nowhere to keep values, an ErrNoEviction.
func (c *Cache) Leave(ctx context.Context, keys []string, wait bool) ([]error, error) {
	if err := c.usable(); err != nil {
		return nil, err
	}
	if c.config.Load().Store == "" {
		return nil, fmt.Errorf("%w: the values of %s are in memory alone; removing entries is all that makes room", ErrNoEviction, c.name)
	}
	errs := make([]error, len(keys))
	indexes := make([][]int, len(c.partitions))
	for i, key := range keys {
		at, err := c.place(key)
		if err != nil {
			errs[i] = err
			continue
		}
		n := at.partition.number
		indexes[n] = append(indexes[n], i)
	}
	var asking errgroup.Group
	for n, of := range indexes {
		asking.Go(func() error {
			wait := wait
			for len(of) > 0 {
				some := of[:min(len(of), leaveBatch)]
				of = of[len(some):]
				// What stands in the way of one stands in the way of the rest: it is waited for once.
				wait = c.leaveSome(ctx, c.partitions[n], keys, some, wait, errs) && wait
			}
			return nil
		})
	}
	// Its functions return no error.
	_ = asking.Wait()
	return errs, nil
}

// leaveSome asks a partition's owner for some of keys, and reports whether all that were asked for have left.
func (c *Cache) leaveSome(ctx context.Context, p *partition, keys []string, some []int, wait bool, errs []error) bool {
	ctx, cancel := c.grid.limited(ctx)
	defer cancel()
	q := question{Op: askLeave, Cache: c.name, Wait: wait}
	for _, i := range some {
		q.Keys = append(q.Keys, []byte(keys[i]))
	}
	a, err := c.grid.ask(ctx, p, q)
	if err == nil && len(a.Left) != len(some) {
		err = fmt.Errorf("%w: the owner of partition %d tells of %d keys, not %d", ErrUnavailable, p.number, len(a.Left), len(some))
	}
	all := err == nil
	for j, i := range some {
		if err != nil {
			errs[i] = fmt.Errorf("evict %s/%s: %w", c.name, keys[i], err)
			continue
		}
		switch left := a.Left[j]; left.What {
		case leftMemory:
		case leftBefore:
			errs[i] = fmt.Errorf("%w: %s/%s", ErrCold, c.name, keys[i])
		case leftNothing:
			errs[i] = fmt.Errorf("%w: %s/%s", ErrNotFound, c.name, keys[i])
		default:
			all = false
			errs[i] = fmt.Errorf("%w: %s/%s: %s", ErrStays, c.name, keys[i], left.Why)
		}
	}
	return all
}

// leave answers who wants values out of memory.
func (t *tenure) leave(ctx context.Context, q question) ([]wireLeft, error) {
	c, err := t.g.Cache(ctx, q.Cache)
	if err != nil {
		return nil, err
	}
	tier := c.tier()
	if tier == nil {
		return nil, fmt.Errorf("%w: %s", ErrNoStore, q.Cache)
	}
	out := make([]wireLeft, len(q.Keys))
	var some []Resident
	var at []int
	for i, key := range q.Keys {
		last, live, known := c.guess(c.placeOf(string(key)))
		switch {
		case !known:
			return nil, ErrNotOwner
		case !live:
			out[i].What = leftNothing
		case last.cold:
			out[i].What = leftBefore
		default:
			some, at = append(some, last.resident(string(key), t.p.number)), append(at, i)
		}
	}
	if len(some) == 0 {
		return out, nil
	}
	for i, err := range tier.Leave(ctx, some, q.Wait) {
		left := &out[at[i]]
		switch {
		case err == nil:
		case errors.Is(err, ErrNotOwner):
			return nil, ErrNotOwner
		default:
			left.What, left.Why = leftStays, strings.TrimPrefix(err.Error(), ErrStays.Error()+": ")
		}
	}
	return out, nil
}

func (r record) resident(key string, partition int) Resident {
	return Resident{Key: key, Partition: partition, Revision: r.revision, Sequence: r.seq, Size: int(r.size)}
}
