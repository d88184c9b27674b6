package serve_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/millrace/millrace/serve"
)

const both = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"

// TestTwoLengths holds that a request whose end could be found in two places is answered, and that its connection ends: what follows it is not taken
// for a request.
func TestTwoLengths(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			serve.WriteError(w, r, serve.BodyError(err))
			return
		}
		fmt.Fprintf(w, "%s %d", r.URL.Path, len(b))
	})
	addr, _ := start(t, serve.Config{}, h, nil)
	for name, c := range map[string]struct {
		before  int // requests that are answered first
		request string
	}{
		"both":                      {0, both},
		"the other way round":       {0, "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"},
		"odd letters":               {0, "POST / HTTP/1.1\r\nHost: localhost\r\ncontent-LENGTH:5\r\ntransfer-encoding:   chunked  \r\n\r\n0\r\n\r\n"},
		"with GET":                  {0, strings.Replace(both, "POST", "GET", 1)},
		"lines end in LF":           {0, strings.ReplaceAll(both, "\r\n", "\n")},
		"a header before":           {0, strings.Replace(both, "Content", "X-Long: "+strings.Repeat("x", 10_000)+"\r\nContent", 1)},
		"a length over two lines":   {0, strings.Replace(both, "Length: 5", "Length:\r\n 5", 1)},
		"HTTP/1.0 with an encoding": {0, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n"},
		"after a request":           {1, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n|" + both},
		"after a body":              {1, "POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello|" + both},
		"after chunks":              {1, "POST /a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n|" + both},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			parts := strings.Split(c.request, "|")
			for _, good := range parts[:c.before] {
				if status, body, _ := talk(t, conn, in, good); status != 200 || !strings.HasPrefix(body, "/a ") {
					t.Fatalf("%d %s", status, body)
				}
			}
			status, body, closing := talk(t, conn, in, parts[c.before]+"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
			if status != 400 || !closing || !strings.Contains(body, `"code":"bad_request"`) || !strings.Contains(body, "Transfer-Encoding") {
				t.Errorf("%d, closing %v: %s", status, closing, body)
			}
			if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
				t.Errorf("after the answer: %q, %v", rest, err)
			}
		})
	}
	t.Run("all in one piece", func(t *testing.T) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Whether the first request is answered or refused with the second, nothing behind it is taken for a request.
		_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n"+both+"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n")
		all, err := io.ReadAll(conn)
		if err != nil || !bytes.Contains(all, []byte("400 Bad Request")) || bytes.Contains(all, []byte("/smuggled")) {
			t.Errorf("%s, %v", all, err)
		}
	})
}

// talk sends a request and reads its answer.
func talk(t *testing.T, conn net.Conn, in *bufio.Reader, request string) (status int, body string, closing bool) {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Close
}

// FuzzFraming reads the same bytes as net/http does, in pieces of any size: each request that net/http takes and that has both headers is found,
// and none is found that has not, as long as net/http goes on.
func FuzzFraming(f *testing.F) {
	for _, s := range []string{
		both, "GET / HTTP/1.1\r\nHost: a\r\n\r\n" + both, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc" + both,
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n" + both,
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "0 * HTTP/0.0\n\n0 * HTTP/0.0\nTrAnsfer-EnCoding:Chunked\n\n00000", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 0\r\n\r\n" + both,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0003\r\nContent-Length: 0003\r\n\r\nabc" + both,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + strings.Repeat("0", 200) + "3\r\n\r\nabc" + both,
		"\r\n\r\n" + both, "GET / HTTP/1.1\nHost: a\n\n" + both, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		f.Add([]byte(s), byte(7))
	}
	f.Fuzz(func(t *testing.T, data []byte, piece byte) {
		var scan serve.Framing
		found := false
		for at := 0; at < len(data); at += int(piece) + 1 {
			found = scan.Scan(data[at:min(len(data), at+int(piece)+1)])
		}
		want, whole := twoLengths(data)
		if want && !found {
			t.Errorf("not found in %q", data)
		}
		if found && !want && whole {
			t.Errorf("found in %q", data)
		}
		if whole && !want && !scan.Between() {
			t.Errorf("the scan lost its way in %q", data)
		}
	})
}

// twoLengths reports whether net/http takes a request that has both headers, or an encoding with HTTP/1.0; whole is whether it took everything.
func twoLengths(data []byte) (want, whole bool) {
	src := bytes.NewReader(data)
	in := bufio.NewReader(src)
	for {
		at := len(data) - src.Len() - in.Buffered()
		r, err := http.ReadRequest(in)
		if err != nil {
			return false, errors.Is(err, io.EOF) && at == len(data)
		}
		head := textproto.NewReader(bufio.NewReader(bytes.NewReader(data[at:])))
		if _, err := head.ReadLine(); err != nil {
			return false, false
		}
		h, err := head.ReadMIMEHeader()
		if err != nil {
			return false, false
		}
		if len(strings.Join(h["Content-Length"], "")) > 90 {
			return false, false // it may be refused
		}
		if _, encoded := h["Transfer-Encoding"]; encoded && (h["Content-Length"] != nil || !r.ProtoAtLeast(1, 1)) {
			return true, false
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return false, false
		}
	}
}
