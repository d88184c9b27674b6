package oip_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

// TestHostileRequests sends requests that are mutilated, packed, cut and slow: no panic, no 500, memory stays bounded,
// and the node serves on: invariant 9.
func TestHostileRequests(t *testing.T) {
	requests := 10_000
	if testing.Short() {
		requests = 1000
	}
	var log lockedBuffer
	n := startLogged(t, oip.Config{MaxBody: 1 << 20}, serve.Config{MaxConnections: 64, ReadHeaderTimeout: 2 * time.Second, ReadTimeout: 2 * time.Second},
		slog.New(slog.NewJSONHandler(&log, nil)))
	n.addAll()
	bomb := packed(t, "gzip", strings.Repeat(" ", 32<<20))
	const workers = 8
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(2026, uint64(w)))
			for i := range requests / workers {
				if fault := attack(rng, n.addr, bomb, i%50 == 49); fault != "" {
					t.Error(fault)
					return
				}
			}
		})
	}
	wg.Wait()
	n.want(200, "POST", "/v2/models/scale/infer", one("FP32", "[1,4]", "[1,2,3,4]"))
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
	hostilePaths = []string{
		"/v2/models/scale/infer", "/v2/models/scale/infer", "/v2/models/identity_bytes/infer", "/v2/models/identity_fp32/infer", "/v2/models/addsub/infer",
		"/v2/models/scale/versions/1/infer", "/v2/models/scale/versions/99999999999999999999/infer", "/v2/models/%00/infer", "/v2/models/../infer", "/v2/models//infer",
		"/v2/models/scale", "/v2/models/scale/ready", "/v2", "/v2/", "/v2/repository/index", "/v2/health/live", "/v1/models/scale:predict", "/v1/models/%2F:predict", "/v1/models/:predict", "/v2/models/%zz",
	}
	hostileTexts = []string{
		`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`,
		`{"id":"1","inputs":[{"name":"x","datatype":"FP32","shape":[2,4],"data":[[1,2,3,4],[5,6,7,8]],"parameters":{}}],"outputs":[{"name":"y","parameters":{"binary_data":true}}],"parameters":{"binary_data_output":true}}`,
		`{"inputs":[{"name":"x","datatype":"BYTES","shape":[1,2],"data":["a","\u00e9"]}]}`,
		`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"parameters":{"binary_data_size":16}}]}0123456789abcdef`,
		`{"instances":[[1,2,3,4]]}`, `{"ready":true}`, "",
	}
	hostileTokens = []string{"[", "]", "{", "}", ",", ":", `"`, "\\", "\\u", "-", "1e999", "99999999999999999999", "null", "NaN", "0x1", "true", "\x00", "\xff", strings.Repeat("[", 2000), `"shape":[2147483647,2147483647]`}
	hostileLines  = []string{
		"Inference-Header-Content-Length: 94", "Inference-Header-Content-Length: 0", "Inference-Header-Content-Length: -5", "Inference-Header-Content-Length: 9999999999", "Content-Encoding: gzip",
		"Content-Encoding: deflate", "Content-Encoding: br", "Accept-Encoding: gzip", "Accept-Encoding: deflate;q=x", "Expect: 100-continue", "Transfer-Encoding: chunked", "Content-Length: 3", "Connection: close",
	}
)

func pick(rng *rand.Rand, from []string) string { return from[rng.IntN(len(from))] }

// attack sends one request; it returns what is wrong with the answer. Slow ones come in pieces and may stop half-way.
func attack(rng *rand.Rand, addr, bomb string, slow bool) string {
	body := []byte(pick(rng, hostileTexts))
	for range rng.IntN(4) {
		at := rng.IntN(len(body) + 1)
		end := min(len(body), at+rng.IntN(6))
		body = append(append(append([]byte(nil), body[:at]...), pick(rng, hostileTokens)...), body[end:]...)
	}
	method := "POST"
	if rng.IntN(10) == 0 {
		method = pick(rng, []string{"GET", "PUT", "HEAD", "DELETE", "OPTIONS"})
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: localhost\r\n", method, pick(rng, hostilePaths))
	for range rng.IntN(3) {
		b.WriteString(pick(rng, hostileLines) + "\r\n")
	}
	if rng.IntN(100) == 0 {
		body = []byte(bomb)
		b.WriteString("Content-Encoding: gzip\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	request := b.Bytes()
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
	answer, err := io.ReadAll(io.LimitReader(c, 64))
	switch {
	case err != nil && len(answer) == 0:
		var ne net.Error
		if errors.As(err, &ne) && ne.Timeout() {
			return fmt.Sprintf("no answer to %.300q", b.Bytes())
		}
		return "" // the connection was cut while its rest was unread
	case bytes.HasPrefix(answer, []byte("HTTP/1.1 500")), len(answer) > 0 && !bytes.HasPrefix(answer, []byte("HTTP/1.")):
		return fmt.Sprintf("%.300q: %q", b.Bytes(), answer)
	}
	return ""
}

// lockedBuffer collects a log of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
