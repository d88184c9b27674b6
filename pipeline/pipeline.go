// Package pipeline runs a model over a cache: each entry that is put into the source cache becomes a result, or an
// error entry that says why not, in the target caches. What a model is and where it comes from is left to the
// packages model and registry, and keeping entries to package grid.
package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// A Pipeline processes each revision of each entry of a cache at least once, unless a newer one made it pointless,
// with the effect of once: one result a key, revision and pipeline, and never an older one over a newer one.
// Its reader moves over an input when the grid has acknowledged the result, so that a process that dies loses nothing. Each
// node runs it for the partitions that it owns.
type Pipeline struct {
	cfg     Config
	grid    *grid.Grid
	models  Models
	log     *slog.Logger
	from    *grid.Cache
	results *target
	faults  *target
	count   *counters
	digest  string // of the definition
	desk    *desk  // where nodes give each other batches; nil for none
	work    Work

	board board
}

// New prepares a pipeline over caches that exist. Metrics are shared by all pipelines of a node. It starts nothing.
func New(ctx context.Context, g *grid.Grid, models Models, metrics *Metrics, cfg Config) (*Pipeline, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	p := &Pipeline{cfg: cfg, grid: g, models: models, log: cfg.Logger.With("pipeline", cfg.Name)}
	p.board.stopped()
	var err error
	if p.digest, err = digestOf(cfg); err != nil {
		return nil, fmt.Errorf("pipeline %s: %w", cfg.Name, err)
	}
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
		*t.into = &target{cache: cache, reader: cfg.Name}
	}
	p.count = metrics.of(cfg.Name)
	return p, nil
}

// Config returns the pipeline's configuration with its defaults.
func (p *Pipeline) Config() Config { return p.cfg }

// Lag returns how many inputs wait or are under way on all nodes, and how long the oldest has waited.
func (p *Pipeline) Lag(ctx context.Context) (changes int64, age time.Duration, err error) {
	positions, err := p.grid.Positions(ctx, p.cfg.From, p.cfg.Name)
	if errors.Is(err, grid.ErrNoReader) {
		return 0, 0, nil // it has yet to begin
	}
	for _, at := range positions {
		changes, age = changes+at.Changes, max(age, at.Age)
	}
	return changes, age, err
}

// publishers is how many batches are published at a time. Their keys differ: a key's next change is given out when the one
// before is done. With one, the stream waits while a batch's acknowledgement is on its way; two gave 1.15 times the results a
// second in a flood and three no more (medians of 7 pairs, 2 cores).
const publishers = 2

const (
	// leftPause is the pause before what was left is looked at again, where it is this node's still.
	leftPause = 20 * time.Millisecond
	// gridPause is the pause before a grid that did not answer is asked again.
	gridPause = 200 * time.Millisecond
)

// grace is how long a pipeline goes on, when it is stopped, to finish the batches that it has begun.
const grace = 5 * time.Second

// Run processes entries until ctx ends, and finishes then what it has begun. It returns nil then, and an error only
// where the grid refuses the pipeline. One Run may be in progress at a time.
func (p *Pipeline) Run(ctx context.Context) error {
	p.board.waits(toBegin)
	defer p.board.stopped()
	reader, err := p.read(ctx)
	if err != nil {
		return p.ended(ctx, err)
	}
	p.board.waits("entries of cache " + p.cfg.From)
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	defer stop()

	batches := make(chan *batch, 1)
	group, work := errgroup.WithContext(work)
	group.Go(func() error {
		defer close(batches)
		if p.work == WorkElsewhere {
			return p.dispatch(ctx, work, reader, batches)
		}
		spread := p.startSpreader(ctx, work, reader, batches)
		if spread != nil {
			defer spread.close()
		}
		return p.compute(ctx, work, reader, spread, batches)
	})
	for range publishers {
		group.Go(func() error {
			for b := range batches {
				if err := p.publish(work, b); err != nil {
					return err
				}
				done, left := b.split()
				reader.Done(done)
				p.board.done()
				if len(left) == 0 {
					continue
				}
				// The partition has another owner, or this node is about to own it in both classes.
				reader.Undo(left)
				if err := pause(work, leftPause); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = group.Wait()
	return errors.Join(p.ended(ctx, err), p.leave(ctx, reader))
}

// leave closes the reader. Where the grid does not take its position, as when most of the nodes have stopped before this one, nothing is lost by it.
func (p *Pipeline) leave(ctx context.Context, reader *grid.Reader) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	err := reader.Close(ctx)
	if !errors.Is(err, grid.ErrUnavailable) {
		return err
	}
	p.log.Warn("the grid does not take how far the pipeline has come: what it did last is given out again when it goes on, and is not stored twice", "error", err)
	return nil
}

// read opens the pipeline's reader, and waits while the grid does not answer.
func (p *Pipeline) read(ctx context.Context) (*grid.Reader, error) {
	for {
		reader, err := p.grid.Read(ctx, grid.ReaderConfig{Name: p.cfg.Name, Cache: p.cfg.From, Start: p.cfg.start()})
		if !errors.Is(err, grid.ErrUnavailable) {
			p.board.need("")
			return reader, err
		}
		p.need("the grid does not answer: %v", err)
		if err := pause(ctx, gridPause); err != nil {
			return nil, err
		}
	}
}

// pause waits for a while; it returns the context's error where that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Pipeline) ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("pipeline %s: %w", p.cfg.Name, err)
}

// busyWait is how long a pipeline waits where others' runs fill the model's queue.
const busyWait = 5 * time.Millisecond

// compute fetches what is queued, runs the model on it and hands the results on, until ctx ends. While batches are
// published the next is computed.
func (p *Pipeline) compute(ctx, work context.Context, reader *grid.Reader, spread *spreader, batches chan<- *batch) error {
	var current *plan
	runs := newRunner(p.cfg.RunTimeout)
	defer runs.close()
	runs.replaced, runs.blocked = p.replaced, func(version int64, left int) {
		reason := fmt.Sprintf("%d runs of model %s version %d were cancelled and do not end; another version would be used at once", left, p.cfg.Model, version)
		if p.board.hang(reason) {
			p.log.Warn("pipeline is blocked", "reason", reason)
		}
	}
	for {
		// The model is there before entries are asked for: while it is missing, other nodes may have them.
		handle, plan, err := p.model(ctx, current)
		if err != nil {
			return p.ended(ctx, err)
		}
		handle.Release()
		current = plan
		b, err := p.next(ctx, reader, spread, min(p.cfg.MaxBatch, current.most))
		if err != nil {
			return p.ended(ctx, err)
		}
		for given := false; ; {
			// It may have been replaced while nothing came.
			if handle, current, err = p.model(work, current); err != nil {
				return err
			}
			b.clock.last = time.Now()
			p.board.runs(current.model.Version)
			err = current.run(work, runs.session(handle, given), b.items, &b.clock)
			p.board.ran()
			handle.Release()
			if err == nil {
				p.board.hang("")
				break
			}
			switch {
			case errors.Is(err, errReplaced): // once a batch: versions that come and come keep nobody from getting done
				given = true
				b.again()
				p.log.Info("a run was given up for the version that serves now", "model", current.model.Name, "version", current.model.Version)
			case isBusy(err):
				select {
				case <-work.Done():
					return work.Err()
				case <-time.After(busyWait):
				}
			case !isClosed(err):
				return err
			}
		}
		current.tell(p.log)
		b.plan = current
		if spread != nil {
			spread.ran(current, b.clock.decode+b.clock.run+b.clock.encode)
		}
		select {
		case batches <- b:
		case <-work.Done():
			return work.Err()
		}
	}
}

// next returns the next batch that this node is to run.
func (p *Pipeline) next(ctx context.Context, reader *grid.Reader, spread *spreader, most int) (*batch, error) {
	if spread != nil {
		return spread.next(ctx, most)
	}
	changes, err := reader.Next(ctx, most)
	if err != nil {
		return nil, err
	}
	return p.begin(changes), nil
}

// begin makes a batch of changes, and counts it.
func (p *Pipeline) begin(changes []grid.Change) *batch {
	p.board.taken()
	b := newBatch(changes)
	p.count.fetched(b)
	return b
}

// model waits until the model can be run, and makes a plan for it where it is not the current one.
func (p *Pipeline) model(ctx context.Context, current *plan) (*lent, *plan, error) {
	const again = 5 * time.Second // a reason that is not the model's may pass by itself
	for {
		changed := p.models.Changed()
		handle, err := p.models.Acquire(ctx, p.cfg.Model, p.cfg.Version)
		if err == nil {
			h := &lent{Handle: handle, changed: changed}
			h.hold()
			if current != nil && current.model == h.Model() {
				p.board.need("")
				return h, current, nil
			}
			plan, planErr := newPlan(h.Model(), p.cfg)
			if planErr == nil {
				p.board.need("")
				p.log.Info("model in use", "model", h.Model().Name, "version", h.Model().Version)
				return h, plan, nil
			}
			h.Release()
			err = planErr
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		p.need("model %s cannot run: %v", p.cfg.Model, err)
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-changed:
		case <-time.After(again):
		}
	}
}

// replaced reports whether the pipeline is to use another model than the one that was lent, and when to ask again.
func (p *Pipeline) replaced(ctx context.Context, l *lent) (bool, <-chan struct{}) {
	changed := p.models.Changed()
	h, err := p.models.Acquire(ctx, p.cfg.Model, p.cfg.Version)
	if err != nil {
		return false, changed
	}
	defer h.Release()
	return h.Model() != l.Model(), changed
}
