package native

import (
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// supports is a support vector machine: rows are compared with vectors by a kernel. Without vectors it is linear.
type supports struct {
	table
	kind                       string
	gamma, coef, degree        float64
	vectors, coefficients, rho []float32
	n                          int
}

func (c *prep) supports(n int, linearScores int) (supports, error) {
	t, err := c.table(0)
	if err != nil {
		return supports{}, err
	}
	s := supports{
		table: t, n: n, kind: c.attrs.String("kernel_type", "LINEAR"), vectors: c.attrs.Floats("support_vectors", nil),
		coefficients: c.attrs.Floats("coefficients", nil), rho: c.attrs.Floats("rho", nil),
	}
	if !slices.Contains([]string{"LINEAR", "POLY", "RBF", "SIGMOID"}, s.kind) {
		return supports{}, c.refuse("kernel_type %q", s.kind)
	}
	switch p := c.attrs.Floats("kernel_params", nil); len(p) {
	case 0:
	case 3:
		s.gamma, s.coef, s.degree = float64(p[0]), float64(p[1]), float64(p[2])
	default:
		return supports{}, c.errf("kernel_params has %d numbers, not gamma, coef0 and degree", len(p))
	}
	if len(s.rho) == 0 {
		return supports{}, c.errf("rho is missing")
	}
	if n == 0 {
		if s.kind = "LINEAR"; len(s.coefficients) != linearScores*t.width {
			return supports{}, c.errf("%d coefficients for %d scores of %d columns", len(s.coefficients), linearScores, t.width)
		}
		return s, nil
	}
	if len(s.vectors) != n*t.width {
		return supports{}, c.errf("%d numbers for %d support vectors of %d columns", len(s.vectors), n, t.width)
	}
	return s, nil
}

// kernel compares a row with a vector; plus is added to a linear one.
func (s *supports) kernel(x, v []float32, plus float64) float64 {
	sum := 0.0
	if s.kind == "RBF" {
		for i, a := range x {
			d := float64(a) - float64(v[i])
			sum += d * d
		}
		return math.Exp(-s.gamma * sum)
	}
	for i, a := range x {
		sum += float64(a) * float64(v[i])
	}
	switch s.kind {
	case "POLY":
		return math.Pow(s.gamma*sum+s.coef, s.degree)
	case "SIGMOID":
		return math.Tanh(s.gamma*sum + s.coef)
	}
	return sum + plus
}

// row is row r of the input.
func (s *supports) row(f *frame, r int) []float32 {
	return data[float32](f, s.slot)[r*s.width : (r+1)*s.width]
}

func svmRegressor(c *prep) error {
	if _, err := c.scoreTransform(); err != nil {
		return err
	}
	n := int(c.attrs.Int("n_supports", 0))
	s, err := c.supports(max(n, 0), 1)
	if err != nil {
		return err
	}
	if n > 0 && len(s.coefficients) != n {
		return c.errf("%d coefficients for %d support vectors", len(s.coefficients), n)
	}
	one := c.attrs.Bool("one_class", false)
	o, err := c.out(0, tensor.Float32, tensor.Shape{s.rows, 1})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		f.parallel(s.rows, max(1, grain/max(len(s.vectors), s.width, 1)), func(f *frame, lo, hi int) {
			y := data[float32](f, o)
			for r := lo; r < hi; r++ {
				x, sum := s.row(f, r), float64(s.rho[0])
				if n <= 0 {
					sum = s.kernel(x, s.coefficients, sum)
				}
				for k := range max(n, 0) {
					sum += float64(s.coefficients[k]) * s.kernel(x, s.vectors[k*s.width:(k+1)*s.width], 0)
				}
				if one {
					sum = math.Copysign(1, sum)
					if s := float32(sum); s == 0 {
						sum = -1
					}
				}
				y[r] = float32(sum)
			}
		})
	})
	return nil
}

// svmClassifier has a score for each pair of classes, whose votes decide; with prob_a and prob_b one for each class.
type svmClassifier struct {
	supports
	names      classes
	perClass   []int64
	starts     []int
	probA      []float32
	probB      []float32
	transform  scoreTransform
	positive   bool // all coefficients are
	pairs      int
	width      int // of the scores
	perVector  bool
	hasProb    bool
	scoreCount int
}

func svmClassify(c *prep) error {
	m := svmClassifier{perClass: c.attrs.Ints("vectors_per_class", nil), probA: c.attrs.Floats("prob_a", nil), probB: c.attrs.Floats("prob_b", nil)}
	var err error
	if m.transform, err = c.scoreTransform(); err != nil {
		return err
	}
	if m.names, err = c.classes("classlabels_strings", "classlabels_ints"); err != nil {
		return err
	}
	n := 0
	for _, k := range m.perClass {
		if k < 0 || k > math.MaxInt32 {
			return c.errf("vectors_per_class has %d", k)
		}
		m.starts = append(m.starts, n)
		n += int(k)
	}
	count := m.names.len()
	if m.supports, err = c.supports(n, count); err != nil {
		return err
	}
	m.pairs = count * (count - 1) / 2
	m.hasProb, m.perVector = len(m.probA) > 0, n > 0
	if m.perVector && (len(m.perClass) != count || len(m.coefficients) != (count-1)*n || len(m.rho) < m.pairs) || len(m.probA) != len(m.probB) || m.hasProb && len(m.probA) < m.pairs {
		return c.errf("%d coefficients, %d rho and %d prob_a for %d classes of %d vectors", len(m.coefficients), len(m.rho), len(m.probA), count, n)
	}
	m.positive = !slices.ContainsFunc(m.coefficients, func(v float32) bool { return v < 0 })
	m.scoreCount, m.width = count, count
	if m.perVector && !m.hasProb {
		if m.scoreCount = m.pairs; count > 2 {
			m.width = m.pairs
		} else {
			m.width = 2
		}
	}
	labels, err := c.out(0, m.names.dtype(), tensor.Shape{m.rows})
	if err != nil {
		return err
	}
	o, err := c.out(1, tensor.Float32, tensor.Shape{m.rows, m.width})
	if err != nil {
		return err
	}
	c.do(func(f *frame) {
		f.parallel(m.rows, max(1, grain/max(len(m.vectors), len(m.coefficients), 1)), func(f *frame, lo, hi int) {
			y := data[float32](f, o)
			for r := lo; r < hi; r++ {
				k := m.classify(m.supports.row(f, r), y[r*m.width:(r+1)*m.width])
				m.names.name(f, labels, r, k)
			}
		})
	})
	return nil
}

// classify writes the scores of a row and returns its class.
func (m *svmClassifier) classify(x []float32, y []float32) int {
	count := m.names.len()
	var scores []float64
	var class int
	var top float64
	switch {
	case m.perVector:
		pairs, votes := m.duels(x)
		class = largest(votes)
		if scores = pairs; m.hasProb {
			scores = m.probabilities(pairs)
		}
	default:
		for k := range count {
			scores = append(scores, m.kernel(x, m.coefficients[k*m.supports.width:(k+1)*m.supports.width], float64(m.rho[0])))
		}
		class = largest(scores)
		top = scores[class]
	}
	if m.pairs == 1 && !m.hasProb && (m.positive && top >= 0.5 || !m.positive && top > 0) {
		class = 1
	}
	add := secondNone
	if m.perVector && !m.hasProb && count <= 2 {
		if add = secondComplement; m.transform == scoresAsIs {
			add = secondOpposite
		}
	}
	m.transform.write(scores, add, y)
	return class
}

// duels returns the score of each pair of classes, and the votes that each class gets.
func (m *svmClassifier) duels(x []float32) (scores, votes []float64) {
	near := make([]float64, m.n)
	for k := range near {
		near[k] = m.kernel(x, m.vectors[k*m.supports.width:(k+1)*m.supports.width], 0)
	}
	votes = make([]float64, m.names.len())
	for i := range m.perClass {
		for j := i + 1; j < len(m.perClass); j++ {
			sum := float64(m.rho[len(scores)])
			for k := m.starts[i]; k < m.starts[i]+int(m.perClass[i]); k++ {
				sum += float64(m.coefficients[(j-1)*m.n+k]) * near[k]
			}
			for k := m.starts[j]; k < m.starts[j]+int(m.perClass[j]); k++ {
				sum += float64(m.coefficients[i*m.n+k]) * near[k]
			}
			scores = append(scores, sum)
			if sum > 0 {
				votes[i]++
			} else {
				votes[j]++
			}
		}
	}
	return scores, votes
}

// probabilities makes one probability a class of the scores of pairs (Wu, Lin, Weng: "Probability Estimates for Multi-class Classification by
// Pairwise Coupling", JMLR 2004, the second method).
func (m *svmClassifier) probabilities(scores []float64) []float64 {
	n := m.names.len()
	pair := make([]float64, n*n)
	k := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			p := min(max(1-sigmoid(scores[k]*float64(m.probA[k])+float64(m.probB[k])), 1e-7), 1-1e-7)
			pair[i*n+j], pair[j*n+i] = p, 1-p
			k++
		}
	}
	q, p, qp := make([]float64, n*n), make([]float64, n), make([]float64, n)
	for i := range n {
		p[i] = 1 / float64(n)
		for j := range n {
			if j != i {
				q[i*n+i] += pair[j*n+i] * pair[j*n+i]
				q[i*n+j] = -pair[j*n+i] * pair[i*n+j]
			}
		}
	}
	for range 100 {
		all := 0.0
		for i := range n {
			qp[i] = 0
			for j := range n {
				qp[i] += q[i*n+j] * p[j]
			}
			all += p[i] * qp[i]
		}
		worst := 0.0
		for _, v := range qp {
			worst = max(worst, math.Abs(v-all))
		}
		if worst < 0.005/float64(n) {
			break
		}
		for i := range n {
			d := (all - qp[i]) / q[i*n+i]
			p[i] += d
			all = (all + d*(d*q[i*n+i]+2*qp[i])) / (1 + d) / (1 + d)
			for j := range n {
				qp[j] = (qp[j] + d*q[i*n+j]) / (1 + d)
				p[j] /= 1 + d
			}
		}
	}
	return p
}
