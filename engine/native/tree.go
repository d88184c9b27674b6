package native

import (
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// Ensembles of decision trees.

// ensemble is what the operators of trees have in common: a forest, and what becomes of the leaves that a row comes to.
type ensemble struct {
	*forest
	targets   int
	combine   string // SUM, AVERAGE, MIN or MAX
	base      []float64
	transform scoreTransform
	names     *classes // of a classifier
	binary    bool     // two classes, and weights for one of them alone
	positive  bool     // all weights are
}

// treeRegressor adds up the leaves' weights by target, or takes their mean, least or most.
func treeRegressor(c *prep) error {
	return treesOf(c, tensor.Float32, regressor)
}

// oldEnsemble reads what the two older operators have in common.
func oldEnsemble(c *prep, weightsOf string) (*ensemble, error) {
	e, err := oldTrees(c, weightsOf)
	if err != nil {
		return nil, err
	}
	if e.base, err = c.reals("base_values"); err != nil {
		return nil, err
	}
	e.transform, err = c.scoreTransform()
	return e, err
}

func regressor(c *prep) (*ensemble, error) {
	e, err := oldEnsemble(c, "target")
	if err != nil {
		return nil, err
	}
	if e.combine = c.attrs.String("aggregate_function", "SUM"); !slices.Contains(combinations, e.combine) {
		return nil, c.refuse("aggregate_function %q", e.combine)
	}
	return e, e.wants(c, c.attrs.Int("n_targets", 1))
}

// wants sets the number of targets.
func (e *ensemble) wants(c *prep, n int64) error {
	if n < int64(max(e.targets, 1)) || n > math.MaxInt32 {
		return c.errf("n_targets is %d, and a leaf is for target %d", n, e.targets-1)
	}
	e.targets = int(n)
	return nil
}

// combinations are what becomes of the weights, in the order of TreeEnsemble's aggregate_function.
var combinations = []string{"AVERAGE", "SUM", "MIN", "MAX"}

func treeEnsemble(c *prep) error {
	if err := c.need(1); err != nil {
		return err
	}
	switch c.in[0].dtype {
	case tensor.Float64, tensor.Float32:
		return treesOf(c, c.in[0].dtype, ensembleOf)
	}
	return c.refuseType(c.in[0].dtype)
}

func ensembleOf(c *prep) (*ensemble, error) {
	e, err := newTrees(c)
	if err != nil {
		return nil, err
	}
	combine, transform := c.attrs.Int("aggregate_function", 1), c.attrs.Int("post_transform", 0)
	if combine < 0 || combine >= int64(len(combinations)) || transform < 0 || transform >= int64(len(scoreTransforms)) {
		return nil, c.refuse("aggregate_function %d with post_transform %d", combine, transform)
	}
	e.combine, e.transform = combinations[combine], scoreTransforms[transform]
	return e, e.wants(c, c.attrs.Int("n_targets", 1))
}

func treeClassifier(c *prep) error {
	return treesOf(c, tensor.Float32, classifier)
}

func classifier(c *prep) (*ensemble, error) {
	e, err := oldEnsemble(c, "class")
	if err != nil {
		return nil, err
	}
	names, err := c.classes("classlabels_strings", "classlabels_int64s")
	if err != nil {
		return nil, err
	}
	if names.len() < e.targets || len(e.base) > names.len() {
		return nil, c.errf("%d classes, weights for %d and base_values for %d", names.len(), e.targets, len(e.base))
	}
	e.names, e.combine, e.targets, e.binary = &names, "SUM", names.len(), e.binary && names.len() == 2
	return e, nil
}

// treesOf prepares the run of an ensemble.
func treesOf(c *prep, dtype tensor.DType, read func(*prep) (*ensemble, error)) error {
	e, err := perNode(c, func() (*ensemble, error) { return read(c) })
	if err != nil {
		return err
	}
	run := treeRun{e: e, labels: -1, wide: dtype == tensor.Float64}
	if in := c.opt(0); in.dtype == tensor.Float64 && len(in.shape) > 0 && len(in.shape) <= 2 {
		run.doubles = true
		run.t = table{rows: 1, width: in.shape[len(in.shape)-1], slot: in.slot}
		if len(in.shape) == 2 {
			run.t.rows = in.shape[0]
		}
	} else if run.t, err = c.table(0); err != nil {
		return err
	}
	if run.t.width < e.width {
		return c.errf("it looks at column %d of %d", e.width-1, run.t.width)
	}
	scores := 0
	if e.names != nil {
		if run.labels, err = c.out(0, e.names.dtype(), tensor.Shape{run.t.rows}); err != nil {
			return err
		}
		scores = 1
	}
	if run.out, err = c.out(scores, dtype, tensor.Shape{run.t.rows, e.targets}); err != nil {
		return err
	}
	if run.leaves, err = c.scratch(tensor.Int32, len(e.roots)); err != nil {
		return err
	}
	if run.keys, err = c.scratch(tensor.Uint64, run.t.rows*run.t.width); err != nil {
		return err
	}
	c.step(run.do)
	return nil
}

type treeRun struct {
	e                         *ensemble
	t                         table
	labels, out, leaves, keys int
	wide                      bool // the output is float64
	doubles                   bool // the input is
}

// read makes the keys of a row, and reports whether it can take the short way.
func (r *treeRun) read(f *frame, row int) ([]uint64, bool) {
	w := r.t.width
	into := data[uint64](f, r.keys)[row*w : (row+1)*w]
	if r.doubles {
		return into, keys(r.e.forest, data[float64](f, r.t.slot)[row*w:(row+1)*w], into)
	}
	return into, keys(r.e.forest, data[float32](f, r.t.slot)[row*w:(row+1)*w], into)
}

// rowBlock is how many rows a tree is gone through with before the next tree.
const rowBlock = 64

func (r *treeRun) do(f *frame) error {
	e := r.e
	if r.t.rows == 1 {
		leaves := data[int32](f, r.leaves)
		row, simple := r.read(f, 0)
		f.parallel(len(e.roots), 64, func(_ *frame, lo, hi int) { e.treeLeaves(row, simple, lo, hi, leaves) })
		s := newSums(e, 1)
		for _, leaf := range leaves {
			s.add(e, 0, leaf)
		}
		r.finish(f, s, 0, 0)
		return f.ctx.Err()
	}
	blocks := (r.t.rows + rowBlock - 1) / rowBlock
	f.parallel(blocks, 1, func(f *frame, lo, hi int) {
		simple, leaves := make([]bool, rowBlock), make([]int32, rowBlock)
		for b := lo; b < hi && f.ctx.Err() == nil; b++ {
			from := b * rowBlock
			rows := min(rowBlock, r.t.rows-from)
			for k := range rows {
				_, simple[k] = r.read(f, from+k)
			}
			part := data[uint64](f, r.keys)[from*r.t.width : (from+rows)*r.t.width]
			s := newSums(e, rows)
			for tree := range e.roots {
				e.rowLeaves(part, r.t.width, tree, simple, leaves[:rows])
				for row, leaf := range leaves[:rows] {
					s.add(e, row, leaf)
				}
			}
			for k := range rows {
				r.finish(f, s, k, from+k)
			}
		}
	})
	return f.ctx.Err()
}

// sums are what rows have gathered by target.
type sums struct {
	n      int
	scores []float64
	seen   []bool
	only   []float64 // where weights are added, and each leaf has one for the one target
}

func newSums(e *ensemble, rows int) *sums {
	s := &sums{n: e.targets, scores: make([]float64, rows*e.targets), seen: make([]bool, rows*e.targets)}
	if e.targets == 1 && (e.combine == "SUM" || e.combine == "AVERAGE") {
		s.only = e.only
	}
	return s
}

// add takes in a leaf that a row has come to.
func (s *sums) add(e *ensemble, row int, leaf int32) {
	if s.only != nil {
		s.scores[row] += s.only[leaf]
		return
	}
	for k := e.leaves[leaf]; e.weights[k].target >= 0; k++ {
		w := &e.weights[k]
		at := row*s.n + int(w.target)
		switch {
		case !s.seen[at]:
			s.scores[at] = w.weight
		case e.combine == "MIN":
			s.scores[at] = min(s.scores[at], w.weight)
		case e.combine == "MAX":
			s.scores[at] = max(s.scores[at], w.weight)
		default:
			s.scores[at] += w.weight
		}
		s.seen[at] = true
	}
}

// finish makes the outputs of row k of the sums, which is row of the input.
func (r *treeRun) finish(f *frame, s *sums, k, row int) {
	e, n := r.e, r.e.targets
	scores, seen := s.scores[k*n:(k+1)*n], s.seen[k*n:(k+1)*n]
	y := make([]float32, n)
	if !r.wide {
		y = data[float32](f, r.out)[row*n : (row+1)*n]
	}
	if e.names != nil {
		e.names.name(f, r.labels, row, e.class(scores, seen, y))
		return
	}
	if e.combine == "AVERAGE" {
		for i := range scores {
			scores[i] /= float64(len(e.roots))
		}
	}
	for i := range scores {
		if len(e.base) == n {
			scores[i] += e.base[i]
		}
	}
	if r.wide { // the transforms work on all the digits
		if n > 1 || e.transform == scoresProbit {
			e.transform.apply(scores)
		}
		copy(data[float64](f, r.out)[row*n:], scores)
		return
	}
	e.transform.write(scores, secondNone, y)
}

// class writes the scores of a row of a classifier and returns its class: the one with the largest score. Where there are two classes and the leaves have
// weights for one of them alone, its score decides and becomes two.
func (e *ensemble) class(scores []float64, seen []bool, y []float32) int {
	if !e.binary {
		for i, v := range e.base {
			scores[i] += v
			seen[i] = true
		}
		at := -1
		for i, v := range scores {
			if seen[i] && (at < 0 || v > scores[at]) {
				at = i
			}
		}
		e.transform.write(scores, secondNone, y)
		return max(at, 0)
	}
	if len(e.base) == 2 || len(e.base) == 1 && !seen[1] {
		scores[0] += e.base[0]
	}
	if len(e.base) == 2 {
		scores[1] += e.base[1]
	}
	weight := scores[1]
	if !seen[1] {
		weight, scores = scores[0], scores[:1]
	}
	class, add, threshold := 0, secondOpposite, 0.0
	if e.positive {
		add, threshold = secondComplement, 0.5
	}
	if weight > threshold {
		class = 1
	}
	e.transform.write(scores, add, y)
	return class
}
