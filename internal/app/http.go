package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/admin"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/web"
)

// route hangs the protocols and the page under their paths.
func (n *Node) route(routes *serve.Routes, page http.Handler) error {
	api, err := rest.New(rest.Config{
		Grid: n.grid, Models: n.registry, Pipelines: pipelines{n}, Backup: n.backup, Evaluator: native.Evaluator(),
		MaxModelBytes: int64(n.cfg.HTTP.Limits.ModelBody), Listeners: n.listeners, Logger: n.log,
	})
	if err != nil {
		return err
	}
	for _, prefix := range rest.Prefixes() {
		routes.Handle(prefix, api)
	}
	infer, err := oip.New(oip.Config{Models: direct{n.registry, n}, Ready: n.ready, Version: n.version, MaxBody: int64(n.cfg.HTTP.Limits.InferBody),
		Timeout: time.Duration(n.cfg.HTTP.Timeouts.Infer), Logger: n.log})
	if err != nil {
		return err
	}
	for _, prefix := range oip.Prefixes() {
		routes.Handle(prefix, infer)
	}
	admin.Handle(routes, admin.Config{
		Metrics: promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{}), Stats: n.stats, Profiles: n.cfg.HTTP.Debug,
		Cluster: func(ctx context.Context) any { return n.clusterStatus(ctx) }, Control: n.clusterControl,
		Grow: n.growth,
	})
	routes.Handle("/", page)
	return nil
}

func (n *Node) clusterStatus(ctx context.Context) cluster.Status {
	if n.cluster == nil {
		return cluster.Read(ctx, n.grid, n.cfg.Cluster.Name, n.cfg.Node.Name)
	}
	return n.cluster.Status(ctx)
}

func (n *Node) clusterControl() (admin.Cluster, error) {
	if n.cluster == nil {
		return nil, cluster.ErrAlone
	}
	return n.cluster, nil
}

// public says what needs no token: health, for whoever watches the node, and the page, which asks people for the token.
func public(r *http.Request) bool {
	return oip.IsHealth(r) || web.Public(r)
}

// ready returns why the node cannot do its work: the grid's reasons, those of stores, models whose device is lost, and each pipeline that cannot run or is further behind than its
// max_lag. One that somebody paused is no reason.
func (n *Node) ready(ctx context.Context) (reasons []string) {
	if err := n.grid.Ready(ctx); err != nil {
		return []string{err.Error()}
	}
	reasons = append(n.absent(), n.cold.Foreign()...)
	reasons = append(reasons, n.engines.lost.reasons()...)
	all, err := pipelines{n}.now(ctx)
	if err != nil {
		return append(reasons, err.Error())
	}
	for _, p := range all {
		limit := p.Config.MaxLag
		switch {
		case p.Status.State == pipeline.Paused:
		case p.Status.State == pipeline.Blocked:
			reasons = append(reasons, fmt.Sprintf("pipeline %s is blocked: %s", p.Config.Name, p.Status.Reason))
		case limit > 0 && p.age > limit:
			reasons = append(reasons, fmt.Sprintf("pipeline %s is behind: its oldest input has waited for %v, and max_lag is %v",
				p.Config.Name, p.age.Round(time.Millisecond), limit))
		}
	}
	return reasons
}

// stats collects the live numbers of the page.
func (n *Node) stats(ctx context.Context) (admin.Stats, error) {
	s := admin.Stats{Node: admin.NodeStats{Name: n.cfg.Node.Name, Version: n.version, Uptime: time.Since(n.started).Seconds(), Demo: n.cfg.HTTP.Demo, Cluster: n.cfg.Cluster.Name}}
	for _, d := range n.grid.Damages() {
		s.Damaged = append(s.Damaged, admin.Damage{
			Class: string(d.Class), Partition: d.Partition, Stream: d.Stream, File: d.File, Kept: d.Kept, Missing: d.Missing, Everything: d.Everything,
			Records: d.Records, From: uint64(d.From), To: uint64(d.To), Keys: d.Keys, Unknown: d.Unknown,
		})
	}
	for c, err := range n.grid.Caches(ctx) {
		if err != nil {
			return s, err
		}
		if grid.IsSystem(c.Name) {
			continue
		}
		cache, err := n.grid.Cache(ctx, c.Name)
		if err != nil {
			continue // removed meanwhile
		}
		cs, err := cache.Stats(ctx)
		if err != nil {
			return s, err
		}
		one := admin.CacheStats{
			Name: c.Name, Class: string(c.Class), Entries: cs.Entries, Bytes: cs.Bytes, Damaged: cs.Damaged, MaxEntries: c.MaxEntries,
			MaxBytes: c.MaxBytes, InMemory: cs.InMemory, MemoryBytes: cs.Bytes - cs.ColdBytes, Cold: cs.Cold, ColdBytes: cs.ColdBytes,
			Hits: cs.Hits, ColdHits: cs.ColdHits, Misses: cs.Misses, Store: c.Store, StoreType: n.cfg.Stores[c.Store].Type,
			Puts: cs.Puts, PutRate: n.rates.of("cache "+c.Name, cs.Puts),
		}
		if rate, ok := cs.HitRate(); ok {
			one.HitRate = &rate
		}
		if t := cs.Tier; t != nil {
			one.Evictions, one.EvictionRate = t.Evictions, n.rates.of("evictions "+c.Name, t.Evictions)
			one.Loads, one.LoadRate, one.LoadErrors = t.Loads, n.rates.of("loads "+c.Name, t.Loads), t.LoadErrors
			one.LagEntries, one.LagBytes, one.LagSeconds = t.LagEntries, t.LagBytes, t.Lag.Seconds()
		}
		s.Caches = append(s.Caches, one)
	}
	slices.SortFunc(s.Caches, func(a, b admin.CacheStats) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	all, err := pipelines{n}.now(ctx)
	if err != nil {
		return s, err
	}
	for _, p := range all {
		cfg, shot := p.Config, p.Snapshot
		s.Pipelines = append(s.Pipelines, admin.PipelineStats{
			Name: cfg.Name, From: cfg.From, To: cfg.To, ErrorsTo: cfg.Errors, Model: cfg.Model, Version: p.Status.Version, FixedVersion: cfg.Version,
			Origin: string(p.Origin), Hides: p.Hides, State: string(p.Status.State), Reason: p.Status.Reason, RunningSeconds: p.Status.Run.Seconds(),
			In: shot.Inputs, Out: shot.Results, Errors: shot.Errors, Lag: uint64(max(0, p.lag)), LagSeconds: p.age.Seconds(),
			InRate: n.rates.of("in "+cfg.Name, shot.Inputs), OutRate: n.rates.of("out "+cfg.Name, shot.Results),
			LatencyP50: float64(shot.LatencyP50.Microseconds()), LatencyP99: float64(shot.LatencyP99.Microseconds()),
			BatchMean: shot.BatchMean, BatchSizes: shot.BatchSizes,
			Batches: shot.Batches, ByPeers: shot.ByPeers, ForPeers: shot.ForPeers,
		})
	}
	return s, nil
}
