package tensorflow

import (
	"iter"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// An operator converts one node: it returns the node's outputs. A nil output is one that cannot be had.
type operator func(c *call) []*value

// operators are all that are converted. The files are named after the families.
var operators = merge(structureOps, randomOps, elementOps, arithmeticOps, compareOps, activationOps, reduceOps, productOps, convOps, poolOps, normOps,
	shapeOps, moveOps, gatherOps, imageOps, patchOps, spaceOps, quantizeOps, bitwiseOps, segmentOps, indexOps, matrixOps, listOps, tensorArrayOps)

// Operators lists the operators that are converted, sorted. Calls of functions are converted too.
func Operators() []string { return slices.Sorted(maps.Keys(maps.Collect(every()))) }

// every goes through the table and the operators that call functions, which the table cannot have: they convert by the table themselves.
func every() iter.Seq2[string, operator] {
	return func(yield func(string, operator) bool) {
		for _, name := range controlNames {
			if !yield(name, controlOp(name)) {
				return
			}
		}
		for name, fn := range operators {
			if !yield(name, fn) {
				return
			}
		}
	}
}

func merge(families ...map[string]operator) map[string]operator {
	all := map[string]operator{}
	for _, f := range families {
		maps.Copy(all, f)
	}
	return all
}

// one makes an operator of a function that gives one output.
func one(f func(c *call) *value) operator {
	return func(c *call) []*value { return []*value{f(c)} }
}

// structureOps hold a graph together.
var structureOps = map[string]operator{
	"Const": one(constOp), "HostConst": one(constOp),
	"Placeholder": placeholder, "PlaceholderV2": placeholder,
	"PlaceholderWithDefault": pass, "StopGradient": pass, "PreventGradient": pass, "Snapshot": pass, "DeepCopy": pass,
	"CheckNumerics": pass, "CheckNumericsV2": pass, "Print": pass, "DebugIdentity": pass, "DebugIdentityV2": pass, "EnsureShape": one(ensureShape),
	"Identity": identity, "RefIdentity": identity, "IdentityN": passAll,
	"NoOp": nothing, "Assert": nothing, "PrintV2": nothing, "DisableCopyOnRead": nothing,
	"Variable": one(refVariable), "VariableV2": one(refVariable), "VarHandleOp": one(varHandle), "ReadVariableOp": one(readVariable),
	"VariableShape": one(variableShape), "VarIsInitializedOp": one(initialized), "IsVariableInitialized": one(initialized),
	"Switch": switchOp, "RefSwitch": switchOp, "Merge": mergeOp, "RefMerge": mergeOp,
}

// constOp reads a constant, of all calls of a function once.
func constOp(c *call) *value {
	own := len(c.st.attrs) > 0 && &c.st.attrs[0] == &c.st.node.Attrs[0] // no attribute is the call's
	if v := c.decoded[c.st.node]; v != nil && own {
		again := *v
		again.by = c.st
		return &again
	}
	t, err := c.st.attrs.Tensor("value")
	if got(c, t, err) == nil {
		c.damaged("it has no value")
	}
	v := c.tensor(t)
	if own && v.con != nil {
		c.decoded[c.st.node] = v
	}
	return v
}

// tensor makes a constant of a stored tensor. One with many elements of which few are stored becomes a node, so that a small file does
// not take much memory.
func (c *call) tensor(t *graphdef.Tensor) *value {
	dtype := t.Type.DType()
	if dtype == tensor.Invalid {
		c.refuse("a constant of type %v", t.Type)
	}
	t, err := c.load.tensor(t)
	got(c, t, err)
	size := t.Shape.Size() * max(1, dtype.Size())
	stored, err := t.Stored()
	got(c, stored, err)
	switch {
	case stored >= t.Shape.Size():
		c.grown += 2 * size
	case size > maxConstant && stored <= 1:
		last, err := t.Last()
		return c.filled(got(c, last, err), t.Shape)
	default:
		c.spend(int64(size))
	}
	v, err := t.Decode()
	return c.constant(c.st.label(), got(c, v, err))
}

// filled is a constant of equal elements that is made when the model runs.
func (c *call) filled(element *tensor.Tensor, shape tensor.Shape) *value {
	dims := make([]int64, len(shape))
	for i, d := range shape {
		dims[i] = int64(d)
	}
	return c.onnx("Expand", nil, c.constant(c.hint("element"), element), c.i64(dims...))
}

// placeholder is reached where it is not among the inputs.
func placeholder(c *call) []*value {
	c.refuse("it is not among the inputs, and has no default; add it to --inputs")
	return nil
}

// pass gives on what it takes.
func pass(c *call) []*value { return c.in[:1] }

func passAll(c *call) []*value { return c.in }

func nothing(*call) []*value { return nil }

// identity reads a variable of TensorFlow 1, after what assigns to it.
func identity(c *call) []*value {
	v := c.in[0]
	if v.variable != nil && v.handle == "" {
		c.checkWrites(v.variable)
		return []*value{c.read(v.variable)}
	}
	return c.in[:1]
}

func ensureShape(c *call) *value {
	x := c.arg(0)
	shape, ok, err := c.st.attrs.Shape("shape")
	if got(c, ok, err); !ok || shape == nil || x.con != nil {
		return x
	}
	y := c.onnx("Identity", nil, x)
	return c.declare(y, shape)
}

// refVariable is a variable of TensorFlow 1, which operators take as it is.
func refVariable(c *call) *value {
	v := c.variables.all[c.st.node.Name]
	if v == nil || c.st.sc.fn != nil {
		c.refuse("a variable inside of a function")
	}
	read := *c.read(v)
	read.variable, read.by = v, c.st
	return &read
}

func varHandle(c *call) *value {
	v := c.variables.all[c.st.node.Name]
	if v == nil || c.st.sc.fn != nil {
		c.refuse("a variable inside of a function")
	}
	return &value{handle: "variable", variable: v}
}

// handle returns the variable that input i is a handle of.
func (c *call) handle(i int) *variable {
	if i >= len(c.in) {
		c.damaged("it has %d inputs and needs %d", len(c.in), i+1)
	}
	if c.in[i].bad {
		panic(stopped{})
	}
	v := c.in[i].variable
	if v == nil {
		c.refuse("input %d is no variable whose value the checkpoint has", i)
	}
	c.checkWrites(v)
	return v
}

func readVariable(c *call) *value { return c.read(c.handle(0)) }

func initialized(c *call) *value { return c.scalar(tensor.Bool, 1) }

func variableShape(c *call) *value {
	return c.cast(c.shapeOf(c.read(c.handle(0))), c.dtype("out_type", graphdef.Int32))
}

// switchOp gives its data to the side that a constant condition names; the other side is dead.
func switchOp(c *call) []*value {
	if len(c.in) < 2 {
		c.damaged("it has %d inputs", len(c.in))
	}
	data, pred := c.in[0], c.arg(1)
	if pred.con == nil || pred.con.Size() != 1 {
		panic(stopped{fault: &fault{op: "Switch", reason: "a condition that is not constant is not converted yet"}})
	}
	out := []*value{{dead: true, by: c.st}, {dead: true, by: c.st}}
	side := 0
	if isTrue(pred.con) {
		side = 1
	}
	live := *data
	if live.by == nil {
		live.by = c.st
	}
	out[side] = &live
	return out
}

// mergeOp gives on the one input that is not dead.
func mergeOp(c *call) []*value {
	var live *value
	index := 0
	for i, v := range c.in {
		if v.dead {
			continue
		}
		if live != nil {
			panic(stopped{}) // its Switch says why
		}
		live, index = v, i
	}
	if live == nil {
		return []*value{{dead: true, by: c.st}, {dead: true, by: c.st}}
	}
	return []*value{live, c.scalar(tensor.Int32, float64(index))}
}
