package bulk_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/millrace/millrace/bulk"
)

// table writes values to a CSV, under the keys k1, k2 and so on.
func table(values ...string) (string, error) {
	var columns bulk.Columns
	records := make([]bulk.Record, len(values))
	for i, v := range values {
		records[i] = bulk.Record{Key: fmt.Sprint("k", i+1), ContentType: "application/json", Value: []byte(v)}
		if err := columns.Add(&records[i]); err != nil {
			return "", err
		}
	}
	var file bytes.Buffer
	w, err := bulk.NewCSVWriter(&file, &columns)
	if err != nil {
		return "", err
	}
	for i := range records {
		if err := w.Write(&records[i]); err != nil {
			return "", err
		}
	}
	err = w.Close()
	return file.String(), err
}

// TestCSVColumns: objects in a value become columns with dots; what would lose something is refused by the entry and the field.
func TestCSVColumns(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)
	long := strings.Repeat("n", 3000)
	for _, c := range []struct {
		name   string
		values []string
		want   string // a table, or a part of the error
	}{
		{"result", []string{`{"label":"1","scores":{"1":0.90,"x,y":1e-7},"source":{"cache":"c","key":"k","revision":7},"carry":{"id":"r1"}}`},
			"key,label,scores.1,\"scores.x,y\",source.cache,source.key,source.revision,carry.id\nk1,1,0.90,1e-7,c,k,7,r1\n"},
		{"other fields", []string{`{"a":{"x":1}}`, `{"error":"no","a":{"y":{"z":true}},"b":null}`}, "key,a.x,error,a.y.z,b\nk1,1,,,\nk2,,no,true,\n"},
		{"empty object", []string{`{"a":{},"b":1}`}, "key,b\nk1,1\n"},
		{"key within", []string{`{"a":{"key":1}}`}, "key,a.key\nk1,1\n"},
		{"dot of its own", []string{`{"a.b":1}`, `{"a.b":2}`}, "key,a.b\nk1,1\nk2,2\n"},
		{"large number", []string{`{"a":{"n":12345678901234567890}}`}, "key,a.n\nk1,12345678901234567890\n"},
		{"list", []string{`{"a":{"b":[1]}}`}, `entry "k1": its field "a.b" is a list`},
		{"key", []string{`{"key":1}`}, `its field "key"`},
		{"one column of two fields", []string{`{"a.b":1,"a":{"b":2}}`}, `entry "k1": the column "a.b"`},
		{"one column of two entries", []string{`{"a.b":1}`, `{"a":{"b":2}}`}, `entry "k2": the column "a.b"`},
		{"deep", []string{deep}, "in more than 32 objects"},
		{"long name", []string{fmt.Sprintf(`{%q:{%q:1}}`, long, long)}, "a name of 6001 bytes"},
		{"cut", []string{`{"a":{"b":1`}, "no JSON object"},
	} {
		got, err := table(c.values...)
		if err != nil {
			if got = err.Error(); !errors.Is(err, bulk.ErrCannotHold) {
				t.Errorf("%s: an error of no kind: %v", c.name, err)
			}
		}
		if !strings.Contains(got, c.want) || err == nil && got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzCSVColumns: whatever a value is, it becomes a table with a row of as many cells as the header, or is refused as what a CSV cannot hold.
func FuzzCSVColumns(f *testing.F) {
	for _, s := range []string{`{"a":{"b":1,"c":"x"},"d":null}`, `{"a.b":1,"a":{"b":2}}`, `{"a":[1]}`, `{"a":{"a":{"a":{}}}}`, `{"":{"":1}}`, `{"a":`, "1", `{"key":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := table(string(b))
		if err != nil {
			if !errors.Is(err, bulk.ErrCannotHold) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		in, err := bulk.NewReader(strings.NewReader(got), bulk.CSV, bulk.Options{Separator: ','})
		if err != nil { // a name that a header cannot have comes back from no table
			if !errors.Is(err, bulk.ErrFormat) {
				t.Fatal(err)
			}
			return
		}
		if all := readAll(t, in, nil); len(all) != 1 || all[0].Key != "k1" {
			t.Fatalf("%q came back as %+v", got, all)
		}
	})
}
