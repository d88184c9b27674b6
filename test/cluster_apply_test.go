package test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shared is what is applied in TestClusterApply.
const shared = `caches:
  digits: {max_entries: 5000}
models:
  digits: {path: "builtin:digits", threads: 1}
pipelines:
  classify: {from: digits, model: digits, to: predictions, max_batch: 32}
`

// TestClusterApply: what is applied through one node is every node's, and stays so after all have started again, with files that say something else.
func TestClusterApply(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	c := newCluster(t, "")
	c.start()
	file := filepath.Join(t.TempDir(), "grid.yaml")
	if err := os.WriteFile(file, []byte(shared), 0o600); err != nil {
		t.Fatal(err)
	}
	apply := func(through int, outcome string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), bin, "apply", "-f", file, "--server", c.bases[through]).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		want := strings.ReplaceAll("cache digits X\nmodel digits X\npipeline classify X\n", "X", outcome)
		if string(out) != want {
			t.Fatalf("applied through node %d:\n%swant:\n%s", through, out, want)
		}
	}
	seen := func(what string) {
		t.Helper()
		for i, n := range c.nodes {
			n.wait(fmt.Sprintf("node %d has it %s", i, what), 10*time.Second, func() error { return hasShared(c.bases[i]) })
		}
	}
	began := time.Now()
	apply(0, "created")
	t.Logf("applied in %v", time.Since(began).Round(time.Millisecond))
	seen("at once")
	t.Logf("every node has it after %v", time.Since(began).Round(time.Millisecond))
	for i := range c.nodes {
		apply(i, "unchanged")
	}
	load := &load{bases: c.bases[:], acked: map[string]uint64{}}
	for i := range 12 {
		load.put(i%3, fmt.Sprint("k", i))
	}
	load.check(c.nodes[0], c.bases[0])

	for i, n := range c.nodes {
		if err := n.stop(30 * time.Second); err != nil {
			t.Fatalf("node %d: %v", i, err)
		}
		other := fmt.Sprintf(`
caches: {digits: {max_entries: %d}, own%[1]d: {}}
models: {digits: {path: "builtin:digits", scale: 0.5}}
pipelines: {classify: {from: digits, model: digits, to: elsewhere%[1]d}, mine: {from: mine%[1]d, model: digits, to: there}}
`, 10+i)
		f, err := os.OpenFile(c.configs[i], os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(other); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	seen("after a restart")
	from := ""
	for i, n := range c.nodes {
		for _, kind := range []string{"cache", "model", "pipeline"} {
			name := map[string]string{"cache": "digits", "model": "digits", "pipeline": "classify"}[kind]
			if want := "changes that, and then the section is not needed in the files of nodes\" " + kind + "=" + name; !strings.Contains(n.log.String(), want) {
				t.Errorf("node %d does not warn of its %s:\n%s", i, kind, tail(n.log.String()))
			}
		}
		for own := range c.nodes { // what the grid has nothing of is taken from any node's file
			if _, err := ask[map[string]any](c.bases[i] + fmt.Sprintf("/rest/v2/caches/own%d?action=config", 10+own)); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		}
		mine, err := ask[map[string]any](c.bases[i] + "/rest/v2/pipelines/mine")
		if err != nil {
			t.Fatal(err)
		}
		if from == "" {
			from = fmt.Sprint(mine["from"])
		}
		if from != fmt.Sprint(mine["from"]) {
			t.Errorf("node %d reads %v, another one %s", i, mine["from"], from)
		}
	}
	for i := range c.nodes {
		apply(i, "unchanged")
	}
	for i := range 12 {
		load.put(i%3, fmt.Sprint("later", i))
	}
	load.check(c.nodes[2], c.bases[2])
}

// ask reads JSON.
func ask[T any](url string) (v T, err error) {
	resp, err := http.Get(url)
	if err != nil {
		return v, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return v, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return v, json.NewDecoder(resp.Body).Decode(&v)
}

// hasShared returns what a node does not have of what was applied.
func hasShared(base string) error {
	cache, err := ask[map[string]any](base + "/rest/v2/caches/digits?action=config")
	if err != nil {
		return err
	}
	settings, err := ask[map[string]any](base + "/rest/v2/models/digits/settings")
	if err != nil {
		return err
	}
	model, err := ask[struct{ Versions []struct{ State string } }](base + "/rest/v2/models/digits")
	if err != nil {
		return err
	}
	pipeline, err := ask[map[string]any](base + "/rest/v2/pipelines/classify")
	if err != nil {
		return err
	}
	got := fmt.Sprint(cache["max_entries"], settings["threads"], len(model.Versions), pipeline["to"], pipeline["max_batch"], pipeline["origin"])
	if want := fmt.Sprint(float64(5000), float64(1), 1, "predictions", float64(32), "grid"); got != want {
		return fmt.Errorf("%s, want %s", got, want)
	}
	return nil
}
