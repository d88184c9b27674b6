package cli

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/client"
)

// TestLeftBehind: a growth tells which pipelines of the old node's file the cluster does not run. A node that has not opened its grid yet is asked again.
func TestLeftBehind(t *testing.T) {
	asked := 0
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if asked++; asked == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte(`{"error":"the node waits for the grid","code":"grid_unavailable"}`))
			return
		}
		_, _ = w.Write([]byte(`[{"name":"runs","origin":"grid","state":"running"},{"name":"left","state":"not configured"}]`))
	}))
	defer node.Close()
	for _, c := range []struct {
		named []string
		says  string
	}{
		{[]string{"left", "runs", "never"}, "the cluster does not run left, never, which the old node's own file has"},
		{[]string{"runs"}, ""},
		{nil, ""},
	} {
		var stderr bytes.Buffer
		command := &command{Process: Process{Stderr: &stderr}}
		command.leftBehind(t.Context(), cluster.Target{To: []string{node.URL}}, "", c.named)
		if got := stderr.String(); !strings.Contains(got, c.says) || c.says == "" && got != "" {
			t.Errorf("of %v it says %q", c.named, got)
		}
	}
	if asked != 3 {
		t.Errorf("the node was asked %d times", asked)
	}
}

// TestFollowToTheEnd: where a growth ends between two looks, what is said last is that it is done, not that no partition was moved.
func TestFollowToTheEnd(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			_, _ = w.Write([]byte(`{"cluster":"c","running":true,"progress":{"step":"moving","partitions":4,"moved":0}}`))
			return
		}
		_, _ = w.Write([]byte(`{"cluster":"c","running":false,"progress":{"step":"done","partitions":4,"moved":0}}`))
	}))
	defer node.Close()
	cl, err := client.New(client.Config{Server: node.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var stderr bytes.Buffer
	command := &command{Process: Process{Stderr: &stderr}}
	if _, err := command.follow(t.Context(), cl, cluster.Target{To: []string{node.URL}}); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Split(strings.TrimSpace(stderr.String()), "\n"); len(lines) != 2 || !strings.Contains(lines[0], "0 of 4 partitions") || !strings.Contains(lines[1], "look after all partitions") {
		t.Errorf("it says %q", lines)
	}
}
