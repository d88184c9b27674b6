package storetest

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

// damage: a copy that is damaged is never given out, and the error names it.
func (s *suite) damage() {
	if s.under.Damage == nil {
		s.Skip("this store has no bytes that can be damaged")
	}
	for _, head := range []bool{false, true} {
		key := map[bool]string{false: "value damaged", true: "head damaged"}[head]
		s.mustPut(full(key, 5))
		s.mustPut(plain("next to it", 5))
		s.under.Damage(s.T, s.Store, s.space, key, head)
		_, err := s.Get(s.Context(), s.space, key)
		if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), key) || !strings.Contains(err.Error(), s.space) {
			s.Errorf("get of %q: %v", key, err)
		}
		s.wantEntry(plain("next to it", 5))
		if !head {
			// A newer revision mends it.
			s.mustPut(plain(key, 6))
			s.wantEntry(plain(key, 6))
			continue
		}
		_, err = s.Stat(s.Context(), s.space, key)
		s.wantErr("stat", err, store.ErrCorrupt)
		// What cannot be read cannot be compared with.
		s.wantErr("put", s.Put(s.Context(), s.space, plain(key, 6)), store.ErrCorrupt)
		var keys []string
		for i, err := range s.List(s.Context(), s.space, store.ListOptions{}) {
			keys = append(keys, i.Key)
			want := error(nil)
			if i.Key == key {
				want = store.ErrCorrupt
			}
			s.wantErr("list", err, want)
		}
		if strings.Join(keys, ",") != "head damaged,next to it,value damaged" {
			s.Errorf("the list has %q", keys)
		}
	}
}

// close: what a store does when it was closed.
func (u Under) close(t *testing.T) {
	s := u.Open(t, time.Now)
	space := "test-close"
	if err := s.Drop(t.Context(), space); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	c := &suite{t, u, s, nil, space}
	c.wantErr("put", s.Put(t.Context(), space, plain("k", 1)), store.ErrClosed)
	c.wantErr("delete", s.Delete(t.Context(), space, "k", 1), store.ErrClosed)
	for _, err := range s.PutAll(t.Context(), space, []store.Entry{plain("k", 1)}) {
		c.wantErr("put all", err, store.ErrClosed)
	}
	if s.PutAll(t.Context(), space, []store.Entry{plain("k", 1)}) == nil {
		t.Error("put all succeeds on a closed store")
	}
	_, err := s.Get(t.Context(), space, "k")
	c.wantErr("get", err, store.ErrClosed)
	_, err = s.Stat(t.Context(), space, "k")
	c.wantErr("stat", err, store.ErrClosed)
	_, err = s.Namespaces(t.Context())
	c.wantErr("namespaces", err, store.ErrClosed)
	_, err = s.Sweep(t.Context(), space)
	c.wantErr("sweep", err, store.ErrClosed)
	c.wantErr("drop", s.Drop(t.Context(), space), store.ErrClosed)
	n := 0
	for _, err := range s.List(t.Context(), space, store.ListOptions{}) {
		c.wantErr("list", err, store.ErrClosed)
		n++
	}
	if n != 1 {
		t.Errorf("the list of a closed store gives %d times", n)
	}
}

// kept: what is stored is there when the store is opened again, tombstones too.
func (u Under) kept(t *testing.T) {
	if !u.Kept {
		t.Skip("this store keeps nothing")
	}
	s := u.Open(t, time.Now)
	space := "test-kept"
	if err := s.Drop(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	for _, e := range []store.Entry{full("a", 5), plain("b", 5)} {
		if err := s.Put(t.Context(), space, e); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Delete(t.Context(), space, "b", 6); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = u.Open(t, time.Now)
	defer s.Close()
	c := &suite{t, u, s, nil, space}
	c.wantEntry(full("a", 5))
	c.wantNone("b")
	c.wantErr("an older put", s.Put(t.Context(), space, plain("b", 5)), store.ErrStale)
	if names, err := s.Namespaces(t.Context()); err != nil || !strings.Contains(strings.Join(names, ","), space) {
		t.Errorf("namespaces: %v, %v", names, err)
	}
	c.wantErr("drop", s.Drop(t.Context(), space), nil)
}
