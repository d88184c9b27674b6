package oip_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

// logs sends what is logged to a channel, but debug lines.
type logs chan<- string

func (logs) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }
func (l logs) WithAttrs([]slog.Attr) slog.Handler         { return l }
func (l logs) WithGroup(string) slog.Handler              { return l }

func (l logs) Handle(_ context.Context, r slog.Record) error {
	text := r.Level.String() + " " + r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	l <- text
	return nil
}

// TestProbesAreNotLogged: of many questions whether the node is ready the log has what changes, with the reasons, and nothing of the answers, of which some are 503.
func TestProbesAreNotLogged(t *testing.T) {
	logged := make(chan string, 100)
	log := slog.New(logs(logged))
	var reasons []string
	h, err := oip.New(oip.Config{Models: newRegistry(t), Ready: func(context.Context) []string { return reasons }, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	var routes serve.Routes
	routes.Handle("/v2", h)
	s, err := serve.New(serve.Config{Listen: "127.0.0.1:0"}, &routes, log)
	if err != nil {
		t.Fatal(err)
	}
	for _, now := range []struct {
		reasons []string
		status  int
	}{{nil, 200}, {[]string{"the disk is full"}, 503}, {[]string{"the disk is full", "another"}, 503}, {nil, 200}} {
		reasons = now.reasons
		for range 3 {
			for path, want := range map[string]int{"/v2/health/ready": now.status, "/v2/health/live": 200} {
				w := httptest.NewRecorder()
				s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "http://localhost"+path, nil))
				if w.Code != want {
					t.Errorf("%s: %d %s", path, w.Code, w.Body)
				}
			}
		}
	}
	close(logged)
	var got []string
	for line := range logged {
		got = append(got, line)
	}
	want := []string{"WARN the node is not ready reasons=[the disk is full]", "INFO the node is ready again"}
	if !cmp.Equal(got, want) {
		t.Errorf("the log has %q, not %q", got, want)
	}
}

func TestHealth(t *testing.T) {
	var reasons []string
	n := start(t, oip.Config{Ready: func(context.Context) []string { return reasons }}, serve.Config{})
	ask := func(method, path string) (status int, head http.Header, body string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, n.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := n.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, resp.Header, string(b)
	}
	if status, _, body := ask("GET", "/v2/health/live"); status != 200 || body != `{"live":true}`+"\n" {
		t.Errorf("live: %d %s", status, body)
	}
	if status, _, body := ask("GET", "/v2/health/ready"); status != 200 || body != `{"live":true,"ready":true}`+"\n" {
		t.Errorf("ready: %d %s", status, body)
	}
	reasons = []string{"model digits is loading", "the disk is full"}
	status, head, body := ask("GET", "/v2/health/ready")
	var got struct {
		Live, Ready bool
		Code        string
		Reasons     []string
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if status != 503 || !got.Live || got.Ready || got.Code != "not_ready" || head.Get("Retry-After") == "" || !cmp.Equal(got.Reasons, reasons) {
		t.Errorf("not ready: %d %v %s", status, head, body)
	}
	if status, head, _ := ask("POST", "/v2/health/live"); status != 405 || head.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", status, head.Get("Allow"))
	}
	if status, _, _ := ask("GET", "/v2/health/live/"); status != 404 {
		t.Errorf("another path: %d", status)
	}
}
