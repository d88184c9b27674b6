package test

import (
	"bytes"
	"encoding/json"
	"errors"
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
)

// TestKillWhileCold holds invariants 1, 2 and 3 where the cache is larger than its memory: a node is killed at random moments while
// values go to a store on the disk, leave memory and come back. Nothing is lost, and nothing that was removed is back.
func TestKillWhileCold(t *testing.T) {
	addr := address(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "millrace.yaml")
	text := fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
stores: {cold: {type: disk, dir: %s}}
caches: {digits: {max_entries: 40, store: cold}, predictions: {max_bytes: 20KiB, store: cold}}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, filepath.Join(dir, "data"), addr, filepath.Join(dir, "cold"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l := &coldLoad{base: "http://" + addr}
	for client := range coldClients {
		l.clients = append(l.clients, &coldClient{l: l, id: client, keys: map[string]*coldKey{}})
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range kills {
		n := start(t, config)
		n.ready(l.base)
		l.check(n)
		stop := l.start(random.Uint64())
		moment := time.Duration(200+random.IntN(1300)) * time.Millisecond
		<-time.After(moment) // the moment of the kill is what this test is about
		stats, err := l.stats()
		if err != nil {
			t.Fatal(err)
		}
		n.kill()
		stop()
		t.Logf("round %d: killed after %v: %+v", round, moment, stats)
		if stats.InMemory > 40 {
			t.Errorf("%d entries in memory, of at most 40", stats.InMemory)
		}
	}
	n := start(t, config)
	n.ready(l.base)
	l.check(n)
	stats, err := l.stats()
	if err != nil {
		t.Fatal(err)
	}
	if keys := l.keys(); keys < 100 || stats.Cold == 0 || stats.Evictions == 0 {
		t.Errorf("%d keys, %+v: too little load to prove anything", keys, stats)
	}
	n.wait("the store has everything", 20*time.Second, func() error {
		stats, err := l.stats()
		if err == nil && stats.LagEntries > 0 {
			err = fmt.Errorf("%+v", stats)
		}
		return err
	})
}

const coldClients = 4

// coldLoad puts, reads and removes by several clients, each with keys of its own.
type coldLoad struct {
	base    string
	clients []*coldClient
}

type coldClient struct {
	l    *coldLoad
	id   int
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

func (l *coldLoad) start(seed uint64) (stop func()) {
	var ended atomic.Bool
	var clients sync.WaitGroup
	for _, c := range l.clients {
		random := rand.New(rand.NewPCG(seed, uint64(c.id)))
		clients.Go(func() {
			for !ended.Load() {
				if !c.step(random) {
					return
				}
			}
		})
	}
	return func() { ended.Store(true); clients.Wait() }
}

// step does one operation; it is false once the node is gone.
func (c *coldClient) step(random *rand.Rand) bool {
	key := fmt.Sprintf("%d-%d", c.id, random.IntN(100))
	k := c.keys[key]
	if k == nil {
		k = &coldKey{}
		c.keys[key] = k
	}
	switch what := random.IntN(10); {
	case what < 5:
		c.next++
		value := make([]byte, 28*28)
		copy(value, fmt.Sprintf("%20d", c.next))
		return c.write(k, c.next, http.MethodPut, key, value)
	case what < 6:
		return c.write(k, 0, http.MethodDelete, key, nil)
	default:
		state, etag, err := c.l.get(key)
		return err == nil && k.agrees(state, etag)
	}
}

func (c *coldClient) write(k *coldKey, state uint64, method, key string, value []byte) bool {
	k.doubt, k.uncertain = state, true
	resp, err := c.l.do(method, key, value)
	if err != nil {
		return false // it may have been done
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		return false
	case resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotFound && state == 0:
		k.state, k.etag, k.uncertain = state, resp.Header.Get("ETag"), false
	case resp.StatusCode == http.StatusInsufficientStorage:
		k.uncertain = false
	default:
		return false
	}
	return true
}

func (l *coldLoad) do(method, key string, value []byte) (*http.Response, error) {
	req, err := http.NewRequest(method, l.base+"/rest/v2/caches/digits/"+key, bytes.NewReader(value))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	return http.DefaultClient.Do(req)
}

// get returns a key's state and its ETag.
func (l *coldLoad) get(key string) (state uint64, etag string, err error) {
	resp, err := l.do(http.MethodGet, key, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return 0, "", err
	case resp.StatusCode == http.StatusNotFound:
		return 0, "", nil
	case resp.StatusCode != http.StatusOK || len(body) != 28*28:
		return 0, "", fmt.Errorf("get %s: status %d: %.200q", key, resp.StatusCode, body)
	}
	state, err = strconv.ParseUint(strings.TrimSpace(string(body[:20])), 10, 64)
	return state, resp.Header.Get("ETag"), err
}

// agrees reports whether a key may be in a state, and if so takes it as certain.
func (k *coldKey) agrees(state uint64, etag string) bool {
	switch {
	case state == k.state && (state == 0 || etag == k.etag):
	case k.uncertain && state == k.doubt:
	default:
		return false
	}
	k.state, k.etag, k.uncertain = state, etag, false
	return true
}

// check holds every key against the node.
func (l *coldLoad) check(n *node) {
	n.t.Helper()
	for _, c := range l.clients {
		for key, k := range c.keys {
			state, etag, err := l.get(key)
			if err != nil {
				n.t.Fatalf("%v\n%s", err, tail(n.log.String()))
			}
			if !k.agrees(state, etag) {
				n.t.Fatalf("%s has value %d with ETag %s, and must be %+v\n%s", key, state, etag, *k, tail(n.log.String()))
			}
		}
	}
}

func (l *coldLoad) keys() (n int) {
	for _, c := range l.clients {
		n += len(c.keys)
	}
	return n
}

// coldStats is a part of a cache's statistics.
type coldStats struct {
	InMemory   int64 `json:"current_number_of_entries_in_memory"`
	Cold       int64 `json:"cold"`
	Evictions  int64 `json:"evictions"`
	Loads      int64 `json:"loads"`
	LagEntries int64 `json:"store_lag_entries"`
}

func (l *coldLoad) stats() (s coldStats, err error) {
	resp, err := http.Get(l.base + "/rest/v2/caches/digits?action=stats")
	if err != nil {
		return s, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return s, errors.New(resp.Status)
	}
	return s, json.NewDecoder(resp.Body).Decode(&s)
}
