package serve_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/serve"
)

// dial connects from an address of loopback.
func dial(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// answered sends a request on a connection that is open already, and reads the answer with its header.
func answered(t *testing.T, c net.Conn, request string) (*http.Response, string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

const plainGet = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"

// TestEveryConnectionOverTheLimitIsAnswered opens all connections before the first asks: none of those over the limit is cut without a word.
func TestEveryConnectionOverTheLimitIsAnswered(t *testing.T) {
	live := func(r *http.Request) bool { return r.URL.Path == "/v2/health/live" }
	addr, _ := start(t, serve.Config{MaxConnections: 4, Live: live}, ok, nil)
	conns := make([]net.Conn, 100)
	for i := range conns {
		conns[i] = dial(t, "127.0.0.1", addr)
	}
	for i, c := range conns[4:] {
		resp, body := answered(t, c, plainGet)
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"overloaded"`) || !strings.Contains(body, "http.limits.connections") {
			t.Fatalf("%d: %d %v %s", i, resp.StatusCode, resp.Header, body)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Fatalf("%d: after the answer: %v", i, err)
		}
	}
	resp, body := answered(t, dial(t, "127.0.0.1", addr), "GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
	if resp.StatusCode != http.StatusOK || body != "in" || !resp.Close {
		t.Errorf("a full node was asked whether it lives: %d %s, closing %v", resp.StatusCode, body, resp.Close)
	}
	for _, c := range conns[:4] {
		if resp, body := answered(t, c, plainGet); resp.StatusCode != http.StatusOK {
			t.Errorf("within the limit: %d %s", resp.StatusCode, body)
		}
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	cfg := serve.Config{Listen: "127.0.0.1:0", MaxConnectionsPerAddress: 2}
	s := newServer(t, cfg, ok)
	addr := run(t, s)
	var first net.Conn
	for range 2 {
		first = dial(t, "127.0.0.1", addr)
		if resp, _ := answered(t, first, plainGet); resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	if resp, body := answered(t, dial(t, "127.0.0.1", addr), plainGet); resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(body, "http.limits.connections_per_address") {
		t.Errorf("the third from one address: %d %s", resp.StatusCode, body)
	}
	if resp, _ := answered(t, dial(t, "127.0.0.2", addr), plainGet); resp.StatusCode != http.StatusOK {
		t.Errorf("another address: %s", resp.Status)
	}
	if got := s.Stats(); got.Connections != 3 || got.Refused[serve.LimitPerAddress] != 1 || got.Refused[serve.LimitConnections] != 0 {
		t.Errorf("%+v", got)
	}
	first.Close()
	for deadline := time.Now().Add(20 * time.Second); ; { // the place is free as soon as the server saw the close
		resp, _ := answered(t, dial(t, "127.0.0.1", addr), plainGet)
		if resp.StatusCode == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the place is not given back")
		}
	}
}

// run serves on a free port, and returns its address.
func run(t *testing.T, s *serve.Server) string {
	t.Helper()
	ln, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { done <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// TestSlowHeaderIsTold holds that a client whose header does not come in time is told so, and that one who sent nothing is not.
func TestSlowHeaderIsTold(t *testing.T) {
	s := newServer(t, serve.Config{Listen: "127.0.0.1:0", ReadHeaderTimeout: 30 * time.Millisecond, IdleTimeout: 30 * time.Millisecond}, ok)
	addr := run(t, s)
	for _, sent := range []string{"G", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "} {
		resp, body := answered(t, dial(t, "127.0.0.1", addr), sent)
		if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, `"code":"header_timeout"`) || !strings.Contains(body, "http.timeouts.header") {
			t.Errorf("%q: %d %s", sent, resp.StatusCode, body)
		}
	}
	c := dial(t, "127.0.0.1", addr)
	if resp, _ := answered(t, c, plainGet); resp.StatusCode != http.StatusOK {
		t.Error(resp.Status)
	}
	if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
		t.Errorf("an idle connection ended with %q, %v", rest, err)
	}
	if got := s.Stats(); got.SlowHeaders != 2 || got.Idle != 1 {
		t.Errorf("%+v", got)
	}
}

// TestSlowBodyIsTold holds a body to its rate, and not the handler's own time.
func TestSlowBodyIsTold(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/patient" {
			serve.ExtendRead(w, time.Hour)
		}
		b, err := serve.ReadBody(w, r, 1<<20, nil)
		if err != nil {
			serve.WriteError(w, r, err)
			return
		}
		if r.URL.Path == "/work" {
			select {
			case <-r.Context().Done():
				serve.WriteError(w, r, serve.ErrStopping)
				return
			case <-time.After(150 * time.Millisecond): // longer than a body may take
			}
		}
		fmt.Fprint(w, len(b))
	})
	s := newServer(t, serve.Config{Listen: "127.0.0.1:0", ReadHeaderTimeout: 50 * time.Millisecond, MinBodyRate: 1 << 20}, h)
	addr := run(t, s)
	for _, path := range []string{"/", "/patient"} {
		resp, body := answered(t, dial(t, "127.0.0.1", addr), "PUT "+path+" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
		if resp.StatusCode != http.StatusRequestTimeout || !strings.Contains(body, `"code":"body_timeout"`) || !strings.Contains(body, "http.limits.body_rate") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	chunks := "PUT /work HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n5\r\nwhole\r\n0\r\n\r\n"
	if resp, body := answered(t, dial(t, "127.0.0.1", addr), chunks); resp.StatusCode != http.StatusOK || body != "9" {
		t.Errorf("the handler took its time: %d %s", resp.StatusCode, body)
	}
	if got := s.Stats(); got.SlowBodies != 2 {
		t.Errorf("%+v", got)
	}
}
