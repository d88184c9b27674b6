package test

import (
	"bytes"
	"context"
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

// TestKill holds invariants 1, 4, 5 and 6: a node is killed at random moments under load, and started again on its
// data. Some keys are put once and some again and again.
func TestKill(t *testing.T) {
	addr := address(t)
	base := "http://" + addr
	dir := t.TempDir()
	config := filepath.Join(dir, "millrace.yaml")
	text := fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	load := &load{bases: []string{base}, acked: map[string]uint64{}}
	seen := &seen{results: map[string]uint64{}}
	n := start(t, config)
	n.ready(base)
	ctx, cancel := context.WithCancel(t.Context())
	connected := make(chan struct{}, 1)
	listening := make(chan error, 1)
	go func() {
		listening <- listen(ctx, base, "predictions", func() {
			select {
			case connected <- struct{}{}:
			default:
			}
		}, seen.add)
	}()
	<-connected

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range kills {
		stop := load.start(round)
		moment := time.Duration(100+random.IntN(1400)) * time.Millisecond
		<-time.After(moment) // the moment of the kill is what this test is about
		n.kill()
		stop()
		before := seen.count()
		began := time.Now()
		n = start(t, config)
		n.ready(base)
		load.put(0, fmt.Sprintf("after-%d", round))
		n.wait("work goes on", 5*time.Second, func() error {
			if seen.count() > before {
				return nil
			}
			return errors.New("no result yet")
		})
		t.Logf("round %d: killed after %v with %d puts acknowledged, %d results seen; the next came %v after the start",
			round, moment, load.count(), before, time.Since(began).Round(time.Millisecond))
		load.check(n, base)
	}
	// What was seen is complete when every key's newest result was.
	n.wait("the listener catches up", 20*time.Second, func() error { return seen.covers(load.snapshot()) })
	cancel()
	if err := <-listening; err != nil {
		t.Error(err)
	}
	if load.count() < 100*kills {
		t.Errorf("only %d puts were acknowledged: too little load to prove anything", load.count())
	}
}

// load puts pictures and remembers which puts were acknowledged, with the newest revision of each key.
type load struct {
	bases []string // of the nodes; client i asks the i-th, in turn
	mu    sync.Mutex
	// acked has the revision of each key's newest acknowledged put.
	acked map[string]uint64
}

// start puts from several clients until the returned function is called.
func (l *load) start(round int) (stop func()) {
	var ended atomic.Bool
	var clients sync.WaitGroup
	for client := range 4 {
		clients.Go(func() {
			for i := 0; !ended.Load(); i++ {
				key := fmt.Sprintf("once-%d-%d-%d", round, client, i)
				if i%5 == 0 {
					key = fmt.Sprintf("again-%d", client) // one client alone writes it, so that its order is known
				}
				l.put(client, key)
			}
		})
	}
	return func() { ended.Store(true); clients.Wait() }
}

func (l *load) put(client int, key string) {
	picture := bytes.Repeat([]byte{byte(len(key))}, 28*28)
	req, err := http.NewRequest(http.MethodPut, l.bases[client%len(l.bases)]+"/rest/v2/caches/digits/"+key, bytes.NewReader(picture))
	if err != nil {
		panic(err) // the URL is ours
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // killed: not acknowledged
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusNoContent {
		return
	}
	rev, err := strconv.ParseUint(strings.Trim(resp.Header.Get("ETag"), `"`), 10, 64)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked[key] = max(l.acked[key], rev)
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acked)
}

func (l *load) snapshot() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := make(map[string]uint64, len(l.acked))
	for k, v := range l.acked {
		c[k] = v
	}
	return c
}

// check holds every acknowledged put against the node: the entry is there, at that revision or a newer one that was
// not acknowledged, and so is its result.
func (l *load) check(n *node, base string) {
	n.t.Helper()
	acked := l.snapshot()
	inputs, err := l.entries(base, "digits")
	if err != nil {
		n.t.Fatalf("%v\n%s", err, tail(n.log.String()))
	}
	for key, rev := range acked {
		if inputs[key].Revision < rev {
			n.t.Fatalf("put of %s was acknowledged at revision %d, the cache has %+v", key, rev, inputs[key])
		}
	}
	n.wait("every acknowledged put has its result", 20*time.Second, func() error {
		results, err := l.entries(base, "predictions")
		if err != nil {
			return err
		}
		for key, rev := range acked {
			if r := results[key].Value; r.Source.Revision < rev || r.Label == "" {
				return fmt.Errorf("the input %s has revision %d, its result is %+v", key, rev, r)
			}
		}
		return nil
	})
}

// stored is an entry as ?action=entries lists it.
type stored struct {
	Key      string
	Revision uint64
	Value    struct {
		Label  string
		Source struct{ Revision uint64 }
	}
}

func (l *load) entries(base, cache string) (map[string]stored, error) {
	resp, err := http.Get(base + "/rest/v2/caches/" + cache + "?action=entries")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list []stored
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("entries of %s: status %d: %w", cache, resp.StatusCode, err)
	}
	all := make(map[string]stored, len(list))
	for _, e := range list {
		all[e.Key] = e
	}
	return all, nil
}

// seen is what a listener saw: no result twice on keys that are put once, and none older than one before it.
type seen struct {
	mu      sync.Mutex
	results map[string]uint64 // revision of the source
	total   int
}

func (s *seen) add(e event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.name != "cache-entry-created" && e.name != "cache-entry-updated" {
		return fmt.Errorf("event %s of %s: nothing was removed", e.name, e.data.Key)
	}
	s.total++
	rev := e.data.Value.Source.Revision
	old, known := s.results[e.data.Key]
	switch {
	case known && strings.HasPrefix(e.data.Key, "once-"):
		return fmt.Errorf("result of %s was seen twice, for revisions %d and %d", e.data.Key, old, rev)
	case rev <= old:
		return fmt.Errorf("result of %s for revision %d came after the one for %d", e.data.Key, rev, old)
	}
	s.results[e.data.Key] = rev
	return nil
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}

func (s *seen) covers(acked map[string]uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, rev := range acked {
		if s.results[key] < rev {
			return fmt.Errorf("%s was put at revision %d, the newest result that was seen is for %d", key, rev, s.results[key])
		}
	}
	return nil
}
