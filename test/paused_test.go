package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPausedPipeline holds invariants 2 and 4: a pipeline that is taken out of the configuration keeps its place in its cache. Until it is back
// nothing can leave the cache that it has not read: puts go on until the cache is full, wait, and fail with 507. Once it is back, every
// put that was answered gets its result, and puts go on.
func TestPausedPipeline(t *testing.T) {
	for evict, c := range map[string]struct{ cache, pipeline string }{
		"store": {", store: cold", ""},
		"drop":  {", evict: drop", ", on_remove: keep"},
	} {
		t.Run(evict, func(t *testing.T) {
			addr := address(t)
			dir := t.TempDir()
			config := filepath.Join(dir, "millrace.yaml")
			write := func(pipelines string) {
				text := fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
stores: {cold: {type: disk, dir: %s}}
caches: {digits: {max_entries: 20%s}}
models: {digits: {path: "builtin:digits"}}
pipelines: {%s}
`, filepath.Join(dir, "data"), addr, filepath.Join(dir, "cold"), c.cache, pipelines)
				if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			l := newColdLoad("http://"+addr, 10, 6)
			run := func() *node {
				n := start(t, config)
				n.ready(l.base)
				return n
			}
			stop := func(n *node) {
				if err := n.stop(20 * time.Second); err != nil {
					t.Fatal(err)
				}
			}
			put := func(from, to int) error {
				return l.each(func(c *coldClient) error {
					for i := from; i < to; i++ {
						if err := c.put(c.key(i)); err != nil {
							return err
						}
					}
					return nil
				})
			}
			runs := fmt.Sprintf("classify: {from: digits, model: digits, to: predictions%s}", c.pipeline)
			write(runs)
			n := run()
			if err := put(0, 1); err != nil {
				t.Fatal(err)
			}
			l.results(n, 20*time.Second)
			stop(n)

			write("")
			n = run()
			before := l.counted()
			if err := put(1, 4); err != nil {
				t.Fatal(err)
			}
			now := l.counted()
			if done := now.done - before.done; done < 10 || done > 20 || now.refused-before.refused != 30-done {
				t.Errorf("%d puts of 30 were done and %d refused, in a cache of 20 that has 10 entries which may leave", done, now.refused-before.refused)
			}
			if now.longest < time.Second || now.longest > 5*time.Second || !strings.Contains(now.refusal, "reader") {
				t.Errorf("a put waited for %v at most, and was told %s", now.longest, now.refusal)
			}
			t.Logf("the longest wait was %v; %s", now.longest.Round(time.Millisecond), now.refusal)
			stop(n)

			write(runs)
			n = run()
			l.results(n, 20*time.Second)
			before = l.counted()
			if err := put(4, 6); err != nil {
				t.Fatal(err)
			}
			if now := l.counted(); now.refused > before.refused {
				t.Errorf("%d puts were refused: %s", now.refused-before.refused, now.refusal)
			}
			l.results(n, 20*time.Second)
		})
	}
}
