package app

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
)

// gridCollector gives Prometheus the statistics of every cache and the lag of every pipeline.
type gridCollector struct{ n *Node }

var (
	cacheLabels    = []string{"cache"}
	cacheEntries   = prometheus.NewDesc("millrace_cache_entries", "Entries in the cache.", cacheLabels, nil)
	cacheBytes     = prometheus.NewDesc("millrace_cache_value_bytes", "Bytes of the values in the cache.", cacheLabels, nil)
	cacheDamaged   = prometheus.NewDesc("millrace_cache_damaged_entries", "Keys whose entries were damaged on the disk and cannot be read, in this node's partitions.", cacheLabels, nil)
	cacheListeners = prometheus.NewDesc("millrace_cache_listeners", "Listeners of the cache on this node.", cacheLabels, nil)
	cacheHits      = prometheus.NewDesc("millrace_cache_hits_total", "Gets that found an entry.", cacheLabels, nil)
	cacheColdHits  = prometheus.NewDesc("millrace_cache_cold_hits_total", "Gets that found an entry whose value was in the store alone.", cacheLabels, nil)
	cacheMisses    = prometheus.NewDesc("millrace_cache_misses_total", "Gets that found none.", cacheLabels, nil)
	cachePuts      = prometheus.NewDesc("millrace_cache_puts_total", "Entries that were written through this node.", cacheLabels, nil)
	cacheDeletes   = prometheus.NewDesc("millrace_cache_deletes_total", "Entries that were removed through this node.", cacheLabels, nil)
	cacheExpired   = prometheus.NewDesc("millrace_cache_expired_total", "Entries that expired.", cacheLabels, nil)
	cacheCold      = prometheus.NewDesc("millrace_cache_cold_entries", "Entries whose values are in the store alone.", cacheLabels, nil)
	cacheColdBytes = prometheus.NewDesc("millrace_cache_cold_value_bytes", "Bytes of the values that are in the store alone.", cacheLabels, nil)
	cacheEvictions = prometheus.NewDesc("millrace_cache_evictions_total", "Values that left memory in this node's partitions.", cacheLabels, nil)
	cacheLoads     = prometheus.NewDesc("millrace_cache_loads_total", "Values that this node read from the store.", cacheLabels, nil)
	cacheLoadFails = prometheus.NewDesc("millrace_cache_load_errors_total", "Values that could not be read from the store.", cacheLabels, nil)
	nearEntries    = prometheus.NewDesc("millrace_cache_near_entries", "Entries that this node keeps beside itself, in the near cache.", cacheLabels, nil)
	nearBytes      = prometheus.NewDesc("millrace_cache_near_bytes", "Bytes that they take in memory, keys and all.", cacheLabels, nil)
	nearHits       = prometheus.NewDesc("millrace_cache_near_hits_total", "Gets that the near cache answered.", cacheLabels, nil)
	nearMisses     = prometheus.NewDesc("millrace_cache_near_misses_total", "Gets that it could not answer.", cacheLabels, nil)
	storeLag       = prometheus.NewDesc("millrace_store_lag_entries", "Entries in this node's partitions that are not in the store yet.", cacheLabels, nil)
	storeLagBytes  = prometheus.NewDesc("millrace_store_lag_bytes", "Bytes of their values, reckoned by the cache's mean.", cacheLabels, nil)
	storeLagAge    = prometheus.NewDesc("millrace_store_lag_seconds", "How long the oldest of them has waited.", cacheLabels, nil)
	gridDamaged    = prometheus.NewDesc("millrace_grid_damaged_records_total", "Records that were found damaged or missing on the disk when the node's folder was opened, by partition.", []string{"class", "partition"}, nil)
	gridLost       = prometheus.NewDesc("millrace_grid_lost", "1 for a partition whose files were all missing when the node's folder was opened: everything in it was lost. 0 for the others.", []string{"class", "partition"}, nil)
	pipelineLag    = prometheus.NewDesc("millrace_pipeline_lag", "Inputs that wait or are under way, on all nodes.", []string{"pipeline"}, nil)
	pipelineAge    = prometheus.NewDesc("millrace_pipeline_lag_seconds", "How long the oldest input has waited that has no outcome yet.", []string{"pipeline"}, nil)
	pipelineState  = prometheus.NewDesc("millrace_pipeline_state", "1 for the state that the pipeline is in now (waiting, running, paused or blocked), 0 for the others.", []string{"pipeline", "state"}, nil)
	pipelineRun    = prometheus.NewDesc("millrace_pipeline_run_seconds", "How long the run under way takes; 0 where none is.", []string{"pipeline"}, nil)
)

// Describe sends what Collect may send.
func (c gridCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		cacheEntries, cacheBytes, cacheDamaged, gridDamaged, gridLost, cacheListeners, cacheHits, cacheColdHits, cacheMisses, cachePuts, cacheDeletes, cacheExpired,
		cacheCold, cacheColdBytes, cacheEvictions, cacheLoads, cacheLoadFails, nearEntries, nearBytes, nearHits, nearMisses, storeLag, storeLagBytes, storeLagAge, pipelineLag, pipelineAge, pipelineState, pipelineRun,
	} {
		ch <- d
	}
}

// Collect asks the grid. What cannot be asked is left out and reported as invalid, so that a scrape says so.
func (c gridCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	type share struct{ class, partition string }
	damaged, lost := map[share]int{}, map[share]int{}
	for p := range c.n.grid.Partitions() {
		damaged[share{string(grid.Durable), strconv.Itoa(p)}], lost[share{string(grid.Durable), strconv.Itoa(p)}] = 0, 0
	}
	for _, d := range c.n.grid.Damages() {
		class := string(d.Class)
		if class == "" { // the grid's description
			class = d.Stream
		}
		damaged[share{class, strconv.Itoa(d.Partition)}] += d.Records
		if d.Everything {
			lost[share{class, strconv.Itoa(d.Partition)}] = 1
		}
	}
	for of, records := range damaged {
		ch <- prometheus.MustNewConstMetric(gridDamaged, prometheus.CounterValue, float64(records), of.class, of.partition)
	}
	for of, is := range lost {
		ch <- prometheus.MustNewConstMetric(gridLost, prometheus.GaugeValue, float64(is), of.class, of.partition)
	}
	for cfg, err := range c.n.grid.Caches(ctx) {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(cacheEntries, err)
			return
		}
		cache, err := c.n.grid.Cache(ctx, cfg.Name)
		if err != nil {
			continue // removed meanwhile
		}
		s, err := cache.Stats(ctx)
		if err != nil {
			ch <- prometheus.NewInvalidMetric(cacheEntries, err)
			return
		}
		gauge := func(d *prometheus.Desc, v float64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, cfg.Name)
		}
		count := func(d *prometheus.Desc, v uint64) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), cfg.Name)
		}
		gauge(cacheEntries, float64(s.Entries))
		gauge(cacheBytes, float64(s.Bytes))
		gauge(cacheDamaged, float64(s.Damaged))
		gauge(cacheListeners, float64(s.Listeners))
		count(cacheHits, s.Hits)
		count(cacheMisses, s.Misses)
		count(cachePuts, s.Puts)
		count(cacheDeletes, s.Deletes)
		count(cacheExpired, s.Expired)
		if s.Near != nil {
			gauge(nearEntries, float64(s.Near.Entries))
			gauge(nearBytes, float64(s.Near.Bytes))
			count(nearHits, s.Near.Hits)
			count(nearMisses, s.Near.Misses)
		}
		if s.Tier == nil {
			continue
		}
		gauge(cacheCold, float64(s.Cold))
		gauge(cacheColdBytes, float64(s.ColdBytes))
		count(cacheEvictions, s.Tier.Evictions)
		count(cacheColdHits, s.ColdHits)
		count(cacheLoads, s.Tier.Loads)
		count(cacheLoadFails, s.Tier.LoadErrors)
		gauge(storeLag, float64(s.Tier.LagEntries))
		gauge(storeLagBytes, float64(s.Tier.LagBytes))
		gauge(storeLagAge, s.Tier.Lag.Seconds())
	}
	all, err := pipelines(c).now(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(pipelineLag, err)
		return
	}
	for _, p := range all {
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.Config.Name}, labels...)...)
		}
		gauge(pipelineLag, float64(p.lag))
		gauge(pipelineAge, p.age.Seconds())
		gauge(pipelineRun, p.Status.Run.Seconds())
		for _, state := range []pipeline.State{pipeline.Waiting, pipeline.Running, pipeline.Paused, pipeline.Blocked} {
			is := 0.0
			if state == p.Status.State {
				is = 1
			}
			gauge(pipelineState, is, string(state))
		}
	}
}

// listenerMetrics are what waits for the readers of event streams.
func listenerMetrics(b *grid.Budget, limit int64) prometheus.Collector {
	all := prometheus.NewRegistry()
	all.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_listeners_bytes", Help: "Bytes that wait for the readers of event streams, with the buffers of their sockets.",
		}, func() float64 { return float64(b.Used()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "millrace_listeners_max_bytes", Help: "The most bytes that may wait for them (listeners.max_bytes).",
		}, func() float64 { return float64(limit) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "millrace_listeners_behind_total", Help: "Event streams that ended because their readers were too slow.",
		}, func() float64 { return float64(b.Behind()) }),
	)
	return all
}
