package tensorflow

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// unique returns a name in the ONNX graph that is not in use.
func (c *converter) unique(base string) string {
	for {
		n, used := c.names[base]
		if !used {
			c.names[base] = 0
			return base
		}
		c.names[base] = n + 1
		name := base + "_" + strconv.Itoa(n+1)
		if _, used := c.names[name]; !used {
			c.names[name] = 0
			return name
		}
	}
}

// constant makes a value of a tensor, which nobody changes from then on.
func (c *converter) constant(hint string, t *tensor.Tensor) *value {
	const small = 256
	if b := t.Bytes(); b != nil && len(b) <= small {
		key := fmt.Sprintf("%v%v%x", t.DType(), t.Shape(), b)
		if v := c.shared[key]; v != nil {
			return v
		}
		v := &value{name: c.unique(hint), dtype: t.DType(), shape: graph.Dims(t.Shape()...), con: t}
		c.shared[key] = v
		return v
	}
	return &value{name: c.unique(hint), dtype: t.DType(), shape: graph.Dims(t.Shape()...), con: t}
}

// use makes a constant known to the graph.
func (c *converter) use(v *value) string {
	if v.con != nil && c.constants[v.name] == nil {
		c.constants[v.name] = v
		c.step.Constant(v.name, v.con)
	}
	return v.name
}

// onnx adds an ONNX node with one output.
func (c *call) onnx(op string, attrs graph.Attrs, in ...*value) *value {
	return c.multi(op, 1, attrs, in...)[0]
}

// multi adds an ONNX node with that number of outputs; a nil input is one that is left out. A node whose inputs are all constant is
// computed at once where that does not make the model much larger.
func (c *call) multi(op string, outputs int, attrs graph.Attrs, in ...*value) []*value {
	n := &graph.Node{OpType: op, Attrs: attrs}
	base := c.st.label() + "/" + op
	constant := len(in) > 0
	for _, v := range in {
		if v == nil {
			n.Inputs = append(n.Inputs, "")
			continue
		}
		constant = constant && (v.con != nil || v.late)
		n.Inputs = append(n.Inputs, c.use(v))
	}
	for len(n.Inputs) > 0 && n.Inputs[len(n.Inputs)-1] == "" {
		n.Inputs = n.Inputs[:len(n.Inputs)-1]
	}
	if c.left -= outputs; c.left < 0 {
		panic(stopped{err: errNodes})
	}
	out := make([]*value, outputs)
	for i := range out {
		out[i] = &value{name: c.unique(base), by: c.st}
		n.Outputs = append(n.Outputs, out[i].name)
	}
	n.Name = out[0].name
	if err := c.step.Node(n); err != nil {
		c.damaged("%v", err)
	}
	for i, v := range out {
		info := c.step.Lookup(n.Outputs[i])
		v.dtype, v.shape = info.DType, info.Shape
	}
	if outputs == 1 && c.followed(out[0]) {
		return out
	}
	if constant {
		c.follow(in, out)
		if c.fold(n, in, out) {
			return out
		}
	}
	c.add(n)
	return out
}

// follow notes that constants which are computed of variables that are trained are so too.
func (c *converter) follow(in, out []*value) {
	if !slices.ContainsFunc(in, func(v *value) bool { return v != nil && c.trained[v.name] }) {
		return
	}
	for _, v := range out {
		c.trained[v.name] = true
	}
}

// add adds a node that is whole.
func (c *converter) add(n *graph.Node) {
	c.nodes = append(c.nodes, n)
	for _, out := range n.Outputs {
		c.made[out] = n
	}
}

// followed makes a constant of a value of integers all of which shape inference has found.
func (c *converter) followed(v *value) bool {
	if v.dtype != tensor.Int64 && v.dtype != tensor.Int32 && v.dtype != tensor.Bool {
		return false
	}
	shape, ok := v.shape.Static()
	elements := c.step.Elements(v.name)
	if !ok || elements == nil || len(elements) != shape.Size() {
		return false
	}
	for _, e := range elements {
		if !e.Known || v.dtype == tensor.Int32 && e.Value != int64(int32(e.Value)) {
			return false
		}
	}
	t, err := tensor.New(v.dtype, shape...)
	if err != nil {
		return false
	}
	for i, e := range elements {
		switch d := t.Raw().(type) {
		case []int64:
			d[i] = e.Value
		case []int32:
			d[i] = int32(e.Value)
		case []bool:
			d[i] = e.Value != 0
		}
	}
	if c.grown -= t.Size() * t.DType().Size(); c.grown < 0 {
		return false
	}
	v.con = t
	return true
}

// fold computes a node of constants, or leaves it to settle where what it gives is large.
func (c *call) fold(n *graph.Node, in, out []*value) bool {
	given, late := 0, false
	g := &graph.Graph{Name: "fold", Nodes: []*graph.Node{n}}
	for _, v := range in {
		if v == nil || slices.ContainsFunc(g.Initializers, func(i graph.Initializer) bool { return i.Name == v.name }) {
			continue
		}
		given += max(0, v.size()) * max(1, v.dtype.Size())
		late = late || v.late
		g.Initializers = append(g.Initializers, graph.Initializer{Name: v.name, Tensor: v.con})
	}
	made := 0
	for _, v := range out {
		size := v.size()
		if size < 0 {
			return false
		}
		made += size * max(1, v.dtype.Size())
		g.Outputs = append(g.Outputs, graph.Value{Name: v.name})
	}
	if made > max(given, maxConstant) || made > c.grown {
		return false
	}
	c.grown -= made
	if late || made > maxConstant {
		for _, v := range out {
			v.late = true
		}
		c.late[n] = true
		return false
	}
	results, err := evaluate(c.ctx, c.ev, g)
	if err != nil {
		panic(stopped{err: err})
	}
	if results == nil {
		return false
	}
	for i, t := range results {
		out[i].con, out[i].dtype, out[i].shape = t, t.DType(), graph.Dims(t.Shape()...)
	}
	return true
}

// elements returns what is known of the elements of a small tensor, or nil.
func (c *converter) elements(v *value) []infer.Element {
	c.use(v)
	return c.step.Elements(v.name)
}

// constInts returns input i, which must be constant integers.
func (c *call) constInts(i int, what string) []int64 {
	v := c.arg(i)
	out, ok := c.knownInts(v)
	if !ok {
		c.refuse("its %s (input %d) must be constant", what, i)
	}
	return out
}

// knownInts returns the elements of a value of integers, where they are constant.
func (c *call) knownInts(v *value) ([]int64, bool) {
	if v.con == nil {
		return nil, false
	}
	return intsOf(v.con)
}

func intsOf(t *tensor.Tensor) ([]int64, bool) {
	out := make([]int64, t.Size())
	switch d := t.Raw().(type) {
	case []int64:
		copy(out, d)
	case []int32:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []int16:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []int8:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []uint8:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []uint16:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []uint32:
		for i, v := range d {
			out[i] = int64(v)
		}
	case []uint64:
		for i, v := range d {
			out[i] = int64(v)
		}
	default:
		return nil, false
	}
	return out, true
}

// constInt returns input i, which must be one constant integer.
func (c *call) constInt(i int, what string) int64 {
	v := c.constInts(i, what)
	if len(v) != 1 {
		c.damaged("its %s has %d elements", what, len(v))
	}
	return v[0]
}

// i64 makes a constant list.
func (c *call) i64(v ...int64) *value {
	if v == nil {
		v = []int64{}
	}
	return c.constant(c.hint("ints"), tensor.Vector(slices.Clone(v)...))
}

// index makes a constant scalar.
func (c *call) index(v int64) *value { return c.constant(c.hint("index"), tensor.Scalar(v)) }

func (c *call) hint(what string) string { return c.st.label() + "/" + what }

// scalar makes a constant of a type, as near to v as it has numbers.
func (c *call) scalar(dtype tensor.DType, v float64) *value {
	var t *tensor.Tensor
	switch dtype {
	case tensor.Float32:
		t = tensor.Scalar(float32(v))
	case tensor.Float64:
		t = tensor.Scalar(v)
	case tensor.Float16:
		t = tensor.Scalar(tensor.HalfOf64(v))
	case tensor.BFloat16:
		t = tensor.Scalar(tensor.BHalfOf64(v))
	case tensor.Int8:
		t = tensor.Scalar(int8(v))
	case tensor.Int16:
		t = tensor.Scalar(int16(v))
	case tensor.Int32:
		t = tensor.Scalar(int32(v))
	case tensor.Int64:
		t = tensor.Scalar(int64(math.MaxInt64))
		if v < 1<<63 {
			t = tensor.Scalar(int64(v))
		}
	case tensor.Uint8:
		t = tensor.Scalar(uint8(v))
	case tensor.Uint16:
		t = tensor.Scalar(uint16(v))
	case tensor.Uint32:
		t = tensor.Scalar(uint32(v))
	case tensor.Uint64:
		t = tensor.Scalar(uint64(math.MaxUint64))
		if v < 1<<64 {
			t = tensor.Scalar(uint64(v))
		}
	case tensor.Bool:
		t = tensor.Scalar(v != 0)
	default:
		c.refuse("it computes with %v", dtype)
	}
	return c.constant(c.hint("scalar"), t)
}

// like makes a constant scalar of v's type.
func (c *call) like(v *value, x float64) *value { return c.scalar(v.dtype, x) }

// cast changes the type of the elements.
func (c *call) cast(v *value, to tensor.DType) *value {
	if v.dtype == to {
		return v
	}
	return c.onnx("Cast", graph.Attrs{"to": int64(to)}, v)
}

// isOnly reports whether all elements of a constant are x.
func isOnly(t *tensor.Tensor, x bool) bool {
	d, ok := t.Raw().([]bool)
	if !ok {
		return false
	}
	return !slices.Contains(d, !x)
}

// prefixOf is put before the names of a function's nodes. A call that TensorFlow itself named says nothing.
func prefixOf(sc *scope, st *state) string {
	const longest = 256 // names of functions that call each other would grow and grow
	if len(sc.prefix) > longest {
		return sc.prefix
	}
	name := st.node.Name
	if strings.HasSuffix(st.node.Op, "PartitionedCall") {
		i := strings.LastIndexByte(name, '/') + 1
		if strings.HasPrefix(strings.TrimPrefix(name[i:], "Stateful"), "PartitionedCall") {
			return sc.prefix + name[:i]
		}
	}
	return sc.prefix + name + "/"
}

// spend counts bytes of constants that an operator makes up.
func (c *call) spend(bytes int64) {
	if bytes > int64(c.grown) {
		c.refuse("the constants that it would take are too large")
	}
	c.grown -= int(bytes)
}

// dimOf is a known length.
func dimOf(n int64) graph.Dim { return graph.Dim{Size: n} }

// declare says what TensorFlow knows of a value's shape.
func (c *call) declare(v *value, shape graph.Shape) *value {
	if v.con != nil {
		return v
	}
	if err := c.step.Value(graph.Value{Name: v.name, DType: v.dtype, Shape: shape}); err != nil {
		c.damaged("%v", err)
	}
	v.shape = c.step.Lookup(v.name).Shape
	return v
}
