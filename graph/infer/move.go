package infer

import (
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
			total.size += d.Size
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
	parts := make([]graph.Dim, n)
	split, given := c.attrs.Ints("split", nil), c.attrs.Has("split")
	if c.has(1) {
		given = true
		if vals := c.arg(1).vals; vals != nil {
			split = make([]int64, len(vals))
			for i, v := range vals {
				split[i] = v.dim().Size
			}
		}
	}
	length := x.shape[axis]
	switch {
	case given && split == nil:
		for i := range parts {
			parts[i] = unknown
		}
	case given:
		if len(split) != n {
			return c.fail("%d parts for %d outputs", len(split), n)
		}
		total := int64(0)
		for i, v := range split {
			parts[i] = known(v)
			if total += v; v < 0 {
				total = length.Size // a part that is not known
			}
		}
		if length.Known() && total != length.Size && !slices.Contains(split, -1) {
			return c.fail("parts %v of axis %d of shape %v", split, axis, x.shape)
		}
	default:
		each := (length.Size + int64(n) - 1) / int64(n)
		for i := range parts {
			parts[i] = unknown
			if length.Known() {
				parts[i] = known(min(each, max(0, length.Size-int64(i)*each)))
			}
		}
		if length.Known() && length.Size%int64(n) != 0 && !c.attrs.Has("num_outputs") {
			return c.fail("axis %d of shape %v in %d equal parts", axis, x.shape, n)
		}
		if n == 1 {
			parts[0] = length
		}
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
	if batch < 0 || batch >= int64(len(index.shape)) || batch+depth.Size > int64(len(x.shape)) {
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
		depth = v[0].dim()
	}
	c.set(0, dtype, slices.Insert(slices.Clone(x.shape), axis, depth))
	return nil
}
