package rest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

// FuzzKey holds that every key comes back from its escaped form, and that a path is a key or refused as one.
func FuzzKey(f *testing.F) {
	for _, s := range []string{"k", "%2F", "..", "//", "%", "%zz", "%FF", "a?b", "%00", "", "\xff", "*", "a+b", strings.Repeat("k", 1025)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if got, err := rest.DecodeKey(url.PathEscape(key)); err != nil || got != key {
			t.Errorf("%q came back as %q, %v", key, got, err)
		}
		got, err := rest.DecodeKey(key)
		if err != nil && serve.KindOf(err).HTTP != 400 {
			t.Errorf("%q: %v", key, err)
		}
		if err == nil && !strings.Contains(key, "%") && got != key {
			t.Errorf("%q became %q", key, got)
		}
	})
}

// FuzzHeaders holds that no header makes anything but a bad request or a failed precondition.
func FuzzHeaders(f *testing.F) {
	for _, s := range []string{`"1"`, `W/"1"`, "*", `"1", "2"`, `"`, "-1", "9223372036854775807", "9223372037", "Mon, 02 Jan 2006 15:04:05 GMT", ",", "text/plain", `"7" , W/"7"`} {
		f.Add(s, s, s)
	}
	names := []string{
		"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "Timetoliveseconds", "Maxidletimeseconds",
		"Content-Encoding", "Content-Type", "Content-Range", "Millrace-Label-A",
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		for i := range names {
			head := http.Header{names[i]: {a}, names[(i+1)%len(names)]: {b}, names[(i+3)%len(names)]: {a, b, c}}
			for _, revision := range []grid.Revision{0, 1, 7} {
				err := rest.ParseHeaders(head, revision)
				if err == nil {
					continue
				}
				if s := serve.KindOf(err).HTTP; s != 400 && s != 412 && s != 415 {
					t.Errorf("%v: %v", head, err)
				}
			}
		}
	})
}

// FuzzArchive holds that a body is taken or refused as a model, and stays within its limit.
func FuzzArchive(f *testing.F) {
	for _, s := range archiveSeeds(f) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := rest.UnpackModel(body, 1<<20)
		if err != nil {
			if serve.KindOf(err).HTTP != 422 {
				t.Errorf("%v", err)
			}
			return
		}
		if len(got) > 1<<20 && len(got) > len(body) {
			t.Errorf("%d bytes became %d", len(body), len(got))
		}
		_, _ = onnx.Decode(got, onnx.Options{}) // must not panic
	})
}
