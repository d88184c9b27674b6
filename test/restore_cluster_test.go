package test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRestoreCluster: the backup of a node alone with 8 partitions becomes the grid of a cluster of three with 16, and the cluster's that of a node alone. The command is killed once on its
// way, and run again. Revisions stay, volatile entries too, what was removed stays so, and results are there as they were and are not made again.
func TestRestoreCluster(t *testing.T) {
	dir := t.TempDir()
	more := `models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
caches: {fast: {class: volatile}}
`
	alone := func(name string) (config, base string) {
		addr := address(t)
		config = filepath.Join(dir, name+".yaml")
		text := fmt.Sprintf("node: {name: %s, data: %[1]s}\nhttp: {listen: %q}\ngrid: {partitions: 8}\n%s", name, addr, more)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return config, "http://" + addr
	}
	config, base := alone("first")
	first := start(t, config)
	first.ready(base)
	load := &load{bases: []string{base}, acked: map[string]uint64{}}
	for i := range 60 {
		load.put(0, fmt.Sprint("k", i))
	}
	load.check(first, base)
	putText(t, base, "fast", "v", "volatile")
	remove(t, base, "digits", "k0")
	first.wait("its result goes too", 20*time.Second, func() error { return absent(base, "predictions", "k0") })
	delete(load.acked, "k0")
	before, err := load.entries(base, "predictions")
	if err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(dir, "backup")
	if out, err := millrace(t, "backup", "--to", backup, "--server", base).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	first.kill()

	c := newCluster(t, "grid: {partitions: 16}\n"+more)
	for i, path := range c.configs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(text), "cluster: {", "cluster: {grow: true, ", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		c.nodes[i] = start(t, path)
	}
	for i, n := range c.nodes {
		n.wait("it waits", 60*time.Second, func() error { return waitsToGrow(c.bases[i]) })
	}
	restore := func() *exec.Cmd {
		return millrace(t, "restore", "--from", backup, "-c", c.configs[0], "--to", strings.Join(c.bases[:], ","))
	}
	work := filepath.Join(filepath.Dir(c.configs[0]), "n0.restore")
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	defer said.Close()
	killed := restore()
	killed.Stdout, killed.Stderr = said, said
	if err := killed.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- killed.Wait() }()
	c.nodes[0].wait("the cluster copies", 60*time.Second, func() error {
		text, err := os.ReadFile(said.Name())
		if err != nil {
			return err
		}
		select {
		case err := <-ended:
			t.Fatalf("the restore ended before it was killed: %v\n%s", err, text)
		default:
		}
		if !strings.Contains(string(text), "copying") {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	out, err := restore().CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, tail(c.nodes[0].log.String()))
	}
	t.Logf("%s", out)
	if _, err := os.Stat(work); !os.IsNotExist(err) {
		t.Errorf("the folder of the restore: %v", err)
	}
	for i, n := range c.nodes {
		c.ready(i)
		holds(t, n, c.bases[i], load, before)
	}
	n := 0
	for i := range c.nodes { // a cluster of its own, though the grid is that of the backup
		if id := c.status(i).ID; id == "" || id != c.status(0).ID {
			t.Errorf("node %d is of the cluster %q, node 0 of %q", i, id, c.status(0).ID)
		}
	}
	for _, p := range c.status(0).Partitions {
		if p.Class == "durable" {
			n++
		}
	}
	if n != 16 {
		t.Errorf("the cluster has %d partitions", n)
	}
	// The grid goes on: what is put has a higher revision, and its result.
	load.bases = c.bases[:]
	load.put(1, "k1")
	load.check(c.nodes[2], c.bases[2])
	if before, err = load.entries(c.bases[1], "predictions"); err != nil {
		t.Fatal(err)
	}
	second := filepath.Join(dir, "second.tar")
	if out, err := millrace(t, "backup", "--to", second, "--server", c.bases[1]).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// A cluster that has its grid takes no other.
	if out, err := restore().CombinedOutput(); err == nil {
		t.Errorf("restored into a cluster that has a grid:\n%s", out)
	} else {
		t.Logf("%s", out)
	}

	config, base = alone("last")
	if out, err := millrace(t, "restore", "--from", second, "-c", config).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	last := start(t, config)
	last.ready(base)
	load.check(last, base)
	same(t, base, load, before)
}

// holds waits until a node has what was acknowledged, with the results that there were before, and nothing that was removed.
func holds(t *testing.T, n *node, base string, l *load, before map[string]stored) {
	t.Helper()
	l.check(n, base)
	same(t, base, l, before)
	for _, cache := range []string{"digits", "predictions"} {
		if err := absent(base, cache, "k0"); err != nil {
			t.Errorf("%s/k0, which was removed: %v", cache, err)
		}
	}
	resp, err := http.Get(base + "/rest/v2/caches/fast/v")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("the volatile entry: %s", resp.Status)
	}
}

// same holds that results have the revisions that they had.
func same(t *testing.T, base string, l *load, before map[string]stored) {
	t.Helper()
	now, err := l.entries(base, "predictions")
	if err != nil {
		t.Fatal(err)
	}
	if len(now) != len(before) {
		t.Errorf("%d results, and %d before", len(now), len(before))
	}
	for key, b := range before {
		if now[key].Revision != b.Revision || now[key].Value.Source.Revision != b.Value.Source.Revision {
			t.Errorf("the result of %s is %+v, and was %+v", key, now[key], b)
		}
	}
}

// millrace is a run of the command.
func millrace(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return exec.CommandContext(t.Context(), path, args...)
}

func putText(t *testing.T, base, cache, key, text string) {
	t.Helper()
	send(t, http.MethodPut, base+"/rest/v2/caches/"+cache+"/"+key, text)
}

func remove(t *testing.T, base, cache, key string) {
	t.Helper()
	send(t, http.MethodDelete, base+"/rest/v2/caches/"+cache+"/"+key, "")
}

func send(t *testing.T, method, url, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/plain")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("%s %s: %s", method, url, resp.Status)
	}
}

// absent returns nil where a cache has no such entry.
func absent(base, cache, key string) error {
	resp, err := http.Get(base + "/rest/v2/caches/" + cache + "/" + key)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNotFound {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}
