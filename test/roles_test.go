package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// rolesOf are nodes of one cluster, each with roles of its own.
func rolesOf(t *testing.T, roles ...string) (configs, bases []string) {
	t.Helper()
	dir := t.TempDir()
	var peers []string
	for range roles {
		peers = append(peers, address(t))
	}
	for i, r := range roles {
		addr := address(t)
		bases = append(bases, "http://"+addr)
		configs = append(configs, filepath.Join(dir, fmt.Sprintf("n%d.yaml", i)))
		text := fmt.Sprintf("node: {name: n%d, data: n%[1]d, roles: [%s]}\nhttp: {listen: %q}\ncluster: {name: test, listen: %q, seeds: [%q, %q], secret: %q}\n",
			i, r, addr, peers[i], peers[0], peers[1], clusterSecret)
		if strings.Contains(r, "door") {
			text += "models: {digits: {path: \"builtin:digits\"}}\npipelines: {classify: {from: digits, model: digits, to: predictions, max_batch: 16}}\n"
		}
		if err := os.WriteFile(configs[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return configs, bases
}

// TestRolesSurviveKill holds invariants 1, 4, 5 and 6 where the nodes that keep entries, those that run models and the door are different ones: a node that runs models is
// killed under load, and then the door.
func TestRolesSurviveKill(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	configs, bases := rolesOf(t, "grid", "grid", "grid", "compute", "compute", "door")
	c := &clusterNodes{t: t}
	began := time.Now()
	var nodes []*node
	for i := range configs {
		nodes = append(nodes, start(t, configs[i]))
	}
	for i, n := range nodes {
		n.ready(bases[i])
	}
	t.Logf("six nodes are ready after %v", time.Since(began).Round(time.Millisecond))
	door := bases[5]
	load := &load{bases: []string{door}, acked: map[string]uint64{}}
	results := &seen{results: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	connected := make(chan struct{}, 1)
	listening := make(chan error, 1)
	go func() {
		listening <- listen(ctx, door, "predictions", func() {
			select {
			case connected <- struct{}{}:
			default:
			}
		}, results.add)
	}()
	<-connected
	stop := load.start(0)
	nodes[5].wait("both nodes run batches", 30*time.Second, func() error {
		for _, i := range []int{3, 4} {
			n, err := metric(bases[i], `millrace_pipeline_spread_in_total{pipeline="classify"}`)
			if err != nil || n < 10 {
				return fmt.Errorf("node n%d has run %v batches, %w", i, n, err)
			}
		}
		return nil
	})
	nodes[4].kill()
	killed, before := time.Now(), load.count()
	nodes[5].wait("results of what was put after the kill", 30*time.Second, func() error {
		if n := load.count(); n < before+200 {
			return fmt.Errorf("%d puts since", n-before)
		}
		return nil
	})
	t.Logf("%d puts were acknowledged when a node that runs models was killed, and 200 more %v later", before, time.Since(killed).Round(time.Millisecond))
	stop()
	load.check(nodes[5], door)
	t.Logf("every result is there %v after the kill", time.Since(killed).Round(time.Millisecond))
	nodes[5].wait("the listener catches up", 20*time.Second, func() error { return results.covers(load.snapshot()) })
	cancel()
	if err := <-listening; err != nil {
		t.Error(err)
	}

	// What the door had acknowledged is there for the next one.
	nodes[5].kill()
	nodes[5] = start(t, configs[5])
	nodes[5].ready(door)
	load.check(nodes[5], door)
	c.bases = [3]string(bases[:3])
	nodes[1].wait("the killed node is nobody's any more", 20*time.Second, func() error {
		s := c.status(1)
		for _, n := range s.Nodes {
			keeps := slices.Equal(n.Roles, []string{"grid"})
			if n.Name < "n3" && !keeps || n.Connected && keeps != (n.Replicas > 0) || keeps != (n.Leads > 0) {
				return fmt.Errorf("node %s: %+v", n.Name, n)
			}
		}
		if len(s.Nodes) != 5 {
			return fmt.Errorf("the cluster has %+v", s.Nodes)
		}
		return nil
	})

	// A folder with replicas is of a node that keeps them.
	if err := nodes[2].stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(configs[2])
	if err != nil {
		t.Fatal(err)
	}
	turned := filepath.Join(filepath.Dir(configs[2]), "turned.yaml")
	if err := os.WriteFile(turned, []byte(strings.Replace(string(text), "roles: [grid]", "roles: [compute]", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.refuses("a node with replicas and without the role", turned, "millrace cluster drain n2")
}

// metric asks a node for one of its numbers; one that it does not have yet is 0.
func metric(base, name string) (float64, error) {
	resp, err := http.Get(base + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, nil
}
