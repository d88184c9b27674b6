package rest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/millrace/millrace/backup"
	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/admin"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/serve/rest"
)

// document is the part of OpenAPI that the tests read.
type document struct {
	root  map[string]any
	paths map[string]map[string]any
}

func readDocument(t *testing.T) document {
	t.Helper()
	b, err := os.ReadFile("../admin/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d := document{root: map[string]any{}, paths: map[string]map[string]any{}}
	if err := yaml.Unmarshal(b, &d.root); err != nil {
		t.Fatal(err)
	}
	for path, item := range d.root["paths"].(map[string]any) {
		d.paths[path] = item.(map[string]any)
	}
	return d
}

// resolve follows a $ref.
func (d document) resolve(v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = d.root
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	return at.(map[string]any)
}

var methods = []string{"GET", "HEAD", "PUT", "POST", "DELETE"}

// operations lists "METHOD path status" for every status that the document names.
func (d document) operations() map[string]map[string]any {
	all := map[string]map[string]any{}
	for path, item := range d.paths {
		for _, m := range methods {
			op, ok := item[strings.ToLower(m)].(map[string]any)
			if !ok {
				continue
			}
			for status, r := range op["responses"].(map[string]any) {
				if status != "default" {
					all[m+" "+path+" "+status] = d.resolve(r)
				}
			}
		}
	}
	return all
}

// match returns the path of the document that a request is for.
func (d document) match(path string) string {
	path, _, _ = strings.Cut(path, "?")
	for _, template := range slices.Backward(slices.Sorted(maps.Keys(d.paths))) {
		pattern := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllStringFunc(regexp.QuoteMeta(template), func(name string) string {
			if name == `\{key\}` || name == `\{profile\}` {
				return ".*"
			}
			return "[^/]*"
		})
		if regexp.MustCompile("^" + pattern + "$").MatchString(path) {
			return template
		}
	}
	return ""
}

// check holds a value against a schema, fields that the schema does not name included.
func (d document) check(schema map[string]any, v any, at string) error {
	schema = d.resolve(schema)
	if options, ok := schema["oneOf"].([]any); ok {
		var faults []string
		for _, o := range options {
			err := d.check(o.(map[string]any), v, at)
			if err == nil {
				return nil
			}
			faults = append(faults, err.Error())
		}
		return fmt.Errorf("%s is none of: %s", at, strings.Join(faults, "; "))
	}
	ok := true
	switch schema["type"] {
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "null":
		ok = v == nil
	case "number":
		_, ok = v.(float64)
	case "integer":
		f, is := v.(float64)
		ok = is && f == float64(int64(f))
	case "array":
		list, is := v.([]any)
		for i, e := range list {
			if err := d.check(schema["items"].(map[string]any), e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		ok = is
	case "object":
		object, is := v.(map[string]any)
		if !is {
			return fmt.Errorf("%s is no object", at)
		}
		return d.checkObject(schema, object, at)
	}
	if !ok {
		return fmt.Errorf("%s is %T, no %v", at, v, schema["type"])
	}
	if enum, is := schema["enum"].([]any); is && !slices.Contains(enum, v) {
		return fmt.Errorf("%s is %v, none of %v", at, v, enum)
	}
	return nil
}

func (d document) checkObject(schema, object map[string]any, at string) error {
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := object[name.(string)]; !ok {
			return fmt.Errorf("%s lacks %s", at, name)
		}
	}
	properties, _ := schema["properties"].(map[string]any)
	additional, _ := schema["additionalProperties"].(map[string]any)
	for name, v := range object {
		s, ok := properties[name].(map[string]any)
		if !ok {
			s, ok = additional, additional != nil
		}
		if !ok {
			return fmt.Errorf("%s.%s is not in the document", at, name)
		}
		if err := d.check(s, v, at+"."+name); err != nil {
			return err
		}
	}
	return nil
}

// fourFloats is a request for a run of the model fixed.
const fourFloats = `{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`

// exercise is a request for each path, method and status of the document. "{good}" is a model's file.
var exercise = []struct {
	method, path, body string
	status             int
	header             string
}{
	{"GET", "/rest/v2/caches", "", 200, ""}, {"HEAD", "/rest/v2/caches", "", 200, ""},
	{"POST", "/rest/v2/caches/new", `{"max_entries":1}`, 200, ""}, {"POST", "/rest/v2/caches/new", "", 409, ""},
	{"POST", "/rest/v2/caches/bad", "x", 400, ""}, {"POST", "/rest/v2/caches/nobody?action=clear", "", 404, ""},
	{"POST", "/rest/v2/caches/new?action=evict", "", 409, ""}, {"POST", "/rest/v2/caches/nobody?action=evict", "", 404, ""}, {"POST", "/rest/v2/caches/new?action=evict", "{}", 400, ""},
	{"POST", "/rest/v2/caches/bad", "{long}", 413, ""}, {"POST", "/rest/v2/caches/bad", "<x/>", 415, "Content-Type: text/xml"},
	{"PUT", "/rest/v2/caches/new", `{"max_entries":2}`, 200, ""}, {"PUT", "/rest/v2/caches/new", "x", 400, ""}, {"PUT", "/rest/v2/caches/nobody", "", 404, ""},
	{"PUT", "/rest/v2/caches/new", "{long}", 413, ""}, {"PUT", "/rest/v2/caches/new", "a: 1", 415, "Content-Type: application/yaml"},
	{"POST", "/rest/v2/caches/dry?dry_run=true", `{"max_entries":1}`, 200, ""}, {"POST", "/rest/v2/caches/dry?dry_run=true", `{"store":"attic"}`, 400, ""}, {"HEAD", "/rest/v2/caches/dry", "", 404, ""},
	{"PUT", "/rest/v2/caches/new?dry_run=true", `{"max_entries":9}`, 200, ""}, {"PUT", "/rest/v2/caches/new?dry_run=true", `{"class":"volatile"}`, 400, ""},
	{"HEAD", "/rest/v2/caches/new", "", 200, ""}, {"HEAD", "/rest/v2/caches/nobody", "", 404, ""}, {"HEAD", "/rest/v2/caches/a.b", "", 400, ""},
	{"POST", "/rest/v2/caches/new/k", `{"a":1}`, 204, "Content-Type: application/json"}, {"POST", "/rest/v2/caches/new/k", "v", 409, ""},
	{"POST", "/rest/v2/caches/new/k", "v", 412, "If-None-Match: *"}, {"POST", "/rest/v2/caches/new/k", "v", 400, "If-Match: 1"},
	{"POST", "/rest/v2/caches/nobody/k", "v", 404, ""}, {"POST", "/rest/v2/caches/new/k", "{long}", 413, "Millrace-Label-A: {label}"},
	{"POST", "/rest/v2/caches/new/k", "v", 415, "Content-Encoding: gzip"},
	{"PUT", "/rest/v2/caches/new/l", "v", 204, "timeToLiveSeconds: 1000"}, {"PUT", "/rest/v2/caches/new/m", "v", 507, ""}, {"POST", "/rest/v2/caches/new/m", "v", 507, ""}, {"POST", "/rest/v2/caches/new?action=import&format=csv", "a\n1\n2\n", 507, ""},
	{"PUT", "/rest/v2/caches/new/l", "v", 400, "timeToLiveSeconds: x"}, {"PUT", "/rest/v2/caches/nobody/l", "v", 404, ""}, {"PUT", "/rest/v2/caches/new/l", "v", 412, `If-Match: "999999"`},
	{"PUT", "/rest/v2/caches/new/l", "v", 413, "Millrace-Label-A: {label}"}, {"PUT", "/rest/v2/caches/new/l", "v", 415, "Content-Encoding: br"},
	{"GET", "/rest/v2/caches/new/k", "", 200, ""}, {"GET", "/rest/v2/caches/new/k", "", 304, "If-None-Match: *"}, {"GET", "/rest/v2/caches/new/k", "", 412, `If-Match: "999999"`},
	{"GET", "/rest/v2/caches/new/k", "", 400, "If-Match: 1"}, {"GET", "/rest/v2/caches/new/x", "", 404, ""},
	{"HEAD", "/rest/v2/caches/new/k", "", 200, ""}, {"HEAD", "/rest/v2/caches/new/k", "", 304, "If-None-Match: *"}, {"HEAD", "/rest/v2/caches/new/k", "", 412, `If-Match: "999999"`},
	{"HEAD", "/rest/v2/caches/new/k", "", 400, "If-Match: 1"}, {"HEAD", "/rest/v2/caches/new/x", "", 404, ""},
	{"GET", "/rest/v2/caches/new", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=size", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=keys", "", 200, ""},
	{"GET", "/rest/v2/caches/new?action=entries", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=stats", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=config", "", 200, ""},
	{"GET", "/rest/v2/caches/new?action=keys&limit=1", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=export", "", 200, ""}, {"GET", "/rest/v2/caches/new?action=export&format=tar", "", 200, ""},
	{"GET", "/rest/v2/caches/new?action=export&format=csv", "", 422, ""}, {"GET", "/rest/v2/caches/new?action=export&format=npz", "", 400, ""},
	{"POST", "/rest/v2/caches/new?action=import", "key,b\nk,2\n", 200, "Content-Type: text/csv"}, {"POST", "/rest/v2/caches/new?action=import", "a,b\n1\n", 400, "Content-Type: text/csv"},
	{"POST", "/rest/v2/caches/new?action=import", "a", 415, "Content-Type: text/html"},
	{"GET", "/rest/v2/caches/new?action=x", "", 400, ""}, {"GET", "/rest/v2/caches/nobody", "", 404, ""},
	{"DELETE", "/rest/v2/caches/new/k", "", 412, `If-Match: "999999"`}, {"DELETE", "/rest/v2/caches/new/k", "", 400, "If-Match: 1"}, {"DELETE", "/rest/v2/caches/new/k", "", 204, ""},
	{"DELETE", "/rest/v2/caches/new/k", "", 404, ""}, {"POST", "/rest/v2/caches/new?action=clear", "", 204, ""},
	{"DELETE", "/rest/v2/caches/new", "", 204, ""}, {"DELETE", "/rest/v2/caches/new", "", 404, ""}, {"DELETE", "/rest/v2/caches/a.b", "", 400, ""},
	{"PUT", "/rest/v2/models/m", "{good}", 201, ""}, {"PUT", "/rest/v2/models/m", "x", 422, ""}, {"PUT", "/rest/v2/models/.m", "x", 400, ""},
	{"PUT", "/rest/v2/models/dry?dry_run=true&settings=%7B%22threads%22:1%7D", "{good}", 200, ""}, {"PUT", "/rest/v2/models/dry?settings=%7B%7D", "{good}", 400, ""},
	{"GET", "/rest/v2/models/dry", "", 404, ""}, {"PUT", "/rest/v2/models/dry?dry_run=true", "x", 422, ""}, {"PUT", "/rest/v2/models/dry?dry_run=yes", "{good}", 400, ""},
	{"PUT", "/rest/v2/models/m/settings", `{"engine":"native","threads":1}`, 200, ""}, {"GET", "/rest/v2/models/m/settings", "", 200, ""}, {"HEAD", "/rest/v2/models/m/settings", "", 200, ""},
	{"PUT", "/rest/v2/models/m/settings", `{"thread":1}`, 400, ""}, {"PUT", "/rest/v2/models/m/settings", `{"device":"gpu"}`, 400, ""}, {"PUT", "/rest/v2/models/m/settings", "{long}", 413, ""},
	{"GET", "/rest/v2/models/.m/settings", "", 400, ""}, {"HEAD", "/rest/v2/models/.m/settings", "", 400, ""},
	{"PUT", "/rest/v2/models/m", "{longer}", 413, ""}, {"PUT", "/rest/v2/models/m", "x", 415, "Content-Encoding: br"},
	{"PUT", "/rest/v2/models/m/versions/5", "{good}", 201, ""}, {"PUT", "/rest/v2/models/m/versions/5", "{good}", 409, ""}, {"PUT", "/rest/v2/models/m/versions/0", "x", 400, ""},
	{"PUT", "/rest/v2/models/m/versions/6", "x", 422, ""}, {"PUT", "/rest/v2/models/m/versions/6", "{longer}", 413, ""}, {"PUT", "/rest/v2/models/m/versions/6", "x", 415, "Content-Encoding: br"},
	{"GET", "/rest/v2/models", "", 200, ""}, {"HEAD", "/rest/v2/models", "", 200, ""},
	{"GET", "/rest/v2/models/m", "", 200, ""}, {"GET", "/rest/v2/models/m?download", "", 200, ""}, {"GET", "/rest/v2/models/.m", "", 400, ""},
	{"GET", "/rest/v2/models/x", "", 404, ""}, {"GET", "/rest/v2/models/fixed?download", "", 409, ""},
	{"HEAD", "/rest/v2/models/m", "", 200, ""}, {"HEAD", "/rest/v2/models/.m", "", 400, ""}, {"HEAD", "/rest/v2/models/x", "", 404, ""}, {"HEAD", "/rest/v2/models/fixed?download", "", 409, ""},
	{"GET", "/rest/v2/models/m/versions/1", "", 200, ""}, {"GET", "/rest/v2/models/m/versions/x", "", 400, ""},
	{"GET", "/rest/v2/models/m/versions/9", "", 404, ""}, {"GET", "/rest/v2/models/fixed/versions/1?download", "", 409, ""},
	{"HEAD", "/rest/v2/models/m/versions/1", "", 200, ""}, {"HEAD", "/rest/v2/models/m/versions/x", "", 400, ""},
	{"HEAD", "/rest/v2/models/m/versions/9", "", 404, ""}, {"HEAD", "/rest/v2/models/fixed/versions/1?download", "", 409, ""},
	{"GET", "/rest/v2/models/m/graph", "", 200, ""}, {"GET", "/rest/v2/models/m/graph?depth=x", "", 400, ""}, {"GET", "/rest/v2/models/x/graph", "", 404, ""},
	{"HEAD", "/rest/v2/models/m/graph", "", 200, ""}, {"HEAD", "/rest/v2/models/m/graph?scope=none", "", 400, ""}, {"HEAD", "/rest/v2/models/x/graph", "", 404, ""},
	{"GET", "/rest/v2/models/m/versions/1/graph", "", 200, ""}, {"GET", "/rest/v2/models/m/versions/x/graph", "", 400, ""}, {"GET", "/rest/v2/models/m/versions/9/graph", "", 404, ""},
	{"HEAD", "/rest/v2/models/m/versions/1/graph", "", 200, ""}, {"HEAD", "/rest/v2/models/m/versions/x/graph", "", 400, ""}, {"HEAD", "/rest/v2/models/m/versions/9/graph", "", 404, ""},
	{"POST", "/rest/v2/models/m/profile?runs=2&rows=3", "", 200, ""}, {"POST", "/rest/v2/models/m/profile?runs=0", "", 400, ""}, {"POST", "/rest/v2/models/x/profile", "", 404, ""},
	{"POST", "/rest/v2/models/m/versions/1/profile", "", 200, ""}, {"POST", "/rest/v2/models/m/versions/x/profile", "", 400, ""}, {"POST", "/rest/v2/models/m/versions/9/profile", "", 404, ""},
	{"PUT", "/rest/v2/models/m?replace=maybe", "{good}", 400, ""},
	{"POST", "/rest/v2/models/m?action=use&version=1", "", 200, ""}, {"POST", "/rest/v2/models/m?action=use&version=none", "", 400, ""}, {"POST", "/rest/v2/models/x?action=use&version=1", "", 404, ""},
	{"DELETE", "/rest/v2/models/m/versions/1", "", 409, ""}, {"POST", "/rest/v2/models/m?action=use&version=previous", "", 200, ""},
	{"DELETE", "/rest/v2/models/m/versions/1", "", 204, ""}, {"DELETE", "/rest/v2/models/m/versions/1", "", 404, ""}, {"DELETE", "/rest/v2/models/m/versions/x", "", 400, ""},
	{"DELETE", "/rest/v2/models/fixed/versions/1", "", 409, ""},
	{"DELETE", "/rest/v2/models/m?version=1", "", 400, ""},
	{"DELETE", "/rest/v2/models/m", "", 204, ""}, {"DELETE", "/rest/v2/models/m", "", 404, ""}, {"DELETE", "/rest/v2/models/.m", "", 400, ""}, {"DELETE", "/rest/v2/models/fixed", "", 409, ""},
	{"GET", "/rest/v2/pipelines", "", 200, ""}, {"HEAD", "/rest/v2/pipelines", "", 200, ""},
	{"GET", "/rest/v2/pipelines/p", "", 200, ""}, {"HEAD", "/rest/v2/pipelines/p", "", 200, ""},
	{"GET", "/rest/v2/pipelines/none", "", 404, ""}, {"HEAD", "/rest/v2/pipelines/none", "", 404, ""},
	{"POST", "/rest/v2/pipelines/p?action=replay", "", 204, ""}, {"POST", "/rest/v2/pipelines/p?action=replay&from=now", "", 204, ""},
	{"POST", "/rest/v2/pipelines/p?action=replay&from=2026-01-31T08:00:00Z", "", 204, ""},
	{"POST", "/rest/v2/pipelines/p?action=replay&from=yesterday", "", 400, ""}, {"POST", "/rest/v2/pipelines/p?action=stop", "", 400, ""},
	{"POST", "/rest/v2/pipelines/p?action=pause", "", 204, ""}, {"POST", "/rest/v2/pipelines/p?action=resume", "", 204, ""},
	{"POST", "/rest/v2/pipelines/p?action=try", "[1,2]", 200, ""},
	{"PUT", "/rest/v2/pipelines/new", `{"from":"c","model":"m","to":"d"}`, 201, ""}, {"PUT", "/rest/v2/pipelines/new", `{"from":"c","model":"m","to":"e","run_timeout":"5s"}`, 200, ""},
	{"PUT", "/rest/v2/pipelines/p", `{"from":"c","model":"m","to":"d"}`, 409, ""}, {"PUT", "/rest/v2/pipelines/new", `{"frm":"c"}`, 400, ""},
	{"PUT", "/rest/v2/pipelines/new", "{long}", 413, ""},
	{"POST", "/rest/v2/pipelines/none?action=replay", "", 404, ""},
	{"DELETE", "/rest/v2/pipelines/p", "", 409, ""}, {"DELETE", "/rest/v2/pipelines/left", "", 204, ""}, {"DELETE", "/rest/v2/pipelines/left", "", 404, ""},
	{"GET", "/rest/v2/backup", "", 200, ""},
	{"GET", "/rest/v2/cluster", "", 200, ""}, {"HEAD", "/rest/v2/cluster", "", 200, ""},
	{"POST", "/rest/v2/cluster/rebalance", "", 202, ""}, {"POST", "/rest/v2/cluster/rebalance?action=pause", "", 202, ""}, {"POST", "/rest/v2/cluster/rebalance?action=resume", "", 202, ""},
	{"POST", "/rest/v2/cluster/rebalance?action=cancel", "", 409, ""}, {"POST", "/rest/v2/cluster/rebalance?action=stop", "", 400, ""},
	{"POST", "/rest/v2/cluster/nodes/n1?action=drain", "", 202, ""}, {"POST", "/rest/v2/cluster/nodes/n1?action=undrain", "", 202, ""}, {"POST", "/rest/v2/cluster/nodes/n1?action=stop", "", 400, ""},
	{"POST", "/rest/v2/cluster/nodes/n2?action=drain", "", 404, ""}, {"POST", "/rest/v2/cluster/nodes/last?action=drain", "", 409, ""},
	{"GET", "/rest/v2/cluster/grow", "", 200, ""}, {"POST", "/rest/v2/cluster/grow", `{"to":["http://n1:8080"]}`, 200, ""}, {"DELETE", "/rest/v2/cluster/grow", "", 200, ""},
	{"DELETE", "/rest/v2/cluster/nodes/n3", "", 202, ""}, {"DELETE", "/rest/v2/cluster/nodes/n2", "", 404, ""}, {"DELETE", "/rest/v2/cluster/nodes/n1", "", 409, ""},
	{"GET", "/rest/v2/stats", "", 200, ""}, {"HEAD", "/rest/v2/stats", "", 200, ""},
	{"GET", "/v2/health/live", "", 200, ""}, {"HEAD", "/v2/health/live", "", 200, ""},
	{"GET", "/v2/health/ready", "", 200, ""}, {"HEAD", "/v2/health/ready", "", 200, ""}, {"GET", "/v2/health/ready", "", 503, "not ready"}, {"HEAD", "/v2/health/ready", "", 503, "not ready"},
	{"GET", "/v2", "", 200, ""}, {"HEAD", "/v2", "", 200, ""},
	{"GET", "/v2/models/fixed", "", 200, ""}, {"GET", "/v2/models/x", "", 404, ""}, {"HEAD", "/v2/models/fixed", "", 200, ""}, {"HEAD", "/v2/models/x", "", 404, ""},
	{"GET", "/v2/models/fixed/versions/1", "", 200, ""}, {"GET", "/v2/models/fixed/versions/9", "", 404, ""},
	{"HEAD", "/v2/models/fixed/versions/1", "", 200, ""}, {"HEAD", "/v2/models/fixed/versions/9", "", 404, ""},
	{"GET", "/v2/models/fixed/ready", "", 200, ""}, {"GET", "/v2/models/x/ready", "", 404, ""}, {"HEAD", "/v2/models/fixed/ready", "", 200, ""}, {"HEAD", "/v2/models/x/ready", "", 404, ""},
	{"GET", "/v2/models/fixed/versions/1/ready", "", 200, ""}, {"GET", "/v2/models/fixed/versions/9/ready", "", 404, ""},
	{"HEAD", "/v2/models/fixed/versions/1/ready", "", 200, ""}, {"HEAD", "/v2/models/fixed/versions/9/ready", "", 404, ""},
	{"POST", "/v2/models/fixed/infer", fourFloats, 200, ""}, {"POST", "/v2/models/fixed/infer", "{}", 400, ""}, {"POST", "/v2/models/x/infer", "{}", 404, ""},
	{"POST", "/v2/models/fixed/infer", "{longer}", 413, ""}, {"POST", "/v2/models/fixed/infer", "{}", 415, "Content-Encoding: br"},
	{"POST", "/v2/models/fixed/versions/1/infer", fourFloats, 200, ""}, {"POST", "/v2/models/fixed/versions/1/infer", "{}", 400, ""}, {"POST", "/v2/models/fixed/versions/9/infer", "{}", 404, ""},
	{"POST", "/v2/models/fixed/versions/1/infer", "{longer}", 413, ""}, {"POST", "/v2/models/fixed/versions/1/infer", "{}", 415, "Content-Encoding: br"},
	{"POST", "/v2/repository/index", "", 200, ""}, {"POST", "/v2/repository/index", "x", 400, ""}, {"POST", "/v2/repository/index", "{longer}", 413, ""},
	{"GET", "/v1/models/fixed", "", 200, ""}, {"GET", "/v1/models/x", "", 404, ""}, {"HEAD", "/v1/models/fixed", "", 200, ""}, {"HEAD", "/v1/models/x", "", 404, ""},
	{"POST", "/v1/models/fixed:predict", `{"instances":[[1,2,3,4]]}`, 200, ""}, {"POST", "/v1/models/fixed:predict", "{}", 400, ""}, {"POST", "/v1/models/x:predict", "{}", 404, ""},
	{"POST", "/v1/models/fixed:predict", "{longer}", 413, ""}, {"POST", "/v1/models/fixed:predict", "{}", 415, "Content-Encoding: br"},
	{"GET", "/metrics", "", 200, ""}, {"HEAD", "/metrics", "", 200, ""}, {"GET", "/openapi.yaml", "", 200, ""}, {"HEAD", "/openapi.yaml", "", 200, ""},
	{"GET", "/debug/pprof/goroutine", "", 200, ""}, {"GET", "/debug/pprof/nobody", "", 404, ""}, {"HEAD", "/debug/pprof/goroutine", "", 200, ""}, {"HEAD", "/debug/pprof/nobody", "", 404, ""},
}

// TestOpenAPI holds the document against the handlers in both directions: every path, method and status in it is
// exercised with an answer of the form that it says, and every method that a path answers is in it.
func TestOpenAPI(t *testing.T) {
	d := readDocument(t)
	g := openCold(t, nil, func() {})
	r := newRegistry(t, g)
	good := newModel(t, "Mul", map[string]string{"millrace.labels": `["a","b","c","d"]`})
	m, err := model.Decode(good)
	if err != nil {
		t.Fatal(err)
	}
	if m, err = m.With("fixed", 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Add(m, "fixed.onnx"); err != nil {
		t.Fatal(err)
	}
	var reasons []string
	inference, err := oip.New(oip.Config{Models: r, MaxBody: 1 << 20, Ready: func(context.Context) []string { return reasons }})
	if err != nil {
		t.Fatal(err)
	}
	saved := func(ctx context.Context, w io.Writer, skipCold bool) error {
		_, err := backup.Write(ctx, g, w, backup.Options{SkipCold: skipCold})
		return err
	}
	n := start(t, rest.Config{
		Grid: g, Models: r, Pipelines: &somePipelines{left: true, made: map[string]pipeline.Definition{}}, Backup: saved, MaxModelBytes: 1 << 20,
	}, serve.Config{}, nil, func(routes *serve.Routes) {
		for _, p := range oip.Prefixes() {
			routes.Handle(p, inference)
		}
		admin.Handle(routes, admin.Config{
			Profiles: true,
			Stats: func(context.Context) (admin.Stats, error) {
				return admin.Stats{Caches: []admin.CacheStats{{Name: "c"}}, Pipelines: []admin.PipelineStats{{Name: "p", Origin: "file", State: "waiting", BatchSizes: []uint64{1}}}}, nil
			},
			Cluster: func(context.Context) any {
				return cluster.Status{Cluster: "test", Node: "n1", Nodes: []cluster.Node{{Name: "n1"}}, Partitions: []cluster.Partition{{Class: "durable", Replicas: []cluster.Replica{{Node: "n1", State: "current"}}}},
					Rebalancing: cluster.Rebalancing{State: "even", Current: []cluster.Move{}}}
			},
			Grow:    http.HandlerFunc(growing),
			Control: func() (admin.Cluster, error) { return someNodes{}, nil },
			Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			}),
		})
	})
	documented := d.operations()
	exercised := map[string]bool{}
	texts := strings.NewReplacer("{good}", string(good), "{longer}", strings.Repeat("x", 1<<20+1), "{long}", strings.Repeat(" ", 64<<10+1), "{label}", strings.Repeat("x", 20<<10))
	for _, e := range exercise {
		if reasons = nil; e.header == "not ready" {
			reasons, e.header = []string{"starting"}, ""
		}
		var headers []string
		if e.header != "" {
			headers = []string{texts.Replace(e.header)}
		}
		a := n.want(e.status, e.method, e.path, texts.Replace(e.body), headers...)
		name := e.method + " " + d.match(e.path) + " " + strconv.Itoa(e.status)
		response, ok := documented[name]
		if !ok {
			t.Errorf("%s is not in the document", name)
			continue
		}
		exercised[name] = true
		if err := d.checkAnswer(response, a); err != nil {
			t.Errorf("%s %s: %v: %.300s", e.method, e.path, err, a.body)
		}
	}
	for name := range documented {
		if !exercised[name] {
			t.Errorf("%s is in the document and not exercised", name)
		}
	}
	d.checkMethods(t, n)
}

// The document is well formed: each reference leads somewhere, each part of a path in braces is a parameter, a name of an operation stands once (but
// where a whole operation is repeated), and each operation says what it answers.
func TestOpenAPIIsWhole(t *testing.T) {
	d := readDocument(t)
	var walk func(v any, at string)
	walk = func(v any, at string) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				var to any = d.root
				for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
					m, _ := to.(map[string]any)
					to = m[part]
				}
				if to == nil || !strings.HasPrefix(ref, "#/") || len(v) > 1 {
					t.Errorf("%s: $ref %q leads nowhere, or has something beside it", at, ref)
				}
			}
			for name, e := range v {
				walk(e, at+"/"+name)
			}
		case []any:
			for i, e := range v {
				walk(e, fmt.Sprintf("%s/%d", at, i))
			}
		}
	}
	walk(d.root, "")
	parameter := regexp.MustCompile(`\{([a-z]+)\}`)
	ids := map[string]string{}
	for path, item := range d.paths {
		shared, _ := item["parameters"].([]any)
		for method, op := range item {
			if method == "parameters" {
				continue
			}
			at := method + " " + path
			op, ok := op.(map[string]any)
			if !ok || !slices.Contains(methods, strings.ToUpper(method)) {
				t.Errorf("%s is no operation", at)
				continue
			}
			if responses, _ := op["responses"].(map[string]any); len(responses) == 0 {
				t.Errorf("%s says no answer", at)
			}
			if id, ok := op["operationId"].(string); ok {
				if ids[id] != "" {
					t.Errorf("%s and %s are both %s", at, ids[id], id)
				}
				ids[id] = at
			}
			own, _ := op["parameters"].([]any)
			var inPath []string
			for _, p := range slices.Concat(shared, own) {
				p := d.resolve(p)
				if p["name"] == nil || p["in"] == nil || p["schema"] == nil {
					t.Errorf("%s: a parameter lacks name, in or schema: %v", at, p)
				}
				if p["in"] == "path" {
					inPath = append(inPath, p["name"].(string))
					if p["required"] != true {
						t.Errorf("%s: %v is in the path and not required", at, p["name"])
					}
				}
			}
			var wants []string
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				wants = append(wants, m[1])
			}
			if slices.Sort(wants); !slices.Equal(slices.Sorted(slices.Values(inPath)), wants) {
				t.Errorf("%s: parameters %v for %v", at, inPath, wants)
			}
		}
	}
}

// somePipelines are one that is configured, p, one that has only positions left, and those that are put.
type somePipelines struct {
	left bool
	made map[string]pipeline.Definition
}

func (s *somePipelines) Pipelines(context.Context) ([]rest.Pipeline, error) {
	all := []rest.Pipeline{rest.NewPipeline(rest.Pipeline{
		Name: "p", Origin: "file", State: "waiting", Reason: "entries of cache c", Settings: rest.Settings{From: "c"},
	}, []grid.Position{{Sequence: 1, End: 2, Changes: 1}})}
	for name, d := range s.made {
		c, err := d.Config(name)
		if err != nil {
			return nil, err
		}
		all = append(all, rest.NewPipeline(rest.Pipeline{Name: name, Origin: "grid", State: "running", Settings: rest.SettingsOf(c)}, nil))
	}
	return all, nil
}

func (s *somePipelines) Put(_ context.Context, name string, d pipeline.Definition) (bool, error) {
	if name == "p" {
		return false, pipeline.ErrInFile
	}
	if _, err := d.Config(name); err != nil {
		return false, err
	}
	_, old := s.made[name]
	s.made[name] = d
	return !old, nil
}

func (s *somePipelines) has(name string) error {
	if name != "p" {
		return pipeline.ErrNone
	}
	return nil
}

func (s *somePipelines) Pause(_ context.Context, name string) error  { return s.has(name) }
func (s *somePipelines) Resume(_ context.Context, name string) error { return s.has(name) }

func (s *somePipelines) Replay(_ context.Context, name string, _ grid.Seek) error { return s.has(name) }

func (s *somePipelines) Try(_ context.Context, name, _ string, _ []byte) (pipeline.Trial, error) {
	return pipeline.Trial{Steps: []pipeline.Step{{Name: "run", US: 1.5}}, Result: json.RawMessage(`{"label":"x"}`)}, s.has(name)
}

func (s *somePipelines) Delete(_ context.Context, name string) error {
	switch {
	case name == "p":
		return pipeline.ErrInFile
	case !s.left:
		return pipeline.ErrNone
	}
	s.left = false
	return nil
}

// checkAnswer holds the content type and a JSON body against the document.
func (d document) checkAnswer(response map[string]any, a answer) error {
	content, _ := response["content"].(map[string]any)
	if a.body == "" {
		return nil
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	media, ok := content[kind].(map[string]any)
	if !ok {
		if _, any := content["*/*"]; any {
			return nil
		}
		return fmt.Errorf("content type %q is not in the document", kind)
	}
	if kind != "application/json" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		return err
	}
	schema, _ := media["schema"].(map[string]any)
	return d.check(schema, v, "body")
}

// checkMethods asks every path with every method: 405 exactly where the document has none.
func (d document) checkMethods(t *testing.T, n *node) {
	t.Helper()
	n.want(200, "POST", "/rest/v2/caches/methods", "")
	names := strings.NewReplacer("{cache}", "methods", "{key}", "k", "{model}", "m", "{version}", "1", "{profile}", "goroutine", "{pipeline}", "p")
	for path, item := range d.paths {
		for _, method := range append([]string{"PATCH", "OPTIONS", "TRACE", "LOCK"}, methods...) {
			_, documented := item[strings.ToLower(method)]
			a := n.do(method, names.Replace(path), "")
			if a.status == http.StatusMethodNotAllowed == documented {
				t.Errorf("%s %s: %d, in the document: %v", method, path, a.status, documented)
			}
			if a.status != http.StatusMethodNotAllowed {
				continue
			}
			for allowed := range strings.SplitSeq(a.header.Get("Allow"), ", ") {
				if _, ok := item[strings.ToLower(allowed)]; !ok {
					t.Errorf("%s allows %s, which is not in the document", path, allowed)
				}
			}
		}
	}
}

// growing answers for a node that is on its way into a cluster.
func growing(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodDelete:
		serve.WriteJSON(w, r, http.StatusOK, cluster.Growth{Cluster: "test", Running: true, Progress: grid.GrowProgress{Step: grid.GrowCopying}})
	default:
		serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodPost, http.MethodDelete)
	}
}

// someNodes is a cluster that knows n1, which is there, n3, which is gone, and the last node that can take anything.
type someNodes struct{}

func (someNodes) Rebalance(context.Context) error { return nil }
func (someNodes) Pause(context.Context) error     { return nil }
func (someNodes) Resume(context.Context) error    { return nil }
func (someNodes) Cancel(context.Context) error    { return cluster.ErrAlone }

func (someNodes) Drain(_ context.Context, node string) error {
	return map[string]error{"n2": cluster.ErrNode, "last": cluster.ErrRefused}[node]
}

func (someNodes) Undrain(context.Context, string) error { return nil }

func (someNodes) Remove(_ context.Context, node string) error {
	return map[string]error{"n2": cluster.ErrNode, "n1": cluster.ErrRefused}[node]
}
