package rest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve/rest"
)

// newFuzzed returns a handler over a grid with a cache "c".
func newFuzzed(f *testing.F) *rest.Handler {
	g := openGrid(f)
	newCache(f, g, grid.CacheConfig{Name: "c"})
	h, err := rest.New(rest.Config{Grid: g})
	if err != nil {
		f.Fatal(err)
	}
	return h
}

// ask answers a request without a connection. It is nil where no server would hand the path on.
func ask(h http.Handler, method, escaped, body string, head http.Header) *httptest.ResponseRecorder {
	path, err := url.PathUnescape(escaped)
	if err != nil {
		return nil
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL.Path, r.URL.RawPath = path, escaped
	if head != nil {
		r.Header = head
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// FuzzKey holds that every path either is refused as one or gives back what was put at it.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"k", "%2F", "..", "//", "%", "%zz", "%FF", "a?b", "%00", "", "\xff", "*", strings.Repeat("k", 1025)} {
		f.Add(s)
	}
	h := newFuzzed(f)
	f.Fuzz(func(t *testing.T, key string) {
		put := ask(h, "PUT", "/rest/v2/caches/c/"+key, key, nil)
		if put == nil || put.Code == 400 {
			return
		}
		got := ask(h, "GET", "/rest/v2/caches/c/"+key, "", nil)
		if put.Code != 204 || got.Code != 200 || got.Body.String() != key || got.Header().Get("ETag") != put.Header().Get("ETag") {
			t.Errorf("%q: put %d, got %d %q", key, put.Code, got.Code, got.Body)
		}
	})
}

// FuzzHeaders holds that no header makes an answer other than those that the document lists.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{`"1"`, `W/"1"`, "*", `"1", "2"`, `"`, "-1", "9223372036854775807", "9223372037", "Mon, 02 Jan 2006 15:04:05 GMT", ",", "text/plain"} {
		f.Add(s, s, s)
	}
	h := newFuzzed(f)
	names := []string{
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Timetoliveseconds", "Maxidletimeseconds",
		"Content-Encoding", "Content-Type", "Content-Range", "Millrace-Label-A",
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		values := []string{a, b, c}
		for i := range names {
			for _, method := range []string{"PUT", "GET", "POST", "DELETE"} {
				head := http.Header{names[i]: {a}, names[(i+1)%len(names)]: {b}, names[(i+3)%len(names)]: values}
				switch w := ask(h, method, "/rest/v2/caches/c/k", "v", head); w.Code {
				case 200, 204, 304, 400, 404, 409, 412, 413, 415:
				default:
					t.Errorf("%s %v: %d %s", method, head, w.Code, w.Body)
				}
			}
		}
	})
}

// FuzzArchive holds that a body is taken or refused as a model, whatever it is.
func FuzzArchive(f *testing.F) {
	for _, s := range archiveSeeds(f) {
		f.Add(s)
	}
	g := openGrid(f)
	h, err := rest.New(rest.Config{Grid: g, Models: newRegistry(f, g), MaxModelBytes: 1 << 20})
	if err != nil {
		f.Fatal(err)
	}
	var calls atomic.Int64
	f.Fuzz(func(t *testing.T, body []byte) {
		path := fmt.Sprintf("/rest/v2/models/m%d", calls.Add(1))
		switch w := ask(h, "PUT", path, string(body), nil); w.Code {
		case 201, 413, 422:
		default:
			t.Errorf("%d %s", w.Code, w.Body)
		}
		ask(h, "DELETE", path, "", nil)
	})
}
