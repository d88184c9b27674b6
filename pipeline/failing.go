package pipeline

import "sync"

// failing is the set of keys that have an error entry, so that one is removed when a result comes. Beyond its limit
// the entries of further keys stay until their source changes or is removed.
type failing struct {
	mu   sync.Mutex
	keys map[string]struct{}
}

const maxFailing = 1 << 17

func (f *failing) add(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.keys == nil {
		f.keys = map[string]struct{}{}
	}
	if len(f.keys) < maxFailing {
		f.keys[key] = struct{}{}
	}
}

func (f *failing) has(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.keys[key]
	return ok
}

func (f *failing) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.keys, key)
}
