package tensorflow

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// functional rewrites the loops and conditions of TensorFlow 1 to those of TensorFlow 2: what stands between Enter and Exit of a frame
// becomes a While with a function for its condition and one for its body, and what stands between Switch and Merge an If. It goes from the
// inside to the outside. What is not as TensorFlow writes it stays, and is refused by the operators that are left. cut are the tensors
// that are fed, at which the graph ends. The nodes that were given do not change; those of functions are left alone.
func functional(nodes []*graphdef.Node, cut map[string]bool) ([]*graphdef.Node, []*graphdef.Function) {
	if !slices.ContainsFunc(nodes, func(n *graphdef.Node) bool { return plainOp(n) == "Merge" }) {
		return nodes, nil
	}
	const perNode = 64 // how often a node is looked at, on average
	r := &rewriting{cut: cut, nodes: index(nodes), frames: map[string]*frame{}, switches: map[string][]*graphdef.Node{}, left: perNode*len(nodes) + 1<<12}
	r.find(nodes)
	for again := true; again && r.left > 0; {
		again = false
		for _, name := range r.order {
			if f := r.frames[name]; f != nil && r.loop(f) {
				delete(r.frames, name)
				again = true
			}
		}
		again = r.conditions() || again
	}
	out := make([]*graphdef.Node, 0, len(nodes)+len(r.added))
	for _, n := range nodes {
		out = append(out, r.nodes[n.Name])
	}
	return append(out, r.added...), r.functions
}

// plainOp is the operator of a node, of a reference that of what it refers to.
func plainOp(n *graphdef.Node) string {
	if op, is := strings.CutPrefix(n.Op, "Ref"); is {
		return op
	}
	return n.Op
}

// rewriting is a graph of TensorFlow 1 on its way.
type rewriting struct {
	cut       map[string]bool
	nodes     map[string]*graphdef.Node
	frames    map[string]*frame
	order     []string                    // of frames
	merges    []*graphdef.Node            // of conditions that are not rewritten
	switches  map[string][]*graphdef.Node // by the node that they take their data from
	indexed   map[string]bool             // merges whose second output is used
	added     []*graphdef.Node
	functions []*graphdef.Function
	left      int // nodes that may be looked at
}

// A frame is a loop.
type frame struct {
	name   string
	enters []*graphdef.Node
	merges []*graphdef.Node
	exits  map[string][]*graphdef.Node // by Switch
}

func (r *rewriting) find(nodes []*graphdef.Node) {
	frameOf := map[string]*frame{}
	r.indexed = map[string]bool{}
	for _, n := range nodes {
		if plainOp(n) != "Enter" || len(n.Inputs) == 0 {
			continue
		}
		name, err := n.Attrs.String("frame_name", "")
		if err != nil {
			continue
		}
		f := r.frames[name]
		if f == nil {
			f = &frame{name: name, exits: map[string][]*graphdef.Node{}}
			r.frames[name] = f
			r.order = append(r.order, name)
		}
		f.enters = append(f.enters, n)
		frameOf[n.Name] = f
	}
	exits := map[string][]*graphdef.Node{}
	for _, n := range nodes {
		for _, in := range n.Inputs {
			if name, out := splitTensor(in); out == 1 {
				r.indexed[name] = true
			}
		}
		if len(n.Inputs) == 0 {
			continue
		}
		from, _ := splitTensor(n.Inputs[0])
		switch plainOp(n) {
		case "Merge":
			if f := frameOf[from]; f != nil && len(n.Inputs) > 1 {
				f.merges = append(f.merges, n)
			} else {
				r.merges = append(r.merges, n)
			}
		case "Switch":
			r.switches[from] = append(r.switches[from], n)
		case "Exit":
			exits[from] = append(exits[from], n)
		}
	}
	for _, f := range r.frames {
		for _, m := range f.merges {
			for _, s := range r.switches[m.Name] {
				f.exits[s.Name] = exits[s.Name]
			}
		}
	}
}

// loop makes a While of a frame; false where an inner loop or condition is still to be rewritten, or where it cannot be.
func (r *rewriting) loop(f *frame) bool {
	var inputs, back []string
	var exits []*graphdef.Node
	places := map[string]string{} // what the names of nodes stand for
	exitOf := map[string]int{}
	test := ""
	entered := map[string]bool{}
	for k, m := range f.merges {
		enter, _ := splitTensor(m.Inputs[0])
		next := r.nodes[nodeName(m.Inputs[1])]
		entered[enter] = true
		if next == nil || plainOp(next) != "NextIteration" || len(next.Inputs) == 0 {
			return false
		}
		inputs = append(inputs, r.nodes[enter].Inputs[0])
		back = append(back, next.Inputs[0])
		places[m.Name] = argument(k)
		for _, s := range r.switches[m.Name] {
			cond := r.nodes[nodeName(s.Inputs[min(1, len(s.Inputs)-1)])]
			if cond == nil || plainOp(cond) != "LoopCond" || len(cond.Inputs) == 0 || test != "" && test != cond.Inputs[0] {
				return false
			}
			test = cond.Inputs[0]
			places[s.Name] = argument(k)
			for _, e := range f.exits[s.Name] {
				exits = append(exits, e)
				exitOf[e.Name] = k
			}
		}
	}
	if test == "" {
		return false
	}
	captured := &capture{rewriting: r, args: len(f.merges)}
	for _, e := range f.enters {
		if !entered[e.Name] {
			places[e.Name] = captured.add(e.Inputs[0])
		}
	}
	leaf := func(text string) (string, bool) {
		name, _ := splitTensor(text)
		at, ok := places[name]
		return at, ok
	}
	cond, ok := r.extract(captured, []string{test}, leaf)
	if !ok {
		return false
	}
	body, ok := r.extract(captured, back, leaf)
	if !ok {
		return false
	}
	n := len(f.merges)
	for i := n; i < captured.args; i++ {
		body.returns = append(body.returns, argument(i))
	}
	node := &graphdef.Node{Name: r.unique(f.name + "/While"), Op: "While", Inputs: append(inputs, captured.texts...)}
	node.Attrs = graphdef.Attrs{
		graphdef.FuncAttr("cond", r.function(node.Name+"/cond", captured.args, cond)), graphdef.FuncAttr("body", r.function(node.Name+"/body", captured.args, body)),
	}
	node.Inputs = append(node.Inputs, controls(cond, body)...)
	r.nodes[node.Name] = node
	r.added = append(r.added, node)
	for _, e := range exits {
		r.replace(e, fmt.Sprintf("%s:%d", node.Name, exitOf[e.Name]))
	}
	return true
}

// replace makes a node one that passes a tensor on.
func (r *rewriting) replace(n *graphdef.Node, by string) {
	r.nodes[n.Name] = &graphdef.Node{Name: n.Name, Op: "Identity", Inputs: []string{by}}
}

// argument names an argument of a function as no node is named.
func argument(k int) string { return fmt.Sprintf("(%d)", k) }

func nodeName(text string) string {
	name, _ := splitTensor(strings.TrimPrefix(text, "^"))
	return name
}

func (r *rewriting) unique(name string) string {
	for r.nodes[name] != nil {
		name += "_"
	}
	return name
}

// A capture collects the tensors from outside that become arguments of functions.
type capture struct {
	*rewriting
	args  int
	texts []string
	index map[string]string
}

func (c *capture) add(text string) string {
	if at, ok := c.index[text]; ok {
		return at
	}
	if c.index == nil {
		c.index = map[string]string{}
	}
	at := argument(c.args)
	c.index[text] = at
	c.texts = append(c.texts, text)
	c.args++
	return at
}

// A part is what becomes the body of a function.
type part struct {
	nodes    []*graphdef.Node
	returns  []string
	controls []string
}

// outside are operators that are in no frame or branch wherever they are used.
var outside = map[string]bool{"Placeholder": true, "PlaceholderV2": true, "PlaceholderWithDefault": true, "Variable": true, "VariableV2": true, "VarHandleOp": true}

// extract goes back from tensors to what leaf knows as arguments, and copies what lies between. It returns false where it comes to a loop
// or a condition that is not rewritten.
func (r *rewriting) extract(c *capture, from []string, leaf func(text string) (string, bool)) (*part, bool) {
	p := &part{}
	seen := map[string]bool{}
	var queue []string
	refer := func(text string) string {
		if r.cut[text] || r.cut[nodeName(text)+":0"] && !strings.Contains(text, ":") {
			return c.add(text)
		}
		if at, ok := leaf(text); ok {
			return at
		}
		name, out := splitTensor(text)
		if n := r.nodes[name]; n != nil && outside[n.Op] {
			return c.add(text)
		}
		if !seen[name] {
			seen[name] = true
			queue = append(queue, name)
		}
		return fmt.Sprintf("%s::%d", name, out)
	}
	for _, text := range from {
		p.returns = append(p.returns, refer(text))
	}
	for len(queue) > 0 {
		n := r.nodes[queue[0]]
		queue = queue[1:]
		if r.left--; r.left < 0 || n == nil {
			return nil, false
		}
		switch plainOp(n) {
		case "Merge", "Enter", "Exit", "NextIteration", "LoopCond", "Switch":
			return nil, false
		}
		inner := *n
		inner.Inputs = nil
		for _, in := range n.Inputs {
			if strings.HasPrefix(in, "^") {
				p.controls = append(p.controls, in)
				continue
			}
			inner.Inputs = append(inner.Inputs, refer(in))
		}
		p.nodes = append(p.nodes, &inner)
	}
	return p, true
}

// controls are what runs before the parts, for what it may assign to.
func controls(parts ...*part) []string {
	var all []string
	for _, p := range parts {
		all = append(all, p.controls...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// function adds a function of a part.
func (r *rewriting) function(name string, args int, p *part) string {
	f := &graphdef.Function{Name: name, Nodes: p.nodes, Return: map[string]string{}}
	for i := range args {
		f.Inputs = append(f.Inputs, graphdef.Arg{Name: argument(i)})
	}
	for i, text := range p.returns {
		out := fmt.Sprintf("r%d", i)
		f.Outputs = append(f.Outputs, graphdef.Arg{Name: out})
		f.Return[out] = text
	}
	r.functions = append(r.functions, f)
	return name
}

// A joint is a Merge with what leads to its two inputs.
type joint struct {
	merge *graphdef.Node
	pred  string
	sides [2]int // which inputs are those of false and of true
}

// conditions makes an If of each group of Merges that belong together and have nothing inside that is still to be rewritten.
func (r *rewriting) conditions() bool {
	groups := map[string][]joint{}
	var order []string
	for _, m := range r.merges {
		j, ok := r.joint(m)
		if !ok {
			continue
		}
		scope := m.Name[:strings.LastIndexByte(m.Name, '/')+1]
		key := scope + " " + j.pred
		if groups[key] == nil {
			order = append(order, key)
		}
		groups[key] = append(groups[key], j)
	}
	done := false
	for _, key := range order {
		if r.condition(groups[key]) {
			done = true
		}
	}
	return done
}

// pass follows a tensor back through what only passes it on.
func (r *rewriting) pass(text string) string {
	for range 64 {
		n := r.nodes[nodeName(text)]
		if n == nil || n.Op != "Identity" || len(n.Inputs) == 0 || r.cut[text] {
			break
		}
		text = n.Inputs[0]
	}
	return text
}

// side returns the Switch that a tensor comes from and which side of it that is.
func (r *rewriting) side(text string) (pred string, side int, ok bool) {
	name, out := splitTensor(r.pass(text))
	n := r.nodes[name]
	if n == nil || plainOp(n) != "Switch" || len(n.Inputs) < 2 || strings.HasPrefix(n.Inputs[1], "^") {
		return "", 0, false
	}
	if cond := r.nodes[nodeName(n.Inputs[1])]; cond != nil && plainOp(cond) == "LoopCond" {
		return "", 0, false
	}
	return r.pass(n.Inputs[1]), out, true
}

// leaf is what extract takes for an argument in a branch: what comes from a Switch.
func (r *rewriting) leaf(c *capture) func(text string) (string, bool) {
	return func(text string) (string, bool) {
		name, _ := splitTensor(text)
		n := r.nodes[name]
		if n == nil || plainOp(n) != "Switch" {
			return "", false
		}
		if _, _, ok := r.side(text); !ok {
			return "", false
		}
		return c.add(n.Inputs[0]), true
	}
}

// joint finds the condition of a Merge, and which input is which side.
func (r *rewriting) joint(m *graphdef.Node) (joint, bool) {
	j := joint{merge: m, sides: [2]int{-1, -1}}
	if len(m.Inputs) < 2 || strings.HasPrefix(m.Inputs[1], "^") || r.indexed[m.Name] {
		return j, false
	}
	for i, text := range m.Inputs[:2] {
		found := -1
		ok := true
		note := func(text string) {
			pred, side, is := r.side(text)
			switch {
			case !is:
			case j.pred != "" && j.pred != pred || found >= 0 && found != side || side > 1:
				ok = false
			default:
				j.pred, found = pred, side
			}
		}
		note(text)
		c := &capture{rewriting: r}
		leaf := r.leaf(c)
		p, whole := r.extract(c, []string{text}, func(text string) (string, bool) {
			at, is := leaf(text)
			if is {
				note(text)
			}
			return at, is
		})
		if !whole {
			return j, false
		}
		for _, in := range p.controls {
			note(strings.TrimPrefix(in, "^"))
		}
		if !ok {
			return j, false
		}
		if found >= 0 {
			if j.sides[found] >= 0 {
				return j, false
			}
			j.sides[found] = i
		}
	}
	switch { // a side without any sign is the other one
	case j.sides[0] < 0 && j.sides[1] < 0:
		return j, false
	case j.sides[0] < 0:
		j.sides[0] = 1 - j.sides[1]
	case j.sides[1] < 0:
		j.sides[1] = 1 - j.sides[0]
	}
	return j, true
}

// condition makes an If of Merges with one condition.
func (r *rewriting) condition(group []joint) bool {
	c := &capture{rewriting: r}
	var parts [2]*part
	for side := range parts {
		var from []string
		for _, j := range group {
			from = append(from, j.merge.Inputs[j.sides[side]])
		}
		p, ok := r.extract(c, from, r.leaf(c))
		if !ok {
			return false
		}
		parts[side] = p
	}
	node := &graphdef.Node{Name: r.unique(group[0].merge.Name + "/If"), Op: "If", Inputs: append([]string{group[0].pred}, c.texts...)}
	node.Attrs = graphdef.Attrs{
		graphdef.FuncAttr("then_branch", r.function(node.Name+"/then", c.args, parts[1])), graphdef.FuncAttr("else_branch", r.function(node.Name+"/else", c.args, parts[0])),
	}
	node.Inputs = append(node.Inputs, controls(parts[0], parts[1])...)
	r.nodes[node.Name] = node
	r.added = append(r.added, node)
	for k, j := range group {
		r.replace(j.merge, fmt.Sprintf("%s:%d", node.Name, k))
		r.merges = slices.DeleteFunc(r.merges, func(m *graphdef.Node) bool { return m == j.merge })
	}
	return true
}
