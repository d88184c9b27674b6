package rest_test

import (
	"encoding/xml"
	"net/http"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/tensor"
)

// blocks is an ONNX file with two scopes of two nodes.
func blocks(t testing.TB) string {
	t.Helper()
	shape := graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}}
	g := &graph.Graph{
		Name: "blocks", IRVersion: 8, Opset: map[string]int64{"": 17},
		Inputs:       []graph.Value{{Name: "x", DType: tensor.Float32, Shape: shape}},
		Outputs:      []graph.Value{{Name: "y", DType: tensor.Float32, Shape: shape}},
		Initializers: []graph.Initializer{{Name: "w", Tensor: tensor.Vector[float32](1, 2, 3, 4)}},
		Nodes: []*graph.Node{
			{Name: "/first/Mul", OpType: "Mul", Inputs: []string{"x", "w"}, Outputs: []string{"a"}}, {Name: "/first/Add", OpType: "Add", Inputs: []string{"a", "w"}, Outputs: []string{"b"}},
			{Name: "/<b>&/Mul", OpType: "Mul", Inputs: []string{"b", "w"}, Outputs: []string{"c"}}, {Name: "/<b>&/Add", OpType: "Add", Inputs: []string{"c", "b"}, Outputs: []string{"y"}},
		},
	}
	b, err := onnx.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestModelGraph(t *testing.T) {
	g := openCold(t, nil, func() {})
	n := start(t, rest.Config{Grid: g, Models: newRegistry(t, g)}, serve.Config{}, nil)
	n.want(http.StatusCreated, "PUT", "/rest/v2/models/m", blocks(t))
	a := n.want(http.StatusOK, "GET", "/rest/v2/models/m/graph", "")
	if a.header.Get("Content-Type") != "image/svg+xml" || !strings.Contains(a.header.Get("Content-Security-Policy"), "sandbox") || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%v", a.header)
	}
	if err := xml.Unmarshal([]byte(a.body), new(struct{})); err != nil {
		t.Errorf("%v: %s", err, a.body)
	}
	for _, part := range []string{`aria-label="Graph m version 1"`, `data-key="first" data-nodes="0-1" data-open="true"`, ">N×4<", "&lt;b&gt;&amp;", `data-depth="3"`} {
		if !strings.Contains(a.body, part) {
			t.Errorf("the picture lacks %s", part)
		}
	}
	if b := n.want(http.StatusOK, "GET", "/rest/v2/models/m/versions/1/graph", ""); b.body != a.body {
		t.Error("the version that serves has another picture by its number")
	}
	for query, parts := range map[string][]string{
		"depth=1":                    {`data-key="first" data-nodes="0-1" data-open="false"`, `data-nodes="2-3" data-open="false"`},
		"depth=1&open=%3Cb%3E%26":    {`data-key="first" data-nodes="0-1" data-open="false"`, `data-nodes="2-3" data-open="true"`},
		"shut=first&shut=%3Cb%3E%26": {`data-key="first" data-nodes="0-1" data-open="false"`, `data-nodes="2-3" data-open="false"`},
		"scope=first":                {`data-key="@0" data-nodes="0"`, `aria-label="Graph m version 1 first"`},
	} {
		b := n.want(http.StatusOK, "GET", "/rest/v2/models/m/graph?"+query, "")
		for _, part := range parts {
			if !strings.Contains(b.body, part) {
				t.Errorf("%s: the picture lacks %s", query, part)
			}
		}
	}
	for query, says := range map[string]string{
		"depth=0": "no number from 1 on", "depth=1e3": "no number from 1 on", "scope=third": `no scope \"third\"; the outermost ones are`, "zoom=2": "it takes depth, scope, open and shut",
		strings.Repeat("open=x&", 1001): "more than 1000 boxes",
	} {
		if b := n.want(http.StatusBadRequest, "GET", "/rest/v2/models/m/graph?"+query, ""); !strings.Contains(b.body, says) {
			t.Errorf("%.40s: %s", query, b.body)
		}
	}
	if b := n.want(http.StatusMethodNotAllowed, "POST", "/rest/v2/models/m/graph", ""); b.header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%v", b.header)
	}
	if b := n.want(http.StatusOK, "HEAD", "/rest/v2/models/m/graph", ""); b.body != "" || b.header.Get("Content-Type") != "image/svg+xml" {
		t.Errorf("HEAD: %v %s", b.header, b.body)
	}
	n.want(http.StatusNotFound, "GET", "/rest/v2/models/m/versions/graph/graph/graph", "")
	n.want(http.StatusBadRequest, "GET", "/rest/v2/models/m/versions/graph", "")
}
