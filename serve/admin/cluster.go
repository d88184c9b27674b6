package admin

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/millrace/millrace/serve"
)

// Cluster is what those who run a cluster may have it do. Each call returns when it is decided; how far it is, the cluster's status says.
type Cluster interface {
	Rebalance(ctx context.Context) error
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	Cancel(ctx context.Context) error
	Drain(ctx context.Context, node string) error
	Undrain(ctx context.Context, node string) error
	Remove(ctx context.Context, node string) error
}

// clusterPath is the status; what changes it is below.
const clusterPath = "/rest/v2/cluster"

// answerCluster answers the status and takes what is to be done.
func answerCluster(status func(context.Context) any, control func() (Cluster, error)) http.HandlerFunc {
	read := exact(clusterPath, func(w http.ResponseWriter, r *http.Request) {
		serve.WriteJSON(w, r, http.StatusOK, status(r.Context()))
	})
	return func(w http.ResponseWriter, r *http.Request) {
		below, ok := strings.CutPrefix(r.URL.EscapedPath(), clusterPath+"/")
		node, ofNode := strings.CutPrefix(below, "nodes/")
		switch {
		case ok && below == "rebalance" && control != nil:
			if r.Method != http.MethodPost {
				serve.MethodNotAllowed(w, r, "POST")
				return
			}
			do(w, r, control, "pause, resume, cancel or nothing", map[string]func(Cluster) error{
				"": func(c Cluster) error { return c.Rebalance(r.Context()) }, "pause": func(c Cluster) error { return c.Pause(r.Context()) },
				"resume": func(c Cluster) error { return c.Resume(r.Context()) }, "cancel": func(c Cluster) error { return c.Cancel(r.Context()) },
			})
		case ok && ofNode && node != "" && !strings.Contains(node, "/") && control != nil:
			name, err := url.PathUnescape(node)
			if err != nil {
				serve.WriteError(w, r, fmt.Errorf("%w: the node's name: %w", serve.ErrRequest, err))
				return
			}
			switch r.Method {
			case http.MethodDelete:
				do(w, r, control, "nothing", map[string]func(Cluster) error{"": func(c Cluster) error { return c.Remove(r.Context(), name) }})
			case http.MethodPost:
				do(w, r, control, "drain or undrain", map[string]func(Cluster) error{
					"drain":   func(c Cluster) error { return c.Drain(r.Context(), name) },
					"undrain": func(c Cluster) error { return c.Undrain(r.Context(), name) },
				})
			default:
				serve.MethodNotAllowed(w, r, "POST", "DELETE")
			}
		default:
			read.ServeHTTP(w, r)
		}
	}
}

// do does the one of actions that the request names; needed says what it may name.
func do(w http.ResponseWriter, r *http.Request, control func() (Cluster, error), needed string, actions map[string]func(Cluster) error) {
	action, ok := actions[r.URL.Query().Get("action")]
	if !ok {
		serve.WriteError(w, r, fmt.Errorf("%w: action=%q: it must be %s", serve.ErrRequest, r.URL.Query().Get("action"), needed))
		return
	}
	c, err := control()
	if err == nil {
		err = action(c)
	}
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
