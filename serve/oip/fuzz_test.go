package oip_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/tensor"
)

var parseSeeds = []string{
	one("FP32", "[1,4]", "[1,2,3,4]"), one("FP32", "[2,4]", "[[1,2,3,4],[5,6,7,8]]"), one("FP32", "[1,4]", "[NaN,null,-Infinity,1e-3]"), `{"inputs":[]}`,
	`{"id":"é\u00e9\ud83d\ude00","inputs":null}`, `{"inputs":[{"data":[1,2,3,4],"name":"x","shape":[1,4],"datatype":"FP32"}],"outputs":[{"name":"y","parameters":{"binary_data":true}}]}`,
	"{", `{"a":[[[{"b":{}}]]]}`, one("FP32", "[1,4]", "[0.1,-0.0,16777217,1.00000005960464477540]"), one("FP32", "[0,4]", "[]"), one("FP32", "[1,4]", "[3.4028236e38,1,1,1]"),
	`{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}0123456789abcdef`, `{"instances":[[1,2,3,4],{"x":[1,2,3,4]}]}`,
}

// FuzzParse holds the scanner against encoding/json: what is taken is JSON (but for Python's tokens), and its numbers
// are those that the standard library reads, to the bit. Everything else is a bad request.
func FuzzParse(f *testing.F) {
	for _, s := range parseSeeds {
		f.Add([]byte(s), uint16(0))
		f.Add([]byte(s), uint16(16))
	}
	ins, outs := []graph.Value{value("x", tensor.Float32, 4)}, []graph.Value{value("y", tensor.Float32, 4)}
	f.Fuzz(func(t *testing.T, body []byte, tail uint16) {
		text, rest := body, []byte(nil)
		if n := int(tail); n > 0 && n <= len(body) {
			text, rest = body[:len(body)-n], body[len(body)-n:]
		}
		got, err := oip.Parse(text, rest, ins, outs)
		if err != nil {
			if k := serve.KindOf(err); k.HTTP != 400 {
				t.Errorf("%q: %d %v", body, k.HTTP, err)
			}
			return
		}
		tokens := bytes.Contains(text, []byte("NaN")) || bytes.Contains(text, []byte("Infinity"))
		if !json.Valid(text) {
			if !tokens {
				t.Errorf("%q is taken and no JSON", text)
			}
			return
		}
		compare(t, text, got[0])
	})
}

func compare(t *testing.T, text []byte, got *tensor.Tensor) {
	t.Helper()
	var want struct {
		Inputs []struct{ Data any }
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&want); err != nil || len(want.Inputs) != 1 || want.Inputs[0].Data == nil {
		return // binary, or a field in another case, which encoding/json takes too
	}
	data, ok := want.Inputs[0].Data.([]any)
	if !ok {
		t.Fatalf("%q: data is %v", text, want.Inputs[0].Data)
	}
	numbers := flat(data)
	elements := tensor.Data[float32](got)
	if len(numbers) != len(elements) {
		t.Fatalf("%q: %d numbers, %d elements", text, len(numbers), len(elements))
	}
	for i, v := range numbers {
		if v == nil {
			if elements[i] == elements[i] {
				t.Errorf("%q: null is %v", text, elements[i])
			}
			continue
		}
		var f float32
		if err := json.Unmarshal([]byte(v.(json.Number)), &f); err != nil || math.Float32bits(f) != math.Float32bits(elements[i]) {
			t.Errorf("%q: %v is %v, want %v (%v)", text, v, elements[i], f, err)
		}
	}
}

// FuzzInstances holds that a request of protocol v1 is taken or refused.
func FuzzInstances(f *testing.F) {
	for _, s := range parseSeeds {
		f.Add([]byte(s))
	}
	f.Add([]byte(`{"instances":[{"temp":1.5,"state":"open"},[2,1],{"x":[1,0]},{"id":3}]}`))
	table, err := media.NewDecoder(media.Spec{DType: tensor.Float32, Shape: tensor.Shape{2}, Ignored: []string{"id"}, Columns: []media.Column{
		{Name: "temp", Type: media.NumberColumn, Missing: new(1.0)}, {Name: "state", Type: media.CategoryColumn, Categories: []string{"open", "shut"}},
	}})
	if err != nil {
		f.Fatal(err)
	}
	ins := []graph.Value{value("x", tensor.Float32, -1, 2), value("b", tensor.String)}
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, err := oip.ParseInstances(body, []graph.Value{value("x", tensor.Float32, 2)}, table)
		if err != nil && serve.KindOf(err).HTTP != 400 {
			t.Errorf("%q as a table: %v", body, err)
		}
		if err == nil && (len(rows) != 1 || rows[0].Shape()[1] != 2) {
			t.Errorf("%q as a table: %v", body, rows)
		}
		for n := range 2 {
			got, err := oip.ParseInstances(body, ins[:n+1], nil)
			if err != nil && serve.KindOf(err).HTTP != 400 {
				t.Errorf("%q: %v", body, err)
			}
			if err == nil && len(got) != n+1 {
				t.Errorf("%q: %d tensors", body, len(got))
			}
		}
	})
}

// FuzzUnpack holds that a packed body stays within its limit.
func FuzzUnpack(f *testing.F) {
	for _, encoding := range []string{"gzip", "deflate"} {
		f.Add([]byte(packed(f, encoding, "hello")), encoding)
		f.Add([]byte(packed(f, encoding, strings.Repeat("x", 5000))), encoding)
	}
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		if encoding != "gzip" {
			encoding = "deflate"
		}
		got, err := oip.Unpack(body, encoding, 4096)
		if len(got) > 4096 {
			t.Errorf("%d bytes", len(got))
		}
		if err != nil {
			if s := serve.KindOf(err).HTTP; s != 400 && s != 413 {
				t.Errorf("%v", err)
			}
		}
	})
}
