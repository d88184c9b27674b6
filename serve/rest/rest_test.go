package rest_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// node is a server on loopback over an in-memory grid.
type node struct {
	t      *testing.T
	grid   *grid.Grid
	addr   string
	url    string
	client *http.Client
	stop   func() error
}

func openGrid(t testing.TB) *grid.Grid {
	t.Helper()
	g, err := grid.Open(t.Context(), grid.Config{InMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return g
}

func newCache(t testing.TB, g *grid.Grid, c grid.CacheConfig) *grid.Cache {
	t.Helper()
	if err := g.CreateCache(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	cache, err := g.Cache(t.Context(), c.Name)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// start serves cfg; without a grid it opens one, with a cache "c". others hang more under the same server.
func start(t *testing.T, cfg rest.Config, scfg serve.Config, log *slog.Logger, others ...func(*serve.Routes)) *node {
	t.Helper()
	n := &node{t: t}
	if cfg.Grid == nil {
		n.grid = openGrid(t)
		newCache(t, n.grid, grid.CacheConfig{Name: "c"})
		cfg.Grid = n.grid
	}
	h, err := rest.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var routes serve.Routes
	for _, p := range rest.Prefixes() {
		routes.Handle(p, h)
	}
	for _, other := range others {
		other(&routes)
	}
	scfg.Listen = "127.0.0.1:0"
	s, err := serve.New(scfg, &routes, log)
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
	n.stop = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	n.addr = ln.Addr().String()
	n.url = "http://" + n.addr
	tr := &http.Transport{MaxIdleConnsPerHost: 64}
	n.client = &http.Client{Transport: tr, Timeout: 30 * time.Second}
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		if err := n.stop(); err != nil {
			t.Error(err)
		}
	})
	return n
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var e serve.ErrorBody
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("%d %q is no error's body: %v", a.status, a.body, err)
	}
	return e.Code
}

// do sends a request; headers are "Name: value".
func (n *node) do(method, path, body string, headers ...string) answer {
	n.t.Helper()
	r, err := http.NewRequestWithContext(n.t.Context(), method, n.url+path, strings.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, h := range headers {
		if name, value, ok := strings.Cut(h, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	resp, err := n.client.Do(r)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		n.t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// want fails unless a request is answered with status, and returns the answer.
func (n *node) want(status int, method, path, body string, headers ...string) answer {
	n.t.Helper()
	a := n.do(method, path, body, headers...)
	if a.status != status {
		n.t.Fatalf("%s %s %v: %d %.300q, want %d", method, path, headers, a.status, a.body, status)
	}
	return a
}

func TestConfigValidate(t *testing.T) {
	if _, err := rest.New(rest.Config{MaxModelBytes: -1}); err == nil || !strings.Contains(err.Error(), "grid: is required") ||
		!strings.Contains(err.Error(), "max_model_bytes: -1 must be from 1024") {
		t.Errorf("faults: %v", err)
	}
}

func TestWhatIsNotConfiguredIsNotThere(t *testing.T) {
	n := start(t, rest.Config{}, serve.Config{}, nil)
	for _, path := range []string{"/rest/v2/stats", "/rest/v2/models", "/rest/v2/models/m", "/", "/rest/v2", "/rest/v2/x"} {
		if a := n.want(404, "GET", path, ""); a.code(t) != "no_route" {
			t.Errorf("%s: %s", path, a.body)
		}
	}
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

func newLog(w io.Writer) *slog.Logger { return slog.New(slog.NewJSONHandler(w, nil)) }
