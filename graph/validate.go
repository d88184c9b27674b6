package graph

import (
	"errors"
	"fmt"
	"sync"
)

// ErrInvalid says that a graph contradicts itself. Validate's and Sort's errors wrap it.
var ErrInvalid = errors.New("invalid graph")

// maxFaults limits what Validate lists.
const maxFaults = 50

// Validate checks what every graph must keep, and reports all faults (at most 50) by errors.Join, each of them with
// its place and as ErrInvalid: every value has one producer; nodes stand after what they use (Sort puts them there); every
// input and output of a node exists; outputs have a producer; names are there and unique; functions are called with the attributes that
// they ask for, and do not call themselves. What operators mean is not checked: see package infer.
func (g *Graph) Validate() error {
	v := &validator{}
	v.graph("", g, nil)
	v.functions(g)
	return errors.Join(v.faults...)
}

type validator struct{ faults []error }

func (v *validator) add(format string, args ...any) {
	if len(v.faults) < maxFaults {
		v.faults = append(v.faults, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...)))
	}
}

// scope holds the names that a graph's nodes may use; those of the graphs around it are in outer.
type scope struct {
	where string
	nodes []*Node
	names map[string]int // name to the index of the node that gives it, or one of those below
	outer *scope
}

const (
	byInput       = -1
	byInitializer = -2
)

// by names what gives a value.
func (s *scope) by(i int) string {
	switch i {
	case byInput:
		return "an input"
	case byInitializer:
		return "an initializer"
	}
	return s.nodes[i].Label(i)
}

// define notes that i gives a name, which nothing else may.
func (s *scope) define(v *validator, name string, i int) {
	if old, ok := s.names[name]; ok {
		v.add("%s%s gives value %q, which %s gives already", s.where, s.by(i), name, s.by(old))
		return
	}
	s.names[name] = i
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if _, ok := s.names[name]; ok {
			return true
		}
	}
	return false
}

func (v *validator) graph(where string, g *Graph, outer *scope) {
	s := &scope{where: where, nodes: g.Nodes, outer: outer}
	s.names = make(map[string]int, len(g.Inputs)+len(g.Initializers)+len(g.Nodes))
	for i, in := range g.Inputs {
		if in.Name == "" {
			v.add("%sinput %d has no name", where, i)
			continue
		}
		s.define(v, in.Name, byInput)
	}
	inits := make(map[string]bool, len(g.Initializers))
	for i, in := range g.Initializers {
		switch {
		case in.Name == "":
			v.add("%sinitializer %d has no name", where, i)
			continue
		case in.Tensor == nil:
			v.add("%sinitializer %q has no tensor", where, in.Name)
		case inits[in.Name]:
			v.add("%sthere are two initializers %q", where, in.Name)
		}
		inits[in.Name] = true
		if _, ok := s.names[in.Name]; !ok {
			s.names[in.Name] = byInitializer
		}
	}
	v.nodes(s)
	seen := make(map[string]bool, len(g.Outputs))
	for i, out := range g.Outputs {
		switch {
		case out.Name == "":
			v.add("%soutput %d has no name", where, i)
		case !s.has(out.Name):
			v.add("%soutput %q is produced by nothing", where, out.Name)
		case seen[out.Name]:
			v.add("%sthere are two outputs %q", where, out.Name)
		}
		seen[out.Name] = true
	}
	if outer == nil && len(g.Outputs) == 0 {
		v.add("%sthere are no outputs", where)
	}
}

func (v *validator) nodes(s *scope) {
	later := sync.OnceValue(func() map[string]bool { // names that are produced somewhere, to tell a wrong order from a missing producer
		names := make(map[string]bool, len(s.nodes))
		for _, n := range s.nodes {
			for _, out := range n.Outputs {
				names[out] = true
			}
		}
		return names
	})
	named := make(map[string]int32, len(s.nodes))
	for i, n := range s.nodes {
		by := func() string { return s.where + n.Label(i) }
		if n.OpType == "" {
			v.add("%s has no operator", by())
		}
		if n.Name != "" {
			if first, ok := named[n.Name]; ok {
				v.add("%s has the name of node %d", by(), first)
			}
			named[n.Name] = int32(i)
		}
		for _, in := range n.Inputs {
			switch {
			case in == "" || s.has(in):
			case later()[in]:
				v.add("%s uses %q, which a later node or itself gives", by(), in)
			default:
				v.add("%s uses %q, which nothing gives", by(), in)
			}
		}
		for _, sub := range n.Subgraphs() {
			v.graph(by()+": ", sub, s)
		}
		for _, out := range n.Outputs {
			if out != "" {
				s.define(v, out, i)
			}
		}
	}
}

// functions checks bodies and calls.
func (v *validator) functions(g *Graph) {
	seen := map[[2]string]bool{}
	for _, f := range g.Functions {
		key := [2]string{f.Domain, f.Name}
		where := fmt.Sprintf("function %s: ", OpName(f.Domain, f.Name))
		if f.Name == "" {
			v.add("a function has no name")
		}
		if seen[key] {
			v.add("%sthere are two of it", where)
		}
		seen[key] = true
		body := &scope{where: where, nodes: f.Nodes, names: make(map[string]int, len(f.Inputs)+len(f.Nodes))}
		for _, in := range f.Inputs {
			body.define(v, in, byInput)
		}
		v.nodes(body)
		for _, out := range f.Outputs {
			if !body.has(out) {
				v.add("%soutput %q is produced by nothing", where, out)
			}
		}
		known := map[string]bool{}
		for _, name := range f.Attrs {
			known[name] = true
		}
		Walk(f.Nodes, func(n *Node) {
			for name, a := range n.Attrs {
				if ref, ok := a.(AttrRef); ok && !known[string(ref)] && !f.Defaults.Has(string(ref)) {
					v.add("%s%s: attribute %q refers to %q, which the function does not take", where, n.Op(), name, string(ref))
				}
			}
		})
	}
	v.calls(g)
}

// calls checks that calls fit their function, and that no function calls itself.
func (v *validator) calls(g *Graph) {
	if len(g.Functions) == 0 {
		return
	}
	index := make(map[[2]string]*Function, len(g.Functions))
	for _, f := range g.Functions {
		index[[2]string{f.Domain, f.Name}] = f
	}
	check := func(n *Node) {
		f := index[[2]string{n.Domain, n.OpType}]
		if f == nil {
			return
		}
		if in, out := given(n.Inputs), given(n.Outputs); in > len(f.Inputs) || out > len(f.Outputs) {
			v.add("node %q calls function %s with %d inputs and %d outputs; it has %d and %d",
				n.Name, n.Op(), in, out, len(f.Inputs), len(f.Outputs))
		}
	}
	Walk(g.Nodes, check)
	state := map[*Function]int{} // 1: being followed, 2: done
	var follow func(f *Function)
	follow = func(f *Function) {
		state[f] = 1
		Walk(f.Nodes, func(n *Node) {
			check(n)
			switch callee := index[[2]string{n.Domain, n.OpType}]; {
			case callee == nil:
			case state[callee] == 1:
				v.add("function %s calls itself, by %s", OpName(callee.Domain, callee.Name), OpName(f.Domain, f.Name))
			case state[callee] == 0:
				follow(callee)
			}
		})
		state[f] = 2
	}
	for _, f := range g.Functions {
		if state[f] == 0 {
			follow(f)
		}
	}
}

// given returns how many names there are but for empty ones at the end.
func given(names []string) int {
	n := len(names)
	for n > 0 && names[n-1] == "" {
		n--
	}
	return n
}

// Label names the node in messages: by its place i among the nodes, its name and its operator.
func (n *Node) Label(i int) string {
	if n.Name == "" {
		return fmt.Sprintf("node %d (%s)", i, n.Op())
	}
	return fmt.Sprintf("node %d %q (%s)", i, n.Name, n.Op())
}
