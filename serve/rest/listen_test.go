package rest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

// event is one of a stream; a comment is an event of that name.
type event struct{ id, name, data string }

type stream struct {
	t     *testing.T
	body  io.ReadCloser
	in    *bufio.Reader
	start string // the id that the stream begins with; empty with the current state
}

// newStream reads the head of a stream: the block that is no event.
func newStream(t *testing.T, body io.ReadCloser) *stream {
	t.Helper()
	s := &stream{t: t, body: body, in: bufio.NewReader(body)}
	if line, err := s.in.ReadString('\n'); err != nil || line != "retry: 1000\n" {
		t.Fatalf("the stream begins with %q, %v", line, err)
	}
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\n" {
			return s
		}
		id, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "id: ")
		if !ok {
			t.Fatalf("the stream begins with %q", line)
		}
		s.start = id
	}
}

// listen opens an event stream; it is there when listen returns, so that what is written after is seen.
func (n *node) listen(query string, headers ...string) *stream {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), http.MethodGet, n.url+"/rest/v2/caches/c?action=listen"+query, nil)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	resp, err := n.client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		n.t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	return newStream(n.t, resp.Body)
}

// next reads one event as a browser does.
func (s *stream) next() (event, error) {
	var e event
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return event{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if e != (event{}) {
				return e, nil
			}
		case field == "":
			e.name = "comment"
		case field == "id":
			e.id = value
		case field == "event":
			e.name = value
		case field == "data":
			e.data += value
		default:
			return event{}, fmt.Errorf("line %q", line)
		}
	}
}

func (s *stream) want(name, data string) event {
	s.t.Helper()
	e, err := s.next()
	if err != nil || e.name != name || e.data != data {
		s.t.Fatalf("event %+v, %v; want %s %s", e, err, name, data)
	}
	return e
}

// TestListenFromBeforeTheFirstEvent: who is cut off before anything came loses nothing either.
func TestListenFromBeforeTheFirstEvent(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	n.want(204, "PUT", "/rest/v2/caches/c/before", "x")
	quiet := n.listen("")
	if quiet.start == "" {
		t.Fatal("the stream does not say where it begins")
	}
	quiet.body.Close()
	n.want(204, "PUT", "/rest/v2/caches/c/between", "x")
	again := n.listen("", "Last-Event-ID: "+quiet.start)
	again.want("cache-entry-created", "between")
	if again.start != quiet.start {
		t.Errorf("it began at %s and not at %s", again.start, quiet.start)
	}
	if s := n.listen("&includeCurrentState=true"); s.start != "" {
		t.Errorf("a stream that begins with the current state would go on from %s, without it", s.start)
	}
}

func TestListen(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	keys, values := n.listen(""), n.listen("&values=true")
	put := n.want(204, "PUT", "/rest/v2/caches/c/a", "{\n\"x\": 1}", "Content-Type: application/json")
	keys.want("cache-entry-created", "a")
	e, err := values.next()
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Key         string
		Revision    uint64
		ContentType string
		Value       map[string]int
	}
	if err := json.Unmarshal([]byte(e.data), &got); err != nil || e.name != "cache-entry-created" || got.Key != "a" || got.Value["x"] != 1 ||
		fmt.Sprintf(`"%d"`, got.Revision) != put.header.Get("ETag") || got.ContentType != "application/json" {
		t.Errorf("%v: %+v", err, e)
	}
	n.want(204, "PUT", "/rest/v2/caches/c/a", "\x00")
	keys.want("cache-entry-updated", "a")
	if e, err = values.next(); err != nil || !strings.Contains(e.data, `"valueBase64":"AA=="`) {
		t.Errorf("%v: %+v", err, e)
	}
	n.want(204, "DELETE", "/rest/v2/caches/c/a", "")
	keys.want("cache-entry-removed", "a")
	if e, err = values.next(); err != nil || e.name != "cache-entry-removed" || strings.Contains(e.data, "value") {
		t.Errorf("%v: %+v", err, e)
	}
	// Percent-decoding a line gives the key, whatever it is; ordinary keys stand as they are, as Infinispan's do.
	for path, line := range map[string]string{
		"%E2%82%AC": "€", "a%0Ab": "a%0Ab", "a%250Ab": "a%250Ab", "%FF": "%FF", "%25FF": "%25FF", "%20x": "%20x", "x%20": "x ", "a%20b": "a b", "a:b": "a:b",
		"100%25": "100%25", "%0D%00": "%0D%00", "%EF%BF%BD": "\uFFFD", "a%E2%82": "a%E2%82", "+": "+",
	} {
		n.want(204, "PUT", "/rest/v2/caches/c/"+path, "v")
		keys.want("cache-entry-created", line)
		key, err := url.PathUnescape(path)
		if back, berr := url.PathUnescape(line); err != nil || berr != nil || back != key {
			t.Errorf("%q comes back as %q, %v %v", key, back, err, berr)
		}
	}
	n.want(204, "PUT", "/rest/v2/caches/c/brief", "v", "timeToLiveSeconds: 1")
	keys.want("cache-entry-created", "brief")
	keys.want("cache-entry-expired", "brief")
}

func TestListenCurrentStateAndPrefix(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for _, k := range []string{"x1", "x2", "y1"} {
		n.want(204, "PUT", "/rest/v2/caches/c/"+k, k)
	}
	n.want(204, "DELETE", "/rest/v2/caches/c/x2", "")
	s := n.listen("&includeCurrentState=true&prefix=x")
	s.want("cache-entry-created", "x1")
	n.want(204, "PUT", "/rest/v2/caches/c/y2", "")
	n.want(204, "PUT", "/rest/v2/caches/c/x3", "")
	s.want("cache-entry-created", "x3")
}

// TestListenResumes comes back with an id after changes in every partition, and sees the newest event of each key that
// changed, once. It is invariant 6.
func TestListenResumes(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	s := n.listen("")
	const keys = 40
	key := func(i int) string { return fmt.Sprintf("k%d", i) }
	var last event
	for i := range keys {
		n.want(204, "PUT", "/rest/v2/caches/c/"+key(i), "old")
	}
	for range keys {
		var err error
		if last, err = s.next(); err != nil {
			t.Fatal(err)
		}
	}
	s.body.Close()
	if _, err := base64.RawURLEncoding.DecodeString(last.id); err != nil || last.id == "" {
		t.Errorf("id %q: %v", last.id, err)
	}
	want := map[string]string{}
	for i := range keys {
		switch i % 4 {
		case 0:
			n.want(204, "PUT", "/rest/v2/caches/c/"+key(i), "newer")
			n.want(204, "PUT", "/rest/v2/caches/c/"+key(i), "newest")
			want[key(i)] = "cache-entry-updated"
		case 1:
			n.want(204, "DELETE", "/rest/v2/caches/c/"+key(i), "")
			want[key(i)] = "cache-entry-removed"
		case 2:
			n.want(204, "PUT", "/rest/v2/caches/c/new-"+key(i), "v")
			want["new-"+key(i)] = "cache-entry-created"
		}
	}
	for name, s := range map[string]*stream{
		"header": n.listen("", "Last-Event-ID: "+last.id), "query": n.listen("&lastEventId=" + last.id),
		"header before query": n.listen("&includeCurrentState=true&lastEventId=xx", "Last-Event-ID: "+last.id),
	} {
		got := map[string]string{}
		for range want {
			e, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			if got[e.data] != "" {
				t.Errorf("%s: %s came twice", name, e.data)
			}
			got[e.data] = e.name
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s was %q, want %s", name, k, got[k], v)
			}
		}
		s.body.Close()
	}
}

func TestListenKeepAlive(t *testing.T) {
	n := start(t, rest.Config{KeepAlive: 10 * time.Millisecond}, serve.Config{ReadTimeout: 30 * time.Millisecond, WriteTimeout: 30 * time.Millisecond}, nil)
	s := n.listen("")
	for range 10 { // more than the server's timeouts, which are not a stream's
		s.want("comment", "")
	}
	n.want(204, "PUT", "/rest/v2/caches/c/k", "v")
	for {
		e, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.name == "cache-entry-created" {
			return
		}
	}
}

func TestListenEnds(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	s := n.listen("")
	n.want(204, "DELETE", "/rest/v2/caches/c", "")
	e, err := s.next()
	if err != nil || e.name != "error" || !strings.Contains(e.data, `"code":"cache_not_found"`) {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the cache was removed: %v", err)
	}
	n.want(200, "POST", "/rest/v2/caches/c", "")
	s = n.listen("")
	if err := n.stop(); err != nil {
		t.Error(err)
	}
	e, err = s.next()
	if err != nil || e.name != "error" {
		t.Errorf("when the server stops: %+v, %v", e, err)
	}
	for _, want := range []string{"the server is stopping", "listen again", "to another node", "Last-Event-ID", `"code":"stopping","status":503,"last_id":"` + s.start + `"`} {
		if !strings.Contains(e.data, want) {
			t.Errorf("when the server stops the reader is told %s, without %s", e.data, want)
		}
	}
	if _, err := s.next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the server stopped: %v", err)
	}
}

// TestSlowListener does not read while large values come: its connection is cut, others go on, and it resumes.
func TestSlowListener(t *testing.T) {
	n := start(t, rest.Config{SlowClient: 100 * time.Millisecond}, serve.Config{}, nil)
	c, err := n.grid.Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", n.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := io.WriteString(conn, "GET /rest/v2/caches/c?action=listen&values=true HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReaderSize(conn, 16).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	fast := n.listen("")
	value := make([]byte, 1<<20)
	for i := range 24 {
		if _, err := c.Put(t.Context(), fmt.Sprint(i), value, grid.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		fast.want("cache-entry-created", fmt.Sprint(i))
	}
	for { // the cut listener is gone from the cache
		s, err := c.Stats(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.Listeners == 1 {
			return
		}
	}
}
