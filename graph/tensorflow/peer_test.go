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

// convolutional are the networks that are mostly convolutions.
var convolutional = []string{"k2-lenet", "k2-conv3d-mini", "k2-unet-any-size", "k2-wavenet-mini", "k3-efficientnet-mini", "k3-mobilenet-mini", "k3-fake-quant"}

// TestNodeCounts holds the number of nodes of each network, those of subgraphs included, against the peer's: at most 1.1 times as many, and
// 2 times where the peer's file does not run. A net of convolutions has two transposes at most.
func TestNodeCounts(t *testing.T) {
	root := sharedtest.Data(t, "tensorflow")
	text, err := os.ReadFile(filepath.Join(root, "PEER.md"))
	if err != nil {
		t.Fatal(err)
	}
	seen, nets := 0, 0
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
		if c.Expect == "refused" {
			continue
		}
		res, err := tensorflow.Import(t.Context(), filepath.Join(c.dir, c.Model), c.options())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		nodes, transposes := 0, 0
		graph.Walk(res.Graph.Nodes, func(n *graph.Node) {
			nodes++
			if n.OpType == "Transpose" {
				transposes++
			}
		})
		if plain := slices.Contains(convolutional, name); plain && transposes > 2 {
			t.Errorf("%s has %d transposes", name, transposes)
		} else if plain {
			nets++
		}
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
	if seen < 50 || nets != len(convolutional) {
		t.Errorf("%d networks were looked at, %d of them convolutional", seen, nets)
	}
}
