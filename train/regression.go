package train

import (
	"fmt"
	"math"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// Errors say how far a regression's numbers are from those of a set, in their unit.
type Errors struct {
	// RMSE is the root of the mean squared error, and MAE the mean of the absolute errors.
	RMSE float64 `json:"rmse"`
	MAE  float64 `json:"mae"`
	// R2 is the share of the numbers' variance that the model explains: 1 is perfect, 0 is as good as their mean. It is 0 where they do not vary.
	R2 float64 `json:"r2"`
}

// errorSums gathers Errors.
type errorSums struct {
	n                     float64
	square, absolute      float64
	mean, variance, delta float64
}

// add notes what a model said and what it should have been.
func (e *errorSums) add(said, is float64) {
	e.n++
	e.square += (said - is) * (said - is)
	e.absolute += math.Abs(said - is)
	e.delta = is - e.mean // Welford
	e.mean += e.delta / e.n
	e.variance += e.delta * (is - e.mean)
}

func (e *errorSums) errors() *Errors {
	r := &Errors{RMSE: math.Sqrt(e.square / e.n), MAE: e.absolute / e.n}
	if e.variance > 0 {
		r.R2 = 1 - e.square/e.variance
	}
	return r
}

// scaled is how a regression's numbers are made small for training: minus mean, by std.
type scaled struct{ mean, std float32 }

func (s scaled) down(v float32) float32 { return (v - s.mean) / s.std }

// targetMoments returns the mean and the standard deviation of the numbers to predict, 1 where they do not vary.
func targetMoments(s *Set) scaled {
	var e errorSums
	for _, v := range s.targets {
		e.add(0, float64(v))
	}
	std := math.Sqrt(e.variance / e.n)
	if std < 1e-12*math.Abs(e.mean) || std == 0 {
		std = 1
	}
	return scaled{float32(e.mean), float32(std)}
}

// value ends a regression: x times the standard deviation of the numbers and plus their mean, by constants that training leaves alone.
func (n *net) value(x string, data *Set) {
	m := targetMoments(data)
	c := func(v float32) string {
		return n.b.Op("Constant", graph.Attrs{"value": tensor.Must(tensor.Of([]float32{v}, 1))})
	}
	n.b.Output(n.b.Name(n.b.Op("Add", nil, n.b.Op("Mul", nil, x, c(m.std)), c(m.mean)), "value"))
}

// unscaled returns a graph that has what a regression's output is scaled from as an output too, its name, and how it is scaled. Where the output does
// not end as NewModel's do, that is the output itself.
func unscaled(g *graph.Graph, output string) (*graph.Graph, string, scaled) {
	makers := map[string]*graph.Node{}
	for _, n := range g.Nodes {
		for _, o := range n.Outputs {
			makers[o] = n
		}
	}
	constant := func(name string) (float32, bool) {
		n := makers[name]
		if n == nil || n.Op() != "Constant" {
			return 0, false
		}
		t := n.Attrs.Tensor("value")
		if t == nil || t.DType() != tensor.Float32 || t.Size() != 1 {
			return 0, false
		}
		return tensor.Data[float32](t)[0], true
	}
	plain := scaled{std: 1}
	add := makers[output]
	if add == nil || add.Op() != "Add" {
		return g, output, plain
	}
	mul := makers[add.Input(0)]
	mean, ok := constant(add.Input(1))
	if !ok || mul == nil || mul.Op() != "Mul" {
		return g, output, plain
	}
	std, ok := constant(mul.Input(1))
	if !ok || std == 0 {
		return g, output, plain
	}
	out := g.Clone()
	v := graph.Value{Name: mul.Input(0), DType: tensor.Float32}
	for _, o := range g.Outputs {
		if o.Name == output {
			v.Shape = o.Shape
		}
	}
	out.Outputs = append(out.Outputs, v)
	return out, v.Name, scaled{mean, std}
}

// fitsTask refuses numbers for a classifier and labels for a regression.
func fitsTask(m *model.Model, s *Set) error {
	switch {
	case m.Task == model.Regression && s.targets == nil:
		return fmt.Errorf("%w: the model is a regression, and the data set has labels (--task regression reads a table's numbers)", ErrData)
	case m.Task != model.Regression && s.targets != nil:
		return fmt.Errorf("%w: the data set has numbers to predict, and the model is a classifier", ErrData)
	}
	return nil
}
