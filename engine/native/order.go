package native

import (
	"fmt"

	"github.com/millrace/millrace/graph"
)

// order sorts nodes so that each comes after what it needs, keeping the given order where that is possible.
func order(given map[string]bool, nodes []flat, outputs []graph.Value) ([]flat, error) {
	producer := map[string]int{}
	for i, f := range nodes {
		for _, name := range f.node.Outputs {
			if name == "" {
				continue
			}
			if _, twice := producer[name]; twice {
				return nil, fmt.Errorf("engine native: two nodes compute %q", name)
			}
			producer[name] = i
		}
	}
	uses := make([][]string, len(nodes))
	for i, f := range nodes {
		uses[i] = f.node.Inputs
		if len(f.node.Subgraphs()) > 0 {
			uses[i] = f.node.Uses()
		}
	}
	const (
		unseen = iota
		open
		done
	)
	state := make([]uint8, len(nodes))
	type visit struct{ node, input int }
	var stack []visit
	push := func(name, by string) error {
		i, ok := producer[name]
		switch {
		case name == "" || !ok && given[name]:
			return nil
		case !ok:
			return fmt.Errorf("engine native: nothing computes %q, which %s needs", name, by)
		case given[name]:
			return fmt.Errorf("engine native: %q is given and computed as well", name)
		case state[i] == open:
			return fmt.Errorf("engine native: %q depends on itself", name)
		case state[i] == unseen:
			state[i] = open
			stack = append(stack, visit{i, 0})
		}
		return nil
	}
	var sorted []flat
	run := func() error {
		for len(stack) > 0 {
			v := &stack[len(stack)-1]
			n := nodes[v.node].node
			if v.input < len(uses[v.node]) {
				v.input++
				if err := push(uses[v.node][v.input-1], n.Op()); err != nil {
					return err
				}
				continue
			}
			state[v.node] = done
			sorted = append(sorted, nodes[v.node])
			stack = stack[:len(stack)-1]
		}
		return nil
	}
	// Every node is visited in the given order, so that an unsupported one is named even where nothing needs it.
	for i := range nodes {
		if state[i] == unseen {
			state[i] = open
			stack = append(stack, visit{i, 0})
			if err := run(); err != nil {
				return nil, err
			}
		}
	}
	for _, v := range outputs {
		if err := push(v.Name, "the output"); err != nil {
			return nil, err
		}
	}
	return sorted, nil
}
