//go:build ceph && cgo

package ceph_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/millrace/millrace/store/ceph"
)

// folder is where the cluster of test/ceph/cluster is; `make test-ceph` makes it and names it by this variable.
const folder = "MILLRACE_TEST_CEPH"

func cluster(tb testing.TB) string {
	tb.Helper()
	dir := os.Getenv(folder)
	if dir == "" {
		const how = "there is no Ceph cluster to test with: make test-ceph starts one"
		if os.Getenv("CI") != "" {
			tb.Fatal(how)
		}
		tb.Skip(how)
	}
	return dir
}

// do calls test/ceph/cluster.
func do(tb testing.TB, dir, verb string, args ...string) {
	tb.Helper()
	out, err := exec.CommandContext(context.Background(), filepath.Join("..", "..", "test", "ceph", "cluster"), append([]string{verb, dir}, args...)...).CombinedOutput()
	if err != nil {
		tb.Fatalf("cluster %s %v: %v\n%s", verb, args, err, out)
	}
}

func open(tb testing.TB, c ceph.Config) *ceph.Store {
	tb.Helper()
	s, err := ceph.Open(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}
