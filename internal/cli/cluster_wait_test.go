package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/cli"
)

// evenly is a cluster that nothing is to be done in.
func evenly() cluster.Status {
	replicas := []cluster.Replica{{Node: "n1", State: "current"}, {Node: "n2", State: "current"}}
	return cluster.Status{
		Cluster: "c", Node: "n1", Nodes: []cluster.Node{{Name: "n1", Connected: true}, {Name: "n2", Connected: true}},
		Partitions:  []cluster.Partition{{Class: "durable", Partition: 0, Leader: "n1", Owner: "n1", Replicas: replicas}},
		Rebalancing: cluster.Rebalancing{State: cluster.Evenly, Controller: "n2", Current: []cluster.Move{}},
	}
}

// status runs `cluster status` on a server.
func status(t *testing.T, h http.HandlerFunc, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	node := httptest.NewServer(h)
	defer node.Close()
	var out, said bytes.Buffer
	code = cli.Main(t.Context(), append([]string{"cluster", "status", "--server", node.URL}, args...), cli.Process{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said})
	return code, out.String(), said.String()
}

func answer(t *testing.T, s cluster.Status) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(s); err != nil {
			t.Error(err)
		}
	}
}

// TestStatusWaits: --wait returns once the cluster is even and stays so, through a time in which the node does not answer, and says on stderr what it waited for; the status
// alone is on stdout.
func TestStatusWaits(t *testing.T) {
	var asked atomic.Int32
	away := evenly()
	away.Nodes[1].Connected = false
	code, out, said := status(t, func(w http.ResponseWriter, r *http.Request) {
		switch n := asked.Add(1); n {
		case 1, 2:
			http.Error(w, fmt.Sprintf(`{"error": "it is being started", "code": "unavailable", "request_id": "%d"}`, n), http.StatusServiceUnavailable)
		case 5: // a node is missed
			answer(t, away)(w, r)
		default:
			answer(t, evenly())(w, r)
		}
	}, "--wait", "--json")
	var got cluster.Status
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 0 || got.Node != "n1" {
		t.Errorf("code %d, %v: %s", code, err, out)
	}
	if want := "it is being started (unavailable, 503)\naway: n2\n"; said != want || asked.Load() < 7 {
		t.Errorf("asked %d times, it says %q, want %q", asked.Load(), said, want)
	}
}

// TestStatusWaitsForAll: whatever is not as it is to be is waited for and named. What cannot come true is a failure at once: a server that refuses, and a node alone.
func TestStatusWaitsForAll(t *testing.T) {
	for want, change := range map[string]func(*cluster.Status){
		"away: n1, n2":                           func(s *cluster.Status) { s.Nodes[0].Connected, s.Nodes[1].Connected = false, false },
		"rebalancing: paused":                    func(s *cluster.Status) { s.Rebalancing.State = cluster.Paused },
		"rebalancing: moving, 1 of 2 moves done": func(s *cluster.Status) { s.Rebalancing = cluster.Rebalancing{State: cluster.Moving, Done: 1, Total: 2} },
		"rebalancing: even\n  durable partition 0: n1 -> n2, 7 behind": func(s *cluster.Status) {
			s.Rebalancing.Current = []cluster.Move{{Class: "durable", From: "n1", To: "n2", Lag: 7}}
		},
		"durable partition 0 has no leader":                func(s *cluster.Status) { s.Partitions[0].Leader = "" },
		"durable partition 0 has no owner":                 func(s *cluster.Status) { s.Partitions[0].Owner = "" },
		"durable partition 0: the replica on n2 is behind": func(s *cluster.Status) { s.Partitions[0].Replicas[1].State = "behind" },
		"durable partition 0: nobody answers":              func(s *cluster.Status) { s.Partitions[0].Error = "nobody answers" },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := evenly()
			change(&s)
			var asked atomic.Int32
			code, out, said := status(t, func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) == 1 {
					answer(t, s)(w, r)
					return
				}
				http.Error(w, `{"error": "no token", "code": "forbidden"}`, http.StatusForbidden)
			}, "--wait")
			if code != 1 || out != "" || said != want+"\nmillrace: ask for the cluster: no token (forbidden, 403)\n" {
				t.Errorf("code %d, stdout %q, stderr %q", code, out, said)
			}
		})
	}
	code, out, said := status(t, answer(t, cluster.Status{Node: "n1"}), "--wait")
	if code != 1 || out != "" || !strings.Contains(said, "node n1 is alone: its configuration has no cluster to wait for") {
		t.Errorf("alone: code %d, stdout %q, stderr %q", code, out, said)
	}
	s := evenly()
	s.Rebalancing.State = cluster.Paused
	code, out, said = status(t, answer(t, s), "--wait", "--timeout", "1s")
	if code != 1 || out != "" || !strings.Contains(said, "millrace: the cluster is not even after 1s") {
		t.Errorf("its time is over: code %d, stdout %q, stderr %q", code, out, said)
	}
	for _, args := range [][]string{{"--timeout", "1s"}, {"--wait", "--timeout", "-1s"}} {
		if code, _, said := status(t, answer(t, evenly()), args...); code != 2 || !strings.Contains(said, "--timeout") {
			t.Errorf("%v: code %d, %s", args, code, said)
		}
	}
}
