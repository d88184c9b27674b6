package train_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// repeated is a table of rows that come again and again, below its header.
func repeated(header string, n int, rows ...string) string {
	b := header + "\n"
	for i := range n {
		b += rows[i%len(rows)] + "\n"
	}
	return b
}

// The column of the labels is chosen as the documents say, and a line says which it is and what else there is.
func TestLabelColumn(t *testing.T) {
	pixels := func(n int, first string) string { return first + strings.Repeat(",7", n) }
	for _, c := range []struct {
		name, text string
		o          train.Options
		say        string // in the first note
		labels     string
	}{
		{"the last one", "a,b,c\n1,2,0\n3,4,1\n", train.Options{}, `the label is in column 3 ("c"), the last one, with 2 classes (0, 1); the columns are a, b`, "0 1"},
		{"the last one without a header", "1,2.5,0\n3,4,1\n", train.Options{}, `the label is in column 3, the last one, with 2 classes (0, 1); the columns are column1, column2`, "0 1"},
		{"label", "y,a,LABEL,b\n1,2,5,4\n3,4,6,4\n", train.Options{}, `the label is in column 3 ("LABEL"), by its name`, "5 6"},
		{"class", "a,class,b\n1,2,0\n3,4,1\n", train.Options{}, `column 2 ("class"), by its name`, "2 4"},
		{"target", "target,b,c\n1,2,0\n3,4,1\n", train.Options{}, `column 1 ("target"), by its name`, "1 3"},
		{"y", "b,y,c\n1,2,0\n3,4,1\n", train.Options{}, `column 2 ("y"), by its name`, "2 4"},
		{"the only text", "a,kind,b\n1,x,0\n3,z,1\n", train.Options{}, `column 2 ("kind"), the only one of text, with 2 classes (x, z)`, "x z"},
		{"two of text", "a,kind,b\n1,x,u\n3,z,v\n", train.Options{}, `column 3 ("b"), the last one, with 2 classes (u, v); the columns are a, kind (x, z)`, "u v"},
		{"text and time", "time,kind,b\n2026-01-02 03:04,x,1\n2026-01-02 03:05,z,2\n", train.Options{}, `column 2 ("kind"), the only one of text, with 2 classes (x, z); the columns are b`, "x z"},
		{"a name that is said", "a,b,c\n1,2,0\n3,4,1\n", train.Options{Label: "b"}, `column 2 ("b"), as --label says`, "2 4"},
		{"a number that is said", "a,b,c\n1,2,0\n3,4,1\n", train.Options{Label: "1"}, `column 1 ("a"), as --label says`, "1 3"},
		{"from the end", "a,b,c\n1,2,0\n3,4,1\n", train.Options{Label: "-2"}, `column 2 ("b"), as --label says`, "2 4"},
		{"a number without a header", "1,2,0\n3,4,1\n", train.Options{Label: "2"}, `column 2, as --label says`, "2 4"},
		{"an ignored label", "a,label,c\n1,2,0\n3,4,1\n", train.Options{Ignore: []string{"label"}}, `column 3 ("c"), the last one, with 2 classes (0, 1); the columns are a; left out: label`, "0 1"},
		{"the last one is ignored", "a,b,c\n1,2,0\n3,4,1\n", train.Options{Ignore: []string{"3"}}, `column 2 ("b"), the last one`, "2 4"},
		{"pictures", pixels(64, "1") + "\n" + pixels(64, "0") + "\n", train.Options{}, `column 1, the first one, as in tables of pictures, with 2 classes`, "0 1"},
		{"pictures, the label last", "0" + strings.Repeat(",0", 63) + ",1\n0" + strings.Repeat(",0", 63) + ",2\n", train.Options{}, `column 65, the last one, with 2 classes`, "1 2"},
		{"a word among numbers", "0,digit,1,2\n5,1,6,7\n5,0,6,8\n", train.Options{Header: train.HeaderYes}, `column 2 ("digit"), the only one that the header gives a word`, "0 1"},
		{"one class in two spellings", "a,b\n1,1\n2,1.0\n3,2\n", train.Options{}, "with 2 classes (1, 2)", "1 2"},
		{"none is a word", "a,kind\n1,none\n2,mild\n", train.Options{}, "with 2 classes (mild, none)", "mild none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := csvSetOf(t, c.text, c.o)
			if got := s.Notes()[0].Text; !strings.Contains(got, c.say) {
				t.Errorf("the note is %s\nwant %s", got, c.say)
			}
			if got := strings.Join(s.Labels(), " "); got != c.labels {
				t.Errorf("labels %s, want %s", got, c.labels)
			}
		})
	}
}

// What cannot be meant is refused, with what to do instead.
func TestTableFaults(t *testing.T) {
	for _, c := range []struct {
		name, text string
		o          train.Options
		want       []string
	}{
		{"no such column", "a,b\n1,2\n", train.Options{Label: "c"}, []string{`--label: there is no column "c" (there are a, b)`}},
		{"no such number", "1,2\n3,4\n", train.Options{Label: "3"}, []string{"--label: there is no column", "from 1 to 2"}},
		{"nothing to ignore", "a,b\n1,2\n", train.Options{Ignore: []string{"id"}}, []string{`--ignore: there is no column "id"`}},
		{"an ignored label", "a,b\n1,2\n", train.Options{Label: "a", Ignore: []string{"a"}}, []string{"--label", "is ignored"}},
		{"nothing is left", "a,b\n1,2\n", train.Options{Label: "a", Ignore: []string{"b"}}, []string{"no column is left beside the label"}},
		{"a missing value", "a,temp,b\n1,2,0\n3,,1\n", train.Options{}, []string{`line 3 (row 2): column 2 ("temp"): "" is no value`, "--missing mean", "--missing drop"}},
		{"a missing label", "a,b\n1,2\n3,?\n", train.Options{Missing: "mean"}, []string{`line 3 (row 2): column 2 ("b")`, "--missing drop"}},
		{"every row has one missing", "a,b,l\n1,,0\n,3,1\n", train.Options{Missing: "drop"}, []string{"every row has a value missing"}},
		{"a word among numbers", repeated("a,b,c", 10, "1,2,0", "3,2,1") + "1,broken,0\n", train.Options{}, []string{`line 12 (row 11): column 2 ("b"): "broken" is not a finite number, as the 10 others are`, "--ignore b"}},
		{"both commas and points", "a;b;c\n1,5;2.5;0\n2,5;3.5;1\n", train.Options{}, []string{"comma before decimals", "a point"}},
		{"thousands", "a;b;c\n1.000,5;2;0\n", train.Options{Header: train.HeaderYes, Missing: "mean"}, nil},
		{"too many texts", func() string {
			b := "name,a,c\n"
			for i := range 100 {
				b += fmt.Sprintf("n%d,%d,%d\n", i, i*i, i%2)
			}
			return b
		}(), train.Options{Label: "c"}, []string{`column 1 ("name") has 100 different texts in 100 rows`, "--ignore name"}},
		{"one name twice", "a,b,b,c\n1,2,3,0\n", train.Options{}, []string{`column 2 ("b") and column 3 ("b") have one name`, "--ignore 3"}},
		{"words for a regression", "a,b\n1,2\n3,x\n", train.Options{Task: "regression"}, []string{`line 3 (row 2): column 2 ("b"): "x" is not a finite number`, "regression"}},
		{"no value to predict", "a,b\n1,2\n3,\n", train.Options{Task: "regression"}, []string{`line 3 (row 2): column 2 ("b")`}},
		{"wrong options", "a,b\n1,2\n", train.Options{Missing: "zero", Task: "guess"}, []string{`missing: "zero" is not one of [error mean drop]`, `task: "guess" is not one of [classification regression]`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := train.ReadCSV(strings.NewReader(c.text), c.o)
			if err == nil {
				if c.want == nil {
					return
				}
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %s", err, want)
				}
			}
		})
	}
}

// Training refuses labels that cannot be meant, reading does not: a model may be measured on few rows.
func TestDoubtfulLabels(t *testing.T) {
	var fractions, many, floats strings.Builder
	fmt.Fprintln(&fractions, "machine,temp,load")
	fmt.Fprintln(&many, "temp,place")
	fmt.Fprintln(&floats, "temp,state")
	for i := range 100 {
		fmt.Fprintf(&fractions, "%d,%d,%v\n", i%3, i, float64(i)*0.37)
		fmt.Fprintf(&many, "%d,%d\n", i, i%11)
		fmt.Fprintf(&floats, "%d,%d.0\n", i, i%2)
	}
	cfg := train.Config{Eval: "0", Epochs: 1, Batch: 10, Engine: native.New(native.Config{})}
	for name, c := range map[string]struct {
		text string
		o    train.Options
		want []string
	}{
		"fractions":               {fractions.String(), train.Options{}, []string{`line 3 (row 2): column 3 ("load")`, "0.37", "--task regression", "--label", `column 1 ("machine") has 3 classes`}},
		"fractions, all the same": {fractions.String(), train.Options{Task: "classification"}, nil},
		"fractions, predicted":    {fractions.String(), train.Options{Task: "regression"}, nil},
		"another column":          {fractions.String(), train.Options{Label: "machine"}, nil},
		"a class in ten rows":     {many.String(), train.Options{}, []string{`column 2 ("place") has 11 classes in 100 rows`, "--task classification", "--task regression"}},
		"whole numbers as 1.0":    {floats.String(), train.Options{}, nil},
		"words":                   {repeated("a,b", 100, "1,x", "2,y", "3,z"), train.Options{}, nil},
		"few rows of two classes": {repeated("a,b", 12, "1,x", "2,y"), train.Options{}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			cfg := cfg
			cfg.Set, cfg.Options = csvSetOf(t, c.text, c.o), c.o
			_, err := train.Run(t.Context(), cfg)
			if c.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, train.ErrData) {
				t.Fatalf("error %v, want ErrData", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %s", err, want)
				}
			}
		})
	}
}

// A table reads the same whatever separates its fields and ends its lines.
func TestTableForms(t *testing.T) {
	const text = "id,temp,state,kind\n1,1.5,open,0\n2,-2.25,shut,1\n3,3,open,0\n"
	want := csvSetOf(t, text, train.Options{Ignore: []string{"id"}})
	for name, form := range map[string]string{
		"semicolons":                   strings.ReplaceAll(text, ",", ";"),
		"tabs":                         strings.ReplaceAll(text, ",", "\t"),
		"bars":                         strings.ReplaceAll(text, ",", "|"),
		"bars, decimal commas":         strings.NewReplacer(",", "|", ".", ",").Replace(text),
		"semicolons, decimal commas":   strings.ReplaceAll(strings.ReplaceAll(text, ",", ";"), ".", ","),
		"tabs, decimal commas, CRLF":   strings.NewReplacer(",", "\t", ".", ",", "\n", "\r\n").Replace(text),
		"a mark, quoted":               "\ufeff\"" + strings.NewReplacer(",", `","`, "\n", "\"\n\"").Replace(strings.TrimSuffix(text, "\n")) + "\"",
		"quoted, semicolons, CRLF":     "\"" + strings.NewReplacer(",", `";"`, "\n", "\"\r\n\"").Replace(strings.TrimSuffix(text, "\n")) + "\"\r\n",
		"blanks":                       strings.ReplaceAll(text, ",", " , "),
		"a blank line":                 strings.Replace(text, "\n2", "\n\n2", 1),
		"an empty line at the end":     text + "\n",
		"decimal commas that are text": strings.NewReplacer(",", ";", ".", ",").Replace(text),
	} {
		got, err := train.ReadCSV(strings.NewReader(form), train.Options{Ignore: []string{"id"}})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(rowsOf(t, want), rowsOf(t, got)); diff != "" || !slices.Equal(want.Labels(), got.Labels()) {
			t.Errorf("%s: %s", name, diff)
		}
		for sep, word := range map[string]string{";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"} {
			if strings.Contains(strings.SplitN(form, "\n", 2)[0], sep) && !strings.Contains(got.Notes()[0].Text, "separated by "+word) {
				t.Errorf("%s: the note is %s", name, got.Notes()[0].Text)
			}
		}
	}
}

// TestSeparatorGiven: what is said goes before what is found, and what was taken is named.
func TestSeparatorGiven(t *testing.T) {
	for _, c := range []struct {
		text      string
		separator rune
		want      string // in the note, or in the error
	}{
		{"a:b:kind\n1:2:x\n3:4:y\n", ':', "fields are separated by ':'"},
		{"a;b,kind\n1;2,x\n3;4,y\n", ';', `the label is in column 2 ("b,kind")`},
		{"a^kind\n1^x\n3^y\n", 0, "there is one column, and a row needs a label and at least one number: fields seem to be separated by commas (--separator names another character)"},
		{"a^kind\n1^x\n3^y\n", ';', "fields are separated by semicolons, as --separator says"},
		{"a|kind\n1|x\n3|4|y\n", 0, "not as many as in the first row; fields seem to be separated by bars (|) (--separator names another character)"},
		{"a,kind\n1,x\n", '"', "cannot be one"},
		{"a,kind\n1,x\n", '\n', "cannot be one"},
	} {
		s, err := train.ReadCSV(strings.NewReader(c.text), train.Options{Separator: c.separator})
		said := fmt.Sprint(err)
		if err == nil {
			said = s.Notes()[0].Text
		}
		if !strings.Contains(said, c.want) {
			t.Errorf("%q by %q: %s", c.text, c.separator, said)
		}
	}
}

// rowsOf are a set's examples with their labels' numbers.
func rowsOf(t *testing.T, s *train.Set) [][]float32 {
	t.Helper()
	var rows [][]float32
	for e, err := range s.Examples() {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, append(slices.Clone(tensor.Data[float32](e.Input)), float32(e.Label)))
	}
	return rows
}

func TestMissingValues(t *testing.T) {
	const text = "a,state,kind\n1,open,0\n,shut,1\n3,NA,0\n5,open,1\nn/a,open,1\n"
	for missing, want := range map[string][][]float32{
		"mean": {{1, 0, 0}, {3, 1, 1}, {3, 0, 0}, {5, 0, 1}, {3, 0, 1}},
		"drop": {{1, 0, 0}, {5, 0, 1}},
	} {
		o := train.Options{Missing: missing, Label: "kind"}
		s := csvSetOf(t, text, o)
		got := rowsOf(t, s)
		if missing == "drop" {
			want[0][1], want[1][1] = got[0][1], got[1][1] // shut is in no row that is left
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", missing, diff)
		}
		g, err := train.NewModel(train.MLP, s, 0)
		if err != nil {
			t.Fatal(err)
		}
		m, err := model.New(g)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range m.Columns {
			if (c.Missing != nil) != (missing == "mean") {
				t.Errorf("%s: column %+v", missing, c)
			}
		}
	}
	s := csvSetOf(t, text, train.Options{Missing: "drop", Label: "kind"})
	if !strings.Contains(s.Notes()[0].Text, "3 rows with a value missing are left out") {
		t.Errorf("notes %v", s.Notes())
	}
}

// Columns that tell nothing are pointed out.
func TestPointedOut(t *testing.T) {
	b := "id,at,unix,serial,temp,kind\n"
	for i := range 40 {
		b += fmt.Sprintf("%d,2026-01-02T03:04:%02dZ,%d,%d,%d,%d\n", i+100, i, 1767322000+60*i, (i*7919)%1000003, i*i%17, i%2)
	}
	s := csvSetOf(t, b, train.Options{})
	var said string
	for _, n := range s.Notes() {
		if n.Warning {
			said += n.Text + "\n"
		}
	}
	for _, want := range []string{
		`column 1 ("id") looks like an index`, "--ignore id ", `column 2 ("at") has timestamps and is left out`, `column 3 ("unix") looks like a timestamp`, "--ignore unix ",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%s is not in\n%s", want, said)
		}
	}
	if strings.Contains(said, "temp") || strings.Contains(said, "kind") || strings.Contains(said, "serial") {
		t.Errorf("too much is pointed out:\n%s", said)
	}
	if s.Shape()[0] != 4 {
		t.Errorf("shape %v", s.Shape())
	}
	for _, n := range csvSetOf(t, b, train.Options{Ignore: []string{"id", "at", "unix"}}).Notes() {
		if n.Warning {
			t.Errorf("what is ignored is pointed out: %s", n.Text)
		}
	}
}

// plant is a table of readings whose kind and load follow from the others.
func plant(n int) string {
	r := rand.New(rand.NewPCG(7, 8))
	var b strings.Builder
	fmt.Fprintln(&b, "id,temperature,state,pressure,load,kind")
	for i := range n {
		temperature, pressure := 20+8*r.NormFloat64(), 1e5+2e3*r.NormFloat64()
		state := []string{"open", "shut", "ajar"}[r.IntN(3)]
		load := 300 + 12*(temperature-20) + 0.02*(pressure-1e5) + map[string]float64{"open": 80, "shut": -60, "ajar": 10}[state]
		kind := 0
		if load > 300 {
			kind = 1
		}
		if load > 400 {
			kind = 2
		}
		fmt.Fprintf(&b, "%d,%.3f,%s,%.1f,%.2f,%d\n", i, temperature, state, pressure, load, kind)
	}
	return b.String()
}

func trainTable(t *testing.T, text string, o train.Options) (train.Result, *model.Model) {
	t.Helper()
	r, err := train.Run(t.Context(), train.Config{Set: csvSetOf(t, text, o), Options: o, Unit: "kW", Eval: "20%", Epochs: 30, Batch: 20, Engine: native.New(native.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.New(r.Model)
	if err != nil {
		t.Fatal(err)
	}
	return r, m
}

// A model of a table says what its columns are, and takes rows by their names to the same answer as the training did.
func TestTableModel(t *testing.T) {
	text := plant(800)
	r, m := trainTable(t, text, train.Options{Label: "kind", Ignore: []string{"id", "load"}})
	if a := r.Evaluation.Accuracy(); a < 0.9 {
		t.Errorf("accuracy %v", a)
	}
	columns, err := json.Marshal(m.Columns)
	if err != nil {
		t.Fatal(err)
	}
	want := []media.Column{{Name: "temperature", Type: "number"}, {Name: "state", Type: "category", Categories: []string{"ajar", "open", "shut"}}, {Name: "pressure", Type: "number"}}
	for i := range want {
		want[i].Mean, want[i].Std = m.Columns[i].Mean, m.Columns[i].Std
	}
	if diff := cmp.Diff(want, m.Columns); diff != "" || math.Abs(*m.Columns[0].Mean-20) > 1 || math.Abs(*m.Columns[0].Std-8) > 1 || m.Columns[1].Mean != nil {
		t.Errorf("columns %s: %s", columns, diff)
	}
	if m.Target != "kind" || m.Task != "classification" || m.Unit != "" || !slices.Equal(m.Ignored, []string{"id", "load", "kind"}) || !slices.Equal(m.Labels, []string{"0", "1", "2"}) {
		t.Errorf("metadata %+v", m.Metadata)
	}
	spec, err := m.Spec()
	if err != nil {
		t.Fatal(err)
	}
	d, err := media.NewDecoder(spec)
	if err != nil {
		t.Fatal(err)
	}
	session, err := native.New(native.Config{}).Open(t.Context(), m.Graph, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	answer := func(kind, text string) []float32 {
		in, err := d.Decode(kind, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		in, err = in.Reshape(1, 3)
		if err != nil {
			t.Fatal(err)
		}
		out := make([]*tensor.Tensor, 1)
		if err := session.Run(t.Context(), []*tensor.Tensor{in}, out); err != nil {
			t.Fatal(err)
		}
		return tensor.Data[float32](out[0])
	}
	first := answer("application/json", `{"pressure":100100,"state":"shut","temperature":22.5,"id":3}`)
	for kind, text := range map[string]string{
		"application/json": `[22.5,2,100100]`, "text/csv": "state,temperature,pressure\nshut,22.5,100100\n", "": `{"shape":[3],"datatype":"FP32","data":[22.5,2,100100]}`,
	} {
		if got := answer(kind, text); !slices.Equal(first, got) {
			t.Errorf("%s: %v, want %v", text, got, first)
		}
	}
	if other := answer("", `[22.5,1,100100]`); slices.Equal(first, other) {
		t.Error("the state makes no difference")
	}
	unknown := answer("", `{"shape":[3],"datatype":"FP32","data":[22.5,0,100100]}`)
	if slices.Equal(first, unknown) {
		t.Error("another category makes no difference")
	}
	// The same table in another order of columns gives the same measure, and others are refused by name.
	var turned strings.Builder
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSpace(line), ",")
		fmt.Fprintln(&turned, strings.Join([]string{f[3], f[5], f[2], f[1]}, ";"))
	}
	o := train.Options{}.For(m.Metadata)
	eval := func(text string) (train.Metrics, error) {
		set, err := train.ReadCSV(strings.NewReader(text), o)
		if err != nil {
			return train.Metrics{}, err
		}
		return train.Evaluate(t.Context(), native.New(native.Config{}), engine.Options{}, r.Model, set)
	}
	a, err := eval(text)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := eval(turned.String()); err != nil || b.Correct != a.Correct || b.Examples != 800 {
		t.Errorf("turned: %+v, %v; want %d right", b, err, a.Correct)
	}
	if b, err := eval("temperature,state,pressure,kind\n22.5,shut,100100,1\n"); err != nil || b.Examples != 1 {
		t.Errorf("one row: %+v, %v", b, err)
	}
	if b, err := eval("22.5,shut,100100,1\n"); err != nil || b.Examples != 1 {
		t.Errorf("one row without a header: %+v, %v", b, err)
	}
	for text, want := range map[string]string{
		"temperature,state,kind\n1,shut,1\n":                   "missing: pressure; the model's columns are temperature, state, pressure",
		"temperature,state,pressure,wind,kind\n1,shut,1,1,1\n": "unknown: wind",
		"temperature,state,pressure,kind\n1,broken,1,1\n":      `line 2 (row 1): column 2 ("state"): "broken" is none of the model's categories (ajar, open, shut)`,
		"temperature,state,pressure,kind\n1,,1,1\n":            `"" is no value`,
		"temperature,state,pressure,kind\nx,shut,1,1\n":        `"x" is not a finite number`,
		"temperature,state,pressure\n1,shut,1\n":               "--label names one",
		"temperature,state,pressure,kind\n1,shut,1,7\n":        `label "7" of the data set is not one of the model's 3 labels`,
		"1,shut,1,1,1\n": "4 columns are there beside the label",
	} {
		if _, err := eval(text); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func TestRegression(t *testing.T) {
	text := plant(800)
	o := train.Options{Label: "load", Ignore: []string{"id", "kind"}, Task: "regression"}
	r, m := trainTable(t, text, o)
	e := r.Evaluation.Errors
	if e == nil || e.R2 < 0.97 || e.RMSE > 25 || e.MAE > e.RMSE || !r.Regression || r.Accuracy != 0 || math.Abs(r.Evaluation.Loss-e.RMSE*e.RMSE) > 1e-6*r.Evaluation.Loss {
		t.Errorf("evaluation %+v, errors %+v", r.Evaluation, e)
	}
	if m.Task != "regression" || m.Target != "load" || m.Unit != "kW" || m.Labels != nil || !slices.Equal(m.Ignored, []string{"id", "load", "kind"}) {
		t.Errorf("metadata %+v", m.Metadata)
	}
	if v := m.Outputs()[0]; v.Name != "value" || len(m.Outputs()) != 1 || v.Shape[1].Size != 1 {
		t.Errorf("outputs %v", m.Outputs())
	}
	set := csvSetOf(t, text, o.For(m.Metadata))
	all, err := train.Evaluate(t.Context(), native.New(native.Config{}), engine.Options{}, r.Model, set)
	if err != nil || all.Errors == nil || all.Errors.R2 < 0.97 || all.Examples != 800 {
		t.Errorf("%+v, %v", all, err)
	}
	// Numbers of any size are learned alike, by an optimizer that feels their size too.
	for _, scale := range []string{"e-6", "e9"} {
		var b strings.Builder
		for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
			f := strings.Split(line, ",")
			if i > 0 {
				f[4] += scale
			}
			fmt.Fprintln(&b, strings.Join(f, ","))
		}
		res, err := train.Run(t.Context(), train.Config{Set: csvSetOf(t, b.String(), o), Options: o, Eval: "20%", Epochs: 20, Batch: 20, Optimizer: "momentum", LearningRate: 0.01, Engine: native.New(native.Config{})})
		if err != nil || res.Evaluation.Errors.R2 < 0.97 {
			t.Errorf("%s: %+v, %v", scale, res.Evaluation, err)
		}
	}
	// Labels for a regression and numbers for a classifier are refused.
	classes := csvSetOf(t, text, train.Options{Label: "kind", Ignore: []string{"id", "load"}})
	if _, err := train.Evaluate(t.Context(), native.New(native.Config{}), engine.Options{}, r.Model, classes); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "the model is a regression") {
		t.Errorf("labels: %v", err)
	}
	if _, err := train.Run(t.Context(), train.Config{Set: classes, Options: o, Engine: native.New(native.Config{})}); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "needs a table with numbers") {
		t.Errorf("labels for --task regression: %v", err)
	}
	if _, err := train.Run(t.Context(), train.Config{Set: set, Options: o, LabelSmoothing: 0.1, Engine: native.New(native.Config{})}); err == nil || !strings.Contains(err.Error(), "label_smoothing") {
		t.Errorf("label smoothing: %v", err)
	}
}

// What is in a graph for the columns is not trained, and other graphs of one output learn numbers too.
func TestForeignRegression(t *testing.T) {
	text := plant(400)
	o := train.Options{Label: "load", Ignore: []string{"id", "kind", "state", "pressure"}, Task: "regression"}
	b := graph.NewBuilder("linear")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 1}})
	w, bias := b.Init("w", tensor.Must(tensor.New(tensor.Float32, 1, 1))), b.Init("b", tensor.Must(tensor.New(tensor.Float32, 1)))
	b.Output(b.Name(b.Op("Gemm", nil, x, w, bias), "y"))
	r, err := train.Run(t.Context(), train.Config{
		Arch: save(t, b), Set: csvSetOf(t, text, o), Options: o, Eval: "10%", Epochs: 60, Batch: 20, LearningRate: 0.5, Engine: native.New(native.Config{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if e := r.Evaluation.Errors; e.R2 < 0.4 || r.Model.Metadata["millrace.task"] != "regression" || r.Model.Metadata["millrace.target"] != "load" {
		t.Errorf("%+v, metadata %v", e, r.Model.Metadata)
	}
}

// TestCellsAsWritten: a fault shows the cell as the file has it, also where the column has so many numbers that they are not kept as they are written.
func TestCellsAsWritten(t *testing.T) {
	for _, rows := range []int{10, 5000} { // few and many different numbers
		for cell, want := range map[string]string{
			"n/a":   `column 2 ("temperature"): "n/a" is no value`,
			"NULL":  `column 2 ("temperature"): "NULL" is no value`,
			"":      `column 2 ("temperature"): "" is no value`,
			"12.5C": `column 2 ("temperature"): "12.5C" is not a finite number`,
			"0x10":  `column 2 ("temperature"): "0x10" is not a finite number`,
			"1e400": `column 2 ("temperature"): "1e400" is not a finite number`,
			"+1E39": `column 2 ("temperature"): "+1E39" is too large`,
		} {
			for _, at := range []int{3, rows - 2} {
				for _, label := range []string{"state", "temperature"} {
					text := "id,temperature,load,state\n"
					for i := range rows {
						v := fmt.Sprint(20 + float64(i)/8)
						if i == at {
							v = cell
						}
						text += fmt.Sprintf("%d,%s,%d,%d\n", i, v, i%7, i%2)
					}
					o, want := train.Options{Label: label}, want
					if label == "temperature" { // the label's fault has other words
						o.Task, want = "regression", `column 2 ("temperature")`
					}
					_, err := train.ReadCSV(strings.NewReader(text), o)
					if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), strconv.Quote(cell)) ||
						!strings.Contains(err.Error(), fmt.Sprintf("line %d (row %d)", at+2, at+1)) {
						t.Errorf("%d rows, %q at %d, label %s: %v", rows, cell, at, label, err)
					}
				}
			}
		}
	}
}

// TestMissingAreNotDifferent: cells without a value are no classes, however many numbers there are.
func TestMissingAreNotDifferent(t *testing.T) {
	text := "a,kind\n"
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "%d,%d\n", i%3, i%1500)
	}
	text += b.String() + strings.Repeat("1,n/a\n", 1<<16)
	s, err := train.ReadCSV(strings.NewReader(text), train.Options{Missing: "drop", Task: "classification", Label: "kind"})
	if err != nil || len(s.Labels()) != 1500 {
		t.Fatalf("%v, %v", s, err)
	}
}
