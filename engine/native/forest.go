package native

import (
	"math"
	mathbits "math/bits"
	"slices"
)

// Modes of a split: how an element is compared with the threshold, in the order of ONNX's TreeEnsemble, and a leaf's.
const (
	splitLessEq = iota
	splitLess
	splitGreaterEq
	splitGreater
	splitEqual
	splitNotEqual
	splitMember
	splitLeaf
)

// sortKey returns a number that is in the order of its element among others; NaN is behind all of them.
func sortKey(v float64) uint64 {
	const sign = 1 << 63
	switch k := math.Float64bits(v); {
	case v != v:
		return missingKey
	case v == 0: // of either sign
		return sign
	case k&sign == 0:
		return k | sign
	default:
		return ^k
	}
}

const (
	missingKey = math.MaxUint64
	neverKey   = 0 // nothing is at most that
)

// treeNode is a split or a leaf of a tree, whose elements are compared by their keys. The way of yes is the node behind it, so that half of a way
// lies side by side; that of no is skip nodes further. A leaf stays where it is: its key is neverKey and skip -1.
type treeNode struct {
	key           uint64
	feature, skip int32
}

// forest is trees of one array.
type forest struct {
	nodes  []treeNode
	roots  []int32
	depths []int32 // the most splits on a way, by tree
	modes  []uint8
	plain  bool // all splits are <=
	// tracks says where a missing value says yes; nil for nowhere. members are the sets of splits, by node.
	tracks  []bool
	members map[int32][]uint64
	// leaves is where a leaf's weights begin, by node. They end before one without a target.
	leaves  []int32
	weights []leafWeight
	// only has the one weight of a leaf, which is for target 0, by node; nil where leaves have others.
	only  []float64
	width int // the least number of columns
}

type leafWeight struct {
	target int32
	weight float64
}

// branch is a split while a forest is made. Ways are branches, or ^leaf.
type branch struct {
	mode    uint8
	feature int32
	value   float64
	track   bool
	members []uint64 // keys in order
	yes, no int
}

// makeForest lays the trees out. It returns false where a tree goes in circles, or shares so much that it would become far larger.
func makeForest(branches []branch, leaves [][]leafWeight, roots []int) (*forest, bool) {
	fo := &forest{plain: true, members: map[int32][]uint64{}}
	most := 4*(len(branches)+len(leaves)+len(roots)) + 64
	type visit struct {
		from  int
		depth int32
		to    int32 // the split whose no leads here; -1 for none
	}
	tracked := false
	for _, root := range roots {
		fo.roots = append(fo.roots, int32(len(fo.nodes)))
		deepest := int32(0)
		for stack := []visit{{root, 0, -1}}; len(stack) > 0; {
			v := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			at := int32(len(fo.nodes))
			if int(at) >= most {
				return nil, false
			}
			if v.to >= 0 {
				fo.nodes[v.to].skip = at - v.to - 1
			}
			deepest = max(deepest, v.depth)
			if v.from < 0 {
				fo.addLeaf(leaves[^v.from])
				continue
			}
			s := &branches[v.from]
			fo.addSplit(s)
			tracked = tracked || s.track
			stack = append(stack, visit{s.no, v.depth + 1, at}, visit{s.yes, v.depth + 1, -1})
		}
		fo.depths = append(fo.depths, deepest)
	}
	if !tracked {
		fo.tracks = nil
	}
	fo.settle()
	return fo, true
}

func (fo *forest) addLeaf(weights []leafWeight) {
	fo.nodes = append(fo.nodes, treeNode{key: neverKey, skip: -1})
	fo.modes, fo.tracks, fo.leaves = append(fo.modes, splitLeaf), append(fo.tracks, false), append(fo.leaves, int32(len(fo.weights)))
	fo.weights = append(append(fo.weights, weights...), leafWeight{target: -1})
}

func (fo *forest) addSplit(s *branch) {
	mode, key := s.mode, sortKey(s.value)
	switch {
	case key == missingKey && mode <= splitEqual: // no order with NaN holds
		mode, key = splitLessEq, neverKey
	case mode == splitLess: // at most what is before it
		mode, key = splitLessEq, key-1
	case mode == splitMember:
		fo.members[int32(len(fo.nodes))] = s.members
	}
	fo.nodes = append(fo.nodes, treeNode{key: key, feature: s.feature})
	fo.modes, fo.tracks, fo.leaves = append(fo.modes, mode), append(fo.tracks, s.track), append(fo.leaves, 0)
	fo.plain = fo.plain && mode == splitLessEq
	fo.width = max(fo.width, int(s.feature)+1)
}

// settle looks whether each leaf has one weight.
func (fo *forest) settle() {
	only := make([]float64, len(fo.nodes))
	for i, mode := range fo.modes {
		if mode != splitLeaf {
			continue
		}
		w := fo.weights[fo.leaves[i]:]
		if w[0].target != 0 || w[1].target >= 0 {
			return
		}
		only[i] = w[0].weight
	}
	fo.only = only
}

// keys turns a row into its keys, and reports whether it can take the short way, on which a missing value says no.
func keys[T float](fo *forest, row []T, into []uint64) bool {
	simple := fo.plain
	for i, v := range row {
		into[i] = sortKey(float64(v))
		if v != v {
			simple = simple && fo.tracks == nil
		}
	}
	return simple
}

// walk returns the leaf that a row of keys comes to in a tree, whatever its splits are.
func (fo *forest) walk(row []uint64, at int32) int32 {
	for {
		n := &fo.nodes[at]
		v, yes := row[n.feature], false
		switch mode := fo.modes[at]; {
		case mode == splitLeaf:
			return at
		case v == missingKey:
			yes = mode == splitNotEqual || fo.tracks != nil && fo.tracks[at]
		case mode == splitLessEq:
			yes = v <= n.key
		case mode == splitGreaterEq:
			yes = v >= n.key
		case mode == splitGreater:
			yes = v > n.key
		case mode == splitEqual:
			yes = v == n.key
		case mode == splitNotEqual:
			yes = v != n.key
		case mode == splitMember:
			_, yes = slices.BinarySearch(fo.members[at], v)
		}
		if at++; !yes {
			at += n.skip
		}
	}
}

// walkers is how many ways are gone at the same time, so that the processor need not wait for one node after the other.
const walkers = 4

// walkPlain goes down depth splits for four pairs of row and node, all of them <=. What is greater than the key skips: a mask says so, since
// a jump would be guessed wrong half of the time.
func walkPlain(nodes []treeNode, rows *[walkers][]uint64, at *[walkers]int32, depth int32) {
	a, b, c, d := at[0], at[1], at[2], at[3]
	ra, rb, rc, rd := rows[0], rows[1], rows[2], rows[3]
	for ; depth > 0; depth-- {
		na, nb, nc, nd := &nodes[a], &nodes[b], &nodes[c], &nodes[d]
		a += 1 + na.skip&beyond(ra[na.feature], na.key)
		b += 1 + nb.skip&beyond(rb[nb.feature], nb.key)
		c += 1 + nc.skip&beyond(rc[nc.feature], nc.key)
		d += 1 + nd.skip&beyond(rd[nd.feature], nd.key)
	}
	at[0], at[1], at[2], at[3] = a, b, c, d
}

// beyond is -1 where a > b, and 0 else.
func beyond(a, b uint64) int32 {
	_, borrow := mathbits.Sub64(b, a, 0)
	return -int32(borrow)
}

// treesAtOnce is walkers for one row in many trees, whose nodes come from further away.
const treesAtOnce = 16

// treeLeaves writes the leaf of each tree from lo to hi that a row of keys comes to.
func (fo *forest) treeLeaves(row []uint64, simple bool, lo, hi int, leaves []int32) {
	for ; simple && lo+treesAtOnce <= hi; lo += treesAtOnce {
		at := [treesAtOnce]int32(fo.roots[lo:])
		for depth := slices.Max(fo.depths[lo : lo+treesAtOnce]); depth > 0; depth-- {
			for k := range at {
				n := &fo.nodes[at[k]]
				at[k] += 1 + n.skip&beyond(row[n.feature], n.key)
			}
		}
		copy(leaves[lo:], at[:])
	}
	for ; lo < hi; lo++ {
		leaves[lo] = fo.walk(row, fo.roots[lo])
	}
}

// rowLeaves writes the leaf that each row of keys comes to in a tree.
func (fo *forest) rowLeaves(x []uint64, width, tree int, simple []bool, leaves []int32) {
	root, depth := fo.roots[tree], fo.depths[tree]
	row := func(r int) []uint64 { return x[r*width : (r+1)*width] }
	for r := 0; r < len(leaves); {
		if r+walkers <= len(leaves) && simple[r] && simple[r+1] && simple[r+2] && simple[r+3] {
			rows, at := [walkers][]uint64{row(r), row(r + 1), row(r + 2), row(r + 3)}, [walkers]int32{root, root, root, root}
			walkPlain(fo.nodes, &rows, &at, depth)
			r += copy(leaves[r:], at[:])
			continue
		}
		leaves[r] = fo.walk(row(r), root)
		r++
	}
}
