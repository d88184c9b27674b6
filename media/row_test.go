package media_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// readings is a table with a number, a category, a category of digits and a number that may be missing.
func readings() media.Spec {
	return media.Spec{
		DType: tensor.Float32, Shape: tensor.Shape{4}, Scale: 1,
		Columns: []media.Column{
			{Name: "temperature", Type: media.NumberColumn},
			{Name: "state", Type: media.CategoryColumn, Categories: []string{"open", "shut", "True"}},
			{Name: "line", Type: media.CategoryColumn, Categories: []string{"7", "5", "x;y"}},
			{Name: "load", Type: media.NumberColumn, Missing: new(20.5)},
		},
		Ignored: []string{"id", "time"},
	}
}

func TestRows(t *testing.T) {
	const want = "[31.5 1 0 2]"
	for name, c := range map[string]struct {
		kind, text string
		want       string // of the numbers, or in the error where fails is there
		fails      error
	}{
		"object":                  {"application/json", `{"temperature":31.5,"state":"shut","line":"7","load":2}`, want, nil},
		"another order":           {"application/json", ` {"load":2,"line":7,"state":"shut","temperature":31.5}`, want, nil},
		"no content type":         {"", `{"load":2,"line":7,"state":"shut","temperature":31.5}`, want, nil},
		"categories by number":    {"application/json", `{"load":2,"line":0,"state":1,"temperature":3.15e1}`, want, nil},
		"ignored names":           {"application/json", `{"id":17,"time":{"at":[1]},"load":2,"line":7,"state":"shut","temperature":31.5}`, want, nil},
		"a boolean":               {"application/json", `{"load":2,"line":7,"state":true,"temperature":31.5}`, "[31.5 2 0 2]", nil},
		"a name is missing":       {"application/json", `{"load":2,"line":7,"state":"shut"}`, "missing: temperature; the columns are temperature, state, line, load", media.ErrShape},
		"several are missing":     {"application/json", `{}`, "missing: temperature, state, line;", media.ErrShape},
		"an unknown name":         {"application/json", `{"temp":31.5,"load":2,"line":7,"state":"shut"}`, "missing: temperature; unknown: temp;", media.ErrShape},
		"a name twice":            {"application/json", `{"temperature":1,"temperature":31.5,"load":2,"line":7,"state":"shut"}`, `"temperature" comes twice`, media.ErrMalformed},
		"missing with a value":    {"application/json", `{"temperature":31.5,"state":"shut","line":"7"}`, "[31.5 1 0 20.5]", nil},
		"null with a value":       {"application/json", `{"temperature":31.5,"state":"shut","line":"7","load":null}`, "[31.5 1 0 20.5]", nil},
		"null without":            {"application/json", `{"temperature":null,"state":"shut","line":"7","load":1}`, `"temperature" has no value`, media.ErrShape},
		"a word for a number":     {"application/json", `{"temperature":"31.5","state":"shut","line":"7","load":1}`, `"temperature" is a number, not the text`, media.ErrShape},
		"an unknown category":     {"application/json", `{"temperature":1,"state":"ajar","line":"7","load":1}`, `"ajar" is none of open, shut, True`, media.ErrShape},
		"no category's number":    {"application/json", `{"temperature":1,"state":3,"line":"7","load":1}`, "3 is no number of a category, from 0 to 2", media.ErrShape},
		"a list for a number":     {"application/json", `{"temperature":[1],"state":1,"line":"7","load":1}`, "takes one value", media.ErrShape},
		"too large":               {"application/json", `{"temperature":1e300,"state":1,"line":"7","load":1}`, "1e+300 is too large", media.ErrNotFinite},
		"cut off":                 {"application/json", `{"temperature":1`, "it ends", media.ErrMalformed},
		"something follows":       {"application/json", `{"temperature":31.5,"state":"shut","line":"7","load":2} 1`, "nothing more", media.ErrMalformed},
		"list":                    {"application/json", `[31.5, "shut", "7", 2]`, want, nil},
		"list of numbers":         {"application/json", `[31.5, 1, 0, 2]`, want, nil},
		"list with null":          {"application/json", `[31.5, 1, 0, null]`, "[31.5 1 0 20.5]", nil},
		"nested list":             {"application/json", `[[31.5, 1, 0, 2]]`, want, nil},
		"short list":              {"application/json", `[31.5, 1]`, "2 values for 4 columns (temperature, state, line, load)", media.ErrShape},
		"long list":               {"application/json", `[31.5, 1, 0, 2, 3]`, "5 values for 4 columns", media.ErrShape},
		"list of bad categories":  {"application/json", `[31.5, 1.5, 0, 2]`, "1.5 is no number of a category", media.ErrShape},
		"tensor":                  {"application/json", `{"inputs":[{"name":"x","shape":[4],"datatype":"FP32","data":[31.5,1,0,2]}]}`, want, nil},
		"tensor of bad category":  {"application/json", `{"shape":[4],"datatype":"FP32","data":[31.5,9,0,2]}`, "9 is no number of a category", media.ErrShape},
		"array":                   {"", npyOf(t, tensor.Vector[float32](31.5, 1, 0, 2)), want, nil},
		"CSV":                     {"text/csv", "temperature,state,line,load\n31.5,shut,7,2\n", want, nil},
		"CSV with parameters":     {"text/csv; charset=utf-8", "temperature,state,line,load\r\n31.5,shut,7,2", want, nil},
		"CSV in another order":    {"text/csv", "\ufefftime,load,line,id,state,temperature\n2026-01-01,2,7,17,shut,31.5\n", want, nil},
		"CSV, semicolons":         {"text/csv", "temperature;state;line;load\n31,5;shut;7;2,0\n", want, nil},
		"CSV, tabs":               {"text/csv", "load\ttemperature\tstate\tline\n\t31.5\tshut\t7\n", "[31.5 1 0 20.5]", nil},
		"CSV, quoted":             {"text/csv", "\"temperature\",\"state\",\"line\",\"load\"\n\"31.5\",\"shut\",\"x;y\",\"2\"\n", "[31.5 1 2 2]", nil},
		"CSV by its look":         {"application/x-www-form-urlencoded", "temperature,state,line,load\n31.5,shut,7,2\n", want, nil},
		"CSV, no value":           {"text/csv", "temperature,state,line,load\n,shut,7,2\n", `"temperature" has no value`, media.ErrShape},
		"CSV, a word":             {"text/csv", "temperature,state,line,load\nhot,shut,7,2\n", `"hot" is not a finite number`, media.ErrShape},
		"CSV, thousands":          {"text/csv", "temperature,state,line,load\n\"31,500\",shut,7,2\n", `"31,500" is not a finite number`, media.ErrShape},
		"CSV, a column too few":   {"text/csv", "temperature,state,load\n1,shut,2\n", "missing: line;", media.ErrShape},
		"CSV, a column too many":  {"text/csv", "temperature,state,line,load,more\n1,shut,7,2,3\n", "unknown: more;", media.ErrShape},
		"CSV, two rows":           {"text/csv", "temperature,state,line,load\n1,shut,7,2\n1,shut,7,2\n", "one entry is one row", media.ErrShape},
		"CSV, no row":             {"text/csv", "temperature,state,line,load\n", "a line of values", media.ErrMalformed},
		"CSV, no header":          {"text/csv", "31.5,shut,7,2\n", "a header line", media.ErrMalformed},
		"CSV, fields differ":      {"text/csv", "temperature,state,line,load\n1,shut\n", "not as many as in the header", media.ErrMalformed},
		"CSV, not UTF-8":          {"text/csv", "temperature,state,line,load\n1,\xff,7,2\n", "not UTF-8", media.ErrMalformed},
		"a picture for a table":   {"image/png", string(encodePNG(t, digit())), "no picture", media.ErrUnsupportedType},
		"a name that is a header": {"text/csv", "temperature,temperature,state,line,load\n1,1,shut,7,2\n", "twice", media.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decoder(t, readings()).Decode(c.kind, []byte(c.text))
			if c.fails != nil {
				if !errors.Is(err, c.fails) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %v with %q", err, c.fails, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if s := fmt.Sprint(tensor.Data[float32](got)); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// A table of many rows is a batch.
func TestRowsBatch(t *testing.T) {
	d := decoder(t, readings())
	for name, text := range map[string]string{
		"CSV":     "temperature,state,line,load\n31.5,shut,7,2\n1,open,5,3\n",
		"objects": `[{"temperature":31.5,"state":"shut","line":"7","load":2},{"temperature":1,"state":"open","line":5,"load":3}]`,
		"lists":   `[[31.5,"shut","7",2],[1,"open",1,3]]`,
	} {
		got, err := d.Rows("", []byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Shape().Equal(tensor.Shape{2, 4}) || !slices.Equal(tensor.Data[float32](got), []float32{31.5, 1, 0, 2, 1, 0, 1, 3}) {
			t.Errorf("%s: %v", name, tensor.Data[float32](got))
		}
	}
	if _, err := d.Rows("", []byte("temperature,state,line,load\n1,open,5,3\nx,shut,7,2\n")); err == nil || !strings.Contains(err.Error(), "row 2: ") {
		t.Errorf("the second row: %v", err)
	}
	if _, err := decoder(t, spec(tensor.Float32, 4)).Rows("", []byte("a\n1")); !errors.Is(err, media.ErrUnsupportedType) {
		t.Errorf("a model without columns: %v", err)
	}
	if _, err := decoder(t, spec(tensor.Float32, 4)).Decode("text/csv", []byte("a\n1")); !errors.Is(err, media.ErrUnsupportedType) || !strings.Contains(err.Error(), "columns") {
		t.Errorf("CSV for a model without columns: %v", err)
	}
}

func TestSeparator(t *testing.T) {
	for _, c := range []struct {
		text string
		want rune
	}{
		{"a,b\n1,2\n", ','}, {"a;b\n1;2\n", ';'}, {"a\tb\n1\t2\n", '\t'}, {"a;b\n1,5;2,5\n", ';'}, {"1,5;2,5;3,5\n1,5;2,5;3,5\n", ';'},
		{"name,note\n\"x;y\",1\n", ','}, {"a\n1\n", ','}, {"", ','}, {"text;a,b\nx, y;1\n", ';'}, {"a,b\tc,d\n1,2\t3,4\n", '\t'},
		{"a|b\n1|2\n", '|'}, {"1,5|2,5\n1,5|2,5\n", '|'}, {"name;x|note\n1|2\n", '|'}, {"name,note\nx,a|b\n", ','}, {"a;b,c|d\n", '|'},
		{"a;b;c\n1;2;3\n4;5", ';'}, {"\"a,b\";c\n\"1,2\";3\n", ';'},
	} {
		if got := media.Separator([]byte(c.text), true); got != c.want {
			t.Errorf("%q: %q, want %q", c.text, got, c.want)
		}
	}
}

func TestParseNumber(t *testing.T) {
	for text, want := range map[string]float64{"1": 1, "-1.5e3": -1500, "+.5": 0.5, "1,5": 1.5, "-0,25": -0.25} {
		if got, ok := media.ParseNumber(text, true); !ok || got != want {
			t.Errorf("%q: %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "x", "NaN", "inf", "-Infinity", "0x10", "1_000", "1,000,000", "1.000,5", "1e999", "1 2"} {
		if got, ok := media.ParseNumber(text, true); ok {
			t.Errorf("%q is %v", text, got)
		}
	}
	if got, ok := media.ParseNumber("1,5", false); ok {
		t.Errorf("a comma is %v", got)
	}
}

func FuzzRows(f *testing.F) {
	for _, text := range []string{
		`{"temperature":31.5,"state":"shut","line":"7","load":2}`, `{"id":1,"time":null,"temperature":null}`, `[31.5,"shut",0,null]`, `[[1,2,3,4]]`,
		"temperature,state,line,load\n31.5,shut,7,2\n", "temperature;state;line;load\n31,5;shut;7;\n", "\"temperature\tstate\tline\n1\t\"shut\"\t7", "[{},[]]",
		`{"shape":[4],"datatype":"FP32","data":[31.5,9,0,2]}`,
	} {
		for k := range 3 {
			f.Add(byte(k), []byte(text))
		}
	}
	d := decoder(f, readings())
	f.Fuzz(func(t *testing.T, kind byte, data []byte) {
		known := []error{media.ErrMalformed, media.ErrShape, media.ErrNotFinite, media.ErrUnsupportedType, media.ErrTooLarge}
		got, err := d.Decode([]string{"", "application/json", "text/csv"}[int(kind)%3], data)
		rows, rerr := d.Rows("", data)
		for _, e := range []error{err, rerr} {
			if e != nil && !slices.ContainsFunc(known, func(k error) bool { return errors.Is(e, k) }) {
				t.Errorf("the error is none of the package's: %v", e)
			}
		}
		check := func(v []float32) {
			if v[1] != 0 && v[1] != 1 && v[1] != 2 || v[2] != 0 && v[2] != 1 && v[2] != 2 || math.IsNaN(float64(v[0]+v[3])) {
				t.Errorf("%q became %v", data, v)
			}
		}
		if err == nil {
			check(tensor.Data[float32](got))
		}
		if rerr == nil {
			for i := range rows.Shape()[0] {
				check(tensor.Data[float32](rows)[4*i:])
			}
		}
	})
}

// npyOf is a tensor as a file.
func npyOf(t *testing.T, x *tensor.Tensor) string {
	t.Helper()
	var b bytes.Buffer
	if err := media.WriteNPY(&b, x); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
