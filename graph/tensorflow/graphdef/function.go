package graphdef

import "fmt"

func decodeFunction(data []byte, mem *budget) (*Function, error) {
	f := &Function{Return: map[string]string{}}
	if err := mem.charge(512); err != nil {
		return nil, err
	}
	var old []oldNode
	s := scan(data)
	for s.next() {
		switch s.num {
		case 1:
			def, err := decodeOp(s.bytes("signature"), mem)
			if err != nil {
				return nil, fmt.Errorf("signature: %w", err)
			}
			f.Name, f.Inputs, f.Outputs = def.Name, def.Inputs, def.Outputs
		case 2:
			n, err := decodeOldNode(s.bytes("node"), mem)
			if err != nil {
				return nil, fmt.Errorf("%q: node %d: %w", f.Name, len(old), err)
			}
			old = append(old, n)
		case 3:
			n, err := decodeNode(s.bytes("node_def"), mem)
			if err != nil {
				return nil, fmt.Errorf("%q: node %d: %w", f.Name, len(f.Nodes), err)
			}
			f.Nodes = append(f.Nodes, n)
		case 4, 6:
			name, value := s.pair("ret")
			if s.err == nil {
				s.err = mem.charge(4*stringCost + 32)
			}
			if s.num == 4 {
				f.Return[name] = value
			} else {
				f.ControlReturn = append(f.ControlReturn, value)
			}
		case 5:
			a, err := decodeAttr(s.bytes("attr"))
			if err == nil {
				err = mem.charge(2 * attrCost)
			}
			if err != nil {
				return nil, fmt.Errorf("%q: %w", f.Name, err)
			}
			f.Attrs = append(f.Attrs, a)
		}
	}
	if s.err != nil {
		return nil, fmt.Errorf("%q: %w", f.Name, s.err)
	}
	f.addOld(old)
	return f, nil
}

// An oldNode is a node of a function as TensorFlow wrote it before version 0.12: it names its results, and takes others' by their names.
type oldNode struct {
	ret, dep []string
	node     *Node
}

func decodeOldNode(data []byte, mem *budget) (oldNode, error) {
	n := oldNode{node: &Node{}}
	if err := mem.charge(nodeCost + len(data)/2); err != nil {
		return n, err
	}
	s := scan(data)
	for s.next() {
		if s.num == 1 || s.num == 3 || s.num == 4 {
			if err := mem.charge(8 * stringCost); err != nil { // the name, a map of it, and what takes it
				return n, err
			}
		}
		switch s.num {
		case 1:
			n.ret = append(n.ret, s.str("ret"))
		case 2:
			n.node.Op = s.str("op")
		case 3:
			n.node.Inputs = append(n.node.Inputs, s.str("arg"))
		case 4:
			n.dep = append(n.dep, s.str("dep"))
		case 5:
			a, err := decodeAttr(s.bytes("attr"))
			if err == nil {
				err = mem.charge(2 * attrCost)
			}
			if err != nil {
				return n, err
			}
			n.node.Attrs = append(n.node.Attrs, a)
		}
	}
	return n, s.err
}

// addOld adds nodes of the old form. A node is named after its first result, and its other results become outputs by number, of an output
// without a name.
func (f *Function) addOld(nodes []oldNode) {
	if len(nodes) == 0 {
		return
	}
	results := map[string]string{}
	for i, n := range nodes {
		n.node.Name = fmt.Sprintf("node %d", i) // which nobody can take
		for k, ret := range n.ret {
			if k == 0 {
				n.node.Name = ret
				results[ret] = ret
				continue
			}
			results[ret] = fmt.Sprintf("%s::%d", n.node.Name, k)
		}
		f.Nodes = append(f.Nodes, n.node)
	}
	for _, n := range nodes {
		for i, arg := range n.node.Inputs {
			if to, ok := results[arg]; ok {
				n.node.Inputs[i] = to
			}
		}
		for _, dep := range n.dep {
			n.node.Inputs = append(n.node.Inputs, "^"+dep)
		}
	}
	for _, out := range f.Outputs {
		if to, ok := results[out.Name]; ok && f.Return[out.Name] == "" {
			f.Return[out.Name] = to
		}
	}
}
