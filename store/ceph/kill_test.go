//go:build ceph && cgo

package ceph_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
	"github.com/millrace/millrace/store/retry"
)

func sized(key string, revision uint64) store.Entry {
	e := store.Entry{Info: store.Info{Key: key, Revision: revision, Labels: map[string]string{"r": fmt.Sprint(revision)}}}
	e.Value = bytes.Repeat([]byte{byte(revision)}, int(revision*337%9000))
	return e
}

// TestKilledObjectStore is invariant 1 for this store: an object store is killed with -9 under load, comes back, and then another one. Every
// acknowledged write is there, and every write was acknowledged.
func TestKilledObjectStore(t *testing.T) {
	dir := cluster(t)
	under := open(t, ceph.Config{Conf: filepath.Join(dir, "ceph.conf")})
	s, err := retry.New(under, retry.Config{Attempts: 20})
	if err != nil {
		t.Fatal(err)
	}
	const space, writers, keys = "test-killed", 8, 20
	if err := s.Drop(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var acknowledged [writers][keys]uint64
	var total atomic.Int64
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for r := uint64(1); ; r++ {
				for k := range keys {
					select {
					case <-stop:
						return
					default:
					}
					if err := s.Put(t.Context(), space, sized(fmt.Sprintf("%d/%d", w, k), r)); err != nil {
						t.Errorf("put: %v", err)
						return
					}
					acknowledged[w][k] = r
					total.Add(1)
				}
			}
		})
	}
	more := func(n int64) {
		t.Helper()
		began := time.Now()
		for want := total.Load() + n; total.Load() < want; time.Sleep(10 * time.Millisecond) {
			if time.Since(began) > 90*time.Second {
				t.Fatalf("no %d writes in %v", n, time.Since(began))
			}
		}
		t.Logf("%d writes took %v", n, time.Since(began).Round(time.Millisecond))
	}
	more(300)
	for _, victim := range []string{"1", "2"} {
		do(t, dir, "kill", victim)
		more(300)
		do(t, dir, "revive", victim)
		do(t, dir, "await", "3")
		more(300)
	}
	close(stop)
	writing.Wait()
	for w := range writers {
		for k := range keys {
			key := fmt.Sprintf("%d/%d", w, k)
			e, err := s.Get(t.Context(), space, key)
			if err != nil || e.Revision != acknowledged[w][k] || !bytes.Equal(e.Value, sized(key, e.Revision).Value) {
				t.Errorf("%s: %v, revision %d with %d bytes, and %d was acknowledged", key, err, e.Revision, len(e.Value), acknowledged[w][k])
			}
		}
	}
	if err := s.Drop(t.Context(), space); err != nil {
		t.Error(err)
	}
}

// TestPaused: while all object stores stand still, calls end with their context, or as unavailable after the timeout, and a write that was
// under way is there afterwards or is not, whole.
func TestPaused(t *testing.T) {
	dir := cluster(t)
	s, err := ceph.Open(t.Context(), ceph.Config{Conf: filepath.Join(dir, "ceph.conf"), Timeout: 2 * time.Second, Calls: 4})
	if err != nil {
		t.Fatal(err)
	}
	before := goleak.IgnoreCurrent()
	const space = "test-paused"
	if err := s.Put(t.Context(), space, sized("k", 1)); err != nil {
		t.Fatal(err)
	}
	resume := func() {
		for _, n := range []string{"0", "1", "2"} {
			do(t, dir, "resume", n)
		}
	}
	for _, n := range []string{"0", "1", "2"} {
		do(t, dir, "pause", n)
	}
	paused := true
	defer func() {
		if paused {
			resume()
		}
	}()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	began := time.Now()
	if _, err := s.Get(ctx, space, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
		t.Errorf("get with a context of 100 ms: %v after %v", err, time.Since(began))
	}
	began = time.Now()
	if err := s.Put(t.Context(), space, sized("k", 2)); !store.Retryable(err) || time.Since(began) > 8*time.Second {
		t.Errorf("put: %v after %v", err, time.Since(began))
	}
	// A second connection is closed with a call of its own under way.
	other, err := ceph.Open(t.Context(), ceph.Config{Conf: filepath.Join(dir, "ceph.conf"), Timeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stopOther := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stopOther()
	if err := other.Put(ctx, space, sized("other", 1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("put with a context of 100 ms: %v", err)
	}
	began = time.Now()
	if err := other.Close(); err != nil || time.Since(began) > 6*time.Second {
		t.Errorf("close: %v after %v", err, time.Since(began))
	}
	if _, err := other.Get(t.Context(), space, "k"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	resume()
	paused = false
	do(t, dir, "await", "3")
	r, err := retry.New(s, retry.Config{Attempts: 20})
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Get(t.Context(), space, "k")
	if err != nil || e.Revision != 1 && e.Revision != 2 || !bytes.Equal(e.Value, sized("k", e.Revision).Value) {
		t.Errorf("get: %v, revision %d", err, e.Revision)
	}
	if err := r.Put(t.Context(), space, sized("k", 2)); err != nil {
		t.Errorf("put again: %v", err)
	}
	if err := errors.Join(r.Drop(t.Context(), space), r.Close()); err != nil {
		t.Error(err)
	}
	goleak.VerifyNone(t, before)
}
