//go:build ceph

package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// buildTags are those that the program under test is built with.
const buildTags = "ceph,pacific"

// cephCluster is the Ceph cluster of test/ceph/cluster, which `make test-ceph` starts and names by MILLRACE_TEST_CEPH.
type cephCluster struct {
	t   *testing.T
	dir string
}

func withCeph(t *testing.T) cephCluster {
	t.Helper()
	dir := os.Getenv("MILLRACE_TEST_CEPH")
	if dir == "" {
		const how = "there is no Ceph cluster to test with: make test-ceph starts one"
		if os.Getenv("CI") != "" {
			t.Fatal(how)
		}
		t.Skip(how)
	}
	return cephCluster{t, dir}
}

// do calls test/ceph/cluster.
func (c cephCluster) do(verb string, args ...string) {
	c.t.Helper()
	out, err := exec.CommandContext(context.Background(), filepath.Join("ceph", "cluster"), append([]string{verb, c.dir}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("cluster %s %v: %v\n%s", verb, args, err, out)
	}
}

// each does something with every object store.
func (c cephCluster) each(verb string) {
	c.t.Helper()
	for _, n := range []string{"0", "1", "2"} {
		c.do(verb, n)
	}
}

// store is the configuration of a store in an empty pool of the test's own.
func (c cephCluster) store(more string) string {
	c.t.Helper()
	pool := strings.ToLower(c.t.Name())
	c.do("pool", pool)
	return fmt.Sprintf("{type: ceph, conf: %s, pool: %s%s}", filepath.Join(c.dir, "ceph.conf"), pool, more)
}

// TestCephKillWhileCold is TestKillWhileCold over Ceph.
func TestCephKillWhileCold(t *testing.T) { killWhileCold(t, withCeph(t).store("")) }
