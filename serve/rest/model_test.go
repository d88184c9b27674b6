package rest_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/tensor"
)

// newRegistry returns a registry whose engine knows Add, Mul and Identity, and calls itself few.
func newRegistry(t testing.TB, g *grid.Grid) *registry.Registry {
	t.Helper()
	r, err := registry.Open(t.Context(), g, registry.Config{
		Open: func(ctx context.Context, m *model.Model, _ registry.Settings, _ bool) (engine.Session, string, error) {
			for _, op := range m.Operators() {
				if !slices.Contains([]string{"Add", "Mul", "Identity"}, op) {
					return nil, "", &engine.UnsupportedError{Engine: "few", Ops: []string{op}}
				}
			}
			session, err := native.New(native.Config{}).Open(ctx, m.Graph, engine.Options{})
			return session, "few", err
		},
		MaxBytes: 1 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// newModel returns an ONNX file that applies op to its input and weights of 4 numbers.
func newModel(t testing.TB, op string, metadata map[string]string) []byte {
	t.Helper()
	shape := graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}}
	inputs := []string{"x", "w"}
	if op == "Identity" || op == "Relu" {
		inputs = inputs[:1]
	}
	g := &graph.Graph{
		Name: "small", Producer: "rest test", IRVersion: 8, Opset: map[string]int64{"": 17}, Metadata: metadata,
		Inputs:       []graph.Value{{Name: "x", DType: tensor.Float32, Shape: shape}},
		Outputs:      []graph.Value{{Name: "y", DType: tensor.Float32, Shape: shape}},
		Nodes:        []*graph.Node{{OpType: op, Inputs: inputs, Outputs: []string{"y"}}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Vector[float32](1, 2, 3, 4)}},
	}
	b, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

type file struct {
	name, body string
	link       bool
}

func zipOf(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(0o644)
		if f.link {
			h.SetMode(0o777 | 1<<27) // fs.ModeSymlink
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func tarOf(t testing.TB, files ...file) string {
	t.Helper()
	var b bytes.Buffer
	z := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.body)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if f.link {
			h.Typeflag, h.Linkname, h.Size = tar.TypeSymlink, f.body, 0
		}
		if err := z.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if f.link {
			continue
		}
		if _, err := z.Write([]byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func gzipOf(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func archiveSeeds(t testing.TB) [][]byte {
	m := string(newModel(t, "Add", nil))
	var seeds [][]byte
	for _, s := range []string{
		m, m[:len(m)/2], zipOf(t, file{name: "model.onnx", body: m}), tarOf(t, file{name: "m/model.onnx", body: m}),
		gzipOf(t, tarOf(t, file{name: "m/model.onnx", body: m})), zipOf(t, file{name: "../model.onnx", body: m}), "PK\x03\x04", "\x1f\x8b",
	} {
		seeds = append(seeds, []byte(s))
	}
	return seeds
}

func startModels(t *testing.T) *node {
	g := openGrid(t)
	newCache(t, g, grid.CacheConfig{Name: "c"})
	n := start(t, rest.Config{Grid: g, Models: newRegistry(t, g), MaxModelBytes: 1 << 20}, serve.Config{}, nil)
	n.grid = g
	return n
}

const models = "/rest/v2/models"

func TestModelMetadata(t *testing.T) {
	n := startModels(t)
	const columns = `[{"name":"a","type":"number","mean":0,"std":2.5,"missing":-1},{"name":"b","type":"number"},{"name":"c","type":"number"},` +
		`{"name":"state","type":"category","categories":["open","shut"]}]`
	n.want(201, "PUT", models+"/scale", string(newModel(t, "Mul", map[string]string{
		"millrace.columns": columns, "millrace.ignored": `["id","time"]`, "millrace.task": "classification", "millrace.target": "kind",
		"millrace.labels": `["a","b","c","d"]`, "millrace.scale": "0.5", "author": "us",
	})))
	var info struct{ Metadata json.RawMessage }
	a := n.want(200, "GET", models+"/scale", "")
	if err := json.Unmarshal([]byte(a.body), &info); err != nil {
		t.Fatal(err)
	}
	want := `{"labels":["a","b","c","d"],"scale":0.5,"columns":` + columns + `,"ignored":["id","time"],"task":"classification","target":"kind"}`
	if string(info.Metadata) != want {
		t.Errorf("metadata:\n%s\nwant\n%s", info.Metadata, want)
	}
	bad := string(newModel(t, "Mul", map[string]string{"millrace.columns": `[{"name":"a","type":"number"}]`}))
	if a := n.want(422, "PUT", models+"/scale", bad); !strings.Contains(a.body, "takes 4 numbers") {
		t.Errorf("too few columns: %s", a.body)
	}
}

func TestModels(t *testing.T) {
	n := startModels(t)
	if a := n.want(200, "GET", models, ""); a.body != "[]\n" {
		t.Errorf("no models: %s", a.body)
	}
	n.want(404, "GET", models+"/scale", "")
	first := string(newModel(t, "Mul", map[string]string{"millrace.labels": `["a","b","c","d"]`, "author": "us"}))
	a := n.want(201, "PUT", models+"/scale", first)
	if a.header.Get("Location") != models+"/scale/versions/1" {
		t.Errorf("Location: %q", a.header.Get("Location"))
	}
	var info struct {
		Name, State, Engine, Source, SHA256, Producer string
		Version, Bytes, Parameters                    int64
		Latest                                        bool
		Inputs, Outputs                               []struct {
			Name, Type string
			Shape      []any
		}
		Opset     map[string]int64
		Operators []string
		Labels    []string
		Versions  []struct {
			Version                  int64
			Digest, Source, Time, By string
		}
		Serves int64
		Pinned bool
	}
	if err := json.Unmarshal([]byte(a.body), &info); err != nil {
		t.Fatal(err)
	}
	if info.Name != "scale" || info.Version != 1 || info.State != "ready" || info.Engine != "few" || info.Source != "pushed" ||
		info.Bytes != int64(len(first)) || info.Parameters != 4 || !info.Latest || info.Opset["ai.onnx"] != 17 || info.Producer == "" ||
		!slices.Equal(info.Operators, []string{"Mul"}) || !slices.Equal(info.Labels, []string{"a", "b", "c", "d"}) ||
		len(info.Inputs) != 1 || info.Inputs[0].Type != "float32" || info.Inputs[0].Shape[0] != "N" || info.Inputs[0].Shape[1] != 4.0 {
		t.Errorf("understood: %s", a.body)
	}
	second := string(newModel(t, "Add", map[string]string{"millrace.labels": `["a","b","c","d"]`}))
	n.want(201, "PUT", models+"/scale", second)
	n.want(201, "PUT", models+"/scale/versions/7", second)
	if a := n.want(409, "PUT", models+"/scale/versions/7", second); a.code(t) != "model_version_exists" {
		t.Error(a.body)
	}
	a = n.want(200, "GET", models+"/scale", "")
	if err := json.Unmarshal([]byte(a.body), &info); err != nil || info.Version != 7 || len(info.Versions) != 3 || info.Versions[0].Version != 7 || info.Versions[2].Version != 1 || len(info.Versions[2].Digest) != 64 || info.Versions[2].By != "127.0.0.1" || info.Serves != 7 || info.Pinned {
		t.Errorf("%v: %s", err, a.body)
	}
	for _, c := range []struct{ path, accept string }{
		{"/scale/versions/1?download", "Accept: */*"}, {"/scale/versions/1?download=true", "Accept: */*"}, {"/scale/versions/1", "Accept: text/html, application/octet-stream;q=0.5"},
	} {
		if a := n.want(200, "GET", models+c.path, "", c.accept); a.body != first || a.header.Get("Content-Type") != "application/octet-stream" {
			t.Errorf("%v: %d bytes of %s", c, len(a.body), a.header.Get("Content-Type"))
		}
	}
	if a := n.want(200, "HEAD", models+"/scale/versions/1?download", ""); a.body != "" {
		t.Errorf("HEAD: %d bytes", len(a.body))
	}
	n.want(204, "DELETE", models+"/scale/versions/7", "")
	n.want(404, "GET", models+"/scale/versions/7", "")
	n.want(204, "DELETE", models+"/scale", "")
	n.want(404, "GET", models+"/scale", "")
	n.want(404, "DELETE", models+"/scale", "")
	for path, status := range map[string]int{
		"/scale/versions/0": 400, "/scale/versions/one": 400, "/scale/versions": 404, "/scale/x/1": 404, "/scale/versions/1/x": 404, "/.hidden": 400, "/a%2Fb": 400, "/": 400,
	} {
		n.want(status, "GET", models+path, "")
	}
}

func TestModelsAreRefused(t *testing.T) {
	n := startModels(t)
	good := string(newModel(t, "Mul", nil))
	n.want(201, "PUT", models+"/m", good)
	for name, c := range map[string]struct{ body, says string }{
		"nothing":            {"", "the body is empty"},
		"no ONNX":            {"this is no model", "model is refused"},
		"half":               {good[:len(good)/2], "model is refused"},
		"operator":           {string(newModel(t, "Relu", nil)), "does not support Relu"},
		"bad metadata":       {string(newModel(t, "Mul", map[string]string{"millrace.scale": "big", "millrace.nonsense": "1"})), "nonsense"},
		"other labels":       {string(newModel(t, "Mul", map[string]string{"millrace.labels": `["a"]`})), ""},
		"empty zip":          {zipOf(t), "there is no model.onnx"},
		"two models":         {zipOf(t, file{name: "a.onnx", body: good}, file{name: "b.onnx", body: good}), "which of a.onnx, b.onnx"},
		"SavedModel":         {zipOf(t, file{name: "s/saved_model.pb", body: "x"}), "SavedModel"},
		"leaves the folder":  {zipOf(t, file{name: "../model.onnx", body: good}), "leaves the folder"},
		"leaves deeper":      {tarOf(t, file{name: "m/../../model.onnx", body: good}), "leaves the folder"},
		"absolute":           {tarOf(t, file{name: "/etc/model.onnx", body: good}), "leaves the folder"},
		"backslash":          {zipOf(t, file{name: `..\model.onnx`, body: good}), "leaves the folder"},
		"symbolic link":      {tarOf(t, file{name: "model.onnx", body: "/etc/passwd", link: true}), "no regular file"},
		"zipped link":        {zipOf(t, file{name: "model.onnx", body: "/etc/passwd", link: true}), "no regular file"},
		"a name twice":       {zipOf(t, file{name: "model.onnx", body: good}, file{name: "./model.onnx", body: good}), "twice"},
		"a bomb":             {zipOf(t, file{name: "model.onnx", body: strings.Repeat("\x00", 3<<20)}), "more than the limit"},
		"a bomb in tar.gz":   {gzipOf(t, tarOf(t, file{name: "model.onnx", body: strings.Repeat("\x00", 3<<20)})), "more than the limit"},
		"cut gzip":           {gzipOf(t, tarOf(t, file{name: "model.onnx", body: good}))[:60], "archive"},
		"external elsewhere": {zipOf(t, file{name: "model.onnx", body: external(t, "../w.bin")}, file{name: "w.bin", body: "0123456789abcdef"}), "inside the model's folder"},
		"external missing":   {zipOf(t, file{name: "model.onnx", body: external(t, "w.bin")}), "w.bin"},
		"external alone":     {external(t, "w.bin"), "w.bin"},
	} {
		path := models + "/m"
		if name == "other labels" {
			n.want(201, "PUT", models+"/labelled", string(newModel(t, "Mul", map[string]string{"millrace.labels": `["a","b"]`})))
			path = models + "/labelled"
		}
		a := n.do("PUT", path, c.body)
		if a.status != 422 || !strings.Contains(a.body, c.says) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
			continue
		}
		var e serve.ErrorBody
		if err := json.Unmarshal([]byte(a.body), &e); err != nil {
			t.Fatal(err)
		}
		if name == "bad metadata" && len(e.Reasons) < 2 {
			t.Errorf("%s has several reasons: %s", name, a.body)
		}
	}
	if a := n.want(413, "PUT", models+"/m", strings.Repeat("x", 1<<20+1)); a.code(t) != "too_large" || !strings.Contains(a.body, "http.limits.model_body") {
		t.Error(a.body)
	}
	n.want(415, "PUT", models+"/m", good, "Content-Encoding: gzip")
	if a := n.want(200, "GET", models+"/m", ""); !strings.Contains(a.body, `"version":1`) {
		t.Errorf("what served goes on: %s", a.body)
	}
}

// external returns newModel with its weights in a file beside it.
func external(t *testing.T, location string) string {
	t.Helper()
	b := newModel(t, "Mul", nil)
	// TensorProto raw_data (field 9, 16 bytes) becomes external_data (13) and data_location (14) = EXTERNAL.
	raw := bytes.Index(b, []byte{0x4a, 16})
	if raw < 0 {
		t.Fatal("the weights are not raw data")
	}
	entry := append([]byte{0x0a, 8}, "location"...)
	entry = append(append(entry, 0x12, byte(len(location))), location...)
	field := append([]byte{0x6a, byte(len(entry))}, entry...)
	field = append(field, 0x70, 1)
	out, ok := splice(b, raw, 18, field)
	if !ok {
		t.Fatal("the file is not built as expected")
	}
	return string(out)
}

// splice replaces n bytes at off, which lie in an initializer (5) of the graph (7), and mends both lengths. It works
// for messages that are shorter than 16 KiB.
func splice(b []byte, off, n int, with []byte) ([]byte, bool) {
	type span struct{ at, size, end int }
	find := func(b []byte, from, to int, tag byte, holds int) (span, bool) {
		for i := from; i < to; {
			key := b[i]
			i++
			at := i
			v, shift := 0, 0
			for i < to {
				c := b[i]
				i++
				v |= int(c&0x7f) << shift
				shift += 7
				if c < 0x80 {
					break
				}
			}
			if key&7 != 2 {
				continue
			}
			if key == tag && i <= holds && holds < i+v {
				return span{at, i - at, i + v}, true
			}
			i += v
		}
		return span{}, false
	}
	varint := func(v int) []byte {
		if v < 128 {
			return []byte{byte(v)}
		}
		return []byte{byte(v) | 0x80, byte(v >> 7)}
	}
	g, ok := find(b, 0, len(b), 0x3a, off)
	if !ok {
		return nil, false
	}
	in, ok := find(b, g.at+g.size, g.end, 0x2a, off)
	if !ok {
		return nil, false
	}
	inner := slices.Concat(b[in.at+in.size:off], with, b[off+n:in.end])
	body := slices.Concat(b[g.at+g.size:in.at], varint(len(inner)), inner, b[in.end:g.end])
	return slices.Concat(b[:g.at], varint(len(body)), body, b[g.end:]), true
}

func TestModelArchives(t *testing.T) {
	n := startModels(t)
	plain := string(newModel(t, "Mul", nil))
	beside := external(t, "w.bin")
	weights := string(tensor.Vector[float32](1, 2, 3, 4).Bytes())
	for i, body := range []string{
		zipOf(t, file{name: "model.onnx", body: plain}),
		zipOf(t, file{name: "folder/model.onnx", body: plain}, file{name: "folder/README.md", body: "hello"}),
		tarOf(t, file{name: "./digits.onnx", body: plain}),
		gzipOf(t, tarOf(t, file{name: "folder/model.onnx", body: plain})),
		zipOf(t, file{name: "folder/model.onnx", body: beside}, file{name: "folder/w.bin", body: weights}),
		gzipOf(t, tarOf(t, file{name: "w.bin", body: weights}, file{name: "model.onnx", body: beside})),
	} {
		a := n.do("PUT", models+"/m", body)
		if a.status != 201 {
			t.Errorf("archive %d: %d %s", i, a.status, a.body)
			continue
		}
		kept := n.want(200, "GET", models+"/m?download", "").body
		if i < 4 && kept != plain {
			t.Errorf("archive %d: the file is not kept as it is", i)
		}
		g, err := onnx.Decode([]byte(kept), onnx.Options{})
		if err != nil {
			t.Errorf("archive %d: %v", i, err)
			continue
		}
		if w := g.Initializer("w"); w == nil || !slices.Equal(tensor.Data[float32](w), []float32{1, 2, 3, 4}) {
			t.Errorf("archive %d: weights %v", i, w)
		}
	}
}

func TestConfiguredModelsStay(t *testing.T) {
	g := openGrid(t)
	r := newRegistry(t, g)
	m, err := model.Decode(newModel(t, "Mul", nil))
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.With("fixed", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(m, "scale.onnx"); err != nil {
		t.Fatal(err)
	}
	n := start(t, rest.Config{Grid: g, Models: r}, serve.Config{}, nil)
	for _, c := range []struct{ method, path string }{{"DELETE", "/fixed"}, {"DELETE", "/fixed/versions/1"}, {"GET", "/fixed?download"}} {
		if a := n.want(409, c.method, models+c.path, ""); a.code(t) != "model_fixed" {
			t.Error(a.body)
		}
	}
}
