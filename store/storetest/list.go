package storetest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/store"
)

func (s *suite) list() {
	var keys []string
	for i, key := range []string{
		"b", "a", "aa", "ab", "a/1", "a/2", "a-1", "a\x00", "a\xff", "B", "10", "9", "z", "~", "_", "ab\xff\xff", "ac", "\x00", "\xff\xff", "\xff", "ü",
	} {
		e := full(key, uint64(i+1))
		s.mustPut(e)
		keys = append(keys, key)
	}
	slices.Sort(keys)
	s.mustDelete("ab-deleted", 5)
	for _, o := range []store.ListOptions{
		{}, {Prefix: "a"}, {Prefix: "a/"}, {Prefix: "ab"}, {Prefix: "b"}, {Prefix: "none"}, {Prefix: "\xff"}, {Prefix: "\x00"}, {Prefix: "ab\xff"},
		{After: "a"}, {After: "a/1"}, {After: "a/15"}, {After: "\x00"}, {After: "\xff\xff"}, {After: "zz"}, {After: strings.Repeat("a", 1024)},
		{Prefix: "a", After: "a"}, {Prefix: "a", After: "A"}, {Prefix: "a", After: "ab"}, {Prefix: "a", After: "b"}, {Prefix: "a/", After: "a"},
		{Prefix: "a", After: "a/1"}, {Prefix: "b", After: "a"},
	} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, o.Prefix) || key <= o.After })
		if diff := cmp.Diff(want, keysOf(s.copies(o)), cmpopts.EquateEmpty()); diff != "" {
			s.Errorf("prefix %q after %q (-want +got):\n%s", o.Prefix, o.After, diff)
		}
	}
	if got := keysOf(s.copies(store.ListOptions{Prefix: "ab", Deleted: true})); !slices.Equal(got, []string{"ab", "ab-deleted", "ab\xff\xff"}) {
		s.Errorf("with tombstones: %q", got)
	}

	// It has what Stat has.
	info, err := s.Stat(s.Context(), s.space, "a/1")
	s.wantErr("stat", err, nil)
	if diff := cmp.Diff([]store.Info{info}, s.copies(store.ListOptions{Prefix: "a/1"})); diff != "" {
		s.Errorf("list against stat (-want +got):\n%s", diff)
	}
	// It can be left, and gone through again.
	seq := s.List(s.Context(), s.space, store.ListOptions{})
	for range 2 {
		var got []string
		for i, err := range seq {
			s.wantErr("list", err, nil)
			if got = append(got, i.Key); len(got) == 3 {
				break
			}
		}
		if !slices.Equal(got, keys[:3]) {
			s.Errorf("the first three are %q", got)
		}
	}
	for i, err := range s.List(s.Context(), newSpace(s.T, s.Store), store.ListOptions{}) {
		s.Errorf("an empty namespace has %v, %v", i, err)
	}
}

// listLongKeys: stores shorten the names of long keys.
func (s *suite) listLongKeys() {
	long := strings.Repeat("l", 256)
	var keys []string
	for i, key := range []string{long, long + "b", long + "a", long + "\x00", long + "\xff", long + "aa", long[:255], long[:255] + "m", long[:255] + "k", long + "/" + long,
		strings.Repeat("l", 1024), strings.Repeat("l", 1023), long[:255] + "\xff" + long, long[:255] + "\x00" + long} {
		s.mustPut(plain(key, uint64(i+1)))
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, o := range []store.ListOptions{{}, {Prefix: long}, {Prefix: long + "a"}, {After: long}, {After: long + "a"}, {After: long + "\xff"}, {Prefix: long, After: long + "a"}, {After: long[:255]}} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, o.Prefix) || key <= o.After })
		if diff := cmp.Diff(want, keysOf(s.copies(o)), cmpopts.EquateEmpty()); diff != "" {
			s.Errorf("prefix %q after %q (-want +got):\n%.3000s", o.Prefix, o.After, diff)
		}
	}
}

// listMany: more than a page of any store, in pages of our own.
func (s *suite) listMany() {
	count := 2500
	if s.under.Slow {
		count = 1100
	}
	var keys []string
	var entries []store.Entry
	for i := range count {
		key := fmt.Sprintf("%x/%d", i*7919%256, i)
		keys = append(keys, key)
		entries = append(entries, plain(key, uint64(i+1)))
	}
	for batch := range slices.Chunk(entries, 100) {
		if got := s.PutAll(s.Context(), s.space, batch); got != nil {
			s.Fatal(got)
		}
	}
	slices.Sort(keys)
	if got := keysOf(s.copies(store.ListOptions{})); !slices.Equal(got, keys) {
		s.Errorf("the list has %d keys of %d, or another order", len(got), len(keys))
	}
	var got []string
	for {
		o := store.ListOptions{}
		if len(got) > 0 {
			o.After = got[len(got)-1]
		}
		page := 0
		for i, err := range s.List(s.Context(), s.space, o) {
			if err != nil {
				s.Fatal(err)
			}
			got = append(got, i.Key)
			if page++; page == 700 {
				break
			}
		}
		if page < 700 {
			break
		}
	}
	if !slices.Equal(got, keys) {
		s.Errorf("in pages the list has %d keys of %d, or another order", len(got), len(keys))
	}
}

func (s *suite) namespaces() {
	other := newSpace(s.T, s.Store)
	s.mustPut(plain("k", 5))
	if _, err := s.Get(s.Context(), other, "k"); !isNotFound(err) {
		s.Errorf("another namespace: %v", err)
	}
	if err := s.Put(s.Context(), other, plain("k", 1)); err != nil {
		s.Error(err)
	}
	s.wantEntry(plain("k", 5))
	names, err := s.Namespaces(s.Context())
	if err != nil || !slices.IsSorted(names) || !slices.Contains(names, s.space) || !slices.Contains(names, other) {
		s.Errorf("namespaces: %v, %v", names, err)
	}
}

func (s *suite) drop() {
	near := s.space + "2"
	s.Cleanup(func() {
		if err := s.Store.Drop(background(), near); err != nil {
			s.Error(err)
		}
	})
	for i, key := range odd() {
		s.mustPut(plain(key, uint64(i+5)))
	}
	s.mustDelete("deleted", 9)
	if err := s.Put(s.Context(), near, plain("k", 5)); err != nil {
		s.Error(err)
	}
	for range 2 {
		s.wantErr("drop", s.Drop(s.Context(), s.space), nil)
		if got := s.copies(store.ListOptions{Deleted: true}); len(got) > 0 {
			s.Errorf("after the drop: %q", keysOf(got))
		}
	}
	names, err := s.Namespaces(s.Context())
	if err != nil || slices.Contains(names, s.space) || !slices.Contains(names, near) {
		s.Errorf("namespaces: %v, %v", names, err)
	}
	if e, err := s.Get(s.Context(), near, "k"); err != nil || e.Revision != 5 {
		s.Errorf("the namespace whose name is longer: %v, %v", e, err)
	}
	// Nothing of what was there counts any more.
	s.mustPut(plain("deleted", 1))
	s.wantEntry(plain("deleted", 1))
	if names, err = s.Namespaces(s.Context()); err != nil || !slices.Contains(names, s.space) {
		s.Errorf("namespaces after a put: %v, %v", names, err)
	}
}
