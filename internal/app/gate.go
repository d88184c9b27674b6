package app

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

// gate lets requests through once the node is open. Until then it answers that the node lives, what it waits for, and 503.
type gate struct {
	open   atomic.Bool
	reason atomic.Pointer[string]
	routes http.Handler
	health http.Handler
	admits func(*http.Request) error // set before open is
	intake intake
}

func newGate(routes http.Handler) *gate {
	g := &gate{routes: routes}
	g.waits("is being started")
	g.health = oip.Health(func(context.Context) []string { return []string{"the node " + *g.reason.Load()} })
	return g
}

// waits notes what the node waits for.
func (g *gate) waits(reason string) {
	if reason != "" {
		g.reason.Store(&reason)
	}
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.EscapedPath() == cluster.IntakePath:
		g.intake.ServeHTTP(w, r)
	case g.open.Load():
		if err := g.admits(r); err != nil {
			serve.WriteError(w, r, err)
			return
		}
		g.routes.ServeHTTP(w, r)
	case oip.IsHealth(r):
		g.health.ServeHTTP(w, r)
	default:
		w.Header().Set("Retry-After", "1")
		serve.WriteError(w, r, fmt.Errorf("%w: the node %s", grid.ErrUnavailable, *g.reason.Load()))
	}
}

// serving is a server that runs.
type serving struct {
	stop   context.CancelFunc
	done   chan struct{}
	err    error       // once done is closed
	waited atomic.Bool // its error was told
}

// serveEarly serves while the node is being opened: in a cluster that may wait for other nodes, and whoever watches this one hears of it.
func (n *Node) serveEarly() *serving {
	ctx, stop := context.WithCancel(context.Background())
	s := &serving{stop: stop, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		s.err = n.server.Run(ctx, n.listener)
	}()
	return s
}

// wait returns when the server has ended, which ctx has it do in good order.
func (s *serving) wait(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.stop)()
	<-s.done
	s.waited.Store(true)
	return s.err
}

// end stops the server of a node that was not run.
func (s *serving) end() error {
	s.stop()
	<-s.done
	if s.waited.Load() {
		return nil
	}
	return s.err
}
