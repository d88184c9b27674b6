//go:build ceph

package test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
)

// clusterLag is how many entries of a cache may wait for the store on each node.
const clusterLag = 100

// TestCephCluster holds invariants 1 to 4 on three nodes with one store, whose caches have more than memory does, under a load of puts, gets of cold entries and removals. Owners are
// killed, one of them while the store is away and has not everything; a node stops in order; the store goes away; and at last all nodes are killed together. After each of these
// every key is as it was acknowledged, through every node, and the store has exactly that.
func TestCephCluster(t *testing.T) {
	cl := withCeph(t)
	t.Cleanup(func() { cl.each("resume") }) // where it fails while the store is away
	c := newColdCluster(t, cl)
	for round := range clusterRounds {
		began := time.Now()
		t.Logf("round %d", round)
		c.killed(2)
		c.away(cl, 0)
		c.stopped(1)
		if clusterRounds > 1 {
			c.away(cl, -1)
		}
		c.allKilled()
		t.Logf("round %d took %v", round, time.Since(began).Round(time.Second))
		if t.Failed() {
			return
		}
	}
}

// TestCephOtherStore: a node of a cluster whose file has another pool under the store's name is refused, and leaves nothing there; with the right pool it joins.
func TestCephOtherStore(t *testing.T) {
	cl := withCeph(t)
	store := cl.store("")
	other := strings.Replace(store, "pool: ", "pool: other", 1)
	cl.do("pool", "othertestcephotherstore")
	c := newCluster(t, "stores: {cold: "+store+"}\ncaches: {digits: {max_entries: 30, store: cold}}\n")
	c.start()
	if err := c.nodes[2].stop(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(c.configs[2])
	if err != nil {
		t.Fatal(err)
	}
	c.refuses("another pool", c.write("other", strings.Replace(string(text), store, other, 1)), "store cold", "another store than the grid has under this name", "stores.cold")
	c.nodes[2] = start(t, c.configs[2])
	c.ready(2)
}

// coldCluster is three nodes with caches that are larger than their memory.
type coldCluster struct {
	*clusterNodes
	pool  string
	conf  string
	loads []*coldLoad // the first one's cache has a pipeline
}

// The caches of the test, by how what is written comes to the store.
const behind, through, fast = "digits", "through", "fast"

func newColdCluster(t *testing.T, cl cephCluster) *coldCluster {
	t.Helper()
	c := &coldCluster{pool: strings.ToLower(t.Name()), conf: filepath.Join(cl.dir, "ceph.conf")}
	c.clusterNodes = newCluster(t, fmt.Sprintf(`stores: {cold: %s}
caches:
  digits: {max_entries: 30, store: cold, consistency: leader}
  through: {max_entries: 15, store: cold, write: through, consistency: leader}
  fast: {class: volatile, max_entries: 15, store: cold, consistency: leader}
  predictions: {max_entries: 30, store: cold}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, cl.store(fmt.Sprintf(", max_lag_entries: %d", clusterLag))))
	c.start()
	for _, one := range []struct {
		cache         string
		clients, keys int
	}{{behind, 6, clusterKeys}, {through, 3, clusterKeys}, {fast, 3, clusterKeys}} {
		l := newColdLoad(c.bases[0], one.clients, one.keys)
		l.cache, l.nodes = one.cache, c.bases[:]
		c.loads = append(c.loads, l)
		c.fill(l)
	}
	c.settled()
	return c
}

// fill puts every key of a cache.
func (c *coldCluster) fill(l *coldLoad) {
	t := c.t
	t.Helper()
	err := l.each(func(one *coldClient) error {
		for i := range one.many {
			key := one.key(i)
			for one.keys[key] == nil || one.keys[key].state == 0 { // it is refused where the store is slow
				if err := one.put(key); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("fill %s: %v\n%s", l.cache, err, tail(c.nodes[0].log.String()))
	}
}

// load works on all caches until the returned function is called.
func (c *coldCluster) load() (stop func()) {
	var stops []func()
	for i, l := range c.loads {
		l.away.Store(true)
		stops = append(stops, l.start(uint64(time.Now().UnixNano())+uint64(i)))
	}
	return func() {
		for i, stop := range stops {
			stop()
			c.loads[i].away.Store(false)
		}
	}
}

// goesOn waits until so many more writes of each cache were done.
func (c *coldCluster) goesOn(through, want int) {
	c.t.Helper()
	for _, l := range c.loads {
		before := l.counted().done
		c.nodes[through].wait("writes to "+l.cache+" go on", time.Minute, func() error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.fault != nil || l.counts.done >= before+want {
				return nil // settled tells the fault
			}
			now := l.counts
			return fmt.Errorf("%d were done; %d puts were refused, the last one with %s; %d times a key was left alone, since what became of a write is not known, the last one: %s",
				now.done-before, now.refused, now.refusal, now.left, now.unknown)
		})
	}
}

// owns holds that a node owns partitions, so that its death is worth something.
func (c *coldCluster) owns(node int) {
	t := c.t
	t.Helper()
	name := fmt.Sprint("n", node)
	n := 0
	for _, p := range c.status((node + 1) % 3).Partitions {
		if p.Owner == name {
			n++
		}
	}
	if n == 0 {
		t.Fatalf("node %s owns nothing", name)
	}
}

func (c *coldCluster) killed(node int) {
	t := c.t
	stop := c.load()
	c.goesOn(node, clusterWrites)
	c.owns(node)
	c.nodes[node].kill()
	killed := time.Now()
	c.goesOn((node+1)%3, clusterWrites)
	t.Logf("node %d was killed; %d more writes of each cache were done %v later", node, clusterWrites, time.Since(killed).Round(time.Millisecond))
	c.nodes[node] = start(c.t, c.configs[node])
	c.ready(node)
	c.goesOn(node, clusterWrites)
	stop()
	c.settled()
}

func (c *coldCluster) stopped(node int) {
	t := c.t
	stop := c.load()
	c.goesOn(node, clusterWrites)
	c.owns(node)
	if err := c.nodes[node].stop(60 * time.Second); err != nil {
		t.Fatal(err)
	}
	c.goesOn((node+1)%3, clusterWrites)
	c.nodes[node] = start(c.t, c.configs[node])
	c.ready(node)
	c.goesOn(node, clusterWrites)
	stop()
	c.settled()
}

// away has the store away under load, and kills a node in that time if that is not less than 0.
func (c *coldCluster) away(cl cephCluster, kill int) {
	t, l := c.t, c.loads[0]
	stop := c.load()
	c.goesOn(1, clusterWrites)
	for _, l := range c.loads {
		l.writes.Store(true)
	}
	cl.each("pause")
	gone, before := time.Now(), l.counted()
	c.nodes[1].wait("puts are refused", time.Minute, func() error {
		if now := l.counted(); now.refused < before.refused+10 {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
	if kill >= 0 {
		c.owns(kill)
		c.nodes[kill].kill()
	} else {
		c.unavailable()
	}
	if left := clusterAway - time.Since(gone); left > 0 {
		<-time.After(left) // how long it is away is what this is about
	}
	now := l.counted()
	t.Logf("away for %v: %d writes went on, %d puts were refused: %s", time.Since(gone).Round(time.Second), now.done-before.done, now.refused-before.refused, now.refusal)
	cl.each("resume")
	cl.do("await", "3")
	returned := time.Now()
	for _, l := range c.loads {
		l.writes.Store(false)
	}
	c.goesOn(1, clusterWrites)
	t.Logf("%d more writes of each cache were done %v after the store was back", clusterWrites, time.Since(returned).Round(time.Millisecond))
	if kill >= 0 {
		c.nodes[kill] = start(t, c.configs[kill])
		c.ready(kill)
	}
	stop()
	c.settled()
}

// unavailable holds that a get of what is in the store alone fails through each node, and says why, while the store is away.
func (c *coldCluster) unavailable() {
	l := c.loads[0]
	var gets errgroup.Group
	var told [3]atomic.Int64
	for i := range c.bases {
		for client := range l.clients {
			for k := range 5 {
				gets.Go(func() error {
					key := fmt.Sprintf("%d-%d", client, k)
					resp, body, err := l.doAt(c.bases[i], http.MethodGet, key, nil)
					switch {
					case err != nil:
						return err
					case resp.StatusCode == http.StatusOK, resp.StatusCode == http.StatusNotFound:
					case !isProblem(resp, body, "grid_unavailable"):
						return fmt.Errorf("get %s through node %d: %s: %s", key, i, resp.Status, body)
					case bytes.Contains(body, []byte("the store does not answer")):
						told[i].Add(1)
					}
					return nil
				})
			}
		}
	}
	if err := gets.Wait(); err != nil {
		c.t.Error(err)
	}
	for i := range told {
		if told[i].Load() == 0 {
			c.t.Errorf("node %d told nobody that the store does not answer", i)
		}
	}
}

// allKilled kills all nodes at a time. What a volatile cache had is gone then, and nothing of it comes back from the store.
func (c *coldCluster) allKilled() {
	stop := c.load()
	c.goesOn(0, clusterWrites)
	for _, n := range c.nodes {
		n.kill()
	}
	stop()
	c.start()
	for _, l := range c.loads {
		if l.cache != fast {
			continue
		}
		for _, client := range l.clients {
			for key := range client.keys {
				client.keys[key] = &coldKey{}
			}
		}
	}
	c.settled()
	// Now what is written has higher revisions than the copies of before, which would win otherwise.
	c.fill(c.loads[2])
	c.settled()
}

// settled waits until the cluster is as it should be, and holds every key against what was acknowledged: through each node, in the store, and in the pipeline's results.
func (c *coldCluster) settled() {
	c.t.Helper()
	for i, n := range c.nodes {
		n.wait("the cluster is even", 3*time.Minute, func() error { return isEven(c.status(i)) })
	}
	for _, l := range c.loads {
		for i, n := range c.nodes {
			l.nodes = c.bases[i : i+1]
			l.check(n)
		}
		l.nodes = c.bases[:]
	}
	for _, cache := range []string{behind, through, fast, "predictions"} {
		for i, n := range c.nodes {
			n.wait(cache+" is in the store", time.Minute, func() error {
				s, err := coldStatsOf(c.bases[i] + "/rest/v2/caches/" + cache)
				if err == nil && s.LagEntries > 0 {
					err = fmt.Errorf("%+v", s)
				}
				return err
			})
		}
	}
	c.loads[0].results(c.nodes[0], time.Minute)
	c.noOtherResults()
	c.inStore()
	c.activated()
}

// noOtherResults waits until no removed key has a result.
func (c *coldCluster) noOtherResults() {
	c.t.Helper()
	for _, client := range c.loads[0].clients {
		for key, k := range client.keys {
			if k.state > 0 {
				continue
			}
			c.nodes[0].wait("the result of "+key+", which was removed, goes too", 30*time.Second, func() error {
				resp, err := http.Get(c.bases[0] + "/rest/v2/caches/predictions/" + key)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if resp.StatusCode != http.StatusNotFound {
					return errors.New(resp.Status)
				}
				return nil
			})
		}
	}
}

// inStore holds the store's copies against what was acknowledged.
func (c *coldCluster) inStore() {
	t := c.t
	t.Helper()
	s, err := ceph.Open(t.Context(), ceph.Config{Conf: c.conf, Pool: c.pool})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, l := range c.loads {
		for _, client := range l.clients {
			for key, k := range client.keys {
				e, err := s.Get(t.Context(), l.cache, key)
				switch {
				case k.state == 0 && errors.Is(err, store.ErrNotFound):
				case k.state == 0 && l.cache == fast && err == nil: // of before all nodes were killed: the sweep takes it, after an hour at most
				case k.state > 0 && err == nil && strconv.Quote(strconv.FormatUint(e.Revision, 10)) == k.etag && bytes.HasPrefix(e.Value, fmt.Appendf(nil, "%20d", k.state)):
				default:
					t.Errorf("the store has %s/%s at revision %d with %.20q, and it must be %+v: %v", l.cache, key, e.Revision, e.Value, *k, err)
				}
			}
		}
	}
}

// activated waits until values have left memory and come back on each node, one that was started a moment ago too, and has the load go on for it.
func (c *coldCluster) activated() {
	c.t.Helper()
	proven := func() error {
		for i := range c.nodes {
			for _, l := range c.loads[:2] {
				s, err := coldStatsOf(c.bases[i] + "/rest/v2/caches/" + l.cache)
				if err == nil && (s.Loads == 0 || s.Evictions == 0 || s.Cold == 0) {
					err = fmt.Errorf("node %d, cache %s: %+v: too little was cold to prove anything", i, l.cache, s)
				}
				if err != nil {
					return err
				}
			}
		}
		return nil
	}
	if proven() == nil {
		return
	}
	stop := c.load()
	c.nodes[0].wait("values leave memory and come back on each node", time.Minute, proven)
	stop()
	for _, l := range c.loads {
		l.check(c.nodes[0])
	}
}
