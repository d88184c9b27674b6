package tensorflow

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// ErrInvalid says that a graph contradicts itself: a node that is missing, a function that calls itself, shapes that do not fit.
var ErrInvalid = errors.New("invalid TensorFlow graph")

const (
	// maxCalls limits how deep functions call each other, and maxNodes how many nodes all calls together have.
	maxCalls = 64
	// in a graph of few; each that the file has may stand for some more.
	maxNodes, moreNodes = 1 << 15, 8
	// maxGrown is the most bytes of constants that are computed, beside twice those that the file and the checkpoint have.
	maxGrown = 16 << 20
	// maxConstant is the most bytes of a constant that is computed, where it is larger than what it is computed from.
	maxConstant = 1 << 20
)

var errNodes = fmt.Errorf("%w: functions and operators make more nodes of it than its size can justify", ErrInvalid)

// converter makes one ONNX graph.
type converter struct {
	ctx  context.Context
	ev   graph.Evaluator
	step *infer.Stepper

	main      *scope
	functions map[string]*graphdef.Function
	bodies    map[string]map[string]*graphdef.Node
	opOutputs map[string][]string
	fed       map[string]*value // inputs by "node:output"
	fedNames  []string          // its keys in order
	variables *variables
	load      *loader
	decoded   map[*graphdef.Node]*value // constants that were read
	advice    string

	names     map[string]int
	nodes     []*graph.Node
	late      map[*graph.Node]bool   // whose outputs are constants that settle computes
	constants map[string]*value      // that nodes use, by name
	made      map[string]*graph.Node // the nodes by what they give
	trained   map[string]bool        // constants that are variables which training changed, or computed of such
	shared    map[string]*value      // small constants by type, shape and bytes
	left      int                    // nodes that may still be visited
	grown     int                    // bytes of constants that may still be added
}

// demand converts the nodes that edges come from, and all before them. It goes by a stack of its own, since graphs may be very deep.
func (c *converter) demand(edges []edge) error {
	for _, e := range edges {
		if e.from == nil || e.from.stage == done {
			continue
		}
		// Nodes that were entered and are not done are those that lead from the first one to the last: to need one of them is a loop.
		stack := []*state{e.from}
		for len(stack) > 0 {
			st := stack[len(stack)-1]
			if st.stage == done {
				stack = stack[:len(stack)-1]
				continue
			}
			next, err := c.advance(st)
			if err != nil {
				return err
			}
			for _, n := range next {
				switch {
				case n.from == nil || n.from.stage == done:
				case n.from.stage == fresh:
					stack = append(stack, n.from)
				default:
					st.fail(&fault{reason: "it takes its own result, which is no loop of TensorFlow's", damaged: true})
				}
			}
		}
	}
	return nil
}

func (st *state) fail(f *fault) {
	if st.fault == nil {
		st.fault = f
	}
	st.stage = done
	st.out = nil
}

// advance takes a node one stage further, and returns what it needs first.
func (c *converter) advance(st *state) ([]edge, error) {
	switch st.stage {
	case fresh:
		if err := c.ctx.Err(); err != nil {
			return nil, err
		}
		if c.left--; c.left < 0 {
			return nil, errNodes
		}
		st.stage = inputs
		for _, text := range st.node.Inputs {
			if !strings.HasPrefix(text, "^") {
				st.in = append(st.in, c.resolve(st.sc, text))
			}
		}
		if st.node.Op == "Merge" || st.node.Op == "RefMerge" {
			for _, e := range st.in {
				if e.from != nil && strings.HasSuffix(e.from.node.Op, "NextIteration") {
					st.fail(&fault{op: "While", reason: "it is no loop as TensorFlow writes them (Enter, Merge, Switch, Exit, NextIteration)"})
					return nil, nil
				}
			}
		}
		return st.in, nil
	case inputs:
		if st.fault != nil {
			st.fail(st.fault)
			return nil, nil
		}
		body, err := c.enter(st)
		if err != nil {
			return nil, err
		}
		if st.stage == done {
			return nil, nil
		}
		if body {
			st.stage = calling
			return st.returns, nil
		}
		if err := c.convert(st); err != nil {
			return nil, err
		}
		st.stage = done
	case calling:
		st.out = make([]*value, len(st.returns))
		for i, e := range st.returns {
			st.out[i] = e.value()
			if e.err != nil {
				st.fail(e.err)
				return nil, nil
			}
		}
		st.stage = done
	}
	return nil, nil
}

// convert makes the ONNX nodes of one node whose inputs are there.
func (c *converter) convert(st *state) (err error) {
	k := &call{converter: c, st: st, op: st.node.Op}
	bad := false
	for _, e := range st.in {
		v := e.value()
		k.in = append(k.in, v)
		bad = bad || v.bad
		if v.dead && !strings.HasSuffix(st.node.Op, "Merge") {
			st.out = []*value{{dead: true, by: st}, {dead: true, by: st}}
			return nil
		}
		if e.err != nil {
			st.fail(e.err)
			return nil
		}
	}
	fn := operators[st.node.Op]
	if fn == nil {
		fn = controlOp(st.node.Op)
	}
	if fn == nil {
		st.fail(c.unknown(st))
		return nil
	}
	if bad && !lenient[st.node.Op] {
		if fn = drawnOps[st.node.Op]; fn == nil {
			return nil // the fault is further up, and its outputs are bad too
		}
	}
	before := len(c.nodes)
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		stop, ok := p.(stopped)
		if !ok {
			panic(p)
		}
		c.nodes = c.nodes[:before]
		if stop.err != nil {
			err = stop.err
			return
		}
		st.fail(stop.fault)
	}()
	out := fn(k)
	for _, v := range out {
		if v != nil && v.by == nil {
			v.by = st
		}
	}
	st.out = out
	return nil
}

// stopped is what converting one node panics with, and what convert recovers: a reason to refuse the node, or an error that ends all.
type stopped struct {
	fault *fault
	err   error
}

// lenient are the operators that may do without some of their inputs.
var lenient = map[string]bool{
	"Shape": true, "ShapeN": true, "Size": true, "Rank": true, "ZerosLike": true, "OnesLike": true, "Merge": true, "RefMerge": true,
	"While": true, "StatelessWhile": true, "If": true, "StatelessIf": true, "Case": true, "StatelessCase": true,
	"Switch": true, "RefSwitch": true, "SelectV2": true, "Select": true, "IdentityN": true, "Identity": true,
}

// A call is the conversion of one node: the operator functions' view of the converter. They refuse by refuse, which does not return.
type call struct {
	*converter
	st *state
	op string
	in []*value
}

// refuse ends the conversion of the node for a reason that the user gets to read.
func (c *call) refuse(format string, args ...any) {
	panic(stopped{fault: &fault{reason: fmt.Sprintf(format, args...)}})
}

// damaged ends it because the graph contradicts itself.
func (c *call) damaged(format string, args ...any) {
	panic(stopped{fault: &fault{reason: fmt.Sprintf(format, args...), damaged: true}})
}

// arg returns input i, which must be a tensor.
func (c *call) arg(i int) *value {
	if i >= len(c.in) {
		c.damaged("it has %d inputs and needs %d", len(c.in), i+1)
	}
	v := c.in[i]
	if v.bad {
		panic(stopped{}) // the fault is further up
	}
	if v.handle != "" {
		c.refuse("input %d is a %s, not a tensor", i, v.handle)
	}
	if v.dtype == tensor.String || v.dtype == tensor.Complex64 || v.dtype == tensor.Complex128 {
		c.refuse("it computes with %s", typeName(v.dtype))
	}
	return v
}

func typeName(d tensor.DType) string {
	if d == tensor.String {
		return "strings"
	}
	return d.String()
}

// args returns all inputs from i on.
func (c *call) args(i int) []*value {
	var all []*value
	for ; i < len(c.in); i++ {
		all = append(all, c.arg(i))
	}
	return all
}

func got[T any](c *call, v T, err error) T {
	if err != nil {
		c.damaged("%v", err)
	}
	return v
}

func (c *call) int(name string, def int64) int64 {
	v, err := c.st.attrs.Int(name, def)
	return got(c, v, err)
}

func (c *call) bool(name string, def bool) bool {
	v, err := c.st.attrs.Bool(name, def)
	return got(c, v, err)
}

func (c *call) float(name string, def float32) float32 {
	v, err := c.st.attrs.Float(name, def)
	return got(c, v, err)
}

func (c *call) string(name, def string) string {
	v, err := c.st.attrs.String(name, def)
	return got(c, v, err)
}

func (c *call) ints(name string, def ...int64) []int64 {
	v, err := c.st.attrs.Ints(name, def)
	return got(c, v, err)
}

// dtype returns the type that an attribute names.
func (c *call) dtype(name string, def graphdef.DataType) tensor.DType {
	d, err := c.st.attrs.Type(name, def)
	got(c, d, err)
	t := d.DType()
	if t == tensor.Invalid {
		c.refuse("attribute %s is %v, which ONNX has not", name, d)
	}
	return t
}
