package serve_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serve"
)

// refusing refuses in every way: before the body, in the middle of it, and by a panic.
var refusing = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/limit":
		if _, err := serve.ReadBody(w, r, 1<<20, nil); err != nil {
			serve.WriteError(w, r, err)
		}
	case "/half":
		_, _ = io.CopyN(io.Discard, r.Body, 1<<20)
		serve.WriteError(w, r, serve.ErrMediaType)
	case "/panic":
		panic("no")
	case "/ignored":
		w.WriteHeader(http.StatusNoContent)
	case "/written":
		fmt.Fprint(w, "{}")
	default:
		serve.WriteError(w, r, serve.NoRoute(r))
	}
})

// writeFirst sends a whole request before it reads, as Python's http.client does, and reads the answer then.
func writeFirst(t *testing.T, conn net.Conn, head string, chunked bool, size int) (int, string, bool) {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	w := bufio.NewWriter(conn)
	fmt.Fprintf(w, "%sHost: localhost\r\n", head)
	piece := bytes.Repeat([]byte("x"), 1<<20)
	if chunked {
		fmt.Fprint(w, "Transfer-Encoding: chunked\r\n\r\n")
	} else {
		fmt.Fprintf(w, "Content-Length: %d\r\n\r\n", size)
	}
	for left := size; left > 0; left -= len(piece) {
		piece = piece[:min(left, len(piece))]
		if chunked {
			fmt.Fprintf(w, "%x\r\n", len(piece))
		}
		_, _ = w.Write(piece)
		if chunked {
			fmt.Fprint(w, "\r\n")
		}
	}
	if chunked {
		fmt.Fprint(w, "0\r\n\r\n")
	}
	if err := w.Flush(); err != nil {
		t.Fatalf("the server did not let the request be written: %v", err)
	}
	in := bufio.NewReader(conn)
	resp, err := http.ReadResponse(in, nil)
	if err == nil && resp.StatusCode == http.StatusContinue {
		resp, err = http.ReadResponse(in, nil)
	}
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("the answer was cut: %v", err)
	}
	_, err = in.Peek(1)
	return resp.StatusCode, string(body), errors.Is(err, io.EOF)
}

// TestRefusedBodyGetsItsAnswer holds that a client which writes before it reads sees why it was refused, whatever refused it and however
// the body comes.
func TestRefusedBodyGetsItsAnswer(t *testing.T) {
	cfg := serve.Config{Tokens: []string{token}, ReadTimeout: 20 * time.Second}
	files := serve.TLS{Cert: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	pool := x509.NewCertPool()
	writeCertificate(t, files, "one", pool)
	plain, _ := start(t, cfg, refusing, nil)
	cfg.TLS = files
	secure, _ := start(t, cfg, refusing, nil)
	with := "Authorization: Bearer " + token + "\r\n"
	for _, c := range []struct {
		name, path, head string
		status           int
		code             string
	}{
		{"over the limit", "/limit", with, 413, "too_large"},
		{"in the middle", "/half", with, 415, "unsupported_media_type"},
		{"no token", "/limit", "", 401, "no_token"},
		{"another origin", "/limit", with + "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", 403, "cross_origin"},
		{"no route", "/nothing", with, 404, "no_route"},
		{"a panic", "/panic", with, 500, "internal"},
		{"not looked at", "/ignored", with, 204, ""},
		{"answered without", "/written", with, 200, ""},
		{"over the limit, did not wait for 100", "/limit", with + "Expect: 100-continue\r\n", 413, "too_large"},
		{"no token, did not wait for 100", "/limit", "Expect: 100-continue\r\n", 401, "no_token"},
		{"HTTP/1.0", "/limit", with, 413, "too_large"},
	} {
		for _, size := range []int{2 << 20, 16 << 20} {
			for _, form := range []string{"whole", "chunked", "tls"} {
				t.Run(fmt.Sprintf("%s/%s/%d", c.name, form, size), func(t *testing.T) {
					version := "1.1"
					if c.name == "HTTP/1.0" {
						if version = "1.0"; form == "chunked" {
							t.Skip("HTTP/1.0 has no chunks")
						}
					}
					var conn net.Conn
					var err error
					if form == "tls" {
						conn, err = tls.Dial("tcp", secure, &tls.Config{RootCAs: pool, ServerName: "localhost"})
					} else {
						conn, err = net.Dial("tcp", plain)
					}
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					status, body, closed := writeFirst(t, conn, "PUT "+c.path+" HTTP/"+version+"\r\n"+c.head, form == "chunked", size)
					if status != c.status || !closed {
						t.Errorf("%d, closed %v; want %d and the end: %s", status, closed, c.status, body)
					}
					var e serve.ErrorBody
					if c.code == "" {
						return
					}
					if err := json.Unmarshal([]byte(body), &e); err != nil || e.Code != c.code {
						t.Errorf("%s: %v", body, err)
					}
				})
			}
		}
	}
}

// TestSmallRefusedBodyKeepsTheConnection holds that a refusal of little costs no connection.
func TestSmallRefusedBodyKeepsTheConnection(t *testing.T) {
	addr, _ := start(t, serve.Config{}, refusing, nil)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	for range 3 {
		fmt.Fprintf(conn, "PUT /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000\r\n\r\n%s", strings.Repeat("x", 10000))
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusNotFound || resp.Close {
			t.Fatalf("%d, close %v, %v", resp.StatusCode, resp.Close, err)
		}
	}
}

// TestRefusalDoesNotWaitForTheBody holds that a client which reads while it writes, or asked first, has its answer at once.
func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	addr, _ := start(t, serve.Config{ReadTimeout: time.Minute}, refusing, nil)
	for _, head := range []string{
		"PUT /limit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\n\r\n",
		"PUT /limit HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16777216\r\nExpect: 100-continue\r\n\r\n",
		"PUT /nothing HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, head)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", head, err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode < 400 || !resp.Close || !json.Valid(body) {
			t.Errorf("%q: %d, close %v, %q, %v", head, resp.StatusCode, resp.Close, body, err)
		}
	}
}
