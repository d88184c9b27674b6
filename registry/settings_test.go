package registry_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/registry"
)

// TestSettings: how a model runs is the grid's. Every node opens it so from then on, and a restart changes nothing.
func TestSettings(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	first, second := &opener{}, &opener{}
	one := openRegistry(t, g, first, nil)
	defer one.Close()
	two := openRegistry(t, g, second, nil)
	defer two.Close()
	if _, err := one.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	held, err := one.Acquire(t.Context(), "plus", 0)
	if err != nil {
		t.Fatal(err)
	}
	want := registry.Settings{Engine: "native", Threads: 3, Keep: 2}
	if err := one.Configure(t.Context(), "plus", want); err != nil {
		t.Fatal(err)
	}
	if got := runHandle(t, held); got != 2 {
		t.Errorf("a run that was under way when the settings changed: %v", got)
	}
	held.Release()
	h, err := one.Acquire(t.Context(), "plus", 0)
	if err != nil {
		t.Fatal(err)
	}
	h.Release()
	if got := first.last(); got != want || first.count() != 1 {
		t.Errorf("opened with %+v, %d sessions are open", got, first.count())
	}
	limit := time.After(5 * time.Second)
	for {
		changed := two.Changed()
		if got, set := two.Settings(t.Context(), "plus"); set && got == want {
			break
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatal("the other node does not see the settings")
		}
	}
	for range 4 {
		if _, err := one.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	if got := numbers(t, one, "plus"); len(got) != 2 {
		t.Errorf("versions %v, want 2", got)
	}
	three := openRegistry(t, g, second, nil)
	defer three.Close()
	if got, set := three.Settings(t.Context(), "plus"); !set || got != want {
		t.Errorf("after a restart: %+v, %v", got, set)
	}

	// What is refused changes nothing; what cannot be opened is tried again once the settings are others.
	if err := one.Configure(t.Context(), "plus", registry.Settings{Device: "gpu"}); !errors.Is(err, registry.ErrSettings) {
		t.Errorf("a device that there is not: %v", err)
	}
	if err := one.Configure(t.Context(), "plus", registry.Settings{Precision: "half", MemoryLimit: -1}); !errors.Is(err, registry.ErrSettings) ||
		!strings.Contains(err.Error(), "precision: ") || !strings.Contains(err.Error(), "memory_limit: ") {
		t.Errorf("options that there are not: %v", err)
	}
	if err := one.Configure(t.Context(), "plus", registry.Settings{Engine: "none"}); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Acquire(t.Context(), "plus", 0); !errors.Is(err, registry.ErrFailed) {
		t.Errorf("an engine that there is not: %v", err)
	}
	if err := one.Configure(t.Context(), "plus", registry.Settings{Threads: 1}); err != nil {
		t.Fatal(err)
	}
	if h, err = one.Acquire(t.Context(), "plus", 0); err != nil {
		t.Fatal(err)
	}
	h.Release()
	if err := one.Delete(t.Context(), "plus", 0); err != nil {
		t.Fatal(err)
	}
	if _, set := one.Settings(t.Context(), "plus"); set {
		t.Error("the settings outlive the model")
	}
	if got := numbers(t, one, "plus"); len(got) != 0 {
		t.Errorf("versions %v outlive the model", got)
	}
}

// TestDryRun: a push that is only tried is refused as the push would be, and keeps nothing.
func TestDryRun(t *testing.T) {
	g := openGrid(t, "")
	defer closeGrid(t, g)
	o := &opener{}
	r := openRegistry(t, g, o, nil)
	defer r.Close()
	dry := registry.PushOptions{DryRun: true, Settings: &registry.Settings{Threads: 2}}
	info, err := r.PushWith(t.Context(), "plus", 0, plus(t, 1, 2), dry)
	if err != nil || info.Version != 1 || o.count() != 0 || o.last().Threads != 2 {
		t.Errorf("%+v, %v; %d sessions, opened with %+v", info, err, o.count(), o.last())
	}
	if got := numbers(t, r, "plus"); len(got) != 0 {
		t.Errorf("versions %v", got)
	}
	if _, err := r.Push(t.Context(), "plus", 0, plus(t, 1, 2)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PushWith(t.Context(), "plus", 0, plus(t, 1, 3), dry); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("another signature: %v", err)
	}
	dry.Settings = &registry.Settings{Engine: "none"}
	if _, err := r.PushWith(t.Context(), "plus", 0, plus(t, 2, 2), dry); !errors.Is(err, registry.ErrRefused) {
		t.Errorf("an engine that there is not: %v", err)
	}
}
