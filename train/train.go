// Package train trains classifiers and regressions: data sets, batches, the loop over a training graph, evaluation and checkpoints.
// The gradients and optimizers are graph/gradient's, running the graph an engine's, and flags and progress bars the command's.
package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/model"
)

// A Result is what training came to.
type Result struct {
	// Model is the trained model as it is used, with its metadata.
	Model *graph.Graph
	// Evaluation is of the part that was kept, after the last epoch; nil where none was.
	Evaluation *Metrics
	// Test is of the part that the data set itself keeps for the end, by the trained model; nil where there is none.
	Test *Metrics
	// Loss and Accuracy are the last epoch's means over training examples. A regression has no accuracy, and its loss is the mean squared error in units of
	// the numbers' variance.
	Loss, Accuracy float64
	// Regression says that the model predicts a number.
	Regression bool
	// Examples is the size of the training part.
	Examples int
	// Steps are the updates made in all; Parameters the numbers that training changed.
	Steps, Parameters int
	// Duration is of this run, and ExamplesPerSecond its rate without evaluations.
	Duration          time.Duration
	ExamplesPerSecond float64
}

// Run trains as cfg says and writes the model. The same settings on the same engine and machine give the same bits, cut
// off and resumed or not. When ctx ends, Run writes the checkpoint where there is one and returns ctx's error. It may run
// several times at once, as long as the files differ.
func Run(ctx context.Context, cfg Config) (Result, error) {
	s, err := cfg.settle()
	if err != nil {
		return Result{}, err
	}
	// Training takes long: what keeps its result from being written is found before.
	for _, name := range []string{s.Out, s.Checkpoint} {
		if name == "" {
			continue
		}
		if err := outfile.Check(name); err != nil {
			return Result{}, fmt.Errorf("train: %w", err)
		}
	}
	begin := time.Now()
	r, err := newRun(ctx, s)
	if err != nil {
		return Result{}, fmt.Errorf("train: %w", err)
	}
	err = r.epochs(ctx)
	if r.journal != nil {
		err = r.journalEnd(ctx, err)
	}
	if err == nil && r.test != nil {
		var e Metrics
		e, err = Evaluate(ctx, s.Engine, s.EngineOptions, r.result.Model, r.test)
		r.result.Test = &e
	}
	if cerr := r.close(); err == nil {
		err = cerr
	}
	if err != nil {
		return Result{}, fmt.Errorf("train: %w", err)
	}
	r.result.Duration = time.Since(begin)
	if r.trained > 0 {
		r.result.ExamplesPerSecond = float64(r.done) / r.trained.Seconds()
	}
	if s.Out != "" {
		if err := outfile.Write(s.Out, func(w io.Writer) error { return onnx.Write(w, r.result.Model) }); err != nil {
			return r.result, fmt.Errorf("train: %w", err)
		}
	}
	return r.result, nil
}

// run is a training in progress.
type run struct {
	settled
	g         *graph.Graph
	used      *graph.Graph // g as it is used, where it is trained no more
	loop      *loop
	loader    *loader
	evaluator *evaluator // nil where no part is kept
	test      *Set       // nil where the data set has none
	settings  Settings
	journal   *journal // nil where there is no folder
	best      *Point   // of this process
	waited    int      // epochs since then
	over      bool     // its checkpoint is of a training that was done
	perEpoch  int      // steps
	result    Result
	trained   time.Duration
	done      int // examples
}

// newRun reads the data, makes the model and opens the sessions.
func newRun(ctx context.Context, s settled) (_ *run, err error) {
	set := s.Set
	if set == nil {
		if set, err = s.open(); err != nil {
			return nil, err
		}
	}
	s.tell(set.Notes())
	if s.Arch == Auto {
		s.Arch = s.chooseArch(set)
	}
	made := isMade(s.Arch)
	if set.doubt != nil && s.Options.Task == "" && made {
		return nil, set.doubt
	}
	if s.Options.Task == taskRegression && set.targets == nil {
		return nil, fmt.Errorf("%w: --task regression needs a table with numbers to predict", ErrData)
	}
	training, evaluation := set, set.validation
	if evaluation == nil {
		if training, evaluation, err = set.Split(s.Eval, s.Seed); err != nil {
			return nil, err
		}
	}
	if s.Batch == 0 {
		s.Batch = batchFor(training)
	}
	r := &run{settled: s, test: set.test}
	if r.g, err = s.model(training); err != nil {
		return nil, err
	}
	if r.used, err = inference(r.g); err != nil {
		return nil, err
	}
	m, err := model.New(r.g.Clone())
	if err != nil {
		return nil, err
	}
	if training, err = training.relabel(m.Labels); err != nil {
		return nil, err
	}
	s.tell(training.classNotes())
	input, sc, last, err := inputOf(m, training)
	if err != nil {
		return nil, err
	}
	if err := fitsTask(m, training); err != nil {
		return nil, err
	}
	shape := batchShape(input, min(s.Batch, training.Len()))
	if training.Len() < shape[0] {
		return nil, fmt.Errorf("%w: %d training examples do not fill the model's batch of %d", ErrData, training.Len(), shape[0])
	}
	opts := s.gradient(training)
	if opts.Frozen == nil {
		opts.Frozen = slices.DeleteFunc(slices.Clone(m.Frozen), func(name string) bool {
			return !slices.ContainsFunc(r.g.Initializers, func(in graph.Initializer) bool { return in.Name == name })
		})
	}
	if s.Balanced {
		if training.targets != nil {
			return nil, fmt.Errorf("%w: balanced is for classes, and these are numbers", ErrData)
		}
		opts.ClassWeights = balance(training.labels, len(m.Labels))
	}
	g, number := r.g, scaled{std: 1}
	if output, ok, err := m.Number(); err != nil {
		return nil, err
	} else if ok {
		g, opts.Prediction, number = unscaled(r.g, m.Outputs()[output].Name)
	}
	if r.loader, err = newLoader(newFiller(training, sc, last, s.augment), shape, number, s.Seed); err != nil {
		return nil, err
	}
	if scores, ok, err := m.Scores(); err != nil {
		return nil, err
	} else if ok {
		opts.Prediction = m.Outputs()[scores.Output].Name
	}
	if r.loop, err = newLoop(ctx, s.Engine, s.EngineOptions, g, opts, input.Name, shape); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	r.settings = s.settings(training, shape[0])
	r.perEpoch = training.Len() / shape[0]
	r.result.Examples, r.result.Regression = training.Len(), training.targets != nil
	var names []string
	for name, t := range r.loop.variables() {
		names = append(names, name)
		r.result.Parameters += t.Size()
	}
	if evaluation != nil {
		if r.evaluator, err = newEvaluator(ctx, s.Engine, s.EngineOptions, r.g, evaluation, names); err != nil {
			return nil, err
		}
		r.evaluator.whole = s.Dir != ""
	}
	if s.Dir != "" {
		if r.journal, err = newJournal(s.Dir, s.Resume, s.Keep); err != nil {
			return nil, err
		}
	}
	if s.Resume {
		if err := r.resume(); err != nil {
			return nil, err
		}
	}
	if r.journal == nil {
		return r, nil
	}
	kept := 0
	if evaluation != nil {
		kept = evaluation.Len()
	}
	if err := errors.Join(r.journal.rewind(r.loop.steps), r.journal.describe(r, s.Versions, kept, m.Labels)); err != nil {
		return nil, err
	}
	if r.best = r.journal.about.Best; r.best != nil {
		r.waited = r.loop.epoch - r.best.Epoch
	}
	return r, nil
}

// open reads the data set, as a model that is trained further says where nobody says otherwise.
func (s settled) open() (*Set, error) {
	o := s.Options
	if !isMade(s.Arch) && s.Arch != Auto {
		m, err := model.Open(s.Arch)
		if err != nil {
			return nil, fmt.Errorf("arch %q is none of %s, nor an ONNX file: %w", s.Arch, strings.Join(Archs, ", "), err)
		}
		o = o.Of(m)
	}
	return Open(s.Data, o)
}

// model makes or reads the net.
func (s settled) model(training *Set) (*graph.Graph, error) {
	if s.ReplaceHead == 0 {
		return NewModel(s.Arch, training, s.Seed)
	}
	if s.ReplaceHead != len(training.names) {
		return nil, fmt.Errorf("%w: the head is to have %d classes, and the data set has %d: %s", ErrData, s.ReplaceHead, len(training.names), some(training.names))
	}
	g, err := onnx.Open(s.Arch)
	if err != nil {
		return nil, fmt.Errorf("arch %s: %w", s.Arch, err)
	}
	if err := replaceHead(g, s.ReplaceHead, s.Seed); err != nil {
		return nil, fmt.Errorf("arch %s: %w", s.Arch, err)
	}
	delete(g.Metadata, model.Prefix+"labels")
	return complete(s.Arch, g, training)
}

// chooseArch takes a convolutional net for pictures that are larger than digits or in colour, a recurrent one for sequences, and a dense one for everything else.
func (s settled) chooseArch(set *Set) string {
	if set.sequence() {
		s.tell([]Note{{Text: "the net is recurrent, as the examples are sequences (--arch transformer and --arch mlp take others)"}})
		return LSTM
	}
	if set.Picture() && !set.table && (set.shape[0] > 1 || max(set.shape[1], set.shape[2]) > 32) {
		s.tell([]Note{{Text: "the net is convolutional, as pictures of this kind need it (--arch mlp takes a dense one)"}})
		return CNN
	}
	return MLP
}

// batchFor is the usual batch, and less for a small folder of pictures or few sequences, so that an epoch has some updates.
func batchFor(set *Set) int {
	const usual, least, updates = 100, 8, 20
	if !set.folder && !set.sequence() {
		return usual
	}
	return min(usual, max(least, set.Len()/updates))
}

// tell logs what was found out about the data.
func (s settled) tell(notes []Note) {
	if s.Log == nil {
		return
	}
	for _, n := range notes {
		level := slog.LevelInfo
		if n.Warning {
			level = slog.LevelWarn
		}
		s.Log.Log(context.Background(), level, n.Text)
	}
}

func (r *run) resume() error {
	from := r.Checkpoint
	var c *Checkpoint
	var err error
	if r.journal != nil {
		from = r.Dir
		var damaged error
		if c, damaged, err = r.journal.latest(); err == nil && c == nil {
			return nil // it was cut off before its first checkpoint
		}
		if damaged != nil && r.Log != nil {
			r.Log.Warn("a checkpoint is damaged: training goes on from an older one", "error", damaged)
		}
	} else {
		c, err = LoadCheckpoint(from)
	}
	if err != nil {
		return err
	}
	if err := c.Settings.fits(r.settings); err != nil {
		return err
	}
	if err := r.loop.restore(c); err != nil {
		return err
	}
	if r.Log != nil {
		r.Log.Info("training goes on from a checkpoint", "file", from, "epoch", c.Epoch+1, "batch", c.Batch, "steps", c.Steps)
	}
	return nil
}

func (r *run) close() error {
	err := r.loop.session.Close()
	if r.evaluator != nil {
		err = errors.Join(err, r.evaluator.session.Close())
	}
	return err
}

// epochs trains to the end.
func (r *run) epochs(ctx context.Context) error {
	l := r.loop
	m := newMeter(l, r.Report, r.result.Regression, r.Epochs, r.Epochs*r.perEpoch, r.loader.shape[0])
	if r.over = l.epoch >= r.Epochs; r.over {
		if err := r.evaluate(ctx, m); err != nil {
			return err
		}
	}
	for l.epoch < r.Epochs {
		if l.batch == 0 {
			m.next()
		}
		if err := r.epoch(ctx, m); err != nil {
			if ctx.Err() != nil && r.journal != nil {
				err = errors.Join(err, r.journal.checkpoint(l.checkpoint(r.settings), false))
			}
			if ctx.Err() != nil && r.Checkpoint != "" {
				err = errors.Join(err, l.checkpoint(r.settings).Save(r.Checkpoint))
			}
			return err
		}
		l.epoch, l.batch = l.epoch+1, 0
		if err := r.evaluate(ctx, m); err != nil {
			return err
		}
		if r.Checkpoint != "" {
			if err := l.checkpoint(r.settings).Save(r.Checkpoint); err != nil {
				return err
			}
		}
		if r.Patience > 0 && r.waited >= r.Patience {
			if r.Log != nil {
				r.Log.Info("training ends: the kept part was not done better on", "epochs", r.waited)
			}
			break
		}
	}
	r.result.Steps = l.steps
	r.result.Model = r.export()
	return nil
}

// epoch trains what is left of the epoch in progress.
func (r *run) epoch(ctx context.Context, m *meter) error {
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	batches := r.loader.epoch(ctx, r.loop.epoch, r.loop.batch)
	defer func() {
		cancel()
		for b := range batches { // wait for the goroutine, and keep its batches
			r.loader.free <- b
		}
		r.trained += time.Since(begin)
	}()
	for b := range batches {
		rate := r.schedule.Rate(r.LearningRate, r.loop.steps, m.steps)
		loss, correct, err := r.loop.step(ctx, b, rate)
		r.loader.free <- b
		if err != nil {
			return fmt.Errorf("epoch %d: %w", r.loop.epoch+1, err)
		}
		r.done += m.rows
		m.add(r.loop, loss, correct)
		if r.journal != nil && r.loop.batch < r.perEpoch { // the last one of an epoch comes with its evaluation
			if err := r.journalStep(m, rate); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// evaluate measures the model at the end of an epoch and reports.
func (r *run) evaluate(ctx context.Context, m *meter) error {
	p := m.progress(r.loop.epoch, r.loop.steps)
	r.result.Loss, r.result.Accuracy = p.Loss, p.Accuracy
	if r.evaluator != nil {
		e, err := r.evaluator.run(ctx, r.loop.values())
		if err != nil {
			return err
		}
		r.result.Evaluation, p.Evaluation = &e, &e
	}
	if err := r.journalEpoch(m, p); err != nil {
		return err
	}
	if r.Report != nil {
		r.Report(p)
	}
	m.last = time.Now()
	return nil
}

// export returns the model with the trained values.
func (r *run) export() *graph.Graph {
	g := r.used.Clone()
	values := r.loop.values()
	for i, in := range g.Initializers {
		if t := values[in.Name]; t != nil {
			g.Initializers[i] = graph.Initializer{Name: in.Name, Tensor: t}
		}
	}
	g.Producer = Producer
	g.Metadata[model.Prefix+"trained"] = r.trainedWith()
	if r.Unit != "" && r.result.Regression {
		g.Metadata[model.Prefix+"unit"] = r.Unit
	}
	return g
}

// trainedWith says for people what the model was trained with. It says nothing that differs from one run of the same settings to the next.
func (r *run) trainedWith() string {
	text := fmt.Sprintf("%d examples, %d epochs", r.result.Examples, r.Epochs)
	e := r.result.Evaluation
	switch {
	case e == nil:
	case r.result.Regression:
		text += fmt.Sprintf("; mean squared error %.4g on %d kept back", e.Loss, e.Examples)
	default:
		text += fmt.Sprintf("; %d of %d right of those kept back", e.Correct, e.Examples)
	}
	return text
}
