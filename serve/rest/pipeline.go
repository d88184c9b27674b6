package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// Pipelines is what the handler needs to know of a node's pipelines. What is not there is serve.ErrNoPipeline.
type Pipelines interface {
	// Pipelines returns those of the node, and those that have positions in the grid only.
	Pipelines(ctx context.Context) ([]Pipeline, error)
	// Replay moves a pipeline to another place in its source.
	Replay(ctx context.Context, name string, to grid.Seek) error
	// Forget removes the positions of a pipeline that the node does not have (any more).
	Forget(ctx context.Context, name string) error
}

// Pipeline is a pipeline and where it stands.
type Pipeline struct {
	Name string `json:"name"`
	From string `json:"from"`
	// To, ErrorsTo, Model and Version are left out where only positions are left of the pipeline.
	To       string `json:"to,omitempty"`
	ErrorsTo string `json:"errors_to,omitempty"`
	Model    string `json:"model,omitempty"`
	Version  int64  `json:"version,omitempty"`
	// State is "running", what it waits for, or "not configured".
	State string `json:"state"`
	// Lag is how many inputs wait or are under way, LagSeconds how long the oldest has waited.
	Lag        int64      `json:"lag"`
	LagSeconds float64    `json:"lag_seconds"`
	Positions  []Position `json:"positions"`
}

// Position is where a pipeline stands in a partition of its source.
type Position struct {
	Partition int           `json:"partition"`
	Sequence  grid.Sequence `json:"sequence"` // up to here everything is done
	End       grid.Sequence `json:"end"`      // the partition's newest change of any cache
	Lag       int64         `json:"lag"`
	Open      bool          `json:"open"` // a node works on it
}

// NewPipeline fills in where a pipeline stands.
func NewPipeline(p Pipeline, positions []grid.Position) Pipeline {
	p.Positions = make([]Position, len(positions))
	for i, at := range positions {
		p.Positions[i] = Position{Partition: at.Partition, Sequence: at.Sequence, End: at.End, Lag: at.Changes, Open: at.Open}
		p.Lag += at.Changes
		p.LagSeconds = max(p.LagSeconds, at.Age.Seconds())
	}
	return p
}

func (h *Handler) pipelines(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodHead)
		return
	}
	all, err := h.cfg.Pipelines.Pipelines(r.Context())
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	if all == nil {
		all = []Pipeline{}
	}
	serve.WriteJSON(w, r, http.StatusOK, all)
}

func (h *Handler) pipeline(w http.ResponseWriter, r *http.Request, escaped string) {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete:
	default:
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete)
		return
	}
	if err := h.onPipeline(w, r, escaped); err != nil {
		serve.WriteError(w, r, err)
	}
}

func (h *Handler) onPipeline(w http.ResponseWriter, r *http.Request, escaped string) error {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return fmt.Errorf("%w: pipeline %q: %w", serve.ErrRequest, escaped, err)
	}
	switch r.Method {
	case http.MethodPost:
		to, err := seek(r.URL.Query())
		if err != nil {
			return err
		}
		if err := h.cfg.Pipelines.Replay(r.Context(), name, to); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	case http.MethodDelete:
		if err := h.cfg.Pipelines.Forget(r.Context(), name); err != nil {
			return err
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	all, err := h.cfg.Pipelines.Pipelines(r.Context())
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Name == name {
			serve.WriteJSON(w, r, http.StatusOK, p)
			return nil
		}
	}
	return fmt.Errorf("%w: %s", serve.ErrNoPipeline, name)
}

// seek reads the query of a replay.
func seek(q url.Values) (grid.Seek, error) {
	if action := q.Get("action"); action != "replay" {
		return grid.Seek{}, fmt.Errorf("%w: action %q of a pipeline; it takes replay", serve.ErrRequest, action)
	}
	switch from := q.Get("from"); from {
	case "", "start":
		return grid.Seek{}, nil
	case "now":
		return grid.Seek{Now: true}, nil
	default:
		at, err := time.Parse(time.RFC3339, from)
		if err != nil {
			return grid.Seek{}, fmt.Errorf("%w: from %q is neither now, start nor a time such as 2026-01-31T08:00:00Z", serve.ErrRequest, from)
		}
		return grid.Seek{Time: at}, nil
	}
}
