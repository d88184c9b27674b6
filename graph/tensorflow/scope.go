package tensorflow

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// A scope is the graph itself, or one call of a function: its nodes, and what they have become so far.
type scope struct {
	outer  *scope
	call   *state // in outer
	fn     *graphdef.Function
	prefix string // of names
	depth  int
	nodes  map[string]*graphdef.Node
	states map[string]*state
	args   map[string][]*value // of a function
	attrs  graphdef.Attrs      // that the function is called with
	// writes memoizes which variables a node, or what runs before it, assigns to.
	writes map[string]map[string]string
}

// A state is a node of a scope on its way to become ONNX.
type state struct {
	sc    *scope
	node  *graphdef.Node
	attrs graphdef.Attrs // with those of the call put in
	stage int            // see converter.step
	in    []edge
	out   []*value
	// body and returns are what a call of a function, or the branch that is taken, runs.
	body    *scope
	returns []edge
	// within are the edges in the functions of a loop or a branch whose values could not be converted.
	within []edge
	fault  *fault
}

// Stages of a state.
const (
	fresh   = iota // nothing was done
	inputs         // its inputs are being converted
	calling        // the function that it calls is being converted
	done
)

// An edge is one tensor that a node takes: an output of a node, or an argument of the function around it.
type edge struct {
	from *state
	out  int
	arg  *value // where it is an argument
	name string // as the node writes it
	err  *fault // where it does not exist
}

// value returns what the edge carries, once the node before it is done.
func (e edge) value() *value {
	switch {
	case e.arg != nil:
		return e.arg
	case e.err != nil:
		return &value{bad: true}
	case e.out < len(e.from.out) && e.from.out[e.out] != nil:
		return e.from.out[e.out]
	}
	return &value{bad: true, by: e.from}
}

func index(nodes []*graphdef.Node) map[string]*graphdef.Node {
	m := make(map[string]*graphdef.Node, len(nodes))
	for _, n := range nodes {
		m[n.Name] = n
	}
	return m
}

// state returns the state of a node, or nil where there is no node of that name.
func (sc *scope) state(name string) *state {
	if st := sc.states[name]; st != nil {
		return st
	}
	n := sc.nodes[name]
	if n == nil {
		return nil
	}
	st := &state{sc: sc, node: n, attrs: n.Attrs}
	if sc.fn != nil {
		attrs, err := n.Attrs.With(sc.attrs)
		if err != nil {
			st.fault = &fault{reason: err.Error(), damaged: true}
		}
		st.attrs = attrs
	}
	sc.states[name] = st
	return st
}

// resolve finds the tensor that an input's text names.
func (c *converter) resolve(sc *scope, text string) edge {
	if sc.fn != nil {
		return c.resolveInFunction(sc, text)
	}
	name, out := splitTensor(text)
	if v := c.fed[name+":"+strconv.Itoa(out)]; v != nil {
		return edge{arg: v, name: text}
	}
	st := sc.state(name)
	if st == nil {
		return edge{name: text, err: &fault{reason: fmt.Sprintf("there is no node %q", name), damaged: true}}
	}
	return edge{from: st, out: out, name: text}
}

// splitTensor splits "node:1" and "node", which is its output 0.
func splitTensor(text string) (name string, out int) {
	if i := strings.LastIndexByte(text, ':'); i >= 0 {
		if n, err := strconv.ParseUint(text[i+1:], 10, 31); err == nil {
			return text[:i], int(n)
		}
	}
	return text, 0
}

// resolveInFunction finds "argument", "argument:index" or "node:output:index".
func (c *converter) resolveInFunction(sc *scope, text string) edge {
	name, rest, _ := strings.Cut(text, ":")
	if arg, ok := sc.args[name]; ok {
		i := 0
		if rest != "" {
			n, err := strconv.Atoi(rest)
			if err != nil || n < 0 {
				return edge{name: text, err: &fault{reason: fmt.Sprintf("input %q is damaged", text), damaged: true}}
			}
			i = n
		}
		if i >= len(arg) {
			return edge{name: text, err: &fault{reason: fmt.Sprintf("argument %q of function %q is not given", name, sc.fn.Name), damaged: true}}
		}
		return edge{arg: arg[i], name: text}
	}
	st := sc.state(name)
	if st == nil {
		return edge{name: text, err: &fault{reason: fmt.Sprintf("there is no node %q in function %q", name, sc.fn.Name), damaged: true}}
	}
	output, number, _ := strings.Cut(rest, ":")
	i := 0
	if number != "" {
		n, err := strconv.ParseUint(number, 10, 31)
		if err != nil {
			return edge{name: text, err: &fault{reason: fmt.Sprintf("input %q is damaged", text), damaged: true}}
		}
		i = int(n)
	}
	return edge{from: st, out: c.outputOffset(st, output) + i, name: text}
}

// outputOffset returns the place of the first tensor of an output that is named.
func (c *converter) outputOffset(st *state, output string) int {
	if f := c.functions[st.node.Op]; f != nil {
		for i, a := range f.Outputs {
			if a.Name == output {
				return i
			}
		}
		return 0
	}
	names := outputNames[st.node.Op]
	if names == nil {
		names = c.opOutputs[st.node.Op]
	}
	for i, name := range names {
		if name == output {
			return i
		}
	}
	return 0
}

// outputNames are the outputs of operators with several. One that is a list is the last one of its operator.
var outputNames = map[string][]string{
	"FusedBatchNorm":   {"y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"},
	"FusedBatchNormV2": {"y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2"},
	"FusedBatchNormV3": {"y", "batch_mean", "batch_variance", "reserve_space_1", "reserve_space_2", "reserve_space_3"},
	"TopK":             {"values", "indices"}, "TopKV2": {"values", "indices"},
	"Unique": {"y", "idx"}, "UniqueV2": {"y", "idx"}, "UniqueWithCounts": {"y", "idx", "count"}, "UniqueWithCountsV2": {"y", "idx", "count"},
	"Switch": {"output_false", "output_true"}, "RefSwitch": {"output_false", "output_true"},
	"Merge": {"output", "value_index"}, "RefMerge": {"output", "value_index"},
	"MaxPoolWithArgmax":             {"output", "argmax"},
	"SoftmaxCrossEntropyWithLogits": {"loss", "backprop"}, "SparseSoftmaxCrossEntropyWithLogits": {"loss", "backprop"},
	"NonMaxSuppressionV4":       {"selected_indices", "valid_outputs"},
	"NonMaxSuppressionV5":       {"selected_indices", "selected_scores", "valid_outputs"},
	"CombinedNonMaxSuppression": {"nmsed_boxes", "nmsed_scores", "nmsed_classes", "valid_detections"},
	"ListDiff":                  {"out", "idx"}, "BroadcastGradientArgs": {"r0", "r1"},
	"TensorListPopBack": {"output_handle", "tensor"}, "TensorListConcat": {"tensor", "lengths"}, "TensorListConcatV2": {"tensor", "lengths"},
	"TensorArrayV2": {"handle"}, "TensorArrayV3": {"handle", "flow"}, "TensorArrayConcatV3": {"value", "lengths"},
	"Qr": {"q", "r"}, "Svd": {"s", "u", "v"}, "SelfAdjointEigV2": {"e", "v"}, "Lu": {"lu", "p"},
	"QuantizeV2": {"output", "output_min", "output_max"}, "LookupTableExportV2": {"keys", "values"},
	"LSTMBlockCell": {"i", "cs", "f", "o", "ci", "co", "h"}, "BlockLSTM": {"i", "cs", "f", "o", "ci", "co", "h"},
	"BlockLSTMV2": {"i", "cs", "f", "o", "ci", "co", "h"}, "GRUBlockCell": {"r", "u", "c", "h"},
	"StringSplit": {"indices", "values", "shape"}, "StringSplitV2": {"indices", "values", "shape"},
	"RestoreV2": {"tensors"}, "CTCGreedyDecoder": {"decoded_indices", "decoded_values", "decoded_shape", "log_probability"},
}
