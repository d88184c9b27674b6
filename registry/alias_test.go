package registry_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/millrace/millrace/registry"
)

// numbers are the versions of a model that there are, newest first.
func numbers(t *testing.T, r *registry.Registry, name string) []int64 {
	t.Helper()
	all, err := r.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []int64
	for _, i := range all {
		if i.Name == name {
			out = append(out, i.Version)
		}
	}
	return out
}

// The version that was chosen serves over restarts, whatever comes, on the other nodes too, and the choice is undone in one step.
func TestUse(t *testing.T) {
	dir := t.TempDir()
	g := openGrid(t, dir)
	r := openRegistry(t, g, &opener{}, nil)
	for n := range 3 {
		if _, err := r.Push(t.Context(), "plus", 0, plus(t, float32(n+1), 2)); err != nil {
			t.Fatal(err)
		}
	}
	other := openRegistry(t, g, &opener{}, nil)
	changed := other.Changed()
	if s, err := r.Use(t.Context(), "plus", 2); err != nil || s != (registry.Serving{Version: 2, Pinned: true}) {
		t.Fatal(s, err)
	}
	if got := runs(t, r, "plus", 0); got != 3 {
		t.Errorf("version 2 was chosen and it gives %v", got)
	}
	for s, _ := other.Serving(t.Context(), "plus"); !s.Pinned; s, _ = other.Serving(t.Context(), "plus") {
		<-changed
		changed = other.Changed()
	}
	if got := runs(t, other, "plus", 0); got != 3 {
		t.Errorf("another node gives %v", got)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
	if info, err := r.Push(t.Context(), "plus", 0, plus(t, 9, 2)); err != nil || info.Latest {
		t.Errorf("a push beside a choice: %+v, %v", info, err)
	}
	if err := r.Delete(t.Context(), "plus", 2); !errors.Is(err, registry.ErrInUse) {
		t.Errorf("removing what was chosen: %v", err)
	}
	if _, err := r.Use(t.Context(), "plus", 77); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("choosing what there is not: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	closeGrid(t, g)

	g = openGrid(t, dir)
	defer closeGrid(t, g)
	r = openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	if got := runs(t, r, "plus", 0); got != 3 {
		t.Errorf("after a restart it gives %v", got)
	}
	for _, want := range []registry.Serving{{Version: 4}, {Version: 2, Pinned: true}, {Version: 4}} {
		if s, err := r.UsePrevious(t.Context(), "plus"); err != nil || s != want {
			t.Errorf("back: %+v, %v, want %+v", s, err, want)
		}
	}
	if _, err := r.UsePrevious(t.Context(), "nobody"); !errors.Is(err, registry.ErrNoModel) {
		t.Errorf("back of nobody: %v", err)
	}
}

// Old versions go, but for those that serve, were chosen, or are named by somebody.
func TestKeep(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	known := true
	r := openRegistry(t, g, &opener{}, func(c *registry.Config) {
		c.Keep = func(string) int { return 3 }
		c.InUse = func(string) ([]int64, bool) { return []int64{2}, known }
	})
	defer r.Close()
	push := func() {
		t.Helper()
		if _, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		push()
	}
	if _, err := r.Use(t.Context(), "plus", 3); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		push()
	}
	if got := numbers(t, r, "plus"); !slices.Equal(got, []int64{8, 7, 6, 3, 2}) {
		t.Errorf("versions %v", got)
	}
	known = false
	push()
	if got := numbers(t, r, "plus"); !slices.Equal(got, []int64{9, 8, 7, 6, 3, 2}) {
		t.Errorf("while nobody knows who names what: %v", got)
	}
}

// A source is a new version where its content or its settings have changed, and a version says where it comes from.
func TestImport(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	r := openRegistry(t, g, &opener{}, nil)
	defer r.Close()
	from := registry.PushOptions{Origin: registry.Origin{Source: "plus.onnx", By: "me"}}
	with := from
	with.Overrides = map[string]string{"labels": `["a","b"]`}
	for i, c := range []struct {
		data    []byte
		o       registry.PushOptions
		version int64
		fresh   bool
	}{
		{plus(t, 1, 2), from, 1, true}, {plus(t, 1, 2), from, 1, false}, {plus(t, 2, 2), from, 2, true}, {plus(t, 1, 2), from, 3, true},
		{plus(t, 1, 2), with, 4, true}, {plus(t, 1, 2), with, 4, false},
	} {
		info, fresh, err := r.Import(t.Context(), "plus", c.data, c.o)
		if err != nil || info.Version != c.version || fresh != c.fresh {
			t.Fatalf("%d: version %d, new %v, %v", i, info.Version, fresh, err)
		}
		if info.Source != "plus.onnx" || info.By != "me" || len(info.Digest) != 64 || info.Created.IsZero() || info.Trained == "" {
			t.Errorf("%d: %+v", i, info)
		}
	}
	if h, err := r.Acquire(t.Context(), "plus", 4); err != nil || !slices.Equal(h.Model().Labels, []string{"a", "b"}) {
		t.Errorf("the settings of version 4: %v", err)
	} else {
		h.Release()
	}
	if _, _, err := r.Import(t.Context(), "plus", plus(t, 1, 3), with); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("another signature: %v", err)
	}
	if got := runs(t, r, "plus", 0); got != 2 {
		t.Errorf("after a refusal it gives %v", got)
	}
	with.Replace = true
	if info, fresh, err := r.Import(t.Context(), "plus", plus(t, 1, 3), registry.PushOptions{Origin: from.Origin, Replace: true}); err != nil || !fresh || info.Version != 5 {
		t.Errorf("replace: %+v, %v, %v", info, fresh, err)
	}
}
