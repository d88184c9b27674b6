package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/cluster"
)

// clusterNodes are three nodes that keep one grid, each with a configuration of its own and one seed.
type clusterNodes struct {
	t       *testing.T
	nodes   [3]*node
	configs [3]string
	bases   [3]string
	peers   [3]string // cluster.listen
}

const clusterSecret = "a secret of the tests"

func newCluster(t *testing.T, more string) *clusterNodes {
	t.Helper()
	c := &clusterNodes{t: t}
	for i := range c.peers {
		c.peers[i] = address(t)
	}
	dir := t.TempDir()
	for i := range c.nodes {
		addr := address(t)
		c.bases[i] = "http://" + addr
		c.configs[i] = filepath.Join(dir, fmt.Sprintf("n%d.yaml", i))
		text := fmt.Sprintf(`node: {name: n%d, data: n%[1]d}
http: {listen: %q}
cluster: {name: test, listen: %q, seeds: [%q], secret: %q}
%s`, i, addr, c.peers[i], c.peers[(i+2)%3], clusterSecret, more)
		if err := os.WriteFile(c.configs[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *clusterNodes) start() {
	c.t.Helper()
	for i := range c.nodes {
		c.nodes[i] = start(c.t, c.configs[i])
	}
	for i := range c.nodes {
		c.ready(i)
	}
}

// ready waits until a node takes traffic: a new cluster has elections before it does.
func (c *clusterNodes) ready(i int) {
	c.t.Helper()
	c.nodes[i].wait("ready", 60*time.Second, func() error {
		resp, err := http.Get(c.bases[i] + "/v2/health/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(resp.Body)
			return fmt.Errorf("status %d: %s", resp.StatusCode, body)
		}
		return nil
	})
}

// TestClusterSurvivesKill holds invariants 1, 4, 5 and 6 on three nodes that are a cluster: one of them, which leads partitions, is killed under load.
func TestClusterSurvivesKill(t *testing.T) {
	if _, err := binary(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c := newCluster(t, `models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`)
	c.start()
	t.Logf("three nodes are ready after %v", time.Since(began).Round(time.Millisecond))
	load := &load{bases: c.bases[:], acked: map[string]uint64{}}
	seen := &seen{results: map[string]uint64{}}
	ctx, cancel := context.WithCancel(t.Context())
	connected := make(chan struct{}, 1)
	listening := make(chan error, 1)
	go func() {
		listening <- listen(ctx, c.bases[0], "predictions", func() {
			select {
			case connected <- struct{}{}:
			default:
			}
		}, seen.add)
	}()
	<-connected

	stop := load.start(0)
	c.nodes[0].wait("some puts", 20*time.Second, func() error {
		if n := load.count(); n < 200 {
			return fmt.Errorf("%d puts were acknowledged", n)
		}
		return nil
	})
	if s := c.status(0); !slices.ContainsFunc(s.Partitions, func(p cluster.Partition) bool { return p.Leader == "n2" && p.Owner == "n2" }) {
		t.Fatalf("node n2 leads nothing: %+v", s)
	}
	c.nodes[2].kill()
	killed := time.Now()
	stop()
	t.Logf("killed with %d puts acknowledged; those under way ended %v later", load.count(), time.Since(killed).Round(time.Millisecond))
	// A key of each partition: whatever the dead node led goes on.
	for i := range 32 {
		before := load.count()
		load.put(i%2, fmt.Sprintf("after-%d", i))
		if load.count() == before {
			t.Fatalf("a put through node %d was not acknowledged", i%2)
		}
	}
	t.Logf("puts into every partition are acknowledged %v after the kill", time.Since(killed).Round(time.Millisecond))
	for i := range 2 {
		load.check(c.nodes[i], c.bases[i])
	}
	t.Logf("every result is there %v after the kill", time.Since(killed).Round(time.Millisecond))
	c.nodes[2] = start(t, c.configs[2])
	back := time.Now()
	c.ready(2)
	t.Logf("the node is back %v after its start", time.Since(back).Round(time.Millisecond))
	load.check(c.nodes[2], c.bases[2])
	for i, n := range c.nodes {
		n.wait("the cluster is even", 20*time.Second, func() error { return isEven(c.status(i)) })
	}
	t.Logf("the cluster is even %v after the start", time.Since(back).Round(time.Millisecond))
	c.nodes[0].wait("the listener catches up", 20*time.Second, func() error { return seen.covers(load.snapshot()) })
	cancel()
	if err := <-listening; err != nil {
		t.Error(err)
	}
}

// status asks a node for the cluster.
func (c *clusterNodes) status(i int) (s cluster.Status) {
	c.t.Helper()
	resp, err := http.Get(c.bases[i] + "/rest/v2/cluster")
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		c.t.Fatal(err)
	}
	return s
}

// isEven returns what is not as it should be when all nodes are there: each partition is led and owned by one node and current on all, and no node leads two more
// of a class than another.
func isEven(s cluster.Status) error {
	for _, n := range s.Nodes {
		if !n.Connected || n.Version == "" {
			return fmt.Errorf("node %s: %+v", n.Name, n)
		}
	}
	if len(s.Nodes) != 3 || len(s.Partitions) == 0 {
		return fmt.Errorf("%d nodes and %d partitions", len(s.Nodes), len(s.Partitions))
	}
	leads := map[string]map[string]int{} // by class and node
	for _, p := range s.Partitions {
		if p.Leader == "" || p.Leader != p.Owner || len(p.Replicas) != 3 || slices.ContainsFunc(p.Replicas, func(r cluster.Replica) bool { return r.State != "current" }) {
			return fmt.Errorf("%+v", p)
		}
		if leads[p.Class] == nil {
			leads[p.Class] = map[string]int{}
		}
		leads[p.Class][p.Leader]++
	}
	for class, each := range leads {
		counts := slices.Sorted(maps.Values(each))
		if len(counts) < 3 || counts[2]-counts[0] > 1 {
			return fmt.Errorf("of class %s the nodes lead %v", class, each)
		}
	}
	return nil
}

// refuses starts a node that must stop by itself, and say why.
func (c *clusterNodes) refuses(what, config string, says ...string) {
	c.t.Helper()
	began := time.Now()
	n := start(c.t, config)
	select {
	case err := <-n.done:
		n.cmd = nil
		c.t.Logf("%s: refused after %v", what, time.Since(began).Round(time.Millisecond))
		if err == nil {
			c.t.Errorf("%s: the node ended without an error\n%s", what, n.log)
		}
		for _, s := range says {
			if !strings.Contains(n.log.String(), s) {
				c.t.Errorf("%s: the node does not say %q:\n%s", what, s, tail(n.log.String()))
			}
		}
	case <-time.After(time.Minute):
		c.t.Errorf("%s: the node goes on:\n%s", what, tail(n.log.String()))
		n.kill()
	}
}

// write makes a configuration in the cluster's folder.
func (c *clusterNodes) write(name, text string) string {
	c.t.Helper()
	path := filepath.Join(filepath.Dir(c.configs[0]), name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// TestClusterRefuses: a node that cannot agree with the others stops with the reason, one that is alone waits and says for what, and nothing of it
// harms the others or what a folder has.
func TestClusterRefuses(t *testing.T) {
	c := newCluster(t, "")
	c.nodes[0] = start(t, c.configs[0])
	c.nodes[0].wait("it says what it waits for", 20*time.Second, func() error {
		resp, err := http.Get(c.bases[0] + "/v2/health/ready")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if want := "waits for other nodes"; err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), want) {
			return fmt.Errorf("status %d: %s, %w", resp.StatusCode, body, err)
		}
		return nil
	})
	for i := 1; i < 3; i++ {
		c.nodes[i] = start(t, c.configs[i])
	}
	for i := range c.nodes {
		c.ready(i)
	}
	load := &load{bases: c.bases[:], acked: map[string]uint64{}}
	create(t, c.bases[0], "digits")
	load.put(0, "before")

	node := func(name, cluster, more string) string {
		return fmt.Sprintf("node: {name: %s, data: %[1]s}\nhttp: {listen: 127.0.0.1:0}\ncluster: %s\n%s", name, cluster, more)
	}
	section := func(name, secret string) string {
		return fmt.Sprintf("{name: %s, listen: %q, seeds: [%q], secret: %q}", name, address(t), c.peers[1], secret)
	}
	c.refuses("another cluster's name", c.write("name", node("n8", section("other", clusterSecret), "")), `it is of the cluster "test"`, `"other"`)
	c.refuses("another secret", c.write("secret", node("n8", section("test", "another secret altogether"), "")), "the node at "+c.peers[1]+" has another cluster.secret; it must be the same on all nodes")
	if log := c.nodes[1].log.String(); !strings.Contains(log, "a connection between nodes is refused: it has not shown the secret of this cluster") || strings.Contains(log, "level=WARN msg=\"nats: ") || strings.Contains(log, "level=ERROR") {
		t.Errorf("of a node with another secret the log of the one that refuses says:\n%s", tail(log))
	}
	a := newAuthority(t, filepath.Dir(c.configs[0]), "authority")
	cert, key := a.node("n8", time.Now().Add(time.Hour))
	tls := fmt.Sprintf("{name: test, listen: %q, seeds: [%q], tls: {cert: %q, key: %q, ca: %q}}", address(t), c.peers[1], cert, key, a.file)
	c.refuses("TLS where the others have none", c.write("tls", node("n8", tls, "")), "cluster.tls must be set on all nodes or on none: there it is set: false, here: true")
	c.refuses("a name that is there", c.write("twice", node("n1", section("test", clusterSecret), "")+"\n"), "node.name must be another")
	c.refuses("another's name behind the seed", c.write("behind", strings.Replace(node("n2", section("test", clusterSecret), ""), "data: n2", "data: other", 1)), "node.name must be another")
	c.refuses("another number of partitions", c.write("partitions", node("n8", section("test", clusterSecret), "grid: {partitions: 16}")), "8 partitions", "16")
	c.refuses("another number of replicas", c.write("replicas", node("n8", strings.Replace(section("test", clusterSecret), "{", "{replicas: 5, ", 1), "")), "3 replicas", "cluster.replicas is 5")

	alone := c.write("alone", "node: {name: n9, data: n9}\nhttp: {listen: 127.0.0.1:0}\n")
	n := start(t, alone)
	n.wait("it serves", 20*time.Second, func() error {
		if !strings.Contains(n.log.String(), "msg=serving") {
			return errors.New("not yet")
		}
		return nil
	})
	if err := n.stop(20 * time.Second); err != nil {
		t.Fatal(err)
	}
	before := files(t, filepath.Join(filepath.Dir(alone), "n9"))
	c.refuses("a folder of a node alone", c.write("grown", node("n9", section("test", clusterSecret), "")), "node without a cluster", "millrace cluster grow")
	if after := files(t, filepath.Join(filepath.Dir(alone), "n9")); !slices.Equal(before, after) {
		t.Errorf("the refused start changed the folder:\n%q\n%q", before, after)
	}
	if err := c.nodes[2].stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.refuses("a folder of the cluster's, alone", c.write("left", "node: {name: n2, data: n2}\nhttp: {listen: 127.0.0.1:0}\n"), "node n2 of the cluster test")
	c.refuses("another node's folder", c.write("renamed", strings.Replace(node("n7", section("test", clusterSecret), ""), "data: n7", "data: n2", 1)), "node n2 of the cluster test")
	c.nodes[2] = start(t, c.configs[2])
	for i := range c.nodes {
		c.ready(i)
		load.put(i, fmt.Sprint("after", i))
		entries, err := load.entries(c.bases[i], "digits")
		if err != nil {
			t.Fatal(err)
		}
		for key, rev := range load.snapshot() {
			if entries[key].Revision != rev {
				t.Errorf("node %d has %+v of %s, which was put at %d", i, entries[key], key, rev)
			}
		}
	}
	if n := load.count(); n != 4 {
		t.Errorf("%d of 4 puts were acknowledged", n)
	}
}

// create makes a cache.
func create(t *testing.T, base, name string) {
	t.Helper()
	resp, err := http.Post(base+"/rest/v2/caches/"+name, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		body, _ := io.ReadAll(resp.Body)
		t.Fatalf("create %s: status %d: %s", name, resp.StatusCode, body)
	}
}

// files lists what is in a folder, with sizes.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			out = append(out, fmt.Sprint(path, " ", info.Size()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
