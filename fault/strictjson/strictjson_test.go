package strictjson_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/millrace/millrace/fault/strictjson"
)

type thing struct {
	From   string            `json:"from"`
	Many   []inner           `json:"many,omitempty"`
	One    *inner            `json:"one"`
	Labels map[string]string `json:"labels"`
	Raw    json.RawMessage   `json:"raw"`
	Bytes  []byte            `json:"bytes"`
}

type inner struct {
	N int `json:"n"`
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		`{"from":"a","many":[{"n":1},{"n":2}],"one":{"n":3},"labels":{"A":"1","a":"2"},"raw":{"x":1,"x":2,"X":3},"bytes":"aGk="}`: "",
		" {} \n":                             "",
		`{"one":null,"many":null}`:           "",
		`{"from":"q","FROM":"z"}`:            `"FROM" is written "from"`,
		`{"From":"q"}`:                       `"From" is written "from"`,
		`{"from":"q","\u0066rom":"z"}`:       `"from" comes twice`,
		`{"from":"q","from":"q"}`:            `"from" comes twice`,
		`{"raw":1,"raw":2}`:                  `"raw" comes twice`,
		`{"many":[{"n":1},{"n":1,"n":2}]}`:   `"n" comes twice`,
		`{"one":{"N":1}}`:                    `"N" is written "n"`,
		`{"labels":{"a":"1","a":"2"}}`:       `"a" comes twice`,
		`{"frm":"q"}`:                        `unknown field "frm"`,
		`null`:                               "null is no object",
		`{}{}`:                               "something follows",
		`{} x`:                               "something follows",
		`{"from":7}`:                         "cannot unmarshal number",
		`{"from":"q"`:                        "unexpected EOF",
		`{"labels":{"a":"1"},"Labels":null}`: `"Labels" is written "labels"`,
	} {
		var v thing
		err := strictjson.Decode([]byte(text), &v)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// FuzzDecode holds that what is taken is what encoding/json takes, and that its names are each there once.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{`{"from":"a"}`, `{"from":"a","FROM":"b"}`, `{"one":{"n":1,"n":2}}`, `{"many":[{"n":1}],"bytes":"aGk="}`, `null`, `{"ſ":1}`, `{"Kinds":1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v, again thing
		err := strictjson.Decode(data, &v)
		var name *strictjson.NameError
		if errors.As(err, &name) && name.Msg == `is written ""` {
			t.Fatalf("%q: %v", data, err)
		}
		if err != nil {
			return
		}
		if err := json.Unmarshal(data, &again); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := strictjson.Decode(text, &again); err != nil {
			t.Fatalf("%q became %s: %v", data, text, err)
		}
	})
}
