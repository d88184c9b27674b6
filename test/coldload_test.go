package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// coldLoad puts, reads and removes by several clients, each with keys of its own.
type coldLoad struct {
	base    string
	cache   string
	clients []*coldClient
	// nodes are those of a cluster, which are asked in turn; none where base is all that there is. Any of them may die under load: the clients go on, and
	// leave a key alone of which nobody knows what became of its last write until check has looked.
	nodes []string
	turn  atomic.Uint64
	// away is set while the store is: entries that are in the store alone cannot be read then.
	away atomic.Bool
	// writes is set where nothing is to be read: a get of a cold entry waits for long while the store is away.
	writes atomic.Bool

	mu     sync.Mutex
	counts coldCounts
	fault  error
}

// coldCounts is what became of writes.
type coldCounts struct {
	done, refused int
	longest       time.Duration
	refusal       string // the last one
	left          int    // how often a key was left alone whose write has no outcome
	unknown       string // the last such write
}

type coldClient struct {
	l    *coldLoad
	id   int
	many int
	next uint64
	keys map[string]*coldKey
}

// coldKey is what a key must be: the state that was acknowledged, or the one of the operation that was under way at a kill. 0 is
// removed.
type coldKey struct {
	state, doubt uint64
	uncertain    bool
	etag         string
}

// newColdLoad makes a load of clients that have so many keys each.
func newColdLoad(base string, clients, keys int) *coldLoad {
	l := &coldLoad{base: base, cache: "digits"}
	for id := range clients {
		l.clients = append(l.clients, &coldClient{l: l, id: id, many: keys, keys: map[string]*coldKey{}})
	}
	return l
}

// start works until the returned function is called, the node is gone, or something is wrong, which check tells.
func (l *coldLoad) start(seed uint64) (stop func()) {
	var ended atomic.Bool
	var clients sync.WaitGroup
	for _, c := range l.clients {
		random := rand.New(rand.NewPCG(seed, uint64(c.id)))
		clients.Go(func() {
			for !ended.Load() {
				if err := c.step(random); err != nil && !(errors.Is(err, errGone) && len(l.nodes) > 0) {
					l.failed(err)
					return
				}
			}
		})
	}
	return func() { ended.Store(true); clients.Wait() }
}

var (
	// errGone says that the node is gone, or about to go: what was asked for may have been done.
	errGone = errors.New("the node is gone")
	// errEarly says that it has not opened the grid yet: nothing was done. A node that starts says so many times, and no key may be left for it.
	errEarly = errors.New("the node waits for the grid")
)

func (l *coldLoad) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault == nil && !errors.Is(err, errGone) {
		l.fault = err
	}
}

// step does one operation.
func (c *coldClient) step(random *rand.Rand) error {
	key := c.key(random.IntN(c.many))
	if k := c.keys[key]; k != nil && k.uncertain && len(c.l.nodes) > 0 {
		c.l.mu.Lock()
		c.l.counts.left++
		c.l.mu.Unlock()
		time.Sleep(time.Millisecond)
		return nil
	}
	switch what := random.IntN(10); {
	case what < 5:
		return c.put(key)
	case what < 6:
		return c.write(key, 0, http.MethodDelete, nil)
	case c.l.writes.Load():
		return c.put(key)
	default:
		return c.check(key)
	}
}

func (c *coldClient) key(i int) string { return fmt.Sprintf("%d-%d", c.id, i) }

func (c *coldClient) put(key string) error {
	c.next++
	value := make([]byte, 28*28)
	copy(value, fmt.Sprintf("%20d", c.next))
	return c.write(key, c.next, http.MethodPut, value)
}

func (c *coldClient) write(key string, state uint64, method string, value []byte) error {
	k := c.keys[key]
	if k == nil {
		k = &coldKey{}
		c.keys[key] = k
	}
	before := *k
	k.doubt, k.uncertain = state, true
	began := time.Now()
	resp, body, err := c.l.do(method, key, value)
	if (errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errEarly)) && len(c.l.nodes) > 0 { // nothing was done
		*k = before
		time.Sleep(time.Millisecond)
	}
	l := c.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		if k.uncertain {
			l.counts.unknown = fmt.Sprintf("%s %s: %v", method, key, err)
		}
		return err
	}
	l.counts.longest = max(l.counts.longest, time.Since(began))
	absent := resp.StatusCode == http.StatusNotFound && state == 0 && (before.state == 0 || before.uncertain && before.doubt == 0)
	switch {
	case resp.StatusCode == http.StatusNoContent, absent:
		l.counts.done++
		*k = coldKey{state: state, etag: resp.Header.Get("ETag")}
	case resp.StatusCode == http.StatusInsufficientStorage && method == http.MethodPut && isProblem(resp, body, "full"):
		l.counts.refused++
		l.counts.refusal = string(body)
		*k = before
	default:
		return fmt.Errorf("%s %s: %s %.300s, and it must be %+v", method, key, resp.Status, body, before)
	}
	return nil
}

// check gets a key, and holds what there is against what must be.
func (c *coldClient) check(key string) error {
	k := c.keys[key]
	if k == nil {
		k = &coldKey{}
		c.keys[key] = k
	}
	state, etag, err := c.l.get(key)
	if errors.Is(err, errCold) && c.l.away.Load() {
		return nil
	}
	if err != nil {
		return err
	}
	if !k.agrees(state, etag) {
		return fmt.Errorf("%s has value %d with ETag %s, and must be %+v", key, state, etag, *k)
	}
	return nil
}

// agrees reports whether a key may be in a state, and if so takes it as certain.
func (k *coldKey) agrees(state uint64, etag string) bool {
	switch {
	case state == k.state && (state == 0 || etag == k.etag):
	case k.uncertain && state == k.doubt:
	default:
		return false
	}
	*k = coldKey{state: state, etag: etag}
	return true
}

// do asks the node, or one of the cluster's; errGone where it has no answer, or one that it stops, and where a write through a cluster has no outcome.
func (l *coldLoad) do(method, key string, value []byte) (*http.Response, []byte, error) {
	if len(l.nodes) == 0 {
		return l.doAt(l.base, method, key, value)
	}
	first := l.turn.Add(1)
	for i := range uint64(len(l.nodes)) {
		resp, body, err := l.doAt(l.nodes[(first+i)%uint64(len(l.nodes))], method, key, value)
		switch {
		case method == http.MethodGet && errors.Is(err, errGone) && i+1 < uint64(len(l.nodes)):
		case err == nil && method != http.MethodGet && isProblem(resp, body, "grid_unavailable"):
			if bytes.Contains(body, []byte(`"grid unavailable: the node `)) {
				return nil, nil, fmt.Errorf("%w: %w: %s", errGone, errEarly, body)
			}
			return nil, nil, fmt.Errorf("%w: %s", errGone, body)
		default:
			return resp, body, err
		}
	}
	panic("unreachable: the last node's answer is returned")
}

func (l *coldLoad) doAt(base, method, key string, value []byte) (*http.Response, []byte, error) {
	req, err := http.NewRequest(method, base+"/rest/v2/caches/"+l.cache+"/"+key, bytes.NewReader(value))
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || isProblem(resp, body, "stopping") {
		return nil, nil, fmt.Errorf("%w: %w", errGone, err)
	}
	return resp, body, nil
}

// errCold says that an entry is in the store alone, which does not answer.
var errCold = errors.New("the entry cannot be had")

// get returns a key's state and its ETag.
func (l *coldLoad) get(key string) (state uint64, etag string, err error) {
	resp, body, err := l.do(http.MethodGet, key, nil)
	switch {
	case err != nil:
		return 0, "", err
	case resp.StatusCode == http.StatusNotFound:
		return 0, "", nil
	case resp.StatusCode == http.StatusServiceUnavailable && isProblem(resp, body, "grid_unavailable"):
		return 0, "", fmt.Errorf("get %s: %w: %s", key, errCold, body)
	case resp.StatusCode != http.StatusOK || len(body) != 28*28:
		return 0, "", fmt.Errorf("get %s: status %d: %.200q", key, resp.StatusCode, body)
	}
	state, err = strconv.ParseUint(strings.TrimSpace(string(body[:20])), 10, 64)
	return state, resp.Header.Get("ETag"), err
}

// isProblem reports whether an answer is an error of this code.
func isProblem(resp *http.Response, body []byte, code string) bool {
	var problem struct{ Code, Error string }
	return resp.Header.Get("Content-Type") == "application/json" && json.Unmarshal(body, &problem) == nil && problem.Code == code && problem.Error != ""
}

// check holds every key against the node, and tells what went wrong under load.
func (l *coldLoad) check(n *node) {
	n.t.Helper()
	l.mu.Lock()
	err := l.fault
	l.mu.Unlock()
	if err == nil {
		err = l.each(func(c *coldClient) error {
			for key := range c.keys {
				if err := c.check(key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil {
		n.t.Fatalf("%v\n%s", err, tail(n.log.String()))
	}
}

// hasResult returns nil where the pipeline's result for an entry with this ETag, or for a later one, is there.
func (l *coldLoad) hasResult(key, etag string) error {
	resp, err := http.Get(l.base + "/rest/v2/caches/predictions/" + key)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var result struct{ Source struct{ Revision uint64 } }
	revision, err := strconv.ParseUint(strings.Trim(etag, `"`), 10, 64)
	if err != nil {
		return fmt.Errorf("ETag %s: %w", etag, err)
	}
	if err := json.NewDecoder(resp.Body).Decode(&result); err != nil {
		return fmt.Errorf("the result of %s: status %s: %w", key, resp.Status, err)
	}
	if result.Source.Revision < revision { // none, where there is no result
		return fmt.Errorf("the result of %s: status %s, of revision %d, and it was put at %d", key, resp.Status, result.Source.Revision, revision)
	}
	return nil
}

// results waits until every entry has its result.
func (l *coldLoad) results(n *node, limit time.Duration) {
	n.t.Helper()
	deadline := time.Now().Add(limit)
	err := l.each(func(c *coldClient) error {
		for key, k := range c.keys {
			if k.state == 0 || k.uncertain {
				continue
			}
			for err := l.hasResult(key, k.etag); err != nil; err = l.hasResult(key, k.etag) {
				if time.Now().After(deadline) {
					return err
				}
				time.Sleep(10 * time.Millisecond)
			}
		}
		return nil
	})
	if err != nil {
		n.t.Fatalf("not every put has its result within %v: %v\n%s", limit, err, tail(n.log.String()))
	}
}

// each does something with every client at once.
func (l *coldLoad) each(do func(*coldClient) error) error {
	var all errgroup.Group
	for _, c := range l.clients {
		all.Go(func() error { return do(c) })
	}
	return all.Wait()
}

func (l *coldLoad) keys() (n int) {
	for _, c := range l.clients {
		n += len(c.keys)
	}
	return n
}

func (l *coldLoad) counted() coldCounts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// coldStats is a part of a cache's statistics.
type coldStats struct {
	Entries    int64 `json:"current_number_of_entries"`
	InMemory   int64 `json:"current_number_of_entries_in_memory"`
	Cold       int64 `json:"cold"`
	Evictions  int64 `json:"evictions"`
	Loads      int64 `json:"loads"`
	LagEntries int64 `json:"store_lag_entries"`
}

func (l *coldLoad) stats(t *testing.T) coldStats {
	t.Helper()
	s, err := coldStatsOf(l.base + "/rest/v2/caches/" + l.cache)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func coldStatsOf(cache string) (s coldStats, err error) {
	resp, err := http.Get(cache + "?action=stats")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, fmt.Errorf("statistics of %s: status %s", cache, resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}

// caughtUp waits until the store has everything.
func (l *coldLoad) caughtUp(n *node, limit time.Duration) {
	n.t.Helper()
	n.wait("the store has everything", limit, func() error {
		if stats := l.stats(n.t); stats.LagEntries > 0 {
			return fmt.Errorf("%+v", stats)
		}
		return nil
	})
}
