//go:build ceph && cgo

package ceph_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
)

// More names than a list holds at a time: it goes through the namespace again, and has every key once, in order.
func TestPages(t *testing.T) {
	s := open(t, ceph.Config{Conf: filepath.Join(cluster(t), "ceph.conf")})
	s.SetPage(40)
	const space = "test-pages"
	var keys []string
	var entries []store.Entry
	for i := range 300 {
		key := fmt.Sprintf("%d/%d", i*7%10, i)
		if i%20 == 0 {
			key = strings.Repeat("long", 70) + key
		}
		keys = append(keys, key)
		entries = append(entries, store.Entry{Info: store.Info{Key: key, Revision: 1}})
	}
	slices.Sort(keys)
	if got := s.PutAll(t.Context(), space, entries); got != nil {
		t.Fatal(got)
	}
	for _, o := range []store.ListOptions{{}, {Prefix: "3/"}, {After: "4/"}, {Prefix: "l"}, {After: keys[len(keys)-3]}} {
		want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !strings.HasPrefix(key, o.Prefix) || key <= o.After })
		var got []string
		for i, err := range s.List(t.Context(), space, o) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, i.Key)
		}
		if !slices.Equal(got, want) {
			t.Errorf("prefix %q after %q: %d keys of %d, or another order", o.Prefix, o.After, len(got), len(want))
		}
	}
	if err := s.Drop(t.Context(), space); err != nil {
		t.Error(err)
	}
}
