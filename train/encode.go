package train

import (
	"math"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// categories reports whether a column of the set has categories.
func (s *Set) categories() bool {
	return slices.ContainsFunc(s.columns, func(c media.Column) bool { return c.Type == media.CategoryColumn })
}

// encode brings the numbers of a table to mean 0 and deviation 1, and makes each category a 1 among zeros: all by constants that training leaves alone. A
// number that is no category's becomes zeros. It returns how many numbers come out.
func (n *net) encode(x string, data *Set) (string, int) {
	var numbers, places []int64
	var means, stds, codes []float32
	mean, std := featureMoments(data)
	for i, c := range data.columns {
		if c.Type == media.NumberColumn {
			numbers, means, stds = append(numbers, int64(i)), append(means, mean[i]), append(stds, std[i])
			continue
		}
		for k := range c.Categories {
			places, codes = append(places, int64(i)), append(codes, float32(k))
		}
	}
	pick := func(places []int64) string {
		at := n.b.Op("Constant", graph.Attrs{"value": tensor.Must(tensor.Of(places, len(places)))})
		return n.b.Op("Gather", graph.Attrs{"axis": int64(1)}, x, at)
	}
	row := func(v []float32) string {
		return n.b.Op("Constant", graph.Attrs{"value": tensor.Must(tensor.Of(v, len(v)))})
	}
	hot := n.b.Op("Cast", graph.Attrs{"to": int64(1)}, n.b.Op("Equal", nil, pick(places), row(codes)))
	if len(numbers) == 0 {
		return hot, len(codes)
	}
	plain := n.b.Op("Div", nil, n.b.Op("Sub", nil, pick(numbers), row(means)), row(stds))
	return n.b.Op("Concat", graph.Attrs{"axis": int64(1)}, plain, hot), len(numbers) + len(codes)
}

// describe completes what a model says about the columns of a table.
func (s *Set) describe(m model.Metadata) model.Metadata {
	if len(s.columns) == 0 || len(m.Columns) > 0 {
		return m
	}
	m.Columns, m.Ignored, m.Target, m.Task = slices.Clone(s.columns), s.ignored, s.target, model.Classification
	if s.targets != nil {
		m.Task = model.Regression
	}
	mean, std := featureMoments(s)
	for i := range m.Columns {
		if c := &m.Columns[i]; c.Type == media.NumberColumn {
			c.Mean, c.Std = new(digits6(mean[i])), new(digits6(std[i]))
		}
	}
	return m
}

// digits6 rounds to six digits, for people.
func digits6(v float32) float64 {
	if v == 0 {
		return 0
	}
	unit := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(float64(v)))))
	return math.Round(float64(v)*unit) / unit
}
