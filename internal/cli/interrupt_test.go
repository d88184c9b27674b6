package cli_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/cli"
)

// TestInterruptedSaysWhatIsLeft: an export or import that the user ends on its way says how it goes on. The server here gives a page at most, and
// then keeps the caller waiting, as a node may when the signal comes.
func TestInterruptedSaysWhatIsLeft(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "in.csv")
	if err := os.WriteFile(source, []byte("a\n1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
		part string
	}{
		"export": {[]string{"export", "r", filepath.Join(dir, "out.jsonl")}, "what came is in " + filepath.Join(dir, "out.jsonl.part") + ", and the same command goes on with it", "out.jsonl.part"},
		"import": {[]string{"import", "r", source}, "the same command goes on behind row 0", "in.csv.r.import"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Get("action") == "" {
					fmt.Fprint(w, `{"name":"r","size":2}`)
					return
				}
				if q := r.URL.Query(); q.Get("action") == "export" && q.Get("cursor") == "" {
					w.Header().Set("Millrace-Cursor", "a")
					fmt.Fprintln(w, `{"key":"a","value":1}`)
					return
				}
				if _, err := io.Copy(io.Discard, r.Body); err != nil { // only then the server notices that the caller left
					t.Error(err)
				}
				cancel()
				<-r.Context().Done()
			}))
			defer node.Close()
			var said bytes.Buffer
			code := cli.Main(ctx, append([]string{"cache", "--server", node.URL}, c.args...), cli.Process{Stdin: strings.NewReader(""), Stdout: &said, Stderr: &said})
			if code != 1 || !strings.Contains(said.String(), c.want) || !strings.HasSuffix(said.String(), "millrace: interrupted\n") {
				t.Errorf("code %d: %s", code, said.String())
			}
			if _, err := os.Stat(filepath.Join(dir, c.part)); err != nil {
				t.Error(err)
			}
		})
	}
}
