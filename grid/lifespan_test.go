package grid_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
)

// TestLongestLifespans holds that a time which cannot be counted is refused, and that the longest ones that are taken are kept.
func TestLongestLifespans(t *testing.T) {
	g := open(t, grid.Config{InMemory: true})
	c := cache(t, g, grid.CacheConfig{Name: "c"})
	for _, d := range []time.Duration{grid.MaxLifespan + 1, 235 * 365 * 24 * time.Hour, math.MaxInt64} {
		for name, o := range map[string]grid.PutOptions{"lifespan": {Lifespan: d}, "max idle": {MaxIdle: d}} {
			if _, err := c.Put(t.Context(), "k", nil, o); !errors.Is(err, grid.ErrLifespan) {
				t.Errorf("%s %v: %v", name, d, err)
			}
		}
		for name, config := range map[string]grid.CacheConfig{"lifespan": {Lifespan: d}, "max idle": {MaxIdle: d}} {
			config.Name = "long"
			if err := g.CreateCache(t.Context(), config); !errors.Is(err, grid.ErrConfig) {
				t.Errorf("a cache's %s of %v: %v", name, d, err)
			}
		}
		if err := (grid.Config{InMemory: true, MarkerTTL: d}).Validate(); !errors.Is(err, grid.ErrConfig) {
			t.Errorf("marker ttl %v: %v", d, err)
		}
	}
	longest := grid.PutOptions{Lifespan: grid.MaxLifespan, MaxIdle: grid.MaxLifespan}
	if _, err := c.Put(t.Context(), "k", []byte("v"), longest); err != nil {
		t.Fatal(err)
	}
	e, err := c.Get(t.Context(), "k")
	if err != nil || e.Lifespan != grid.MaxLifespan || e.MaxIdle != grid.MaxLifespan || time.Until(e.Expires) < grid.MaxLifespan-time.Minute {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestForeignLifespans holds that what another client of the server wrote is kept, however long it says.
func TestForeignLifespans(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"2562047h": grid.MaxLifespan, "1h": time.Hour, "-1h": 0, "soon": 0, "": 0, "99999999999h": 0,
	} {
		if got := grid.SpanOf(text); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]time.Duration{
		"9223372036": grid.MaxLifespan, "9223372037": grid.MaxLifespan, "9223372036854775807": grid.MaxLifespan, "2562047h": grid.MaxLifespan,
		"7": 7 * time.Second, "7s": 7 * time.Second, "-7": 0, "never": 0, "": 0,
	} {
		if got := grid.TTLOf(text); got != want {
			t.Errorf("TTL %q is %v, want %v", text, got, want)
		}
	}
}
