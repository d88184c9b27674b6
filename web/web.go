// Package web is the page that people see: it asks the node's pipelines in the way that their models take (a pad, pictures, a form,
// JSON), shows the answers as they come and what flows through the node. It is plain ES modules, embedded and served as they stand; the page itself talks to the public HTTP API alone,
// which is left to package serve.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed static
var static embed.FS

// Options are what the page can be told. The zero value is useful.
type Options struct {
	// MNIST names a folder with MNIST's IDX files (gzip or not), whose digits the wall of samples then shows. Without
	// it, the samples are written by package stroke.
	MNIST string
	// NotFound answers paths that are not the page's; http.NotFound where it is nil.
	NotFound http.Handler
}

// contentPolicy lets the page load nothing but what this server has, and be framed by nobody.
const contentPolicy = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// types of the files, fixed because the system's tables differ.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json",
}

// file is something to serve.
type file struct {
	body []byte
	kind string
	etag string
}

func newFile(name string, body []byte) file {
	sum := sha256.Sum256(body)
	return file{body, types[path.Ext(name)], `"` + hex.EncodeToString(sum[:12]) + `"`}
}

// handler serves the page. Its files do not change, so it is safe for concurrent use.
type handler struct {
	files    map[string]file
	notFound http.Handler
}

// Handler returns the handler of the page's files and of the samples:
//
//	GET /                     the page, and its other files beside it
//	GET /samples              {"note": TEXT, "samples": [{"src": PATH, "label": DIGIT}]}
//	GET /samples/{n}.png      one of them
//	GET /samples/write/{digit}.png?seed={n}   a digit that is written now; another seed writes it otherwise
//
// It fails where the folder of MNIST's files cannot be read.
func Handler(o Options) (http.Handler, error) {
	h := &handler{files: map[string]file{}, notFound: o.NotFound}
	if h.notFound == nil {
		h.notFound = http.NotFoundHandler()
	}
	err := fs.WalkDir(static, "static", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		h.files[strings.TrimPrefix(name, "static")] = newFile(name, body)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files of the page: %w", err)
	}
	h.files["/"] = h.files["/index.html"]
	samples, note, err := loadSamples(o.MNIST)
	if err != nil {
		return nil, fmt.Errorf("samples of the page: %w", err)
	}
	if err := h.addSamples(samples, note); err != nil {
		return nil, fmt.Errorf("samples of the page: %w", err)
	}
	return h, nil
}

// Public reports whether r asks for the page itself, which holds no secret and must load before anybody can give it a
// token.
func Public(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	p := r.URL.Path
	if p == "/" || p == "/samples" || strings.HasPrefix(p, "/samples/") {
		return true
	}
	if strings.Contains(p[1:], "/") || types[path.Ext(p)] == "" {
		return false
	}
	_, err := fs.Stat(static, "static"+p)
	return err == nil
}

// ServeHTTP answers with a file, a sample or what NotFound says.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.URL.Path]
	if !ok {
		if digit, found := strings.CutPrefix(r.URL.Path, "/samples/write/"); found {
			f, ok = written(digit, r.URL.Query().Get("seed"))
		}
	}
	if !ok {
		h.notFound.ServeHTTP(w, r)
		return
	}
	head := w.Header()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	head.Set("Content-Type", f.kind)
	head.Set("Content-Security-Policy", contentPolicy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cache-Control", "no-cache") // asked again each time, answered 304
	head.Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.body))
}
