// Package pipeline runs a model over a cache: each entry that is put into the source cache becomes a result, or an
// error entry that says why not, in the target caches. What a model is and where it comes from is left to the
// packages model and registry, and keeping entries to package grid.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// A Pipeline processes each revision of each entry of a cache at least once, unless a newer one made it pointless,
// with the effect of once: one result a key, revision and pipeline, and never an older one over a newer one.
// An input is acknowledged when the grid has acknowledged its result, so that a process that dies loses nothing.
type Pipeline struct {
	cfg     Config
	grid    *grid.Grid
	models  Models
	log     *slog.Logger
	from    *grid.Cache
	results *target
	faults  *target
	failing failing
	count   *counters
	flights flights

	state    atomic.Pointer[Status]
	consumer atomic.Pointer[grid.Consumer]
}

// A Status says what a pipeline is doing.
type Status struct {
	// Running is whether it processes entries; where it does not, Reason says what it waits for.
	Running bool
	Reason  string
	// Version of the model that made the last results; 0 before the first.
	Version int64
	Since   time.Time
}

// New prepares a pipeline over caches that exist. Metrics are shared by all pipelines of a node. It starts nothing.
func New(ctx context.Context, g *grid.Grid, models Models, metrics *Metrics, cfg Config) (*Pipeline, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Pipeline{cfg: cfg, grid: g, models: models, log: cfg.Logger.With("pipeline", cfg.Name)}
	var err error
	if p.from, err = g.Cache(ctx, cfg.From); err != nil {
		return nil, fmt.Errorf("pipeline %s: %w", cfg.Name, err)
	}
	for _, t := range []struct {
		into **target
		name string
	}{{&p.results, cfg.To}, {&p.faults, cfg.Errors}} {
		cache, err := g.Cache(ctx, t.name)
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", cfg.Name, err)
		}
		*t.into = &target{cache: cache, prefix: cfg.Name}
	}
	p.count = metrics.of(cfg.Name)
	p.wait("starting")
	return p, nil
}

// Config returns the pipeline's configuration with its defaults.
func (p *Pipeline) Config() Config { return p.cfg }

// Status says what the pipeline is doing now.
func (p *Pipeline) Status() Status { return *p.state.Load() }

// Lag returns how many inputs wait or are under way; 0 while the pipeline does not run.
func (p *Pipeline) Lag(ctx context.Context) (int64, error) {
	c := p.consumer.Load()
	if c == nil {
		return 0, nil
	}
	return c.Lag(ctx)
}

// grace is how long a pipeline goes on, when it is stopped, to finish the batches that it has begun.
const grace = 5 * time.Second

// Run processes entries until ctx ends, and finishes then what it has begun. It returns nil then, and an error only
// where the grid refuses the pipeline. One Run may be in progress at a time.
func (p *Pipeline) Run(ctx context.Context) error {
	for e, err := range p.faults.cache.List(ctx, grid.ListOptions{KeysOnly: true, Limit: maxFailing}) {
		if err != nil {
			return p.ended(ctx, err)
		}
		p.failing.add(e.Key)
	}
	consumer, err := p.grid.Consume(ctx, grid.ConsumerConfig{
		Name: p.cfg.Name, Cache: p.cfg.From, Start: p.cfg.start(), MaxAckPending: 8 * p.cfg.MaxBatch,
	})
	if err != nil {
		return p.ended(ctx, err)
	}
	defer consumer.Close()
	p.consumer.Store(consumer)
	defer p.consumer.Store(nil)

	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()

	batches := make(chan *batch, 1)
	group, work := errgroup.WithContext(work)
	group.Go(func() error { return p.flights.keep(work) })
	group.Go(func() error {
		defer close(batches)
		return p.compute(ctx, work, consumer, batches)
	})
	group.Go(func() error {
		defer p.flights.stop()
		for b := range batches {
			if err := p.publish(work, b); err != nil {
				return err
			}
			p.flights.remove(b)
		}
		return nil
	})
	err = group.Wait()
	p.wait("stopped")
	return p.ended(ctx, err)
}

func (p *Pipeline) ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("pipeline %s: %w", p.cfg.Name, err)
}

// compute fetches what is queued, runs the model on it and hands the results on, until ctx ends. While one batch is
// published the next is computed.
func (p *Pipeline) compute(ctx, work context.Context, consumer *grid.Consumer, batches chan<- *batch) error {
	var current *plan
	for {
		// The model is there before entries are asked for: while it is missing, other nodes may have them.
		handle, plan, err := p.model(ctx, current)
		if err != nil {
			return p.ended(ctx, err)
		}
		handle.Release()
		current = plan
		messages, err := consumer.Fetch(ctx, p.cfg.MaxBatch)
		if err != nil {
			return p.ended(ctx, err)
		}
		b := &batch{items: newest(messages, p.cfg.From), clock: stopwatch{last: time.Now()}}
		p.flights.add(b)
		for {
			// It may have been replaced while nothing came.
			if handle, current, err = p.model(work, current); err != nil {
				return err
			}
			p.count.fetched(b)
			b.clock.last = time.Now()
			err = current.run(work, handle.Session(), b.items, &b.clock)
			handle.Release()
			if err == nil {
				break
			}
			if !isClosed(err) {
				return err
			}
		}
		b.plan = current
		for _, it := range b.items {
			if it.fails != nil {
				p.failing.add(it.source.Key)
			}
		}
		p.running(current.model.Version)
		select {
		case batches <- b:
		case <-work.Done():
			return work.Err()
		}
	}
}

// newest makes items of messages: of several messages of one key the last one counts, and its result covers them.
func newest(messages []grid.Message, cache string) []*item {
	items := make([]*item, 0, len(messages))
	at := make(map[string]int, len(messages))
	for _, m := range messages {
		it := &item{source: m.Entry, stamp: m.Time, gone: m.Type == grid.Removed || m.Type == grid.Expired}
		it.source.Cache = cache
		if i, twice := at[m.Entry.Key]; twice {
			if items[i].source.Revision > m.Entry.Revision { // redelivered after its successor
				items[i].acks = append(items[i].acks, m)
				continue
			}
			it.acks = append(items[i].acks, m)
			items[i] = it
			continue
		}
		it.acks = append(it.acks, m)
		at[m.Entry.Key] = len(items)
		items = append(items, it)
	}
	return items
}

// model waits until the model can be run, and makes a plan for it where it is not the current one.
func (p *Pipeline) model(ctx context.Context, current *plan) (Handle, *plan, error) {
	const again = 5 * time.Second // a reason that is not the model's may pass by itself
	for {
		changed := p.models.Changed()
		h, err := p.models.Acquire(ctx, p.cfg.Model, p.cfg.Version)
		if err == nil {
			if current != nil && current.model == h.Model() {
				return h, current, nil
			}
			plan, planErr := newPlan(h.Model(), p.cfg.Top)
			if planErr == nil {
				p.log.Info("model in use", "model", h.Model().Name, "version", h.Model().Version)
				return h, plan, nil
			}
			h.Release()
			err = planErr
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		p.wait(fmt.Sprintf("waiting for model %s: %v", p.cfg.Model, err))
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-changed:
		case <-time.After(again):
		}
	}
}

func (p *Pipeline) wait(reason string) {
	old := p.state.Load()
	if old != nil && !old.Running && old.Reason == reason {
		return
	}
	s := &Status{Reason: reason, Since: time.Now()}
	if old != nil {
		s.Version = old.Version
	}
	p.state.Store(s)
	p.log.Info("pipeline is waiting", "reason", reason)
}

func (p *Pipeline) running(version int64) {
	if old := p.state.Load(); old.Running && old.Version == version && old.Reason == "" {
		return
	}
	p.state.Store(&Status{Running: true, Version: version, Since: time.Now()})
}

// blocked says why results cannot be stored; nil that they can.
func (p *Pipeline) blocked(err error) {
	old := p.state.Load()
	switch {
	case err == nil && old.Running && old.Reason != "":
		p.log.Info("results are stored again")
		p.state.Store(&Status{Running: true, Version: old.Version, Since: time.Now()})
	case err != nil && old.Reason != err.Error():
		p.log.Warn("results cannot be stored, trying again", "error", err)
		p.state.Store(&Status{Running: true, Reason: err.Error(), Version: old.Version, Since: time.Now()})
	}
}

// flights are the batches between their arrival and their acknowledgement. Marks of progress keep the grid from
// delivering them again while a model takes long, or while results cannot be stored.
type flights struct {
	mu      sync.Mutex
	batches map[*batch]time.Time
	ended   chan struct{}
	once    sync.Once
}

// markEvery is well under the 5 s after which the grid gives an input out again.
const markEvery = time.Second

func (f *flights) add(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.batches == nil {
		f.batches = map[*batch]time.Time{}
	}
	f.batches[b] = time.Now()
}

func (f *flights) remove(b *batch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.batches, b)
}

// keep marks progress of batches that are under way for long, until ctx ends or stop is called.
func (f *flights) keep(ctx context.Context) error {
	ended := f.end()
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ended:
			return nil
		case now := <-tick.C:
			f.progress(now)
		}
	}
}

func (f *flights) progress(now time.Time) {
	f.mu.Lock()
	var late []*batch
	for b, since := range f.batches {
		if now.Sub(since) > markEvery {
			late = append(late, b)
		}
	}
	f.mu.Unlock()
	for _, b := range late {
		for _, it := range b.items {
			for _, m := range it.acks {
				// A mark that is lost costs a second delivery, whose result is recognized.
				_ = m.Progress()
			}
		}
	}
}

func (f *flights) end() chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended == nil {
		f.ended = make(chan struct{})
	}
	return f.ended
}

func (f *flights) stop() {
	ended := f.end()
	f.once.Do(func() { close(ended) })
}
