package oip_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

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
