package registry_test

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/registry"
)

// TestLastVersion: no number comes after the last one, and a version of that number is like any other.
func TestLastVersion(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	if _, err := r.Push(t.Context(), "plus", 3, plus(t, 3, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Push(t.Context(), "plus", math.MaxInt64, plus(t, 9, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); !errors.Is(err, registry.ErrVersionExists) || !strings.Contains(err.Error(), "no number comes after it") {
		t.Errorf("a push after the last number: %v", err)
	}
	if got := runs(t, r, "plus", 0); got != 10 {
		t.Errorf("the newest gives %v", got)
	}
	if info, err := r.Push(t.Context(), "plus", 7, plus(t, 7, 2)); err != nil || info.Latest {
		t.Errorf("a push with a number: %+v, %v", info, err)
	}
	if err := r.Delete(t.Context(), "plus", math.MaxInt64); err != nil {
		t.Fatal(err)
	}
	if info, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil || info.Version != 8 {
		t.Errorf("a push after it was removed: %+v, %v", info, err)
	}
}

// TestNegativeVersion: what was kept under such a number is seen, keeps nothing from being served or pushed, and can be removed.
func TestNegativeVersion(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	c, err := g.Cache(t.Context(), registry.Cache)
	if err != nil { // the first registry makes it
		r := openRegistry(t, g, &opener{}, nil)
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if c, err = g.Cache(t.Context(), registry.Cache); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []int64{math.MinInt64, 0} {
		value, err := json.Marshal(map[string]any{"name": "plus", "version": version, "sha256": "x", "bytes": 1, "push": "P", "chunks": 1})
		if err != nil {
			t.Fatal(err)
		}
		key := map[int64]string{math.MinInt64: "manifest/plus/-9223372036854775808", 0: "manifest/plus/0"}[version]
		if _, err := c.Put(t.Context(), key, value, grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Put(t.Context(), "chunk/P/000000", []byte("x"), grid.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	infos, err := r.List(t.Context())
	if err != nil || len(infos) != 2 || infos[1].Version != math.MinInt64 || infos[1].State != registry.Failed || !strings.Contains(infos[1].Reason, "remove it") {
		t.Fatalf("the list has %+v, %v", infos, err)
	}
	if info, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil || info.Version != 1 || !info.Latest {
		t.Errorf("a push: %+v, %v", info, err)
	}
	if got := runs(t, r, "plus", 0); got != 2 {
		t.Errorf("the newest gives %v", got)
	}
	if _, err := r.Acquire(t.Context(), "plus", math.MinInt64); !errors.Is(err, registry.ErrFailed) {
		t.Errorf("it is lent: %v", err)
	}
	if err := r.Delete(t.Context(), "plus", math.MinInt64); err != nil {
		t.Fatal(err)
	}
	if infos, err := r.List(t.Context()); err != nil || len(infos) != 2 {
		t.Errorf("after it was removed: %+v, %v", infos, err)
	}
	if _, err := c.Get(t.Context(), "manifest/plus/-9223372036854775808"); !errors.Is(err, grid.ErrNotFound) {
		t.Errorf("its manifest: %v", err)
	}
	if err := r.Delete(t.Context(), "plus", 0); err != nil {
		t.Fatal(err)
	}
	if infos, err := r.List(t.Context()); err != nil || len(infos) != 0 {
		t.Errorf("after all were removed: %+v, %v", infos, err)
	}
}

// TestAddFailed: a version that the configuration names and that cannot be read is in the list with the reason, and the one before it serves.
func TestAddFailed(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	if _, err := r.Push(t.Context(), "plus", 1, plus(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if err := r.AddFailed("plus", 2, "models/plus/2", errors.New("the disk is wet")); err != nil {
		t.Fatal(err)
	}
	if err := r.AddFailed("plus", 1, "models/plus/1", errors.New("in place of one that is there")); err != nil {
		t.Fatal(err)
	}
	if got := runs(t, r, "plus", 0); got != 2 {
		t.Errorf("the newest gives %v", got)
	}
	info, err := r.Get(t.Context(), "plus", 2)
	if err != nil || info.State != registry.Failed || info.Reason != "the disk is wet" || info.Source != "models/plus/2" || info.Latest {
		t.Errorf("got %+v, %v", info, err)
	}
	if err := r.Delete(t.Context(), "plus", 2); !errors.Is(err, registry.ErrFixed) {
		t.Errorf("removal: %v", err)
	}
	if _, _, err := r.Download(t.Context(), "plus", 2); !errors.Is(err, registry.ErrFixed) {
		t.Errorf("download: %v", err)
	}
	if err := r.AddFailed("plus", -1, "x", errors.New("x")); !errors.Is(err, registry.ErrName) {
		t.Errorf("a negative number: %v", err)
	}
}
