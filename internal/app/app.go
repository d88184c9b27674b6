package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/store"
)

// A Node is a running Millrace: the grid, the models, the pipelines and the servers that its configuration names.
type Node struct {
	cfg       Config
	log       *slog.Logger
	version   string
	started   time.Time
	rates     rates
	metrics   *prometheus.Registry
	engines   *Engines
	stores    []store.Store
	cold      *cold.Cold
	grid      *grid.Grid
	cluster   *cluster.Manager // nil where the node is in no cluster
	registry  *registry.Registry
	pipelines *pipeline.Manager
	unread    unread
	server    *serve.Server
	listeners *grid.Budget
	listener  net.Listener
	gate      *gate
	growth    *growth
	early     *serving // nil where the server is started by Run
}

// Open starts what cfg, which is complete, names, but for the pipelines and the serving of requests: Run does that. It refuses what Check
// does. version is the program's, for people. On an error nothing is left behind.
func Open(ctx context.Context, cfg Config, version string, log *slog.Logger) (_ *Node, err error) {
	n := &Node{cfg: cfg, log: log, version: version, started: time.Now(), metrics: prometheus.NewRegistry()}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	n.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	p, err := prepare(cfg, log)
	if err != nil {
		return nil, err
	}
	n.server, n.gate = p.server, p.gate
	n.listeners = grid.NewBudget(int64(cfg.Listeners.MaxBytes), int64(cfg.Listeners.MaxBytesEach))
	n.engines = OpenEngines(cfg, log)
	// The address is taken first: that it is in use should cost no time and leave no trace.
	if n.listener, err = n.server.Listen(ctx); err != nil {
		return nil, err
	}
	if err := n.openStores(ctx); err != nil {
		return nil, err
	}
	settings := cfg.grid(log)
	settings.Tiers, settings.Version, settings.Resolve = n.cold, version, resolve
	if settings.Cluster != nil {
		settings.Cluster.Waiting = n.gate.waits
		settings.Cluster.Intake = n.gate.intake.of.Store
		n.early = n.serveEarly()
	}
	if n.grid, err = grid.Open(ctx, settings); err != nil {
		return nil, err
	}
	if cl := settings.Cluster; cl != nil {
		n.cluster = cluster.New(cluster.Config{
			Name: cl.Name, Node: cl.Node, Replicas: cl.Replicas, Grace: time.Duration(cfg.Cluster.Grace), Moves: cfg.Cluster.Moves, Logger: log,
		}, n.grid)
	}
	if err := n.cold.Start(ctx, n.grid); err != nil {
		return nil, err
	}
	if err := n.patiently(ctx, "the caches", func() error { return n.makeCaches(ctx) }); err != nil {
		return nil, err
	}
	if err := n.cold.Loaded(ctx); err != nil {
		return nil, err
	}
	compute := cfg.has(grid.RoleCompute)
	open := opener(cfg, n.engines, log)
	if !compute {
		open = checker(cfg, n.engines)
	}
	if err := n.patiently(ctx, "the models", func() (err error) {
		n.registry, err = registry.Open(ctx, n.grid, registry.Config{
			Open: open, CheckOnly: !compute, MaxBytes: int64(cfg.HTTP.Limits.ModelBody), Keep: n.keeps, InUse: n.named, Logger: log,
		})
		return err
	}); err != nil {
		return nil, err
	}
	n.addModels(ctx, p.models)
	if err := n.openPipelines(ctx); err != nil {
		return nil, err
	}
	n.metrics.MustRegister(gridCollector{n}, listenerMetrics(n.listeners, int64(cfg.Listeners.MaxBytes)), httpCollector{n.server})
	if n.cluster != nil {
		n.metrics.MustRegister(clusterCollector{n.cluster})
	}
	n.growth = &growth{n: n}
	if err := n.route(p.routes, p.page); err != nil {
		return nil, err
	}
	n.gate.admits = n.admits
	n.gate.open.Store(true)
	return n, nil
}

// openAgain is the pause before what a node opens is tried again.
const openAgain = time.Second

// patiently does what opening the node needs of the grid, in a cluster again for as long as a part of the grid is away: other nodes come back, and nobody would start a node
// again that has ended for it. What failed must have left nothing behind.
func (n *Node) patiently(ctx context.Context, what string, do func() error) error {
	for told := ""; ; {
		err := do()
		if err == nil || n.cluster == nil || !errors.Is(err, grid.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
		if told != err.Error() {
			told = err.Error()
			n.log.Warn("a part of the grid is away; what the node opens is tried again", "what", what, "error", err)
		}
		n.gate.waits(fmt.Sprintf("waits for a part of the grid, to open %s: %v", what, err))
		select {
		case <-ctx.Done():
			return err
		case <-time.After(openAgain):
		}
	}
}

// Addr is the address that the node serves HTTP on.
func (n *Node) Addr() net.Addr { return n.listener.Addr() }

// URL is the address of the node's page.
func (n *Node) URL() string {
	scheme := "http"
	if n.cfg.HTTP.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + n.Addr().String() + "/"
}

// Run serves until ctx ends, or until a part fails, which ends the others. It finishes what was accepted: first
// requests, then the pipelines' batches. Call Close afterwards.
func (n *Node) Run(ctx context.Context) error {
	pipelines, stopPipelines := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPipelines()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return n.pipelines.Run(pipelines) })
	if n.cluster != nil {
		group.Go(func() error { return n.cluster.Run(ctx) })
	}
	group.Go(func() error {
		defer stopPipelines()
		if n.early != nil {
			return n.early.wait(ctx)
		}
		return n.server.Run(ctx, n.listener)
	})
	return group.Wait()
}

// Close ends the node, in the reverse of the order in which Open began. It is not called while Run is in progress.
func (n *Node) Close() error {
	var faults []error
	if n.early != nil {
		faults = append(faults, n.early.end())
	}
	if n.growth != nil {
		n.growth.close()
	}
	if n.registry != nil {
		faults = append(faults, n.registry.Close())
	}
	// The files are closed properly even when the caller's context has ended.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if n.cold != nil {
		faults = append(faults, n.cold.Close(ctx))
	}
	if n.grid != nil {
		faults = append(faults, n.grid.Close(ctx))
	}
	if n.growth != nil {
		n.growth.wait()
	}
	if n.gate != nil {
		n.gate.intake.busy.Wait()
	}
	faults = append(faults, n.closeStores())
	if n.listener != nil {
		if err := n.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// Run opens a node, tells ready of it, and runs it until ctx ends.
func Run(ctx context.Context, cfg Config, version string, log *slog.Logger, ready func(*Node)) error {
	n, err := Open(ctx, cfg, version, log)
	if err != nil {
		return err
	}
	if ready != nil {
		ready(n)
	}
	return errors.Join(n.Run(ctx), n.Close())
}

// makeCaches makes the caches that the configuration and its pipelines name, and gives those that are there the
// configuration's settings, but in a cluster.
func (n *Node) makeCaches(ctx context.Context) error {
	want := map[string]grid.CacheConfig{}
	for _, p := range n.cfg.Pipelines {
		for _, name := range []string{p.From, p.To, p.Errors} {
			want[name] = grid.CacheConfig{Name: name}
		}
	}
	for name, c := range n.cfg.Caches {
		want[name] = c.cache(name)
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		err := n.grid.CreateCache(ctx, want[name])
		_, configured := n.cfg.Caches[name]
		if n.shared() && errors.Is(err, grid.ErrLacking) { // what a file of this node says must not keep it from its work for the others
			n.log.Error("a cache of the configuration file is not made", "cache", name, "error", err)
			continue
		}
		if errors.Is(err, grid.ErrCacheExists) {
			err = nil
			switch {
			case configured && n.shared():
				n.differs("cache", name)
			case configured:
				err = n.grid.UpdateCache(ctx, want[name])
			}
		}
		if err != nil {
			return fmt.Errorf("cache %s: %w", name, err)
		}
	}
	return nil
}
