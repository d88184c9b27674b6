package grid_test

import (
	"encoding/json"
	"testing"

	"github.com/millrace/millrace/grid"
)

func TestJSONKey(t *testing.T) {
	for key, want := range map[string]string{
		"a b": `"a b"`, "": `""`, "\xff": `{"base64":"/w=="}`, "\uFFFD": "\"\uFFFD\"", "k\nx": `"k\nx"`, `q"\`: `"q\"\\"`, "ä": `"ä"`, "<€\x01": `"<€\u0001"`,
		"a\xc3": `{"base64":"YcM="}`, `{"base64":"/w=="}`: `"{\"base64\":\"/w==\"}"`,
	} {
		b := grid.JSONKey(key).AppendJSON([]byte("["))[1:]
		marshalled, err := json.Marshal(grid.JSONKey(key))
		if err == nil {
			err = json.Unmarshal(marshalled, new(grid.JSONKey))
		}
		if err != nil || string(b) != want {
			t.Errorf("%q is written %s, %v; want %s", key, b, err, want)
		}
		var back grid.JSONKey
		if err := json.Unmarshal(b, &back); err != nil || string(back) != key {
			t.Errorf("%s is read as %q, %v; want %q", b, back, err, key)
		}
	}
	for _, bad := range []string{"1", "{}", `{"base64":1}`, `{"base64":"%"}`, `[]`, `{"base64":null}`} {
		var k grid.JSONKey
		if err := json.Unmarshal([]byte(bad), &k); err == nil {
			t.Errorf("%s is read as %q", bad, k)
		}
	}
}

// FuzzJSONKey holds every key against its JSON, and hostile JSON against a panic.
func FuzzJSONKey(f *testing.F) {
	for _, seed := range []string{"", "a", "\xff", "\uFFFD", "k\nx", `{"base64":"/w=="}`, `"a"`, "null", "\u2028<&>", "\x00\x7f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var k grid.JSONKey
		if err := json.Unmarshal(b, &k); err == nil && len(b) == 0 {
			t.Error("nothing is read as a key")
		}
		text := grid.JSONKey(b).AppendJSON(nil)
		var back grid.JSONKey
		if err := json.Unmarshal(text, &back); err != nil || string(back) != string(b) {
			t.Errorf("%q is written %s and read as %q, %v", b, text, back, err)
		}
	})
}
