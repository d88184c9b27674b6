package engine

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// A ValueSession is a session of a graph whose inputs or outputs may be sequences, optionals or maps: see Options.Values.
type ValueSession interface {
	Session
	// RunValues is Run for values of every kind. The caller owns what is set in out, all of which Run sets anew.
	RunValues(ctx context.Context, in, out []tensor.Value) error
}

// TensorsOnly is for engines without ValueSessions, and callers who do not know them. It refuses a graph whose inputs or outputs
// are sequences, optionals or maps, by the
// operators that take or give them.
func TensorsOnly(engine string, g *graph.Graph) error {
	lacks := map[string]bool{}
	for _, v := range slices.Concat(g.Placeholders(), g.Outputs) {
		if v.Container == "" {
			continue
		}
		by := "Identity"
		for _, n := range g.Nodes {
			if slices.Contains(n.Inputs, v.Name) || slices.Contains(n.Outputs, v.Name) {
				by = n.Op()
				break
			}
		}
		lacks[fmt.Sprintf("%s (%s in place of a tensor)", by, v.Container)] = true
	}
	if len(lacks) == 0 {
		return nil
	}
	return &UnsupportedError{Engine: engine, Ops: slices.Sorted(maps.Keys(lacks))}
}
