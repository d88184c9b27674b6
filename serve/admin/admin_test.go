package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/admin"
)

func ask(cfg admin.Config, method, path string) *httptest.ResponseRecorder {
	var routes serve.Routes
	admin.Handle(&routes, cfg)
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

var everything = admin.Config{
	Metrics:  http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("up 1\n")) }),
	Stats:    func(context.Context) (admin.Stats, error) { return admin.Stats{Node: admin.NodeStats{Name: "n1"}}, nil },
	Profiles: true,
}

func TestHandle(t *testing.T) {
	document, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	failing := everything
	failing.Stats = func(context.Context) (admin.Stats, error) { return admin.Stats{}, errors.New("the disk is gone") }
	for _, c := range []struct {
		name, method, path string
		cfg                admin.Config
		status             int
		want               string // is in the body
	}{
		{"the document", "GET", "/openapi.yaml", admin.Config{}, 200, string(document)},
		{"its head", "HEAD", "/openapi.yaml", admin.Config{}, 200, ""},
		{"below the document", "GET", "/openapi.yaml/x", admin.Config{}, 404, "no_route"},
		{"writing the document", "PUT", "/openapi.yaml", admin.Config{}, 405, "method_not_allowed"},
		{"metrics", "GET", "/metrics", everything, 200, "up 1"},
		{"below metrics", "GET", "/metrics/x", everything, 404, "no_route"},
		{"posting metrics", "POST", "/metrics", everything, 405, "method_not_allowed"},
		{"no metrics", "GET", "/metrics", admin.Config{}, 404, "no_route"},
		{"stats", "GET", "/rest/v2/stats", everything, 200, `"caches":[],"pipelines":[]`},
		{"stats that fail", "GET", "/rest/v2/stats", failing, 500, "internal"},
		{"cluster", "GET", "/rest/v2/cluster", admin.Config{Cluster: func(context.Context) any { return map[string]string{"node": "n1"} }}, 200, `{"node":"n1"}`},
		{"rebalance", "POST", "/rest/v2/cluster/rebalance", orders(), 202, ""},
		{"pause", "POST", "/rest/v2/cluster/rebalance?action=pause", orders(), 202, ""},
		{"no such action", "POST", "/rest/v2/cluster/rebalance?action=stop", orders(), 400, `action=\"stop\"`},
		{"rebalance is no GET", "GET", "/rest/v2/cluster/rebalance", orders(), 405, "takes POST"},
		{"drain", "POST", "/rest/v2/cluster/nodes/n%201?action=drain", orders(), 202, ""},
		{"neither drain nor undrain", "POST", "/rest/v2/cluster/nodes/n1", orders(), 400, "drain or undrain"},
		{"remove what is not there", "DELETE", "/rest/v2/cluster/nodes/n1", orders(), 404, "node_not_found"},
		{"remove a node of none", "DELETE", "/rest/v2/cluster/nodes/n1", admin.Config{
			Cluster: func(context.Context) any { return nil }, Control: func() (admin.Cluster, error) { return nil, cluster.ErrAlone },
		}, 409, "cluster_refused"},
		{"no node", "DELETE", "/rest/v2/cluster/nodes/", orders(), 404, "no_route"},
		{"no cluster", "GET", "/rest/v2/cluster", admin.Config{}, 404, "no_route"},
		{"no stats", "GET", "/rest/v2/stats", admin.Config{}, 404, "no_route"},
		{"profiles", "GET", "/debug/pprof/", everything, 200, "heap"},
		{"a profile", "GET", "/debug/pprof/heap", everything, 200, ""},
		{"posting a profile", "POST", "/debug/pprof/heap", everything, 405, "method_not_allowed"},
		{"no profiles", "GET", "/debug/pprof/heap", admin.Config{}, 404, "no_route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(c.cfg, c.method, c.path)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) || c.method == "HEAD" && w.Body.Len() > 0 {
				t.Errorf("%d %.200q, want %d %.200q", w.Code, w.Body, c.status, c.want)
			}
		})
	}
	if kind := ask(admin.Config{}, "GET", "/openapi.yaml").Header().Get("Content-Type"); kind != "application/yaml" {
		t.Errorf("the document is %s", kind)
	}
}

// ordered takes orders, and knows the node "n 1" alone.
type ordered struct{}

func orders() admin.Config {
	return admin.Config{Cluster: func(context.Context) any { return nil }, Control: func() (admin.Cluster, error) { return ordered{}, nil }}
}

func (ordered) Rebalance(context.Context) error { return nil }
func (ordered) Pause(context.Context) error     { return nil }
func (ordered) Resume(context.Context) error    { return errors.New("not asked for") }
func (ordered) Cancel(context.Context) error    { return errors.New("not asked for") }

func (ordered) Drain(_ context.Context, node string) error {
	if node != "n 1" {
		return cluster.ErrNode
	}
	return nil
}
func (ordered) Undrain(context.Context, string) error { return errors.New("not asked for") }
func (ordered) Remove(_ context.Context, node string) error {
	return fmt.Errorf("%w: %s", cluster.ErrNode, node)
}
