//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
)

const (
	// patience is how long a client waits for an answer: longer than a node tries (cluster.timeout), so that most outcomes are known.
	patience = 20 * time.Second
	// probePatience is how long a probe waits before it asks another node.
	probePatience = 2 * time.Second
	// registersEach is how many keys the clients of a round have in common.
	registersEach = 6
)

// load is what clients do to the nodes in one round: they share registers and notes, whose histories are checked, feed the pipeline, and probe each partition.
type load struct {
	round   int
	targets []target
	rec     *recorder
	clients sync.WaitGroup
	stop    context.CancelFunc
	seed    uint64
}

// startLoad begins a round's load at these nodes.
func startLoad(round int, targets []target, rec *recorder, seed uint64) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{round: round, targets: targets, rec: rec, stop: cancel, seed: seed}
	id := 0
	run := func(limit time.Duration, work func(context.Context, *caller, *rand.Rand)) {
		c := newCaller(id, targets, rec, limit)
		random := rand.New(rand.NewPCG(seed, uint64(id)))
		id++
		l.clients.Go(func() {
			defer c.close()
			work(ctx, c, random)
		})
	}
	for node := range targets {
		for range 2 {
			run(patience, func(ctx context.Context, c *caller, random *rand.Rand) { l.registers(ctx, c, random, node) })
		}
		run(patience, func(ctx context.Context, c *caller, random *rand.Rand) { l.feed(ctx, c, random, node) })
		run(patience, func(ctx context.Context, c *caller, random *rand.Rand) { l.notes(ctx, c, random, node) })
	}
	for partition := range partitions {
		key := keyIn(partition, fmt.Sprintf("r%d-probe", round))
		run(probePatience, func(ctx context.Context, c *caller, random *rand.Rand) { l.probe(ctx, c, random, put, key) })
		run(probePatience, func(ctx context.Context, c *caller, random *rand.Rand) { l.probe(ctx, c, random, get, key) })
	}
	return l
}

// end stops the load, and waits for what is under way.
func (l *load) end() {
	l.stop()
	l.clients.Wait()
}

// keyIn is a key of a partition.
func keyIn(partition int, prefix string) string {
	for i := 0; ; i++ {
		if key := fmt.Sprintf("%s-%d", prefix, i); grid.Partition(key, partitions) == partition {
			return key
		}
	}
}

// pause waits a while, at random, and reports whether the load goes on.
func pause(ctx context.Context, random *rand.Rand, mean time.Duration) bool {
	select {
	case <-time.After(mean/2 + time.Duration(random.Int64N(int64(mean)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// registers does random operations on keys that all clients share. An operation that was begun is ended, so that few outcomes are unknown.
func (l *load) registers(ctx context.Context, c *caller, random *rand.Rand, node int) {
	seen := map[string]uint64{}
	for i := 0; pause(ctx, random, 60*time.Millisecond); i++ {
		o := op{Node: node, Cache: "registers", Key: fmt.Sprintf("r%d-register-%d", l.round, random.IntN(registersEach)), Value: fmt.Sprintf("%d.%d.%d", l.round, c.id, i)}
		switch n := random.IntN(10); {
		case n < 4:
			o.Kind, o.Value = get, ""
		case n < 6:
			o.Kind = put
		case n < 8 && seen[o.Key] > 0:
			o.Kind, o.If = cas, seen[o.Key]
		case n < 9:
			o.Kind = create
		default:
			o.Kind, o.Value = remove, ""
		}
		if done := c.do(context.Background(), o); done.Revision > 0 {
			seen[o.Key] = done.Revision
		}
	}
}

// notes writes and reads keys that all clients share, in a cache whose gets any replica may answer: at once after a write, when one may lag.
func (l *load) notes(ctx context.Context, c *caller, random *rand.Rand, node int) {
	for i := 0; pause(ctx, random, 80*time.Millisecond); i++ {
		o := op{Node: node, Kind: put, Cache: "notes", Key: fmt.Sprintf("r%d-note-%d", l.round, random.IntN(registersEach)), Value: fmt.Sprintf("%d.%d.%d", l.round, c.id, i)}
		if random.IntN(6) == 0 {
			o.Kind, o.Value = remove, ""
		}
		c.do(context.Background(), o)
		o.Kind, o.Value = get, ""
		for range 2 {
			c.do(context.Background(), o)
		}
	}
}

// feed puts inputs of the pipeline: most keys once, and one, which is this client's alone, again and again.
func (l *load) feed(ctx context.Context, c *caller, random *rand.Rand, node int) {
	for i := 0; pause(ctx, random, 50*time.Millisecond); i++ {
		o := op{Node: node, Kind: put, Cache: "digits", Key: fmt.Sprintf("r%d-once-%d-%d", l.round, c.id, i), Value: fmt.Sprintf("%d.%d.%d", l.round, c.id, i)}
		if i%4 == 0 {
			o.Key = fmt.Sprintf("r%d-again-%d", l.round, c.id)
		}
		c.do(context.Background(), o)
	}
}

// probe puts or gets one key all the time, and goes to another node when one does not answer: how long it has no answer is the partition's gap.
func (l *load) probe(ctx context.Context, c *caller, random *rand.Rand, what kind, key string) {
	node := random.IntN(len(l.targets))
	for i := 0; pause(ctx, random, 100*time.Millisecond); i++ {
		o := op{Node: node, Kind: what, Cache: "registers", Key: key}
		if what == put {
			o.Value = fmt.Sprintf("%d.%d.%d", l.round, c.id, i)
		}
		if done := c.do(context.Background(), o); !done.answered() {
			node = (node + 1) % len(l.targets)
		}
	}
}

// event is what a listener got of a key.
type event struct {
	Key      string `json:"key"`
	Type     string `json:"type"` // created, updated, removed or expired
	Revision uint64 `json:"revision"`
	// Source is the revision that a result was made from, and Bad why it is none.
	Source uint64 `json:"source,omitempty"`
	Bad    string `json:"bad,omitempty"`
	// Connection counts how often the listener had connected, Node is where it was, and At when it got the event, since the run's beginning.
	Connection int           `json:"connection"`
	Node       int           `json:"node"`
	At         time.Duration `json:"at"`
}

// listener gets a cache's events from the nodes, one after the other as they break, and goes on with its last event's id.
type listener struct {
	name   string
	cache  string
	rec    *recorder // whose clock it has
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	events []event
	last   map[string]event // by key, the newest
	node   int
	err    error
}

func startListener(n *nodes, rec *recorder, first int, cache string) *listener {
	ctx, cancel := context.WithCancel(context.Background())
	l := &listener{rec: rec, name: fmt.Sprintf("listener of %s that began at n%d", cache, first), cache: cache, cancel: cancel, last: map[string]event{}}
	l.done.Go(func() { l.run(ctx, n, first) })
	return l
}

func (l *listener) run(ctx context.Context, n *nodes, node int) {
	from := ""
	for connection := 0; ctx.Err() == nil; connection++ {
		one, cancel := context.WithCancel(ctx)
		o := client.ListenOptions{Values: true, Current: true, From: from, Retry: func(error) { cancel() }}
		l.mu.Lock()
		l.node = node % members
		l.mu.Unlock()
		for e, err := range n.all[node%members].client.Listen(one, l.cache, o) {
			var said *client.Error
			if errors.As(err, &said) && said.Status < 500 && said.Status != 429 {
				l.fail(fmt.Errorf("%s is refused by n%d: %w", l.name, node%members, err))
			}
			if err != nil {
				break
			}
			from = e.ID
			l.add(e, connection)
		}
		cancel()
		node++
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// at is the node that the listener is connected to.
func (l *listener) at() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.node
}

func (l *listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, err)
}

func (l *listener) add(e client.Event, connection int) {
	in := event{Key: string(e.Entry.Key), Type: e.Type, Revision: e.Entry.Revision, Connection: connection, At: l.rec.now()}
	if l.cache == "predictions" && e.Entry.Value != nil {
		in.Source, in.Bad = source(e.Entry.Value)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	in.Node = l.node
	l.events = append(l.events, in)
	l.last[in.Key] = in
}

// source returns the revision that a result was made from.
func source(value []byte) (revision uint64, bad string) {
	var r pipeline.Result
	if err := json.Unmarshal(value, &r); err != nil {
		return 0, err.Error()
	}
	if r.Label == "" || r.Source.Revision == 0 {
		return 0, fmt.Sprintf("it has no label or no source: %s", strings.TrimSpace(string(value)))
	}
	return uint64(r.Source.Revision), ""
}

// take returns the events since the last call.
func (l *listener) take() ([]event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	events, err := l.events, l.err
	l.events, l.err = nil, nil
	return events, err
}

// newest is what the listener knows of a key.
func (l *listener) newest(key string) (event, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.last[key]
	return e, ok
}

func (l *listener) close() {
	l.cancel()
	l.done.Wait()
}
