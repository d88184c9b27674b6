//go:build !ceph || !cgo

package cli_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace/millrace/internal/cli"
)

// A program without librados says how to build the one that has it.
func TestDemoWithoutCeph(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "ceph.conf")
	if err := os.WriteFile(conf, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, stderr bytes.Buffer
	code := cli.Main(t.Context(), []string{"demo", "--no-browser", "--http", "127.0.0.1:0", "--store", "ceph:" + conf},
		cli.Process{Stdout: &out, Stderr: &stderr, Environ: []string{"HOME=" + dir}})
	if code != 1 || !strings.Contains(stderr.String(), "-tags ceph,pacific") || out.Len() > 0 {
		t.Errorf("exit code %d: %s%s", code, out.String(), stderr.String())
	}
}
