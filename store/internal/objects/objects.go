// Package objects lists the copies of stores that keep each in an object of its own. How objects are named is package name's, and how
// they are found and read is left to the stores.
package objects

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/name"
)

// Found is one object of a list: its name, and what is in it or why that cannot be read.
type Found struct {
	Name string
	store.Info
	Err error
}

// Groups puts names that are in order into groups: those of long keys that begin alike together, since the order of their names says
// nothing, and every other one alone.
func Groups(names iter.Seq2[string, error]) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		var group []string
		for n, err := range names {
			if err != nil {
				yield(nil, err)
				return
			}
			if len(group) > 0 && !(Alike(n) != "" && Alike(n) == Alike(group[0])) {
				if !yield(group, nil) {
					return
				}
				group = nil
			}
			group = append(group, n)
		}
		if len(group) > 0 {
			yield(group, nil)
		}
	}
}

// Alike returns what the name of a long key has in common with those of keys that begin alike, and "" for other names.
func Alike(n string) string {
	if i := strings.IndexByte(n, '.'); i >= 0 {
		return n[:i]
	}
	return ""
}

// Read reads the objects of groups, width of them at a time, and gives those whose keys o asks for, by key; those that are not there any more are left
// out. Tombstones and expired values are given as well, whatever o says. Where the object of a long key cannot be read, its Key is that key's beginning. An
// error that comes second is the last.
func Read(ctx context.Context, groups iter.Seq2[[]string, error], width int, o store.ListOptions, read func(ctx context.Context, name string) (store.Info, error)) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		var held [][]string
		count := 0
		flush := func() bool {
			for _, f := range readAll(ctx, held, width, read) {
				var err error
				switch {
				case errors.Is(f.Err, store.ErrNotFound):
					continue
				case f.Err != nil && !errors.Is(f.Err, store.ErrCorrupt):
					err, f = f.Err, Found{}
				case f.Err == nil && (!strings.HasPrefix(f.Key, o.Prefix) || f.Key <= o.After):
					continue
				}
				if !yield(f, err) || err != nil {
					return false
				}
			}
			held, count = nil, 0
			return true
		}
		for group, err := range groups {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Found{}, err)
				return
			}
			held = append(held, group)
			if count += len(group); count >= 8*width && !flush() {
				return
			}
		}
		flush()
	}
}

// List gives the copies of a list that o asks for; those that are expired are left out.
func List(ctx context.Context, copies iter.Seq2[Found, error], o store.ListOptions, now func() time.Time) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		for f, err := range copies {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(store.Info{}, err)
				return
			}
			if f.Err == nil && (f.Deleted && !o.Deleted || f.Expired(now())) {
				continue
			}
			if !yield(f.Info, f.Err) {
				return
			}
		}
	}
}

func readAll(ctx context.Context, groups [][]string, width int, read func(ctx context.Context, name string) (store.Info, error)) []Found {
	var all []Found
	for _, group := range groups {
		for _, n := range group {
			all = append(all, Found{Name: n})
		}
	}
	Each(len(all), width, func(i int) {
		f := &all[i]
		key, _, err := name.Key(f.Name)
		if err != nil {
			f.Err = fmt.Errorf("%w: object %w", store.ErrCorrupt, err)
			f.Key = f.Name
			return
		}
		if f.Info, f.Err = read(ctx, f.Name); f.Err != nil {
			f.Key = key
		}
	})
	at := 0
	for _, group := range groups {
		slices.SortFunc(all[at:at+len(group)], func(a, b Found) int { return strings.Compare(a.Key, b.Key) })
		at += len(group)
	}
	return all
}

// Each calls do with 0 to n-1, width at a time, and returns when all have returned.
func Each(n, width int, do func(int)) {
	var all sync.WaitGroup
	next := make(chan int)
	for range min(n, width) {
		all.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	all.Wait()
}

// PutAll writes entries, width keys at a time and those of one key in their order, and returns what store.Store's PutAll has to.
func PutAll(entries []store.Entry, width int, write func(store.Entry) error) []error {
	byKey := map[string][]int{}
	var keys []string
	for i, e := range entries {
		if _, ok := byKey[e.Key]; !ok {
			keys = append(keys, e.Key)
		}
		byKey[e.Key] = append(byKey[e.Key], i)
	}
	outcomes := make([]error, len(entries))
	Each(len(keys), width, func(k int) {
		for _, i := range byKey[keys[k]] {
			outcomes[i] = write(entries[i])
		}
	})
	if slices.ContainsFunc(outcomes, func(err error) bool { return err != nil }) {
		return outcomes
	}
	return nil
}
