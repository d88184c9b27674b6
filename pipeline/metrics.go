package pipeline

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters and histograms of a node's pipelines, each with a label "pipeline".
type Metrics struct {
	inputs, results, faults, removed, superseded, duplicates, retries *prometheus.CounterVec
	byPeers, forPeers, returned                                       *prometheus.CounterVec
	size                                                              *prometheus.HistogramVec
	seconds                                                           *prometheus.HistogramVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	counter := func(name, help string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "millrace", Subsystem: "pipeline", Name: name, Help: help}, []string{"pipeline"})
		reg.MustRegister(c)
		return c
	}
	m := &Metrics{
		inputs:     counter("inputs_total", "Changes of the source cache that were given out: puts, removals and expiries, after a crash or a replay once more."),
		results:    counter("results_total", "Results that were stored."),
		faults:     counter("errors_total", "Error entries that were stored."),
		removed:    counter("removed_total", "Sources that were removed or expired, whose results were looked after."),
		superseded: counter("superseded_total", "Results that were dropped because the key has a newer revision, or one at least as new was stored."),
		duplicates: counter("duplicates_total", "Results that the grid had already, of changes that were given out once more after a crash or a move."),
		retries:    counter("retries_total", "Attempts to store results that failed and were made again."),
		byPeers:    counter("spread_out_total", "Batches of this node that other nodes ran, since its engine was busy or it opens no models."),
		forPeers:   counter("spread_in_total", "Batches of other nodes that this node ran. Their entries and results are counted by the node that stores them."),
		returned:   counter("spread_returned_total", "Batches that another node was to run and did not; this node, or a third, ran them."),
		size: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "millrace", Subsystem: "pipeline", Name: "batch_size", Help: "Entries that ran together.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096},
		}, []string{"pipeline"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "millrace", Subsystem: "pipeline", Name: "step_seconds",
			Help:    "Time of each step of a batch (decode, run, encode, publish), and of each entry in the queue (queue) and from put to stored result (total).",
			Buckets: prometheus.ExponentialBuckets(5e-6, 2, 22),
		}, []string{"pipeline", "step"}),
	}
	reg.MustRegister(m.size, m.seconds)
	return m
}

// counters are the metrics of one pipeline.
type counters struct {
	inputs, results, faults, removed, superseded, duplicates, retries prometheus.Counter
	byPeers, forPeers, returned                                       prometheus.Counter
	size                                                              prometheus.Observer
	queue, decode, run, encode, publish, total                        prometheus.Observer

	nInputs, nResults, nFaults, nBatches, nByPeers, nForPeers atomic.Uint64
	latency                                                   window
	sizes                                                     window
}

func (m *Metrics) of(name string) *counters {
	return &counters{
		inputs: m.inputs.WithLabelValues(name), results: m.results.WithLabelValues(name), faults: m.faults.WithLabelValues(name),
		removed: m.removed.WithLabelValues(name), superseded: m.superseded.WithLabelValues(name),
		duplicates: m.duplicates.WithLabelValues(name), retries: m.retries.WithLabelValues(name),
		byPeers: m.byPeers.WithLabelValues(name), forPeers: m.forPeers.WithLabelValues(name), returned: m.returned.WithLabelValues(name),
		size:  m.size.WithLabelValues(name),
		queue: m.seconds.WithLabelValues(name, "queue"), decode: m.seconds.WithLabelValues(name, "decode"),
		run: m.seconds.WithLabelValues(name, "run"), encode: m.seconds.WithLabelValues(name, "encode"),
		publish: m.seconds.WithLabelValues(name, "publish"), total: m.seconds.WithLabelValues(name, "total"),
	}
}

// forget takes the series of a pipeline that was removed out.
func (m *Metrics) forget(name string) {
	for _, c := range []*prometheus.CounterVec{m.inputs, m.results, m.faults, m.removed, m.superseded, m.duplicates, m.retries, m.byPeers, m.forPeers, m.returned} {
		c.DeleteLabelValues(name)
	}
	m.size.DeleteLabelValues(name)
	m.seconds.DeletePartialMatch(prometheus.Labels{"pipeline": name})
}

// fetched counts the changes of a batch and how long they waited.
func (c *counters) fetched(b *batch) {
	for _, it := range b.items {
		c.inputs.Inc()
		c.nInputs.Add(1)
		c.queue.Observe(max(0, b.clock.last.Sub(it.stamp).Seconds()))
	}
}

// item counts one item whose outcome is stored.
func (c *counters) item(it *item, now time.Time) {
	switch {
	case it.known, it.left:
		return
	case it.gone:
		c.removed.Inc()
		return
	case it.fails != nil:
		c.faults.Inc()
		c.nFaults.Add(1)
	default:
		c.results.Inc()
		c.nResults.Add(1)
	}
	took := max(0, now.Sub(it.stamp))
	c.total.Observe(took.Seconds())
	c.latency.add(uint32(min(took.Microseconds(), 1<<32-1)))
}

func (c *counters) batch(b *batch) {
	c.nBatches.Add(1)
	c.size.Observe(float64(len(b.items)))
	c.sizes.add(uint32(len(b.items)))
	for step, took := range map[prometheus.Observer]time.Duration{
		c.decode: b.clock.decode, c.run: b.clock.run, c.encode: b.clock.encode, c.publish: b.clock.publish,
	} {
		if took > 0 {
			step.Observe(took.Seconds())
		}
	}
}

// stopwatch adds up the time of a batch's steps.
type stopwatch struct {
	last                         time.Time
	decode, run, encode, publish time.Duration
}

func (s *stopwatch) lap(into *time.Duration) {
	now := time.Now()
	*into += now.Sub(s.last)
	s.last = now
}

// window keeps the newest values, for quantiles of now rather than of all time.
type window struct {
	next   atomic.Uint64
	values [1024]atomic.Uint32
}

func (w *window) add(v uint32) { w.values[(w.next.Add(1)-1)%uint64(len(w.values))].Store(v) }

// sorted returns the values that are there, smallest first.
func (w *window) sorted() []uint32 {
	n := min(w.next.Load(), uint64(len(w.values)))
	vs := make([]uint32, n)
	for i := range vs {
		vs[i] = w.values[i].Load()
	}
	slices.Sort(vs)
	return vs
}

// Snapshot is what a pipeline has done, for people who watch it.
type Snapshot struct {
	Inputs, Results, Errors, Batches uint64
	// ByPeers is how many of the batches other nodes ran, ForPeers how many of other nodes this one ran, which are not among them.
	ByPeers, ForPeers uint64
	// Latency is the time from put to stored result of the last 1,024 entries.
	LatencyP50, LatencyP99 time.Duration
	// BatchMean is the mean size of the last 1,024 batches, and BatchSizes counts them by the power of two that their
	// size is at most: 1, 2, 4 and so on.
	BatchMean  float64
	BatchSizes []uint64
}

// Snapshot returns the counts since the pipeline was made, and the latency and batch size of now.
func (p *Pipeline) Snapshot() Snapshot {
	c := p.count
	s := Snapshot{Inputs: c.nInputs.Load(), Results: c.nResults.Load(), Errors: c.nFaults.Load(), Batches: c.nBatches.Load(), ByPeers: c.nByPeers.Load(), ForPeers: c.nForPeers.Load()}
	if l := c.latency.sorted(); len(l) > 0 {
		s.LatencyP50 = time.Duration(l[len(l)/2]) * time.Microsecond
		s.LatencyP99 = time.Duration(l[len(l)*99/100]) * time.Microsecond
	}
	sizes := c.sizes.sorted()
	if len(sizes) == 0 {
		return s
	}
	var sum uint64
	s.BatchSizes = make([]uint64, bits.Len32(max(1, sizes[len(sizes)-1])-1)+1)
	for _, n := range sizes {
		sum += uint64(n)
		s.BatchSizes[bits.Len32(max(1, n)-1)]++
	}
	s.BatchMean = float64(sum) / float64(len(sizes))
	return s
}
