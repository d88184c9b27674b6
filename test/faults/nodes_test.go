//go:build linux

package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/cluster"
	"github.com/millrace/millrace/internal/client"
)

const (
	// members are the nodes that are there from the beginning, and clients ask. One more has its network and disk, and joins when a fault has it join.
	members = 3
	// partitions of the grid in each class.
	partitions = 8
	// diskBytes is what a node's disk has.
	diskBytes = 512 << 20
	httpPort  = 8080
	// startLimit is how long a node may take to be ready, with a cluster that has elections to do.
	startLimit = 90 * time.Second
)

// configuration is a node's; what all have alike, the caches with what is put into them and the pipeline, is in each.
const configuration = `node: {name: %[1]s, data: %[2]q}
http: {listen: "%[3]s:%[5]d", insecure: true, debug: true}
log: {level: debug}
cluster: {name: faults, listen: "%[3]s:7070", seeds: ["%[4]s:7070"], secret: "a secret of the tests"}
grid: {partitions: %[6]d}
caches:
  registers: {consistency: leader}
  notes: {}
  digits: {}
  predictions: {}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`

// nodes are the processes of a cluster.
type nodes struct {
	t       *testing.T
	network *network
	dir     string
	binary  string
	all     []*node
}

// node is one process, with a disk and a network of its own. The test's goroutine alone starts and ends it.
type node struct {
	name   string
	config string
	disk   string
	client *client.Client

	cmd   *exec.Cmd // nil while it is down
	lives atomic.Int64
	log   *lockedBuffer
	done  chan error
}

// lockedBuffer keeps what a process prints.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

// tail is what it printed last beside requests.
func (b *lockedBuffer) tail() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := strings.Split(b.buf.String(), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return strings.Contains(line, "msg=request") })
	return strings.Join(lines[max(0, len(lines)-12):], "\n")
}

// newNodes makes the disks and configurations of a cluster, and of the node that may join; start starts them.
func newNodes(t *testing.T, binary string) *nodes {
	t.Helper()
	n := &nodes{t: t, network: newNetwork(t, members+1), dir: t.TempDir(), binary: binary}
	t.Cleanup(n.close)
	for i := range members + 1 {
		x := &node{name: fmt.Sprintf("n%d", i), log: &lockedBuffer{}}
		x.disk = filepath.Join(n.dir, x.name)
		x.config = x.disk + ".yaml"
		if err := os.Mkdir(x.disk, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := x.mount(); err != nil {
			t.Fatal(err)
		}
		// The first node is the seed of all but itself: others know each other from it alone.
		seed := n.network.addr(0)
		if i == 0 {
			seed = n.network.addr(1)
		}
		text := fmt.Sprintf(configuration, x.name, filepath.Join(x.disk, "data"), n.network.addr(i), seed, httpPort, partitions)
		if err := os.WriteFile(x.config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		var err error
		if x.client, err = client.New(client.Config{Server: n.base(i)}); err != nil {
			t.Fatal(err)
		}
		n.all = append(n.all, x)
	}
	return n
}

// mount gives a node an empty disk.
func (x *node) mount() error {
	if err := unix.Mount("millrace-faults", x.disk, "tmpfs", 0, fmt.Sprintf("size=%d", diskBytes)); err != nil {
		return fmt.Errorf("mount a disk for %s: %w", x.name, err)
	}
	return nil
}

// unmount loses what is on it.
func (x *node) unmount() error {
	if err := unix.Unmount(x.disk, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the disk of %s: %w", x.name, err)
	}
	return nil
}

func (n *nodes) base(i int) string { return fmt.Sprintf("http://%s:%d", n.network.addr(i), httpPort) }

// start runs a node's process and returns at once.
func (n *nodes) start(i int) error { return n.startWith(i, n.binary) }

func (n *nodes) startWith(i int, binary string, env ...string) error {
	x := n.all[i]
	if x.cmd != nil {
		return fmt.Errorf("%s runs already", x.name)
	}
	// nsenter becomes the program, so that the process is the one that signals reach.
	cmd := exec.Command("nsenter", "--net=/run/netns/"+n.network.namespace(i), binary, "serve", "-c", x.config)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = x.log, x.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", x.name, err)
	}
	x.cmd, x.done = cmd, make(chan error, 1)
	x.lives.Add(1)
	go func(done chan error) { done <- cmd.Wait() }(x.done)
	return nil
}

// signal sends a process a signal.
func (n *nodes) signal(i int, s syscall.Signal) error {
	x := n.all[i]
	if x.cmd == nil {
		return fmt.Errorf("%s is down", x.name)
	}
	return x.cmd.Process.Signal(s)
}

// end ends a process with a signal and waits until it is gone. For one that has ended by itself it returns os.ErrProcessDone, and the node is down.
func (n *nodes) end(i int, s syscall.Signal) error {
	x := n.all[i]
	sent := n.signal(i, s)
	if sent != nil && !errors.Is(sent, os.ErrProcessDone) {
		return sent
	}
	select {
	case exit := <-x.done:
		how := x.cmd.ProcessState
		x.cmd = nil
		switch {
		case sent != nil:
			return fmt.Errorf("%s ended by itself (%v): %w", x.name, how, sent)
		case s == syscall.SIGTERM && exit != nil:
			return fmt.Errorf("%s stops with %w", x.name, exit)
		}
		return nil
	case <-time.After(startLimit):
		return fmt.Errorf("%s goes on for more than %v after %v", x.name, startLimit, s)
	}
}

// TestEndOfTheDead: a node that ended by itself is told of, and can be started again.
func TestEndOfTheDead(t *testing.T) {
	x := &node{name: "n0", cmd: exec.Command("false"), done: make(chan error, 1)}
	x.done <- x.cmd.Run()
	n := &nodes{t: t, all: []*node{x}}
	if err := n.end(0, syscall.SIGKILL); !errors.Is(err, os.ErrProcessDone) || !strings.Contains(err.Error(), "n0 ended by itself (exit status 1)") {
		t.Error(err)
	}
	if up := n.running(); len(up) != 0 {
		t.Errorf("%v run", up)
	}
}

// died returns what processes ended by themselves.
func (n *nodes) died() (err error) {
	for _, x := range n.all {
		if x.cmd != nil {
			select {
			case exit := <-x.done:
				x.done <- exit
				if exit == nil {
					exit = errors.New("exit status 0")
				}
				err = errors.Join(err, fmt.Errorf("%s ended by itself: %w\n%s", x.name, exit, x.log.tail()))
			default:
			}
		}
	}
	return err
}

// running are the numbers of the nodes that have a process.
func (n *nodes) running() (up []int) {
	for i, x := range n.all {
		if x.cmd != nil {
			up = append(up, i)
		}
	}
	return up
}

// status asks a node for the cluster.
func (n *nodes) status(i int) (cluster.Status, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	defer cancel()
	return n.all[i].client.Cluster(ctx)
}

// whole returns what is not as it should be when the cluster has nothing left to do: each running node takes traffic and is there for the others, and each partition has a leader
// that owns it, and replicas that follow it.
func (n *nodes) whole() error {
	if err := n.died(); err != nil {
		return err
	}
	up := n.running()
	for _, i := range up {
		ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
		err := n.all[i].client.Ready(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("%s is not ready: %w", n.all[i].name, err)
		}
	}
	for _, i := range up {
		s, err := n.status(i)
		if err != nil {
			return fmt.Errorf("%s: %w", n.all[i].name, err)
		}
		if len(s.Partitions) == 0 {
			return fmt.Errorf("%s knows of no partitions", n.all[i].name)
		}
		for _, p := range s.Partitions {
			if p.Leader == "" || p.Leader != p.Owner || p.Error != "" {
				return fmt.Errorf("%s: %s partition %d is led by %q and owned by %q: %s", n.all[i].name, p.Class, p.Partition, p.Leader, p.Owner, p.Error)
			}
			if k := slices.IndexFunc(p.Replicas, func(r cluster.Replica) bool { return !follows(r) }); k >= 0 {
				return fmt.Errorf("%s: %s partition %d has the replica %+v", n.all[i].name, p.Class, p.Partition, p.Replicas[k])
			}
		}
	}
	return nil
}

// underWay is how many operations a replica may be behind under load: each is behind by those that are on their way to it.
const underWay = 20

// follows reports whether a replica has all that is not on its way to it. One of which the leader has heard nothing is behind, by nobody knows how much.
func follows(r cluster.Replica) bool {
	return r.State == "current" || r.State == "behind" && r.Lag > 0 && r.Lag <= underWay
}

// longAgo is after what time it is told what a cluster that was to be whole waited for last.
const longAgo = 5 * time.Second

// settle waits until the cluster is whole, and says how long that took.
func (n *nodes) settle(limit time.Duration) (time.Duration, error) {
	began := time.Now()
	var last error
	look := func() error {
		err := n.whole()
		if err == nil && last != nil && time.Since(began) > longAgo {
			n.t.Logf("  last it waited for this: %v", last)
		}
		last = err
		return err
	}
	if err := until(n.t.Context(), limit, look); err != nil {
		return 0, fmt.Errorf("the cluster is not whole after %v: %w%s", limit, err, n.tails())
	}
	return time.Since(began), nil
}

// leader is the number of the node that leads a durable partition.
func (n *nodes) leader(partition int) (int, error) {
	for _, i := range n.running() {
		s, err := n.status(i)
		if err != nil {
			continue
		}
		for _, p := range s.Partitions {
			if p.Class == "durable" && p.Partition == partition && p.Leader != "" {
				if k := slices.IndexFunc(n.all, func(x *node) bool { return x.name == p.Leader }); k >= 0 {
					return k, nil
				}
			}
		}
	}
	return 0, fmt.Errorf("nobody says who leads partition %d", partition)
}

// keep writes the nodes' logs and what their goroutines do to a folder, for whoever looks for the cause of a violation.
func (n *nodes) keep(dir, prefix string) error {
	var all error
	for i, x := range n.all {
		x.log.mu.Lock()
		all = errors.Join(all, os.WriteFile(filepath.Join(dir, prefix+"-"+x.name+".log"), x.log.buf.Bytes(), 0o600))
		x.log.mu.Unlock()
		ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
		if err := n.profile(ctx, i, filepath.Join(dir, prefix+"-"+x.name+".goroutines")); err != nil {
			n.t.Logf("what %s does: %v", x.name, err) // it may be down
		}
		cancel()
	}
	return all
}

func (n *nodes) profile(ctx context.Context, i int, path string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.base(i)+"/debug/pprof/goroutine?debug=2", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

func (n *nodes) tails() string {
	var b strings.Builder
	for _, x := range n.all {
		fmt.Fprintf(&b, "\n--- the log of %s ends\n%s", x.name, x.log.tail())
	}
	return b.String()
}

// fill leaves a node's disk no room; the function that it returns gives it back.
func (n *nodes) fill(i int) (func() error, error) {
	path := filepath.Join(n.all[i].disk, "ballast")
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	block := make([]byte, 1<<20)
	for err == nil {
		_, err = f.Write(block)
		if err != nil && len(block) > 4096 {
			block, err = block[:4096], nil
		}
	}
	if err = errors.Join(onlyFull(err), f.Close()); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(path) }, nil
}

func onlyFull(err error) error {
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

func (n *nodes) close() {
	for i, x := range n.all {
		x.client.Close()
		if x.cmd != nil {
			if err := n.end(i, syscall.SIGKILL); err != nil {
				n.t.Error(err)
			}
		}
		if err := x.unmount(); err != nil {
			n.t.Error(err)
		}
	}
}
