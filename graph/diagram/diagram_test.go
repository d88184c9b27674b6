package diagram_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/diagram"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

var update = flag.Bool("update", false, "write testdata anew")

func vector(name string) graph.Value {
	return graph.Value{Name: name, DType: tensor.Float32, Shape: graph.Dims(4)}
}

func node(name, op, in, out string) *graph.Node {
	return &graph.Node{Name: name, OpType: op, Inputs: strings.Fields(in), Outputs: strings.Fields(out)}
}

// net has two blocks with a shortcut, a branch that takes a value from around it, and a constant.
func net(t testing.TB) *graph.Graph {
	branch := func(op string) *graph.Graph {
		return &graph.Graph{Name: op, Nodes: []*graph.Node{node("/pick/"+op, op, "b2", op+"_out")}, Outputs: []graph.Value{{Name: op + "_out"}}}
	}
	g := &graph.Graph{
		Name:         "net",
		Inputs:       []graph.Value{{Name: "x", DType: tensor.Float32, Shape: graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}}}, {Name: "flag", DType: tensor.Bool, Shape: graph.Dims()}},
		Outputs:      []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Must(tensor.New(tensor.Float32, 4, 4))}},
		Nodes: []*graph.Node{
			{Name: "half", OpType: "Constant", Outputs: []string{"half"}, Attrs: graph.Attrs{"value": tensor.Scalar[float32](0.5)}},
			node("/block1/dense/MatMul", "MatMul", "x w", "a1"), node("/block1/act/Relu", "Relu", "a1", "b1"), node("/block1/Mul", "Mul", "b1 half", "c1"),
			node("/block2/dense/MatMul", "MatMul", "c1 w", "a2"), node("/block2/act/Relu", "Relu", "a2", "r2"), node("/block2/Add", "Add", "r2 c1", "b2"),
			{Name: "/pick/If", OpType: "If", Inputs: []string{"flag"}, Outputs: []string{"y"}, Attrs: graph.Attrs{"then_branch": branch("Tanh"), "else_branch": branch("Neg")}},
		},
		Opset: map[string]int64{"": 17},
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	if err := g.Validate(); err != nil {
		t.Fatal(err)
	}
	if err := infer.Shapes(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// picture draws, and holds that it is well-formed XML with nothing in it that a browser would run or load.
func picture(t testing.TB, g *graph.Graph, o diagram.Options) (string, *diagram.Drawing) {
	t.Helper()
	d, err := diagram.Draw(g, o)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := d.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	known := []string{"svg", "title", "defs", "marker", "path", "rect", "g", "text"}
	for dec := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		if start, ok := token.(xml.StartElement); ok {
			if !slices.Contains(known, start.Name.Local) {
				t.Fatalf("there is an element %q", start.Name.Local)
			}
			for _, a := range start.Attr {
				if a.Name.Local == "d" && !strings.ContainsAny(a.Value, "VCL") {
					t.Fatalf("a line goes nowhere: %q", a.Value)
				}
				if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "style" || strings.Contains(a.Name.Local, "href") {
					t.Fatalf("%s has an attribute %q", start.Name.Local, a.Name.Local)
				}
			}
		}
	}
	return b.String(), d
}

// TestGolden holds pictures as they are: look at a changed one before -update.
func TestGolden(t *testing.T) {
	for name, o := range map[string]diagram.Options{"net": {}, "closed": {Depth: 1}, "scope": {Scope: "block2"}} {
		got, _ := picture(t, net(t), o)
		file := "testdata/" + name + ".svg"
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s is not as it was", file)
		}
		if again, _ := picture(t, net(t), o); again != got {
			t.Errorf("%s: drawn again it is another", file)
		}
	}
}

func TestDepthOpenShut(t *testing.T) {
	g := net(t)
	all, d := picture(t, g, diagram.Options{})
	if d.Nodes != 7 || d.Closed != 0 || d.Depth != 3 {
		t.Errorf("all: %+v", d)
	}
	closed, d := picture(t, g, diagram.Options{Depth: 1})
	if d.Closed != 3 || d.Boxes != 6 || d.Depth != 1 { // two blocks and the If, and three ends
		t.Errorf("closed: %+v", d)
	}
	for _, part := range []string{`data-key="block1" data-nodes="1-3" data-open="false"`, `data-key="block2" data-nodes="4-6"`, `data-key="@7" data-nodes="7" data-open="false"`} {
		if !strings.Contains(closed, part) {
			t.Errorf("there is no %s", part)
		}
	}
	one, _ := picture(t, g, diagram.Options{Depth: 1, Open: []string{"block1", "nobody"}})
	if !strings.Contains(one, `data-key="block1" data-nodes="1-3" data-open="true"`) || !strings.Contains(one, `data-key="block2" data-nodes="4-6" data-open="false"`) {
		t.Error("not one block is open")
	}
	body, _ := picture(t, g, diagram.Options{Depth: 1, Open: []string{"@7"}})
	for _, part := range []string{">then_branch<", ">else_branch<", `data-key="@7.else_branch/@0"`} {
		if !strings.Contains(body, part) {
			t.Errorf("there is no %s", part)
		}
	}
	shut, d := picture(t, g, diagram.Options{Shut: []string{"block1"}})
	if d.Closed != 1 || !strings.Contains(shut, `data-key="block1" data-nodes="1-3" data-open="false"`) {
		t.Errorf("one is shut: %+v", d)
	}
	if same, _ := picture(t, g, diagram.Options{Depth: 3}); same != all {
		t.Error("the depth that a drawing has gives another drawing")
	}
}

func TestFaults(t *testing.T) {
	many := make([]string, diagram.MaxNames+1)
	wide := &graph.Graph{Inputs: []graph.Value{vector("x")}, Outputs: []graph.Value{{Name: "y0"}}}
	for i := range 4000 {
		wide.Nodes = append(wide.Nodes, node(fmt.Sprintf("a/b%d/c", i%40), "Neg", "x", fmt.Sprintf("y%d", i)))
	}
	long := &graph.Graph{Inputs: []graph.Value{vector("x")}, Outputs: []graph.Value{{Name: "y"}}, Nodes: []*graph.Node{node(strings.Repeat("s", 1<<20)+"/c", "Neg", "x", "y")}}
	dense := &graph.Graph{Inputs: []graph.Value{vector("x")}, Outputs: []graph.Value{{Name: "y399"}}}
	all := "x"
	for i := range 400 { // each takes what all before it give: 80,000 lines
		y := fmt.Sprintf("y%d", i)
		dense.Nodes = append(dense.Nodes, node(fmt.Sprintf("b%d/n", i%20), "Sum", all, y))
		all += " " + y
	}
	for name, c := range map[string]struct {
		g    *graph.Graph
		o    diagram.Options
		want string
	}{
		"lines":    {dense, diagram.Options{Depth: 9}, "more than 60000 lines"},
		"scope":    {net(t), diagram.Options{Scope: "block3"}, `no scope "block3"; the outermost ones are block1, block2, pick`},
		"long":     {long, diagram.Options{Scope: "b"}, "ones are " + strings.Repeat("s", 80)},
		"no scope": {net(t), diagram.Options{Scope: "/"}, "no scope"},
		"depth":    {net(t), diagram.Options{Depth: -1}, "less than 0"},
		"names":    {net(t), diagram.Options{Open: many}, "more than 1000"},
		"large":    {wide, diagram.Options{Depth: 9}, "limit of 3000"},
		"whole":    {wide, diagram.Options{Scope: "a"}, "give a smaller depth"},
	} {
		if _, err := diagram.Draw(c.g, c.o); !errors.Is(err, diagram.ErrOptions) || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, d := picture(t, wide, diagram.Options{}); d.Boxes > 300 || d.Closed == 0 {
		t.Errorf("a large graph is drawn as %+v", d)
	}
	// Few boxes, with lines through their edges whose pieces are over the limit, and the same a little below it.
	for lines, open := range map[int]bool{diagram.MaxLines/3 + 1: false, diagram.MaxLines/3 - 10: true} {
		values := make([]string, lines)
		for i := range values {
			values[i] = fmt.Sprintf("y%d", i)
		}
		all := strings.Join(values, " ")
		ports := &graph.Graph{Inputs: []graph.Value{vector("x")}, Outputs: []graph.Value{{Name: "z"}}, Nodes: []*graph.Node{
			node("a/n", "Neg", "x", "w"), node("a/s", "Split", "w", all), node("b/n", "Neg", "y0", "v"), node("b/s", "Sum", "v "+all, "z"),
		}}
		if _, d := picture(t, ports, diagram.Options{}); (d.Boxes == 8) != open || (d.Closed == 2) == open {
			t.Errorf("few boxes with %d lines are drawn as %+v", lines, d)
		}
		if _, err := diagram.Draw(ports, diagram.Options{Depth: 2}); errors.Is(err, diagram.ErrOptions) == open || open && err != nil {
			t.Errorf("few boxes with %d lines: %v", lines, err)
		}
	}
}

// TestSplit has a scope that is before and after another one: it has two boxes, and lines still go down alone.
func TestSplit(t *testing.T) {
	g := &graph.Graph{
		Inputs: []graph.Value{vector("x")}, Outputs: []graph.Value{{Name: "y"}},
		Nodes: []*graph.Node{
			node("a/1", "Neg", "x", "a1"), node("a/2", "Neg", "a1", "a2"), node("b/1", "Abs", "a2", "b1"), node("b/2", "Abs", "b1", "b2"), node("a/3", "Neg", "b2", "a3"),
			node("a/4", "Neg", "a3", "a4"), node("c/1", "Exp", "a4", "c1"), node("c/2", "Exp", "c1", "y"),
		},
	}
	got, d := picture(t, g, diagram.Options{Depth: 1})
	if d.Boxes != 6 {
		t.Errorf("%+v", d)
	}
	for _, part := range []string{`data-key="a" data-nodes="0-1"`, `data-key="a" data-nodes="4-5"`, ">a (2)<", `data-key="b" data-nodes="2-3"`, `data-key="c" data-nodes="6-7"`} {
		if !strings.Contains(got, part) {
			t.Errorf("there is no %s", part)
		}
	}
}

// TestParts has a long chain without scopes.
func TestParts(t *testing.T) {
	g := &graph.Graph{Inputs: []graph.Value{vector("x0")}, Outputs: []graph.Value{{Name: "x10000"}}}
	for i := range 10_000 {
		g.Nodes = append(g.Nodes, node("", "Neg", fmt.Sprintf("x%d", i), fmt.Sprintf("x%d", i+1)))
	}
	got, d := picture(t, g, diagram.Options{})
	if d.Nodes != 10_000 || d.Boxes != 102 || d.Closed != 100 {
		t.Errorf("%+v", d)
	}
	if !strings.Contains(got, `data-key="#7" data-nodes="600-699" data-open="false"`) || !strings.Contains(got, ">part 7 of 100<") {
		t.Error("there is no seventh part")
	}
	if got, _ := picture(t, g, diagram.Options{Open: []string{"#7"}, Depth: 1}); !strings.Contains(got, `data-key="@650" data-nodes="650"`) {
		t.Error("the seventh part was not opened")
	}
}

// TestHostileNames has names that would be markup, and such that XML cannot hold.
func TestHostileNames(t *testing.T) {
	evil := `</text><script>alert(1)</script>"'&` + "\x00\x1b\xff\u202e/]]>"
	g := &graph.Graph{
		Name: evil, Inputs: []graph.Value{vector(evil)}, Outputs: []graph.Value{{Name: evil + "3"}},
		Nodes: []*graph.Node{
			{Name: evil + evil + "1", OpType: evil, Domain: evil, Inputs: []string{evil}, Outputs: []string{evil + "2"}, Attrs: graph.Attrs{evil: evil, "b": []string{evil}}},
			{Name: evil + evil + "2", OpType: "Neg", Inputs: []string{evil + "2"}, Outputs: []string{evil + "3"}},
		},
	}
	for _, o := range []diagram.Options{{Name: evil}, {Depth: 1}} {
		if got, _ := picture(t, g, o); strings.Contains(got, "<script") || strings.ContainsAny(got, "\u202e\x00") {
			t.Errorf("the picture has the names as they are: %s", got)
		}
	}
}

// TestEnds has more inputs than there are boxes for.
func TestEnds(t *testing.T) {
	g := &graph.Graph{}
	sum := &graph.Node{OpType: "Sum", Outputs: []string{"y"}}
	for i := range 100 {
		name := "x" + strconv.Itoa(i)
		g.Inputs, sum.Inputs = append(g.Inputs, vector(name)), append(sum.Inputs, name)
	}
	g.Nodes, g.Outputs = []*graph.Node{sum}, []graph.Value{{Name: "y"}}
	if got, d := picture(t, g, diagram.Options{}); d.Boxes != 3 || !strings.Contains(got, ">100 inputs<") || !strings.Contains(got, ">100 values<") {
		t.Errorf("%+v", d)
	}
}

// branch is a body whose nodes are in scopes and take values of the graphs around it, with a body in one of them where deep is more than 1.
func branch(r *rand.Rand, outer, deep int) *graph.Graph {
	g := &graph.Graph{}
	last := fmt.Sprintf("v%d", r.IntN(outer+1))
	for i := range 1 + r.IntN(5) {
		out := fmt.Sprintf("b%d.%d.%d", deep, i, r.Int64())
		n := &graph.Node{Name: string(rune('a'+r.IntN(2))) + "/" + strconv.Itoa(i), OpType: "Add", Inputs: []string{last, fmt.Sprintf("v%d", r.IntN(outer+1))}, Outputs: []string{out}}
		if deep > 1 && i == 0 {
			n.OpType, n.Inputs, n.Attrs = "If", n.Inputs[1:], graph.Attrs{"then_branch": branch(r, outer, deep-1)}
		}
		g.Nodes = append(g.Nodes, n)
		last = out
	}
	g.Outputs = []graph.Value{{Name: last}}
	return g
}

// TestRandom draws graphs with names of scopes at random, in all ways: each has a picture in which each node is once.
func TestRandom(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 2))
		g := &graph.Graph{Inputs: []graph.Value{vector("v0")}}
		for i := range 10 + r.IntN(120) {
			scope := ""
			for range r.IntN(4) {
				scope += string(rune('a'+r.IntN(3))) + "/"
			}
			in := []string{fmt.Sprintf("v%d", r.IntN(i+1)), fmt.Sprintf("v%d", max(0, i-r.IntN(3)))}
			if r.IntN(8) == 0 {
				g.Nodes = append(g.Nodes, &graph.Node{
					Name: scope + strconv.Itoa(i), OpType: "If", Inputs: in[:1], Outputs: []string{fmt.Sprintf("v%d", i+1)}, Attrs: graph.Attrs{"then_branch": branch(r, i, 2), "else_branch": branch(r, i, 1)},
				})
				continue
			}
			g.Nodes = append(g.Nodes, &graph.Node{Name: scope + strconv.Itoa(i), OpType: "Add", Inputs: in, Outputs: []string{fmt.Sprintf("v%d", i+1)}})
		}
		g.Outputs = []graph.Value{{Name: fmt.Sprintf("v%d", len(g.Nodes))}}
		for _, o := range []diagram.Options{{}, {Depth: 1}, {Depth: 2}, {Depth: 9}, {Depth: 1, Open: []string{"a", "a/b", "c"}}, {Depth: 4, Shut: []string{"b"}}} {
			got, d := picture(t, g, o)
			if d.Nodes != len(g.Nodes) {
				t.Fatalf("seed %d: %d nodes of %d", seed, d.Nodes, len(g.Nodes))
			}
			seen := make([]int, len(g.Nodes))
			for _, group := range strings.Split(got, "<g ")[1:] {
				attrs, _, _ := strings.Cut(group, ">")
				_, nodes, ok := strings.Cut(attrs, `data-nodes="`)
				if !ok || strings.Contains(attrs, "g-scope") && strings.Contains(attrs, `data-open="true"`) {
					continue
				}
				nodes, _, _ = strings.Cut(nodes, `"`)
				for span := range strings.SplitSeq(nodes, ",") {
					first, last, both := strings.Cut(span, "-")
					if !both {
						last = first
					}
					a, _ := strconv.Atoi(first)
					b, _ := strconv.Atoi(last)
					for ; a <= b; a++ {
						seen[a]++
					}
				}
			}
			for i, n := range seen {
				if n != 1 {
					t.Fatalf("seed %d, %+v: node %d is %d times in the picture", seed, o, i, n)
				}
			}
		}
	}
}
