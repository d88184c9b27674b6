//go:build ceph

package test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// outageLag is how many entries may wait for the store, and outageMemory how many may be in memory: more, so that it is the store's limit
	// that is met.
	outageLag, outageMemory = 150, 600
	// outageWait bounds how long any request may take while the store is away: a put waits for 2 s, and a get of a cold entry has the grid's 5 s.
	outageWait = 8 * time.Second
	// outageStop bounds an orderly stop while the store is away.
	outageStop = 20 * time.Second
)

// TestCephOutage holds invariants 1 to 4 while all object stores are away under load, killed and then stopped where they are: puts go on until
// so many wait for the store, then wait themselves, then fail with 507; what is in memory is read; what is in the store alone is
// not to be had, and says so. Afterwards everything is as it was acknowledged.
func TestCephOutage(t *testing.T) {
	ceph := withCeph(t)
	o := newOutage(t, fmt.Sprintf(`stores: {cold: %s}
caches: {digits: {max_entries: %d, store: cold}, predictions: {max_entries: 100, store: cold}}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, ceph.store(fmt.Sprintf(", max_lag_entries: %d", outageLag)), outageMemory), 24)
	o.fill()
	if s := o.load.stats(t); s.Cold < 200 {
		t.Fatalf("%+v: too few are cold", s)
	}
	back := func() { ceph.do("await", "3") }
	quiet := o.goroutines()
	for last := quiet + 1; quiet < last; { // connections of before end late
		time.Sleep(time.Second)
		last, quiet = quiet, o.goroutines()
	}
	t.Run("killed", func(t *testing.T) {
		o.during(t, func() { ceph.each("kill") }, func() { ceph.each("revive"); back() })
		o.settles(t, quiet)
	})
	t.Run("stopped", func(t *testing.T) {
		o.during(t, func() { ceph.each("pause") }, func() { ceph.each("resume"); back() })
		o.settles(t, quiet)
	})
	t.Run("stop of the node", func(t *testing.T) {
		o.load.away.Store(true)
		defer o.load.away.Store(false)
		ceph.each("pause")
		defer func() { ceph.each("resume"); back() }()
		before := o.load.counted().refused
		stop := o.load.start(1)
		o.refused(before + 1)
		began := time.Now()
		if err := o.node.stop(outageStop); err != nil {
			t.Errorf("the node was told to stop while its store was away: %v after %v", err, time.Since(began))
		}
		t.Logf("the node stopped in %v", time.Since(began).Round(time.Millisecond))
		o.node.kill()
		stop()
	})
	o.run()
	o.load.check(o.node)
	o.load.caughtUp(o.node, time.Minute)
	o.load.results(o.node, 2*time.Minute)
}

// outage is a node whose store goes away.
type outage struct {
	t      *testing.T
	config string
	node   *node
	load   *coldLoad
}

// newOutage starts a node with a configuration that it completes, and makes a load of so many clients.
func newOutage(t *testing.T, config string, clients int) *outage {
	t.Helper()
	dir, addr := t.TempDir(), address(t)
	o := &outage{t: t, config: filepath.Join(dir, "millrace.yaml"), load: newColdLoad("http://"+addr, clients, 40)}
	text := fmt.Sprintf("node: {data: %s}\nhttp: {listen: %q, debug: true}\n%s", filepath.Join(dir, "data"), addr, config)
	if err := os.WriteFile(o.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	o.run()
	return o
}

func (o *outage) run() {
	o.t.Helper()
	o.node = start(o.t, o.config)
	o.node.ready(o.load.base)
}

// fill puts every key, and waits until the store has them.
func (o *outage) fill() {
	o.t.Helper()
	err := o.load.each(func(c *coldClient) error {
		for i := range c.many {
			for k := c.key(i); c.keys[k] == nil || c.keys[k].state == 0; { // a put is refused where the store is slow
				if err := c.put(k); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		o.t.Fatal(err)
	}
	o.load.caughtUp(o.node, time.Minute)
}

// during has the store away under load.
func (o *outage) during(t *testing.T, away, back func()) {
	l := o.load
	stopReading := o.readHot(t)
	defer stopReading()
	l.away.Store(true)
	away()
	gone, before := time.Now(), l.counted()
	stop := l.start(uint64(gone.UnixNano()))
	o.refused(before.refused + 10)
	o.readCold(t)
	if left := outageAtLeast - time.Since(gone); left > 0 {
		<-time.After(left) // the outage's length is what the long form is about
	}
	now := l.counted()
	t.Logf("away for %v: %d writes went on, %d puts were refused; the longest took %v: %s", time.Since(gone).Round(time.Second),
		now.done-before.done, now.refused-before.refused, now.longest.Round(time.Millisecond), now.refusal)
	if now.done-before.done < outageLag/2 {
		t.Errorf("only %d writes went on, and %d entries may wait for the store", now.done-before.done, outageLag)
	}
	if now.longest > outageWait {
		t.Errorf("a write took %v", now.longest)
	}
	if s := l.stats(t); s.InMemory > outageMemory || s.LagEntries < outageLag/2 {
		t.Errorf("%+v", s)
	}
	back()
	returned := time.Now()
	o.goesOn(outageLag)
	stop()
	l.caughtUp(o.node, 2*time.Minute)
	t.Logf("the store had everything %v after it was back", time.Since(returned).Round(time.Millisecond))
	l.away.Store(false)
}

// refused waits until so many puts were.
func (o *outage) refused(want int) {
	o.t.Helper()
	o.node.wait("puts fail", time.Minute, func() error {
		if got := o.load.counted().refused; got < want {
			return fmt.Errorf("%d puts were refused, and it must be %d", got, want)
		}
		return nil
	})
}

// goesOn waits until so many more writes were done.
func (o *outage) goesOn(want int) {
	o.t.Helper()
	before := o.load.counted().done
	o.node.wait("writes go on", 2*time.Minute, func() error {
		if done := o.load.counted().done - before; done < want {
			return fmt.Errorf("%d were done", done)
		}
		return nil
	})
}

// readHot reads a few entries until the returned function is called: all of them are to be there, and soon.
func (o *outage) readHot(t *testing.T) (stop func()) {
	t.Helper()
	hot := &coldClient{l: o.load, id: len(o.load.clients), keys: map[string]*coldKey{}}
	for i := range 5 {
		if err := hot.put(hot.key(i)); err != nil {
			t.Fatal(err)
		}
	}
	var ended atomic.Bool
	var reading sync.WaitGroup
	reading.Go(func() {
		var longest time.Duration
		n := 0
		for ; !ended.Load(); time.Sleep(time.Millisecond) {
			for key, k := range hot.keys {
				began := time.Now()
				state, etag, err := o.load.get(key)
				if err != nil || !k.agrees(state, etag) {
					t.Errorf("%s, which is read all the time, has value %d: %v", key, state, err)
					return
				}
				longest = max(longest, time.Since(began))
				n++
			}
		}
		t.Logf("%d reads of hot entries, the longest took %v", n, longest.Round(time.Millisecond))
		if longest > 2*time.Second {
			t.Errorf("a read of a hot entry took %v", longest)
		}
	})
	return func() { ended.Store(true); reading.Wait() }
}

// readCold reads many entries, of which some are in the store alone: these are unavailable, before long.
func (o *outage) readCold(t *testing.T) {
	t.Helper()
	var unavailable atomic.Int64
	var gets sync.WaitGroup
	for i := range 5 * len(o.load.clients) {
		gets.Go(func() {
			began := time.Now()
			_, _, err := o.load.get(fmt.Sprintf("%d-%d", i%len(o.load.clients), i/len(o.load.clients)))
			switch took := time.Since(began); {
			case took > outageWait:
				t.Errorf("get: %v after %v", err, took)
			case errors.Is(err, errCold):
				if unavailable.Add(1) == 1 {
					t.Logf("after %v: %v", took.Round(time.Millisecond), err)
				}
				if !strings.Contains(err.Error(), "store") {
					t.Errorf("it does not say why: %v", err)
				}
			case err != nil:
				t.Error(err)
			}
		})
	}
	gets.Wait()
	if unavailable.Load() == 0 {
		t.Error("all was in memory")
	}
}

// settles holds that all is as before: every key is as it was acknowledged and has its result, and no more goroutines run.
func (o *outage) settles(t *testing.T, quiet int) {
	t.Helper()
	o.load.check(o.node)
	o.load.results(o.node, 2*time.Minute)
	o.node.wait("no goroutine is stuck", time.Minute, func() error {
		if n := o.goroutines(); n > quiet+5 {
			return fmt.Errorf("%d goroutines, and %d before", n, quiet)
		}
		return nil
	})
	t.Logf("%d goroutines, and %d before", o.goroutines(), quiet)
}

var total = regexp.MustCompile(`total (\d+)`)

// goroutines counts those of the node, without the ones of connections that nobody uses.
func (o *outage) goroutines() int {
	o.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	resp, err := http.Get(o.load.base + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	found := total.FindSubmatch(body)
	if err != nil || found == nil {
		o.t.Fatalf("goroutines: %v %.200s", err, body)
	}
	n, err := strconv.Atoi(string(found[1]))
	if err != nil {
		o.t.Fatal(err)
	}
	return n
}

// TestCephFull: a cluster without room refuses what is written; puts wait, then fail, and say why. Afterwards all is written.
func TestCephFull(t *testing.T) {
	ceph := withCeph(t)
	o := newOutage(t, fmt.Sprintf("stores: {cold: %s}\ncaches: {digits: {max_entries: 80, store: cold}}\n", ceph.store(", max_lag_entries: 50")), 4)
	l := o.load
	o.fill()
	ceph.do("full")
	full := true
	defer func() {
		if full {
			ceph.do("room")
		}
	}()
	before := l.counted()
	stop := l.start(uint64(time.Now().UnixNano()))
	o.node.wait("puts fail and say why", time.Minute, func() error {
		if now := l.counted(); now.refused == before.refused || !strings.Contains(now.refusal, "store is full") {
			return fmt.Errorf("%d puts were refused, the last one with %s", now.refused-before.refused, now.refusal)
		}
		return nil
	})
	now := l.counted()
	t.Logf("%d writes went on, %d puts were refused; the longest took %v: %s", now.done-before.done, now.refused-before.refused,
		now.longest.Round(time.Millisecond), now.refusal)
	if now.longest > outageWait {
		t.Errorf("a write took %v", now.longest)
	}
	ceph.do("room")
	full = false
	o.goesOn(100)
	stop()
	l.caughtUp(o.node, time.Minute)
	l.check(o.node)
}
