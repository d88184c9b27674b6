package objects_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/store/internal/name"
	"github.com/millrace/millrace/store/internal/objects"
)

// In pages of any size all names come, each once, in order, and long keys that begin alike are in one group.
func TestSmallest(t *testing.T) {
	var names []string
	for i := range 500 {
		names = append(names, name.Of(fmt.Sprintf("key %d", i)))
	}
	for i := range 40 {
		names = append(names, name.Of(strings.Repeat("k", 300)+fmt.Sprint(i)), name.Of(strings.Repeat("k", i+1)), name.Of(strings.Repeat("k", 256)+"\xff"))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	for _, size := range []int{1, 3, 41, 100, 1000} {
		shuffled := slices.Clone(names)
		var got []string
		pages := 0
		for from := ""; ; pages++ {
			rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			s := objects.Smallest{Max: size}
			for _, n := range shuffled {
				if n >= from {
					s.Add(n)
				}
			}
			groups, next := s.Groups()
			kept := 0
			for _, group := range groups {
				if len(group) > 1 && len(group) != 41 {
					t.Errorf("a group of %d", len(group))
				}
				slices.Sort(group)
				got = append(got, group...)
				kept += len(group)
			}
			if kept > size && len(groups) > 1 {
				t.Errorf("%d names in a page of %d", kept, size)
			}
			if next == "" {
				break
			}
			from = next
		}
		if diff := cmp.Diff(names, got); diff != "" {
			t.Errorf("pages of %d (-want +got):\n%.1000s", size, diff)
		}
		if pages > 2*len(names)/size {
			t.Errorf("%d pages of %d", pages, size)
		}
	}
}
