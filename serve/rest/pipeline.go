package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve"
)

// Pipelines is what the handler needs to know of a node's pipelines. What is not there is pipeline.ErrNone, and what the configuration file
// alone can change pipeline.ErrInFile.
type Pipelines interface {
	// Pipelines returns those of the node, and those that have positions in the grid only.
	Pipelines(ctx context.Context) ([]Pipeline, error)
	// Put makes or changes a pipeline, and reports whether it is new.
	Put(ctx context.Context, name string, d pipeline.Definition) (created bool, err error)
	// Delete removes one that Put made, or the positions of one that the node does not have (any more).
	Delete(ctx context.Context, name string) error
	// Pause stops a pipeline until Resume, over restarts too.
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// Replay moves a pipeline to another place in its source.
	Replay(ctx context.Context, name string, to grid.Seek) error
	// Try runs one entry through a pipeline and stores nothing.
	Try(ctx context.Context, name, contentType string, value []byte) (pipeline.Trial, error)
}

// Pipeline is a pipeline and where it stands.
type Pipeline struct {
	Name string `json:"name"`
	// Origin is "file" or "grid"; left out where only positions are left of the pipeline.
	Origin string `json:"origin,omitempty"`
	// Hides says that the grid keeps another of its name, which this node does not run: the configuration file's hides it until it is removed.
	Hides bool `json:"hides,omitempty"`
	// State is "waiting", "running", "paused", "blocked" or "not configured"; Reason is for what it waits or what blocks it.
	State  string `json:"state"`
	Reason string `json:"reason"`
	// RunningSeconds is how long the run under way takes; 0 where none is.
	RunningSeconds float64 `json:"running_s"`
	// Version of the model that runs, or that made the last results.
	Version int64 `json:"version,omitempty"`
	Settings
	// Lag is how many inputs wait or are under way, LagSeconds how long the oldest has waited.
	Lag        int64      `json:"lag"`
	LagSeconds float64    `json:"lag_seconds"`
	Positions  []Position `json:"positions"`
}

// Settings are a pipeline's, by the keys of the configuration. Where only positions are left of the pipeline, From is there alone.
type Settings struct {
	From     string `json:"from"`
	To       string `json:"to,omitempty"`
	ErrorsTo string `json:"errors_to,omitempty"`
	Model    string `json:"model,omitempty"`
	// FixedVersion is the version that the pipeline is bound to.
	FixedVersion int64    `json:"fixed_version,omitempty"`
	MaxBatch     int      `json:"max_batch,omitempty"`
	Start        string   `json:"start,omitempty"`
	OnRemove     string   `json:"on_remove,omitempty"`
	Top          int      `json:"top,omitempty"`
	Carry        []string `json:"carry,omitempty"`
	RunTimeout   string   `json:"run_timeout,omitempty"`
	MaxLag       string   `json:"max_lag,omitempty"`
	SharesTarget bool     `json:"shares_target,omitempty"`
	Spread       string   `json:"spread,omitempty"`
}

// SettingsOf returns a pipeline's settings.
func SettingsOf(c pipeline.Config) Settings {
	d := c.Definition()
	return Settings{
		From: d.From, To: d.To, ErrorsTo: d.Errors, Model: d.Model, FixedVersion: d.ModelVersion, MaxBatch: d.MaxBatch, Start: d.Start,
		OnRemove: d.OnRemove, Top: d.Top, Carry: d.Carry, RunTimeout: d.RunTimeout, MaxLag: d.MaxLag, SharesTarget: d.SharesTarget,
		Spread: c.WithDefaults().Spread,
	}
}

// Definition is the inverse of SettingsOf.
func (s Settings) Definition() pipeline.Definition {
	return pipeline.Definition{
		From: s.From, To: s.To, Errors: s.ErrorsTo, Model: s.Model, ModelVersion: s.FixedVersion, MaxBatch: s.MaxBatch, Start: s.Start,
		OnRemove: s.OnRemove, Top: s.Top, Carry: s.Carry, RunTimeout: s.RunTimeout, MaxLag: s.MaxLag, SharesTarget: s.SharesTarget,
		Spread: s.Spread,
	}
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
	if strings.Contains(escaped, "/") {
		serve.WriteError(w, r, serve.NoRoute(r))
		return
	}
	name, err := url.PathUnescape(escaped)
	if err != nil {
		serve.WriteError(w, r, fmt.Errorf("%w: pipeline %q: %w", serve.ErrRequest, escaped, err))
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		err = h.getPipeline(w, r, name)
	case http.MethodPut:
		err = h.putPipeline(w, r, name)
	case http.MethodPost:
		err = h.onPipeline(w, r, name)
	case http.MethodDelete:
		if err = h.cfg.Pipelines.Delete(r.Context(), name); err == nil {
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete)
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

func (h *Handler) getPipeline(w http.ResponseWriter, r *http.Request, name string) error {
	p, err := h.findPipeline(r.Context(), name)
	if err != nil {
		return err
	}
	serve.WriteJSON(w, r, http.StatusOK, p)
	return nil
}

func (h *Handler) findPipeline(ctx context.Context, name string) (Pipeline, error) {
	all, err := h.cfg.Pipelines.Pipelines(ctx)
	if err != nil {
		return Pipeline{}, err
	}
	for _, p := range all {
		if p.Name == name {
			return p, nil
		}
	}
	return Pipeline{}, fmt.Errorf("%w: %s", pipeline.ErrNone, name)
}

// putPipeline answers with the pipeline as it is then.
func (h *Handler) putPipeline(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := serve.ReadBody(w, r, pipeline.MaxDefinitionBytes, nil)
	if err != nil {
		return err
	}
	d, err := pipeline.ParseDefinition(body)
	if err != nil {
		return err
	}
	created, err := h.cfg.Pipelines.Put(r.Context(), name, d)
	if err != nil {
		return err
	}
	p, err := h.findPipeline(r.Context(), name)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
		w.Header().Set("Location", "/rest/v2/pipelines/"+url.PathEscape(name))
	}
	serve.WriteJSON(w, r, status, p)
	return nil
}

// onPipeline does the action that the query names.
func (h *Handler) onPipeline(w http.ResponseWriter, r *http.Request, name string) error {
	var err error
	switch action := r.URL.Query().Get("action"); action {
	case "pause":
		err = h.cfg.Pipelines.Pause(r.Context(), name)
	case "resume":
		err = h.cfg.Pipelines.Resume(r.Context(), name)
	case "replay":
		var to grid.Seek
		if to, err = seek(r.URL.Query()); err == nil {
			err = h.cfg.Pipelines.Replay(r.Context(), name, to)
		}
	case "try":
		return h.tryPipeline(w, r, name)
	default:
		err = fmt.Errorf("%w: action %q of a pipeline; it takes pause, resume, replay and try", serve.ErrRequest, action)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// tryPipeline answers with what the pipeline would do with the body.
func (h *Handler) tryPipeline(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := serve.ReadBody(w, r, grid.MaxValueBytes, nil)
	if err != nil {
		return err
	}
	serve.ExtendWrite(w, 0) // the pipeline has a limit of its own
	t, err := h.cfg.Pipelines.Try(r.Context(), name, r.Header.Get("Content-Type"), body)
	if err != nil {
		return err
	}
	serve.ExtendWrite(w, h.cfg.SlowClient)
	serve.WriteJSON(w, r, http.StatusOK, t)
	return nil
}

// seek reads the query of a replay.
func seek(q url.Values) (grid.Seek, error) {
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
