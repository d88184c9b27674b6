package tensorflow

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow/graphdef"
	"github.com/millrace/millrace/tensor"
)

// selection is what is to be converted: a graph, what it takes and what it gives.
type selection struct {
	name, producer string
	graph          *graphdef.Graph
	meta           *graphdef.MetaGraph
	inputs         []input
	outputs        []output
	notes          []string
	advice         string // what to do about what cannot be converted
	noCheckpoint   string // what to do about variables where there is no checkpoint
}

// input is a tensor that is fed.
type input struct {
	name   string // of the ONNX input
	tensor string // "node:output"
	dtype  tensor.DType
	shape  graph.Shape
	unused bool // and of a type that engines do not have
	// def is what it is where nothing is fed; nil where it must be fed.
	def *graphdef.Tensor
}

type output struct{ name, tensor string }

// choose finds what the options mean, or the one thing that they can mean.
func (s *Source) choose(opts Options) (*selection, error) {
	sel := &selection{name: "tensorflow", noCheckpoint: "give the checkpoint by --checkpoint"}
	meta, err := s.meta(opts.Tags)
	if err != nil {
		return nil, err
	}
	if sel.graph = s.graph; meta != nil {
		sel.graph, sel.meta = meta.Graph, meta
	}
	sel.producer = "tensorflow"
	if meta != nil && meta.TensorFlow != "" {
		sel.producer = "tensorflow " + meta.TensorFlow
	}
	sel.advice = "cut the graph before them with --inputs, or after them with --outputs"
	var sig *graphdef.Signature
	if meta != nil {
		if sig, err = sel.signature(opts); err != nil {
			return nil, err
		}
	} else if opts.Signature != "" {
		return nil, fmt.Errorf("%w: a GraphDef has no signatures; name tensors with --inputs and --outputs", ErrChoice)
	}
	nodes := index(sel.graph.Nodes)
	if err := sel.chooseOutputs(opts.Outputs, sig, nodes); err != nil {
		return nil, err
	}
	return sel, sel.chooseInputs(opts.Inputs, sig, nodes)
}

// meta returns the meta graph with those tags; nil of a GraphDef.
func (s *Source) meta(tags []string) (*graphdef.MetaGraph, error) {
	if s.metas == nil {
		if len(tags) > 0 {
			return nil, fmt.Errorf("%w: a GraphDef has no tags", ErrChoice)
		}
		return nil, nil
	}
	if len(tags) == 0 {
		if len(s.metas) == 1 {
			return s.metas[0], nil
		}
		tags = []string{"serve"}
	}
	var lists []string
	for _, m := range s.metas {
		if sameSet(m.Tags, tags) {
			return m, nil
		}
		lists = append(lists, strings.Join(m.Tags, ","))
	}
	return nil, fmt.Errorf("%w: there is no meta graph with the tags %q; give --tags one of %q", ErrChoice, strings.Join(tags, ","), lists)
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(slices.Compact(a), slices.Compact(b))
}

// signatures lists those that say what a model takes and gives.
func signatures(m *graphdef.MetaGraph) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(m.Signatures)) {
		if len(m.Signatures[name].Outputs) > 0 && !strings.HasPrefix(name, "__saved_model") {
			names = append(names, name)
		}
	}
	return names
}

// signature returns the signature that is wanted; nil where tensors of the graph are.
func (sel *selection) signature(opts Options) (*graphdef.Signature, error) {
	all := signatures(sel.meta)
	name := opts.Signature
	switch {
	case name != "":
	case slices.Contains(all, "serving_default"):
		name = "serving_default"
	case len(all) == 1:
		name = all[0]
	case len(opts.Outputs) > 0 || len(all) == 0:
		return nil, nil
	default:
		return nil, fmt.Errorf("%w: which signature? Give --signature one of %q", ErrChoice, all)
	}
	sig, ok := sel.meta.Signatures[name]
	if !ok || len(sig.Outputs) == 0 {
		return nil, fmt.Errorf("%w: there is no signature %q with outputs; there is %q", ErrChoice, name, all)
	}
	others := slices.DeleteFunc(all, func(s string) bool { return s == name })
	if len(others) > 0 {
		sel.advice += fmt.Sprintf("; or take another signature: %s", strings.Join(others, ", "))
	}
	// Tensors of the graph win over the signature, where they are no keys of it.
	if opts.Signature == "" && slices.ContainsFunc(opts.Outputs, func(o string) bool { _, key := sig.Outputs[o]; return !key }) {
		return nil, nil
	}
	return &sig, nil
}

func (sel *selection) chooseOutputs(wanted []string, sig *graphdef.Signature, nodes map[string]*graphdef.Node) error {
	if sig != nil {
		if len(wanted) == 0 {
			wanted = slices.Sorted(maps.Keys(sig.Outputs))
		}
		for _, key := range wanted {
			info, ok := sig.Outputs[key]
			if !ok {
				return fmt.Errorf("%w: the signature has no output %q; it has %q", ErrChoice, key, slices.Sorted(maps.Keys(sig.Outputs)))
			}
			if info.Name == "" {
				return fmt.Errorf("%w: output %q is %s", ErrRefused, key, cmp.Or(info.Kind, "no tensor"))
			}
			sel.outputs = append(sel.outputs, output{key, full(info.Name)})
		}
		return nil
	}
	if len(wanted) == 0 {
		var err error
		if wanted, err = finalOutputs(sel.graph, nodes); err != nil {
			return err
		}
	}
	for _, name := range wanted {
		node, _ := splitTensor(name)
		if nodes[node] == nil {
			return fmt.Errorf("%w: the graph has no node %q%s", ErrChoice, node, near(node, nodes))
		}
		sel.outputs = append(sel.outputs, output{name, full(name)})
	}
	seen := map[string]bool{}
	for _, o := range sel.outputs {
		if seen[o.name] {
			return fmt.Errorf("%w: output %q is asked for twice", ErrChoice, o.name)
		}
		seen[o.name] = true
	}
	return nil
}

// full writes a tensor's name with its output.
func full(name string) string {
	node, out := splitTensor(name)
	return node + ":" + strconv.Itoa(out)
}

// near suggests nodes whose last part is the same.
func near(name string, nodes map[string]*graphdef.Node) string {
	last := name[strings.LastIndexByte(name, '/')+1:]
	var like []string
	for _, other := range slices.Sorted(maps.Keys(nodes)) {
		if strings.EqualFold(other[strings.LastIndexByte(other, '/')+1:], last) {
			like = append(like, other)
		}
	}
	if len(like) == 0 {
		return ""
	}
	return "; there is " + some(like)
}

func (sel *selection) chooseInputs(wanted []string, sig *graphdef.Signature, nodes map[string]*graphdef.Node) error {
	reached := sel.reach(nodes)
	var defaults map[string]*graphdef.Tensor // of those that nobody asked for by name
	if len(wanted) == 0 {
		if sig == nil {
			for _, n := range sel.graph.Nodes {
				if (n.Op == "Placeholder" || n.Op == "PlaceholderV2") && reached[n.Name] {
					wanted = append(wanted, n.Name+":0")
				}
			}
		} else {
			wanted, defaults = slices.Sorted(maps.Keys(sig.Inputs)), sig.Defaults
		}
	}
	for _, text := range wanted {
		name, shape, err := splitShape(text)
		if err != nil {
			return err
		}
		in := input{name: name, tensor: full(name)}
		if sig != nil {
			info, ok := sig.Inputs[name]
			if ok {
				if info.Name == "" {
					return fmt.Errorf("%w: input %q is %s", ErrRefused, name, cmp.Or(info.Kind, "no tensor"))
				}
				in.tensor, in.dtype, in.shape = full(info.Name), info.Type.DType(), info.Shape
			}
		}
		node, out := splitTensor(in.tensor)
		n := nodes[node]
		if n == nil {
			return fmt.Errorf("%w: the graph has no node %q to be an input%s", ErrChoice, node, near(node, nodes))
		}
		if err := in.describe(n, out); err != nil {
			return err
		}
		if shape != nil {
			in.shape = shape
		}
		if in.dtype == tensor.String && !reached[node] {
			in.unused = true
			sel.notes = append(sel.notes, fmt.Sprintf("input %q is left out: the outputs do not depend on it", name))
		}
		if t := defaults[name]; t != nil && !in.unused {
			if t.Type.DType() != in.dtype {
				return fmt.Errorf("%w: input %q is %v, and its default %v", ErrInvalid, name, in.dtype, t.Type)
			}
			in.def = t
			sel.notes = append(sel.notes, fmt.Sprintf("input %q may be left out: the signature has a default for it", name))
		}
		if slices.ContainsFunc(sel.inputs, func(i input) bool { return i.tensor == in.tensor || i.name == in.name }) {
			return fmt.Errorf("%w: input %q is named twice", ErrChoice, name)
		}
		sel.inputs = append(sel.inputs, in)
	}
	for i, o := range sel.outputs { // an ONNX value cannot be input and output under one name
		if slices.ContainsFunc(sel.inputs, func(in input) bool { return in.name == o.name && !in.unused }) {
			sel.outputs[i].name += "_out"
			sel.notes = append(sel.notes, fmt.Sprintf("output %q is called %q, since an input has its name", o.name, o.name+"_out"))
		}
	}
	return nil
}

// splitShape splits "images[-1,28,28,1]".
func splitShape(text string) (string, graph.Shape, error) {
	i := strings.IndexByte(text, '[')
	if i < 0 || !strings.HasSuffix(text, "]") {
		return text, nil, nil
	}
	shape := graph.Shape{}
	for d := range strings.FieldsFuncSeq(text[i+1:len(text)-1], func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.ParseInt(strings.Trim(d, "?"), 10, 32)
		if strings.Trim(d, "?") == "" {
			n, err = -1, nil
		}
		if err != nil || n < -1 {
			return "", nil, fmt.Errorf("%w: %q is no shape", ErrChoice, text[i:])
		}
		shape = append(shape, graph.Dim{Size: n})
	}
	return text[:i], shape, nil
}

// describe finds the type and shape of a tensor that is fed, as far as its node says them.
func (in *input) describe(n *graphdef.Node, out int) error {
	shape, has, err := n.Attrs.Shape("shape")
	if err != nil {
		return fmt.Errorf("%w: input %q: %w", ErrInvalid, in.name, err)
	}
	if n.Op == "Placeholder" && has && len(shape) == 0 && shape != nil {
		// Before TensorFlow 1.0 a placeholder whose shape is not known had an empty one.
		if list, err := n.Attrs.Shapes("_output_shapes"); err == nil && len(list) > out {
			shape = list[out]
		}
	}
	if !has || !strings.HasPrefix(n.Op, "Placeholder") {
		shape = nil
		if list, err := n.Attrs.Shapes("_output_shapes"); err == nil && len(list) > out {
			shape = list[out]
		}
	}
	if in.shape == nil {
		in.shape = shape
	}
	if in.dtype != tensor.Invalid {
		return nil
	}
	if comparisons[n.Op] {
		in.dtype = tensor.Bool
		return nil
	}
	for _, attr := range []string{"dtype", "DstT", "out_type", "output_type", "T", "Tparams", "SrcT"} {
		if d, err := n.Attrs.Type(attr, 0); err == nil && d != 0 {
			if in.dtype = d.DType(); in.dtype != tensor.Invalid {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: input %q (%s) has no type that is known", ErrChoice, in.name, n.Op)
}

var comparisons = map[string]bool{
	"Equal": true, "NotEqual": true, "Less": true, "LessEqual": true, "Greater": true, "GreaterEqual": true, "LogicalAnd": true,
	"LogicalOr": true, "LogicalNot": true, "IsNan": true, "IsInf": true, "IsFinite": true, "All": true, "Any": true, "ApproximateEqual": true,
}

// reach returns the nodes before the outputs.
func (sel *selection) reach(nodes map[string]*graphdef.Node) map[string]bool {
	seen := map[string]bool{}
	var stack []string
	push := func(text string) {
		name, _ := splitTensor(text)
		if !seen[name] && nodes[name] != nil {
			seen[name] = true
			stack = append(stack, name)
		}
	}
	for _, o := range sel.outputs {
		push(o.tensor)
	}
	for len(stack) > 0 {
		n := nodes[stack[len(stack)-1]]
		stack = stack[:len(stack)-1]
		for _, in := range n.Inputs {
			if !strings.HasPrefix(in, "^") {
				push(in)
			}
		}
	}
	return seen
}

// finalOutputs returns the tensors that nothing takes, and that depend on a placeholder. A graph that trains has no such answer.
func finalOutputs(g *graphdef.Graph, nodes map[string]*graphdef.Node) ([]string, error) {
	used := map[string]bool{}
	trains := false
	for _, n := range g.Nodes {
		trains = trains || strings.HasPrefix(n.Op, "Save") || isAssign(n.Op)
		for _, in := range n.Inputs {
			name, _ := splitTensor(in)
			used[strings.TrimPrefix(name, "^")] = true
		}
	}
	fed := dependOnPlaceholders(g, nodes)
	var finals []string
	for _, n := range g.Nodes {
		if fed[n.Name] && !used[n.Name] && !noOutput(n.Op) {
			finals = append(finals, n.Name+":0")
		}
	}
	if len(finals) > 0 && !trains {
		return finals, nil
	}
	if trains {
		finals = inferenceOutputs(g, fed)
	}
	if len(finals) == 0 {
		return nil, fmt.Errorf("%w: the graph has no placeholder with an output behind it; name tensors with --inputs and --outputs", ErrChoice)
	}
	return nil, fmt.Errorf("%w: the graph trains or saves its variables, and has no final output; give --outputs, such as one of %s", ErrChoice, some(finals))
}

// noOutput lists operators that work by what they do, or whose result is for people.
func noOutput(op string) bool {
	return op == "NoOp" || op == "Assert" || op == "Placeholder" || op == "Const" || strings.Contains(op, "Summary") || strings.HasPrefix(op, "Save") ||
		strings.HasPrefix(op, "Print") || isAssign(op)
}

func dependOnPlaceholders(g *graphdef.Graph, nodes map[string]*graphdef.Node) map[string]bool {
	users := map[string][]string{}
	fed := map[string]bool{}
	var stack []string
	for _, n := range g.Nodes {
		if strings.HasPrefix(n.Op, "Placeholder") {
			fed[n.Name] = true
			stack = append(stack, n.Name)
		}
		for _, in := range n.Inputs {
			if !strings.HasPrefix(in, "^") {
				name, _ := splitTensor(in)
				users[name] = append(users[name], n.Name)
			}
		}
	}
	for len(stack) > 0 {
		name := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, user := range users[name] {
			if !fed[user] && nodes[user] != nil {
				fed[user] = true
				stack = append(stack, user)
			}
		}
	}
	return fed
}

// inferenceOutputs guesses what a person may want of a graph that trains: what layers and activations give.
func inferenceOutputs(g *graphdef.Graph, fed map[string]bool) []string {
	var names []string
	for _, n := range slices.Backward(g.Nodes) {
		if !fed[n.Name] || strings.HasPrefix(n.Name, "gradients") || strings.Contains(n.Name, "_grad/") {
			continue
		}
		if d, err := n.Attrs.Type("T", graphdef.Float); err != nil || d == graphdef.String {
			continue
		}
		switch n.Op {
		case "Softmax", "BiasAdd", "Sigmoid", "Tanh", "Relu", "ArgMax", "Add", "AddV2", "Identity":
			names = append(names, n.Name+":0")
		}
	}
	return names
}
