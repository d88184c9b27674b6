package serve_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/serve"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a server on a free port of loopback and returns its address and a function that stops it.
func start(t *testing.T, cfg serve.Config, h http.Handler, log *slog.Logger) (addr string, stop func() error) {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	s, err := serve.New(cfg, h, log)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() { _ = stop() })
	return ln.Addr().String(), stop
}

func client(t *testing.T) *http.Client {
	tr := &http.Transport{}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	resp, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestStopFinishesWhatWasAccepted(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		fmt.Fprint(w, "whole")
	})
	streaming := make(chan struct{})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "begin\n")
		_ = http.NewResponseController(w).Flush()
		close(streaming)
		<-serve.Draining(r.Context())
		fmt.Fprint(w, "end\n")
	})
	addr, stop := start(t, serve.Config{}, mux, nil)
	c := client(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for path, want := range map[string]string{"/slow": "whole", "/stream": "begin\nend\n"} {
		wg.Go(func() {
			resp, err := c.Get("http://" + addr + path)
			if err != nil {
				t.Errorf("%s: %v", path, err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != want {
				t.Errorf("%s: %q, %v", path, b, err)
			}
		})
	}
	<-entered
	<-streaming
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	// The stream ends by the stop; the slow request is let go only after new connections are refused.
	for {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	select {
	case err := <-stopped:
		t.Errorf("stopped before the request was done: %v", err)
	default:
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopCutsWhatDoesNotEnd(t *testing.T) {
	entered := make(chan struct{})
	addr, stop := start(t, serve.Config{DrainTimeout: 20 * time.Millisecond}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-r.Context().Done()
	}), nil)
	failed := make(chan error, 1)
	c := client(t)
	go func() {
		resp, err := c.Get("http://" + addr)
		if err == nil {
			resp.Body.Close()
		}
		failed <- err
	}()
	<-entered
	if err := stop(); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the cut request got an answer")
	}
}

func TestConnectionLimit(t *testing.T) {
	addr, _ := start(t, serve.Config{MaxConnections: 2}, ok, nil)
	var conns []net.Conn
	for range 2 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		if status, body := ask(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); status != 200 || body != "in" {
			t.Fatalf("%d %s", status, body)
		}
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if status, body := ask(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); status != 503 || !strings.Contains(body, `"code":"overloaded"`) {
		t.Errorf("over the limit: %d %s", status, body)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the refused connection stays open")
	}
	conns[0].Close()
	for { // the slot is free as soon as the server saw the close
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		status, _ := ask(t, c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		c.Close()
		if status == 200 {
			return
		}
	}
}

func ask(t *testing.T, c net.Conn, request string) (int, string) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestSlowRequestsEnd(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := serve.ReadBody(w, r, 1<<20, nil); err != nil {
			serve.WriteError(w, r, err)
		}
	})
	addr, _ := start(t, serve.Config{ReadHeaderTimeout: 50 * time.Millisecond, ReadTimeout: 100 * time.Millisecond}, h, nil)
	t.Run("header", func(t *testing.T) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("the connection was not closed in time: %v", err)
		}
		if len(b) > 0 && !bytes.HasPrefix(b, []byte("HTTP/1.1 4")) {
			t.Errorf("answer %q", b)
		}
	})
	t.Run("body", func(t *testing.T) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if status, body := ask(t, c, "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf"); status != 408 || !strings.Contains(body, "body_timeout") {
			t.Errorf("%d %s", status, body)
		}
	})
}

func TestPanic(t *testing.T) {
	var logged bytes.Buffer
	var mu sync.Mutex
	log := slog.New(slog.NewJSONHandler(&lockedWriter{w: &logged, mu: &mu}, nil))
	mux := http.NewServeMux()
	mux.HandleFunc("/early", func(http.ResponseWriter, *http.Request) { panic("secret reason") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("late")
	})
	addr, stop := start(t, serve.Config{}, mux, log)
	c := client(t)
	resp, err := c.Get("http://" + addr + "/early")
	if err != nil {
		t.Fatal(err)
	}
	var body serve.ErrorBody
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusInternalServerError || body.Code != "internal" || strings.Contains(body.Error, "secret") ||
		body.RequestID == "" || body.RequestID != resp.Header.Get("X-Request-Id") {
		t.Errorf("%d %+v", resp.StatusCode, body)
	}
	resp, err = c.Get("http://" + addr + "/late")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("half an answer ended as if it were whole: %q", b)
	}
	resp.Body.Close()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, want := range []string{body.RequestID, "secret reason", "server_test.go", `"status":500`} {
		if !strings.Contains(logged.String(), want) {
			t.Errorf("%q is missing in the log: %s", want, logged.String())
		}
	}
}

type lockedWriter struct {
	w  io.Writer
	mu *sync.Mutex
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func TestRequestID(t *testing.T) {
	addr, _ := start(t, serve.Config{}, ok, nil)
	c := client(t)
	for sent, kept := range map[string]bool{
		"abc-1.2_Z": true, "": false, "with blank": false, strings.Repeat("x", 65): false, `"quoted"`: false, strings.Repeat("x", 64): true,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		if sent != "" {
			r.Header.Set("X-Request-Id", sent)
		}
		resp, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := resp.Header.Get("X-Request-Id")
		if (got == sent) != kept || got == "" {
			t.Errorf("sent %q, got %q", sent, got)
		}
	}
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	files := serve.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	pool := x509.NewCertPool()
	writeCertificate(t, files, "first", pool)
	addr, _ := start(t, serve.Config{TLS: files}, ok, nil)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	c := &http.Client{Transport: tr, Timeout: 20 * time.Second}
	resp, err := c.Get("https://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS.PeerCertificates[0].Subject.CommonName != "first" {
		t.Errorf("%s, %v", resp.Proto, resp.TLS.PeerCertificates[0].Subject)
	}
	writeCertificate(t, files, "second", pool)
	for deadline := time.Now().Add(20 * time.Second); ; {
		conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		name := conn.ConnectionState().PeerCertificates[0].Subject.CommonName
		conn.Close()
		if name == "second" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not read")
		}
	}
	// What cannot be read leaves the certificate that works.
	if err := os.WriteFile(files.Cert, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if conn, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost"}); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	if _, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: pool, ServerName: "localhost", MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is let in")
	}
	if status, _ := get(t, client(t), "http://"+addr); status != 400 {
		t.Errorf("plain HTTP on the TLS port: %d", status)
	}
}

// TestTLSFilesAreReadFirst holds that files which cannot be used are refused before anything is served.
func TestTLSFilesAreReadFirst(t *testing.T) {
	dir := t.TempDir()
	one := serve.TLS{Cert: filepath.Join(dir, "one.pem"), Key: filepath.Join(dir, "one.key")}
	two := serve.TLS{Cert: filepath.Join(dir, "two.pem"), Key: filepath.Join(dir, "two.key")}
	writeCertificate(t, one, "one", x509.NewCertPool())
	writeCertificate(t, two, "two", x509.NewCertPool())
	noise := filepath.Join(dir, "noise.pem")
	if err := os.WriteFile(noise, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		files serve.TLS
		want  string
	}{
		{one, ""},
		{serve.TLS{Cert: filepath.Join(dir, "none"), Key: one.Key}, "tls.cert: stat "},
		{serve.TLS{Cert: one.Cert, Key: filepath.Join(dir, "none")}, "tls.key: stat "},
		{serve.TLS{Cert: one.Cert, Key: two.Key}, "tls: cert " + one.Cert + " with key " + two.Key},
		{serve.TLS{Cert: noise, Key: one.Key}, "tls: cert "},
		{serve.TLS{Cert: dir, Key: one.Key}, "tls: cert "},
	} {
		_, err := serve.New(serve.Config{TLS: c.files}, ok, nil)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.files, err, c.want)
		}
	}
}

func writeCertificate(t *testing.T, files serve.TLS, name string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(cert)
	for name, b := range map[string][]byte{files.Cert: cert, files.Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRefusesAnExposedListener(t *testing.T) {
	s, err := serve.New(serve.Config{}, ok, nil)
	if err != nil {
		t.Fatal(err)
	}
	ln := exposed{make(chan struct{})}
	if err := s.Run(t.Context(), ln); !errors.Is(err, serve.ErrExposed) {
		t.Errorf("run: %v", err)
	}
	select {
	case <-ln.closed:
	default:
		t.Error("the listener stays open")
	}
}

// exposed stands for a listener that somebody opened to other machines; the test itself listens on loopback only.
type exposed struct{ closed chan struct{} }

func (exposed) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (e exposed) Close() error            { close(e.closed); return nil }
func (exposed) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4zero, Port: 8080} }

func TestReadBody(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := serve.ReadBody(w, r, 100_000, nil)
		if err != nil {
			serve.WriteError(w, r, err)
			return
		}
		fmt.Fprint(w, len(b))
	})
	addr, _ := start(t, serve.Config{}, h, nil)
	c := client(t)
	for _, n := range []int{0, 1, 511, 64 << 10, 64<<10 + 1, 99_999, 100_000, 100_001, 1 << 20} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = bytes.NewReader(make([]byte, n))
			if chunked {
				body = io.MultiReader(body)
			}
			resp, err := c.Post("http://"+addr, "application/octet-stream", body)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if n <= 100_000 && string(b) != fmt.Sprint(n) || n > 100_000 && resp.StatusCode != http.StatusRequestEntityTooLarge {
				t.Errorf("%d bytes (chunked %v): %d %s", n, chunked, resp.StatusCode, b)
			}
		}
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
	_ = conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("a cut body: %d", resp.StatusCode)
	}
}
