package rest_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

const entry = "/rest/v2/caches/c/k"

func TestEntry(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	if a := n.want(404, "GET", entry, ""); a.code(t) != "entry_not_found" {
		t.Errorf("missing: %s", a.body)
	}
	put := n.want(204, "PUT", entry, `{"a":1}`, "Content-Type: application/json; charset=utf-8", "timeToLiveSeconds: 100",
		"maxIdleTimeSeconds: 50", "Millrace-Label-Truth: 7", "Millrace-Label-source: a b")
	got := n.want(200, "GET", entry, "")
	if got.body != `{"a":1}` || got.header.Get("ETag") != put.header.Get("ETag") || put.header.Get("ETag") == "" {
		t.Errorf("got %q, ETag %s, put %s", got.body, got.header.Get("ETag"), put.header.Get("ETag"))
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json; charset=utf-8", "timeToLiveSeconds": "100", "maxIdleTimeSeconds": "50",
		"Millrace-Label-Truth": "7", "Millrace-Label-Source": "a b", "X-Content-Type-Options": "nosniff", "Content-Length": "7",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
	if !strings.Contains(got.header.Get("Content-Security-Policy"), "sandbox") {
		t.Error("a stored page could run on our origin")
	}
	if written, err := http.ParseTime(got.header.Get("Last-Modified")); err != nil || time.Since(written) > time.Minute {
		t.Errorf("Last-Modified: %q", got.header.Get("Last-Modified"))
	}
	head := n.want(200, "HEAD", entry, "")
	if head.body != "" || head.header.Get("ETag") != got.header.Get("ETag") || head.header.Get("Content-Length") != "7" {
		t.Errorf("HEAD: %q %v", head.body, head.header)
	}
	if a := n.want(409, "POST", entry, "x"); a.code(t) != "entry_exists" {
		t.Errorf("POST: %s", a.body)
	}
	n.want(204, "DELETE", entry, "")
	if a := n.want(404, "DELETE", entry, ""); a.code(t) != "entry_not_found" {
		t.Errorf("DELETE: %s", a.body)
	}
	n.want(204, "POST", entry, "x")
	if a := n.want(200, "GET", entry, ""); a.header.Get("Content-Type") != "application/octet-stream" || a.body != "x" {
		t.Errorf("%q %q", a.header.Get("Content-Type"), a.body)
	}
	n.want(204, "PUT", entry, "")
	if a := n.want(200, "GET", entry, ""); a.body != "" {
		t.Errorf("an empty value is %q", a.body)
	}
	if a := n.want(405, "PATCH", entry, ""); a.header.Get("Allow") != "GET, HEAD, PUT, POST, DELETE" {
		t.Errorf("Allow: %q", a.header.Get("Allow"))
	}
}

func TestMissingCache(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	newCache(t, n.grid, grid.CacheConfig{Name: "_models"})
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		a := n.want(404, method, "/rest/v2/caches/nobody/k", "")
		if a.code(t) != "cache_not_found" || !strings.Contains(a.body, "POST /rest/v2/caches/nobody") {
			t.Errorf("%s: %s", method, a.body)
		}
		if a := n.want(404, method, "/rest/v2/caches/_models/k", ""); a.code(t) != "cache_not_found" {
			t.Errorf("%s of a cache of the system's: %s", method, a.body)
		}
	}
	n.want(404, "HEAD", "/rest/v2/caches/nobody/k", "")
	if a := n.want(200, "GET", "/rest/v2/caches", ""); a.body != `["c"]`+"\n" {
		t.Errorf("caches: %s", a.body)
	}
	n.want(400, "GET", "/rest/v2/caches/no.dots/k", "")
}

// TestConditions is RFC 9110's section 13. R is replaced by the entry's ETag, O by an older one's; D is a date after
// the write and B one before it.
func TestConditions(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for _, c := range []struct {
		headers                   []string
		get, put, post, del       int // where the entry is there
		putNew, postNew, newOther int // where it is not: PUT, POST; GET and DELETE
	}{
		{nil, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-Match: R"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Match: O"}, 412, 412, 412, 412, 412, 412, 404},
		{[]string{"If-Match: *"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Match: O, R"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Match: O", "If-Match: R"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Match: W/R"}, 412, 412, 412, 412, 412, 412, 404},
		{[]string{`If-Match: "nonsense"`}, 412, 412, 412, 412, 412, 412, 404},
		{[]string{"If-None-Match: R"}, 304, 412, 412, 412, 204, 204, 404},
		{[]string{"If-None-Match: W/R"}, 304, 412, 412, 412, 204, 204, 404},
		{[]string{"If-None-Match: O"}, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-None-Match: O,R"}, 304, 412, 412, 412, 204, 204, 404},
		{[]string{"If-None-Match: *"}, 304, 412, 412, 412, 204, 204, 404},
		{[]string{"If-Match: R", "If-None-Match: R"}, 304, 412, 412, 412, 412, 412, 404},
		{[]string{"If-Match: R", "If-None-Match: O"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Modified-Since: D"}, 304, 204, 409, 204, 204, 204, 404},
		{[]string{"If-Modified-Since: B"}, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-None-Match: O", "If-Modified-Since: D"}, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-Modified-Since: yesterday"}, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-Unmodified-Since: D"}, 200, 204, 409, 204, 204, 204, 404},
		{[]string{"If-Unmodified-Since: B"}, 412, 412, 412, 412, 204, 204, 404},
		{[]string{"If-Match: R", "If-Unmodified-Since: B"}, 200, 204, 409, 204, 412, 412, 404},
		{[]string{"If-Match: 17"}, 400, 400, 400, 400, 400, 400, 400},
		{[]string{`If-Match: "17`}, 400, 400, 400, 400, 400, 400, 400},
		{[]string{`If-None-Match: "1" "2"`}, 400, 400, 400, 400, 400, 400, 400},
	} {
		t.Run(strings.Join(c.headers, "; "), func(t *testing.T) {
			n := *n
			n.t = t
			for _, m := range []struct {
				method              string
				there, other        int
				bodyThere, bodyGone string
			}{
				{"GET", c.get, c.newOther, "new", ""}, {"HEAD", c.get, c.newOther, "new", ""}, {"PUT", c.put, c.putNew, "put", "put"},
				{"POST", c.post, c.postNew, "new", "put"}, {"DELETE", c.del, c.newOther, "", ""},
			} {
				old := n.want(204, "PUT", entry, "old").header.Get("ETag")
				now := n.want(204, "PUT", entry, "new").header.Get("ETag")
				headers := make([]string, len(c.headers))
				for i, h := range c.headers {
					name, value, _ := strings.Cut(h, ": ")
					value = strings.NewReplacer("R", now, "O", old,
						"D", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat),
						"B", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)).Replace(value)
					headers[i] = name + ": " + value
				}
				a := n.want(m.there, m.method, entry, "put", headers...)
				if a.status == 304 && (a.header.Get("ETag") != now || a.body != "") {
					t.Errorf("304 with ETag %q, body %q", a.header.Get("ETag"), a.body)
				}
				if a.status == 412 && m.method != "HEAD" && a.code(t) != "revision_mismatch" {
					t.Errorf("%s: %s", m.method, a.body)
				}
				after := n.do("GET", entry, "").body
				if changed := m.there == 204; changed && m.method == "PUT" && after != "put" || !changed && after != "new" {
					t.Errorf("%s %d left %q", m.method, m.there, after)
				}
				n.do("DELETE", entry, "")
				n.want(m.other, m.method, entry, "put", headers...)
				n.do("DELETE", entry, "")
			}
		})
	}
}

// TestConditionalWritesExclude has many writers add to one number under If-Match: none may be lost.
func TestConditionalWritesExclude(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	n.want(204, "PUT", entry, "0")
	const writers, each = 4, 15
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				a := n.do("GET", entry, "")
				var v int
				if _, err := fmt.Sscan(a.body, &v); err != nil {
					t.Error(err)
					return
				}
				switch b := n.do("PUT", entry, fmt.Sprint(v+1), "If-Match: "+a.header.Get("ETag")); b.status {
				case 204:
					done++
				case 412:
				default:
					t.Errorf("%d %s", b.status, b.body)
					return
				}
			}
		})
	}
	wg.Wait()
	if a := n.do("GET", entry, ""); a.body != fmt.Sprint(writers*each) {
		t.Errorf("%s, want %d", a.body, writers*each)
	}
}

// raw sends bytes as they are and returns the answer.
func raw(t *testing.T, addr, request string) answer {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// TestKeys puts keys that a router could take for something else, through a socket, so that no client tidies them.
func TestKeys(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	for path, key := range map[string]string{
		"%2F": "/", "..": "..", "//": "//", ".": ".", "%2e%2e": "..", "a%2Fb": "a/b", "a/b": "a/b", "a//b/": "a//b/", "../../x": "../../x",
		"%00": "\x00", "%FF%FE": "\xff\xfe", "a%0D%0Ab": "a\r\nb", "%25": "%", "%2525": "%25", "a+b": "a+b", "a%20b": "a b", "*": "*", ">": ">",
		"$SYS.x": "$SYS.x", "a.b": "a.b", "%E2%82%AC": "€", "k;v=1": "k;v=1", "k:v@w": "k:v@w", "{tag}x": "{tag}x", "size": "size",
		strings.Repeat("x", 1024): strings.Repeat("x", 1024), "%3Faction=clear": "?action=clear", "%23": "#", "=41": "=41",
	} {
		line := " /rest/v2/caches/c/" + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
		if a := raw(t, n.addr, "PUT"+line+"Content-Length: 1\r\n\r\nv"); a.status != 204 {
			t.Errorf("PUT %q: %d %s", path, a.status, a.body)
			continue
		}
		if e, err := c.Get(t.Context(), key); err != nil || string(e.Value) != "v" {
			t.Errorf("%q did not put the key %q: %v", path, key, err)
		}
		if a := raw(t, n.addr, "GET"+line+"\r\n"); a.status != 200 || a.body != "v" {
			t.Errorf("GET %q: %d %s", path, a.status, a.body)
		}
		if a := raw(t, n.addr, "DELETE"+line+"\r\n"); a.status != 204 {
			t.Errorf("DELETE %q: %d %s", path, a.status, a.body)
		}
	}
	for path, code := range map[string]string{"": "bad_key", strings.Repeat("x", 1025): "bad_key"} {
		if a := n.want(400, "PUT", "/rest/v2/caches/c/"+path, "v"); a.code(t) != code {
			t.Errorf("%.20q: %s", path, a.body)
		}
	}
	if a := raw(t, n.addr, "GET /rest/v2/caches/c/%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); a.status != 400 {
		t.Errorf("a broken escape: %d", a.status)
	}
	if size, err := c.Size(t.Context()); err != nil || size != 0 {
		t.Errorf("%d entries are left, %v", size, err)
	}
}

func TestLimits(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	newCache(t, n.grid, grid.CacheConfig{Name: "small", MaxEntries: 2, MaxEntryBytes: 1000})
	at := func(k string) string { return "/rest/v2/caches/small/" + k }
	n.want(204, "PUT", at("a"), strings.Repeat("x", 1000))
	if a := n.want(413, "PUT", at("b"), strings.Repeat("x", 1001)); a.code(t) != "too_large" || !strings.Contains(a.body, "max_entry_bytes of cache small") {
		t.Error(a.body)
	}
	n.want(204, "PUT", at("b"), "")
	if a := n.want(507, "PUT", at("c"), ""); a.code(t) != "full" {
		t.Error(a.body)
	}
	n.want(507, "POST", at("c"), "")
	n.want(204, "PUT", at("b"), "again")
	n.want(204, "DELETE", at("a"), "")
	n.want(200, "GET", "/rest/v2/caches/small?action=size", "") // counts what was removed
	n.want(204, "PUT", at("c"), "")
	for _, h := range []string{"timeToLiveSeconds: soon", "timeToLiveSeconds: 1.5", "maxIdleTimeSeconds: 99999999999999999999", "Content-Range: bytes 0-1/2"} {
		if a := n.want(400, "PUT", at("b"), "", h); a.code(t) != "bad_request" {
			t.Errorf("%s: %s", h, a.body)
		}
	}
	if a := n.want(415, "PUT", at("b"), "", "Content-Encoding: gzip"); a.code(t) != "unsupported_encoding" {
		t.Error(a.body)
	}
	n.want(413, "PUT", at("b"), "", "Millrace-Label-x: "+strings.Repeat("y", 17<<10))
	n.want(413, "PUT", at("b"), "", "Content-Type: "+strings.Repeat("y", 256))
}

func TestLifespan(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	newCache(t, n.grid, grid.CacheConfig{Name: "brief", Lifespan: time.Hour, MaxIdle: time.Minute})
	at := "/rest/v2/caches/brief/k"
	for _, c := range []struct{ header, ttl, idle string }{
		{"X-None: 1", "3600", "60"}, {"timeToLiveSeconds: 0", "3600", "60"}, {"timeToLiveSeconds: -1", "", "60"}, {"timeToLiveSeconds: 7", "7", "60"},
		{"maxIdleTimeSeconds: -1", "3600", ""}, {"maxIdleTimeSeconds: 5", "3600", "5"},
	} {
		n.want(204, "PUT", at, "v", c.header)
		a := n.want(200, "GET", at, "")
		if a.header.Get("timeToLiveSeconds") != c.ttl || a.header.Get("maxIdleTimeSeconds") != c.idle {
			t.Errorf("%s: %q, %q; want %q, %q", c.header, a.header.Get("timeToLiveSeconds"), a.header.Get("maxIdleTimeSeconds"), c.ttl, c.idle)
		}
	}
}

// TestLongestLifespans holds that times which cannot be counted are refused with a clear error, and that the longest are kept.
func TestLongestLifespans(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	at := "/rest/v2/caches/c/k"
	for _, name := range []string{"timeToLiveSeconds", "maxIdleTimeSeconds"} {
		for _, seconds := range []string{"3153600001", "7440000000", "9223372036", "9223372037", "9223372036854775807", "99999999999999999999"} {
			a := n.want(400, "PUT", at, "v", name+": "+seconds)
			if a.code(t) != "bad_request" || !strings.Contains(a.body, name) || !strings.Contains(a.body, "at most 3153600000 s") {
				t.Errorf("%s: %s: %s", name, seconds, a.body)
			}
			n.want(400, "POST", at, "v", name+": "+seconds)
		}
		n.want(204, "PUT", at, "v", name+": 3153600000")
		if a := n.want(200, "GET", at, ""); a.header.Get(name) != "3153600000" {
			t.Errorf("%s: %q", name, a.header.Get(name))
		}
		n.want(204, "PUT", at, "v", name+": -99999999999999999999")
		if a := n.want(200, "GET", at, ""); a.header.Get(name) != "" {
			t.Errorf("a negative %s: %q", name, a.header.Get(name))
		}
	}
	for _, config := range []string{`{"max_idle":"2100000h"}`, `{"lifespan":"2100000h"}`, `{"lifespan":"876000h1ns"}`} {
		if a := n.want(400, "POST", "/rest/v2/caches/long", config); a.code(t) != "bad_config" || !strings.Contains(a.body, "876000h0m0s") {
			t.Errorf("%s: %s", config, a.body)
		}
		n.want(400, "PUT", "/rest/v2/caches/c", config)
	}
	for _, config := range []string{`{"max_idle":"3000000h"}`, `{"lifespan":"9223372037s"}`} {
		n.want(400, "POST", "/rest/v2/caches/long", config)
	}
}

func TestRecognisedTypes(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for value, want := range map[string]string{
		"\x89PNG\r\n\x1a\n....": "image/png", "\xff\xd8\xff\xe0": "image/jpeg", "\x93NUMPY\x01\x00": "application/x-npy", "GIF89a": "image/gif", "\x00\x01\x02\x03": "application/octet-stream",
	} {
		n.want(204, "PUT", entry, value)
		if a := n.want(200, "GET", entry, ""); a.header.Get("Content-Type") != want {
			t.Errorf("%q: %s", value, a.header.Get("Content-Type"))
		}
		n.want(204, "PUT", entry, value, "Content-Type: text/x-mine")
		if a := n.want(200, "GET", entry, ""); a.header.Get("Content-Type") != "text/x-mine" {
			t.Errorf("%q lost its type: %s", value, a.header.Get("Content-Type"))
		}
	}
}

// TestGatheredPuts sends puts of one cache at once, some of them refused, and holds each answer against what is there.
func TestGatheredPuts(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c := newCache(t, n.grid, grid.CacheConfig{Name: "g", MaxEntryBytes: 100})
	const callers, each = 24, 25
	var wg sync.WaitGroup
	var mu sync.Mutex
	tags := map[string]string{}
	for i := range callers {
		wg.Go(func() {
			for j := range each {
				key := fmt.Sprintf("%d-%d", i, j)
				value := "v" + key
				if j%5 == 4 {
					value = strings.Repeat("x", 101)
				}
				r, err := http.NewRequest(http.MethodPut, n.url+"/rest/v2/caches/g/"+key, strings.NewReader(value))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := n.client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				switch {
				case j%5 == 4 && resp.StatusCode == http.StatusRequestEntityTooLarge:
				case j%5 != 4 && resp.StatusCode == http.StatusNoContent:
					mu.Lock()
					tags[key] = resp.Header.Get("ETag")
					mu.Unlock()
				default:
					t.Errorf("%s: %d", key, resp.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if len(tags) != callers*each*4/5 {
		t.Fatalf("%d answers", len(tags))
	}
	seen := 0
	for e, err := range c.List(t.Context(), grid.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		if string(e.Value) != "v"+e.Key || tags[e.Key] != fmt.Sprintf(`"%d"`, e.Revision) {
			t.Errorf("%s is %q at %d, its caller was told %s", e.Key, e.Value, e.Revision, tags[e.Key])
		}
	}
	if seen != len(tags) {
		t.Errorf("%d entries, %d answers", seen, len(tags))
	}
}

// TestStopUnderLoad stops a server while puts come: what was answered is there, and nothing is answered wrongly.
func TestStopUnderLoad(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	stored := map[string]bool{}
	enough := make(chan struct{})
	var once sync.Once
	for i := range 8 {
		wg.Go(func() {
			for j := 0; ; j++ {
				key := fmt.Sprintf("%d-%d", i, j)
				r, err := http.NewRequest(http.MethodPut, n.url+"/rest/v2/caches/c/"+key, strings.NewReader(key))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := n.client.Do(r)
				if err != nil {
					return // the server is gone
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusNoContent {
					t.Errorf("%s: %d", key, resp.StatusCode)
					return
				}
				mu.Lock()
				stored[key] = true
				if len(stored) == 500 {
					once.Do(func() { close(enough) })
				}
				mu.Unlock()
			}
		})
	}
	stream, err := n.client.Get(n.url + "/rest/v2/caches/c?action=listen")
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, stream.Body)
		ended <- err
	}()
	<-enough
	if err := n.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := <-ended; err != nil {
		t.Errorf("the stream was cut: %v", err)
	}
	wg.Wait()
	for key := range stored {
		if e, err := c.Get(context.Background(), key); err != nil || string(e.Value) != key {
			t.Fatalf("%s was answered and is not there: %v", key, err)
		}
	}
}
