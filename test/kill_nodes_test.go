package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/natstest"
)

// goesOn is how soon after a node's death its partitions must be worked on.
const goesOn = 3 * time.Second

// TestKillOfTwo holds invariants 1, 4 and 5 on a grid of two nodes over one NATS server: either is killed at random moments
// under load. It reads the streams themselves: no result twice, none older, and none under the number of an earlier owner
// after one of a later.
func TestKillOfTwo(t *testing.T) {
	url := natstest.URL(t)
	var nodes [2]*node
	var configs, bases [2]string
	for i := range nodes {
		addr := address(t)
		bases[i] = "http://" + addr
		configs[i] = filepath.Join(t.TempDir(), "millrace.yaml")
		text := fmt.Sprintf(`http: {listen: %q}
grid: {url: %q}
models: {digits: {path: "builtin:digits"}}
pipelines: {classify: {from: digits, model: digits, to: predictions}}
`, addr, url)
		if err := os.WriteFile(configs[i], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		nodes[i] = start(t, configs[i])
	}
	for i, n := range nodes {
		n.ready(bases[i])
	}
	load := &load{bases: bases[:], acked: map[string]uint64{}}
	history := watchResults(t, url)

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for round := range kills {
		stop := load.start(round)
		moment := time.Duration(500+random.IntN(1500)) * time.Millisecond
		<-time.After(moment) // the moment of the kill is what this test is about
		victim := random.IntN(2)
		other := 1 - victim
		nodes[victim].kill()
		killed := time.Now()
		stop()
		// A key of each partition: whatever the dead node owned goes on.
		probes := map[string]uint64{}
		for i := 0; len(probes) < 32; i++ {
			key := fmt.Sprintf("after-%d-%d", round, i)
			load.put(other, key)
			probes[key] = load.snapshot()[key]
		}
		nodes[other].wait("work goes on", time.Until(killed.Add(goesOn)), func() error { return history.covers(probes) })
		took := time.Since(killed)
		nodes[victim] = start(t, configs[victim])
		nodes[victim].ready(bases[victim])
		t.Logf("round %d: node %d killed after %v with %d puts acknowledged; all partitions went on %v later",
			round, victim, moment, load.count(), took.Round(time.Millisecond))
		load.check(nodes[other], bases[other])
		load.check(nodes[victim], bases[victim])
	}
	if err := history.trouble(); err != nil {
		t.Error(err)
	}
	if load.count() < 100*kills {
		t.Errorf("only %d puts were acknowledged: too little load to prove anything", load.count())
	}
	history.mu.Lock()
	defer history.mu.Unlock()
	t.Logf("%d results were stored, under %d fencing numbers", history.total, len(history.fences))
	if len(history.fences) < 2*kills {
		t.Errorf("only %d owners stored results", len(history.fences))
	}
}

// resultHistory is every result that was stored, in the order of its partition's stream.
type resultHistory struct {
	mu     sync.Mutex
	newest map[string]uint64 // by key, the revision of the source
	last   map[string]uint64 // by stream, the fencing number of the last result
	fences map[string]bool   // stream and number
	total  int
	faults []error
}

// watchResults reads the results from the streams as they come, until the test ends.
func watchResults(t *testing.T, url string) *resultHistory {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	h := &resultHistory{newest: map[string]uint64{}, last: map[string]uint64{}, fences: map[string]bool{}}
	for partition := range 8 {
		bucket := grid.Bucket("millrace", grid.Durable, partition)
		prefix := "$KV." + bucket + ".predictions."
		c, err := js.OrderedConsumer(context.Background(), "KV_"+bucket, jetstream.OrderedConsumerConfig{FilterSubjects: []string{prefix + ">"}})
		if err != nil {
			t.Fatal(err)
		}
		consuming, err := c.Consume(func(m jetstream.Msg) { h.add(bucket, strings.TrimPrefix(m.Subject(), prefix), m.Headers()) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(consuming.Stop)
	}
	return h
}

var errNoSource = errors.New("not that of a result of the pipeline")

func (h *resultHistory) add(stream, token string, header nats.Header) {
	key, err := grid.Unescape(token)
	fields := strings.SplitN(header.Get(grid.HeaderSource), " ", 3)
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil || len(fields) != 3 || fields[2] != "classify" {
		h.faults = append(h.faults, fmt.Errorf("%s has the source %q: %w", token, fields, errors.Join(err, errNoSource)))
		return
	}
	revision, err1 := strconv.ParseUint(fields[0], 10, 64)
	fence, err2 := strconv.ParseUint(fields[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		h.faults = append(h.faults, err)
		return
	}
	old, known := h.newest[key]
	switch {
	case known && (strings.HasPrefix(key, "once-") || strings.HasPrefix(key, "after-")):
		h.faults = append(h.faults, fmt.Errorf("%s has a second result, for revision %d after %d", key, revision, old))
	case revision <= old:
		h.faults = append(h.faults, fmt.Errorf("%s has a result for revision %d after the one for %d", key, revision, old))
	case fence < h.last[stream]:
		h.faults = append(h.faults, fmt.Errorf("%s: the result of %s was stored under %d after one under %d", stream, key, fence, h.last[stream]))
	}
	h.newest[key], h.last[stream] = revision, fence
	h.fences[fmt.Sprint(stream, fence)] = true
	h.total++
}

func (h *resultHistory) trouble() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return errors.Join(h.faults...)
}

func (h *resultHistory) covers(acked map[string]uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, rev := range acked {
		if h.newest[key] < rev || rev == 0 {
			return fmt.Errorf("%s was put at revision %d, the newest result that was stored is for %d", key, rev, h.newest[key])
		}
	}
	return nil
}
