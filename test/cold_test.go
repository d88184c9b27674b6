package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestKillWhileCold holds invariants 1, 2 and 3 where the cache is larger than its memory: a node is killed at random moments while
// values go to a store on the disk, leave memory and come back. Nothing is lost, and nothing that was removed is back.
func TestKillWhileCold(t *testing.T) {
	killWhileCold(t, fmt.Sprintf("{type: disk, dir: %s}", filepath.Join(t.TempDir(), "cold")))
}

// killWhileCold kills a node with this store several times while the store does not have everything yet, and several times while
// values leave memory.
func killWhileCold(t *testing.T, store string) {
	addr := address(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "millrace.yaml")
	text := fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
stores: {cold: %s}
caches: {digits: {max_entries: 40, store: cold}, predictions: {max_bytes: 20KiB, store: cold}}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, filepath.Join(dir, "data"), addr, store)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := newColdLoad("http://"+addr, 4, 100)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for _, phase := range []struct {
		name string
		now  func(before, after coldStats) bool
	}{
		{"write-behind", func(_, s coldStats) bool { return s.LagEntries > 0 }},
		{"passivation", func(before, s coldStats) bool { return s.Evictions > before.Evictions }},
	} {
		for round := range kills {
			n := start(t, config)
			n.ready(l.base)
			l.check(n)
			stop := l.start(random.Uint64())
			moment := time.Duration(200+random.IntN(1300)) * time.Millisecond
			<-time.After(moment) // the moment of the kill is what this test is about
			before := l.stats(t)
			stats := before
			n.wait(phase.name, 10*time.Second, func() error {
				if stats = l.stats(t); phase.now(before, stats) {
					return nil
				}
				return fmt.Errorf("%+v, and before %+v", stats, before)
			})
			n.kill()
			stop()
			t.Logf("%s, round %d: killed after %v: %+v", phase.name, round, moment, stats)
			if stats.InMemory > 40 {
				t.Errorf("%d entries in memory, of at most 40", stats.InMemory)
			}
		}
	}
	n := start(t, config)
	n.ready(l.base)
	l.check(n)
	if stats := l.stats(t); l.keys() < 100 || stats.Cold == 0 || stats.Evictions == 0 {
		t.Errorf("%d keys, %+v: too little load to prove anything", l.keys(), stats)
	}
	l.caughtUp(n, 20*time.Second)
}
