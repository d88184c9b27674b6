package oip

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"

	"github.com/millrace/millrace/serve"
)

// smallAnswer is what is not worth packing for a client that takes any of several encodings, as libraries say unasked.
const smallAnswer = 4 << 10

// read returns the request's body, unpacked.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, q *inferRequest) ([]byte, error) {
	encoding, err := encodingOf(r.Header)
	if err != nil {
		return nil, err
	}
	if q.body, err = serve.ReadBody(w, r, h.cfg.MaxBody, q.body); err != nil || encoding == "" {
		return q.body, serve.NameLimit(err, "http.limits.infer_body")
	}
	q.plain, err = unpack(q.plain[:0], q.body, encoding, h.cfg.MaxBody)
	return q.plain, serve.NameLimit(err, "http.limits.infer_body")
}

// encodingOf returns "", "gzip" or "deflate".
func encodingOf(head http.Header) (string, error) {
	switch v := strings.ToLower(strings.TrimSpace(strings.Join(head["Content-Encoding"], ","))); v {
	case "", "identity":
		return "", nil
	case "gzip", "x-gzip":
		return "gzip", nil
	case "deflate":
		return "deflate", nil
	default:
		return "", fmt.Errorf("%w: %.100q; gzip and deflate are taken", serve.ErrEncoding, v)
	}
}

var gunzips = sync.Pool{New: func() any { return new(gzip.Reader) }}

// unpack appends what body unpacks to, at most limit bytes.
func unpack(dst, body []byte, encoding string, limit int64) ([]byte, error) {
	var in io.Reader
	in = bytes.NewReader(body)
	if encoding == "gzip" {
		z := gunzips.Get().(*gzip.Reader)
		defer gunzips.Put(z)
		if err := z.Reset(in); err != nil {
			return dst, badRequest("gzip: %v", err)
		}
		in = z
	} else {
		z, err := zlib.NewReader(in)
		if err != nil {
			return dst, badRequest("deflate: %v", err)
		}
		defer z.Close()
		in = z
	}
	out := bytes.NewBuffer(dst)
	n, err := io.Copy(out, io.LimitReader(in, limit+1))
	switch {
	case n > limit:
		return dst, fmt.Errorf("%w: it unpacks to more than %d bytes", serve.ErrBodyTooLarge, limit)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return dst, badRequest("%s: it ends early", encoding)
	case err != nil:
		return dst, badRequest("%s: %v", encoding, err)
	}
	return out.Bytes(), nil
}

var (
	jsonType   = []string{"application/json"}
	binaryType = []string{"application/octet-stream"}
	nosniff    = []string{"nosniff"}
	noStore    = []string{"no-store"}
)

// write sends an answer whose first jsonLength bytes are JSON and the rest binary; 0 is all JSON.
func write(w http.ResponseWriter, r *http.Request, answer []byte, jsonLength int) {
	head := w.Header()
	head["Content-Type"] = jsonType
	head["X-Content-Type-Options"] = nosniff
	head["Cache-Control"] = noStore
	if jsonLength > 0 {
		head["Content-Type"] = binaryType
		head["Inference-Header-Content-Length"] = []string{strconv.Itoa(jsonLength)}
	}
	if encoding := wanted(r.Header, len(answer)); encoding != "" {
		head["Content-Encoding"] = []string{encoding}
		head["Vary"] = []string{"Accept-Encoding"}
		answer = pack(answer, encoding)
	}
	head["Content-Length"] = []string{strconv.Itoa(len(answer))}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(answer) // the caller is gone when this fails
}

// wanted returns the encoding that a client asks for. One that names a single one means it; a list is what libraries
// send unasked, and is heeded where it pays.
func wanted(head http.Header, size int) string {
	v := head["Accept-Encoding"]
	if len(v) == 0 || len(v) == 1 && (v[0] == "" || v[0] == "identity") {
		return ""
	}
	names, best := 0, ""
	for one := range strings.SplitSeq(strings.ToLower(strings.Join(v, ",")), ",") {
		name, weight, _ := strings.Cut(strings.TrimSpace(one), ";")
		names++
		if q, ok := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q="); ok {
			if f, err := strconv.ParseFloat(q, 64); err != nil || f == 0 {
				continue
			}
		}
		switch name = strings.TrimSpace(name); {
		case name == "gzip", name == "deflate" && best == "":
			best = name
		}
	}
	if names > 1 && size < smallAnswer {
		return ""
	}
	return best
}

var gzips = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil { // the level is one that there is
		return gzip.NewWriter(nil)
	}
	return z
}}

// pack compresses in memory, which cannot fail.
func pack(answer []byte, encoding string) []byte {
	var out bytes.Buffer
	if encoding == "deflate" {
		z := zlib.NewWriter(&out)
		_, _ = z.Write(answer)
		_ = z.Close()
		return out.Bytes()
	}
	z := gzips.Get().(*gzip.Writer)
	defer gzips.Put(z)
	z.Reset(&out)
	_, _ = z.Write(answer)
	_ = z.Close()
	return out.Bytes()
}
