package oip_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/tensor"
)

// one is a request with one input, in JSON.
func one(datatype, shape, data string) string {
	return fmt.Sprintf(`{"inputs":[{"name":"x","datatype":"%s","shape":%s,"data":%s}]}`, datatype, shape, data)
}

// TestMalformed lists what is refused, each with 400 and a text that says why.
func TestMalformed(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	for _, c := range []struct{ model, body, says string }{
		{"scale", "", "the body is empty"},
		{"scale", "  ", "the body is empty"},
		{"scale", "{", "it ends"},
		{"scale", "[]", "where { should be"},
		{"scale", "{}", `no "inputs"`},
		{"scale", `{"inputs":{}}`, "where [ should be"},
		{"scale", `{"inputs":[]}`, `input "x" is missing`},
		{"scale", `{"inputs":[{}]}`, "has no name"},
		{"scale", `{"inputs":[{"name":"x"}]}`, "no datatype"},
		{"scale", `{"inputs":[{"name":"x","datatype":"FP32","data":[1,2,3,4]}]}`, "has no shape"},
		{"scale", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4]}]}`, "neither data nor"},
		{"scale", `{"inputs":[{"name":"z","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`, `there is no input "z"`},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4]") + "x", "something follows"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4]")[:40], "it ends"},
		{"scale", one("FP64", "[1,4]", "[1,2,3,4]"), "must be FP32, not FP64"},
		{"scale", one("fp32", "[1,4]", "[1,2,3,4]"), "is no datatype"},
		{"scale", one("", "[1,4]", "[1,2,3,4]"), "is no datatype"},
		{"scale", one("FP32", "[1,5]", "[1,2,3,4,5]"), "[N,4]"},
		{"scale", one("FP32", "[4]", "[1,2,3,4]"), "[N,4]"},
		{"scale", one("FP32", "[1,4]", "[1,2,3]"), "has 3 elements"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4,5]"), "more elements"},
		{"scale", one("FP32", "[-1,4]", "[1,2,3,4]"), "from 0"},
		{"scale", one("FP32", "[1.0,4]", "[1,2,3,4]"), "whole number"},
		{"scale", one("FP32", `["1",4]`, "[1,2,3,4]"), "a number should be"},
		{"scale", one("FP32", "[4294967296,4294967296]", "[1]"), "from 0"},
		{"scale", one("FP32", "[2147483647,2147483647,2147483647]", "[1]"), "too many"},
		{"scale", one("FP32", "[100000000,4]", "[1,2,3,4]"), "elements"},
		{"scale", one("FP32", "[1,4]", "[[1,2],[3,4]]"), "elements in dimension"},
		{"scale", one("FP32", "[2,4]", "[[1,2,3,4],[5,6,7]]"), "3 elements in dimension 1"},
		{"scale", one("FP32", "[2,4]", "[[1,2,3,4],[5,6,7,8],[9,9,9,9]]"), "more than 2"},
		{"scale", one("FP32", "[1,4]", "[[[1,2,3,4]]]"), "deeper"},
		{"scale", one("FP32", "[1,4]", "[1,[2],3,4]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4,]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,,4]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", `[1,2,3,"4"]`), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,true]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,04]"), "as none can"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,+4]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,.4]"), "a number should be"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4.]"), "ends in its point"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4e]"), "ends in its exponent"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,0x4]"), "as none can"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,1e39]"), "out of FP32's range"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,340282366920938463463374607431768211456]"), "out of FP32's range"},
		{"scale", one("FP32", "[1,4]", "4"), "should be"},
		{"scale", one("FP32", "[1,4]", "null"), "should be"},
		{"scale", one("FP32", "[1,4]", strings.Repeat("[", 10000)), ""},
		{"scale", `{"x":` + strings.Repeat("[", 10000) + "}", "too deep"},
		{"scale", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4],"data":[1,2,3,4]}]}`, "comes twice"},
		{"scale", `{"id":7,"inputs":[]}`, "a string should be"},
		{"scale", "{\"id\":\"\xff\",\"inputs\":[]}", "UTF-8"},
		{"scale", `{"id":"\ud800","inputs":[]}`, "no character"},
		{"scale", "{\"id\":\"a\nb\",\"inputs\":[]}", "control character"},
		{"scale", `{"id":"\x","inputs":[]}`, "no escape"},
		{"scale", `{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]},{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`, "comes twice"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4]")[:len(one("FP32", "[1,4]", "[1,2,3,4]"))-1] + `,"outputs":[{"name":"z"}]}`, `no output "z"`},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4]")[:len(one("FP32", "[1,4]", "[1,2,3,4]"))-1] + `,"outputs":[{"name":"y"},{"name":"y"}]}`, "asked for twice"},
		{"scale", one("FP32", "[1,4]", "[1,2,3,4]")[:len(one("FP32", "[1,4]", "[1,2,3,4]"))-1] + `,"outputs":[{"name":"y","parameters":{"classification":3}}]}`, "classification"},
		{"addsub", `{"inputs":[{"name":"INPUT0","datatype":"INT32","shape":[1,16],"data":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}]}`, `input "INPUT1" is missing`},
		{"identity_int32", one("INT32", "[1,1]", "[1.5]"), "no whole number"},
		{"identity_int8", one("INT8", "[1,1]", "[128]"), "out of INT8's range"},
		{"identity_int8", one("INT8", "[1,1]", "[-129]"), "out of INT8's range"},
		{"identity_uint8", one("UINT8", "[1,1]", "[300]"), "out of UINT8's range"},
		{"identity_uint32", one("UINT32", "[1,1]", "[-1]"), "out of UINT32's range"},
		{"identity_int64", one("INT64", "[1,1]", "[9223372036854775808]"), "out of INT64's range"},
		{"identity_int64", one("INT64", "[1,1]", "[18446744073709551616]"), "at most 64 bits"},
		{"identity_fp16", one("FP16", "[1,1]", "[65520]"), "out of FP16's range"},
		{"identity_fp64", one("FP64", "[1,1]", "[1e309]"), "out of FP64's range"},
		{"identity_bool", one("BOOL", "[1,1]", "[1]"), "true or false"},
		{"identity_bytes", one("BYTES", "[1,1]", "[1]"), "a string should be"},
		{"identity_bytes", one("BYTES", "[1,1]", "[\"\xff\"]"), "UTF-8"},
	} {
		a := n.do("POST", "/v2/models/"+c.model+"/infer", c.body)
		var e serve.ErrorBody
		if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 400 || !strings.Contains(e.Error, c.says) {
			t.Errorf("%.150s: %d %.300s, want %q", c.body, a.status, a.body, c.says)
		}
	}
}

// TestTwoBatchSizes holds that inputs of one batch have one number of rows.
func TestTwoBatchSizes(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.add("two", 1, newGraph(
		[]graph.Value{{Name: "a", DType: tensor.Float32, Shape: graph.Dims(-1, 1)}, {Name: "b", DType: tensor.Float32, Shape: graph.Dims(-1, 1)}},
		[]graph.Value{{Name: "y", DType: tensor.Float32, Shape: graph.Dims(-1, 1)}},
		&graph.Node{OpType: "Add", Inputs: []string{"a", "b"}, Outputs: []string{"y"}}))
	a := n.want(400, "POST", "/v2/models/two/infer",
		`{"inputs":[{"name":"a","datatype":"FP32","shape":[2,1],"data":[1,2]},{"name":"b","datatype":"FP32","shape":[1,1],"data":[1]}]}`)
	if !strings.Contains(a.body, "has 1 rows") {
		t.Error(a.body)
	}
}

// TestNumbers holds that every number arrives as the standard library reads it, to the bit.
func TestNumbers(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	numbers := []string{
		"0", "-0", "0.0", "-0.0", "1", "-1", "0.1", "0.2", "0.3", "1e0", "1E+2", "1e-2", "123456789", "16777216", "16777217", "16777218", "33554431", "0.000001", "0.0000001",
		"3.4028235e38", "1.1754944e-38", "1.4e-45", "7e-46", "0.000000000000000000000000000000000000011754942106924411", "1.401298464324817e-45",
		"0.5000000298023224", "0.50000002980232238769", "1.00000005960464477539", "1.000000059604644775390625", "1.00000005960464477540", "1.000000178813934326171875",
		"9007199254740993", "123456789012345678901234567890", "0.1234567890123456789", "8388608.5", "8388609.5", "4194304.25", "99999.99", "0.3333333333", "12345.678e-3",
		"2.2250738585072014e-308", "4.9e-324", "1e-400",
	}
	for bits, datatype := range map[int]string{32: "FP32", 64: "FP64"} {
		var want []string
		for _, s := range numbers {
			v, err := strconv.ParseFloat(s, bits)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, strconv.FormatFloat(v, 'g', -1, bits))
		}
		model := "/v2/models/identity_" + strings.ToLower(datatype) + "/infer"
		for _, sep := range []string{",", " , ", ",\n"} {
			a := n.want(200, "POST", model, one(datatype, fmt.Sprintf("[1,%d]", len(numbers)), "["+strings.Join(numbers, sep)+"]"))
			var got struct {
				Outputs []struct{ Data []json.Number }
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil {
				t.Fatal(err)
			}
			for i, s := range got.Outputs[0].Data {
				v, err := strconv.ParseFloat(string(s), bits)
				if g := strconv.FormatFloat(v, 'g', -1, bits); err != nil || g != want[i] {
					t.Errorf("%s %s is %s, want %s", datatype, numbers[i], s, want[i])
				}
			}
		}
	}
	for datatype, data := range map[string]string{
		"INT64": "[9223372036854775807,-9223372036854775808,9007199254740993,-0]", "UINT64": "[18446744073709551615,0,9007199254740993,1]",
		"INT8": "[127,-128,0,-1]", "UINT16": "[65535,0,1,2]", "BOOL": "[true,false,true,true]", "BYTES": `["a","","é","\"\\\n\u0001"]`, "FP16": "[65504,-0.5,0.0000999,0]", "BF16": "[1,-2.5,0,100]",
	} {
		a := n.want(200, "POST", "/v2/models/identity_"+strings.ToLower(datatype)+"/infer", one(datatype, "[2,2]", data))
		want := strings.NewReplacer("-0]", "0]", "0.0000999", "0.000099897385").Replace(data)
		if !strings.Contains(a.body, `"data":`+want) {
			t.Errorf("%s: %s", data, a.body)
		}
	}
	a := n.want(200, "POST", "/v2/models/identity_fp32/infer", one("FP32", "[1,5]", "[NaN,Infinity,-Infinity,null,1e-7]"))
	if !strings.Contains(a.body, `"data":[null,null,null,null,1e-07]`) {
		t.Error(a.body)
	}
	a = n.want(200, "POST", "/v2/models/identity_fp32/infer", one("FP32", "[0,3]", "[]"))
	if !strings.Contains(a.body, `"shape":[0,3],"data":[]`) {
		t.Error(a.body)
	}
	n.want(200, "POST", "/v2/models/identity_fp32/infer", one("FP32", "[2,0]", "[[],[]]"))
}

func TestBinary(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	raw := string(tensor.Vector(float32(1), float32(math.NaN()), float32(math.Inf(-1)), math.Float32frombits(1)).Bytes())
	head := func(size int, more string) string {
		return fmt.Sprintf(`{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}]%s}`, size, more)
	}
	length := func(s string) string { return fmt.Sprintf("Inference-Header-Content-Length: %d", len(s)) }
	j := head(16, `,"outputs":[{"name":"y","parameters":{"binary_data":true}}]`)
	a := n.want(200, "POST", "/v2/models/identity_fp32/infer", j+raw, length(j))
	size, err := strconv.Atoi(a.header.Get("Inference-Header-Content-Length"))
	if err != nil || a.body[size:] != raw || !strings.Contains(a.body[:size], `"binary_data_size":16`) {
		t.Errorf("%v %q", err, a.body)
	}
	j = head(16, `,"parameters":{"binary_data_output":true},"outputs":[{"name":"y","parameters":{"binary_data":false}}]`)
	if a := n.want(200, "POST", "/v2/models/identity_fp32/infer", j+raw, length(j)); a.header.Get("Inference-Header-Content-Length") != "" {
		t.Errorf("an output's own word does not count: %q", a.body)
	}
	texts := "\x01\x00\x00\x00a\x00\x00\x00\x00\x02\x00\x00\x00\xff\xfe\x00\x00\x00\x00"
	j = strings.ReplaceAll(head(len(texts), `,"outputs":[{"name":"y","parameters":{"binary_data":true}}]`), "FP32", "BYTES")
	if a := n.want(200, "POST", "/v2/models/identity_bytes/infer", j+texts, length(j)); !strings.HasSuffix(a.body, texts) {
		t.Errorf("%q", a.body)
	}
	j = strings.ReplaceAll(head(len(texts), ""), "FP32", "BYTES")
	if a := n.want(400, "POST", "/v2/models/identity_bytes/infer", j+texts, length(j)); !strings.Contains(a.body, "UTF-8") {
		t.Error(a.body)
	}
	j = head(16, "")
	for name, c := range map[string]struct{ body, header string }{
		"left over":       {j + raw + "x", length(j)},
		"cut":             {j + raw[:15], length(j)},
		"other size":      {head(12, "") + raw, length(head(12, ""))},
		"huge size":       {head(math.MaxInt64, "") + raw, length(head(math.MaxInt64, ""))},
		"negative":        {head(-16, "") + raw, length(head(-16, ""))},
		"no header":       {j + raw, ""},
		"header beyond":   {j, "Inference-Header-Content-Length: 1000000"},
		"header negative": {j + raw, "Inference-Header-Content-Length: -1"},
		"header word":     {j + raw, "Inference-Header-Content-Length: many"},
		"header 0":        {raw, "Inference-Header-Content-Length: 0"},
		"header short":    {j + raw, "Inference-Header-Content-Length: 10"},
		"data as well":    {strings.Replace(j, `"parameters"`, `"data":[1,2,3,4],"parameters"`, 1) + raw, length(strings.Replace(j, `"parameters"`, `"data":[1,2,3,4],"parameters"`, 1))},
	} {
		if a := n.do("POST", "/v2/models/identity_fp32/infer", c.body, c.header); a.status != 400 || !strings.Contains(a.body, `"error":"`) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	for name, texts := range map[string]string{"length beyond": "\xff\xff\xff\xff" + texts[4:], "few": texts[:15], "many": texts + "\x00\x00\x00\x00"} {
		j := strings.ReplaceAll(head(len(texts), ""), "FP32", "BYTES")
		if a := n.do("POST", "/v2/models/identity_bytes/infer", j+texts, length(j)); a.status != 400 {
			t.Errorf("BYTES %s: %d %s", name, a.status, a.body)
		}
	}
}

func packed(t testing.TB, encoding, s string) string {
	t.Helper()
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if encoding == "deflate" {
		w = zlib.NewWriter(&b)
	}
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestCompression(t *testing.T) {
	n := start(t, oip.Config{MaxBody: 1 << 20}, serve.Config{})
	n.addAll()
	const path = "/v2/models/scale/infer"
	body := one("FP32", "[1,4]", "[1,2,3,4]")
	want := n.want(200, "POST", path, body).body
	for _, encoding := range []string{"gzip", "deflate"} {
		a := n.want(200, "POST", path, packed(t, encoding, body), "Content-Encoding: "+encoding, "Accept-Encoding: "+encoding)
		if a.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: the answer's encoding is %q", encoding, a.header.Get("Content-Encoding"))
		}
		if a.body == want || a.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: %q", encoding, a.body)
		}
		n.want(400, "POST", path, packed(t, encoding, body)[:20], "Content-Encoding: "+encoding)
		n.want(400, "POST", path, body, "Content-Encoding: "+encoding)
		bomb := n.want(413, "POST", path, packed(t, encoding, strings.Repeat(" ", 8<<20)), "Content-Encoding: "+encoding)
		if !strings.Contains(bomb.body, "unpacks to more") {
			t.Error(bomb.body)
		}
	}
	// The header counts the JSON before it was packed.
	raw := string(tensor.Vector[float32](1, 2, 3, 4).Bytes())
	j := `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}],"parameters":{"binary_data_output":true}}`
	a := n.want(200, "POST", path, packed(t, "gzip", j+raw), "Content-Encoding: gzip", fmt.Sprintf("Inference-Header-Content-Length: %d", len(j)))
	if !strings.HasSuffix(a.body, string(tensor.Vector[float32](2, 4, 6, 8).Bytes())) {
		t.Errorf("%q", a.body)
	}
	for _, encoding := range []string{"br", "gzip, deflate", "zstd"} {
		n.want(415, "POST", path, body, "Content-Encoding: "+encoding)
	}
	if a := n.want(413, "POST", path, strings.Repeat(" ", 1<<20+1)); !strings.Contains(a.body, "http.limits.infer_body") {
		t.Errorf("the answer does not name the limit: %s", a.body)
	}
	for header, encoding := range map[string]string{
		"gzip, deflate, br": "", "identity": "", "gzip;q=0": "", "deflate;q=0.5": "deflate", "br": "", "*": "",
	} {
		if a := n.want(200, "POST", path, body, "Accept-Encoding: "+header); a.header.Get("Content-Encoding") != encoding {
			t.Errorf("%s: %q", header, a.header.Get("Content-Encoding"))
		}
	}
	large := one("FP32", "[1000,4]", "["+strings.Repeat("1,", 3999)+"1]")
	if a := n.want(200, "POST", path, large, "Accept-Encoding: gzip, deflate, br"); a.header.Get("Content-Encoding") != "gzip" {
		t.Errorf("a large answer is not packed: %v", a.header)
	}
}

func TestIndexAndV1(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	n.add("two", 1, newGraph([]graph.Value{value("a", tensor.Float32, 2), value("b", tensor.Int64)}, []graph.Value{value("p", tensor.Float32, 2), value("q", tensor.Int64)},
		&graph.Node{OpType: "Identity", Inputs: []string{"a"}, Outputs: []string{"p"}}, &graph.Node{OpType: "Identity", Inputs: []string{"b"}, Outputs: []string{"q"}}))
	for body, status := range map[string]int{"": 200, "{}": 200, `{"ready":true}`: 200, `{"ready":1}`: 400, "[": 400, "{}x": 400, strings.Repeat(" ", 70<<10): 413} {
		n.want(status, "POST", "/v2/repository/index", body)
	}
	for _, c := range []struct {
		model, body string
		status      int
		want        string
	}{
		{"scale", `{"instances":[[1,2,3,4],[5,6,7,8]]}`, 200, `{"predictions":[[2,4,6,8],[10,12,14,16]]}`},
		{"scale", `{"instances":[{"x":[1,2,3,4]}]}`, 200, `{"predictions":[[2,4,6,8]]}`},
		{"identity_fp32", `{"instances":[[1,2],[3,4]]}`, 200, `{"predictions":[[1,2],[3,4]]}`},
		{"two", `{"instances":[{"a":[1,2],"b":3},{"b":5,"a":[4,4]}]}`, 200, `{"predictions":[{"p":[1,2],"q":3},{"p":[4,4],"q":5}]}`},
		{"two", `{"instances":[{"a":[1,2]}]}`, 400, "once"},
		{"two", `{"instances":[[1,2]]}`, 400, "must be an object"},
		{"two", `{"instances":[{"a":[1,2],"b":3,"c":1}]}`, 400, `no input \"c\"`},
		{"scale", `{"instances":[[1,2,3]]}`, 400, "elements"},
		{"scale", `{"instances":[[1,2,3,4],[1,2,3,4,5]]}`, 400, "elements"},
		{"identity_fp32", `{"instances":[[1,2],[3]]}`, 400, "different shapes"},
		{"scale", `{"instances":[]}`, 400, "a row"},
		{"scale", `{}`, 400, "a row"},
		{"scale", `{"instances":3}`, 400, "should be"},
		{"scale", `{"instances":[[1,2,3,4]]}x`, 400, "follows"},
		{"nobody", `{"instances":[[1,2,3,4]]}`, 404, "no such model"},
	} {
		a := n.want(c.status, "POST", "/v1/models/"+c.model+":predict", c.body)
		if !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %s", c.body, a.body)
		}
	}
	n.want(200, "GET", "/v1/models/scale", "")
	n.want(405, "GET", "/v1/models/scale:predict", "")
	n.want(405, "POST", "/v1/models/scale", "")
	n.want(404, "GET", "/v1/models/a/b", "")
}

// Models that know their columns take rows by their names in v1, and tensors in both.
func TestInstancesByColumn(t *testing.T) {
	n := start(t, oip.Config{}, serve.Config{})
	g := scale(2)
	g.Metadata = map[string]string{
		"millrace.columns": `[{"name":"temp","type":"number"},{"name":"state","type":"category","categories":["open","shut"]},{"name":"load","type":"number","missing":7},{"name":"last","type":"number"}]`,
		"millrace.ignored": `["id"]`,
	}
	n.add("table", 1, g)
	for _, c := range []struct {
		body   string
		status int
		want   string
	}{
		{`{"instances":[{"temp":1.5,"state":"shut","load":3,"last":4},{"id":17,"last":4,"load":3,"state":0,"temp":1.5}]}`, 200, `{"predictions":[[3,2,6,8],[3,0,6,8]]}`},
		{`{"instances":[[1.5,"shut",3,4],[1.5,1,null,4]]}`, 200, `{"predictions":[[3,2,6,8],[3,2,14,8]]}`},
		{`{"instances":[{"x":[1.5,1,3,4]}]}`, 200, `{"predictions":[[3,2,6,8]]}`},
		{`{"instances":[{"temp":1.5,"state":"shut","last":4},{"temp":1.5,"status":"shut","last":4}]}`, 400, `instance 1: content does not fit the input: missing: state; unknown: status; the columns are temp, state, load, last`},
		{`{"instances":[{"temp":1.5,"state":"ajar","last":4}]}`, 400, `\"ajar\" is none of open, shut`},
		{`{"instances":[[1.5,"shut",3]]}`, 400, "3 values for 4 columns"},
	} {
		if a := n.want(c.status, "POST", "/v1/models/table:predict", c.body); !strings.Contains(a.body, c.want) {
			t.Errorf("%s: %s", c.body, a.body)
		}
	}
	a := n.want(200, "POST", "/v2/models/table/infer", `{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1.5,1,3,4]}]}`)
	if !strings.Contains(a.body, "[3,2,6,8]") {
		t.Errorf("a tensor: %s", a.body)
	}
	// What is no category is none in a tensor either.
	for _, state := range []string{"2", "-1", "0.5", "null"} {
		for path, body := range map[string]string{
			"/v2/models/table/infer":   `{"inputs":[{"name":"x","shape":[2,4],"datatype":"FP32","data":[1.5,1,3,4,1.5,` + state + `,3,4]}]}`,
			"/v1/models/table:predict": `{"instances":[{"x":[1.5,1,3,4]},{"x":[1.5,` + state + `,3,4]}]}`,
		} {
			a := n.want(400, "POST", path, body)
			if !strings.Contains(a.body, `row 1: content does not fit the input: column \"state\"`) || !strings.Contains(a.body, `from 0 to 1 (open, shut)","code":"model_input"`) {
				t.Errorf("%s: %s", body, a.body)
			}
		}
	}
}
