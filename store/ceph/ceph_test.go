//go:build ceph && cgo

package ceph_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
	"github.com/millrace/millrace/store/faultstore"
	"github.com/millrace/millrace/store/retry"
	"github.com/millrace/millrace/store/storetest"
)

func TestSuite(t *testing.T) {
	dir := cluster(t)
	storetest.Run(t, storetest.Under{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			s, err := ceph.Open(t.Context(), ceph.Config{Conf: filepath.Join(dir, "ceph.conf"), Now: now})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
		Kept: true, Shared: true, Slow: true,
		Damage: func(t *testing.T, s store.Store, namespace, key string, head bool) {
			if err := s.(*ceph.Store).Damage(t.Context(), namespace, key, head); err != nil {
				t.Fatal(err)
			}
		},
	})
}

// Through retry over faults, and as the user who has nothing but the pool, by the monitors' address.
func TestSuiteThroughFaults(t *testing.T) {
	dir := cluster(t)
	storetest.Run(t, storetest.Under{
		Open: func(t *testing.T, now func() time.Time) store.Store {
			c := monitors(t, dir)
			c.Now = now
			s, err := ceph.Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			r, err := retry.New(faultstore.New(s, 3, faultstore.Faults{Before: 0.1, After: 0.1}), retry.Config{Attempts: 60, First: time.Millisecond, Longest: 10 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			return r
		},
		Kept: true, Shared: true, Slow: true, Faulty: true,
	})
}

// monitors is the configuration of a user by the monitors' addresses.
func monitors(t *testing.T, dir string) ceph.Config {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "ceph.conf"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "v2:")
	address, _, ok := strings.Cut(rest, ",")
	if !ok {
		t.Fatal("ceph.conf has no monitor")
	}
	return ceph.Config{Monitors: []string{address}, User: "millrace", Keyring: filepath.Join(dir, "client.millrace")}
}

func TestRefused(t *testing.T) {
	dir := cluster(t)
	conf := filepath.Join(dir, "ceph.conf")
	stranger := monitors(t, dir)
	stranger.Timeout, stranger.Keyring, stranger.Key = 2*time.Second, "", "AQBAm2ZqAAAAABAAc3R1dnd4eXphYmNkZWZnaA=="
	away := ceph.Config{Monitors: []string{"127.0.0.1:9"}, Key: stranger.Key, Timeout: time.Second}
	for name, c := range map[string]struct {
		config ceph.Config
		want   error
		text   string
	}{
		"no pool":    {ceph.Config{Conf: conf, Pool: "none"}, store.ErrDenied, "ceph osd pool create none"},
		"wrong key":  {stranger, store.ErrUnavailable, "the key is another user's"},
		"no monitor": {away, store.ErrUnavailable, "127.0.0.1:9"},
		"no user":    {ceph.Config{Conf: conf, User: "nobody", Timeout: 2 * time.Second}, nil, "client.nobody"},
		"no file":    {ceph.Config{Conf: filepath.Join(dir, "none.conf")}, nil, "none.conf"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ceph.Open(t.Context(), c.config)
			if err == nil {
				s.Close()
			}
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Error(err)
			}
		})
	}
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	away.Timeout = 3 * time.Second
	if _, err := ceph.Open(ctx, away); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("open with a context that ends: %v", err)
	}
}
