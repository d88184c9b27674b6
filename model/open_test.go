package model_test

import (
	"cmp"
	"fmt"
	"os"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/engine/onnxruntime"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/limittest"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// manyNodes are graphs of n nodes, of the kinds that make a loader slow: each is the worst of its kind for some way of going through a graph.
var manyNodes = []struct {
	name string
	make func(n int) *graph.Graph
}{
	{"chain", chainOf},
	{"wide", wideOf},
	{"initializers", weightedOf},
	{"constants", constantsOf},
	{"functions", callsOf},
	{"branches", branchesOf},
	{"body", bodyOf},
	{"backwards", backwardsOf},
}

func vectorOf(name string) graph.Value {
	return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}}}
}

func graphOf(nodes []*graph.Node, last string) *graph.Graph {
	return &graph.Graph{Name: "many", IRVersion: 10, Opset: map[string]int64{graph.OnnxDomain: 17}, Inputs: []graph.Value{vectorOf("x")}, Outputs: []graph.Value{{Name: last, DType: tensor.Float32}}, Nodes: nodes}
}

func named(i int) string { return fmt.Sprintf("/block/layer.%d/output_0", i) }

func node(i int, op, out string, in ...string) *graph.Node {
	return &graph.Node{Name: fmt.Sprintf("/block/layer.%d/%s", i, op), OpType: op, Inputs: in, Outputs: []string{out}}
}

// chainNodes are n operators of two kinds, each on the one before.
func chainNodes(first int, from string, n int) (nodes []*graph.Node, last string) {
	for i := range n {
		to := named(first + i)
		op := "Sin"
		in := []string{from}
		if i%2 == 1 {
			op, in = "Mul", []string{from, "x"}
		}
		nodes = append(nodes, node(first+i, op, to, in...))
		from = to
	}
	return nodes, from
}

func chainOf(n int) *graph.Graph { return graphOf(chainNodes(0, "x", n)) }

// backwardsOf has its nodes in the wrong order.
func backwardsOf(n int) *graph.Graph {
	g := chainOf(n)
	for i, j := 0, len(g.Nodes)-1; i < j; i, j = i+1, j-1 {
		g.Nodes[i], g.Nodes[j] = g.Nodes[j], g.Nodes[i]
	}
	return g
}

// wideOf adds up what half of the nodes make of the input, pair by pair.
func wideOf(n int) *graph.Graph {
	var nodes []*graph.Node
	var ends []string
	for i := range n / 2 {
		nodes = append(nodes, node(i, "Sin", named(i), "x"))
		ends = append(ends, named(i))
	}
	for len(ends) > 1 {
		to := named(len(nodes))
		nodes = append(nodes, node(len(nodes), "Add", to, ends[0], ends[1]))
		ends = append(ends[2:], to)
	}
	return graphOf(nodes, ends[0])
}

// weightedOf has an initializer for each node.
func weightedOf(n int) *graph.Graph {
	g := graphOf(nil, "")
	from := "x"
	for i := range n {
		w := fmt.Sprintf("block.layer.%d.weight", i)
		g.Initializers = append(g.Initializers, graph.Initializer{Name: w, Tensor: tensor.Vector[float32](1, 2, 3, float32(i))})
		op := []string{"Add", "Mul"}[i%2]
		g.Nodes = append(g.Nodes, node(i, op, named(i), from, w))
		from = named(i)
	}
	g.Outputs[0].Name = from
	return g
}

// constantsOf has a Constant for each other node, as exporters write them.
func constantsOf(n int) *graph.Graph {
	g := graphOf(nil, "")
	from := "x"
	for i := 0; i < n; i += 2 {
		c := node(i, "Constant", named(i))
		c.Attrs = graph.Attrs{"value": tensor.Vector[float32](1, 2, 3, float32(i))}
		g.Nodes = append(g.Nodes, c, node(i+1, "Add", named(i+1), from, named(i)))
		from = named(i + 1)
	}
	g.Outputs[0].Name = from
	return g
}

// callsOf calls a function of four nodes.
func callsOf(n int) *graph.Graph {
	const domain = "local"
	f := &graph.Function{Domain: domain, Name: "Act", Inputs: []string{"a"}, Outputs: []string{"d"}, Opset: map[string]int64{graph.OnnxDomain: 17}, Nodes: []*graph.Node{
		{OpType: "Sin", Inputs: []string{"a"}, Outputs: []string{"b"}}, {OpType: "Mul", Inputs: []string{"a", "b"}, Outputs: []string{"c"}},
		{OpType: "Neg", Inputs: []string{"c"}, Outputs: []string{"e"}}, {OpType: "Add", Inputs: []string{"e", "a"}, Outputs: []string{"d"}},
	}}
	g := graphOf(nil, "")
	g.Opset[domain], g.Functions = 1, []*graph.Function{f}
	from := "x"
	for i := range n / 4 {
		c := node(i, "Act", named(i), from)
		c.Domain = domain
		g.Nodes = append(g.Nodes, c)
		from = named(i)
	}
	g.Outputs[0].Name = from
	return g
}

// branchesOf has many conditions with two small branches.
func branchesOf(n int) *graph.Graph {
	g := graphOf(nil, "")
	g.Inputs = append(g.Inputs, graph.Value{Name: "c", DType: tensor.Bool, Shape: graph.Shape{}})
	from := "x"
	for i := range n / 5 {
		branch := func(which, op string) *graph.Graph {
			p := fmt.Sprintf("/block/if.%d/%s", i, which)
			return &graph.Graph{Name: which, Outputs: []graph.Value{vectorOf(p + "/output_0")}, Nodes: []*graph.Node{
				{Name: p + "/a", OpType: op, Inputs: []string{from}, Outputs: []string{p + "/a_output_0"}},
				{Name: p + "/b", OpType: "Add", Inputs: []string{p + "/a_output_0", "x"}, Outputs: []string{p + "/output_0"}},
			}}
		}
		c := node(i, "If", named(i), "c")
		c.Attrs = graph.Attrs{"then_branch": branch("then", "Sin"), "else_branch": branch("else", "Tanh")}
		g.Nodes = append(g.Nodes, c)
		from = named(i)
	}
	g.Outputs[0].Name = from
	return g
}

// bodyOf is a loop with a long body that takes what is around it.
func bodyOf(n int) *graph.Graph {
	nodes, last := chainNodes(0, "state", n)
	nodes = append(nodes, node(n, "Identity", "on", "going"))
	scalar := func(name string, d tensor.DType) graph.Value {
		return graph.Value{Name: name, DType: d, Shape: graph.Shape{}}
	}
	body := &graph.Graph{Name: "body", Inputs: []graph.Value{scalar("i", tensor.Int64), scalar("going", tensor.Bool), vectorOf("state")},
		Outputs: []graph.Value{scalar("on", tensor.Bool), vectorOf(last)}, Nodes: nodes}
	g := graphOf([]*graph.Node{{Name: "loop", OpType: "Loop", Inputs: []string{"turns", "", "x"}, Outputs: []string{"y"}, Attrs: graph.Attrs{"body": body}}}, "y")
	g.Initializers = []graph.Initializer{{Name: "turns", Tensor: tensor.Scalar[int64](2)}}
	return g
}

func fileOf(tb testing.TB, make func(int) *graph.Graph, n int) []byte {
	tb.Helper()
	g := make(n)
	err := g.Sort()
	if err == nil {
		err = infer.Shapes(g)
	}
	if err != nil {
		tb.Fatal(err)
	}
	if backwards := make(n); backwards.Nodes[0].Name != g.Nodes[0].Name {
		g.Nodes = backwards.Nodes
	}
	data, err := onnx.Encode(g)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// engines are those that are here.
func engines(tb testing.TB) []engine.Engine {
	all := []engine.Engine{native.New(native.Config{})}
	library, err := onnxruntime.New(onnxruntime.Config{Library: os.Getenv("ONNXRUNTIME_SHARED_LIBRARY_PATH"), Paths: onnxruntime.SearchPaths("", "")})
	if err != nil {
		tb.Log(err)
		return all
	}
	return append(all, library)
}

// openFile does what a node does with a model that is pushed.
func openFile(tb testing.TB, e engine.Engine, data []byte) (*model.Model, engine.Session) {
	tb.Helper()
	m, err := model.Decode(data)
	if err != nil {
		tb.Fatal(err)
	}
	s, err := e.Open(tb.Context(), m.Graph, engine.Options{Threads: 1})
	if err != nil {
		tb.Fatal(err)
	}
	return m, s
}

// BenchmarkOpen100k opens graphs of 100,000 nodes, from the file's bytes to a session.
func BenchmarkOpen100k(b *testing.B) {
	for _, e := range engines(b) {
		for _, c := range manyNodes {
			b.Run(e.Name()+"/"+c.name, func(b *testing.B) {
				data := fileOf(b, c.make, 100_000)
				b.ReportAllocs()
				for b.Loop() {
					_, s := openFile(b, e, data)
					if err := s.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(data))/1e6, "MB_file")
			})
		}
	}
}

// most is how many times the file the heap may grow while a file is opened, where that is not 10: what one call of a function stands for is not in the file, and
// a subgraph of two nodes is a program of its own.
var most = map[string]float64{"functions": 40, "branches": 14}

// TestOpenMemory opens graphs of 25,000 nodes, which take a fourth of what 100,000 do, and holds the memory that this takes at most against the file's size.
func TestOpenMemory(t *testing.T) {
	for _, e := range engines(t) {
		for _, c := range manyNodes {
			t.Run(e.Name()+"/"+c.name, func(t *testing.T) {
				nodes, limit := 25_000, cmp.Or(most[c.name], 10)
				if e.Name() != native.Name { // the library takes minutes for some of them; only what is before it is ours, and the graph for it is a copy
					nodes, limit = 5_000, limit+4
				}
				data := fileOf(t, c.make, nodes)
				took := limittest.Peak(uint64(limit*float64(len(data))), func() {
					_, s := openFile(t, e, data)
					if err := s.Close(); err != nil {
						t.Fatal(err)
					}
				})
				times := float64(took) / float64(len(data))
				t.Logf("a file of %.1f MB, %.1f MB of memory: %.1f times", float64(len(data))/1e6, float64(took)/1e6, times)
				if times > limit {
					t.Errorf("opening a file of %d bytes took %d bytes at most, %.1f times as much; at most %v times is right", len(data), took, times, limit)
				}
			})
		}
	}
}
