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

var splitModes = map[string]uint8{
	"BRANCH_LEQ": splitLessEq, "BRANCH_LT": splitLess, "BRANCH_GTE": splitGreaterEq, "BRANCH_GT": splitGreater, "BRANCH_EQ": splitEqual,
	"BRANCH_NEQ": splitNotEqual,
}

// reals returns a list of numbers that is an attribute of floats, or one of its name and "_as_tensor".
func (c *prep) reals(name string) ([]float64, error) {
	if t := c.attrs.Tensor(name + "_as_tensor"); t != nil {
		return realsOf(c, name, t)
	}
	return widen(c.attrs.Floats(name, nil)), nil
}

func widen(v []float32) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = float64(x)
	}
	return out
}

func realsOf(c *prep, name string, t *tensor.Tensor) ([]float64, error) {
	switch d := t.Raw().(type) {
	case []float64:
		return d, nil
	case []float32:
		return widen(d), nil
	case []tensor.Half:
		out := make([]float64, len(d))
		for i, x := range d {
			out[i] = float64(x.Float32())
		}
		return out, nil
	}
	return nil, c.errf("%s is of %v", name, t.DType())
}

// oldTrees reads the attributes of TreeEnsembleClassifier and TreeEnsembleRegressor, whose weights are named so.
func oldTrees(c *prep, weightsOf string) (*ensemble, error) {
	trees, ids := c.attrs.Ints("nodes_treeids", nil), c.attrs.Ints("nodes_nodeids", nil)
	yes, no := c.attrs.Ints("nodes_truenodeids", nil), c.attrs.Ints("nodes_falsenodeids", nil)
	features, modes := c.attrs.Ints("nodes_featureids", nil), c.attrs.Strings("nodes_modes", nil)
	tracks := c.attrs.Ints("nodes_missing_value_tracks_true", nil)
	values, err := c.reals("nodes_values")
	if err != nil {
		return nil, err
	}
	n := len(ids)
	for name, l := range map[string]int{"nodes_treeids": len(trees), "nodes_truenodeids": len(yes), "nodes_falsenodeids": len(no), "nodes_featureids": len(features), "nodes_modes": len(modes), "nodes_values": len(values)} {
		if l != n {
			return nil, c.errf("%s has %d elements for %d nodes", name, l, n)
		}
	}
	if len(tracks) != 0 && len(tracks) != n {
		return nil, c.errf("nodes_missing_value_tracks_true has %d elements for %d nodes", len(tracks), n)
	}
	type place struct{ tree, node int64 }
	at := make(map[place]int, n)
	var roots []int
	for i := range n {
		p := place{trees[i], ids[i]}
		if _, ok := at[p]; ok {
			return nil, c.errf("node %d of tree %d is there twice", ids[i], trees[i])
		}
		at[p] = i
		if i == 0 || trees[i] != trees[i-1] {
			roots = append(roots, i)
		}
	}
	e := &ensemble{positive: true}
	weights, err := c.reals(weightsOf + "_weights")
	if err != nil {
		return nil, err
	}
	ofTree, ofNode, target := c.attrs.Ints(weightsOf+"_treeids", nil), c.attrs.Ints(weightsOf+"_nodeids", nil), c.attrs.Ints(weightsOf+"_ids", nil)
	if len(ofTree) != len(weights) || len(ofNode) != len(weights) || len(target) != len(weights) {
		return nil, c.errf("%d, %d and %d %s ids for %d weights", len(ofTree), len(ofNode), len(target), weightsOf, len(weights))
	}
	leaves := make([][]leafWeight, n)
	hit := map[int64]bool{}
	for i, w := range weights {
		k, ok := at[place{ofTree[i], ofNode[i]}]
		if !ok {
			return nil, c.errf("weight %d is of node %d of tree %d, which is not there", i, ofNode[i], ofTree[i])
		}
		if target[i] < 0 || target[i] > math.MaxInt32 {
			return nil, c.errf("weight %d is for %s %d", i, weightsOf, target[i])
		}
		leaves[k] = append(leaves[k], leafWeight{int32(target[i]), w})
		e.targets = max(e.targets, int(target[i])+1)
		e.positive = e.positive && w >= 0
		hit[target[i]] = true
	}
	e.binary = len(hit) == 1
	branches := make([]branch, n)
	way := func(i int, to int64) (int, error) {
		k, ok := at[place{trees[i], to}]
		switch {
		case !ok:
			return 0, c.errf("node %d of tree %d leads to node %d, which is not there", ids[i], trees[i], to)
		case modes[k] == "LEAF":
			return ^k, nil
		}
		return k, nil
	}
	for i := range n {
		if modes[i] == "LEAF" {
			continue
		}
		mode, ok := splitModes[modes[i]]
		if !ok {
			return nil, c.refuse("node of mode %q", modes[i])
		}
		if features[i] < 0 || features[i] > math.MaxInt32-1 {
			return nil, c.errf("node %d of tree %d is about column %d", ids[i], trees[i], features[i])
		}
		s := branch{mode: mode, feature: int32(features[i]), value: values[i], track: len(tracks) > 0 && tracks[i] != 0}
		if s.yes, err = way(i, yes[i]); err != nil {
			return nil, err
		}
		if s.no, err = way(i, no[i]); err != nil {
			return nil, err
		}
		branches[i] = s
	}
	for i, k := range roots {
		if modes[k] == "LEAF" {
			roots[i] = ^k
		}
	}
	return e, e.plant(c, branches, leaves, roots)
}

func (e *ensemble) plant(c *prep, branches []branch, leaves [][]leafWeight, roots []int) error {
	var ok bool
	if e.forest, ok = makeForest(branches, leaves, roots); !ok {
		return c.errf("a tree goes in circles, or its ways meet too often")
	}
	return nil
}

// newTrees reads the attributes of TreeEnsemble.
func newTrees(c *prep) (*ensemble, error) {
	list := func(name string) []int64 { return c.attrs.Ints(name, nil) }
	yes, no, yesLeaf, noLeaf := list("nodes_truenodeids"), list("nodes_falsenodeids"), list("nodes_trueleafs"), list("nodes_falseleafs")
	features, tracks, targets := list("nodes_featureids"), list("nodes_missing_value_tracks_true"), list("leaf_targetids")
	tensors := map[string][]float64{}
	for _, name := range []string{"nodes_splits", "leaf_weights", "membership_values"} {
		if t := c.attrs.Tensor(name); t != nil {
			v, err := realsOf(c, name, t)
			if err != nil {
				return nil, err
			}
			tensors[name] = v
		}
	}
	modes := c.attrs.Tensor("nodes_modes")
	if modes == nil || modes.DType() != tensor.Uint8 {
		return nil, c.errf("nodes_modes must be uint8")
	}
	values, weights, n := tensors["nodes_splits"], tensors["leaf_weights"], len(features)
	if len(yes) != n || len(no) != n || len(yesLeaf) != n || len(noLeaf) != n || len(values) != n || modes.Size() != n || len(tracks) != 0 && len(tracks) != n {
		return nil, c.errf("its lists of nodes have different lengths")
	}
	if len(targets) != len(weights) || len(weights) == 0 {
		return nil, c.errf("%d targets for %d leaves", len(targets), len(weights))
	}
	sets, err := memberSets(c, tensors["membership_values"])
	if err != nil {
		return nil, err
	}
	e := &ensemble{}
	leaves := make([][]leafWeight, len(weights))
	for i, w := range weights {
		if targets[i] < 0 || targets[i] > math.MaxInt32 {
			return nil, c.errf("leaf %d is for target %d", i, targets[i])
		}
		leaves[i] = []leafWeight{{int32(targets[i]), w}}
		e.targets = max(e.targets, int(targets[i])+1)
	}
	way := func(to, leaf int64) (int, error) {
		switch {
		case leaf != 0 && to >= 0 && to < int64(len(leaves)):
			return ^int(to), nil
		case leaf == 0 && to >= 0 && to < int64(n):
			return int(to), nil
		}
		return 0, c.errf("a node leads to %d of %d nodes and %d leaves", to, n, len(leaves))
	}
	branches := make([]branch, n)
	for i, mode := range tensor.Data[uint8](modes) {
		if mode > splitMember {
			return nil, c.refuse("node of mode %d", mode)
		}
		if features[i] < 0 || features[i] > math.MaxInt32-1 {
			return nil, c.errf("node %d is about column %d", i, features[i])
		}
		s := branch{mode: mode, feature: int32(features[i]), value: values[i], track: len(tracks) > 0 && tracks[i] != 0}
		if mode == splitMember {
			if len(sets) == 0 {
				return nil, c.errf("membership_values has too few sets")
			}
			s.members, sets = sets[0], sets[1:]
		}
		if s.yes, err = way(yes[i], yesLeaf[i]); err != nil {
			return nil, err
		}
		if s.no, err = way(no[i], noLeaf[i]); err != nil {
			return nil, err
		}
		branches[i] = s
	}
	var roots []int
	for _, r := range list("tree_roots") {
		if r < 0 || r >= int64(n) {
			return nil, c.errf("a tree begins at node %d of %d", r, n)
		}
		roots = append(roots, int(r))
	}
	return e, e.plant(c, branches, leaves, roots)
}

// memberSets cuts the values where a NaN stands.
func memberSets(c *prep, values []float64) ([][]uint64, error) {
	var sets [][]uint64
	var open []uint64
	for _, v := range values {
		if v != v { // NaN ends a set
			slices.Sort(open)
			sets, open = append(sets, open), nil
			continue
		}
		open = append(open, sortKey(v))
	}
	if len(open) > 0 {
		return nil, c.errf("the last set of membership_values has no NaN for an end")
	}
	return sets, nil
}

// treeRegressor adds up the leaves' weights by target, or takes their mean, least or most.
func treeRegressor(c *prep) error {
	return treesOf(c, tensor.Float32, regressor)
}

func regressor(c *prep) (*ensemble, error) {
	e, err := oldTrees(c, "target")
	if err != nil {
		return nil, err
	}
	if e.base, err = c.reals("base_values"); err != nil {
		return nil, err
	}
	if e.transform, err = c.scoreTransform(); err != nil {
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
	e, err := oldTrees(c, "class")
	if err != nil {
		return nil, err
	}
	if e.base, err = c.reals("base_values"); err != nil {
		return nil, err
	}
	if e.transform, err = c.scoreTransform(); err != nil {
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
