package grid_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// waiting are the nodes of a cluster that is to take a grid over, while they are being opened.
type waiting struct {
	t       testing.TB
	configs []grid.Config
	nodes   []*grid.Grid
	opening errgroup.Group

	mu  sync.Mutex
	all []*grid.Intake // nil for a node that is not there
}

func openWaiting(t testing.TB, n int) *waiting {
	t.Helper()
	w := &waiting{t: t, configs: clusterConfigs(t, n), nodes: make([]*grid.Grid, n), all: make([]*grid.Intake, n)}
	for i := range w.configs {
		w.configs[i].Partitions = 0
		c := w.configs[i].Cluster
		c.Grow = true
		c.Intake = func(in *grid.Intake) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.all[i] = in
		}
		w.opening.Go(func() (err error) {
			w.nodes[i], err = grid.Open(t.Context(), w.configs[i])
			return err
		})
	}
	t.Cleanup(func() {
		for _, g := range w.nodes {
			if g != nil {
				closeGrid(t, g)
			}
		}
	})
	eventually(t, "the cluster waits", func() bool { return w.intake() != nil })
	return w
}

func closeGrid(t testing.TB, g *grid.Grid) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := g.Close(ctx); err != nil {
		t.Error(err)
	}
}

// intake is that of any node.
func (w *waiting) intake() *grid.Intake {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, in := range w.all {
		if in != nil {
			return in
		}
	}
	return nil
}

func (w *waiting) growing() grid.Growing {
	in := w.intake()
	return grid.Growing{Offer: in.Offer(), Dial: func(ctx context.Context) (io.ReadWriteCloser, error) { return w.intake().Dial(ctx) }}
}

func (w *waiting) opened() []*grid.Grid {
	w.t.Helper()
	if err := w.opening.Wait(); err != nil {
		w.t.Fatal(err)
	}
	return w.nodes
}

// TestGrowHold: a growth holds writes for no longer than it is told, tries again as long as that is too short, and goes on as before where it is given up; with more time it comes to its end.
func TestGrowHold(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of one process are slow under the race detector")
	}
	t.Parallel()
	old, err := grid.Open(t.Context(), grid.Config{Dir: filepath.Join(t.TempDir(), "alone"), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGrid(t, old) })
	c := cache(t, old, grid.CacheConfig{Name: "c"})
	put(t, c, "k", "before")
	w := openWaiting(t, 3)
	short, cancel := context.WithCancel(t.Context())
	defer cancel()
	growing, tries := w.growing(), 0
	growing.Hold = time.Nanosecond
	growing.Progress = func(p grid.GrowProgress) {
		if p.Step == grid.GrowSwitching && p.Reason != "" {
			if tries++; tries == 1 && !strings.Contains(p.Reason, "deadline exceeded") {
				t.Errorf("it waits because %s", p.Reason)
			}
			cancel()
		}
	}
	if err := old.Grow(short, growing); !errors.Is(err, context.Canceled) || tries == 0 {
		t.Fatalf("a growth that may hold writes for a nanosecond: %v after %d tries", err, tries)
	}
	put(t, c, "k", "between")
	growing = w.growing()
	growing.Hold = time.Minute
	if err := old.Grow(t.Context(), growing); err != nil {
		t.Fatal(err)
	}
	got, err := w.opened()[0].Cache(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	if e, err := got.Get(t.Context(), "k"); err != nil || string(e.Value) != "between" {
		t.Errorf("the cluster has %q, %v", e.Value, err)
	}
}

// TestGrow: what a node alone has is in the cluster, at its revision, with what was written meanwhile; nothing that was removed comes back; lists, listeners
// and readers go on where they were; the node that it came from is a door.
func TestGrow(t *testing.T) {
	if testing.Short() {
		t.Skip("five nodes of one process are too slow under the race detector for writers that wait 5 s")
	}
	t.Parallel()
	ctx := t.Context()
	old, err := grid.Open(ctx, grid.Config{Dir: filepath.Join(t.TempDir(), "alone"), Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGrid(t, old) })
	caches := map[string]*grid.Cache{}
	for _, c := range []grid.CacheConfig{{Name: "d"}, {Name: "v", Class: grid.Volatile}} {
		if err := old.CreateCache(ctx, c); err != nil {
			t.Fatal(err)
		}
		if caches[c.Name], err = old.Cache(ctx, c.Name); err != nil {
			t.Fatal(err)
		}
	}
	revs := map[string]grid.Revision{}
	for i := range 2000 {
		for name, c := range caches {
			revs[fmt.Sprint(name, "/k", i%500)] = put(t, c, fmt.Sprint("k", i%500), fmt.Sprint(i))
		}
	}
	for i := range 100 {
		for name, c := range caches {
			if _, err := c.Delete(ctx, fmt.Sprint("k", i), grid.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			delete(revs, fmt.Sprint(name, "/k", i))
		}
	}
	kept := maps.Clone(revs)
	w := openWaiting(t, 3)

	// Writes and reads go on.
	stop := make(chan struct{})
	var load errgroup.Group
	var mu sync.Mutex
	var writeGap, readGap time.Duration
	for n := range 4 {
		load.Go(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				for name, c := range caches {
					key := fmt.Sprint("w", n, "-", i%50)
					began := time.Now()
					rev, err := c.Put(ctx, key, fmt.Append(nil, i), grid.PutOptions{})
					if err != nil {
						return fmt.Errorf("put: %w", err)
					}
					mu.Lock()
					writeGap = max(writeGap, time.Since(began))
					if was := revs[name+"/"+key]; was >= rev {
						t.Errorf("%s had revision %d before %d", key, was, rev)
					}
					revs[name+"/"+key] = rev
					mu.Unlock()
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	for reader := range 4 {
		load.Go(func() error {
			for i := reader * 100; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				for name, c := range caches {
					key := fmt.Sprint("k", 100+i%400)
					began := time.Now()
					e, err := c.Get(ctx, key)
					if err != nil || e.Revision != kept[name+"/"+key] {
						return fmt.Errorf("get %s: %+v, %w", key, e, err)
					}
					mu.Lock()
					readGap = max(readGap, time.Since(began))
					mu.Unlock()
				}
			}
		})
	}
	growing := w.growing()
	var progress grid.GrowProgress
	began := time.Now()
	growing.Progress = func(p grid.GrowProgress) {
		progress = p
	}
	if err := old.Grow(ctx, growing); err != nil {
		t.Fatal(err)
	}
	t.Logf("grown in %v, writes held for %v", time.Since(began), progress.Pause)
	time.Sleep(500 * time.Millisecond)
	close(stop)
	if err := load.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("longest put %v, longest get %v", writeGap, readGap)
	if progress.Pause <= 0 || progress.Pause > 4*time.Second { // 0.1 to 0.2 s on a machine that has the time
		t.Errorf("writes were held for %v", progress.Pause)
	}
	for n, g := range append(w.opened(), old) {
		for name := range caches {
			c, err := g.Cache(ctx, name)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]grid.Revision{}
			for e, err := range c.List(ctx, grid.ListOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				got[name+"/"+e.Key] = e.Revision
			}
			for key, rev := range revs {
				if key[:2] == name+"/" && got[key] != rev {
					t.Errorf("node %d: %s has revision %d, not %d", n, key, got[key], rev)
				}
			}
			for key := range got {
				if revs[key] == 0 {
					t.Errorf("node %d: %s is there", n, key)
				}
			}
			if _, err := c.Get(ctx, "k5"); !errors.Is(err, grid.ErrNotFound) {
				t.Errorf("node %d: a removed key: %v", n, err)
			}
		}
	}
}

// TestGrowClosedUndecided: a node that is closed while it does not know whether the cluster has taken its grid ends, and its next start asks.
func TestGrowClosedUndecided(t *testing.T) {
	if testing.Short() {
		t.Skip("four nodes of one process are slow under the race detector")
	}
	t.Parallel()
	cfg := grid.Config{Dir: filepath.Join(t.TempDir(), "alone"), Partitions: 1}
	old, err := grid.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	w := openWaiting(t, 3)
	growing := w.growing()
	cut := &cut{after: []byte(`promote"`), done: make(chan struct{})}
	growing.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		if isClosed(cut.done) {
			return nil, errors.New("the network is cut")
		}
		conn, err := w.intake().Dial(ctx)
		if err != nil {
			return nil, err
		}
		return &cutConn{Conn: conn, cut: cut}, nil
	}
	grown := make(chan error, 1)
	go func() { grown <- old.Grow(t.Context(), growing) }()
	select {
	case <-cut.done:
	case err := <-grown:
		t.Fatalf("it ended before the decision: %v", err)
	}
	closeGrid(t, old)
	if err := <-grown; !errors.Is(err, grid.ErrClosed) {
		t.Errorf("grow: %v", err)
	}
	asked := 0
	cfg.Resolve = func(ctx context.Context, g grid.Given) (bool, error) {
		asked++
		return w.intake().Withdraw(ctx, g.Source, g.Node)
	}
	w.opened() // the cluster has it
	if g, err := grid.Open(t.Context(), cfg); !errors.Is(err, grid.ErrConfig) || asked != 1 {
		t.Errorf("the folder is opened with %v, and the cluster was asked %d times", err, asked)
		if g != nil {
			closeGrid(t, g)
		}
	}
}

// cut is a network that takes nothing more once it has taken some words.
type cut struct {
	after []byte
	once  sync.Once
	done  chan struct{}
}

type cutConn struct {
	net.Conn
	cut  *cut
	tail []byte // of what was written
}

func (c *cutConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.tail = append(c.tail, p[:n]...)
	if bytes.Contains(c.tail, c.cut.after) {
		c.cut.once.Do(func() { close(c.cut.done) })
	}
	c.tail = c.tail[max(0, len(c.tail)-len(c.cut.after)):]
	return n, err
}

// Read has nothing of what comes after the words.
func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if isClosed(c.cut.done) {
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return n, err
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// deafConn is a way to the cluster that ends as soon as a mirror asks for its stream, which nobody hears then.
type deafConn struct {
	net.Conn
	asked func()
}

func (c *deafConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes.Contains(p[:n], []byte("CONSUMER.CREATE.")) {
		c.asked()
		return 0, errors.Join(net.ErrClosed, c.Close())
	}
	return n, err
}

// TestGrowAgain: what is interrupted while the cluster copies, and begun again, ends with replicas that are alike and can be read whole, each of them. It does not
// wait for the servers to give up the questions of their mirrors that were lost with the first way, which takes them 40 s.
func TestGrowAgain(t *testing.T) {
	if testing.Short() {
		t.Skip("as TestGrow")
	}
	t.Parallel()
	ctx := t.Context()
	old, err := grid.Open(ctx, grid.Config{Dir: filepath.Join(t.TempDir(), "alone"), Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeGrid(t, old) })
	for _, c := range []grid.CacheConfig{{Name: "d"}, {Name: "v", Class: grid.Volatile}} {
		if err := old.CreateCache(ctx, c); err != nil {
			t.Fatal(err)
		}
		cache, err := old.Cache(ctx, c.Name)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			put(t, cache, fmt.Sprint("k", i), fmt.Sprint(i))
		}
	}
	w := openWaiting(t, 3)
	interrupted, interrupt := context.WithCancel(ctx)
	growing := w.growing()
	growing.Dial = func(ctx context.Context) (io.ReadWriteCloser, error) {
		if interrupted.Err() != nil {
			return nil, errors.New("the network is cut")
		}
		conn, err := w.intake().Dial(ctx)
		if err != nil {
			return nil, err
		}
		return &deafConn{Conn: conn, asked: interrupt}, nil
	}
	if err := old.Grow(interrupted, growing); err == nil {
		t.Fatal("it was not interrupted")
	}
	again, cancel := context.WithTimeout(ctx, 35*time.Second)
	defer cancel()
	began := time.Now()
	if err := old.Grow(again, w.growing()); err != nil {
		t.Fatalf("after %v: %v", time.Since(began), err)
	}
	t.Logf("begun again it took %v", time.Since(began))
	nodes := w.opened()
	var diff string
	eventually(t, "the replicas are alike", func() bool {
		want := grid.Replicas(t, nodes[0])
		for _, g := range nodes[1:] {
			if diff = cmp.Diff(want, grid.Replicas(t, g)); diff != "" {
				return false
			}
		}
		return true
	})
	for _, g := range nodes {
		for number := range 8 {
			for _, class := range g.Classes() {
				for range 3 { // its reader is on any node
					reading, cancel := context.WithTimeout(ctx, time.Minute)
					if _, err := g.Dump(reading, class, number, grid.DumpOptions{}, func(grid.Kept) error { return nil }); err != nil {
						t.Errorf("%v", err)
					}
					cancel()
				}
			}
		}
	}
}
