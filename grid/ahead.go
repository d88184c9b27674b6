package grid

import "context"

// ahead has the keys that this node wrote without waiting until they were in the index, each with the sequence up to
// which that takes.
type ahead struct {
	keys map[cacheKey]Sequence
	to   Sequence // the largest of them
}

// cacheKey is a key of a cache.
type cacheKey struct{ cache, key string }

// aheadMax is how many keys may be written ahead of the index.
const aheadMax = 8192

// runAhead notes keys that are stored up to seq and may not be in the index yet. It is false where too many are noted:
// then the writer waits for the index.
func (x *index) runAhead(cache string, keys func(yield func(string) bool), n int, seq Sequence) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.seq >= seq {
		return true
	}
	a := &x.ahead
	if x.seq >= a.to {
		clear(a.keys)
	}
	if len(a.keys)+n > aheadMax {
		return false
	}
	if a.keys == nil {
		a.keys = map[cacheKey]Sequence{}
	}
	for key := range keys {
		a.keys[cacheKey{cache, key}] = seq
	}
	a.to = max(a.to, seq)
	return true
}

// caughtUp waits until the index has what this node wrote of a key without waiting for it.
func (x *index) caughtUp(ctx context.Context, cache, key string) error {
	x.mu.Lock()
	to := x.ahead.keys[cacheKey{cache, key}]
	x.mu.Unlock()
	return x.wait(ctx, to)
}
