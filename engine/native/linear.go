package native

import (
	"github.com/millrace/millrace/tensor"
)

// linear is a table times a matrix, a row of coefficients a score.
type linear struct {
	table
	coefficients, intercepts []float32
	scores                   int
}

func (c *prep) linear(scores int) (linear, error) {
	t, err := c.table(0)
	if err != nil {
		return linear{}, err
	}
	l := linear{table: t, coefficients: c.attrs.Floats("coefficients", nil), intercepts: c.attrs.Floats("intercepts", nil), scores: scores}
	if len(l.coefficients) != scores*t.width || len(l.intercepts) != 0 && len(l.intercepts) != scores {
		return linear{}, c.errf("%d coefficients and %d intercepts for %d scores of %d columns", len(l.coefficients), len(l.intercepts), scores, t.width)
	}
	return l, nil
}

// of computes the scores of a row.
func (l *linear) of(x []float32, into []float64) {
	for k := range l.scores {
		sum := 0.0
		for i, w := range l.coefficients[k*l.width : (k+1)*l.width] {
			sum += float64(w) * float64(x[i])
		}
		if len(l.intercepts) > 0 {
			sum += float64(l.intercepts[k])
		}
		into[k] = sum
	}
}

func linearRegressor(c *prep) error {
	transform, err := c.scoreTransform()
	if err != nil {
		return err
	}
	targets := int(c.attrs.Int("targets", 1))
	if targets < 1 {
		return c.errf("%d targets", targets)
	}
	l, err := c.linear(targets)
	if err != nil {
		return err
	}
	o, err := c.out(0, tensor.Float32, tensor.Shape{l.rows, targets})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		f.parallel(l.rows, max(1, grain/max(len(l.coefficients), 1)), func(f *frame, lo, hi int) {
			x, y := data[float32](f, l.slot), data[float32](f, o)
			scores := make([]float64, targets)
			for r := lo; r < hi; r++ {
				l.of(x[r*l.width:(r+1)*l.width], scores)
				transform.write(scores, secondNone, y[r*targets:(r+1)*targets])
			}
		})
	})
	return nil
}

func linearClassifier(c *prep) error {
	transform, err := c.scoreTransform()
	if err != nil {
		return err
	}
	names, err := c.classes("classlabels_strings", "classlabels_ints")
	if err != nil {
		return err
	}
	scores := len(c.attrs.Floats("intercepts", nil))
	if scores == 0 {
		if t, err := c.table(0); err == nil && t.width > 0 {
			scores = len(c.attrs.Floats("coefficients", nil)) / t.width
		}
	}
	if scores < 1 || scores > 1 && scores != names.len() || scores == 1 && names.len() > 2 {
		return c.errf("%d scores for %d classes", scores, names.len())
	}
	l, err := c.linear(scores)
	if err != nil {
		return err
	}
	add, width := secondNone, scores
	if scores == 1 && names.len() == 2 {
		add, width = secondComplement, 2
	}
	labels, err := c.out(0, names.dtype(), tensor.Shape{l.rows})
	if err != nil {
		return err
	}
	o, err := c.out(1, tensor.Float32, tensor.Shape{l.rows, width})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		f.parallel(l.rows, max(1, grain/max(len(l.coefficients), 1)), func(f *frame, lo, hi int) {
			x, y := data[float32](f, l.slot), data[float32](f, o)
			room := make([]float64, max(scores, 2))
			for r := lo; r < hi; r++ {
				s := room[:scores]
				l.of(x[r*l.width:(r+1)*l.width], s)
				k := largest(s)
				if scores == 1 && s[0] > 0 {
					k = names.len() - 1
				}
				names.name(f, labels, r, k)
				transform.write(s, add, y[r*width:(r+1)*width])
			}
		})
	})
	return nil
}
