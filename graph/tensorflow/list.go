package tensorflow

import (
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// A list is what a list of tensors has become: one tensor with the elements along its first axis, or, where it is short and its length
// is known, the elements themselves, or nothing yet. Lists do not change: what sets an element makes another list.
type list struct {
	dtype tensor.DType
	shape graph.Shape // of an element, as far as it is known
	// size is the number of elements, an int64 scalar; nil where all says it.
	size *value
	// all has the elements; nil where items has them, or none is set.
	all *value
	// items are the elements where short is true; nil where one is not set.
	items []*value
	short bool
	// dynamic says that a write behind the end makes it longer.
	dynamic bool
	// open is what the body of a loop has done to the list that came in; nil outside.
	open *open
}

// maxItems is the most elements of a list that are kept apart.
const maxItems = 256

// listOps hold tensors in lists.
var listOps = map[string]operator{
	"TensorListReserve": one(listReserve), "EmptyTensorList": one(listEmpty), "TensorListFromTensor": one(listFrom),
	"TensorListGetItem": one(listGet), "TensorListSetItem": one(listSet), "TensorListStack": one(listStack),
	"TensorListLength": one(listLength), "TensorListElementShape": one(listElementShape), "TensorListPushBack": one(listPush),
	"TensorListPopBack": listPop, "TensorListGather": one(listGather), "TensorListScatterV2": one(listScatter),
	"TensorListScatterIntoExistingList": one(listScatterInto), "TensorListConcat": listConcat, "TensorListConcatV2": listConcat,
	"TensorListSplit": one(listSplit), "TensorListResize": one(listResize), "TensorListConcatLists": one(listConcatLists),
}

// list returns input i, which must be a list.
func (c *call) list(i int) *list {
	if i >= len(c.in) {
		c.damaged("it has %d inputs and needs %d", len(c.in), i+1)
	}
	v := c.in[i]
	if v.bad {
		panic(stopped{})
	}
	if v.list == nil {
		c.refuse("input %d is no list of tensors", i)
	}
	return v.list
}

// elementShape reads a shape that is given as a tensor: -1 is of unknown rank, and -1 in a list an unknown length.
func (c *call) elementShape(i int) graph.Shape {
	v := c.arg(i)
	dims := c.elements(v)
	if v.rank() != 1 || dims == nil {
		return nil
	}
	shape := make(graph.Shape, len(dims))
	for k, d := range dims {
		shape[k] = graph.Dim{Size: -1, Symbol: d.Symbol}
		if d.Known && d.Value >= 0 {
			shape[k] = dimOf(d.Value)
		}
	}
	return shape
}

// number makes an int64 scalar of an integer.
func (c *call) number(v *value) *value {
	v = c.cast(v, tensor.Int64)
	if v.rank() != 0 {
		v = c.reshape(v)
	}
	return v
}

// constant1 returns a constant scalar of integers.
func constant1(v *value) (int64, bool) {
	if v == nil || v.con == nil || v.con.Size() != 1 {
		return 0, false
	}
	n, ok := intsOf(v.con)
	if !ok {
		return 0, false
	}
	return n[0], true
}

func (c *call) elementType() tensor.DType { return c.dtype("element_dtype", graphdef.Float) }

func listReserve(c *call) *value {
	return listValue(c.reserve(c.elementType(), c.elementShape(0), c.number(c.arg(1))))
}

// reserve makes a list of elements none of which is set.
func (c *call) reserve(dtype tensor.DType, shape graph.Shape, size *value) *list {
	l := &list{dtype: dtype, shape: shape, size: size}
	if n, ok := constant1(size); ok {
		if n < 0 {
			c.damaged("a list of %d elements", n)
		}
		if n <= maxItems {
			l.short, l.items = true, make([]*value, n)
		}
	}
	return l
}

func listEmpty(c *call) *value {
	return listValue(c.reserve(c.elementType(), c.elementShape(0), c.index(0)))
}

func listFrom(c *call) *value {
	x := c.arg(0)
	if c.needRank(x) == 0 {
		c.damaged("a list of a scalar")
	}
	return listValue(&list{dtype: x.dtype, shape: x.shape[1:], all: x})
}

// sizeOf returns how many elements a list has.
func (c *call) sizeOf(l *list) *value {
	if l.size != nil {
		return l.size
	}
	return c.squeeze(c.dim(l.all, 0), 0)
}

// refine joins what two shapes of one tensor say.
func refine(a, b graph.Shape) graph.Shape {
	if a == nil || b != nil && len(a) != len(b) {
		return b
	}
	shape := append(graph.Shape{}, a...)
	for i, d := range b {
		if !shape[i].Known() && (d.Known() || shape[i].Symbol == "") {
			shape[i] = d
		}
	}
	return shape
}

// zeros is an element that is not set, as TensorFlow gives it where it knows the shape.
func (c *call) zeros(l *list) *value {
	for _, item := range l.items {
		if item != nil {
			return c.onnx("Expand", nil, c.scalar(l.dtype, 0), c.shapeOf(item))
		}
	}
	return c.onnx("Expand", nil, c.scalar(l.dtype, 0), c.lengths(l.shape))
}

// lengths makes a list of a shape's lengths, those with a symbol from what has the same one.
func (c *call) lengths(shape graph.Shape) *value {
	if shape == nil {
		c.refuse("an element of a list is used that is not set, and the shape of the elements is not known")
	}
	if s, ok := shape.Static(); ok {
		dims := make([]int64, len(s))
		for i, n := range s {
			dims[i] = int64(n)
		}
		return c.i64(dims...)
	}
	parts := make([]*value, len(shape))
	for i, d := range shape {
		if parts[i] = c.lengthOf(d); parts[i] == nil {
			c.refuse("an element of a list is used that is not set, and the shape of the elements, %v, is not known", known(shape))
		}
	}
	return c.concat(parts...)
}

// lengthOf returns a length as a list of one: known, or that of an input of the graph or of this node that has the same symbol.
func (c *call) lengthOf(d graph.Dim) *value {
	if d.Known() {
		return c.i64(d.Size)
	}
	if d.Symbol == "" {
		return nil
	}
	inputs := slices.Clone(c.in)
	for _, name := range c.fedNames {
		inputs = append(inputs, c.fed[name])
	}
	for _, v := range inputs {
		if v.bad || v.handle != "" {
			continue
		}
		for axis, have := range v.shape {
			if sameDims(have, d) {
				return c.dim(v, axis)
			}
		}
	}
	return nil
}

// all returns the elements of a list as one tensor.
func (c *call) all(l *list) *value {
	switch {
	case l.open != nil:
		c.close(l)
	case l.all != nil:
		return l.all
	case l.short && len(l.items) > 0:
		parts := make([]*value, len(l.items))
		var zeros *value
		for i, item := range l.items {
			if item == nil {
				if zeros == nil {
					zeros = c.zeros(l)
				}
				item = zeros
			}
			parts[i] = c.unsqueeze(item, 0)
		}
		return c.join(0, parts...)
	}
	return c.onnx("Expand", nil, c.scalar(l.dtype, 0), c.concat(c.unsqueeze(c.sizeOf(l), 0), c.lengths(l.shape)))
}

func listGet(c *call) *value { return c.get(c.list(0), c.arg(1)) }

// get returns one element.
func (c *call) get(l *list, at *value) *value {
	if l.open != nil {
		if v := l.open.find(at); v != nil {
			return v
		}
		c.close(l)
	}
	if n, ok := constant1(at); ok && l.short {
		if n < 0 || n >= int64(len(l.items)) {
			c.damaged("element %d of a list of %d", n, len(l.items))
		}
		if l.items[n] == nil {
			return c.zeros(l)
		}
		return l.items[n]
	}
	return c.onnx("Gather", graph.Attrs{"axis": int64(0)}, c.all(l), c.scalarIndex(at))
}

func (c *call) scalarIndex(at *value) *value {
	if at.dtype != tensor.Int32 && at.dtype != tensor.Int64 {
		at = c.cast(at, tensor.Int64)
	}
	if at.rank() != 0 {
		at = c.reshape(at)
	}
	return at
}

func listSet(c *call) *value {
	l, at, x := c.list(0), c.arg(1), c.arg(2)
	grows := c.bool("resize_if_index_out_of_bounds", false)
	return listValue(c.set(l, at, x, grows))
}

// set returns the list with another element.
func (c *call) set(l *list, at, x *value, grows bool) *list {
	if x.dtype != l.dtype {
		c.damaged("an element of %v for a list of %v", x.dtype, l.dtype)
	}
	if l.open != nil {
		return l.open.with(l, write{at: at, x: x, grows: grows})
	}
	if n, ok := constant1(at); ok && l.short && n >= 0 {
		made := *l
		made.items = slices.Clone(l.items)
		if n >= int64(len(made.items)) {
			if !grows || n >= maxItems {
				c.damaged("element %d of a list of %d", n, len(made.items))
			}
			made.items = append(made.items, make([]*value, int(n)+1-len(made.items))...)
			made.size = c.index(n + 1)
		}
		made.items[n] = x
		return &made
	}
	if grows {
		c.refuse("it makes a list longer by writing behind its end, in another order than one after the other")
	}
	made := &list{dtype: l.dtype, shape: refine(l.shape, x.shape), size: l.size, dynamic: l.dynamic}
	at = c.reshape(c.cast(at, tensor.Int64), 1, 1)
	given := *l
	given.shape = made.shape
	made.all = c.onnx("ScatterND", nil, c.all(&given), at, c.unsqueeze(x, 0))
	return made
}

func listStack(c *call) *value {
	l := c.list(0)
	given := *l
	if given.shape == nil {
		given.shape = c.elementShape(1)
	}
	return c.all(&given)
}

func listLength(c *call) *value { return c.cast(c.count1(c.list(0)), tensor.Int32) }

// count1 is the length of a list, which in a loop that adds to it is not known before.
func (c *call) count1(l *list) *value {
	if l.open != nil && l.open.grows() {
		c.close(l)
	}
	return c.sizeOf(l)
}

func listElementShape(c *call) *value {
	l, to := c.list(0), c.dtype("shape_type", graphdef.Int32)
	switch s, ok := l.shape.Static(); {
	case ok:
		dims := make([]int64, len(s))
		for i, n := range s {
			dims[i] = int64(n)
		}
		return c.cast(c.i64(dims...), to)
	case l.all != nil:
		return c.cast(c.onnx("Shape", graph.Attrs{"start": int64(1)}, l.all), to)
	}
	c.refuse("the shape of the elements is not known")
	return nil
}

func listPush(c *call) *value {
	l, x := c.list(0), c.arg(1)
	if x.dtype != l.dtype {
		c.damaged("an element of %v for a list of %v", x.dtype, l.dtype)
	}
	if l.open != nil {
		return listValue(l.open.with(l, write{x: x}))
	}
	if l.short && len(l.items) < maxItems {
		made := *l
		made.items = append(slices.Clone(l.items), x)
		made.size = c.index(int64(len(made.items)))
		return listValue(&made)
	}
	return listValue(&list{dtype: l.dtype, shape: common(l.shape, x.shape), all: c.join(0, c.all(l), c.unsqueeze(x, 0))})
}

func listPop(c *call) []*value {
	l := c.list(0)
	if l.open == nil && l.short {
		n := len(l.items)
		if n == 0 {
			c.damaged("it takes an element of an empty list")
		}
		made := *l
		made.items, made.size = l.items[:n-1], c.index(int64(n-1))
		x := l.items[n-1]
		if x == nil {
			x = c.zeros(l)
		}
		return []*value{listValue(&made), x}
	}
	x := c.all(l)
	last := c.onnx("Gather", graph.Attrs{"axis": int64(0)}, x, c.index(-1))
	return []*value{listValue(&list{dtype: l.dtype, shape: l.shape, all: c.slice(x, []int64{0}, []int64{0}, []int64{-1})}), last}
}

func listGather(c *call) *value {
	return c.gather(c.all(c.list(0)), c.arg(1), 0, 0)
}

// listScatter makes a list of elements in any order; -1 elements are as many as the largest index needs.
func listScatter(c *call) *value {
	x, at := c.arg(0), c.cast(c.arg(1), tensor.Int64)
	var size *value
	if n, ok := constant1(c.arg(3)); !ok || n >= 0 {
		size = c.number(c.arg(3))
	} else if last, ok := c.knownInts(at); ok {
		size = c.index(0)
		if len(last) > 0 {
			size = c.index(slices.Max(last) + 1)
		}
	} else {
		size = c.onnx("Add", nil, c.onnx("ReduceMax", graph.Attrs{"keepdims": int64(0)}, at), c.index(1))
	}
	if c.needRank(x) == 0 {
		c.damaged("it scatters a scalar")
	}
	return listValue(c.scatterAll(&list{dtype: x.dtype, shape: x.shape[1:], size: size}, at, x))
}

func listScatterInto(c *call) *value {
	return listValue(c.scatterAll(c.list(0), c.cast(c.arg(2), tensor.Int64), c.arg(1)))
}

// scatterAll sets elements at places, which must be different.
func (c *call) scatterAll(l *list, at, x *value) *list {
	given := *l
	given.shape = x.shape[1:]
	var base *value
	if l.all == nil && !slices.ContainsFunc(l.items, func(v *value) bool { return v != nil }) && l.open == nil {
		element := c.onnx("Shape", graph.Attrs{"start": int64(1)}, x)
		base = c.onnx("Expand", nil, c.scalar(l.dtype, 0), c.concat(c.unsqueeze(c.sizeOf(l), 0), element))
	} else {
		base = c.all(&given)
	}
	return &list{dtype: l.dtype, shape: given.shape, size: l.size, all: c.onnx("ScatterND", nil, base, c.unsqueeze(at, -1), x)}
}

// listConcat joins elements along their first axis, and gives their lengths.
func listConcat(c *call) []*value { return c.joined(c.list(0)) }

func (c *call) joined(l *list) []*value {
	if l.open == nil && l.short && len(l.items) > 0 && !slices.Contains(l.items, nil) {
		lengths := make([]*value, len(l.items))
		for i, item := range l.items {
			if c.needRank(item) == 0 {
				c.damaged("it joins scalars")
			}
			lengths[i] = c.dim(item, 0)
		}
		return []*value{c.join(0, l.items...), c.concat(lengths...)}
	}
	x := c.all(l)
	if c.needRank(x) < 2 {
		c.damaged("it joins elements of a list of shape %v", x.shape)
	}
	each := c.dim(x, 1)
	lengths := c.onnx("Expand", nil, each, c.dim(x, 0))
	total := c.onnx("Mul", nil, c.dim(x, 0), each)
	return []*value{c.reshapeTo(x, c.concat(append([]*value{total}, c.dims(x, 2)...)...)), lengths}
}

// dims returns the lengths of the axes from one on, each as a list of one.
func (c *call) dims(v *value, from int) []*value {
	var all []*value
	for i := from; i < len(v.shape); i++ {
		all = append(all, c.dim(v, i))
	}
	return all
}

// listSplit cuts a tensor along its first axis into elements.
func listSplit(c *call) *value {
	x, sizes := c.arg(0), c.constInts(2, "lengths")
	if c.needRank(x) == 0 || len(sizes) > maxItems {
		c.refuse("it cuts a tensor of shape %v into %d elements", x.shape, len(sizes))
	}
	return listValue(&list{dtype: x.dtype, size: c.index(int64(len(sizes))), items: c.pieces(x, 0, sizes), short: true})
}

func listResize(c *call) *value {
	l, size := c.list(0), c.number(c.arg(1))
	n, ok := constant1(size)
	switch {
	case l.open == nil && l.size != nil && size.name == l.size.name:
		return listValue(l)
	case l.open == nil && l.short && ok && n >= 0 && n <= maxItems:
		made := *l
		made.items = append(slices.Clone(l.items[:min(int(n), len(l.items))]), make([]*value, max(0, int(n)-len(l.items)))...)
		made.size = size
		return listValue(&made)
	}
	c.refuse("it changes the length of a list to one that is not known")
	return nil
}

func listConcatLists(c *call) *value {
	a, b := c.list(0), c.list(1)
	if a.open == nil && b.open == nil && a.short && b.short && len(a.items)+len(b.items) <= maxItems {
		made := *a
		made.items = slices.Concat(a.items, b.items)
		made.size = c.index(int64(len(made.items)))
		return listValue(&made)
	}
	return listValue(&list{dtype: a.dtype, shape: common(a.shape, b.shape), all: c.join(0, c.all(a), c.all(b))})
}
