package admin

import (
	"context"
	"net/http"

	"github.com/millrace/millrace/serve"
)

// Stats are the live numbers of a node, for a page that shows them. Times are microseconds where the name ends in
// _us, rates a second over the last two seconds. Counters are of this node, since its start.
type Stats struct {
	Node      NodeStats       `json:"node"`
	Caches    []CacheStats    `json:"caches"`
	Pipelines []PipelineStats `json:"pipelines"`
	// Damaged is what was found wrong with the files of the node's folder when it was opened.
	Damaged []Damage `json:"damaged"`
}

// Damage is what is wrong with a file of a partition, or, without a class, of the stream that describes the grid.
type Damage struct {
	Class     string `json:"class,omitempty"`
	Partition int    `json:"partition"`
	Stream    string `json:"stream"`
	File      string `json:"file"`
	// Kept is the folder that has a copy of the file as it was, and Missing says that it was gone.
	Kept    string `json:"kept,omitempty"`
	Missing bool   `json:"missing,omitempty"`
	// Everything says that all files of the stream were gone, and File is empty.
	Everything bool `json:"everything,omitempty"`
	// Records are lost, whose sequences are From to To. Keys are those of entries among them that are known, as CACHE/KEY, at most 100, and Unknown
	// is how many may have been an entry's.
	Records int      `json:"records"`
	From    uint64   `json:"from,omitempty"`
	To      uint64   `json:"to,omitempty"`
	Keys    []string `json:"keys,omitempty"`
	Unknown int      `json:"unknown,omitempty"`
}

// NodeStats describe the process.
type NodeStats struct {
	Name    string  `json:"name"`
	Version string  `json:"version"`
	Uptime  float64 `json:"uptime_s"`
	// Demo says that the node is there to be tried: the page may offer to put many entries.
	Demo bool `json:"demo"`
	// Cluster is the name of the cluster that the node is one of; empty for a node alone.
	Cluster string `json:"cluster,omitempty"`
}

// CacheStats are one cache's.
type CacheStats struct {
	Name    string `json:"name"`
	Class   string `json:"class"`
	Entries int64  `json:"entries"`
	Bytes   int64  `json:"bytes"`
	// Damaged is how many keys have entries that were damaged on the disk and cannot be read, until they are put again or removed.
	Damaged int64 `json:"damaged"`
	// MaxEntries and MaxBytes are its limits, 0 for none.
	MaxEntries int64 `json:"max_entries"`
	MaxBytes   int64 `json:"max_bytes"`
	// InMemory is how many entries have their values in memory, and Cold how many in the store alone.
	InMemory    int64 `json:"in_memory"`
	MemoryBytes int64 `json:"memory_bytes"`
	Cold        int64 `json:"cold"`
	ColdBytes   int64 `json:"cold_bytes"`
	// Hits are gets that found an entry, ColdHits those of them that had to wait for the store. HitRate is which share of all gets found
	// one in memory; nil before the first.
	Hits     uint64   `json:"hits"`
	ColdHits uint64   `json:"cold_hits"`
	Misses   uint64   `json:"misses"`
	HitRate  *float64 `json:"hit_rate"`
	// Store is the name of the cache's store, empty where it has none, and StoreType what it is.
	Store     string `json:"store,omitempty"`
	StoreType string `json:"store_type,omitempty"`
	// Evictions are values that left memory, Loads those that were read from the store, LoadErrors what could not be.
	Evictions    uint64  `json:"evictions"`
	EvictionRate float64 `json:"eviction_rate"`
	Loads        uint64  `json:"loads"`
	LoadRate     float64 `json:"load_rate"`
	LoadErrors   uint64  `json:"load_errors"`
	// LagEntries are not in the store yet; the oldest of them waits since LagSeconds.
	LagEntries int64   `json:"lag_entries"`
	LagBytes   int64   `json:"lag_bytes"`
	LagSeconds float64 `json:"lag_s"`
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
	// FixedVersion is the version that the pipeline is bound to; 0 for the one that serves.
	FixedVersion int64 `json:"fixed_version,omitempty"`
	// Origin is "file" or "grid", State "waiting", "running", "paused" or "blocked", and Reason for what it waits or what blocks it.
	Origin string `json:"origin"`
	State  string `json:"state"`
	Reason string `json:"reason"`
	// Hides says that the grid keeps another of its name, which this node does not run.
	Hides bool `json:"hides,omitempty"`
	// RunningSeconds is how long the run under way takes; 0 where none is.
	RunningSeconds float64 `json:"running_s"`
	In             uint64  `json:"in"`     // inputs taken
	Out            uint64  `json:"out"`    // results stored
	Errors         uint64  `json:"errors"` // error entries stored
	// Lag is how many inputs wait or are under way on all nodes, and LagSeconds how long the oldest has waited.
	Lag        uint64  `json:"lag"`
	LagSeconds float64 `json:"lag_seconds"`
	InRate     float64 `json:"in_rate"`
	OutRate    float64 `json:"out_rate"`
	// Latency is from put to event, over the last ten seconds.
	LatencyP50 float64 `json:"latency_p50_us"`
	LatencyP99 float64 `json:"latency_p99_us"`
	// BatchMean is the mean number of inputs a run took.
	BatchMean float64 `json:"batch_mean"`
	// BatchSizes counts runs by the power of two that their size is at most: 1, 2, 4, ...
	BatchSizes []uint64 `json:"batch_sizes"`
	// Batches is how many this node stored the results of. ByPeers of them other nodes ran; ForPeers is how many this node ran for others.
	Batches  uint64 `json:"batches"`
	ByPeers  uint64 `json:"batches_by_peers"`
	ForPeers uint64 `json:"batches_for_peers"`
}

// answerStats answers with the numbers that ask returns.
func answerStats(ask func(context.Context) (Stats, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s, err := ask(r.Context())
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
		if s.Damaged == nil {
			s.Damaged = []Damage{}
		}
		serve.WriteJSON(w, r, http.StatusOK, s)
	}
}
