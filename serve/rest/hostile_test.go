package rest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/admin"
	"github.com/millrace/millrace/serve/rest"
)

// TestHostileRequests sends random and malformed requests to every address, over connections that are slow or cut:
// no panic, no 500, no answer that is not one, memory stays bounded, and the node serves on.
func TestHostileRequests(t *testing.T) {
	requests := 10_000
	if testing.Short() {
		requests = 1000
	}
	g := openGrid(t)
	r := newRegistry(t, g)
	var log lockedBuffer
	n := start(t, rest.Config{Grid: g, Models: r, MaxModelBytes: 1 << 20, KeepAlive: 50 * time.Millisecond},
		serve.Config{MaxConnections: 64, ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second}, newLog(&log),
		func(routes *serve.Routes) { admin.Handle(routes, admin.Config{Profiles: true}) })
	n.want(200, "POST", "/rest/v2/caches/c", `{"max_entries":1000}`)
	const workers = 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(2026, uint64(w)))
			for i := range requests / workers {
				if fault := attack(rng, n.addr, i%50 == 49); fault != "" {
					t.Error(fault)
					return
				}
			}
		})
	}
	wg.Wait()
	n.do("POST", "/rest/v2/caches/c", "")
	n.want(204, "POST", "/rest/v2/caches/c?action=clear", "")
	n.want(204, "PUT", "/rest/v2/caches/c/after", "v")
	n.want(200, "GET", "/rest/v2/caches/c/after", "")
	if s := log.String(); strings.Contains(s, "panic") || strings.Contains(s, `"status":500`) {
		t.Errorf("the log: %.2000s", s)
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 256<<20 {
		t.Errorf("%d MiB are held", m.HeapAlloc>>20)
	}
}

var (
	hostileMethods = []string{"GET", "GET", "PUT", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "\x00"}
	hostilePaths   = []string{
		"/rest/v2/caches", "/rest/v2/caches/", "/rest/v2/caches/c", "/rest/v2/caches/c/", "/rest/v2/caches/c/k", "/rest/v2/caches/c?action=keys",
		"/rest/v2/caches/c?action=entries", "/rest/v2/caches/c?action=size", "/rest/v2/caches/c?action=clear", "/rest/v2/caches/c?action=listen",
		"/rest/v2/caches/_models", "/rest/v2/caches/_models/manifest%2Fm%2F1", "/rest/v2/models", "/rest/v2/models/m", "/rest/v2/models/m/versions/1",
		"/rest/v2/models/m?download", "/rest/v2/stats", "/v2/health/live", "/v2/health/ready", "/metrics", "/openapi.yaml", "/debug/pprof/heap?debug=1", "/", "*",
		"/rest/v2/../../../etc/passwd", "//", "/%00", "http://evil.example/rest/v2/caches", "/rest/v2/caches/%zz/k", "/rest/v2/caches/c/%", "/rest/v2/caches/..%2Fc/k",
	}
	hostileParts = []string{
		"%2F", "%00", "..", "//", "?", "&", "action=", "limit=-9", "limit=99999999999999999999", "%", "%ff", "#", "\x7f", "é", "versions/", "values=true",
		strings.Repeat("A", 1100), "=", ";", "%252e", "{", "}", "'", `"`,
	}
	hostileHeaders = []string{
		"If-Match: *", "If-Match: \"1\"", "If-Match: \"", "If-None-Match: *, *", "If-Modified-Since: never", "timeToLiveSeconds: -5", "timeToLiveSeconds: 1e9",
		"timeToLiveSeconds: 9223372036854775807", "maxIdleTimeSeconds: 1", "Content-Type: application/json", "Content-Type: \xff", "Content-Encoding: gzip",
		"Last-Event-ID: AAAA", "Last-Event-ID: ////", "Expect: 100-continue", "Expect: the worst", "Transfer-Encoding: chunked", "Transfer-Encoding: gzip",
		"Content-Length: 5", "Content-Length: -1", "Content-Length: 99999999999999999999", "Content-Length: 1000000000", "Connection: close", "Connection: upgrade",
		"Upgrade: h2c", "Origin: https://evil.example", "Sec-Fetch-Site: cross-site", "Millrace-Label-: x", "Millrace-Label-A: é", "X-Request-Id: \"<script>",
		"Accept: application/octet-stream", "Accept-Encoding: gzip, br", "Range: bytes=0-1", "Host: other", "Authorization: Bearer x", ": empty", "no colon",
	}
	hostileBodies = []string{"", "v", "{}", `{"max_entries":-1}`, `{"class":`, "PK\x03\x04garbage", "\x1f\x8b\x08garbage", "\x08\x08\x12\x00:\x00", "5\r\nhello\r\n0\r\n\r\n", "ffffffffffffffff\r\n", strings.Repeat("[", 70_000)}
)

func pick(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

// attack sends one request; it returns what is wrong with the answer. Slow ones come in pieces and may stop half-way.
func attack(rng *rand.Rand, addr string, slow bool) string {
	path := pick(rng, hostilePaths)
	for range rng.IntN(3) {
		path += pick(rng, hostileParts)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.%d\r\n", pick(rng, hostileMethods), path, rng.IntN(2))
	if rng.IntN(20) > 0 {
		b.WriteString("Host: localhost\r\n")
	}
	for range rng.IntN(4) {
		b.WriteString(pick(rng, hostileHeaders) + "\r\n")
	}
	body := pick(rng, hostileBodies)
	if rng.IntN(3) > 0 {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	request := b.Bytes()
	if rng.IntN(10) == 0 { // a few bytes of something else
		for range 1 + rng.IntN(5) {
			request[rng.IntN(len(request))] = byte(rng.IntN(256))
		}
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return fmt.Sprintf("the node does not answer any more: %v", err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if slow {
		half := rng.IntN(len(request))
		_, _ = c.Write(request[:half])
		if rng.IntN(2) == 0 {
			return "" // cut
		}
		request = request[half:]
	}
	if _, err := c.Write(request); err != nil {
		return "" // refused before all was read
	}
	_ = c.(*net.TCPConn).CloseWrite()
	// A stream of events goes on for ever: its beginning is enough.
	answer, err := io.ReadAll(io.LimitReader(c, 64))
	switch {
	case err != nil && len(answer) == 0:
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return fmt.Sprintf("no answer to %.300q", b.Bytes())
		}
		return "" // the connection was cut while its rest was unread
	case bytes.HasPrefix(answer, []byte("HTTP/1.1 500")), bytes.HasPrefix(answer, []byte("HTTP/1.0 500")):
		return fmt.Sprintf("%.300q: %q", b.Bytes(), answer)
	case len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.")):
		return fmt.Sprintf("%.300q: %q", b.Bytes(), answer)
	}
	return ""
}
