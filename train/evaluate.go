package train

import (
	"context"
	"fmt"
	"math"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/gradient"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// Metrics say how well a model does on a set.
type Metrics struct {
	Examples int `json:"examples"`
	Correct  int `json:"correct"`
	// Loss is the mean cross-entropy, of a regression the mean squared error.
	Loss float64 `json:"loss"`
	// Errors are a regression's; nil for classifiers.
	Errors *Errors `json:"errors,omitempty"`
	// Confusion counts examples by label and, within, by the label that the model gave.
	Confusion [][]int `json:"confusion,omitempty"`
	// Classes are by label, Calibration and Worst of all examples, the worst first. A regression has none, nor what training without a folder of its own measures after an epoch.
	Classes     []ClassMetrics `json:"classes,omitempty"`
	Calibration *Calibration   `json:"calibration,omitempty"`
	Worst       []Miss         `json:"worst,omitempty"`
}

// Accuracy is the share of examples whose label is the model's first choice.
func (m Metrics) Accuracy() float64 {
	if m.Examples == 0 {
		return 0
	}
	return float64(m.Correct) / float64(m.Examples)
}

// evalBatch is how many examples an evaluation runs at once, where the model leaves it free.
const evalBatch = 250

// Evaluate runs a classifier or a regression on every example of a set and compares its first choices with the labels, which go by name where the model
// has names for them, and are numbered as its labels are. The model's metadata says how pictures become inputs.
func Evaluate(ctx context.Context, eng engine.Engine, opts engine.Options, g *graph.Graph, set *Set) (Metrics, error) {
	e, err := newEvaluator(ctx, eng, opts, g, set, nil)
	if err != nil {
		return Metrics{}, err
	}
	e.whole = true
	m, err := e.run(ctx, nil)
	if cerr := e.session.Close(); err == nil {
		err = cerr
	}
	return m, err
}

// An evaluator runs a model, whose variables may be fed, on a set.
type evaluator struct {
	session engine.Session
	set     *Set
	filler  *filler
	scores  model.Scores
	number  int // the output with a regression's numbers
	x       *tensor.Tensor
	input   int // position of the examples among the session's inputs
	feed    []string
	whole   bool // with what is said of each class and of the worst examples, which takes a sort for each class
}

// input returns the only input of a classifier for a set, and how examples become it.
func inputOf(m *model.Model, set *Set) (graph.Value, scaling, bool, error) {
	in := m.Inputs()
	if len(in) != 1 {
		return graph.Value{}, scaling{}, false, fmt.Errorf("%w: the model has %d inputs; training and evaluation need one", ErrData, len(in))
	}
	v := in[0]
	if v.DType != tensor.Float32 {
		return v, scaling{}, false, fmt.Errorf("%w: the model's input %s is not float32", ErrData, v)
	}
	if len(v.Shape) < 1 {
		return v, scaling{}, false, fmt.Errorf("%w: the model's input %s has no dimension for the batch", ErrData, v)
	}
	want := 1
	for _, d := range v.Shape[1:] {
		if !d.Known() {
			return v, scaling{}, false, fmt.Errorf("%w: the model's input %s has unknown dimensions", ErrData, v)
		}
		want *= int(d.Size)
	}
	last := m.Layout == "NHWC"
	if m.Layout == "" && len(v.Shape) == 4 && len(set.shape) == 3 && set.shape[0] > 1 {
		last = v.Shape[3].Size == int64(set.shape[0]) && v.Shape[1].Size != int64(set.shape[0])
	}
	if want != set.size {
		return v, scaling{}, false, fmt.Errorf("%w: the model takes %v, an example has shape %v", ErrData, v.Shape, set.shape)
	}
	sc := scaling{scale: m.Scale, mean: m.Mean, std: m.Std}
	switch {
	case sc.scale != 0:
	case set.plain(m):
		sc.scale = 1
	default:
		sc.scale = 1.0 / 255
	}
	return v, sc, last, nil
}

// batchShape is an input's shape for that many examples; a batch dimension that is fixed stays.
func batchShape(v graph.Value, n int) tensor.Shape {
	s := tensor.Shape{n}
	if v.Shape[0].Known() {
		s[0] = int(v.Shape[0].Size)
	}
	for _, d := range v.Shape[1:] {
		s = append(s, int(d.Size))
	}
	return s
}

// newEvaluator opens g for evaluation; feed names the initializers that run is given.
func newEvaluator(ctx context.Context, eng engine.Engine, opts engine.Options, g *graph.Graph, set *Set, feed []string) (*evaluator, error) {
	used, err := inference(g)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	m, err := model.New(used)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	if len(m.Labels) == 0 {
		m.Labels = set.names
	}
	if err := fitsTask(m, set); err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	scores, _, err := m.Scores()
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	output, _, err := m.Number()
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	if set, err = set.relabel(m.Labels); err != nil {
		return nil, err
	}
	v, sc, last, err := inputOf(m, set)
	if err != nil {
		return nil, err
	}
	x, err := tensor.New(tensor.Float32, batchShape(v, min(evalBatch, set.Len()))...)
	if err != nil {
		return nil, err
	}
	session, err := eng.Open(ctx, placeholders(m.Graph, feed), opts)
	if err != nil {
		return nil, fmt.Errorf("evaluate: %w", err)
	}
	e := &evaluator{session: session, set: set, filler: newFiller(set, sc, last, Augment{}), scores: scores, number: output, x: x, feed: make([]string, 0, len(feed))}
	for i, in := range session.Inputs() {
		if in.Name == v.Name {
			e.input = i
		}
		e.feed = append(e.feed, in.Name)
	}
	return e, nil
}

// run evaluates with these values of the variables.
func (e *evaluator) run(ctx context.Context, variables map[string]*tensor.Tensor) (Metrics, error) {
	classes := len(e.set.names)
	m := Metrics{Confusion: make([][]int, classes)}
	for i := range m.Confusion {
		m.Confusion[i] = make([]int, classes)
	}
	in := make([]*tensor.Tensor, len(e.feed))
	for i, name := range e.feed {
		in[i] = variables[name]
	}
	in[e.input] = e.x
	rows, size := e.x.Shape()[0], e.set.size
	row := make([]float32, max(classes, 1))
	var loss float64
	var off errorSums
	var j *judge
	if e.whole && e.set.targets == nil {
		j = newJudge(e.set.Len(), classes)
	}
	for from := 0; from < e.set.Len(); from += rows {
		x, n := tensor.Data[float32](e.x), min(rows, e.set.Len()-from)
		for r := range rows { // a last batch that is not full repeats its last example
			e.filler.fill(x[r*size:(r+1)*size], from+min(r, n-1), 0, 0)
		}
		out := make([]*tensor.Tensor, len(e.session.Outputs()))
		if err := e.session.Run(ctx, in, out); err != nil {
			return m, fmt.Errorf("evaluate: %w", err)
		}
		for r := range n {
			if e.set.targets != nil {
				if err := model.Row(row, out[e.number], r, rows); err != nil {
					return m, fmt.Errorf("evaluate: %w", err)
				}
				off.add(float64(row[0]), float64(e.set.targets[from+r]))
				m.Examples++
				continue
			}
			if err := model.Row(row, out[e.scores.Output], r, rows); err != nil {
				return m, fmt.Errorf("evaluate: %w", err)
			}
			if err := e.scores.Probabilities(row); err != nil {
				return m, fmt.Errorf("evaluate: example %d: %w", from+r, err)
			}
			label, choice := e.set.Label(from+r), argmax(row)
			m.Confusion[label][choice]++
			if m.Examples++; label == choice {
				m.Correct++
			}
			if j != nil {
				j.add(from+r, label, choice, row)
			}
			loss -= math.Log(max(float64(row[label]), 1e-12))
		}
	}
	if e.set.targets != nil {
		m.Errors, m.Loss = off.errors(), off.square/float64(m.Examples)
		return m, nil
	}
	m.Loss = loss / float64(m.Examples)
	if j != nil {
		j.finish(&m)
	}
	return m, nil
}

func argmax(v []float32) int {
	best := 0
	for i, x := range v {
		if x > v[best] {
			best = i
		}
	}
	return best
}

// inference returns a copy of a model as it is used: statistics and dropout are not in training mode.
func inference(g *graph.Graph) (*graph.Graph, error) {
	out := g.Clone()
	return out, gradient.Inference.Apply(out)
}

// placeholders returns a copy of g in which these initializers are inputs instead.
func placeholders(g *graph.Graph, names []string) *graph.Graph {
	if len(names) == 0 {
		return g
	}
	out, feed := g.Clone(), make(map[string]bool, len(names))
	for _, n := range names {
		feed[n] = true
	}
	kept := out.Initializers[:0:0]
	out.Inputs = g.Placeholders()
	for _, in := range out.Initializers {
		if !feed[in.Name] {
			kept = append(kept, in)
			continue
		}
		out.Inputs = append(out.Inputs, graph.Value{Name: in.Name, DType: in.Tensor.DType(), Shape: graph.Dims(in.Tensor.Shape()...)})
	}
	out.Initializers = kept
	return out
}
