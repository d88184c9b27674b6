package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/store"
)

func TestOver(t *testing.T) {
	type copyOf struct {
		revision uint64
		deleted  bool
	}
	for _, c := range []struct {
		name       string
		write, old copyOf
		want       bool
		stale      bool
	}{
		{"newer value", copyOf{2, false}, copyOf{1, false}, true, false},
		{"same value", copyOf{2, false}, copyOf{2, false}, false, false},
		{"older value", copyOf{1, false}, copyOf{2, false}, false, true},
		{"newer value on a tombstone", copyOf{3, false}, copyOf{2, true}, true, false},
		{"value on the tombstone of its revision", copyOf{2, false}, copyOf{2, true}, false, true},
		{"tombstone on the value of its revision", copyOf{2, true}, copyOf{2, false}, true, false},
		{"same tombstone", copyOf{2, true}, copyOf{2, true}, false, false},
		{"older tombstone", copyOf{1, true}, copyOf{2, false}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			write := store.Info{Key: "k", Revision: c.write.revision, Deleted: c.write.deleted}
			got, err := write.Over("n", store.Info{Key: "k", Revision: c.old.revision, Deleted: c.old.deleted})
			if got != c.want || errors.Is(err, store.ErrStale) != c.stale {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	good := store.Entry{Info: store.Info{Key: "k", Revision: 1}}
	if err := good.Check("cache-1"); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		namespace string
		change    func(*store.Entry)
		want      string
	}{
		"no namespace":   {"", func(*store.Entry) {}, `namespace ""`},
		"long namespace": {strings.Repeat("a", 65), func(*store.Entry) {}, "1 to 64"},
		"odd namespace":  {"a/b", func(*store.Entry) {}, `"a/b"`},
		"no key":         {"n", func(e *store.Entry) { e.Key = "" }, "0 bytes"},
		"long key":       {"n", func(e *store.Entry) { e.Key = strings.Repeat("k", 1025) }, "1025 bytes"},
		"no revision":    {"n", func(e *store.Entry) { e.Revision = 0 }, "revision"},
		"large value":    {"n", func(e *store.Entry) { e.Value = make([]byte, store.MaxValueBytes+1) }, "67108865"},
		"large metadata": {"n", func(e *store.Entry) { e.Labels = map[string]string{"a": strings.Repeat("b", store.MaxMetadataBytes)} }, "32777"},
		"backwards":      {"n", func(e *store.Entry) { e.MaxIdle = -1 }, "negative"},
		"too early":      {"n", func(e *store.Entry) { e.Created = time.Unix(-1, 0) }, "1970"},
		"too late":       {"n", func(e *store.Entry) { e.Expires = time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC) }, "2262"},
	} {
		t.Run(name, func(t *testing.T) {
			e := good
			c.change(&e)
			err := e.Check(c.namespace)
			if !errors.Is(err, store.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}
