package native

import (
	"math"
	"slices"

	"github.com/millrace/millrace/tensor"
)

// The attributes of ensembles of trees, in their two forms.

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
