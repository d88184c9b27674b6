package mnist_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace/millrace/internal/sharedtest"
	"github.com/millrace/millrace/train/mnist"
)

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func fileOf(name string, content []byte) mnist.File {
	sum := sha256.Sum256(content)
	return mnist.File{Name: name, SHA256: hex.EncodeToString(sum[:]), Size: int64(len(content))}
}

func TestFetch(t *testing.T) {
	a, b := bytes.Repeat([]byte("pictures"), 1000), []byte("labels")
	served := map[string][]byte{"/good/a.gz": zipped(t, a), "/good/b.gz": zipped(t, b), "/bad/a.gz": zipped(t, b), "/plain/a.gz": a,
		"/bomb/a.gz": zipped(t, make([]byte, 1<<24))}
	var requests atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		data, ok := served[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if _, err := w.Write(data); err != nil {
			t.Error(err)
		}
	}))
	defer s.Close()
	files := []mnist.File{fileOf("a.gz", a), fileOf("b.gz", b)}
	dir := filepath.Join(t.TempDir(), "new", "mnist")

	for _, folder := range []string{"bad", "absent", "plain", "bomb"} {
		err := mnist.Fetch(t.Context(), dir, mnist.Options{URLs: []string{s.URL + "/" + folder}, Files: files[:1]})
		if !errors.Is(err, mnist.ErrDownload) || !strings.Contains(err.Error(), folder+"/a.gz") {
			t.Errorf("%s: error %v is not ErrDownload with the address", folder, err)
		}
		if folder != "absent" && !errors.Is(err, mnist.ErrChecksum) {
			t.Errorf("%s: error %v is not ErrChecksum", folder, err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("failed downloads leave %v, %v", left, err)
	}

	// The second address serves where the first does not.
	opts := mnist.Options{URLs: []string{s.URL + "/bad/", s.URL + "/good/"}, Files: files}
	if err := mnist.Fetch(t.Context(), dir, opts); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := mnist.Verify(filepath.Join(dir, f.Name), f); err != nil {
			t.Error(err)
		}
	}
	// What is there is kept; what is damaged is fetched again.
	if err := os.WriteFile(filepath.Join(dir, "b.gz"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := requests.Load()
	opts.URLs = opts.URLs[1:]
	if err := mnist.Fetch(t.Context(), dir, opts); err != nil {
		t.Fatal(err)
	}
	if n := requests.Load() - before; n != 1 {
		t.Errorf("%d requests for one damaged file", n)
	}
	if err := mnist.Verify(filepath.Join(dir, "b.gz"), files[1]); err != nil {
		t.Error(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := mnist.Fetch(ctx, t.TempDir(), opts); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled download: %v", err)
	}
}

// TestSums holds the sums in the code against the real files, where they are.
func TestSums(t *testing.T) {
	dir := sharedtest.Data(t, "mnist")
	for _, f := range mnist.Files {
		if err := mnist.Verify(filepath.Join(dir, f.Name), f); err != nil {
			t.Error(err)
		}
	}
}
