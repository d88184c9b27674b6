package native_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest/conformance"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

// flexCase is a FlexAttention of batch 2 and 4 heads, with what its subgraphs do as functions of a place.
type flexCase struct {
	name   string
	dtype  tensor.DType
	kv, ev int // heads and size of the values
	attrs  graph.Attrs
	scale  float64 // 0: by the size
	score  func(s float64, q, k int) float64
	prob   func(p float64) float64
}

func modifier(in, out string, nodes []*graph.Node, inits ...graph.Initializer) *graph.Graph {
	return &graph.Graph{Inputs: []graph.Value{{Name: in}}, Outputs: []graph.Value{{Name: out}}, Nodes: nodes, Initializers: inits}
}

func TestFlexAttention(t *testing.T) {
	distance := modifier("s", "t", []*graph.Node{node("Add", nil, []string{"s", "far"}, "t")}) // far is taken from around it
	halved := modifier("p", "r", []*graph.Node{node("Mul", nil, []string{"p", "half"}, "r")}, graph.Initializer{Name: "half", Tensor: tensor.Scalar[float32](0.5)})
	capped := modifier("s", "c", []*graph.Node{
		node("Div", nil, []string{"s", "cap"}, "d"), node("Tanh", nil, []string{"d"}, "h"), node("Mul", nil, []string{"h", "cap"}, "c"),
	}, graph.Initializer{Name: "cap", Tensor: tensor.Scalar[float32](0.5)})
	for _, c := range []flexCase{
		{name: "plain", dtype: tensor.Float32, kv: 4, ev: 6},
		{name: "scaled", dtype: tensor.Float32, kv: 4, ev: 6, attrs: graph.Attrs{"scale": float32(0.1)}, scale: float64(float32(0.1))},
		{name: "shared heads", dtype: tensor.Float32, kv: 2, ev: 3},
		{name: "one head", dtype: tensor.Float64, kv: 1, ev: 6},
		{name: "float16", dtype: tensor.Float16, kv: 4, ev: 6},
		{name: "in double", dtype: tensor.Float32, kv: 4, ev: 6, attrs: graph.Attrs{"softmax_precision": int64(tensor.Float64)}},
		{name: "score_mod with what it captures", dtype: tensor.Float32, kv: 2, ev: 6, attrs: graph.Attrs{"score_mod": distance},
			score: func(s float64, q, k int) float64 { return s + float64(q-k) }},
		{name: "both", dtype: tensor.Float32, kv: 4, ev: 6, attrs: graph.Attrs{"score_mod": capped, "prob_mod": halved},
			score: func(s float64, _, _ int) float64 { return 0.5 * math.Tanh(s/0.5) }, prob: func(p float64) float64 { return p / 2 }},
	} {
		t.Run(c.name, c.run)
	}
}

func (c flexCase) run(t *testing.T) {
	const batch, heads, rows, keys, size = 2, 4, 3, 5, 4
	r := rand.New(rand.NewPCG(7, 1))
	random := func(shape ...int) *tensor.Tensor {
		x := tensor.Must(tensor.New(tensor.Float32, shape...))
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = tensor.HalfOf(r.Float32()).Float32()
		}
		return x
	}
	q, k, v := random(batch, heads, rows, size), random(batch, c.kv, keys, size), random(batch, c.kv, keys, c.ev)
	far := tensor.Must(tensor.New(tensor.Float32, rows, keys))
	for i := range far.Size() {
		tensor.Data[float32](far)[i] = float32(i/keys - i%keys)
	}
	want := tensor.Must(tensor.New(tensor.Float32, batch, heads, rows, c.ev))
	at := func(x *tensor.Tensor, b, h, i, j int) float64 {
		s := x.Shape()
		return float64(tensor.Data[float32](x)[((b*s[1]+h)*s[2]+i)*s[3]+j])
	}
	scale := c.scale
	if scale == 0 {
		scale = 1 / math.Sqrt(size)
	}
	for b := range batch {
		for h := range heads {
			shared := h / (heads / c.kv)
			for i := range rows {
				p, sum := make([]float64, keys), 0.0
				for j := range keys {
					for e := range size {
						p[j] += at(q, b, h, i, e) * at(k, b, shared, j, e)
					}
					if p[j] *= scale; c.score != nil {
						p[j] = c.score(p[j], i, j)
					}
					p[j] = math.Exp(p[j])
					sum += p[j]
				}
				for e := range c.ev {
					y := 0.0
					for j := range keys {
						share := p[j] / sum
						if c.prob != nil {
							share = c.prob(share)
						}
						y += share * at(v, b, shared, j, e)
					}
					tensor.Data[float32](want)[((b*heads+h)*rows+i)*c.ev+e] = float32(y)
				}
			}
		}
	}
	n := node("FlexAttention", c.attrs, []string{"q", "k", "v"}, "y")
	n.Domain = "ai.onnx.preview"
	g := &graph.Graph{
		Opset: map[string]int64{"": 26, "ai.onnx.preview": 1}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y"}},
		Initializers: []graph.Initializer{{Name: "far", Tensor: far}},
	}
	var in list
	for name, x := range map[string]*tensor.Tensor{"q": q, "k": k, "v": v} {
		g.Inputs = append(g.Inputs, graph.Value{Name: name, DType: c.dtype, Shape: graph.Dims(x.Shape()...)})
		in = append(in, cast(t, x, c.dtype))
	}
	inferred := g.Clone()
	if err := infer.Shapes(inferred); err != nil || inferred.Outputs[0].DType != c.dtype || inferred.Outputs[0].Shape.String() != "[2,4,3,"+inferred.Outputs[0].Shape[3].String()+"]" {
		t.Errorf("inferred %v, %v", inferred.Outputs[0], err)
	}
	out := make(list, 1)
	if err := open(t, g, 1).Run(t.Context(), in, out); err != nil {
		t.Fatal(err)
	}
	if err := conformance.Alike(out[0], cast(t, want, c.dtype)); err != nil {
		t.Error(err)
	}
}

func TestFlexAttentionRefusals(t *testing.T) {
	two := &graph.Graph{Inputs: []graph.Value{{Name: "a"}, {Name: "b"}}, Outputs: []graph.Value{{Name: "a"}}}
	for _, c := range []struct {
		attrs graph.Attrs
		in    []string
		says  string
	}{
		{graph.Attrs{"score_mod": two}, []string{"q", "q", "q"}, "a subgraph of 2 inputs and 1 outputs"},
		{graph.Attrs{"mask_mod": two}, []string{"q", "q", "q"}, "attribute mask_mod"},
		{nil, []string{"q", "q"}, "2 inputs and 1 outputs"},
	} {
		n := node("FlexAttention", c.attrs, c.in, "y")
		n.Domain = "ai.onnx.preview"
		g := &graph.Graph{Opset: map[string]int64{"": 26, "ai.onnx.preview": 1}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y"}},
			Inputs: []graph.Value{{Name: "q", DType: tensor.Float32, Shape: graph.Dims(1, 1, 2, 2)}}}
		if _, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{}); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v: %v, want %q", c.attrs, err, c.says)
		}
	}
}
