package train

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/tensor"
)

// A loop runs a training graph step by step. What a step gives as new.X is the next step's X: the two tensors change places,
// and nothing is copied.
type loop struct {
	session engine.Session
	in, out []*tensor.Tensor
	swaps   [][2]int // positions of X among the inputs, of new.X among the outputs
	names   []string // of the inputs
	x, y    int      // positions among the inputs
	rate    []float32
	loss    int // positions among the outputs
	logits  int
	epoch   int
	batch   int // of the epoch, the next one
	steps   int
	sums    sums
}

// sums are of the epoch in progress, or of the last one where none is.
type sums struct {
	Loss     float64 `json:"loss"`
	Correct  int     `json:"correct"`
	Examples int     `json:"examples"`
}

// newLoop builds and opens the training graph of g.
func newLoop(ctx context.Context, eng engine.Engine, opts engine.Options, g *graph.Graph, o gradient.Options, input string, shape tensor.Shape) (*loop, error) {
	logits, err := gradient.Logits(g, o)
	if err != nil {
		return nil, err
	}
	o.NoGradients, o.Outputs = true, []string{logits}
	tg, err := gradient.Build(g, o)
	if err != nil {
		return nil, err
	}
	fed, first := gradient.Feed(tg)
	session, err := eng.Open(ctx, fed, opts)
	if err != nil {
		return nil, err
	}
	l := &loop{session: session, x: -1, y: -1, loss: -1, logits: -1}
	at := map[string]int{}
	for i, v := range session.Inputs() {
		at[v.Name] = i
		l.names = append(l.names, v.Name)
		var t *tensor.Tensor
		switch v.Name {
		case input:
			l.x = i
		case gradient.Target:
			l.y = i
		case gradient.LearningRate:
			l.rate = []float32{0}
			t = tensor.Must(tensor.Of(l.rate))
		default:
			if first[v.Name] == nil {
				return nil, fmt.Errorf("the training graph has an input %s that training does not know", v)
			}
			t = first[v.Name].Clone()
		}
		l.in = append(l.in, t)
	}
	for i, v := range session.Outputs() {
		var t *tensor.Tensor
		var err error
		name, state := strings.CutPrefix(v.Name, gradient.NewPrefix)
		switch {
		case v.Name == gradient.LossOutput:
			l.loss = i
			t, err = tensor.New(tensor.Float32)
		case v.Name == logits:
			l.logits = i
		case state:
			k, ok := at[name]
			if !ok {
				return nil, fmt.Errorf("the training graph gives %q, and does not take %q", v.Name, name)
			}
			l.swaps = append(l.swaps, [2]int{k, i})
			t, err = tensor.New(l.in[k].DType(), l.in[k].Shape()...)
		}
		if err != nil {
			return nil, err
		}
		l.out = append(l.out, t)
	}
	if l.x < 0 || l.y < 0 || l.loss < 0 || l.logits < 0 || l.rate == nil {
		return nil, fmt.Errorf("the training graph takes %v: something is missing", l.names)
	}
	return l, nil
}

// step makes one update.
func (l *loop) step(ctx context.Context, b *batch, rate float64) (loss float64, correct int, err error) {
	l.rate[0] = float32(rate)
	l.in[l.x], l.in[l.y] = b.x, b.y
	if err := l.session.Run(ctx, l.in, l.out); err != nil {
		return 0, 0, err
	}
	for _, s := range l.swaps {
		l.in[s[0]], l.out[s[1]] = l.out[s[1]], l.in[s[0]]
	}
	l.steps++
	l.batch++
	loss = float64(tensor.Data[float32](l.out[l.loss])[0])
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return loss, 0, l.noNumber(b, loss)
	}
	if b.y.DType() != tensor.Int64 {
		return loss, 0, nil // a regression's numbers are no classes
	}
	scores, classes := tensor.Data[float32](l.out[l.logits]), tensor.Data[int64](b.y)
	width := len(scores) / len(classes)
	for r, c := range classes {
		if argmax(scores[r*width:(r+1)*width]) == int(c) {
			correct++
		}
	}
	return loss, correct, nil
}

// variables returns the model's values by name; they are the loop's until it is done.
func (l *loop) variables() map[string]*tensor.Tensor {
	m := map[string]*tensor.Tensor{}
	for _, s := range l.swaps {
		name := l.names[s[0]]
		if name != gradient.Step && !strings.HasPrefix(name, gradient.StatePrefix) {
			m[name] = l.in[s[0]]
		}
	}
	return m
}

// values returns what the model is: the variables' averages where they are kept, else the variables, and the statistics.
func (l *loop) values() map[string]*tensor.Tensor {
	m := l.variables()
	for _, s := range l.swaps {
		if name, ok := strings.CutPrefix(l.names[s[0]], gradient.AverageOf("")); ok {
			m[name] = l.in[s[0]]
		}
	}
	return m
}

// checkpoint returns the state as it is; it shares the loop's tensors.
func (l *loop) checkpoint(s Settings) *Checkpoint {
	c := &Checkpoint{Settings: s, Epoch: l.epoch, Batch: l.batch, Steps: l.steps, sums: l.sums}
	for _, sw := range l.swaps {
		c.Tensors = append(c.Tensors, NamedTensor{l.names[sw[0]], l.in[sw[0]]})
	}
	return c
}

// restore takes the state of a checkpoint.
func (l *loop) restore(c *Checkpoint) error {
	given := map[string]*tensor.Tensor{}
	for _, t := range c.Tensors {
		given[t.Name] = t.Tensor
	}
	for _, s := range l.swaps {
		name, have := l.names[s[0]], l.in[s[0]]
		t := given[name]
		if t == nil {
			return fmt.Errorf("%w: it has no tensor %q", ErrCheckpoint, name)
		}
		if t.DType() != have.DType() || !t.Shape().Equal(have.Shape()) {
			return fmt.Errorf("%w: tensor %q is %v%v, the model's %v%v", ErrCheckpoint, name, t.DType(), t.Shape(), have.DType(), have.Shape())
		}
		l.in[s[0]] = t
	}
	if len(given) != len(l.swaps) {
		return fmt.Errorf("%w: it has %d tensors, training %d", ErrCheckpoint, len(given), len(l.swaps))
	}
	l.epoch, l.batch, l.steps, l.sums = c.Epoch, c.Batch, c.Steps, c.sums
	return nil
}

// meter measures the progress of a loop.
type meter struct {
	epochs, steps, rows int
	begin, last         time.Time
	first, lastStep     int
	speed               float64
	sums                *sums // the loop's
	regression          bool
	report              func(Progress)
}

// every is how often a report is made within an epoch.
const every = 200 * time.Millisecond

func newMeter(l *loop, report func(Progress), regression bool, epochs, steps, rows int) *meter {
	now := time.Now()
	return &meter{sums: &l.sums, regression: regression, epochs: epochs, steps: steps, rows: rows, begin: now, last: now, first: l.steps, lastStep: l.steps, report: report}
}

// add notes a step.
func (m *meter) add(l *loop, loss float64, correct int) {
	m.sums.Loss += loss * float64(m.rows)
	m.sums.Correct += correct
	m.sums.Examples += m.rows
	if m.report != nil && time.Since(m.last) >= every {
		m.report(m.progress(l.epoch+1, l.steps))
	}
}

// progress says where training stands.
func (m *meter) progress(epoch, step int) Progress {
	now := time.Now()
	p := Progress{Epoch: epoch, Epochs: m.epochs, Step: step, Steps: m.steps, Regression: m.regression}
	if s := *m.sums; s.Examples > 0 {
		p.Loss, p.Accuracy = s.Loss/float64(s.Examples), float64(s.Correct)/float64(s.Examples)
	}
	if d := now.Sub(m.last).Seconds(); d > 0 && step > m.lastStep {
		m.speed = float64((step-m.lastStep)*m.rows) / d
	}
	p.ExamplesPerSecond = m.speed
	if done := step - m.first; done > 0 {
		p.Remaining = time.Duration(float64(now.Sub(m.begin)) / float64(done) * float64(m.steps-step))
	}
	m.last, m.lastStep = now, step
	return p
}

// next begins an epoch.
func (m *meter) next() { *m.sums = sums{} }
