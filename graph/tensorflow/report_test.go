package tensorflow_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
)

// row counts the cases of a group on an engine.
type row struct {
	group, engine                         string
	right, rightlyRefused, refused, wrong int
}

// details are what the page says of each network, and of each operator by tier.
type details struct {
	networks  []string
	operators map[int]map[string]*count
}

// count is how many configurations of an operator there are, and how many are right on every engine or refused there, as they may be.
type count struct{ all, right, refused int }

// add notes a case.
func (d *details) add(t *testing.T, c *goldenCase, part string, outcomes map[string]outcome) {
	right, refused := true, true
	for _, o := range outcomes {
		right, refused = right && o.ok && !o.refused, refused && o.refused
	}
	if part == "ops" {
		if d.operators[c.Tier] == nil {
			d.operators[c.Tier] = map[string]*count{}
		}
		name := c.operator()
		if name == "" {
			t.Errorf("%s: which operator is it?", c.dir)
		}
		n := d.operators[c.Tier][name]
		if n == nil {
			n = &count{}
			d.operators[c.Tier][name] = n
		}
		n.all++
		if right {
			n.right++
		} else if refused {
			n.refused++
		}
		return
	}
	text, shape := "wrong", ""
	switch {
	case right:
		text, shape = "right", shapeOf(t, c)
	case refused && len(c.RefuseNames) > 0:
		text = "refused, as it must be: " + strings.Join(c.RefuseNames, ", ")
	case refused:
		text = "refused, as it may be"
	}
	d.networks = append(d.networks, fmt.Sprintf("| %s | %s | %s |\n", filepath.Base(c.dir), text, shape))
}

// shapeOf says how many nodes a network has, and which of them are recurrent or have subgraphs.
func shapeOf(t *testing.T, c *goldenCase) string {
	res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
	if err != nil {
		t.Fatal(err)
	}
	nodes, named := 0, map[string]int{}
	graph.Walk(res.Graph.Nodes, func(n *graph.Node) {
		nodes++
		if slices.Contains([]string{"If", "Loop", "Scan", "LSTM", "GRU", "RNN"}, n.OpType) {
			named[n.OpType]++
		}
	})
	text := fmt.Sprint(nodes)
	for _, op := range slices.Sorted(maps.Keys(named)) {
		text += fmt.Sprintf(", %d %s", named[op], op)
	}
	return text
}

// operator is the one that a case of an operator is of: its folder is named after it.
func (c *goldenCase) operator() string {
	name := strings.TrimPrefix(filepath.Base(c.dir), "op-")
	name = name[:max(0, strings.LastIndex(name, "-"))]
	for _, op := range c.Ops {
		if strings.EqualFold(op, strings.ReplaceAll(name, "-", "")) {
			return op
		}
	}
	return ""
}

// report writes the page.
func report(rows map[string]*row, refused []string, d details) string {
	var b strings.Builder
	b.WriteString(`# What of TensorFlow is converted

Made by ` + "`make docs`" + `, where the shared data is. Each case is a file that TensorFlow 2.21 wrote, with what it computed; the tolerance is the case's own. Every case
is imported, written as an ONNX file, read again, and run.

| cases | engine | right | refused, as they must be | refused for now | wrong |
| --- | --- | ---: | ---: | ---: | ---: |
`)
	for _, key := range slices.Sorted(maps.Keys(rows)) {
		r := rows[key]
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %d | %d |\n", r.group, r.engine, r.right, r.rightlyRefused, r.refused, r.wrong)
	}
	b.WriteString("\nTier 1 is in almost every model, 2 is common, 3 in some models, 4 exact or refused. What is refused for now is refused by the names of its operators.\n")
	if len(refused) > 0 {
		b.WriteString("These are:\n\n" + strings.Join(refused, ", ") + ".\n")
	}
	b.WriteString(`
onnxruntime opens every one of these files by itself, without a warning (` + "`TestNoWarnings`" + `), but for two whose types it has no kernel for: a convolution of float64, and
Erfc alone, which is computed in float64. In Millrace both run in it, in float32, and the log says so.

## Networks

"Right" is on every engine of the table above. The nodes are those of the ONNX graph, with those of its subgraphs.

| network | | nodes |
| --- | --- | --- |
`)
	b.WriteString(strings.Join(d.networks, ""))
	b.WriteString("\n## Operators\n\nHow many configurations of each are right on every engine, of how many; loops and lists of tensors are in the networks. One that is not right is refused.\n")
	for _, tier := range slices.Sorted(maps.Keys(d.operators)) {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(d.operators[tier])) {
			n := d.operators[tier][name]
			text := fmt.Sprintf("%s %d", name, n.right)
			if n.right < n.all {
				text += fmt.Sprintf(" of %d", n.all)
			}
			if n.right+n.refused < n.all {
				text += " (wrong)"
			}
			all = append(all, text)
		}
		fmt.Fprintf(&b, "\n**Tier %d**: %s.\n", tier, strings.Join(all, ", "))
	}
	b.WriteString("\nLoops and conditions of TensorFlow 1 (Enter, Exit, NextIteration, LoopCond with Switch and Merge) are converted too.\n\nAll that are converted: ")
	b.WriteString(strings.Join(tensorflow.Operators(), ", ") + ".\n")
	return b.String()
}
