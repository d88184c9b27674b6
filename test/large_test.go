package test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const (
	largeValue   = 64 << 10
	largeClients = 4
	// largeLimit is GOMEMLIMIT, and largeMemory what the process may have at most: Go's limit is one for its own heap, and the disk
	// store has its buffers beside it.
	largeLimit  = 256 << 20
	largeMemory = largeLimit + 64<<20
	// largeCache is the cache's own limit.
	largeCache = 64 << 20
)

// TestLargerThanMemory puts much more into a node than it may have in memory, reads some of it meanwhile, and finds all of it afterwards, also after a
// restart. (Invariants 1, 2 and 9.)
func TestLargerThanMemory(t *testing.T) {
	dir := t.TempDir()
	// The store has all of it, the stream what is on the way, and files that were compacted go a little later.
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if free := int64(disk.Bavail) * disk.Bsize; free < 2*largeBytes+2<<30 {
		t.Skipf("the disk of %s has %d MiB left, and this takes up to %d: set TMPDIR to a folder with more", dir, free>>20, (2*largeBytes+2<<30)>>20)
	}
	t.Setenv("GOMEMLIMIT", strconv.Itoa(largeLimit))
	addr := address(t)
	config := filepath.Join(dir, "millrace.yaml")
	text := fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
stores: {cold: {type: disk, dir: %s}}
caches: {large: {max_bytes: %d, store: cold}}
`, filepath.Join(dir, "data"), addr, filepath.Join(dir, "cold"), largeCache)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &largeLoad{base: "http://" + addr + "/rest/v2/caches/large"}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	n := start(t, config)
	n.ready("http://" + addr)
	began := time.Now()
	stop := l.watch(t, n)
	if err := l.write(seed); err != nil {
		t.Fatalf("%v\n%s", err, tail(n.log.String()))
	}
	took := time.Since(began)
	n.wait("the store has everything", time.Minute, func() error {
		stats, err := l.stats()
		if err == nil && stats.LagEntries > 0 {
			err = fmt.Errorf("%+v", stats)
		}
		return err
	})
	t.Logf("%d entries of %d KiB in %v, %.1f MB/s; the longest put took %v, the longest get %v, %d puts were refused for a while", largeEntries, largeValue>>10,
		took.Round(time.Second), largeBytes/1e6/took.Seconds(), time.Duration(l.put.Load()), time.Duration(l.got.Load()), l.refused.Load())
	l.check(n, rand.New(rand.NewPCG(seed, 1)))
	stop()
	n.kill()
	n = start(t, config)
	n.wait("ready", time.Minute, func() error { return l.readiness("http://" + addr) })
	stop = l.watch(t, n)
	l.check(n, rand.New(rand.NewPCG(seed, 2)))
	stop()
}

const largeEntries = largeBytes / largeValue

// largeLoad puts entries whose values tell their numbers, and reads them.
type largeLoad struct {
	base     string
	next     atomic.Int64
	put, got atomic.Int64 // the longest, in nanoseconds
	refused  atomic.Int64
}

// largeOf is the value of an entry: bytes that cannot be compressed.
func largeOf(i int) []byte {
	random := rand.New(rand.NewPCG(uint64(i), 5))
	b := make([]byte, largeValue)
	for at := 0; at < len(b); at += 8 {
		bits := random.Uint64()
		for k := range 8 {
			b[at+k] = byte(bits >> (8 * k))
		}
	}
	return b
}

// write puts all entries, and reads one of its own after each eighth.
func (l *largeLoad) write(seed uint64) error {
	var group errgroup.Group
	for client := range largeClients {
		random := rand.New(rand.NewPCG(seed, uint64(client)+10))
		group.Go(func() error {
			var own []int
			for {
				i := int(l.next.Add(1)) - 1
				if i >= largeEntries {
					return nil
				}
				if err := l.putOne(i); err != nil {
					return err
				}
				own = append(own, i)
				if len(own)%8 != 0 {
					continue
				}
				if err := l.getOne(own[random.IntN(len(own))]); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

func longest(of *atomic.Int64, took time.Duration) {
	for {
		old := of.Load()
		if int64(took) <= old || of.CompareAndSwap(old, int64(took)) {
			return
		}
	}
}

func (l *largeLoad) putOne(i int) error {
	began := time.Now()
	defer func() { longest(&l.put, time.Since(began)) }()
	value := largeOf(i)
	for {
		req, err := http.NewRequest(http.MethodPut, fmt.Sprint(l.base, "/", i), bytes.NewReader(value))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusNoContent:
			return nil
		case resp.StatusCode != http.StatusInsufficientStorage:
			return fmt.Errorf("put %d: status %d: %s", i, resp.StatusCode, body)
		case time.Since(began) > time.Minute:
			return fmt.Errorf("put %d: refused for a minute: %s", i, body)
		}
		l.refused.Add(1)
	}
}

func (l *largeLoad) getOne(i int) error {
	began := time.Now()
	resp, err := http.Get(fmt.Sprint(l.base, "/", i))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	longest(&l.got, time.Since(began))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !bytes.Equal(body, largeOf(i)) {
		return fmt.Errorf("get %d: status %d, %d bytes that are not those that were put: %.100q", i, resp.StatusCode, len(body), body)
	}
	return nil
}

func (l *largeLoad) stats() (coldStats, error) { return coldStatsOf(l.base) }

func (l *largeLoad) readiness(base string) error {
	resp, err := http.Get(base + "/v2/health/ready")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %s", resp.Status)
	}
	return nil
}

// check counts the entries and compares a few thousand of them.
func (l *largeLoad) check(n *node, random *rand.Rand) {
	n.t.Helper()
	stats, err := l.stats()
	if err != nil {
		n.t.Fatal(err)
	}
	if stats.Entries != largeEntries || stats.InMemory*largeValue > largeCache {
		n.t.Errorf("%+v, want %d entries, and at most %d of them in memory", stats, largeEntries, largeCache/largeValue)
	}
	for range min(largeEntries, 3000) {
		if err := l.getOne(random.IntN(largeEntries)); err != nil {
			n.t.Fatalf("%v\n%s", err, tail(n.log.String()))
		}
	}
}

// watch looks at the process's memory until stop is called.
func (l *largeLoad) watch(t *testing.T, n *node) (stop func()) {
	t.Helper()
	pid := n.cmd.Process.Pid
	end := make(chan struct{})
	var most int64
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		last := time.Now()
		for {
			size, err := residentBytes(pid)
			if err != nil {
				t.Errorf("the process's memory: %v", err)
				return
			}
			most = max(most, size)
			if time.Since(last) > 30*time.Second {
				last = time.Now()
				t.Logf("%d entries, %d MiB", l.next.Load(), size>>20)
			}
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	})
	return func() {
		close(end)
		watching.Wait()
		t.Logf("the process had %d MiB at most", most>>20)
		if most > largeMemory {
			t.Errorf("the process had %d MiB, of at most %d", most>>20, largeMemory>>20)
		}
	}
}

// residentBytes is what a process has in memory that is not a file's.
func residentBytes(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("the system does not tell it")
}
