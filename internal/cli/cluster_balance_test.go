package cli_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/cli"
)

// TestOrdersSayWhatTheyBegan: what is asked of a cluster ends with a line about what goes on from there.
func TestOrdersSayWhatTheyBegan(t *testing.T) {
	asked := ""
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.URL.RequestURI()
		w.WriteHeader(http.StatusNoContent)
	}))
	defer node.Close()
	for _, tt := range []struct{ args, asks, says string }{
		{"drain n3", "POST /rest/v2/cluster/nodes/n3?action=drain", "node n3 gives away what it has"},
		{"drain n3 --undo", "POST /rest/v2/cluster/nodes/n3?action=undrain", "node n3 is given its share again"},
		{"remove n3", "DELETE /rest/v2/cluster/nodes/n3", "node n3 is taken out of the cluster"},
		{"rebalance", "POST /rest/v2/cluster/rebalance", "the controller looks at once"},
		{"rebalance --pause", "POST /rest/v2/cluster/rebalance?action=pause", "no new moves are begun; those under way end"},
		{"rebalance --resume", "POST /rest/v2/cluster/rebalance?action=resume", "moves go on"},
		{"rebalance --cancel", "POST /rest/v2/cluster/rebalance?action=cancel", "those under way go back"},
	} {
		var out, said bytes.Buffer
		args := append(append([]string{"cluster"}, strings.Fields(tt.args)...), "--server", node.URL)
		code := cli.Main(t.Context(), args, cli.Process{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &said})
		if code != 0 || asked != tt.asks || !strings.Contains(out.String(), tt.says) || strings.Count(out.String(), "\n") != 1 || said.Len() > 0 {
			t.Errorf("%s: exit %d, asks %s, prints %q and %q", tt.args, code, asked, &out, &said)
		}
	}
}
