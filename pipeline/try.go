package pipeline

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// TryKey is the key that the result of a trial names as its source's.
const TryKey = "try"

// mostTrials is how many entries may be tried at a time on a node.
const mostTrials = 4

// A Trial is what a pipeline would do with an entry.
type Trial struct {
	Steps []Step `json:"steps"`
	// Result is what would be stored: a result, or an error entry, whose revision of the source is 0.
	Result json.RawMessage `json:"result"`
}

// A Step is a part of the way, in the order of the way.
type Step struct {
	Name string `json:"step"` // model, decode, run or encode
	// US is how long it took, in microseconds.
	US float64 `json:"us"`
	// Detail says for people what came out.
	Detail string `json:"detail,omitempty"`
}

// Try runs one entry through a pipeline, paused or not, and stores nothing. What is wrong with the entry is in the result, as it would be in the
// error cache. Errors are ErrNone, those of the model, and engine.ErrBusy where too many try at a time.
func (m *Manager) Try(ctx context.Context, name, contentType string, value []byte) (Trial, error) {
	one, err := m.Get(name)
	if err != nil {
		return Trial{}, err
	}
	select {
	case m.trials <- struct{}{}:
	default:
		return Trial{}, fmt.Errorf("%w: %d entries are tried at a time at most", engine.ErrBusy, mostTrials)
	}
	cfg, clock := one.Config, stopwatch{last: time.Now()}
	it := &item{source: grid.Entry{Cache: cfg.From, Key: TryKey, ContentType: contentType, Value: value}, stamp: clock.last}
	var opened time.Duration
	h, err := m.cfg.Models.Acquire(ctx, cfg.Model, cfg.Version)
	clock.lap(&opened)
	if err != nil {
		<-m.trials
		return Trial{}, fmt.Errorf("pipeline %s: %w", name, err)
	}
	l := &lent{Handle: h, then: func() { <-m.trials }} // a run that nobody waits for any more keeps its place
	l.hold()
	defer l.Release()
	p, err := newPlan(h.Model(), cfg)
	if err != nil {
		return Trial{}, fmt.Errorf("pipeline %s: %w", name, err)
	}
	runs := newRunner(cfg.RunTimeout)
	defer runs.close()
	seen := &watched{Session: runs.session(l, true)}
	if err := p.run(ctx, seen, []*item{it}, &clock); err != nil {
		return Trial{}, fmt.Errorf("pipeline %s: %w", name, err)
	}
	t := Trial{Steps: []Step{
		{"model", micros(opened), fmt.Sprintf("%s version %d", h.Model().Name, h.Model().Version)},
		{"decode", micros(clock.decode), fmt.Sprintf("%d bytes of %s", len(value), cmp.Or(media.Sniff(contentType, value), "no known type"))},
	}}
	failed := ""
	if it.fails != nil {
		failed = it.fails.code.String() + ": " + it.fails.err.Error()
	}
	if !seen.ran {
		t.Steps[1].Detail += ": " + failed
	} else {
		t.Steps[1].Detail += " become " + seen.in
		t.Steps = append(t.Steps, Step{"run", micros(clock.run), seen.out})
		if seen.out == "" {
			t.Steps[2].Detail = failed
		} else {
			t.Steps = append(t.Steps, Step{"encode", micros(clock.encode), failed})
		}
	}
	if it.fails != nil {
		it.value = p.encodeError(it)
	}
	t.Result = it.finish(time.Now())
	return t, nil
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// watched is a session that notes what goes through it, for people.
type watched struct {
	engine.Session
	ran     bool
	in, out string
}

// Run is the session's.
func (w *watched) Run(ctx context.Context, in, out []*tensor.Tensor) error {
	w.ran, w.in, w.out = true, describe(in), ""
	err := w.Session.Run(ctx, in, out)
	if err == nil {
		w.out = describe(out)
	}
	return err
}

// describe says what tensors are like: types, shapes, and the least, largest and mean number.
func describe(ts []*tensor.Tensor) string {
	texts := make([]string, len(ts))
	for i, t := range ts {
		texts[i] = fmt.Sprintf("%v%v", t.DType(), t.Shape())
		var lo, hi, sum float64
		n := 0
		add := func(v float64) {
			if n == 0 || v < lo {
				lo = v
			}
			if n == 0 || v > hi {
				hi = v
			}
			sum += v
			n++
		}
		switch data := t.Raw().(type) {
		case []float32:
			for _, v := range data {
				add(float64(v))
			}
		case []float64:
			for _, v := range data {
				add(v)
			}
		case []int64:
			for _, v := range data {
				add(float64(v))
			}
		case []uint8:
			for _, v := range data {
				add(float64(v))
			}
		}
		if n > 0 {
			texts[i] += fmt.Sprintf(" of %.4g to %.4g, mean %.4g", lo, hi, sum/float64(n))
		}
	}
	return strings.Join(texts, "; ")
}
