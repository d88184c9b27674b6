package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A deviceSession runs a model on a device until that is lost. Then its session is closed; where the engine was not named, the model goes on on the processor, and the run that met it is
// done again there. It is safe for concurrent use.
type deviceSession struct {
	onCPU func(context.Context) (engine.Session, error) // nil where the engine was named
	model string
	all   *lostModels
	log   *slog.Logger

	inputs, outputs []graph.Value

	mu     sync.RWMutex // held for reading by runs
	s      engine.Session
	lost   error // why the session is not on the device any more
	closed bool
}

// Inputs are the model's.
func (d *deviceSession) Inputs() []graph.Value { return d.inputs }

// Outputs are the model's.
func (d *deviceSession) Outputs() []graph.Value { return d.outputs }

// Run runs the model where it is now.
func (d *deviceSession) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	err := d.run(ctx, in, out)
	if !errors.Is(err, engine.ErrLost) {
		return err
	}
	if moved := d.move(ctx, err); moved != nil {
		return moved
	}
	return d.run(ctx, in, out)
}

func (d *deviceSession) run(ctx context.Context, in, out []*tensor.Tensor) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	switch {
	case d.closed:
		return engine.ErrClosed
	case d.s == nil:
		return d.lost
	}
	return d.s.Run(ctx, in, out)
}

// move closes the session whose device is lost, and opens the one on the processor; who comes later finds that done. It returns why the model does not go on.
func (d *deviceSession) move(ctx context.Context, lost error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return engine.ErrClosed
	}
	if d.lost == nil {
		d.lost = lost
		if err := d.s.Close(); err != nil {
			d.log.Warn("close a session whose device is lost", "error", err)
		}
		d.s = nil
		if d.onCPU == nil {
			d.all.add(d, lost)
		}
	}
	if d.s != nil {
		return nil
	}
	if d.onCPU == nil {
		return d.lost
	}
	s, err := d.onCPU(ctx)
	if err != nil {
		return fmt.Errorf("%w; open the model on the processor: %w", d.lost, err)
	}
	d.log.Warn("a device is lost: the model goes on on the processor, until the node is started again", "error", d.lost)
	d.s = s
	return nil
}

// Close closes what is open, after the runs in progress.
func (d *deviceSession) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	was := d.closed
	d.closed = true
	d.all.remove(d)
	if was || d.s == nil {
		return nil
	}
	return d.s.Close()
}

// lostModels are the sessions that a lost device keeps from running for good.
type lostModels struct {
	mu  sync.Mutex
	all map[*deviceSession]error
}

func (l *lostModels) add(d *deviceSession, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*deviceSession]error{}
	}
	l.all[d] = err
}

func (l *lostModels) remove(d *deviceSession) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, d)
}

// reasons say why the node is not ready.
func (l *lostModels) reasons() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for d, err := range l.all {
		out = append(out, fmt.Sprintf("model %s cannot run until the node is started again: %v", d.model, err))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
