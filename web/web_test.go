package web_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/millrace/millrace/web"
)

func page(tb testing.TB, o web.Options) http.Handler {
	tb.Helper()
	h, err := web.Handler(o)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func get(h http.Handler, path string, head ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(head); i += 2 {
		r.Header.Set(head[i], head[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestFiles(t *testing.T) {
	h := page(t, web.Options{})
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8", "/style.css": "text/css; charset=utf-8",
		"/app.js": "text/javascript; charset=utf-8", "/favicon.svg": "image/svg+xml", "/samples": "application/json", "/samples/0.png": "image/png",
	} {
		w := get(h, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != kind || w.Body.Len() == 0 {
			t.Errorf("%s: %d %s, %d bytes", path, w.Code, w.Header().Get("Content-Type"), w.Body.Len())
		}
		policy := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'self'") || strings.Contains(policy, "unsafe") || w.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, w.Header())
		}
		if !web.Public(httptest.NewRequest(http.MethodGet, path, nil)) {
			t.Errorf("%s is not public", path)
		}
		if again := get(h, path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
			t.Errorf("%s asked again: %d", path, again.Code)
		}
	}
	for _, path := range []string{"/nothing", "/static/app.js", "/samples/99.png", "/samples/write/x.png", "/samples/write/77.png", "/samples/write/7.png?seed=x", "/..%2fweb.go"} {
		if w := get(h, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("x"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
	other := page(t, web.Options{NotFound: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })})
	if w := get(other, "/nothing"); w.Code != http.StatusTeapot {
		t.Errorf("NotFound was not asked: %d", w.Code)
	}
}

func TestOnlyThePageIsPublic(t *testing.T) {
	for _, c := range []struct{ method, path string }{
		{"GET", "/rest/v2/caches"}, {"GET", "/metrics"}, {"PUT", "/index.html"}, {"POST", "/samples"}, {"GET", "/nothing.js"}, {"GET", "/v2"},
		{"GET", "/rest/v2/caches/digits/app.js"},
	} {
		if web.Public(httptest.NewRequest(c.method, c.path, nil)) {
			t.Errorf("%s %s is public", c.method, c.path)
		}
	}
}

// The page must work without the internet, and its policy would block anything else: no file names another host, holds
// a script or style of its own in the page, or loads a module that is not there.
func TestNothingComesFromElsewhere(t *testing.T) {
	h := page(t, web.Options{})
	files, err := filepath.Glob("static/*")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	address := regexp.MustCompile(`(?:https?:)?//[a-zA-Z0-9-]+\.[a-zA-Z]`)
	imported := regexp.MustCompile(`(?:from|import) '(\./[^']+)'`)
	inline := regexp.MustCompile(`(?i)<style|\sstyle=|<script(?:\s[^>]*)?>[^<]|\son[a-z]+=`)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range address.FindAllString(string(text), -1) {
			if found != "http://www.w" { // the name of SVG's vocabulary, which nobody fetches
				t.Errorf("%s names %s", name, found)
			}
		}
		if strings.HasSuffix(name, ".html") && inline.Match(text) {
			t.Errorf("%s holds %q, which the policy blocks", name, inline.Find(text))
		}
		for _, m := range imported.FindAllStringSubmatch(string(text), -1) {
			if w := get(h, strings.TrimPrefix(m[1], ".")); w.Code != http.StatusOK {
				t.Errorf("%s imports %s, which is not there", name, m[1])
			}
		}
	}
}

type item struct{ Src, Label string }

func samples(tb testing.TB, h http.Handler) []item {
	tb.Helper()
	var answer struct {
		Note    string
		Samples []item
	}
	if err := json.Unmarshal(get(h, "/samples").Body.Bytes(), &answer); err != nil {
		tb.Fatal(err)
	}
	if answer.Note == "" {
		tb.Error("the samples do not say where they are from")
	}
	return answer.Samples
}

func TestSamples(t *testing.T) {
	h := page(t, web.Options{})
	list := samples(t, h)
	labels := map[string]int{}
	for _, s := range list {
		labels[s.Label]++
		if _, err := png.Decode(get(h, s.Src).Body); err != nil {
			t.Errorf("%s: %v", s.Src, err)
		}
	}
	for digit := range 10 {
		if labels[string(rune('0'+digit))] < 3 {
			t.Errorf("%d samples of %d", labels[string(rune('0'+digit))], digit)
		}
	}
	seven, other := get(h, "/samples/write/7.png?seed=1"), get(h, "/samples/write/7.png?seed=2")
	if seven.Code != http.StatusOK || bytes.Equal(seven.Body.Bytes(), other.Body.Bytes()) {
		t.Errorf("a written digit: %d; two seeds give the same picture: %v", seven.Code, bytes.Equal(seven.Body.Bytes(), other.Body.Bytes()))
	}
	if _, err := png.Decode(seven.Body); err != nil {
		t.Error(err)
	}
}

func writeIDX(tb testing.TB, name string, data []byte, dims ...int) {
	tb.Helper()
	body := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		body = binary.BigEndian.AppendUint32(body, uint32(d))
	}
	f, err := os.Create(name)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var w io.Writer = f
	if strings.HasSuffix(name, ".gz") {
		z := gzip.NewWriter(f)
		defer z.Close()
		w = z
	}
	if _, err := w.Write(append(body, data...)); err != nil {
		tb.Fatal(err)
	}
}

func TestSamplesOfMNIST(t *testing.T) {
	dir := t.TempDir()
	pix := make([]byte, 2*4*3)
	pix[12] = 200
	writeIDX(t, filepath.Join(dir, "train-images-idx3-ubyte.gz"), pix, 2, 4, 3)
	writeIDX(t, filepath.Join(dir, "train-labels-idx1-ubyte"), []byte{8, 4}, 2)
	h := page(t, web.Options{MNIST: dir})
	list := samples(t, h)
	if len(list) != 2 || list[0].Label != "8" || list[1].Label != "4" {
		t.Fatalf("samples %v", list)
	}
	m, err := png.Decode(get(h, list[1].Src).Body)
	if err != nil {
		t.Fatal(err)
	}
	if g, ok := m.(*image.Gray); !ok || g.Rect.Dx() != 3 || g.Rect.Dy() != 4 || g.Pix[0] != 200 {
		t.Errorf("the second picture is %v", m)
	}
	for name, damage := range map[string]func(){
		"cut":        func() { writeIDX(t, filepath.Join(dir, "train-labels-idx1-ubyte"), []byte{8}, 2) },
		"other rank": func() { writeIDX(t, filepath.Join(dir, "train-labels-idx1-ubyte"), []byte{8, 4}, 2, 1) },
		"empty":      func() { writeIDX(t, filepath.Join(dir, "train-labels-idx1-ubyte"), nil, 0) },
	} {
		damage()
		if _, err := web.Handler(web.Options{MNIST: dir}); err == nil || !strings.Contains(err.Error(), "labels") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
