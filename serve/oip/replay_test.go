package oip_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/tensor"
)

// exchange is one recording's expect.json.
type exchange struct {
	Name      string
	Protocol  string
	Optional  string `json:"optional_extension"`
	Transport any
	Expect    expect
}

type expect struct {
	Kind         string
	Status       []int
	Of           []expect
	ModelName    string `json:"model_name"`
	ModelVersion string `json:"model_version"`
	ID           *string
	Form         string
	Nonfinite    string
	Outputs      []expectedOutput
	Subset       map[string]any
	Types        map[string]string
	Models       map[string][]string
}

type expectedOutput struct {
	Name, Form, Datatype string
	Shape                []int
	Data                 []any
	Rtol, Atol           float64
}

// TestReplay sends what real clients sent, byte for byte, and holds the answers against what a correct server answers.
func TestReplay(t *testing.T) {
	recordings := sharedtest.Data(t, "oip")
	names, err := filepath.Glob(filepath.Join(recordings, "*", "expect.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no recordings in %s: %v", recordings, err)
	}
	n := start(t, oip.Config{}, serve.Config{})
	n.addAll()
	m, err := model.Open(filepath.Join(recordings, "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	n.addModel("mnist", 1, m)
	replayed := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var e exchange
		if err := decode(b, &e); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		request, err := os.ReadFile(filepath.Join(filepath.Dir(name), "request.http"))
		if err != nil {
			t.Fatal(err)
		}
		// What is left out: answers of KServe v1 that we give to the page at /.
		if e.Optional != "" && e.Name == "kserve-v1-live" {
			continue
		}
		replayed++
		t.Run(e.Name, func(t *testing.T) {
			resp, body := send(t, n.addr, request)
			if err := e.Expect.check(resp, body); err != nil {
				t.Errorf("%v\nrequest %.300q\nanswer %d %.500q", err, request, resp.StatusCode, body)
			}
		})
	}
	t.Logf("%d exchanges", replayed)
}

func decode(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	return d.Decode(v)
}

// send writes raw bytes to the server and returns its answer, unpacked.
func send(t testing.TB, addr string, request []byte) (*http.Response, []byte) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(string(request), " ")
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	for err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(in, &http.Request{Method: method})
	}
	if err != nil {
		t.Fatalf("%.300q: %v", request, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, unpacked(t, resp, body)
}

func unpacked(t testing.TB, resp *http.Response, body []byte) []byte {
	t.Helper()
	var z io.Reader
	var err error
	switch resp.Header.Get("Content-Encoding") {
	case "":
		return body
	case "gzip":
		z, err = gzip.NewReader(bytes.NewReader(body))
	case "deflate":
		z, err = zlib.NewReader(bytes.NewReader(body))
	default:
		err = fmt.Errorf("encoding %s", resp.Header.Get("Content-Encoding"))
	}
	if err != nil {
		t.Fatal(err)
	}
	if body, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return body
}

func (e expect) check(resp *http.Response, body []byte) error {
	if e.Kind == "either" {
		var faults []string
		for _, o := range e.Of {
			err := o.check(resp, body)
			if err == nil {
				return nil
			}
			faults = append(faults, err.Error())
		}
		return fmt.Errorf("none of: %s", strings.Join(faults, "; "))
	}
	if !slices.Contains(e.Status, resp.StatusCode) {
		return fmt.Errorf("status %d, want %v", resp.StatusCode, e.Status)
	}
	switch e.Kind {
	case "status":
		return nil
	case "infer":
		return e.checkInfer(resp, body)
	case "predict":
		return e.checkPredict(body)
	case "index":
		return e.checkIndex(body)
	}
	var got map[string]any
	if err := decode(body, &got); err != nil {
		return fmt.Errorf("%w: %q", err, body)
	}
	if e.Kind == "error" {
		if s, ok := got["error"].(string); !ok || s == "" {
			return fmt.Errorf("no error's text: %s", body)
		}
		return nil
	}
	if e.Kind != "json" {
		return fmt.Errorf("unknown kind %q", e.Kind)
	}
	for k, v := range e.Subset {
		if fmt.Sprint(got[k]) != fmt.Sprint(v) {
			return fmt.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	for k, want := range e.Types {
		_, isString := got[k].(string)
		_, isArray := got[k].([]any)
		if want == "string" && !isString || want == "array" && !isArray {
			return fmt.Errorf("%s is %v, no %s", k, got[k], want)
		}
	}
	return nil
}

func (e expect) checkIndex(body []byte) error {
	var got []struct{ Name, Version, State string }
	if err := decode(body, &got); err != nil {
		return err
	}
	for name, versions := range e.Models {
		found := false
		for _, g := range got {
			found = found || g.Name == name && slices.Contains(versions, g.Version) && g.State == "READY"
		}
		if !found {
			return fmt.Errorf("%s %v is missing", name, versions)
		}
	}
	return nil
}

type inferAnswer struct {
	ModelName    string `json:"model_name"`
	ModelVersion string `json:"model_version"`
	ID           *string
	Outputs      []struct {
		Name, Datatype string
		Shape          []int
		Data           []any
		Parameters     struct {
			BinaryDataSize *int `json:"binary_data_size"`
		}
	}
}

func (e expect) checkInfer(resp *http.Response, body []byte) error {
	var rest []byte
	if v := resp.Header.Get("Inference-Header-Content-Length"); v != "" {
		size, err := strconv.Atoi(v)
		if err != nil || size > len(body) {
			return fmt.Errorf("Inference-Header-Content-Length %q", v)
		}
		body, rest = body[:size], body[size:]
	}
	var got inferAnswer
	if err := decode(body, &got); err != nil {
		return err
	}
	if got.ModelName != e.ModelName || got.ModelVersion != e.ModelVersion || e.ID != nil && (got.ID == nil || *got.ID != *e.ID) {
		return fmt.Errorf("model %s %s, id %v", got.ModelName, got.ModelVersion, got.ID)
	}
	if len(got.Outputs) != len(e.Outputs) {
		return fmt.Errorf("%d outputs, want %d", len(got.Outputs), len(e.Outputs))
	}
	for _, o := range got.Outputs {
		i := slices.IndexFunc(e.Outputs, func(w expectedOutput) bool { return w.Name == o.Name })
		if i < 0 {
			return fmt.Errorf("output %s", o.Name)
		}
		want := e.Outputs[i]
		if o.Datatype != want.Datatype || !slices.Equal(o.Shape, want.Shape) {
			return fmt.Errorf("%s is %s%v, want %s%v", o.Name, o.Datatype, o.Shape, want.Datatype, want.Shape)
		}
		form, data := "json", o.Data
		if size := o.Parameters.BinaryDataSize; size != nil {
			if *size > len(rest) || data != nil {
				return fmt.Errorf("%s: %d bytes, %d are left", o.Name, *size, len(rest))
			}
			form, data = "binary", elements(o.Datatype, rest[:*size])
			rest = rest[*size:]
		} else if o.Datatype == "BYTES" {
			for i, v := range data {
				data[i] = base64.StdEncoding.EncodeToString([]byte(v.(string)))
			}
		}
		if want.Form != "any" && want.Form != form {
			return fmt.Errorf("%s is %s, want %s", o.Name, form, want.Form)
		}
		if err := want.compare(data, e.Nonfinite == "any"); err != nil {
			return err
		}
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes are left", len(rest))
	}
	return nil
}

func (e expect) checkPredict(body []byte) error {
	var got struct{ Predictions []any }
	if err := decode(body, &got); err != nil {
		return err
	}
	if e.Form != "row" || len(e.Outputs) != 1 {
		return fmt.Errorf("a form that is not looked at: %s", e.Form)
	}
	return e.Outputs[0].compare(flat(got.Predictions), false)
}

func flat(v []any) []any {
	var out []any
	for _, e := range v {
		if list, ok := e.([]any); ok {
			out = append(out, flat(list)...)
		} else {
			out = append(out, e)
		}
	}
	return out
}

// compare holds elements against the expected ones: to the bit, or within the tolerance where there is one.
func (w expectedOutput) compare(got []any, anyNonfinite bool) error {
	if len(got) != len(w.Data) {
		return fmt.Errorf("%s: %d elements, want %d", w.Name, len(got), len(w.Data))
	}
	for i := range got {
		g, want := fmt.Sprint(got[i]), fmt.Sprint(w.Data[i])
		if g == want {
			continue
		}
		wf, err := strconv.ParseFloat(want, 64)
		if err != nil || !strings.HasPrefix(w.Datatype, "FP") {
			return fmt.Errorf("%s[%d] is %s, want %s", w.Name, i, g, want)
		}
		if anyNonfinite && (math.IsNaN(wf) || math.IsInf(wf, 0)) && got[i] == nil {
			continue
		}
		gf, err := strconv.ParseFloat(g, 64)
		if err != nil {
			return fmt.Errorf("%s[%d] is %s, want %s", w.Name, i, g, want)
		}
		same := gf == wf || math.IsNaN(gf) && math.IsNaN(wf)
		if w.Datatype == "FP32" {
			same = same || float32(gf) == float32(wf)
		}
		if w.Datatype == "FP16" {
			same = same || tensor.HalfOf64(gf) == tensor.HalfOf64(wf)
		}
		if !same && (w.Rtol+w.Atol == 0 || math.Abs(gf-wf) > w.Atol+w.Rtol*math.Abs(wf)) {
			return fmt.Errorf("%s[%d] is %s, want %s", w.Name, i, g, want)
		}
	}
	return nil
}

// elements reads binary data; BYTES become base64, as in the recordings.
func elements(datatype string, b []byte) []any {
	var out []any
	le := binary.LittleEndian
	for len(b) > 0 {
		size := map[string]int{"INT16": 2, "UINT16": 2, "FP16": 2, "INT32": 4, "UINT32": 4, "FP32": 4, "INT64": 8, "UINT64": 8, "FP64": 8}[datatype]
		switch datatype {
		case "BYTES":
			size = 4 + int(le.Uint32(b))
			out = append(out, base64.StdEncoding.EncodeToString(b[4:size]))
		case "BOOL":
			size = 1
			out = append(out, b[0] == 1)
		case "INT8":
			size = 1
			out = append(out, int8(b[0]))
		case "UINT8":
			size = 1
			out = append(out, b[0])
		case "INT16":
			out = append(out, int16(le.Uint16(b)))
		case "UINT16":
			out = append(out, le.Uint16(b))
		case "FP16":
			out = append(out, strconv.FormatFloat(float64(tensor.Half(le.Uint16(b)).Float32()), 'g', -1, 32))
		case "INT32":
			out = append(out, int32(le.Uint32(b)))
		case "UINT32":
			out = append(out, le.Uint32(b))
		case "FP32":
			out = append(out, strconv.FormatFloat(float64(math.Float32frombits(le.Uint32(b))), 'g', -1, 32))
		case "INT64":
			out = append(out, int64(le.Uint64(b)))
		case "UINT64":
			out = append(out, le.Uint64(b))
		case "FP64":
			out = append(out, strconv.FormatFloat(math.Float64frombits(le.Uint64(b)), 'g', -1, 64))
		}
		b = b[size:]
	}
	return out
}
