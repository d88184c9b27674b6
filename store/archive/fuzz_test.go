package archive_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/store/archive"
	"github.com/millrace/millrace/store/storetest"
)

const (
	headJSON  = `{"millrace_store":1,"grid":"g","made":"2026-01-31T08:00:00Z"}`
	entryJSON = `{"cache":"c","key":"k","revision":1,"size":1,"crc32c":"c1d04330"}`
	endJSON   = `{"entries":1,"bytes":1}`
)

// file is one of a tar.
type file struct {
	name, content string
	kind          byte
}

func tarOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content)), Typeflag: tar.TypeReg}
		if f.kind != 0 {
			h.Typeflag, h.Size, h.Linkname = f.kind, 0, "/etc/passwd"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if f.kind == 0 {
			if _, err := io.WriteString(w, f.content); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// hostile are archives that are none, with what is said of them.
func hostile(t testing.TB) map[string][]byte {
	head, end := file{name: "millrace-store.json", content: headJSON}, file{name: "millrace-store.end.json", content: endJSON}
	one := func(json, value string) []byte {
		return tarOf(t, head, file{name: "c/k.json", content: json}, file{name: "c/k.value", content: value}, end)
	}
	change := func(from, to string) string { return strings.Replace(entryJSON, from, to, 1) }
	return map[string][]byte{
		"it is empty":                        {},
		"archive/tar":                        []byte(strings.Repeat("x", 1024)),
		"and not with millrace-store.json":   tarOf(t, file{name: "c/k.json", content: entryJSON}),
		"use a newer one":                    tarOf(t, file{name: "millrace-store.json", content: `{"millrace_store":2,"made":"2026-01-31T08:00:00Z"}`}),
		"unknown field":                      tarOf(t, file{name: "millrace-store.json", content: `{"x":1}`}),
		"the archive is cut":                 tarOf(t, head),
		"not a plain file":                   tarOf(t, head, file{name: "c/k.json", kind: tar.TypeSymlink}),
		"is no file of an archive":           tarOf(t, head, file{name: "../../etc/passwd", content: "x"}),
		"and not its value":                  tarOf(t, head, file{name: "c/k.json", content: entryJSON}, file{name: "c/l.value", content: "a"}),
		"has 2 bytes, and its JSON":          one(entryJSON, "aa"),
		"the value of c/k is damaged":        one(entryJSON, "b"),
		"the revision must not be 0":         one(change(`"revision":1`, `"revision":0`), "a"),
		"the key has 0 bytes":                one(change(`"k"`, `""`), "a"),
		"1 to 64 letters":                    one(change(`"cache":"c"`, `"cache":"../c"`), "a"),
		"_grid is no cache":                  one(change(`"cache":"c"`, `"cache":"_grid"`), "a"),
		"neither text nor":                   one(change(`"k"`, `{"base32":"aa"}`), "a"),
		"lifespan":                           one(change(`"size"`, `"lifespan":"long","size"`), "a"),
		"must not be negative":               one(change(`"size"`, `"max_idle":"-1s","size"`), "a"),
		"is there twice":                     one(change(`"size"`, `"labels":[{"name":"a","value":"b"},{"name":"a","value":"c"}],"size"`), "a"),
		"not between the years":              one(change(`"size"`, `"created":"1066-10-14T09:00:00Z","size"`), "a"),
		"its end tells of 1 entries":         tarOf(t, head, end),
		"follows its end":                    tarOf(t, head, file{name: "millrace-store.end.json", content: `{"entries":0,"bytes":0}`}, head),
		"which is not its place":             tarOf(t, head, file{name: "c/k.json", content: entryJSON}, file{name: "c/k.value", content: "a"}, file{name: "c/k.json", content: entryJSON}, file{name: "c/k.value", content: "a"}),
		"something follows the object":       one(entryJSON+"{}", "a"),
		"of at most 67108864":                one(change(`"size":1`, `"size":67108865`), strings.Repeat("a", 64<<20+1)),
		`"c/k.json" has 400000 bytes, of at`: one(strings.Repeat(" ", 400000), "a"),
	}
}

// TestHostile: what is no archive is refused with what is wrong, and nothing of it is stored.
func TestHostile(t *testing.T) {
	for want, b := range hostile(t) {
		t.Run(want, func(t *testing.T) {
			s := storetest.NewMemory(nil)
			_, err := archive.Import(t.Context(), s, bytes.NewReader(b), nil)
			if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, archive.ErrFormat) && !errors.Is(err, archive.ErrCut) {
				t.Errorf("%v", err)
			}
		})
	}
	good := tarOf(t, file{name: "millrace-store.json", content: headJSON}, file{name: "c/k.json", content: entryJSON}, file{name: "c/k.value", content: "a"}, file{name: "millrace-store.end.json", content: endJSON})
	if out, err := archive.Import(t.Context(), storetest.NewMemory(nil), bytes.NewReader(good), nil); err != nil || out.Entries != 1 {
		t.Errorf("what is good: %+v, %v", out, err)
	}
}

// FuzzReader: whatever a file has, reading ends with entries that a store takes or with an error that says so; and what is read is
// read again from what is written of it.
func FuzzReader(f *testing.F) {
	for _, b := range hostile(f) {
		if len(b) < 64<<10 {
			f.Add(b)
		}
	}
	s := storetest.NewMemory(nil)
	fillAll := odd()
	fillAll["digits"] = fillAll["digits"][:2]
	fill(f, s, fillAll)
	b, err := os.ReadFile(export(f, s, archive.ExportOptions{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, b []byte) {
		into := storetest.NewMemory(nil)
		out, err := archive.Import(t.Context(), into, bytes.NewReader(b), nil)
		if err != nil {
			if !errors.Is(err, archive.ErrFormat) && !errors.Is(err, archive.ErrCut) {
				t.Errorf("%v", err)
			}
			return
		}
		path := filepath.Join(dir, "again.tar")
		if _, err := archive.Export(t.Context(), into, path, archive.ExportOptions{}); err != nil {
			t.Fatal(err)
		}
		again, err := importFile(t.Context(), storetest.NewMemory(nil), path)
		if err != nil || again.Entries != out.Entries || again.Bytes != out.Bytes {
			t.Errorf("%+v, again %+v, %v", out, again, err)
		}
	})
}
