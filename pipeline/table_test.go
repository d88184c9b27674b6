package pipeline_test

import (
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/tensor"
)

// meter is a regression over a table: the temperature and twice the door's state.
func (w *workbench) meter() *graph.Graph {
	w.Helper()
	b := graph.NewBuilder("meter")
	x := b.Input("x", tensor.Float32, graph.Shape{free, {Size: 2}})
	b.Output(b.Name(b.Op("MatMul", nil, x, b.Init("w", tensor.Must(tensor.Of([]float32{1, 2}, 2, 1)))), "y"))
	g, err := infer.Build(b)
	if err != nil {
		w.Fatal(err)
	}
	g.Metadata = map[string]string{
		"millrace.columns": `[{"name":"temperature","type":"number"},{"name":"door","type":"category","categories":["shut","open"]}]`,
		"millrace.ignored": `["id","time"]`, "millrace.task": "regression", "millrace.target": "load", "millrace.unit": "°C",
	}
	return g
}

func (w *workbench) raw(l *grid.Listener, key string) string {
	w.Helper()
	return string(w.next(l, "entry of "+key, func(e grid.Event) bool { return e.Entry.Key == key && e.Type != grid.Removed }).Entry.Value)
}

func TestRegression(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.meter(), nil)
	w.run(nil)
	r := w.result(w.listen("out"), "a", w.put("a", `{"door":"open","temperature":19.5,"id":17}`))
	if r.Value == nil || *r.Value != 21.5 || r.Target != "load" || r.Unit != "°C" || r.Label != "" || r.Scores != nil || r.Outputs != nil || r.Carry != nil {
		t.Errorf("result %+v", r)
	}
	w.put("b", "[20, 0]")
	if got := w.raw(w.listen("out"), "b"); !strings.HasPrefix(got, `{"value":20,"target":"load","unit":"°C","model":"m","version":1,`) {
		t.Errorf("the result of a list is %s", got)
	}
	r = w.result(w.listen("p-errors"), "c", w.put("c", `{"temp":1,"door":"open"}`))
	if r.Code != "bad_input" || !strings.Contains(r.Error, "missing: temperature; unknown: temp") {
		t.Errorf("wrong names: %+v", r)
	}
	r = w.result(w.listen("p-errors"), "d", w.put("d", `{"shape":[2],"datatype":"FP64","data":[1e300,1]}`))
	if r.Code != "bad_output" || !strings.Contains(r.Error, `output "y"`) {
		t.Errorf("no finite number: %+v", r)
	}
}

// What a pipeline carries comes from the input as it was sent, into results and error entries.
func TestCarry(t *testing.T) {
	w := newWorkbench(t)
	w.serve(1, w.meter(), nil)
	w.run(func(c *pipeline.Config) { c.Carry = []string{"id", "time", "place"} })
	const row = `"temperature":1,"door":0`
	w.put("known to the pipeline", `{"place":"shed",`+row+`}`)
	if got := w.raw(w.listen("out"), "known to the pipeline"); !strings.Contains(got, `"carry":{"place":"shed"}`) {
		t.Errorf("a name that the model does not know: %s", got)
	}
	for key, c := range map[string][3]string{ // content type, entry, what is carried
		"all":     {"application/json", `{"time":"2026-01-02T03:04:05Z", "id" : 17,` + row + `}`, `{"id":17,"time":"2026-01-02T03:04:05Z"}`},
		"one":     {"application/json", `{"id":{"a":[1,"}"]},` + row + `}`, `{"id":{"a":[1,"}"]}}`},
		"exact":   {"application/json", `{"id":12345678901234567890,` + row + `}`, `{"id":12345678901234567890}`},
		"none":    {"application/json", `{` + row + `}`, ``},
		"list":    {"application/json", `[1,0]`, ``},
		"CSV":     {"text/csv", "id,time,temperature,door\n0017,2026-01-02,1,open\n", `{"id":"0017","time":"2026-01-02"}`},
		"CSV too": {"text/csv", "id;temperature;door;time\n17;1,5;open;\n", `{"id":17,"time":null}`},
	} {
		if _, err := w.cache("in").Put(t.Context(), key, []byte(c[1]), grid.PutOptions{ContentType: c[0]}); err != nil {
			t.Fatal(err)
		}
		got := w.raw(w.listen("out"), key)
		want := `"version":1,"pipeline":"p","carry":` + c[2] + `,"source":`
		if c[2] == "" {
			want = `"version":1,"pipeline":"p","source":`
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s is not in %s", key, want, got)
		}
	}
	w.put("bad", `{"id":18,"place":"shed","temperature":1}`)
	if got := w.raw(w.listen("p-errors"), "bad"); !strings.Contains(got, `"carry":{"id":18,"place":"shed"}`) || !strings.Contains(got, `"code":"bad_input"`) {
		t.Errorf("the error entry is %s", got)
	}
	err := pipeline.Config{Name: "p", From: "in", To: "out", Model: "m", Carry: []string{"id", "", "id"}}.Validate()
	if err == nil || !strings.Contains(err.Error(), `carry[1]: "" is no`) || !strings.Contains(err.Error(), `carry[2]: "id" is there twice`) {
		t.Errorf("names to carry: %v", err)
	}
}
