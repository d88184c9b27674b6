package app

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/fault/strictjson"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// maxGrowBody bounds the requests about growing.
const maxGrowBody = 64 << 10

// intake answers the node alone whose grid this node's cluster takes over, also while this one is being opened.
type intake struct {
	of   atomic.Pointer[grid.Intake]
	busy sync.WaitGroup
}

func (i *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	in := i.of.Load()
	switch {
	case in == nil:
		serve.WriteError(w, r, fmt.Errorf("%w: this node takes no grid over: its configuration has no cluster.grow, or it has yet to find the other nodes", grid.ErrUnavailable))
	case r.Method == http.MethodGet:
		serve.WriteJSON(w, r, http.StatusOK, in.Offer())
	case r.Method == http.MethodPost && r.Header.Get("Upgrade") == cluster.Protocol:
		i.carry(w, r, in)
	case r.Method == http.MethodPost:
		var q cluster.Withdrawal
		if err := readBody(w, r, &q); err != nil {
			serve.WriteError(w, r, err)
			return
		}
		taken, err := in.Withdraw(r.Context(), q.Source, q.Node)
		if err != nil {
			serve.WriteError(w, r, err)
			return
		}
		serve.WriteJSON(w, r, http.StatusOK, cluster.Withdrawn{Taken: taken})
	default:
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodPost)
	}
}

// readBody reads the JSON of a request.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	body, err := serve.ReadBody(w, r, maxGrowBody, nil)
	if err != nil {
		return err
	}
	if err := strictjson.Decode(body, into); err != nil {
		return fmt.Errorf("%w: the body: %w", serve.ErrRequest, err)
	}
	return nil
}

// carry makes the request's connection one to the server in this process.
func (i *intake) carry(w http.ResponseWriter, r *http.Request, in *grid.Intake) {
	near, err := in.Dial(r.Context())
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	far, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		serve.WriteError(w, r, errors.Join(fmt.Errorf("%w: HTTP/1.1 alone can change its protocol: %w", serve.ErrRequest, err), near.Close()))
		return
	}
	i.busy.Go(func() {
		// How it ends is no matter: the other side makes the connection again.
		defer near.Close()
		defer far.Close()
		if far.SetDeadline(time.Time{}) != nil {
			return
		}
		if _, err := io.WriteString(far, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+cluster.Protocol+"\r\n\r\n"); err != nil {
			return
		}
		var copying sync.WaitGroup
		for _, way := range []struct {
			to   net.Conn
			from io.Reader
		}{{near, buffered.Reader}, {far, near}} {
			copying.Go(func() {
				_, _ = io.Copy(way.to, way.from)
				_ = near.Close()
				_ = far.Close()
			})
		}
		copying.Wait()
	})
}
