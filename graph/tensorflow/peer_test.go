package tensorflow_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/tensorflow"
	"github.com/millrace/millrace/internal/sharedtest"
)

// TestNodeCounts holds the number of nodes of networks with loops and conditions, those of subgraphs included, against the peer's: at most
// 1.1 times as many, and 2 times where the peer's file does not run.
func TestNodeCounts(t *testing.T) {
	root := sharedtest.Data(t, "tensorflow")
	text, err := os.ReadFile(filepath.Join(root, "PEER.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		name, result := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
		peer, err := strconv.Atoi(strings.TrimSpace(cells[3]))
		if err != nil {
			continue
		}
		c := readCase(t, filepath.Join(root, "nets", name))
		if c.Expect == "refused" || !slices.ContainsFunc(c.Ops, func(op string) bool {
			return slices.Contains([]string{"While", "StatelessWhile", "If", "LoopCond"}, op)
		}) {
			continue
		}
		res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nodes := 0
		graph.Walk(res.Graph.Nodes, func(*graph.Node) { nodes++ })
		limit := peer * 11 / 10
		if result != "passed" {
			limit = 2 * peer
		}
		seen++
		t.Logf("%s: %d nodes, the peer %d", name, nodes, peer)
		if nodes > limit {
			t.Errorf("%s has %d nodes, and may have %d", name, nodes, limit)
		}
	}
	if seen == 0 {
		t.Fatal("no network was looked at")
	}
}
