package rest

import (
	"net/http"

	"github.com/millrace/millrace/serve"
)

type health struct {
	Live  bool  `json:"live"`
	Ready *bool `json:"ready,omitempty"`
	// Where it is not ready, an error of every other answer's form.
	Error   string   `json:"error,omitempty"`
	Code    string   `json:"code,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
}

func (h *Handler) live(w http.ResponseWriter, r *http.Request) {
	if reads(w, r) {
		serve.WriteJSON(w, r, http.StatusOK, health{Live: true})
	}
}

// ready says 503 with every reason while the node does not take traffic, and when it begins to stop.
func (h *Handler) ready(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
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

// Stats are the live numbers of a node, for a page that shows them. Times are microseconds where the name ends in
// _us, rates a second over the last ten seconds.
type Stats struct {
	Node      NodeStats       `json:"node"`
	Caches    []CacheStats    `json:"caches"`
	Pipelines []PipelineStats `json:"pipelines"`
}

// NodeStats describe the process.
type NodeStats struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_s"`
}

// CacheStats are one cache's.
type CacheStats struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
	// MaxEntries and MaxBytes are its limits, 0 for none.
	MaxEntries int64 `json:"max_entries"`
	MaxBytes   int64 `json:"max_bytes"`
	// Puts is how many entries were put since the start, and PutRate how many a second.
	Puts    uint64  `json:"puts"`
	PutRate float64 `json:"put_rate"`
}

// PipelineStats are one pipeline's.
type PipelineStats struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
	// ErrorsTo is the cache that gets what cannot be processed.
	ErrorsTo string `json:"errors_to"`
	Model    string `json:"model"`
	Version  int64  `json:"version"` // of the model that serves; 0 while there is none
	State    string `json:"state"`   // "running", or what it waits for
	In       uint64 `json:"in"`      // inputs taken
	Out      uint64 `json:"out"`     // results stored
	Errors   uint64 `json:"errors"`  // error entries stored
	// Lag is how many inputs wait.
	Lag     uint64  `json:"lag"`
	InRate  float64 `json:"in_rate"`
	OutRate float64 `json:"out_rate"`
	// Latency is from put to event, over the last ten seconds.
	LatencyP50 float64 `json:"latency_p50_us"`
	LatencyP99 float64 `json:"latency_p99_us"`
	// BatchMean is the mean number of inputs a run took.
	BatchMean float64 `json:"batch_mean"`
	// BatchSizes counts runs by the power of two that their size is at most: 1, 2, 4, ...
	BatchSizes []uint64 `json:"batch_sizes"`
}

func (h *Handler) stats(w http.ResponseWriter, r *http.Request) {
	if !reads(w, r) {
		return
	}
	s, err := h.cfg.Stats(r.Context())
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	if s.Caches == nil {
		s.Caches = []CacheStats{}
	}
	if s.Pipelines == nil {
		s.Pipelines = []PipelineStats{}
	}
	serve.WriteJSON(w, r, http.StatusOK, s)
}
