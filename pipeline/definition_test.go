package pipeline_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/pipeline"
)

// What is wrong with a definition is said: which key, and what would be right.
func TestDefinition(t *testing.T) {
	for text, want := range map[string]string{
		``:                        "empty",
		`[]`:                      "a definition is a JSON object",
		`{"a"`:                    "no JSON",
		`{"frm":"in"}`:            "frm: is none of a pipeline's keys, which are from, model",
		`{"from":7}`:              "from: a number is none of its values",
		`{"from":"q","FROM":"z"}`: `FROM: is written "from"`,
		`{"from":"q","from":"z"}`: "from: comes twice",
		`{"from":"a","model":"m","to":"b","max_batch":0}`: "max_batch: 0 must be from 1 to 4096",
		`{"from":"a","model":"m","to":"b","top":0}`:       "top: 0 must be from 1 to 1000",
		`null`:                               "null is no object",
		`{} {}`:                              "something comes after",
		`{}`:                                 "from: is required",
		`{"from":"a","model":"m","to":"a"}`:  "the pipeline would feed itself",
		`{"from":"a","model":"m","to":"_b"}`: "are the system's",
		`{"from":"a","model":"m","to":"b","run_timeout":"soon"}`:                            `"soon" is not a duration`,
		`{"from":"a","model":"m","to":"b","run_timeout":"0s"}`:                              "must be more than 0",
		`{"from":"a","model":"m","to":"b","run_timeout":"25h"}`:                             "at most 24h",
		`{"from":"a","model":"m","to":"b","errors":"e","errors_to":"f"}`:                    "is not what errors says",
		`{"from":"a","model":"m","to":"b","max_batch":9999}`:                                "must be from 1 to 4096",
		`{"from":"a","model":"m","to":"b","carry":["id","id"],"doc":1}`:                     "doc: is none of a pipeline's keys",
		`{"from":"` + strings.Repeat("a", pipeline.MaxDefinitionBytes) + `"}`:               "are more than",
		`{"from":"a","model":"m","to":"b","version":-1,"start":"never","on_remove":"burn"}`: "start: ",
	} {
		d, err := pipeline.ParseDefinition([]byte(text))
		if err == nil {
			_, err = d.Config("p")
		}
		if !errors.Is(err, pipeline.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v, want %q", text, err, want)
		}
	}
}

// FuzzDefinition holds that a definition which is taken comes back the same when it is written down.
func FuzzDefinition(f *testing.F) {
	for _, seed := range []string{
		`{"from":"a","model":"m","to":"b"}`, `{"from":"a","model":"m","to":"b","errors_to":"e","max_batch":7,"run_timeout":"1m30s","carry":["id"],"shares_target":true}`,
		`{"from":"a","model":"m","to":"b","version":3,"start":"new","on_remove":"keep","top":5}`, `{"frm":1}`, `{"from":"a","From":"b"}`, `{"max_batch":0}`, `{`, `[]`, `{"run_timeout":"9999999h"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := pipeline.ParseDefinition(data)
		if err != nil {
			if !errors.Is(err, pipeline.ErrConfig) {
				t.Fatalf("%v is no ErrConfig", err)
			}
			return
		}
		c, err := d.Config("p")
		if err != nil {
			return
		}
		text, err := json.Marshal(c.Definition())
		if err != nil {
			t.Fatal(err)
		}
		again, err := pipeline.ParseDefinition(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		back, err := again.Config("p")
		if err != nil || !reflect.DeepEqual(c.Definition(), back.Definition()) {
			t.Fatalf("%s became %+v, %v", text, back.Definition(), err)
		}
	})
}
