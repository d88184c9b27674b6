package serve_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
)

var update = flag.Bool("update", false, "write docs/errors.md anew")

func TestKindOf(t *testing.T) {
	for _, c := range []struct {
		err    error
		code   string
		status int
	}{
		{serve.ErrRequest, "bad_request", 400},
		{grid.ErrNoCache, "cache_not_found", 404},
		{grid.ErrNotFound, "entry_not_found", 404},
		{grid.ErrExists, "entry_exists", 409},
		{&grid.RevisionError{Cache: "c", Key: "k", Want: 1, Current: 2}, "revision_mismatch", 412},
		{serve.ErrPrecondition, "revision_mismatch", 412},
		{grid.ErrKey, "bad_key", 400},
		{grid.ErrTooLarge, "too_large", 413},
		{grid.ErrFull, "full", 507},
		{grid.ErrClosed, "stopping", 503},
		{engine.ErrInput, "model_input", 400},
		{engine.ErrTooLarge, "too_large", 413},
		{fmt.Errorf("%w: %w", registry.ErrFailed, engine.ErrTooLarge), "model_failed", 503},
		{fmt.Errorf("%w: %w", registry.ErrRefused, engine.ErrTooLarge), "model_refused", 422},
		{&engine.UnsupportedError{Engine: "native", Ops: []string{"Loop"}}, "model_unsupported", 422},
		{context.DeadlineExceeded, "timeout", 504},
		{errors.New("disk on fire"), "internal", 500},
	} {
		k := serve.KindOf(fmt.Errorf("put c/k: %w", c.err))
		if k.Code != c.code || k.HTTP != c.status {
			t.Errorf("%v is %s %d, want %s %d", c.err, k.Code, k.HTTP, c.code, c.status)
		}
	}
}

func TestKindsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range serve.Kinds() {
		if seen[k.Code] {
			t.Errorf("code %s stands twice", k.Code)
		}
		seen[k.Code] = true
		if k.Code == "" || strings.Trim(k.Code, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("code %q is not of lower-case letters and _", k.Code)
		}
		if k.HTTP < 400 || k.HTTP > 599 || k.Cause == "" || k.Remedy == "" {
			t.Errorf("%s lacks a status, a cause or a remedy: %+v", k.Code, k)
		}
		if k.GRPC == 0 || strings.HasPrefix(k.GRPC.String(), "CODE(") {
			t.Errorf("%s has no code of gRPC: %v", k.Code, k.GRPC)
		}
		// What a caller should send again later says so in every protocol, and what is the server's fault too.
		if (k.HTTP == http.StatusServiceUnavailable) != (k.GRPC == serve.GRPCUnavailable) || (k.HTTP == http.StatusInternalServerError) != (k.GRPC == serve.GRPCInternal) {
			t.Errorf("%s: %d and %v do not say the same", k.Code, k.HTTP, k.GRPC)
		}
	}
}

// TestErrorsDocument holds docs/errors.md to the table; with -update it writes it.
func TestErrorsDocument(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Error codes\n\n<!-- Made from the table in serve/table.go by `go generate ./serve`; do not edit. -->\n\n" +
		"An answer that failed is JSON: `{\"error\": \"what happened\", \"code\": \"one of these\", \"request_id\": \"...\"}`, and\n" +
		"`reasons`, a list, where more than one thing is to be repaired. Programs compare `code`; `error` is for people and may change.\n" +
		"The request's id is also in the header `X-Request-Id` and in the server's log.\n\n" +
		"REST and the Open Inference Protocol answer with the HTTP status; the gRPC code is what the same failure is in that protocol.\n\n" +
		"| code | HTTP | gRPC | cause | remedy |\n| --- | --- | --- | --- | --- |\n")
	for _, k := range serve.Kinds() {
		status := strings.TrimSpace(fmt.Sprintf("%d %s", k.HTTP, http.StatusText(k.HTTP)))
		fmt.Fprintf(&b, "| `%s` | %s | %v | %s | %s |\n", k.Code, status, k.GRPC, k.Cause, k.Remedy)
	}
	b.WriteString("\n## Error entries\n\nWhere a pipeline cannot make a result of an entry, the cache that `errors` names gets an entry under the same key: " +
		"`{\"error\": \"what happened\", \"code\": \"one of these\", \"model\": ..., \"version\": ..., \"pipeline\": ..., \"carry\": {...}, \"source\": {...}, \"latency_us\": ...}`. " +
		"It goes when\nthe key has a result again. Where it would be too large for that cache, its message is cut and it carries nothing.\n\n" +
		"| code | cause | remedy |\n| --- | --- | --- |\n")
	for _, k := range pipeline.FaultKinds() {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.Code, k.Cause, k.Remedy)
	}
	name := filepath.Join("..", "docs", "errors.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(got)); diff != "" {
		t.Errorf("docs/errors.md is not what the table says; run go generate ./serve (-table +file):\n%s", diff)
	}
}

type faults []string

func (f faults) Error() string     { return "several faults" }
func (f faults) Reasons() []string { return f }
func (f faults) Unwrap() error     { return serve.ErrRequest }

func TestWriteError(t *testing.T) {
	for _, c := range []struct {
		name   string
		err    error
		status int
		want   serve.ErrorBody
	}{
		{"known", fmt.Errorf("get c/k: %w", grid.ErrNotFound), 404, serve.ErrorBody{Error: "get c/k: entry not found", Code: "entry_not_found"}},
		{"not UTF-8", fmt.Errorf("%w: \xff", serve.ErrRequest), 400, serve.ErrorBody{Error: "bad request: \uFFFD", Code: "bad_request"}},
		{"reasons", faults{"a", "b"}, 400, serve.ErrorBody{Error: "several faults", Code: "bad_request", Reasons: []string{"a", "b"}}},
		{"internal", errors.New("/secret/path"), 500, serve.ErrorBody{Error: "internal error; the server's log has the reason", Code: "internal"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			w.Header().Set("ETag", `"1"`)
			serve.WriteError(w, httptest.NewRequest(http.MethodGet, "/", nil), c.err)
			var got serve.ErrorBody
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if w.Code != c.status || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("ETag") != "" {
				t.Errorf("status %d, header %v", w.Code, w.Header())
			}
		})
	}
	w := httptest.NewRecorder()
	serve.WriteError(w, httptest.NewRequest(http.MethodHead, "/", nil), grid.ErrNotFound)
	if w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("HEAD: status %d and %d bytes", w.Code, w.Body.Len())
	}
}
