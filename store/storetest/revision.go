package storetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/store"
)

// revisions: each kind of write after each kind of copy.
func (s *suite) revisions() {
	for _, old := range []struct {
		deleted, none bool
	}{{none: true}, {deleted: false}, {deleted: true}} {
		for _, deleted := range []bool{false, true} {
			for _, revision := range []uint64{9, 10, 11} {
				key := fmt.Sprintf("%+v then %v at %d", old, deleted, revision)
				switch {
				case old.none:
				case old.deleted:
					s.mustDelete(key, 10)
				default:
					s.mustPut(plain(key, 10))
				}
				write := func() error {
					if deleted {
						return s.Delete(s.Context(), s.space, key, revision)
					}
					// Its bytes differ from those of revision 10 even where the revision is the same.
					e := plain(key, revision)
					e.ContentType = "second"
					return s.Put(s.Context(), s.space, e)
				}
				newer := old.none || revision > 10 || revision == 10 && deleted && !old.deleted
				same := !old.none && revision == 10 && deleted == old.deleted
				err := write()
				if newer || same {
					s.wantErr(key, err, nil)
					// Again is a success as well, and changes nothing.
					s.wantErr(key+" again", write(), nil)
				} else {
					want := &store.StaleError{Namespace: s.space, Key: key, Revision: revision, Current: 10, Deleted: old.deleted}
					var got *store.StaleError
					if !errors.As(err, &got) || !errors.Is(err, store.ErrStale) || *got != *want {
						s.Errorf("%s: %v, want %v", key, err, want)
					}
				}
				switch {
				case newer && deleted, !newer && old.deleted:
					s.wantNone(key)
				case newer:
					e := plain(key, revision)
					e.ContentType = "second"
					s.wantEntry(e)
				default:
					s.wantEntry(plain(key, 10))
				}
			}
		}
	}
}

func (s *suite) expiry() {
	now := s.clock.now()
	mortal := func(key string, revision uint64, in time.Duration) store.Entry {
		e := plain(key, revision)
		e.Expires = now.Add(in).Round(0).UTC()
		return e
	}
	s.mustPut(mortal("hour", 5, time.Hour))
	s.mustPut(mortal("day", 5, 30*time.Hour))
	s.mustPut(mortal("over", 5, -time.Minute))
	s.mustPut(plain("ever", 5))
	s.wantEntry(mortal("hour", 5, time.Hour))
	s.wantNone("over")
	s.clock.advance(time.Hour + time.Second)
	s.wantNone("hour")
	s.wantEntry(mortal("day", 5, 30*time.Hour))
	for _, o := range []store.ListOptions{{}, {Deleted: true}} {
		if diff := cmp.Diff([]string{"day", "ever"}, keysOf(s.copies(o))); diff != "" {
			s.Errorf("list (-want +got):\n%s", diff)
		}
	}
	// What has expired still keeps older revisions away, before the sweep and after it.
	stale := func(key string) {
		s.wantErr("an older put on "+key, s.Put(s.Context(), s.space, plain(key, 4)), store.ErrStale)
		s.wantErr("an older delete of "+key, s.Delete(s.Context(), s.space, key, 4), store.ErrStale)
	}
	stale("hour")
	stale("over")
	s.sweep(2)
	s.wantNone("hour")
	stale("hour")
	s.wantErr("a put of the revision that has expired", s.Put(s.Context(), s.space, plain("hour", 5)), store.ErrStale)
	if diff := cmp.Diff([]string{"day", "ever", "hour", "over"}, keysOf(s.copies(store.ListOptions{Deleted: true}))); diff != "" {
		s.Errorf("list with tombstones (-want +got):\n%s", diff)
	}
	s.sweep(0)
	s.mustPut(mortal("hour", 6, 48*time.Hour))
	s.wantEntry(mortal("hour", 6, 48*time.Hour))
	// A newer write lifts what has expired without a sweep too.
	s.mustPut(mortal("short", 1, 2*time.Hour))
	s.clock.advance(2 * time.Hour)
	s.mustPut(plain("short", 2))
	s.wantEntry(plain("short", 2))
}

func (s *suite) sweep(want int) {
	s.Helper()
	n, err := s.Sweep(s.Context(), s.space)
	if err != nil || n != want && !s.under.Faulty {
		s.Errorf("sweep: %d, %v, want %d", n, err, want)
	}
}

func (s *suite) tombstones() {
	s.mustPut(plain("a", 1))
	s.mustDelete("a", 2)
	s.mustDelete("never there", 7)
	s.wantNone("a")
	s.wantNone("never there")
	if got := s.copies(store.ListOptions{}); len(got) > 0 {
		s.Errorf("the list has %v", keysOf(got))
	}
	at := s.clock.now()
	want := []store.Info{
		{Key: "a", Revision: 2, Deleted: true, Expires: at.Add(store.TombstoneLife)},
		{Key: "never there", Revision: 7, Deleted: true, Expires: at.Add(store.TombstoneLife)},
	}
	got := s.copies(store.ListOptions{Deleted: true})
	if diff := cmp.Diff(want, got, cmpopts.EquateApproxTime(time.Minute)); diff != "" {
		s.Errorf("tombstones (-want +got):\n%s", diff)
	}
	s.wantErr("a put that comes late", s.Put(s.Context(), s.space, plain("never there", 6)), store.ErrStale)

	s.clock.advance(store.TombstoneLife - time.Hour)
	s.mustDelete("young", 3)
	s.sweep(0)
	s.wantErr("a put that comes late", s.Put(s.Context(), s.space, plain("a", 1)), store.ErrStale)
	s.mustPut(plain("never there", 8))
	s.clock.advance(time.Hour + time.Minute)
	s.sweep(1)
	if diff := cmp.Diff([]string{"never there", "young"}, keysOf(s.copies(store.ListOptions{Deleted: true}))); diff != "" {
		s.Errorf("after the sweep (-want +got):\n%s", diff)
	}
	s.mustPut(plain("a", 1))
	s.wantEntry(plain("a", 1))
	s.wantEntry(plain("never there", 8))
}

func (s *suite) putAll() {
	ctx := s.Context()
	if got := s.PutAll(ctx, s.space, nil); got != nil {
		s.Errorf("nothing: %v", got)
	}
	s.mustPut(plain("old", 10))
	s.mustPut(plain("same", 10))
	s.mustPut(plain("gone", 10))
	all := []store.Entry{
		full("new", 1), plain("old", 9), plain("same", 10), {Info: store.Info{Key: "gone", Revision: 11, Deleted: true}},
		plain("", 1), plain("twice", 1), plain("twice", 2), plain("back", 2), plain("back", 1),
		plain("then gone", 1), {Info: store.Info{Key: "then gone", Revision: 2, Deleted: true}}, plain("last", 1),
	}
	want := make([]error, len(all))
	want[1], want[4], want[8] = store.ErrStale, store.ErrInvalid, store.ErrStale
	if diff := cmp.Diff(want, s.PutAll(ctx, s.space, all), cmpopts.EquateErrors()); diff != "" {
		s.Errorf("outcomes (-want +got):\n%s", diff)
	}
	for _, e := range []store.Entry{full("new", 1), plain("old", 10), plain("same", 10), plain("twice", 2), plain("back", 2), plain("last", 1)} {
		s.wantEntry(e)
	}
	s.wantNone("gone")
	s.wantNone("then gone")

	many := make([]store.Entry, 200)
	for i := range many {
		many[i] = plain(fmt.Sprintf("many %03d", i), uint64(i+1))
	}
	if got := s.PutAll(ctx, s.space, many); got != nil {
		s.Errorf("many: %v", got)
	}
	if got := s.copies(store.ListOptions{Prefix: "many "}); len(got) != len(many) {
		s.Errorf("the list has %d of %d", len(got), len(many))
	}
}
