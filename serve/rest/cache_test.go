package rest_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

func TestCaches(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	n.want(404, "HEAD", "/rest/v2/caches/new", "")
	a := n.want(200, "POST", "/rest/v2/caches/new", `{"class":"volatile","max_entries":7,"lifespan":"24h"}`, "Content-Type: application/json")
	if a.header.Get("Location") != "/rest/v2/caches/new" {
		t.Errorf("Location %q", a.header.Get("Location"))
	}
	n.want(200, "HEAD", "/rest/v2/caches/new", "")
	if a := n.want(409, "POST", "/rest/v2/caches/new", ""); a.code(t) != "cache_exists" {
		t.Error(a.body)
	}
	if a := n.want(200, "GET", "/rest/v2/caches", ""); a.body != `["c","new"]`+"\n" {
		t.Error(a.body)
	}
	want := `{"name":"new","class":"volatile","max_entries":7,"max_bytes":0,"max_entry_bytes":1048576,"lifespan":"24h0m0s","max_idle":"0s","consistency":"session"}`
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=config", ""); strings.TrimSpace(a.body) != want {
		t.Errorf("config %s", a.body)
	}
	n.want(200, "PUT", "/rest/v2/caches/new", `{"max_bytes":99}`)
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=config", ""); strings.TrimSpace(a.body) != strings.Replace(want, `"max_bytes":0`, `"max_bytes":99`, 1) {
		t.Errorf("altered %s", a.body)
	}
	for _, alter := range []struct{ body, near string }{
		{`{"near":{"max_bytes":1048576}}`, `"near":{"max_bytes":1048576,"staleness":"1s"}`},
		{`{"near":{"staleness":"5s"}}`, `"near":{"max_bytes":1048576,"staleness":"5s"}`},
		{`{"max_bytes":99}`, `"near":{"max_bytes":1048576,"staleness":"5s"}`},
	} {
		n.want(200, "PUT", "/rest/v2/caches/new", alter.body)
		if a := n.want(200, "GET", "/rest/v2/caches/new?action=config", ""); !strings.Contains(a.body, alter.near) {
			t.Errorf("altered by %s: %s", alter.body, a.body)
		}
	}
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=stats", ""); !strings.Contains(a.body, `"near":{"entries":0,`) {
		t.Error(a.body)
	}
	for _, bad := range []string{`{"near":{"max_entries":1}}`, `{"near":{"staleness":"1ms"}}`, `{"near":{"max_entry":1}}`, `{"near":1}`} {
		n.want(400, "PUT", "/rest/v2/caches/new", bad)
	}
	n.want(200, "PUT", "/rest/v2/caches/new", `{"near":null}`)
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=config", ""); strings.Contains(a.body, "near") {
		t.Errorf("a near cache that was given up: %s", a.body)
	}
	for i := range 3 {
		n.want(204, "PUT", fmt.Sprintf("/rest/v2/caches/new/%d", i), "12345")
	}
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=size", ""); a.body != "3\n" {
		t.Errorf("size %s", a.body)
	}
	n.want(200, "GET", "/rest/v2/caches/new/1", "")
	n.want(404, "GET", "/rest/v2/caches/new/9", "")
	n.want(204, "DELETE", "/rest/v2/caches/new/2", "")
	var detail struct {
		Name  string
		Size  int64
		Stats map[string]float64
	}
	if err := json.Unmarshal([]byte(n.want(200, "GET", "/rest/v2/caches/new", "").body), &detail); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{"current_number_of_entries": 2, "bytes": 10, "stores": 3, "hits": 1, "misses": 1, "hit_rate": 0.5, "remove_hits": 1} {
		if detail.Stats[name] != v {
			t.Errorf("%s is %v, want %v", name, detail.Stats[name], v)
		}
	}
	if detail.Name != "new" || detail.Size != 2 {
		t.Errorf("%+v", detail)
	}
	n.want(204, "POST", "/rest/v2/caches/new?action=clear", "")
	if a := n.want(200, "GET", "/rest/v2/caches/new?action=size", ""); a.body != "0\n" {
		t.Errorf("size %s", a.body)
	}
	n.want(204, "DELETE", "/rest/v2/caches/new", "")
	n.want(404, "DELETE", "/rest/v2/caches/new", "")
	n.want(404, "PUT", "/rest/v2/caches/new", "{}")
	n.want(404, "POST", "/rest/v2/caches/new?action=clear", "")
}

func TestCacheFaults(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for _, c := range []struct {
		method, path, body, header string
		status                     int
		code                       string
	}{
		{"POST", "x", `{"max_entris":1}`, "", 400, "bad_request"},
		{"POST", "x", `{"lifespan":"soon"}`, "", 400, "bad_request"},
		{"POST", "x", `{"lifespan":"-1s"}`, "", 400, "bad_config"},
		{"POST", "x", `{"class":"eternal"}`, "", 400, "bad_config"},
		{"POST", "x", `{"max_entry_bytes":99999999}`, "", 400, "bad_config"},
		{"POST", "x", `{"name":"y"}`, "", 400, "bad_request"},
		{"POST", "x", `{"max_entries":1,"max_entries":2}`, "", 400, "bad_request"},
		{"POST", "x", `{"Class":"volatile"}`, "", 400, "bad_request"},
		{"PUT", "c", `{"max_entries":1,"MAX_ENTRIES":2}`, "", 400, "bad_request"},
		{"PUT", "c", `null`, "", 400, "bad_request"},
		{"POST", "c?action=evict", `{"keys":["a"],"keys":[]}`, "", 400, "bad_request"},
		{"POST", "x", `{}{}`, "", 400, "bad_request"},
		{"POST", "x", `<local-cache/>`, "Content-Type: application/xml", 415, "unsupported_media_type"},
		{"POST", "x", strings.Repeat(" ", 64<<10+1), "", 413, "too_large"},
		{"POST", "_mine", "", "", 404, "cache_not_found"},
		{"POST", "no%20blanks", "", "", 400, "bad_cache_name"},
		{"POST", strings.Repeat("x", 65), "", "", 400, "bad_cache_name"},
		{"POST", "c?action=explode", "", "", 400, "bad_request"},
		{"GET", "c?action=explode", "", "", 400, "bad_request"},
		{"GET", "c?action=keys&limit=x", "", "", 400, "bad_request"},
		{"GET", "c?action=listen&values=maybe", "", "", 400, "bad_request"},
		{"GET", "c?action=listen&lastEventId=%21", "", "", 400, "bad_event_id"},
		{"PUT", "c", `{"class":"volatile"}`, "", 400, "bad_config"},
		{"PATCH", "c", "", "", 405, "method_not_allowed"},
	} {
		a := n.want(c.status, c.method, "/rest/v2/caches/"+c.path, c.body, c.header)
		if a.code(t) != c.code {
			t.Errorf("%s %s %.30s: %s", c.method, c.path, c.body, a.body)
		}
	}
	if a := n.want(400, "POST", "/rest/v2/caches/x", `{"lifespan":"1d"}`); !strings.Contains(a.body, "not a duration such as") {
		t.Errorf("what a duration is: %s", a.body)
	}
}

func TestLists(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	if a := n.want(200, "GET", "/rest/v2/caches/c?action=keys", ""); a.body != "[]\n" {
		t.Errorf("no keys: %q", a.body)
	}
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string, o grid.PutOptions) {
		t.Helper()
		if _, err := c.Put(t.Context(), key, []byte(value), o); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "{ \"x\" :\n 1 }", grid.PutOptions{ContentType: "application/json", Labels: map[string]string{"truth": "7"}, Lifespan: time.Hour})
	put("b/\"<€\x01", "not json", grid.PutOptions{ContentType: "application/json"})
	put("\xff", "\x00\x01", grid.PutOptions{ContentType: "image/png", MaxIdle: time.Minute})
	if a := n.want(200, "GET", "/rest/v2/caches/c?action=keys", ""); a.body != `["a","b/\"<€\u0001",{"base64":"/w=="}]`+"\n" {
		t.Errorf("keys %s", a.body)
	}
	for query, want := range map[string]string{
		"&limit=1": `["a"]`, "&prefix=b": `["b/\"<€\u0001"]`, "&limit=0&prefix=a": `["a"]`, "&limit=-1&prefix=x": `[]`, "&prefix=%FF": `[{"base64":"/w=="}]`,
	} {
		if a := n.want(200, "GET", "/rest/v2/caches/c?action=keys"+query, ""); strings.TrimSpace(a.body) != want {
			t.Errorf("%s: %s", query, a.body)
		}
	}
	var entries []map[string]any
	a := n.want(200, "GET", "/rest/v2/caches/c?action=entries", "")
	if err := json.Unmarshal([]byte(a.body), &entries); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if len(entries) != 3 || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%s", a.body)
	}
	if e := entries[0]; e["key"] != "a" || e["value"].(map[string]any)["x"] != 1.0 || e["contentType"] != "application/json" ||
		e["labels"].(map[string]any)["truth"] != "7" || e["timeToLiveSeconds"] != 3600.0 || e["revision"] == nil || e["created"] == nil {
		t.Errorf("%v", e)
	}
	if e := entries[1]; e["valueBase64"] != "bm90IGpzb24=" || e["value"] != nil {
		t.Errorf("%v", e)
	}
	if e := entries[2]; e["valueBase64"] != "AAE=" || e["maxIdleTimeSeconds"] != 60.0 {
		t.Errorf("%v", e)
	}
}

// TestLongList streams more than one write takes.
func TestLongList(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	var puts []grid.Put
	var want []string
	for i := range 3000 {
		puts = append(puts, grid.Put{Key: fmt.Sprintf("key-%06d", i), Value: []byte(strings.Repeat("v", 100))})
		want = append(want, puts[i].Key)
	}
	if _, err := c.PutBatch(t.Context(), puts); err != nil {
		t.Fatal(err)
	}
	var keys []string
	if err := json.Unmarshal([]byte(n.want(200, "GET", "/rest/v2/caches/c?action=keys", "").body), &keys); err != nil || !slices.Equal(keys, want) {
		t.Errorf("%v, %d keys", err, len(keys))
	}
	var entries []struct{ Key string }
	if err := json.Unmarshal([]byte(n.want(200, "GET", "/rest/v2/caches/c?action=entries", "").body), &entries); err != nil || len(entries) != len(want) {
		t.Errorf("%v, %d entries", err, len(entries))
	}
}
