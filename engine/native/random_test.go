package native_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/tensor"
)

// drawModel is one operator that draws n numbers.
func drawModel(op string, attrs graph.Attrs, in ...graph.Initializer) *graph.Graph {
	g := &graph.Graph{Name: op, Opset: map[string]int64{"": 17}, Initializers: in, Outputs: []graph.Value{{Name: "y"}}}
	n := node(op, attrs, nil, "y")
	for _, i := range in {
		n.Inputs = append(n.Inputs, i.Name)
	}
	g.Nodes = []*graph.Node{n}
	return g
}

// What random operators draw has the moments that their attributes ask for, in the type that they ask for. Runs with a seed repeat,
// those without do not.
func TestRandomOperators(t *testing.T) {
	const n = 40000
	x := graph.Initializer{Name: "x", Tensor: tensor.Must(tensor.New(tensor.Float32, n))}
	p := graph.Initializer{Name: "p", Tensor: tensor.Must(tensor.New(tensor.Float64, n))}
	for i := range n {
		tensor.Data[float64](p.Tensor)[i] = 0.3
	}
	w := graph.Initializer{Name: "w", Tensor: tensor.Must(tensor.Of([]float32{float32(math.Log(1)), float32(math.Log(2)), float32(math.Log(5)), float32(math.Inf(-1))}, 1, 4))}
	for _, c := range []struct {
		op              string
		attrs           graph.Attrs
		in              []graph.Initializer
		dtype           tensor.DType
		mean, deviation float64
		low, high       float64
	}{
		{"RandomUniform", graph.Attrs{"shape": []int64{n}, "low": float32(-2), "high": float32(4)}, nil, tensor.Float32, 1, math.Sqrt(3), -2, 4},
		{"RandomUniformLike", graph.Attrs{"dtype": int64(11)}, []graph.Initializer{x}, tensor.Float64, 0.5, math.Sqrt(1.0 / 12), 0, 1},
		{"RandomNormal", graph.Attrs{"shape": []int64{n / 2, 2}, "mean": float32(3), "scale": float32(2)}, nil, tensor.Float32, 3, 2, -20, 20},
		{"RandomNormalLike", graph.Attrs{"dtype": int64(10)}, []graph.Initializer{x}, tensor.Float16, 0, 1, -9, 9},
		{"Bernoulli", nil, []graph.Initializer{p}, tensor.Float64, 0.3, math.Sqrt(0.21), 0, 1},
		{"Bernoulli", graph.Attrs{"dtype": int64(9)}, []graph.Initializer{p}, tensor.Bool, 0.3, math.Sqrt(0.21), 0, 1},
		{"Multinomial", graph.Attrs{"sample_size": int64(n), "dtype": int64(7)}, []graph.Initializer{w}, tensor.Int64, 1.5, 0.7071, 0, 2},
	} {
		for _, seeded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_%v_%v", c.op, c.dtype, seeded), func(t *testing.T) {
				attrs := c.attrs.Clone()
				if attrs == nil {
					attrs = graph.Attrs{}
				}
				if seeded {
					attrs["seed"] = float32(7)
				}
				s := open(t, drawModel(c.op, attrs, c.in...), 2)
				var runs [2][]float64
				for i := range runs {
					out := make([]*tensor.Tensor, 1)
					if err := s.Run(t.Context(), nil, out); err != nil {
						t.Fatal(err)
					}
					if out[0].DType() != c.dtype || out[0].Size() != n {
						t.Fatalf("got %v%v", out[0].DType(), out[0].Shape())
					}
					runs[i] = float64s(t, out[0])
				}
				if same := slices.Equal(runs[0], runs[1]); same != seeded {
					t.Errorf("two runs are the same: %v", same)
				}
				sum, squares := 0.0, 0.0
				for _, v := range runs[0] {
					sum += v
					squares += v * v
				}
				mean := sum / n
				deviation := math.Sqrt(squares/n - mean*mean)
				if math.Abs(mean-c.mean) > 5*c.deviation/math.Sqrt(n) || math.Abs(deviation/c.deviation-1) > 0.03 {
					t.Errorf("mean %v, deviation %v; want %v and %v", mean, deviation, c.mean, c.deviation)
				}
				if lo, hi := slices.Min(runs[0]), slices.Max(runs[0]); lo < c.low || hi > c.high {
					t.Errorf("from %v to %v", lo, hi)
				}
			})
		}
	}
}

func float64s(t *testing.T, x *tensor.Tensor) []float64 {
	t.Helper()
	out := make([]float64, x.Size())
	for i := range out {
		switch d := x.Raw().(type) {
		case []float32:
			out[i] = float64(d[i])
		case []float64:
			out[i] = d[i]
		case []int64:
			out[i] = float64(d[i])
		case []tensor.Half:
			out[i] = float64(d[i].Float32())
		case []bool:
			if d[i] {
				out[i] = 1
			}
		default:
			t.Fatalf("no number in %v", x.DType())
		}
	}
	return out
}

// A seed gives the numbers that ONNX's reference makes of it with numpy's RandomState.
func TestSeedsAsNumpy(t *testing.T) {
	for op, want := range map[string][]float64{
		"RandomUniform": {0.3745401188473625, 0.9507143064099162, 0.7319939418114051},
		"RandomNormal":  {0.4967141530112327, -0.13826430117118466, 0.6476885381006925},
	} {
		out := make([]*tensor.Tensor, 1)
		s := open(t, drawModel(op, graph.Attrs{"shape": []int64{3}, "seed": float32(42), "dtype": int64(11)}), 1)
		if err := s.Run(t.Context(), nil, out); err != nil {
			t.Fatal(err)
		}
		for i, v := range tensor.Data[float64](out[0]) {
			if math.Abs(v-want[i]) > 1e-12 {
				t.Errorf("%s: %v, want %v", op, tensor.Data[float64](out[0]), want)
				break
			}
		}
	}
}

func TestWords(t *testing.T) {
	words := tensor.Vector("Monday", "tuesday", "", "MONDAY", "İ")
	for _, c := range []operatorCase{
		{op: "StringNormalizer", attrs: graph.Attrs{"case_change_action": "UPPER", "stopwords": []string{"monday"}}, in: list{words}, want: list{tensor.Vector("TUESDAY", "", "İ")}},
		{op: "StringNormalizer", attrs: graph.Attrs{"case_change_action": "LOWER", "is_case_sensitive": int64(1), "stopwords": []string{"Monday"}, "locale": "tr_TR"}, in: list{words},
			want: list{tensor.Vector("tuesday", "", "monday", "i")}},
		{op: "StringNormalizer", attrs: graph.Attrs{"stopwords": []string{"a"}}, in: list{tensor.Must(tensor.Of([]string{"A", "a"}, 1, 2))}, want: list{tensor.Must(tensor.Of([]string{""}, 1, 1))}},
		{op: "StringNormalizer", in: list{tensor.Must(tensor.Of([]string{"A", "a"}, 2, 1))}, err: "not [2,1]"},
		{op: "TfIdfVectorizer", attrs: vectorizer("TFIDF"), in: list{tensor.Must(tensor.Of([]string{"a", "b", "a", "b", "c", "a"}, 2, 3))},
			want: list{tensor.Must(tensor.Of([]float32{4, 0.5, 3, 2, 0.5, 0}, 2, 3))}},
		{op: "TfIdfVectorizer", attrs: vectorizer("IDF"), in: list{tensor.Vector("b", "x", "a", "a")}, want: list{tensor.Vector[float32](2, 0.5, 0)}},
		{op: "TfIdfVectorizer", attrs: vectorizer("?"), in: list{tensor.Vector("b")}, err: `mode "?"`},
		{op: "TfIdfVectorizer", attrs: vectorizer("TF"), in: list{tensor.Vector[int64](1)}, err: "no pool for int64"},
	} {
		t.Run(c.op, c.run)
	}
	bad := vectorizer("TF")
	bad["ngram_counts"] = []int64{0, 9}
	t.Run("counts", operatorCase{op: "TfIdfVectorizer", attrs: bad, in: list{tensor.Vector("b")}, err: "ngram_counts [0 9] for a pool of 5"}.run)
}

// vectorizer counts "a", and "b a" and "a b" with at most one item between.
func vectorizer(mode string) graph.Attrs {
	return graph.Attrs{"mode": mode, "min_gram_length": int64(1), "max_gram_length": int64(2), "max_skip_count": int64(1), "ngram_counts": []int64{0, 1},
		"ngram_indexes": []int64{0, 1, 2}, "pool_strings": []string{"a", "b", "a", "a", "b"}, "weights": []float32{2, 0.5, 3}}
}
