package model_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// scaled is a model that multiplies with a weight, or adds it.
func scaled(t *testing.T, op string, width int, labels string, w ...float32) *model.Model {
	t.Helper()
	b := graph.NewBuilder("scaled")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: int64(width)}})
	b.Output(b.Name(b.Op(op, nil, x, b.Init("w", tensor.Vector(w...))), "y"))
	g, err := infer.Build(b)
	if err != nil {
		t.Fatal(err)
	}
	g.Metadata = map[string]string{"millrace.labels": labels, "author": "me"}
	m, err := model.New(g)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Two models differ in what a person would ask for, and a model does not differ from itself.
func TestDiff(t *testing.T) {
	a := scaled(t, "Mul", 2, `["a","b"]`, 1, 2)
	if d := model.Diff(a, scaled(t, "Mul", 2, `["a","b"]`, 1, 2)); len(d) != 0 {
		t.Errorf("the same: %v", d)
	}
	for what, c := range map[string]struct {
		b    *model.Model
		want string
	}{
		"a weight":  {scaled(t, "Mul", 2, `["a","b"]`, 1, 2.5), "weights w: float32[2] | float32[2] with 1 of 2 numbers changed, by at most 0.5"},
		"labels":    {scaled(t, "Mul", 2, `["a","c"]`, 1, 2), `metadata millrace.labels: ["a","b"] | ["a","c"]`},
		"operators": {scaled(t, "Add", 2, `["a","b"]`, 1, 2), "operators Add:  | 1\noperators Mul: 1 | "},
		"inputs": {scaled(t, "Mul", 3, `["a","b"]`, 1, 2, 3), "signature input x: float32[N,2] | float32[N,3]\nsignature output y: float32[N,2] | float32[N,3]\n" +
			"weights w: float32[2] | float32[3]\nsize parameters: 2 | 3"},
	} {
		var lines []string
		for _, d := range model.Diff(a, c.b) {
			lines = append(lines, d.Kind+" "+d.Name+": "+d.A+" | "+d.B)
		}
		if got := strings.Join(lines, "\n"); got != c.want {
			t.Errorf("%s:\n%s\nwant\n%s", what, got, c.want)
		}
	}
}
