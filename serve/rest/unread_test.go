package rest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
	"github.com/millrace/millrace/serve/rest"
)

// TestEveryRefusalIsRead holds that a client which writes its whole body before it reads gets the answer of every address that refuses it.
func TestEveryRefusalIsRead(t *testing.T) {
	g := openGrid(t)
	r := newRegistry(t, g)
	infer, err := oip.New(oip.Config{Models: r, MaxBody: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	n := start(t, rest.Config{Grid: g, Models: r, MaxModelBytes: 1 << 20}, serve.Config{}, nil, func(routes *serve.Routes) {
		for _, p := range oip.Prefixes() {
			routes.Handle(p, infer)
		}
	})
	n.want(200, "POST", "/rest/v2/caches/c", "")
	n.want(201, "PUT", "/rest/v2/models/m", string(newModel(t, "Add", nil)))
	for _, c := range []struct {
		line, head string
		status     int
		code       string
	}{
		{"PUT /rest/v2/caches/c/big", "", 413, "too_large"},
		{"POST /rest/v2/caches/c/big", "", 413, "too_large"},
		{"PUT /rest/v2/caches/c/big", "Content-Encoding: gzip\r\n", 415, "unsupported_encoding"},
		{"PUT /rest/v2/caches/c/big", "timeToLiveSeconds: soon\r\n", 400, "bad_request"},
		{"PUT /rest/v2/caches/nobody/big", "", 404, "cache_not_found"},
		{"PUT /rest/v2/caches/c/", "", 400, "bad_key"},
		{"PATCH /rest/v2/caches/c/big", "", 405, "method_not_allowed"},
		{"POST /rest/v2/caches/new", "", 413, "too_large"},
		{"POST /rest/v2/caches/c", "", 409, "cache_exists"},
		{"PUT /rest/v2/caches/c", "", 413, "too_large"},
		{"POST /rest/v2/caches/c?action=clear", "", 204, ""},
		{"PUT /rest/v2/models/m", "", 413, "too_large"},
		{"PUT /rest/v2/models/.m", "", 400, "bad_model_name"},
		{"PUT /rest/v2/nothing", "", 404, "no_route"},
		{"POST /v2/models/m/infer", "", 413, "too_large"},
		{"POST /v2/models/nobody/infer", "", 404, "model_not_found"},
		{"PUT /v2/models/m/infer", "", 405, "method_not_allowed"},
		{"POST /v2/models/m/infer", "Content-Encoding: br\r\n", 415, "unsupported_encoding"},
		{"POST /v1/models/m:predict", "", 413, "too_large"},
		{"POST /v2/repository/index", "", 413, "too_large"},
	} {
		for _, length := range []string{"Content-Length: 8388608\r\n", "Transfer-Encoding: chunked\r\n"} {
			t.Run(fmt.Sprintf("%s/%d/%.7s", c.line, c.status, length), func(t *testing.T) {
				conn, err := net.Dial("tcp", n.addr)
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
					t.Fatal(err)
				}
				body := bytes.Repeat([]byte(" "), 8<<20)
				if length[0] == 'T' {
					body = append(append([]byte("800000\r\n"), body...), "\r\n0\r\n\r\n"...)
				}
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", c.line, c.head, length)
				if _, err := conn.Write(body); err != nil {
					t.Fatalf("the body could not be written: %v", err)
				}
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				var e serve.ErrorBody
				if err == nil && c.code != "" {
					err = json.Unmarshal(text, &e)
				}
				if err != nil || resp.StatusCode != c.status || e.Code != c.code {
					t.Errorf("%d %s, %v; want %d %s", resp.StatusCode, text, err, c.status, c.code)
				}
			})
		}
	}
}
