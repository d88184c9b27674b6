package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/natstest"
)

// clusterOf returns configurations of nodes that are one cluster, by their roles. The first one is the seed of all.
func clusterOf(t *testing.T, roles ...string) []func(*app.Config) {
	t.Helper()
	var peers []string
	for range roles {
		addr, err := natstest.Address()
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, addr)
	}
	var out []func(*app.Config)
	for i, r := range roles {
		dir := t.TempDir()
		out = append(out, func(c *app.Config) {
			c.Node.Name, c.Node.Roles, c.Node.Data = fmt.Sprint("n", i), strings.Fields(r), app.Path(dir)
			c.Cluster.Name, c.Cluster.Listen, c.Cluster.Seeds, c.Cluster.Secret = "test", peers[i], []string{peers[0], peers[1]}, "a secret of the tests"
		})
	}
	return out
}

// TestRoles: nodes that have each a role of their own are one grid: what is put through a door is kept by those with replicas, run by one that opens models, and its result
// is at the door. Each node says what it does not do, and who does.
func TestRoles(t *testing.T) {
	if testing.Short() {
		t.Skip("six nodes of one process take a minute under the race detector")
	}
	configs := clusterOf(t, "grid", "grid", "grid", "compute", "door", "compute")
	compute := runStoppable(t, configs[3])
	urls := make([]string, len(configs))
	var starting sync.WaitGroup
	for _, i := range []int{0, 1, 2, 4} {
		starting.Go(func() {
			urls[i] = run(t, func(c *app.Config) {
				configs[i](c)
				if i == 4 {
					c.Models = map[string]app.ModelConfig{"digits": {Path: app.Builtin + "digits"}}
					c.Pipelines = map[string]app.PipelineConfig{"classify": {From: "digits", Model: "digits", To: "results"}}
				}
			})
		})
	}
	starting.Wait()
	urls[3] = <-compute.url
	door := urls[4]
	for _, url := range urls[:5] {
		awaitReasons(t, url)
	}
	picture := make([]byte, 784)
	result := func(key string) {
		t.Helper()
		if status, body := send(t, "PUT", door+"rest/v2/caches/digits/"+key, picture); status != 204 {
			t.Fatalf("put %s: %d %s", key, status, body)
		}
		await(t, "the result of "+key, func() bool {
			status, body := send(t, "GET", door+"rest/v2/caches/results/"+key, nil)
			return status == 200 && strings.Contains(body, `"label":`)
		})
	}
	for i := range 16 { // each partition has one
		result(fmt.Sprint("k", i))
	}

	for _, url := range []string{urls[0], urls[3]} {
		for _, path := range []string{"rest/v2/caches/digits/k0", "rest/v2/models", "v2/models/digits/infer", "v2", ""} {
			if status, body := send(t, "GET", url+path, nil); status != http.StatusMisdirectedRequest || !strings.Contains(body, `"code":"wrong_node"`) || !strings.Contains(body, "ask one of n4") {
				t.Errorf("a node without a door answers /%s with %d %s", path, status, body)
			}
		}
		for _, path := range []string{"metrics", "rest/v2/stats", "rest/v2/cluster", "openapi.yaml", "v2/health/live", "v2/health/ready"} {
			if status, body := send(t, "GET", url+path, nil); status != 200 {
				t.Errorf("a node without a door answers /%s with %d %s", path, status, body)
			}
		}
	}
	infer := []byte(`{"inputs":[{"name":"image","shape":[1,784],"datatype":"FP32","data":[0]}]}`)
	if status, body := send(t, "POST", door+"v2/models/digits/infer", infer); status != http.StatusMisdirectedRequest || !strings.Contains(body, "n3") {
		t.Errorf("infer at a door that opens no models: %d %s", status, body)
	}
	if status, body := send(t, "PUT", door+"rest/v2/models/other", []byte("no model")); status != http.StatusUnprocessableEntity {
		t.Errorf("a bad model at the door: %d %s", status, body)
	}
	if status, body := send(t, "POST", urls[0]+"rest/v2/cluster/nodes/n3?action=drain", nil); status != http.StatusConflict || !strings.Contains(body, "no grid in its roles") {
		t.Errorf("drain a node without replicas: %d %s", status, body)
	}
	awaitRoles(t, urls[1], "grid", "grid", "grid", "compute", "door")

	// Without a node that opens models entries wait, and those who watch see why.
	compute.stop()
	if status, body := send(t, "PUT", door+"rest/v2/caches/digits/waits", picture); status != 204 {
		t.Fatalf("put: %d %s", status, body)
	}
	for i := range 16 {
		send(t, "PUT", door+"rest/v2/caches/digits/"+fmt.Sprint("waits", i), picture)
	}
	for _, url := range []string{urls[0], urls[1], urls[2], door} {
		awaitReasons(t, url, "pipeline classify is blocked", "no node that opens models is there")
	}
	urls[5] = run(t, configs[5])
	await(t, "the result of what waited", func() bool {
		status, _ := send(t, "GET", door+"rest/v2/caches/results/waits", nil)
		return status == 200
	})
	awaitReasons(t, door)
	if status, body := send(t, "GET", door+"rest/v2/caches/classify-errors?action=size", nil); status != 200 || strings.TrimSpace(body) != "0" {
		t.Errorf("error entries: %d %s", status, body)
	}
}

// awaitRoles waits until a cluster has these nodes, each with one role, and what those with replicas own is spread over them.
func awaitRoles(t *testing.T, url string, roles ...string) {
	t.Helper()
	var wrong string
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var s cluster.Status
		_, body := send(t, "GET", url+"rest/v2/cluster", nil)
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatalf("the cluster: %s: %v", body, err)
		}
		if wrong = ""; len(s.Nodes) != len(roles) {
			wrong = body
		}
		for i, n := range s.Nodes[:min(len(s.Nodes), len(roles))] {
			keeps := roles[i] == "grid"
			if !slices.Equal(n.Roles, roles[i:i+1]) || !n.Connected || (n.Replicas > 0) != keeps || (n.Owns > 0) != keeps {
				wrong = fmt.Sprintf("node %s: %+v", n.Name, n)
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", wrong)
		}
	}
}

// await waits up to a minute.
func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(time.Minute); !is(); <-ticker.C {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}
