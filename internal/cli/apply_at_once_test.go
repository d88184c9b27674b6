package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/cli"
)

// TestApplyAtOnce: a cache that somebody else makes after apply has looked is what the file says all the same, and apply does not fail.
func TestApplyAtOnce(t *testing.T) {
	altered := false
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		no := func(status int, code string) {
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"error":"no","code":%q}`, code)
		}
		switch made := r.URL.Query().Get("dry_run") == ""; {
		case r.Method == http.MethodGet:
			no(http.StatusNotFound, "cache_not_found")
		case r.Method == http.MethodPost && made:
			no(http.StatusConflict, "cache_exists")
		case r.Method == http.MethodPut && made:
			altered = true
			fallthrough
		default:
			fmt.Fprint(w, `{}`)
		}
	}))
	defer node.Close()
	var out, said bytes.Buffer
	code := cli.Main(t.Context(), []string{"apply", "-f", "-", "--server", node.URL}, cli.Process{Stdin: strings.NewReader("caches: {c: {}}\n"), Stdout: &out, Stderr: &said})
	if code != 0 || !altered {
		t.Errorf("exit %d, altered %v, prints %q and %q", code, altered, &out, &said)
	}
}
