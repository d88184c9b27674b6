// Package storetest is the suite that every store and every decorator of one passes. What is peculiar to one store is left to its own
// tests.
package storetest

import (
	"crypto/rand"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/millrace/millrace/store"
)

// Under is a store under test.
type Under struct {
	// Open opens the store, which reads the time by now. Each call of a run opens the same one: where Shared is false, the one before has been
	// closed, and where neither Shared nor Kept is set it is empty.
	Open func(t *testing.T, now func() time.Time) store.Store
	// Kept says that what is stored is there when the store is opened again.
	Kept bool
	// Shared says that the store may be open more than once at a time.
	Shared bool
	// Damage changes a byte of what is stored for a key: of the header and metadata where head is true, else of the value. Nil leaves out
	// the test of damaged copies. The store is open.
	Damage func(t *testing.T, s store.Store, namespace, key string, head bool)
	// Faulty says that calls may fail when their work is done, and are made again: then what a sweep counts is not known.
	Faulty bool
	// Slow makes the suite smaller, for stores that take milliseconds a call.
	Slow bool
}

// Run runs the suite.
func Run(t *testing.T, u Under) {
	t.Run("clocked", func(t *testing.T) {
		c := &clock{start: time.Now()}
		s := u.Open(t, c.now)
		t.Cleanup(func() {
			if err := s.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
		for _, test := range []struct {
			name string
			run  func(*suite)
		}{
			{"round trip", (*suite).roundTrip},
			{"not found", (*suite).notFound},
			{"odd keys", (*suite).oddKeys},
			{"sizes", (*suite).sizes},
			{"ownership", (*suite).ownership},
			{"invalid", (*suite).invalid},
			{"revisions", (*suite).revisions},
			{"expiry", (*suite).expiry},
			{"tombstones", (*suite).tombstones},
			{"put all", (*suite).putAll},
			{"list", (*suite).list},
			{"list long keys", (*suite).listLongKeys},
			{"list many", (*suite).listMany},
			{"namespaces", (*suite).namespaces},
			{"drop", (*suite).drop},
			{"cancel", (*suite).cancel},
			{"race of revisions", (*suite).race},
			{"race of batches", (*suite).raceOfBatches},
			{"race against the sweep", (*suite).raceAgainstSweep},
			{"damage", (*suite).damage},
			{"race of two", (*suite).raceOfTwo},
		} {
			t.Run(test.name, func(t *testing.T) { test.run(newSuite(t, u, s, c)) })
		}
	})
	t.Run("close", u.close)
	t.Run("kept", u.kept)
}

// suite is what one test has: the store, and a namespace of its own.
type suite struct {
	*testing.T
	under Under
	store.Store
	clock *clock
	space string
}

func newSuite(t *testing.T, u Under, s store.Store, c *clock) *suite {
	return &suite{t, u, s, c, newSpace(t, s)}
}

// newSpace returns a namespace that is empty, and is dropped after the test.
func newSpace(t *testing.T, s store.Store) string {
	space := "test-" + rand.Text()
	t.Cleanup(func() {
		// The test's context has ended.
		if err := s.Drop(background(), space); err != nil {
			t.Errorf("drop: %v", err)
		}
	})
	return space
}

// clock is the real time, which tests move on.
type clock struct {
	start time.Time
	ahead atomic.Int64
}

func (c *clock) now() time.Time          { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

// value returns a value that says its key and revision, so that a reader can tell a mix-up.
func value(key string, revision uint64) []byte {
	return fmt.Appendf(nil, "%d of %q %s", revision, key, strings.Repeat("x", int(revision%50)))
}

func plain(key string, revision uint64) store.Entry {
	return store.Entry{Info: store.Info{Key: key, Revision: revision}, Value: value(key, revision)}
}

func (s *suite) mustPut(e store.Entry) {
	s.Helper()
	if err := s.Put(s.Context(), s.space, e); err != nil {
		s.Fatalf("put %q at %d: %v", e.Key, e.Revision, err)
	}
}

func (s *suite) mustDelete(key string, revision uint64) {
	s.Helper()
	if err := s.Delete(s.Context(), s.space, key, revision); err != nil {
		s.Fatalf("delete %q at %d: %v", key, revision, err)
	}
}

// wantErr fails unless err is want, and where want is nil.
func (s *suite) wantErr(what string, err, want error) {
	s.Helper()
	if diff := cmp.Diff(want, err, cmpopts.EquateErrors()); diff != "" {
		s.Errorf("%s: got %v, want %v", what, err, want)
	}
}

// wantEntry fails unless Get and Stat give this entry.
func (s *suite) wantEntry(want store.Entry) {
	s.Helper()
	got, err := s.Get(s.Context(), s.space, want.Key)
	if err != nil {
		s.Errorf("get %q: %v", want.Key, err)
		return
	}
	want.Size = int64(len(want.Value))
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		s.Errorf("get %q (-want +got):\n%.2000s", want.Key, diff)
	}
	info, err := s.Stat(s.Context(), s.space, want.Key)
	if diff := cmp.Diff(want.Info, info, cmpopts.EquateEmpty()); diff != "" || err != nil {
		s.Errorf("stat %q: %v (-want +got):\n%.2000s", want.Key, err, diff)
	}
}

// wantNone fails unless Get and Stat say that the key has no value.
func (s *suite) wantNone(key string) {
	s.Helper()
	if e, err := s.Get(s.Context(), s.space, key); err == nil {
		s.Errorf("get %q gives revision %d", key, e.Revision)
	} else {
		s.wantErr("get", err, store.ErrNotFound)
	}
	_, err := s.Stat(s.Context(), s.space, key)
	s.wantErr("stat", err, store.ErrNotFound)
}

// copies returns what a list gives, and fails on an error.
func (s *suite) copies(o store.ListOptions) []store.Info {
	s.Helper()
	var infos []store.Info
	for i, err := range s.List(s.Context(), s.space, o) {
		if err != nil {
			s.Fatalf("list: %v", err)
		}
		infos = append(infos, i)
	}
	return infos
}

func keysOf(infos []store.Info) []string {
	keys := make([]string, len(infos))
	for i, info := range infos {
		keys[i] = info.Key
	}
	return keys
}
