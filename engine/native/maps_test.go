package native_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/tensor"
)

func TestMaps(t *testing.T) {
	numbers := tensor.Value{Kind: tensor.KindMap, Keys: int64s(5, 1, 2), Tensor: tensor.Vector[float32](50.5, 10, 20)}
	texts := tensor.Value{Kind: tensor.KindMap, Keys: int64s(2, 0), Tensor: tensor.Vector("7", "-3")}
	words := tensor.Value{Kind: tensor.KindMap, Keys: tensor.Vector("b", "z"), Tensor: tensor.Vector(2.5, 9)}
	counts := tensor.Value{Kind: tensor.KindMap, Keys: int64s(4, 8), Tensor: tensor.Vector("four", "eight")}
	for _, c := range []struct {
		op    string
		attrs graph.Attrs
		in    tensor.Value
		want  string // or what the error says
	}{
		{"CastMap", nil, numbers, "float32[1,3]{10 20 50.5}"},
		{"CastMap", graph.Attrs{"cast_to": "TO_INT64"}, numbers, "int64[1,3]{10 20 50}"},
		{"CastMap", graph.Attrs{"cast_to": "TO_STRING"}, numbers, `string[1,3]{"10" "20" "50.5"}`},
		{"CastMap", graph.Attrs{"cast_to": "TO_INT64"}, texts, "int64[1,2]{-3 7}"},
		{"CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(6)}, numbers, "float32[1,6]{0 10 20 0 0 50.5}"},
		{"CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(4), "cast_to": "TO_STRING"}, texts, `string[1,4]{"-3" "" "7" ""}`},
		{"CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(5)}, numbers, "key 5 is outside 0 to max_map-1, 4"},
		{"CastMap", graph.Attrs{"map_form": "SPARSE", "max_map": int64(-5)}, numbers, "max_map is -5"},
		{"CastMap", graph.Attrs{"map_form": "ROUND"}, numbers, `map_form "ROUND"`},
		{"CastMap", graph.Attrs{"cast_to": "TO_BOOL"}, numbers, `cast_to "TO_BOOL"`},
		{"CastMap", nil, words, "keys of string, not int64"},
		{"DictVectorizer", graph.Attrs{"string_vocabulary": []string{"a", "b", "c"}}, words, "float64[1,3]{0 2.5 0}"},
		{"DictVectorizer", graph.Attrs{"int64_vocabulary": []int64{8, 1, 4}}, counts, `string[1,3]{"eight" "" "four"}`},
		{"DictVectorizer", graph.Attrs{"string_vocabulary": []string{"a"}}, counts, "there is no vocabulary of them"},
		{"DictVectorizer", nil, counts, "one of string_vocabulary and int64_vocabulary"},
	} {
		n := node(c.op, c.attrs, []string{"m"}, "y")
		n.Domain = "ai.onnx.ml"
		g := &graph.Graph{
			Opset: map[string]int64{"": 17, "ai.onnx.ml": 1}, Nodes: []*graph.Node{n}, Outputs: []graph.Value{{Name: "y"}},
			Inputs: []graph.Value{{Name: "m", DType: c.in.Tensor.DType(), Shape: graph.Shape{}, Container: graph.MapOf(c.in.Keys.DType())}},
		}
		got, err := runMap(t, g, c.in)
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s%v: %s, want %s", c.op, c.attrs, got, c.want)
		}
	}
}

// runMap runs a graph of a map, and holds its output against what is inferred.
func runMap(t *testing.T, g *graph.Graph, in tensor.Value) (string, error) {
	t.Helper()
	inferred := g.Clone()
	if err := infer.Shapes(inferred); err != nil {
		return "", err
	}
	s, err := native.New(native.Config{}).Open(t.Context(), g, engine.Options{Values: true})
	if err != nil {
		return "", err
	}
	defer s.Close()
	out := make([]tensor.Value, 1)
	if err := s.(engine.ValueSession).RunValues(t.Context(), []tensor.Value{in}, out); err != nil {
		return "", err
	}
	y := inferred.Outputs[0]
	if y.DType != out[0].Tensor.DType() || len(y.Shape) != 2 || y.Shape[1].Known() && int(y.Shape[1].Size) != out[0].Tensor.Shape()[1] {
		t.Errorf("%v is inferred of what is %v", y, out[0].Tensor)
	}
	return fmt.Sprint(out[0].Tensor), nil
}
