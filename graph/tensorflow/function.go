package tensorflow

import (
	"fmt"
	"slices"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// enter begins the function that a node calls: it sets the node's body and what it returns. It returns false for nodes that call
// nothing. A branch is entered where its condition is constant; the others stay operators.
func (c *converter) enter(st *state) (bool, error) {
	name, attrs, args := st.node.Op, st.attrs, st.in
	switch st.node.Op {
	case "PartitionedCall", "StatefulPartitionedCall":
		f, err := st.attrs.Func("f")
		if err != nil {
			return st.damage(err), nil
		}
		name, attrs = f.Name, f.Attrs
	case "If", "StatelessIf", "Case", "StatelessCase":
		f, known := c.branch(st)
		if st.stage == done || !known {
			return false, nil
		}
		name, attrs, args = f.Name, f.Attrs, st.in[1:]
	default:
		if c.functions[name] == nil {
			return false, nil
		}
	}
	for _, e := range args {
		if e.value().dead {
			return false, nil // convert passes that on
		}
	}
	body, returns, err := c.open(st, name, attrs, args)
	if err != nil || st.stage == done {
		return false, err
	}
	st.body, st.returns = body, returns
	return true, nil
}

// open makes the scope of a function's call, and says what the function returns. Where it cannot, it fails the node.
func (c *converter) open(st *state, name string, attrs graphdef.Attrs, args []edge) (*scope, []edge, error) {
	f := c.functions[name]
	if f == nil {
		st.fail(&fault{reason: fmt.Sprintf("there is no function %q", name), damaged: true})
		return nil, nil, nil
	}
	for sc := st.sc; sc != nil; sc = sc.outer {
		if sc.fn == f {
			st.fail(&fault{op: "function " + name, reason: "it calls itself"})
			return nil, nil, nil
		}
	}
	if st.sc.depth >= maxCalls {
		return nil, nil, fmt.Errorf("%w: functions call each other more than %d deep", ErrInvalid, maxCalls)
	}
	sc, err := c.call(st, f, attrs, args)
	if err != nil {
		st.damage(err)
		return nil, nil, nil
	}
	var returns []edge
	for _, out := range f.Outputs {
		text, ok := f.Return[out.Name]
		if !ok {
			st.fail(&fault{reason: fmt.Sprintf("function %q does not say what its output %q is", f.Name, out.Name), damaged: true})
			return nil, nil, nil
		}
		n, err := argLength(out, attrs)
		if err != nil {
			st.damage(err)
			return nil, nil, nil
		}
		if n < 0 {
			returns = append(returns, c.resolve(sc, text))
			continue
		}
		for i := range n {
			returns = append(returns, c.resolve(sc, fmt.Sprintf("%s:%d", text, i)))
		}
	}
	return sc, returns, nil
}

// damage fails a node for an error in its attributes; it returns false.
func (st *state) damage(err error) bool {
	st.fail(&fault{reason: err.Error(), damaged: true})
	return false
}

// call makes the scope of a function's call.
func (c *converter) call(st *state, f *graphdef.Function, attrs graphdef.Attrs, args []edge) (*scope, error) {
	nodes := c.bodies[f.Name]
	if nodes == nil {
		nodes = index(f.Nodes)
		c.bodies[f.Name] = nodes
	}
	sc := &scope{
		outer: st.sc, call: st, fn: f, prefix: prefixOf(st.sc, st), depth: st.sc.depth + 1,
		nodes: nodes, states: map[string]*state{}, args: map[string][]*value{}, attrs: attrs, writes: map[string]map[string]string{},
	}
	for _, in := range f.Inputs {
		n, err := argLength(in, attrs)
		if err != nil {
			return nil, err
		}
		n = max(n, -n) // -1 is one tensor
		c.left -= n
		if n > len(args) {
			return nil, fmt.Errorf("function %q takes more than the %d arguments that it is given", f.Name, len(st.in))
		}
		values := make([]*value, n)
		for i, e := range args[:n] {
			v := *e.value()
			if e.from != nil {
				v.by, v.byOut = e.from, e.out
			}
			values[i] = &v
		}
		sc.args[in.Name] = values
		args = args[n:]
	}
	return sc, nil
}

// argLength returns how many tensors an argument is, or -1 where it is one that is no list.
func argLength(a graphdef.Arg, attrs graphdef.Attrs) (int, error) {
	const most = 1 << 16
	switch {
	case a.NumberAttr != "":
		n, err := attrs.Int(a.NumberAttr, 0)
		if err == nil && (n < 0 || n > most) {
			err = fmt.Errorf("argument %q is %d tensors", a.Name, n)
		}
		return int(n), err
	case a.TypeListAttr != "":
		types, err := attrs.Types(a.TypeListAttr)
		return len(types), err
	}
	return -1, nil
}

// branch returns the function that a conditional calls, where its condition is constant.
func (c *converter) branch(st *state) (graphdef.Call, bool) {
	if len(st.in) == 0 {
		st.fail(&fault{reason: "it has no condition", damaged: true})
		return graphdef.Call{}, false
	}
	cond := st.in[0].value()
	if cond.con == nil || cond.con.Size() != 1 {
		return graphdef.Call{}, false
	}
	if st.node.Op == "Case" || st.node.Op == "StatelessCase" {
		branches, err := st.attrs.Funcs("branches")
		n, ok := intsOf(cond.con)
		if err != nil || !ok || len(branches) == 0 {
			st.fail(&fault{reason: "its branches or its index are damaged", damaged: true})
			return graphdef.Call{}, false
		}
		i := n[0]
		if i < 0 || i >= int64(len(branches)) {
			i = int64(len(branches) - 1)
		}
		return branches[i], true
	}
	name := "else_branch"
	if isTrue(cond.con) {
		name = "then_branch"
	}
	f, err := st.attrs.Func(name)
	if err != nil {
		st.fail(&fault{reason: err.Error(), damaged: true})
		return graphdef.Call{}, false
	}
	return f, true
}

// isTrue says what a scalar is as a condition: other than false and zero.
func isTrue(t *tensor.Tensor) bool {
	switch d := t.Raw().(type) {
	case []bool:
		return d[0]
	case []float32:
		return d[0] != 0
	case []float64:
		return d[0] != 0
	}
	n, ok := intsOf(t)
	return ok && len(n) > 0 && n[0] != 0
}

// unknown says why an operator that is not in the table is refused.
func (c *converter) unknown(st *state) *fault {
	op := st.node.Op
	for reason, ops := range refusals {
		if slices.Contains(ops, op) {
			return &fault{reason: reason}
		}
	}
	if isAssign(op) {
		return &fault{reason: "the output depends on a variable that the model assigns to when it runs"}
	}
	return &fault{reason: "it is not converted"}
}

// refusals are operators that are known and why they are not converted.
var refusals = map[string][]string{
	"strings are not converted": {
		"StringSplit", "StringSplitV2", "StringJoin", "StringLower", "StringUpper", "StringStrip", "StringLength", "Substr", "RegexReplace",
		"RegexFullMatch", "StaticRegexReplace", "StaticRegexFullMatch", "AsString", "StringToNumber", "StringFormat", "ReduceJoin",
		"StringToHashBucket", "StringToHashBucketFast", "StringToHashBucketStrong", "UnicodeDecode", "UnicodeEncode", "UnicodeTranscode",
		"StringNGrams", "UnsortedSegmentJoin", "DecodeBase64", "EncodeBase64",
	},
	"lookup tables are not converted": {
		"HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "LookupTableFind", "LookupTableFindV2", "LookupTableSize",
		"LookupTableSizeV2", "LookupTableExport", "LookupTableExportV2", "AnonymousHashTable", "MutableDenseHashTableV2",
		"InitializeTable", "InitializeTableV2", "InitializeTableFromTextFileV2", "LookupTableImportV2", "LookupTableInsertV2",
	},
	"it decodes serialized examples; feed what comes out of it": {
		"ParseExample", "ParseExampleV2", "ParseSingleExample", "ParseSequenceExample", "ParseSequenceExampleV2", "ParseTensor", "DecodeProtoV2",
		"DecodeRaw", "DecodePaddedRaw", "DecodeCSV", "DecodeJSONExample",
	},
	"it decodes pictures or files; feed what comes out of it": {
		"DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeGif", "DecodeImage", "DecodeAndCropJpeg", "DecodeWebP", "ReadFile", "ExtractJpegShape",
	},
	"it runs a Python function, which the file does not have": {"PyFunc", "PyFuncStateless", "EagerPyFunc"},
	"it is part of no loop as TensorFlow writes them":         {"Enter", "Exit", "NextIteration", "LoopCond", "RefEnter", "RefExit", "RefNextIteration", "For"},
	"gradients of lists are not converted":                    {"TensorArrayGradV3", "TensorArrayGrad", "TensorArrayGradWithShape"},
	"it runs on another machine":                              {"RemoteCall", "Send", "Recv", "_Send", "_Recv", "TPUPartitionedCall"},
}
