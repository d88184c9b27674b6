package faultstore_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/storetest"
)

// Without faults it is as the store below it.
func TestSuite(t *testing.T) {
	storetest.Run(t, storetest.Under{
		Open: func(_ *testing.T, now func() time.Time) store.Store {
			return faultstore.New(storetest.NewMemory(now), 1, faultstore.Faults{})
		},
	})
}

func entry(revision uint64) store.Entry {
	return store.Entry{Info: store.Info{Key: "k", Revision: revision}}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	under := storetest.NewMemory(nil)
	s := faultstore.New(under, 1, faultstore.Faults{Before: 1})
	stored := func(want uint64) {
		t.Helper()
		if i, err := under.Stat(ctx, "n", "k"); i.Revision != want {
			t.Errorf("revision %d is stored, %v, want %d", i.Revision, err, want)
		}
	}
	if err := s.Put(ctx, "n", entry(1)); !store.Retryable(err) {
		t.Error(err)
	}
	stored(0)
	s.Set(faultstore.Faults{After: 1})
	if err := s.Put(ctx, "n", entry(2)); !store.Retryable(err) {
		t.Error(err)
	}
	stored(2)
	broken := errors.New("broken")
	s.Set(faultstore.Faults{After: 1, Err: broken})
	if err := s.Put(ctx, "n", entry(3)); !errors.Is(err, broken) {
		t.Error(err)
	}
	s.Set(faultstore.Faults{})
	s.Down()
	if err := s.Put(ctx, "n", entry(4)); !store.Retryable(err) {
		t.Error(err)
	}
	stored(3)
	s.Up()
	if err := s.Put(ctx, "n", entry(4)); err != nil {
		t.Error(err)
	}
	stored(4)
	if s.Calls() != 5 {
		t.Errorf("%d calls", s.Calls())
	}
}

// A batch that fails half-way has a part done, and some of that is not known to be.
func TestHalfBatch(t *testing.T) {
	var done, told int
	for seed := range uint64(20) {
		under := storetest.NewMemory(nil)
		s := faultstore.New(under, seed, faultstore.Faults{After: 1})
		var all []store.Entry
		for i := range 20 {
			all = append(all, store.Entry{Info: store.Info{Key: string(rune('a' + i)), Revision: 1}})
		}
		for _, err := range s.PutAll(t.Context(), "n", all) {
			if err == nil {
				told++
			}
		}
		for range under.List(t.Context(), "n", store.ListOptions{}) {
			done++
		}
	}
	if done < 100 || done > 300 || told >= done || told == 0 {
		t.Errorf("of 400 entries %d were stored and %d told to be", done, told)
	}
}

func TestHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := faultstore.New(storetest.NewMemory(nil), 1, faultstore.Faults{})
		s.Hang()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if err := s.Put(ctx, "n", entry(1)); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		done := make(chan error)
		go func() { done <- s.Put(t.Context(), "n", entry(1)) }()
		synctest.Wait()
		s.Up()
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Set(faultstore.Faults{Delay: time.Hour})
		began := time.Now()
		if err := s.Put(t.Context(), "n", entry(2)); err != nil || time.Since(began) == 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}
