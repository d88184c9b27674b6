package pipeline

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// A Handle lends an open model until Release.
type Handle interface {
	Model() *model.Model
	Session() engine.Session
	Release()
}

// Models lends models. Acquire with version 0 gives the newest that can be run. Changed is closed when models come, go or
// change; it is asked for before Acquire.
type Models interface {
	Acquire(ctx context.Context, name string, version int64) (Handle, error)
	Changed() <-chan struct{}
}

// plan is how one version of a model turns entries into results. It belongs to the one goroutine that computes.
type plan struct {
	name    string // of the pipeline
	digest  string // of the definition; only of a plan for other nodes' batches
	model   *model.Model
	decoder *media.Decoder // nil for a model that takes only named tensors
	inputs  []graph.Value
	outputs []graph.Value
	batched bool // the first dimension counts items
	free    bool // and may be any number
	trial   engine.Rows
	alone   error // why entries run one at a time, once that was found out
	most    int   // of a batch; less than MaxBatch where larger ones ran longer than they may
	slow    bool  // most was lowered
	labels  []string
	quoted  [][]byte // labels as JSON strings with a colon
	scores  model.Scores
	number  int    // the output that has a regression's number; -1 for other models
	end     []byte // of a regression's result: its target and unit
	top     int
	carry   []string

	input  *tensor.Tensor   // rows for the largest batch so far
	output []*tensor.Tensor // of the last run, written again where the batch has the same size
	rows   int              // of output
	row    []float32        // one item's scores
	order  []int
}

func newPlan(m *model.Model, cfg Config) (*plan, error) {
	p := &plan{name: cfg.Name, model: m, inputs: m.Inputs(), outputs: m.Outputs(), number: -1, top: cfg.Top, carry: cfg.Carry, most: cfg.MaxBatch}
	p.batched, p.free = m.Batched()
	scores, classifier, err := m.Scores()
	if err != nil {
		return nil, err
	}
	if classifier {
		p.labels, p.scores = m.Labels, scores
		p.row, p.order = make([]float32, len(p.labels)), make([]int, len(p.labels))
		for _, l := range p.labels {
			p.quoted = append(p.quoted, append(appendString(nil, l), ':'))
		}
	}
	output, regression, err := m.Number()
	if err != nil {
		return nil, err
	}
	if regression {
		p.number, p.row = output, make([]float32, 1)
		for _, f := range []struct{ name, value string }{{"target", m.Target}, {"unit", m.Unit}} {
			if f.value != "" {
				p.end = appendString(append(p.end, `,"`+f.name+`":`...), f.value)
			}
		}
	}
	if spec, err := m.Spec(); err == nil {
		spec.Ignored = passedOver(spec, cfg.Carry)
		if p.decoder, err = media.NewDecoder(spec); err != nil {
			return nil, fmt.Errorf("model %s version %d: %w", m.Name, m.Version, err)
		}
	}
	if p.decoder == nil { // named tensors bring their own batch, and are no rows
		p.batched, p.free = false, false
	}
	return p, nil
}

// passedOver are the names that an input may have beside the model's columns: those that the model says, and those that the result carries.
func passedOver(spec media.Spec, carry []string) []string {
	if len(spec.Columns) == 0 {
		return nil
	}
	names := slices.Clone(spec.Ignored)
	for _, name := range carry {
		if !slices.Contains(names, name) && !slices.ContainsFunc(spec.Columns, func(c media.Column) bool { return c.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// tell says in the log what was found out about the model lately.
func (p *plan) tell(log *slog.Logger) {
	if p.alone != nil {
		log.Warn("the model runs with one entry at a time", "model", p.model.Name, "version", p.model.Version, "reason", p.alone)
		p.alone = nil
	}
	if p.slow {
		log.Warn("batches are made smaller, since the model ran on one for longer than run_timeout", "model", p.model.Name, "version", p.model.Version, "max_batch", p.most)
		p.slow = false
	}
}

// run decodes items, runs the model and encodes results into items[i].value, or sets items[i].fails. An error is the
// model's, the engine's or the context's, not an item's: nothing was decided then.
func (p *plan) run(ctx context.Context, s engine.Session, items []*item, clock *stopwatch) error {
	var rows []*item
	for _, it := range items {
		if it.fails != nil || it.value != nil {
			continue
		}
		if p.decoder == nil {
			if err := p.runNamed(ctx, s, it, clock); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, it)
	}
	if p.free {
		err := p.runRows(ctx, s, rows, clock)
		if !errors.Is(err, engine.ErrRows) {
			return err
		}
		p.free, p.alone = false, err
	}
	for _, it := range rows {
		if it.fails != nil || it.value != nil {
			continue
		}
		if err := p.runRows(ctx, s, []*item{it}, clock); err != nil {
			return err
		}
	}
	return nil
}

// runRows runs items as the rows of one batch. Where that fails, each runs alone, so that the fault hurts its own. After engine.ErrRows those
// without value or fault are still to be run, each alone.
func (p *plan) runRows(ctx context.Context, s engine.Session, items []*item, clock *stopwatch) error {
	in, err := p.room(len(items))
	if err != nil {
		return err
	}
	n := 0
	for _, it := range items {
		if err := p.decode(in, n, it); err != nil {
			it.fails = &fails{codeInput, err}
			continue
		}
		items[n] = it // those with a fault were handled: the rest moves up
		n++
	}
	clock.lap(&clock.decode)
	items = items[:n]
	if n == 0 {
		return nil
	}
	batch := in
	if p.batched {
		if batch, err = in.Slice(0, n); err != nil {
			return err
		}
	}
	if p.rows != n || len(p.output) != len(p.outputs) {
		p.output, p.rows = make([]*tensor.Tensor, len(p.outputs)), n
	}
	inputs := []*tensor.Tensor{batch}
	err = s.Run(ctx, inputs, p.output)
	clock.lap(&clock.run)
	if err != nil {
		p.input, p.output = nil, nil // a run that was given up may still use them
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case passes(err):
			return err
		case n == 1:
			items[0].fails = failed(err)
			return nil
		}
		for _, it := range items {
			if err := p.runRows(ctx, s, []*item{it}, clock); err != nil {
				return err
			}
		}
		if errors.Is(err, ErrRunTimeout) && !slices.ContainsFunc(items, timedOut) { // no input is to blame: there were too many
			p.most, p.slow = n/2, true
		}
		return nil
	}
	if n > 1 {
		if err := p.trial.Check(ctx, s, inputs, p.output, 1, 1); err != nil {
			p.input, p.output = nil, nil
			return err
		}
	}
	for i, it := range items {
		it.value, err = p.encode(it, p.output, i, n)
		if err != nil {
			it.fails = &fails{codeOutput, err}
		}
	}
	clock.lap(&clock.encode)
	return nil
}

// room returns the input tensor with at least n rows.
func (p *plan) room(n int) (*tensor.Tensor, error) {
	spec := p.decoder.Spec()
	if p.input != nil && (!p.batched || p.input.Shape()[0] >= n) {
		return p.input, nil
	}
	shape := spec.Shape
	if p.batched {
		shape = append(tensor.Shape{n}, spec.Shape...)
	}
	t, err := tensor.New(spec.DType, shape...)
	p.input = t
	return t, err
}

// decode writes an item's bytes into a row. A panic in a decoder is this item's fault alone.
func (p *plan) decode(in *tensor.Tensor, row int, it *item) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decoder failed: %v\n%s", r, debug.Stack())
		}
	}()
	if !p.batched {
		rows, err := in.Reshape(append(tensor.Shape{1}, in.Shape()...)...)
		if err != nil {
			return err
		}
		return p.decoder.DecodeInto(rows, 0, it.source.ContentType, it.source.Value)
	}
	return p.decoder.DecodeInto(in, row, it.source.ContentType, it.source.Value)
}

// runNamed runs one item that holds tensors by name.
func (p *plan) runNamed(ctx context.Context, s engine.Session, it *item, clock *stopwatch) error {
	defer func() { clock.lap(&clock.encode) }()
	tensors, err := media.ParseTensors(it.source.ContentType, it.source.Value)
	clock.lap(&clock.decode)
	if err != nil {
		it.fails = &fails{codeInput, err}
		return nil // it becomes the item's result; the batch goes on
	}
	out, err := engine.Run(ctx, s, tensors)
	clock.lap(&clock.run)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if passes(err) {
			return err
		}
		it.fails = failed(err)
		return nil
	}
	outputs := make([]*tensor.Tensor, len(p.outputs))
	for i, v := range p.outputs {
		outputs[i] = out[v.Name]
	}
	if it.value, err = p.encode(it, outputs, 0, 1); err != nil {
		it.fails = &fails{codeOutput, err}
	}
	return nil
}
