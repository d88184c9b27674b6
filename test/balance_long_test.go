//go:build long

package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
)

// TestClusterRidesThroughMoves holds invariants 1, 4, 5 and 6 while replicas and leaders move under load: a fourth node joins three, one is drained, stopped and removed, and
// one is killed, whose share is built again after its grace.
func TestClusterRidesThroughMoves(t *testing.T) {
	const more = `models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`
	c := newCluster(t, more)
	for _, config := range c.configs {
		text, err := os.ReadFile(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(config, []byte(strings.Replace(string(text), "cluster: {", "cluster: {grace: 5s, ", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	load := &load{bases: c.bases[:2], acked: map[string]uint64{}}
	seen := &seen{results: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	listening := make(chan error, 1)
	connected := make(chan struct{}, 1)
	go func() {
		listening <- listen(ctx, c.bases[0], "predictions", func() {
			select {
			case connected <- struct{}{}:
			default:
			}
		}, seen.add)
	}()
	<-connected
	during := func(round int, what string, do func()) {
		t.Helper()
		before, began := load.count(), time.Now()
		stop := load.start(round)
		do()
		stop()
		t.Logf("%s: %v, %d puts acknowledged meanwhile", what, time.Since(began).Round(time.Millisecond), load.count()-before)
		if load.count() == before {
			t.Errorf("%s: no put was acknowledged meanwhile", what)
		}
	}
	settled := func(replicas map[string]int) {
		t.Helper()
		c.nodes[0].wait(fmt.Sprint("replicas are ", replicas), 120*time.Second, func() error {
			s := c.status(0)
			if s.Rebalancing.State != cluster.Evenly {
				return fmt.Errorf("%+v", s.Rebalancing)
			}
			for _, n := range s.Nodes {
				if n.Replicas != replicas[n.Name] {
					return fmt.Errorf("%+v", n)
				}
			}
			return nil
		})
	}
	order := func(method, path string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, c.bases[0]+"/rest/v2/cluster/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s %s: status %d: %s", method, path, resp.StatusCode, body)
		}
	}
	fourth := filepath.Join(filepath.Dir(c.configs[0]), "n3.yaml")
	text := fmt.Sprintf("node: {name: n3, data: n3}\nhttp: {listen: %q}\ncluster: {grace: 5s, name: test, listen: %q, seeds: [%q], secret: %q}\n%s",
		address(t), address(t), c.peers[1], clusterSecret, more)
	if err := os.WriteFile(fourth, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var joined *node
	during(0, "a fourth node joins", func() {
		joined = start(t, fourth)
		settled(map[string]int{"n0": 6, "n1": 6, "n2": 6, "n3": 6})
	})
	during(1, "a node is killed, and its share is built again", func() {
		joined.kill()
		settled(map[string]int{"n0": 8, "n1": 8, "n2": 8})
	})
	during(2, "it is back", func() {
		joined = start(t, fourth)
		settled(map[string]int{"n0": 6, "n1": 6, "n2": 6, "n3": 6})
	})
	during(3, "a node is drained", func() {
		order(http.MethodPost, "nodes/n2?action=drain")
		settled(map[string]int{"n0": 8, "n1": 8, "n3": 8})
	})
	during(4, "it is stopped and removed", func() {
		if err := c.nodes[2].stop(30 * time.Second); err != nil {
			t.Fatal(err)
		}
		c.nodes[0].wait("it is gone", 20*time.Second, func() error {
			s := c.status(0)
			if slices.ContainsFunc(s.Nodes, func(n cluster.Node) bool { return n.Name == "n2" && n.Connected }) {
				return fmt.Errorf("%+v", s.Nodes)
			}
			return nil
		})
		order(http.MethodDelete, "nodes/n2")
		c.nodes[0].wait("it is removed", 30*time.Second, func() error {
			if s := c.status(0); len(s.Nodes) != 3 {
				return fmt.Errorf("%+v", s.Nodes)
			}
			return nil
		})
	})
	for i := range 2 {
		load.check(c.nodes[i], c.bases[i])
	}
	c.nodes[0].wait("the listener catches up", 20*time.Second, func() error { return seen.covers(load.snapshot()) })
	cancel()
	if err := <-listening; err != nil {
		t.Error(err)
	}
}
