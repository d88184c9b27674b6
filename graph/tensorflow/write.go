package tensorflow

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/millrace/millrace/graph/tensorflow/graphdef"
)

// assigning are the beginnings of the names of operators that change a variable.
var assigning = []string{
	"Assign", "ResourceApply", "ResourceSparseApply", "ResourceScatter", "Apply", "SparseApply", "ScatterAdd", "ScatterSub", "ScatterUpdate",
	"ScatterMul", "ScatterDiv", "ScatterMin", "ScatterMax", "ScatterNdUpdate", "ScatterNdAdd", "ScatterNdSub", "ResourceStridedSliceAssign",
	"CountUpTo", "ResourceCountUpTo", "RngReadAndSkip", "StatefulUniform", "StatefulStandardNormal",
}

// isAssign reports whether an operator changes a variable.
func isAssign(op string) bool {
	return slices.ContainsFunc(assigning, func(prefix string) bool { return strings.HasPrefix(op, prefix) })
}

// checkWrites refuses to read a variable that something before the node assigns to, or that the function around it assigns to in any
// case: its value would be another one in the next run.
func (c *call) checkWrites(v *variable) {
	for sc := c.st.sc; sc != nil; sc = sc.outer {
		node := c.st.node.Name
		if sc != c.st.sc {
			node = c.inner(sc).node.Name
		}
		if op := c.assigned(sc, node)[v.node.Name]; op != "" {
			panic(stopped{fault: &fault{op: op, reason: fmt.Sprintf("the output depends on variable %q, which the model assigns to when it runs", v.name)}})
		}
		if sc.fn == nil {
			continue
		}
		for _, name := range sc.fn.ControlReturn {
			if op := c.assigned(sc, name)[v.node.Name]; op != "" {
				panic(stopped{fault: &fault{op: op, reason: fmt.Sprintf("the output depends on variable %q, which the model assigns to when it runs", v.name)}})
			}
		}
	}
}

// inner returns the call in sc that c's node is in.
func (c *call) inner(sc *scope) *state {
	s := c.st.sc
	for s.outer != sc {
		s = s.outer
	}
	return s.call
}

// assigned returns the variables (by node) that a node of a scope or anything before it assigns to, with the operator that does.
func (c *converter) assigned(sc *scope, root string) map[string]string {
	if m, ok := sc.writes[root]; ok {
		return m
	}
	type frame struct {
		name string
		next int
	}
	sc.writes[root] = nil
	stack := []frame{{name: root}}
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		n := sc.nodes[f.name]
		if n != nil && f.next < len(n.Inputs) {
			in := strings.TrimPrefix(n.Inputs[f.next], "^")
			f.next++
			in, _, _ = strings.Cut(in, ":")
			if _, seen := sc.writes[in]; !seen && sc.nodes[in] != nil {
				sc.writes[in] = nil
				stack = append(stack, frame{name: in})
			}
			continue
		}
		if n != nil {
			sc.writes[f.name] = c.assignedBy(sc, n)
		}
		stack = stack[:len(stack)-1]
	}
	return sc.writes[root]
}

// assignedBy joins what the inputs of a node, whose own are known, and it itself assign to.
func (c *converter) assignedBy(sc *scope, n *graphdef.Node) map[string]string {
	var all map[string]string
	shared := true
	add := func(m map[string]string) {
		switch {
		case len(m) == 0:
		case all == nil:
			all = m
		default:
			if shared {
				all, shared = maps.Clone(all), false
			}
			maps.Copy(all, m)
		}
	}
	for _, in := range n.Inputs {
		in, _, _ = strings.Cut(strings.TrimPrefix(in, "^"), ":")
		add(sc.writes[in])
	}
	if isAssign(n.Op) && len(n.Inputs) > 0 {
		if v := c.handleOf(sc, n.Inputs[0]); v != nil {
			add(map[string]string{v.node.Name: n.Op})
		}
	}
	return all
}

// handleOf returns the variable that an input is a handle of, where that can be said without converting anything.
func (c *converter) handleOf(sc *scope, text string) *variable {
	for range 64 {
		name, _, _ := strings.Cut(text, ":")
		if sc.fn != nil {
			if arg := sc.args[name]; len(arg) > 0 {
				return arg[0].variable
			}
		}
		n := sc.nodes[name]
		if n == nil {
			return nil
		}
		if isVariable(n.Op) {
			return c.variables.all[name]
		}
		if len(n.Inputs) == 0 || !strings.Contains(n.Op, "Identity") {
			return nil
		}
		text = n.Inputs[0]
	}
	return nil
}
