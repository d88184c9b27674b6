package cluster_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
)

// TestTargetStalls: a node that begins an answer and does not end it holds up the question for as long as its context says.
func TestTargetStalls(t *testing.T) {
	for name, status := range map[string]int{"offers": http.StatusOK, "refuses": http.StatusServiceUnavailable} {
		t.Run(name, func(t *testing.T) {
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(status)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
			}))
			defer node.Close()
			to := cluster.Target{To: []string{node.URL}}
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				if _, err := to.Offer(ctx); !errors.Is(err, grid.ErrUnavailable) {
					t.Errorf("offer: %v", err)
				}
				if _, err := to.Dial(ctx); !errors.Is(err, grid.ErrUnavailable) {
					t.Errorf("dial: %v", err)
				}
			}()
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Error("it still waits")
				node.CloseClientConnections()
				<-ended
			}
		})
	}
}

// TestTargetFollowsNobody: the token goes to the nodes that are named, and to no other that one of them names.
func TestTargetFollowsNobody(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("it is asked, with %q", r.Header.Get("Authorization"))
	}))
	defer other.Close()
	node := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer node.Close()
	to := cluster.Target{To: []string{node.URL + "/"}, Token: "token-of-the-cluster"}
	if _, err := to.Offer(t.Context()); err == nil || !strings.Contains(err.Error(), "307") || strings.Contains(err.Error(), to.Token) {
		t.Errorf("offer: %v", err)
	}
}
