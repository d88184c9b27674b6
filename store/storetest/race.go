package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
)

func isNotFound(err error) bool { return errors.Is(err, store.ErrNotFound) }

// amount is how many revisions a race has.
func (s *suite) amount() int {
	if s.under.Slow {
		return 60
	}
	return 300
}

// race: writers of all revisions in any order, old ones against new ones, and readers that must never see a step back.
func (s *suite) race() { s.raceOn([]store.Store{s.Store}, false) }

// raceOfBatches is the same with several entries a call.
func (s *suite) raceOfBatches() { s.raceOn([]store.Store{s.Store}, true) }

// raceOfTwo is the same through two that have the store open.
func (s *suite) raceOfTwo() {
	if !s.under.Shared {
		s.Skip("one process alone has this store open")
	}
	second := s.under.Open(s.T, s.clock.now)
	defer second.Close()
	s.raceOn([]store.Store{s.Store, second}, false)
	s.raceOn([]store.Store{s.Store, second}, true)
}

func (s *suite) raceOn(stores []store.Store, batched bool) {
	const keys, writers = 3, 6
	name := func(k int) string { return fmt.Sprintf("%v %d", batched, k) }
	// Every tenth revision is a delete; the last is a value for all keys but the first.
	deleted := func(k int, r uint64) bool { return r%10 == 0 || k == 0 && r == uint64(s.amount()) }
	write := func(k int, r uint64) store.Entry {
		e := plain(name(k), r)
		if deleted(k, r) {
			e = store.Entry{Info: store.Info{Key: name(k), Revision: r, Deleted: true}}
		}
		return e
	}
	total := uint64(s.amount())
	if total%10 == 0 {
		total--
	}
	var all []store.Entry
	for k := range keys {
		for r := range total {
			all = append(all, write(k, r+1))
		}
	}
	all = append(all, store.Entry{Info: store.Info{Key: name(0), Revision: total + 1, Deleted: true}})
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })

	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			target := stores[w%len(stores)]
			var mine []store.Entry
			for i := w; i < len(all); i += writers {
				mine = append(mine, all[i])
			}
			size := 1
			if batched {
				size = 7
			}
			for len(mine) > 0 {
				n := min(size, len(mine))
				s.acceptStale(target, mine[:n], batched)
				mine = mine[n:]
			}
		})
	}
	for k := range keys {
		reading.Go(func() {
			newest := uint64(0)
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				e, err := stores[i%len(stores)].Get(s.Context(), s.space, name(k))
				switch {
				case isNotFound(err):
				case err != nil:
					s.Errorf("get: %v", err)
					return
				case e.Revision < newest:
					s.Errorf("%s went from revision %d back to %d", name(k), newest, e.Revision)
					return
				case !bytes.Equal(e.Value, value(e.Key, e.Revision)):
					s.Errorf("%s at %d has the value %q", name(k), e.Revision, e.Value)
					return
				default:
					newest = e.Revision
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
	s.wantNone(name(0))
	for k := 1; k < keys; k++ {
		s.wantEntry(plain(name(k), total))
	}
}

// acceptStale writes, and fails on an error that is none of a newer revision.
func (s *suite) acceptStale(target store.Store, entries []store.Entry, batched bool) {
	var outcomes []error
	switch {
	case batched:
		outcomes = target.PutAll(s.Context(), s.space, entries)
	case entries[0].Deleted:
		outcomes = []error{target.Delete(s.Context(), s.space, entries[0].Key, entries[0].Revision)}
	default:
		outcomes = []error{target.Put(s.Context(), s.space, entries[0])}
	}
	for i, err := range outcomes {
		if err != nil && !errors.Is(err, store.ErrStale) {
			s.Errorf("write %q at %d: %v", entries[i].Key, entries[i].Revision, err)
		}
	}
}

// raceAgainstSweep: a sweep of old tombstones must not take a value with it that is written at the same time.
func (s *suite) raceAgainstSweep() {
	count := 200
	if s.under.Slow {
		count = 40
	}
	key := func(i int) string { return fmt.Sprintf("key %d", i) }
	for i := range count {
		if i%2 == 0 {
			s.mustDelete(key(i), 10)
		} else {
			e := plain(key(i), 10)
			e.Expires = s.clock.now().Add(time.Minute)
			s.mustPut(e)
		}
	}
	s.clock.advance(store.TombstoneLife + time.Hour)
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := s.Sweep(s.Context(), s.space); err != nil {
			s.Errorf("sweep: %v", err)
		}
	})
	both.Go(func() {
		for i := range count {
			err := s.Put(s.Context(), s.space, plain(key(i), 11))
			// A store may ask to try again while the sweep has this very key in its hands.
			for store.Retryable(err) {
				err = s.Put(s.Context(), s.space, plain(key(i), 11))
			}
			if err != nil {
				s.Errorf("put: %v", err)
			}
		}
	})
	both.Wait()
	for i := range count {
		s.wantEntry(plain(key(i), 11))
	}
}
