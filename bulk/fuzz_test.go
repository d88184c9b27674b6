package bulk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

const fuzzMax = 4096

// drainOK holds what every reader promises: records within their limits, then an end or a fault that says what it is.
func drainOK(t *testing.T, in bulk.Reader, err error) {
	t.Helper()
	for n := 0; err == nil && n < 10_000; n++ {
		var r bulk.Record
		if r, err = in.Next(); err != nil {
			break
		}
		if r.Key == "" || len(r.Key) > grid.MaxKeyBytes || len(r.Value) > fuzzMax {
			t.Fatalf("a key of %d bytes, a value of %d", len(r.Key), len(r.Value))
		}
		// Every record is one that comes back.
		line := bulk.AppendLine(nil, &r)
		if !json.Valid(line) {
			t.Fatalf("%q is no JSON", line)
		}
		again, err := bulk.NewReader(bytes.NewReader(line), bulk.JSONLines, bulk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := again.Next(); err != nil || back.Key != r.Key || !bytes.Equal(back.Value, r.Value) {
			t.Fatalf("%+v came back as %+v, %v from %s", r, back, err, line)
		}
	}
	if err == nil || errors.Is(err, io.EOF) {
		return
	}
	for _, known := range []error{bulk.ErrFormat, grid.ErrTooLarge, grid.ErrKey, grid.ErrLifespan, media.ErrMalformed, media.ErrTooLarge, media.ErrUnsupportedType} {
		if errors.Is(err, known) {
			return
		}
	}
	t.Fatalf("an error of no kind: %v", err)
}

func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,x\n", "\xef\xbb\xbfkey;t\r\nx;1\r\n", "a\n\"\n", "\"a\"\t\n", "a,a\n", ",\n", "\x1f\x8b", "a\r1\r", "a|b\n-1e5|007\n"} {
		f.Add([]byte(s), "", false)
	}
	f.Add([]byte("1,2\n3\n"), "2", true)
	f.Fuzz(func(t *testing.T, b []byte, key string, noHeader bool) {
		in, err := bulk.NewReader(bytes.NewReader(b), bulk.CSV, bulk.Options{Key: key, NoHeader: noHeader, MaxBytes: fuzzMax})
		drainOK(t, in, err)
	})
}

func FuzzJSONLines(f *testing.F) {
	for _, s := range []string{"{\"x\":1}\n2\n", `{"key":"a","value":1}`, `{"key":{"base64":"/w=="},"contentType":"text/plain","value":"x","labels":{"a":"b"},"timeToLiveSeconds":-1}`, "\n\n[", `{"key":"a","valueBase64":"AA=="}`, `{"id":1.5e3}`, "null"} {
		f.Add([]byte(s), "")
	}
	f.Add([]byte(`{"id":{"base64":"AA=="}}`), "id")
	f.Fuzz(func(t *testing.T, b []byte, key string) {
		in, err := bulk.NewReader(bytes.NewReader(b), bulk.JSONLines, bulk.Options{Key: key, MaxBytes: fuzzMax})
		drainOK(t, in, err)
	})
}

func FuzzTar(f *testing.F) {
	var file bytes.Buffer
	w, err := bulk.NewWriter(&file, bulk.Tar)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Write(&bulk.Record{Key: "a/b", Value: []byte("x"), ContentType: "text/plain", Labels: map[string]string{"l": "v"}}); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:700])
	f.Add(make([]byte, 1024))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := bulk.NewReader(bytes.NewReader(b), bulk.Tar, bulk.Options{MaxBytes: fuzzMax})
		drainOK(t, in, err)
	})
}

func FuzzNPZ(f *testing.F) {
	x, err := tensor.New(tensor.Float32, 2, 2)
	if err != nil {
		f.Fatal(err)
	}
	keys, err := tensor.New(tensor.Int64, 2)
	if err != nil {
		f.Fatal(err)
	}
	for _, all := range []map[string]*tensor.Tensor{{"x": x}, {"x": x, "keys": keys}, {"x": x, "y": x}, {}} {
		var file bytes.Buffer
		if err := media.WriteNPZ(&file, all); err != nil {
			f.Fatal(err)
		}
		f.Add(file.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := bulk.NewNPZReader(bytes.NewReader(b), int64(len(b)), bulk.Options{MaxBytes: fuzzMax})
		drainOK(t, in, err)
	})
}
