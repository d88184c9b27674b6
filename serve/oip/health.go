package oip

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/millrace/millrace/serve"
)

// health is the answer of GET /v2/health/live and ready.
type health struct {
	Live  bool  `json:"live"`
	Ready *bool `json:"ready,omitempty"`
	// Where it is not ready, an error of every other answer's form.
	Error   string   `json:"error,omitempty"`
	Code    string   `json:"code,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

// Health answers liveness and readiness alone, for a node that is not open yet.
func Health(ready func(context.Context) []string) http.Handler {
	h := &Handler{cfg: Config{Ready: ready, Logger: slog.New(slog.DiscardHandler)}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsLive(r) {
			h.live(w, r)
			return
		}
		h.ready(w, r)
	})
}

func (h *Handler) live(w http.ResponseWriter, r *http.Request) {
	serve.Quiet(w)
	if serve.Reads(w, r) {
		serve.WriteJSON(w, r, http.StatusOK, health{Live: true})
	}
}

// ready says 503 with every reason while the node does not take traffic, and when it begins to stop. The log has what changes: whoever watches a node asks once a second.
func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	serve.Quiet(w)
	if !serve.Reads(w, r) {
		return
	}
	var reasons []string
	if h.cfg.Ready != nil {
		reasons = h.cfg.Ready(r.Context())
	}
	select {
	case <-serve.Draining(r.Context()):
		reasons = append(reasons, serve.ErrStopping.Error())
	default:
		h.noteReady(reasons)
	}
	ready := len(reasons) == 0
	answer := health{Live: true, Ready: &ready}
	if ready {
		serve.WriteJSON(w, r, http.StatusOK, answer)
		return
	}
	answer.Error, answer.Code, answer.Reasons = serve.ErrNotReady.Error(), serve.KindOf(serve.ErrNotReady).Code, reasons
	w.Header().Set("Retry-After", "1")
	serve.WriteJSON(w, r, http.StatusServiceUnavailable, answer)
}

// noteReady logs that the node is not ready any more, or is again.
func (h *Handler) noteReady(reasons []string) {
	unready := len(reasons) > 0
	if h.unready.Swap(unready) == unready {
		return
	}
	if unready {
		h.cfg.Logger.Warn("the node is not ready", "reasons", reasons)
	} else {
		h.cfg.Logger.Info("the node is ready again")
	}
}

// IsLive reports whether r asks for liveness alone, which is answered whatever else there is to do.
func IsLive(r *http.Request) bool { return r.URL.Path == "/v2/health/live" }

// IsHealth reports whether r asks for liveness or readiness, which whoever watches a node asks for without a token.
func IsHealth(r *http.Request) bool {
	return r.URL.Path == "/v2/health/live" || r.URL.Path == "/v2/health/ready"
}
