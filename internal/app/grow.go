package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

const growPath = "/rest/v2/cluster/grow"

// growth is this node's way into a cluster, which goes on without who asked for it.
type growth struct {
	n *Node

	mu     sync.Mutex
	status cluster.Growth
	stop   context.CancelFunc // of the last one; nil before the first
	ended  chan struct{}      // closed when that has ended
	closed bool
}

// ServeHTTP answers POST, which begins it or joins it where it is under way, GET and DELETE, which stops it while the cluster has nothing yet.
func (g *growth) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.EscapedPath() != growPath {
		serve.WriteError(w, r, serve.NoRoute(r))
		return
	}
	switch r.Method {
	case http.MethodGet:
	case http.MethodPost:
		var to cluster.Target
		err := readBody(w, r, &to)
		if err == nil {
			err = g.begin(r.Context(), to)
		}
		if err != nil {
			serve.WriteError(w, r, err)
			return
		}
	case http.MethodDelete:
		if ended := g.halt(); ended != nil {
			select {
			case <-ended:
			case <-r.Context().Done(): // it was about to give the grid away, which cannot be stopped
			}
		}
	default:
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodPost, http.MethodDelete)
		return
	}
	serve.WriteJSON(w, r, http.StatusOK, g.now())
}

func (g *growth) now() cluster.Growth {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.status
}

// begin has the node's grid go over to a cluster, where it is not on its way.
func (g *growth) begin(ctx context.Context, to cluster.Target) error {
	if err := to.Validate(); err != nil {
		return fmt.Errorf("%w: %w", serve.ErrRequest, err)
	}
	if err := g.fits(ctx); err != nil {
		return err
	}
	offer, err := to.Offer(ctx)
	if err != nil {
		return fmt.Errorf("ask the cluster: %w", err)
	}
	note, err := json.Marshal(to)
	if err != nil {
		return fmt.Errorf("note the cluster: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return grid.ErrClosed
	case g.status.Running || g.status.Progress.Step == grid.GrowDone:
		if g.status.Cluster != offer.Cluster {
			return fmt.Errorf("%w: the grid is on its way to the cluster %s, or there already", serve.ErrRequest, g.status.Cluster)
		}
		return nil
	}
	growing, stop := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	g.stop, g.ended = stop, ended
	g.status = cluster.Growth{Cluster: offer.Cluster, Running: true, Progress: grid.GrowProgress{Step: grid.GrowConnects}}
	go func() {
		defer close(ended)
		defer stop()
		err := g.n.grid.Grow(growing, grid.Growing{Offer: offer, Dial: to.Dial, Note: note, Progress: g.tell})
		g.mu.Lock()
		defer g.mu.Unlock()
		g.status.Running = false
		if err != nil {
			g.status.Error = err.Error()
			g.n.log.Error("the grid did not go over to the cluster", "cluster", offer.Cluster, "error", err)
		}
	}()
	return nil
}

func (g *growth) tell(p grid.GrowProgress) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.status.Progress = p
}

// fits refuses a grid that has values where the nodes of a cluster do not come to.
func (g *growth) fits(ctx context.Context) error {
	var faults []error
	for c, err := range g.n.grid.Caches(ctx) {
		if err != nil {
			return err
		}
		if g.n.cfg.Stores[c.Store].Type == storeDisk {
			faults = append(faults, fmt.Errorf("%w: the cache %s keeps values in the disk store %s, which is this node's alone; nodes of a cluster share s3 or ceph",
				serve.ErrRequest, c.Name, c.Store))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// halt stops it where it can be stopped, and returns what is closed at its end; nil where there was none.
func (g *growth) halt() (ended <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stop != nil {
		g.stop()
	}
	return g.ended
}

// close has none begin any more. What is under way ends with the grid at the latest.
func (g *growth) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.halt()
}

// wait returns when it has ended, after the grid was closed.
func (g *growth) wait() {
	if ended := g.halt(); ended != nil {
		<-ended
	}
}

// resolve asks a cluster whether it has the grid that this node was about to give it when it died.
func resolve(ctx context.Context, given grid.Given) (taken bool, err error) {
	var to cluster.Target
	if err := json.Unmarshal(given.Note, &to); err != nil {
		return false, fmt.Errorf("read which cluster it was: %w", err)
	}
	return to.Withdraw(ctx, cluster.Withdrawal{Source: given.Source, Node: given.Node})
}
