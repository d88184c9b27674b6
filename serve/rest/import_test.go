package rest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/tensor"
)

// list returns what a cache has, as key, content type, value.
func (n *node) list(cache string) []string {
	n.t.Helper()
	c, err := n.grid.Cache(n.t.Context(), cache)
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for e, err := range c.List(n.t.Context(), grid.ListOptions{}) {
		if err != nil {
			n.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%s %s %s", e.Key, e.ContentType, e.Value))
	}
	return out
}

func TestImport(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	var tarred bytes.Buffer
	w := tar.NewWriter(&tarred)
	for name, value := range map[string]string{"./a/b.txt": "hello", "a/.DS_Store": "x"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(value)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := io.WriteString(z, "x\n1\n"); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		query, kind, body string
		want              []string
	}{
		"csv by row":        {"", "text/csv", "t,state\n31.5,open\n007, 8 \n,\n", []string{`1 application/json {"t":31.5,"state":"open"}`, `2 application/json {"t":"007","state":8}`, `3 application/json {}`}},
		"csv by column":     {"&key=id", "text/csv; charset=utf-8", "\xef\xbb\xbfid;t\r\nx;1e3\r\n\"y;\"\"\";NaN\r\n", []string{`x application/json {"id":"x","t":1e3}`, `y;" application/json {"id":"y;\"","t":"NaN"}`}},
		"csv decimal comma": {"", "text/csv", "t;u;v\n-1,5;1,2,3;1.5,2\n", []string{`1 application/json {"t":-1.5,"u":"1,2,3","v":"1.5,2"}`}},
		"csv key column":    {"", "text/csv", "key\tt\nx\t1\n", []string{`x application/json {"t":1}`}},
		"csv no header":     {"&header=no&prefix=r-&separator=|", "text/csv", "1|a\n|b\n", []string{`r-1 application/json [1,"a"]`, `r-2 application/json [null,"b"]`}},
		"csv gzip":          {"&format=csv", "", zipped.String(), []string{`1 application/json {"x":1}`}},
		"csv empty":         {"&format=csv", "", "", nil},
		"lines of values":   {"&key=id", "application/x-ndjson", "{\"id\":17,\"x\": 1}\n\n{\"id\":\"b\"}", []string{`17 application/json {"id":17,"x": 1}`, `b application/json {"id":"b"}`}},
		"lines by row":      {"", "application/jsonl", "[1,2]\n3\n", []string{`1 application/json [1,2]`, `2 application/json 3`}},
		"lines of entries": {"", "application/x-ndjson", `{"key":"a","value":{"x" : 1}}` + "\n" + `{"key":{"base64":"/w=="},"contentType":"text/plain","value":"hé"}` + "\n" + `{"key":"c","contentType":"image/png","valueBase64":"AAE=","revision":7}`,
			[]string{`a application/json {"x" : 1}`, "c image/png \x00\x01", "\xff text/plain hé"}},
		"tar":  {"", "application/x-tar", tarred.String(), []string{"a/b.txt text/plain hello"}},
		"skip": {"&skip=1", "text/csv", "t\n1\n2\n", []string{`2 application/json {"t":2}`}},
	} {
		t.Run(name, func(t *testing.T) {
			newCache(t, n.grid, grid.CacheConfig{Name: "i"})
			defer func() { n.want(204, "DELETE", "/rest/v2/caches/i", "") }()
			a := n.want(200, "POST", "/rest/v2/caches/i?action=import"+test.query, test.body, "Content-Type: "+test.kind)
			if diff := cmp.Diff(test.want, n.list("i")); diff != "" {
				t.Error(diff)
			}
			var got struct{ Stored, Rows int }
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.Stored != len(test.want) {
				t.Errorf("%v: %s", err, a.body)
			}
		})
	}
}

// TestImportFaults: a fault says the row, what is wrong and what was stored before it, which is all that came before.
func TestImportFaults(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for name, test := range map[string]struct {
		query, kind, body string
		config            grid.CacheConfig
		status            int
		code, says        string
		row, stored       int64
	}{
		"columns":     {"", "text/csv", "a,b\n1,2\n3\n", grid.CacheConfig{}, 400, "bad_content", "row 2 (line 3): bad format: 1 columns, where the first row has 2", 2, 1},
		"quote":       {"", "text/csv", "a,b\n1,\"2\n3,4\n", grid.CacheConfig{}, 400, "bad_content", "row 1 (line ", 1, 0},
		"same name":   {"", "text/csv", "a,a\n1,2\n", grid.CacheConfig{}, 400, "bad_content", `the header names column 2 "a", which is there before`, 0, 0},
		"no such key": {"&key=id", "text/csv", "a,b\n1,2\n", grid.CacheConfig{}, 400, "bad_content", `no column is headed "id", which has the keys; there is "a", "b"`, 0, 0},
		"empty key":   {"&key=a", "text/csv", "a,b\n1,2\n,2\n", grid.CacheConfig{}, 400, "bad_key", "row 2 (line 3)", 2, 1},
		"no json":     {"", "application/x-ndjson", "{\"x\":1}\n{\"x\":\n", grid.CacheConfig{}, 400, "bad_content", "row 2 (line 2): bad format: no JSON", 2, 1},
		"no field":    {"&key=id", "application/x-ndjson", "{\"x\":1}\n", grid.CacheConfig{}, 400, "bad_content", `the field "id", which has the key, is missing; there is "x"`, 1, 0},
		"no entry":    {"", "application/x-ndjson", "{\"key\":\"a\",\"value\":1}\n{\"key\":\"b\"}\n", grid.CacheConfig{}, 400, "bad_content", "row 2 (line 2)", 2, 1},
		"too large":   {"", "application/x-ndjson", "1\n\"123456789012345\"\n", grid.CacheConfig{MaxEntryBytes: 10}, 413, "too_large", "row 2", 2, 1},
		"full":        {"", "text/csv", "a\n1\n2\n3\n", grid.CacheConfig{MaxEntries: 2, Evict: grid.EvictRefuse}, 507, "full", `row 3 (key "3")`, 3, 2},
		"no type":     {"", "text/html", "a\n1\n", grid.CacheConfig{}, 415, "unsupported_media_type", "format=csv", 0, 0},
		"no format":   {"&format=xml", "", "a\n1\n", grid.CacheConfig{}, 400, "bad_request", "none of csv, jsonl, tar, npz", 0, 0},
		"encoding":    {"", "text/csv", "a\n1\n", grid.CacheConfig{}, 415, "unsupported_encoding", "br", 0, 0},
		"no tar":      {"&format=tar", "", strings.Repeat("x", 1024), grid.CacheConfig{}, 400, "bad_content", "row 1: bad format: tar", 1, 0},
		"no npz":      {"&format=npz", "", "x", grid.CacheConfig{}, 400, "bad_content", ".npz", 0, 0},
		"lifespan":    {"", "application/x-ndjson", `{"key":"a","value":1,"timeToLiveSeconds":1e30}`, grid.CacheConfig{}, 400, "bad_request", "100 years", 1, 0},
		"key twice":   {"", "application/x-ndjson", "{\"key\":\"a\",\"value\":1}\n{\"key\":\"a\",\"key\":\"b\",\"value\":1}\n", grid.CacheConfig{}, 400, "bad_content", `row 2 (line 2): bad format: no entry, as the first line has one: "key" comes twice`, 2, 1},
		"first twice": {"", "application/x-ndjson", `{"key":"a","key":"b","value":1}`, grid.CacheConfig{}, 400, "bad_content", `row 1 (line 1)`, 1, 0},
		"label twice": {"", "application/x-ndjson", `{"key":"a","value":1,"labels":{"x":"1","x":"2"}}`, grid.CacheConfig{}, 400, "bad_content", `"x" comes twice`, 1, 0},
		"other case":  {"", "application/x-ndjson", `{"Key":"a","value":1}`, grid.CacheConfig{}, 400, "bad_content", `"Key" is written "key"`, 1, 0},
		"field twice": {"&key=id", "application/x-ndjson", "{\"id\":1}\n{\"id\":2,\"id\":3}\n", grid.CacheConfig{}, 400, "bad_content", `row 2 (line 2): bad format: "id" comes twice`, 2, 1},
		"negative":    {"", "application/x-ndjson", "{\"key\":\"a\",\"value\":1,\"timeToLiveSeconds\":-1}\n{\"key\":\"b\",\"value\":1,\"timeToLiveSeconds\":-5}", grid.CacheConfig{}, 400, "bad_request", "row 2 (line 2): ", 2, 1},
		"no idle":     {"", "application/x-ndjson", `{"key":"a","value":1,"maxIdleTimeSeconds":-0.5}`, grid.CacheConfig{}, 400, "bad_request", "or -1 for ever", 1, 0},
		"broken gzip": {"&format=csv", "", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x00junk", grid.CacheConfig{}, 400, "bad_content", "gzip", 0, 0},
		"bad skip":    {"&skip=-1", "text/csv", "a\n1\n", grid.CacheConfig{}, 400, "bad_request", "skip", 0, 0},
		"open quote":  {"", "text/csv", "a\n\"" + strings.Repeat("x\n", 100_000), grid.CacheConfig{MaxEntryBytes: 1000}, 413, "too_large", "is a quote left open?", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			test.config.Name = "i"
			newCache(t, n.grid, test.config)
			defer func() { n.want(204, "DELETE", "/rest/v2/caches/i", "") }()
			headers := []string{"Content-Type: " + test.kind}
			if name == "encoding" {
				headers = append(headers, "Content-Encoding: br")
			}
			a := n.want(test.status, "POST", "/rest/v2/caches/i?action=import"+test.query, test.body, headers...)
			var e serve.ErrorBody
			if err := json.Unmarshal([]byte(a.body), &e); err != nil || e.Code != test.code || !strings.Contains(e.Error, test.says) {
				t.Errorf("%v: %s", err, a.body)
			}
			if test.row > 0 && (e.Row == nil || *e.Row != test.row || e.Stored == nil || *e.Stored != test.stored) {
				t.Errorf("want row %d, %d stored: %s", test.row, test.stored, a.body)
			}
			if got := n.list("i"); int64(len(got)) != test.stored {
				t.Errorf("want %d stored, there is %q", test.stored, got)
			}
		})
	}
	n.want(404, "POST", "/rest/v2/caches/none?action=import&format=csv", "a\n1\n")
}

// TestImportEndsWithItsCaller: a file that the server has whole, of more rows than anybody waits for, is not stored on when its caller has left.
func TestImportEndsWithItsCaller(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	x, err := tensor.New(tensor.Uint8, 5_000_000, 1)
	if err != nil {
		t.Fatal(err)
	}
	var file bytes.Buffer
	if err := media.WriteNPZ(&file, map[string]*tensor.Tensor{"x": x}); err != nil {
		t.Fatal(err)
	}
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		size, err := c.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return size
	}
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+"/rest/v2/caches/c?action=import&format=npz", &file)
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		resp, err := n.client.Do(r)
		if err == nil {
			err = errors.Join(errors.New(resp.Status), resp.Body.Close())
		}
		left <- err
	}()
	for size() == 0 {
		select {
		case err := <-left:
			t.Fatalf("it ended at once: %v", err)
		case <-time.After(time.Millisecond):
		}
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	stands := 0
	for deadline, last := time.Now().Add(20*time.Second), int64(0); stands < 5; time.Sleep(20 * time.Millisecond) {
		now := size()
		if stands++; now != last {
			stands, last = 0, now
		}
		if time.Now().After(deadline) {
			t.Fatalf("it goes on without its caller: %d entries", now)
		}
	}
}

// TestImportStreams: entries are there while the body is still coming, and a body that ends early keeps what came.
func TestImportStreams(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "POST /rest/v2/caches/c?action=import HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\na\n"); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for i := range 5000 {
		fmt.Fprintln(&rows, i)
	}
	if _, err := io.WriteString(c, rows.String()); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { return len(n.list("c")) >= 2048 })
	c.Close()
	within(t, func() bool { return len(n.list("c")) >= 4999 })
}

// within fails unless ok comes true in a while.
func within(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come")
		}
	}
}

// TestExportComesBack: what export writes, import takes as it was: keys, values, types, labels and times. CSV holds objects alone.
func TestExportComesBack(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
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
	put("plain", "sunny\n\x00", grid.PutOptions{ContentType: "text/plain"})
	put("json", "{ \"x\" : 1 }\n", grid.PutOptions{ContentType: "application/json", Labels: map[string]string{"truth": "7", "é": "\"\n"}})
	put("tight", `{"x":[1,null]}`, grid.PutOptions{ContentType: "application/json", Lifespan: time.Hour, MaxIdle: time.Minute})
	put("not json", "{", grid.PutOptions{ContentType: "application/json"})
	put("latin", "h\xe9", grid.PutOptions{ContentType: "text/plain; charset=iso-8859-1"})
	put("\xff/../a\x00", "\x00\xff", grid.PutOptions{})
	put("/", "", grid.PutOptions{ContentType: "image/png"})
	entries := func(cache string) map[string]string {
		c, err := n.grid.Cache(t.Context(), cache)
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]string{}
		for e, err := range c.List(t.Context(), grid.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			all[e.Key] = fmt.Sprintf("%q %q %v %v %v", e.Value, e.ContentType, e.Labels, e.MaxIdle, e.Lifespan.Round(time.Minute))
		}
		return all
	}
	want := entries("c")
	for _, format := range []string{"jsonl", "tar"} {
		newCache(t, n.grid, grid.CacheConfig{Name: format, Lifespan: 0})
		a := n.want(200, "GET", "/rest/v2/caches/c?action=export&format="+format, "")
		n.want(200, "POST", "/rest/v2/caches/"+format+"?action=import", a.body, "Content-Type: "+a.header.Get("Content-Type"))
		if diff := cmp.Diff(want, entries(format)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
	if a := n.want(422, "GET", "/rest/v2/caches/c?action=export&format=csv", ""); a.code(t) != "format_cannot_hold" {
		t.Error(a.body)
	}
	newCache(t, n.grid, grid.CacheConfig{Name: "table"})
	newCache(t, n.grid, grid.CacheConfig{Name: "again"})
	n.want(200, "POST", "/rest/v2/caches/table?action=import&format=csv", "key,t,state\na,31.5,open\nb,,\"x,\"\"y\"\"\"\n")
	a := n.want(200, "GET", "/rest/v2/caches/table?action=export&format=csv", "")
	if a.body != "key,t,state\na,31.5,open\nb,,\"x,\"\"y\"\"\"\n" {
		t.Errorf("%q", a.body)
	}
	n.want(200, "POST", "/rest/v2/caches/again?action=import", a.body, "Content-Type: text/csv")
	if diff := cmp.Diff(n.list("table"), n.list("again")); diff != "" {
		t.Error(diff)
	}
}

// TestExportKeepsDefaults: an entry without a lifespan comes back without one into a cache that has a default.
func TestExportKeepsDefaults(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c := newCache(t, n.grid, grid.CacheConfig{Name: "d", Lifespan: time.Hour, MaxIdle: time.Hour})
	if _, err := c.Put(t.Context(), "k", []byte("1"), grid.PutOptions{Lifespan: -1, MaxIdle: -1}); err != nil {
		t.Fatal(err)
	}
	a := n.want(200, "GET", "/rest/v2/caches/d?action=export", "")
	n.want(204, "POST", "/rest/v2/caches/d?action=clear", "")
	n.want(200, "POST", "/rest/v2/caches/d?action=import&format=jsonl", a.body)
	if e, err := c.Get(t.Context(), "k"); err != nil || !e.Expires.IsZero() || e.MaxIdle != 0 {
		t.Errorf("%v: %+v, of %s", err, e, a.body)
	}
}

// TestCursor pages through keys, entries and an export by the header alone.
func TestCursor(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	var want []string
	for _, key := range []string{"a", "b c", "d&e=f", "g+h", "ü", "\xff", "z%41"} {
		want = append(want, key)
		c, err := n.grid.Cache(t.Context(), "c")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(t.Context(), key, []byte(key), grid.PutOptions{ContentType: "text/plain"}); err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(want)
	for _, action := range []string{"keys", "entries", "entries&values=false", "export"} {
		for limit := 1; limit <= 8; limit++ {
			var got []string
			cursor, pages := "", 0
			for {
				a := n.want(200, "GET", fmt.Sprintf("/rest/v2/caches/c?action=%s&limit=%d&cursor=%s", action, limit, cursor), "")
				for _, k := range keysIn(t, action, a.body) {
					got = append(got, string(k))
				}
				pages++
				if cursor = a.header.Get("Millrace-Cursor"); cursor == "" {
					break
				}
			}
			if !slices.Equal(got, want) || pages != (len(want)+limit-1)/limit {
				t.Errorf("%s by %d: %d pages, %q", action, limit, pages, got)
			}
		}
	}
	n.want(400, "GET", "/rest/v2/caches/c?action=entries&values=false&order=newest&limit=1&cursor=a", "")
	// The page of the demo and other old callers: no limit, no header.
	if a := n.want(200, "GET", "/rest/v2/caches/c?action=keys", ""); a.header[http.CanonicalHeaderKey("Millrace-Cursor")] != nil {
		t.Error("a whole list has a cursor")
	}
}

func keysIn(t *testing.T, action, body string) (keys []grid.JSONKey) {
	t.Helper()
	type entry struct{ Key grid.JSONKey }
	if action == "keys" {
		if err := json.Unmarshal([]byte(body), &keys); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	if action == "export" {
		body = "[" + strings.ReplaceAll(strings.TrimSpace(body), "\n", ",") + "]"
	}
	var all []entry
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		keys = append(keys, e.Key)
	}
	return keys
}

// TestTextReadsAsText: in lists and events a text value is a string, and stays base64 where it is no UTF-8.
func TestTextReadsAsText(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	n.want(204, "PUT", "/rest/v2/caches/c/a", "sunny <€>\n", "Content-Type: text/plain")
	n.want(204, "PUT", "/rest/v2/caches/c/b", "x", "Content-Type: text/csv; charset=UTF-8")
	n.want(204, "PUT", "/rest/v2/caches/c/c", "h\xe9", "Content-Type: text/plain")
	n.want(204, "PUT", "/rest/v2/caches/c/d", "x", "Content-Type: text/plain; charset=utf-16")
	a := n.want(200, "GET", "/rest/v2/caches/c?action=entries", "")
	var entries []map[string]any
	if err := json.Unmarshal([]byte(a.body), &entries); err != nil {
		t.Fatal(err)
	}
	if entries[0]["value"] != "sunny <€>\n" || entries[1]["value"] != "x" || entries[2]["valueBase64"] != "aOk=" || entries[3]["valueBase64"] != "eA==" {
		t.Error(a.body)
	}
}
