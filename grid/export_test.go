package grid

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sync/errgroup"
)

// Known returns how many keys the index knows, markers included.
func Known(g *Grid) (n int) {
	for _, t := range g.tenures() {
		t.index.mu.Lock()
		for _, s := range t.index.spaces {
			n += len(s.records)
		}
		t.index.mu.Unlock()
	}
	return n
}

// Stored returns how many messages the streams hold.
func Stored(ctx context.Context, t testing.TB, g *Grid) (n uint64) {
	t.Helper()
	for _, parts := range g.classes {
		for _, p := range parts {
			stream, err := g.js.Stream(ctx, p.stream)
			if err != nil {
				t.Fatal(err)
			}
			n += stream.CachedInfo().State.Msgs
		}
	}
	return n
}

// SpanOf and TTLOf read times that other clients of the server wrote.
var (
	SpanOf = spanOf
	TTLOf  = ttlOf
)

// Describes returns the node that leads the grid's description, "" for none.
func Describes(t testing.TB, g *Grid) string {
	t.Helper()
	s, err := g.js.Stream(t.Context(), "KV_"+g.metaBucket())
	if err != nil || s.CachedInfo().Cluster == nil {
		return ""
	}
	return s.CachedInfo().Cluster.Leader
}

// Owns returns the partitions that a node owns.
func Owns(g *Grid) []int { return g.owners.owned() }

// Requests is how many requests to JetStream's API a node's server has answered.
func Requests(t testing.TB, g *Grid) uint64 {
	t.Helper()
	info, err := g.server.running().Jsz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return info.API.Total
}

// Lose takes a partition from a node as a crash would: nothing is written down but that nobody holds it.
func Lose(t testing.TB, g *Grid, number int) {
	t.Helper()
	o := g.owners
	o.mu.Lock()
	l := o.held[number]
	o.mu.Unlock()
	if l == nil {
		return
	}
	o.forget(number)
	if err := g.release(t.Context(), o.durable[number], l, ""); err != nil {
		t.Error(err)
	}
	o.say("lease")
}

// Pause makes a node believe that it stood still for long: its leases are over, and it does not know yet.
func Pause(g *Grid) {
	o := g.owners
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, l := range o.held {
		if l != nil {
			l.mu.Lock()
			l.renewed = time.Time{}
			l.mu.Unlock()
		}
	}
}

// Sweep writes down what is over.
func Sweep(ctx context.Context, g *Grid) { g.sweepOnce(ctx) }

// Fence returns the number of a node's ownership of a partition; 0 where it has none.
func Fence(g *Grid, number int) uint64 {
	g.owners.mu.Lock()
	defer g.owners.mu.Unlock()
	if l := g.owners.held[number]; l != nil {
		return l.fence()
	}
	return 0
}

// DropIndex forgets what the indexes have; the grid is of no use then.
func DropIndex(g *Grid) {
	for _, t := range g.tenures() {
		t.index.reset()
	}
}

// Restart restarts the server in the process, as what a frozen stream needs.
func Restart(g *Grid) error { return g.server.restart(context.Background()) }

// ReadHeaders reads a header block and returns what became of the message.
func ReadHeaders(block string) (revision Revision, contentType string) {
	m := message{seq: 7}
	m.readHeaders([]byte(block))
	return m.revision, string(m.contentType)
}

// WithLease makes leases hold longer, where a busy machine must not move partitions.
func WithLease(c Config, holds time.Duration) Config {
	c.lease = holds
	return c
}

// Bring offers a listener a change as a relay does that brings it late.
func Bring(l *Listener, key string, seq Sequence) {
	at := l.cache.placeOf(key)
	l.offer(at.partition.number, change{seq: seq, kind: Updated, entry: Entry{Cache: l.cache.name, Key: key, Revision: Revision(seq)}})
}

// CloseOutlets ends what a node relays to others, as it does when they say for a while that they want it no more.
func CloseOutlets(g *Grid) {
	for _, t := range g.tenures() {
		t.closeOutlets(true)
	}
}

// Moving reports whether a reader is being moved in one of its partitions.
func Moving(r *Reader) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.cursors, func(c *cursor) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.paused
	})
}

// SetPosition writes a reader's position in every partition, whatever it was.
func SetPosition(ctx context.Context, t testing.TB, g *Grid, cache, reader string, at Sequence) {
	t.Helper()
	for _, p := range g.classes[Durable] {
		have, err := g.readPosition(ctx, p, cache, reader)
		if err != nil {
			t.Fatal(err)
		}
		have.Position = at
		if _, err := g.writePosition(ctx, p, cache, reader, have); err != nil {
			t.Fatal(err)
		}
	}
}

// Forget purges a cache as its deletion does, of which a node that was cut off meanwhile hears nothing else.
func Forget(ctx context.Context, t testing.TB, g *Grid, cache string) {
	t.Helper()
	for _, p := range g.classes[Durable] {
		if _, err := g.ask(ctx, p, question{Op: askForget, Cache: cache}); err != nil {
			t.Fatal(err)
		}
	}
}

// Leads returns the partitions whose durable streams a node of a cluster leads.
func Leads(g *Grid) (numbers []int) {
	for number, p := range g.owners.durable {
		if g.leads(p) {
			numbers = append(numbers, number)
		}
	}
	return numbers
}

// ReadSeed reads what a seed says of itself.
func ReadSeed(line string) (name string, err error) {
	a, err := readSeed(strings.NewReader(line))
	return a.Name, err
}

// ExpireRelays has an owner send no changes in one form until it is asked again, as if other nodes had not asked for long. It goes on in the other.
func ExpireRelays(g *Grid, values bool) {
	for _, t := range g.tenures() {
		t.mu.Lock()
		for _, o := range t.outlets {
			o.mu.Lock()
			o.keys, o.values = time.Time{}, time.Now().Add(time.Hour)
			if values {
				o.keys, o.values = o.values, o.keys
			}
			o.mu.Unlock()
		}
		t.mu.Unlock()
	}
}

// Yield gives up what this node has of partitions, but their leases.
func Yield(g *Grid, numbers ...int) {
	for _, number := range numbers {
		g.owners.end(canceled, number)
	}
}

// Take makes this node own partitions again, all at a time: what a new owner does once it has their leases.
func Take(ctx context.Context, g *Grid, numbers ...int) error {
	var taking errgroup.Group
	for _, number := range numbers {
		for _, p := range g.owners.partitions(number) {
			taking.Go(func() error { return g.owners.begin(ctx, p) })
		}
	}
	return taking.Wait()
}

// Replicas are the streams of a node's own server: the first and the last sequence, and how many messages each has.
func Replicas(t testing.TB, g *Grid) map[string][3]uint64 {
	info, err := g.server.running().Jsz(&server.JSzOptions{Account: server.DEFAULT_GLOBAL_ACCOUNT, Accounts: true, Streams: true})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][3]uint64{}
	for _, a := range info.AccountDetails {
		for _, s := range a.Streams {
			out[s.Name] = [3]uint64{s.State.FirstSeq, s.State.LastSeq, s.State.Msgs}
		}
	}
	return out
}

// HoldOwner has the owner of partitions answer nothing about what it relays until the function is called.
func HoldOwner(g *Grid) (release func()) {
	all := g.tenures()
	for _, t := range all {
		t.mu.Lock()
	}
	return func() {
		for _, t := range all {
			t.mu.Unlock()
		}
	}
}

// EndRelays does what a node does that owns its partitions for a moment: it ends their relays, and takers read anew. It returns how many there were of a cache.
func EndRelays(g *Grid, cache string) (n int) {
	g.relays.mu.Lock()
	var ended []relayKey
	for key, s := range g.relays.running {
		if key.cache == cache {
			g.relays.drop(s)
			ended = append(ended, key)
		}
	}
	g.relays.mu.Unlock()
	for _, key := range ended {
		key.p.hub.fallBehind(key.p.number)
	}
	return len(ended)
}

// StoreAs writes an entry with a message's id, as a write is in a cluster.
func StoreAs(ctx context.Context, c *Cache, key, id string) (Sequence, error) {
	w, err := c.prepare(key, []byte("v"), PutOptions{})
	if err != nil {
		return 0, err
	}
	w.set(headerMsgID, id)
	return c.grid.asks.write(ctx, w)
}

// ErrSent is part of what a write fails with that was sent several times.
var ErrSent = errSent

// Taken asks whether a conditional write with that id is stored, whose condition failed so.
func Taken(ctx context.Context, c *Cache, key, id string, expected Sequence, failed error) (Sequence, error) {
	w, err := c.prepare(key, []byte("v"), PutOptions{})
	if err != nil {
		return 0, err
	}
	w.expect(expected)
	if id != "" {
		w.set(headerMsgID, id)
	}
	return c.taken(ctx, w, failed)
}

// Voices is how many nodes with a voice the cluster has, as a node's server knows.
func Voices(t testing.TB, g *Grid) int {
	t.Helper()
	info, err := g.server.running().Jsz(nil)
	if err != nil {
		t.Fatal(err)
	}
	return info.Meta.Size
}

// ForgetCluster takes the id of the cluster from the grid's description, which programs do not have there that know no ids.
func ForgetCluster(t testing.TB, g *Grid) {
	t.Helper()
	if err := g.meta.Purge(t.Context(), clusterKey); err != nil {
		t.Fatal(err)
	}
}
