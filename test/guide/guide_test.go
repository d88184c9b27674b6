package guide

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const text = "# A guide\n\n```sh\nmillrace version\n```\n\nprints\n\n```text\nmillrace […]\n```\n\n```yaml\n# file: m.yaml\nhttp: {}\n```\n\n`a.json`:\n\n```json\n{}\n```\n"
	got, err := read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []block{
		{kind: "sh", line: 4, text: "millrace version\n"},
		{kind: "text", line: 10, text: "millrace […]\n"},
		{kind: "yaml", file: "m.yaml", line: 14, text: "# file: m.yaml\nhttp: {}\n"},
		{kind: "json", file: "a.json", line: 21, text: "{}\n"},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(block{})); d != "" {
		t.Error(d)
	}
	if _, err := read(strings.NewReader("```sh\nls\n")); err == nil {
		t.Error("a block without an end is taken")
	}
}

func TestMissing(t *testing.T) {
	const output = "a 1\nb 2\n\nc 3 end\n"
	for want, line := range map[string]string{
		"a 1\nb 2": "", "b […]": "", "a 1\n[…]\nc […] end\n": "", "c 3": "c 3", "b 2\na 1": "a 1", "a": "a", "": "", "[…] 2": "", "a.1": "a.1",
	} {
		if got, _ := missing(want, output); got != line {
			t.Errorf("%q: %q is missing, want %q", want, got, line)
		}
	}
}

func TestAsks(t *testing.T) {
	for text, want := range map[string]bool{
		"curl localhost:8080/rest/v2/caches": true, "curl -T x localhost:8080/a": false, "curl -X DELETE u": false, "curl -i u\nmillrace cache ls": true,
		"millrace cache put a b": false, "millrace train": false, "curl u -d '{}'": false, "# so\ncurl u": true,
	} {
		if asks(text) != want {
			t.Errorf("asks(%q) is %v", text, !want)
		}
	}
}
