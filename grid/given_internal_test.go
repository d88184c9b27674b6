package grid

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzGiven: whatever the file says is refused, or read as what it says.
func FuzzGiven(f *testing.F) {
	f.Add([]byte(`{"cluster":"c","source":"s","node":"n","asked":true,"note":{"to":["http://n1:8080"]}}`))
	f.Add([]byte(`{"cluster":"c","source":"s","node":"n"}`))
	f.Add([]byte(`{"cluster":"c"}`))
	f.Add([]byte(`{"cluster":7}`))
	f.Add([]byte(`{"cluster":"c","source":"s","node":"n"} more`))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, text []byte) { readsOrRefuses(t, text, parseGiven) })
}

// FuzzGrowState: whatever the cluster's note says is refused, or read as what it says.
func FuzzGrowState(f *testing.F) {
	f.Add([]byte(`{"source":"s","node":"n","phase":"copy"}`))
	f.Add([]byte(`{"source":"s","node":"n","phase":"promote","streams":[{"name":"KV_g-d-0","retention":"limits","storage":"file","num_replicas":3}]}`))
	f.Add([]byte(`{"source":"s","node":"n","phase":"promote"}`))
	f.Add([]byte(`{"source":"s","phase":"later"}`))
	f.Add([]byte(`{"phase":"done","streams":[null]}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, text []byte) { readsOrRefuses(t, text, parseGrow) })
}

// readsOrRefuses reads a text, and again what was read of it, which must be the same.
func readsOrRefuses[T any](t *testing.T, text []byte, parse func([]byte) (T, error)) {
	first, err := parse(text)
	if err != nil {
		if !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", text, err)
		}
		return
	}
	written, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%q was read as %+v, which cannot be written: %v", text, first, err)
	}
	again, err := parse(written)
	if err != nil {
		t.Fatalf("%q was read and written as %q: %v", text, written, err)
	}
	twice, err := json.Marshal(again)
	if diff := cmp.Diff(string(written), string(twice)); err != nil || diff != "" {
		t.Errorf("%q is read and written in two ways: %v\n%s", text, err, diff)
	}
}

// TestGivenKeepsNoToken: a token that the node asks the cluster with is in no error, and not in the file any more once the cluster has the grid.
func TestGivenKeepsNoToken(t *testing.T) {
	const token = "token-of-the-cluster"
	dir := t.TempDir()
	f := &folder{dir: dir}
	path := filepath.Join(dir, givenFile)
	if err := os.WriteFile(path, []byte(`{"cluster":"c","note":{"token":"`+token+`"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.checkGiven(nil); !errors.Is(err, ErrFormat) || strings.Contains(err.Error(), token) {
		t.Errorf("a damaged file: %v", err)
	}
	given := Given{Cluster: "c", Source: "s", Node: "n", Asked: true, Note: json.RawMessage(`{"token":"` + token + `"}`)}
	if err := f.writeGiven(given); err != nil {
		t.Fatal(err)
	}
	taken := func(_ context.Context, g Given) (bool, error) {
		if diff := cmp.Diff(given, g); diff != "" {
			t.Error(diff)
		}
		return true, nil
	}
	if err := f.checkGiven(taken); !errors.Is(err, ErrConfig) {
		t.Errorf("the cluster has the grid: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), token) {
		t.Errorf("the file has %q, %v", text, err)
	}
}
