package model_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/model"
)

// fourColumns are the columns of the classifier's input.
const fourColumns = `[{"name":"a","type":"number"},{"name":"b","type":"number"},{"name":"c","type":"number"},{"name":"state","type":"category","categories":["open","shut"]}]`

func TestTable(t *testing.T) {
	for name, c := range map[string]struct {
		meta map[string]string
		want string // in the error; "" for none
	}{
		"columns":         {map[string]string{"columns": fourColumns, "ignored": `["id"]`}, ""},
		"too few columns": {map[string]string{"columns": `[{"name":"a","type":"number"}]`}, "takes 4 numbers"},
		"a name twice":    {map[string]string{"columns": strings.Replace(fourColumns, `"b"`, `"a"`, 1)}, `"a" is there twice`},
		"no name":         {map[string]string{"columns": strings.Replace(fourColumns, `"b"`, `""`, 1)}, "column 2 has no name"},
		"ignored column":  {map[string]string{"columns": fourColumns, "ignored": `["state"]`}, `"state" is there twice`},
		"other type":      {map[string]string{"columns": strings.Replace(fourColumns, `"number"`, `"date"`, 1)}, `"date" is neither`},
		"no categories":   {map[string]string{"columns": strings.Replace(fourColumns, `,"categories":["open","shut"]`, "", 1)}, "no categories"},
		"categories of a number": {
			map[string]string{"columns": strings.Replace(fourColumns, `"number"`, `"number","categories":["x"]`, 1)}, "a number has no categories",
		},
		"category twice": {map[string]string{"columns": strings.Replace(fourColumns, "shut", "open", 1)}, `"open" is there twice`},
		"missing category": {
			map[string]string{"columns": strings.Replace(fourColumns, `"categories"`, `"missing":2,"categories"`, 1)}, "2 is no number of one of the 2 categories",
		},
		"regression of three": {map[string]string{"task": "regression"}, "no output"},
		"labels and a number": {map[string]string{"task": "regression", "labels": `["a","b","c"]`}, "a regression has no labels"},
	} {
		t.Run(name, func(t *testing.T) {
			props := map[string]string{}
			for k, v := range c.meta {
				props[model.Prefix+k] = v
			}
			_, err := model.New(classifier(t, free, "", props))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (!errors.Is(err, model.ErrInvalid) || !strings.Contains(err.Error(), c.want)):
				t.Errorf("%v, want %q", err, c.want)
			}
			plain, err := model.New(classifier(t, free, "", nil))
			if err != nil {
				t.Fatal(err)
			}
			if _, err = plain.With("m", 1, c.meta); (err == nil) != (c.want == "") {
				t.Errorf("as overrides: %v", err)
			}
		})
	}
}

func TestCompatibleTables(t *testing.T) {
	table := func(columns string) *model.Model {
		m, err := model.New(classifier(t, free, "", map[string]string{"millrace.columns": columns}))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	serving := table(fourColumns)
	if err := serving.Compatible(table(strings.Replace(fourColumns, `"number"`, `"number","mean":3,"std":1`, 1))); err != nil {
		t.Errorf("other means: %v", err)
	}
	reordered := strings.NewReplacer(`"a"`, `"b"`, `"b"`, `"a"`).Replace(fourColumns)
	for name, c := range map[string]struct{ columns, refused, differ string }{
		"another name": {strings.Replace(fourColumns, `"b"`, `"d"`, 1), "columns missing: b; new: d", "column b: number | \ncolumn d:  | number"},
		"another category": {strings.Replace(fourColumns, "shut", "closed", 1), "column state was category of open, shut and is category of open, closed",
			"column state: category of open, shut | category of open, closed"},
		"another order": {reordered, "the columns' order was a, b, c, state and is b, a, c, state", "metadata order of the columns: a, b, c, state | b, a, c, state"},
		"another mean":  {strings.Replace(fourColumns, `"number"`, `"number","mean":3,"std":1`, 1), "", "column a: number | number, mean 3, standard deviation 1"},
	} {
		now := table(c.columns)
		if err := serving.Compatible(now); c.refused == "" && err != nil || c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
			t.Errorf("%s: %v", name, err)
		}
		var lines []string
		for _, d := range model.Diff(serving, now) {
			lines = append(lines, d.Kind+" "+d.Name+": "+d.A+" | "+d.B)
		}
		if got := strings.Join(lines, "\n"); got != c.differ {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, c.differ)
		}
	}
}
