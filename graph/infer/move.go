package infer

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph"
)

// moveRules are operators that choose, join and split elements.
var moveRules = rulesOf(map[string]rule{
	"Concat": inferConcat,
	"Split":  inferSplit,
	"Slice":  inferSlice,
	"Gather": inferGather,
	"GatherElements": func(c *call) error {
		c.set(0, c.arg(0).dtype, c.arg(1).shape)
		return nil
	},
	"GatherND": inferGatherND,
	"Compress": inferCompress,
	"OneHot":   inferOneHot,
})

func inferConcat(c *call) error {
	if len(c.in) == 0 {
		return c.fail("it has no inputs")
	}
	inputs := make([]int, len(c.in))
	for i := range inputs {
		inputs[i] = i
	}
	dtype, err := c.sameType(inputs...)
	if err != nil {
		return err
	}
	def := int64(1) // of opset 1; later there is none
	var shape graph.Shape
	for i := range c.in {
		if s := c.arg(i).shape; s != nil {
			shape = slices.Clone(s)
		}
	}
	if shape == nil {
		c.set(0, dtype, nil)
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", def), len(shape))
	if err != nil {
		return err
	}
	total := product{}
	for i := range c.in {
		s := c.arg(i).shape
		if s == nil {
			total.unknown = true
			continue
		}
		if len(s) != len(shape) {
			return c.fail("inputs of shapes %v and %v", shape, s)
		}
		for k, d := range s {
			if k == axis {
				continue
			}
			joined, ok := mergeDim(shape[k], d)
			if !ok {
				return c.fail("inputs of shapes %v and %v along axis %d", shape, s, axis)
			}
			shape[k] = joined
		}
		if d := s[axis]; d.Known() {
			if total.size, err = sumOf(total.size, d.Size); err != nil {
				return c.fail("axis %d: %w", axis, err)
			}
		} else {
			total.unknown = true
		}
	}
	if len(c.in) > 1 {
		shape[axis] = unknown
		if !total.unknown {
			shape[axis] = known(total.size)
		}
	}
	c.set(0, dtype, shape)
	c.out[0].vals = c.concatVals(axis, shape)
	return nil
}

// concatVals joins elements block by block. Inputs whose elements are not known count as unknown ones.
func (c *call) concatVals(axis int, shape graph.Shape) []num {
	size, ok := shape.Static()
	if !ok {
		return nil
	}
	if n, err := size.Check(); err != nil || n > maxFollowed {
		return nil
	}
	found := false
	parts := make([][]num, len(c.in))
	blocks := make([]int, len(c.in))
	for i := range c.in {
		own, ok := c.arg(i).shape.Static()
		if !ok {
			return nil
		}
		blocks[i] = own[axis:].Size()
		if parts[i] = c.arg(i).vals; parts[i] == nil {
			parts[i] = make([]num, own.Size())
		} else {
			found = true
		}
	}
	if !found {
		return nil
	}
	out := make([]num, 0, size.Size())
	for range size[:axis].Size() {
		for i := range parts {
			out = append(out, parts[i][:blocks[i]]...)
			parts[i] = parts[i][blocks[i]:]
		}
	}
	return out
}

func inferSplit(c *call) error {
	x := c.arg(0)
	n := len(c.out)
	if x.shape == nil {
		for i := range n {
			c.set(i, x.dtype, nil)
		}
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(x.shape))
	if err != nil {
		return err
	}
	parts, err := c.splitParts(x.shape[axis])
	if err != nil {
		return err
	}
	at := 0
	for i := range n {
		shape := slices.Clone(x.shape)
		shape[axis] = parts[i]
		c.set(i, x.dtype, shape)
		if len(shape) == 1 && x.vals != nil && parts[i].Known() && at <= len(x.vals) && parts[i].Size <= int64(len(x.vals)-at) {
			c.out[i].vals = x.vals[at : at+int(parts[i].Size)]
			at += int(parts[i].Size)
		} else {
			at = len(x.vals) + 1
		}
	}
	return nil
}

// splitParts returns the lengths of the outputs of a Split along a dimension.
func (c *call) splitParts(length graph.Dim) ([]graph.Dim, error) {
	n := len(c.out)
	parts := slices.Repeat([]graph.Dim{unknown}, n)
	var given []num
	for _, v := range c.attrs.Ints("split", nil) {
		given = append(given, number(v))
	}
	if c.has(1) {
		if given = c.arg(1).vals; given == nil {
			return parts, nil
		}
	}
	if given == nil {
		if n == 1 && !length.Known() {
			return []graph.Dim{length}, nil
		}
		if !length.Known() {
			return parts, nil
		}
	}
	lengths, exact := intsOf(given)
	if given != nil && (!exact || !length.Known()) {
		if len(given) != n {
			return nil, c.fail("%d parts for %d outputs", len(given), n)
		}
		for i, v := range given {
			if v.negative() {
				return nil, c.fail("part %d has %d elements", i, v.int())
			}
			parts[i] = v.dim()
		}
		return parts, nil
	}
	lengths, err := SplitLengths(length.Size, n, lengths, c.attrs.Int("num_outputs", int64(n)), c.opset >= 18)
	if err != nil {
		return nil, c.fail("%w", err)
	}
	for i, v := range lengths {
		parts[i] = known(v)
	}
	return parts, nil
}

// SplitLengths returns the lengths of the outputs of a Split of that many elements: those that are given, which it checks, or
// where given is nil equal ones. The last one may be shorter where uneven is set, as it is since opset 18.
func SplitLengths(length int64, outputs int, given []int64, numOutputs int64, uneven bool) ([]int64, error) {
	n := int64(outputs)
	switch {
	case given == nil && (n == 0 || numOutputs != n):
		return nil, fmt.Errorf("num_outputs is %d for %d outputs", numOutputs, n)
	case given == nil && !uneven && length%n != 0:
		return nil, fmt.Errorf("%d elements in %d equal parts", length, n)
	case given == nil:
		lengths, each := make([]int64, n), length/n
		if length%n != 0 {
			each++
		}
		for i := range lengths {
			lengths[i] = min(each, length)
			length -= lengths[i]
		}
		return lengths, nil
	}
	total, err := sumOf(given...)
	if err != nil || len(given) != outputs || total != length || outputs > 0 && slices.Min(given) < 0 {
		return nil, fmt.Errorf("parts %v for %d outputs of %d elements", given, outputs, length)
	}
	return given, nil
}

func inferGather(c *call) error {
	x, index := c.arg(0), c.arg(1)
	if x.shape == nil || index.shape == nil {
		c.set(0, x.dtype, nil)
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", 0), len(x.shape))
	if err != nil {
		return err
	}
	shape := slices.Concat(x.shape[:axis], index.shape, x.shape[axis+1:])
	if shape == nil {
		shape = graph.Shape{}
	}
	c.set(0, x.dtype, shape)
	length := x.shape[axis]
	for _, v := range index.vals {
		if v.known && length.Known() && (v.int() >= length.Size || v.int() < -length.Size) {
			return c.fail("index %d of axis %d of shape %v", v.int(), axis, x.shape)
		}
	}
	if len(x.shape) == 1 && x.vals != nil && index.vals != nil {
		vals := make([]num, len(index.vals))
		for i, v := range index.vals {
			if k := wrap(v.int(), int64(len(x.vals))); v.known && k >= 0 && k < int64(len(x.vals)) {
				vals[i] = x.vals[k]
			}
		}
		c.out[0].vals = vals
	}
	return nil
}

func inferGatherND(c *call) error {
	x, index := c.arg(0), c.arg(1)
	if x.shape == nil || index.shape == nil || len(index.shape) == 0 {
		c.set(0, x.dtype, nil)
		return nil
	}
	batch := c.attrs.Int("batch_dims", 0)
	depth := index.shape[len(index.shape)-1]
	if !depth.Known() {
		c.set(0, x.dtype, nil)
		return nil
	}
	if batch < 0 || batch >= int64(len(index.shape)) || depth.Size > int64(len(x.shape))-batch {
		return c.fail("indices of shape %v into shape %v with %d batch dimensions", index.shape, x.shape, batch)
	}
	c.set(0, x.dtype, slices.Concat(index.shape[:len(index.shape)-1], x.shape[batch+depth.Size:]))
	if c.out[0].shape == nil {
		c.out[0].shape = graph.Shape{}
	}
	return nil
}

func inferCompress(c *call) error {
	x := c.arg(0)
	n := unknown
	if vals := c.arg(1).vals; vals != nil {
		count := int64(0)
		for _, v := range vals {
			if !v.known {
				count = -1
				break
			}
			count += v.int()
		}
		n = known(count)
	}
	if !c.attrs.Has("axis") {
		c.set(0, x.dtype, graph.Shape{n})
		return nil
	}
	shape := slices.Clone(x.shape)
	if shape != nil {
		axis, err := c.axis(c.attrs.Int("axis", 0), len(shape))
		if err != nil {
			return err
		}
		shape[axis] = n
	}
	c.set(0, x.dtype, shape)
	return nil
}

func inferOneHot(c *call) error {
	x := c.arg(0)
	dtype := c.arg(2).dtype
	if x.shape == nil {
		c.set(0, dtype, nil)
		return nil
	}
	axis, err := c.axis(c.attrs.Int("axis", -1), len(x.shape)+1)
	if err != nil {
		return err
	}
	depth := unknown
	if v := c.arg(1).vals; len(v) == 1 {
		if v[0].negative() {
			return c.fail("a depth of %d", v[0].int())
		}
		depth = v[0].dim()
	}
	c.set(0, dtype, slices.Insert(slices.Clone(x.shape), axis, depth))
	return nil
}
