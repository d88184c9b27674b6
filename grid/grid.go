// Package grid is the data grid: named caches of entries, kept in partitions over NATS JetStream,
// with listeners and with readers, whose places survive restarts. What is done with the entries (models,
// pipelines, cold stores) and how they are reached from outside is left to other packages.
//
// A grid runs in this process (Config.Dir, Config.InMemory), which may be one of a cluster of nodes (Config.Cluster), or in a NATS cluster (Config.URL);
// the code that uses it is the same. All types are safe for concurrent use unless they say
// otherwise.
package grid

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// Grid is an open grid.
type Grid struct {
	cfg        Config
	node       string // this opening's name among the nodes
	partitions int
	id         string
	clusterID  string // that of the cluster of nodes, "" for none
	markerTTL  time.Duration
	found      int // the format's version when the grid was opened

	server *embedded // nil for an external one
	// Writes, reads, feeds and scans have a connection each, so that none waits behind another.
	writes, reads *nats.Conn
	feeds, scans  lines
	scanning      *semaphore.Weighted // lists that scan
	asks          *requester
	requests      atomic.Pointer[requester] // asks, for handlers
	opening       context.CancelCauseFunc   // ends Open with a reason
	js, events    jetstream.JetStream
	meta          jetstream.KeyValue
	guard         *guard
	owners        *owners
	relays        *relays
	uses          uses
	asking        errgroup.Group // answers other nodes
	askingStore   errgroup.Group // answers what waits for a store
	peers         peers

	mu        sync.Mutex
	caches    map[string]*Cache
	revisions map[string]uint64 // of the cache configurations in caches and of those removed
	stats     map[string]*counters
	unusable  map[string]error // caches that other nodes have made and this one cannot have
	classes   map[Class][]*partition
	readers   map[*Reader]struct{}
	closed    bool

	// unopened is set while a node joins, and makes what the grid needs.
	unopened atomic.Bool
	// What the opening waits for, and when the log said so last.
	waits     string
	waitsTold time.Time
	makes     makes
	majority  *majority
	emptied   *emptied
	saying    saying
	begun     beginning
	agreed    time.Time // when the node agreed with others last
	listens   time.Time // until when it agrees with nobody, to hear more of them

	idsMu sync.Mutex
	ids   map[string]string // names of the cluster's nodes by their servers' ids

	// grown is how many replicas the streams have that this grid has gone over to, those of a cluster; 0 for a grid that has not.
	grown atomic.Int32
	// standstill is set while feeds stand still, and closed when they may go on.
	standstill atomic.Pointer[chan struct{}]
	growing    growing

	making  sync.Mutex // held while a class's streams are made
	sweep   chan struct{}
	done    chan struct{}
	loops   sync.WaitGroup // until done is closed
	running sync.WaitGroup // until what this node owns is given away
}

const (
	cachePrefix = "cache."
	// deletedPrefix begins the keys of caches that are being deleted: their entries are not all gone.
	deletedPrefix = "deleted."
	// duplicateWindow is the memory of message ids, for writes that are repeated.
	duplicateWindow = 2 * time.Minute
)

// Open opens a grid, and makes it where there is none. It returns when every entry can be read and every partition has an
// owner. The context limits opening alone.
func Open(ctx context.Context, cfg Config) (*Grid, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open grid: %w", err)
	}
	cfg = cfg.withDefaults()
	g := &Grid{
		cfg: cfg, node: nuid.Next(), caches: make(map[string]*Cache), revisions: make(map[string]uint64), stats: make(map[string]*counters), unusable: make(map[string]error),
		classes: make(map[Class][]*partition), readers: make(map[*Reader]struct{}), sweep: make(chan struct{}, 1),
		done: make(chan struct{}), ids: make(map[string]string), majority: newMajority(), emptied: newEmptied(),
	}
	if c := cfg.Cluster; c != nil {
		g.node = c.Node + nodeMark + g.node
	}
	g.asking.SetLimit(askMax)
	g.askingStore.SetLimit(askMax)
	g.relays = &relays{g: g, running: make(map[relayKey]*relay)}
	opening, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g.opening = cancel
	if err := g.open(opening); err != nil {
		if cause := context.Cause(opening); cause != nil && ctx.Err() == nil {
			err = cause
		}
		g.shut(ctx)
		return nil, fmt.Errorf("open grid: %w", err)
	}
	return g, nil
}

func (g *Grid) open(ctx context.Context) error {
	g.guard = newGuard(g)
	if c := g.cfg.Cluster; c != nil {
		if err := c.look(ctx, ""); err != nil {
			return err
		}
	}
	if g.cfg.URL == "" {
		server, err := startEmbedded(ctx, g.cfg, g.guard.froze)
		if err != nil {
			return err
		}
		g.server = server
	}
	g.unopened.Store(true)
	defer g.unopened.Store(false)
	if g.cfg.Cluster != nil {
		if err := g.agree(ctx); err != nil {
			return err
		}
	}
	var err error
	if g.writes, err = g.connect("writes"); err != nil {
		return err
	}
	if g.reads, err = g.connect("reads"); err != nil {
		return err
	}
	if g.server != nil {
		g.feeds = &wireLines{server: g.server, name: g.cfg.Name + " feeds"}
		g.scans = &wireLines{server: g.server, name: g.cfg.Name + " scans"}
	} else if g.feeds, err = newNATSLines(g, "feeds"); err != nil {
		return err
	} else if g.scans, err = newNATSLines(g, "scans"); err != nil {
		return err
	}
	g.scanning = semaphore.NewWeighted(scansAtOnce)
	if g.asks, err = newRequester(g.askOver); err != nil {
		return err
	}
	g.requests.Store(g.asks)
	if g.js, err = jetstream.New(g.writes, jetstream.WithDefaultTimeout(g.cfg.Timeout)); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if g.events, err = jetstream.New(g.reads, jetstream.WithDefaultTimeout(g.cfg.Timeout)); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if g.server == nil {
		if err := g.checkServer(ctx, g.writes); err != nil {
			return err
		}
	}
	if g.cfg.Cluster != nil {
		if err := g.answerTerms(g.reads); err != nil {
			return err
		}
		if err := g.join(ctx); err != nil {
			return err
		}
	}
	if err := g.awaitGrown(ctx); err != nil {
		return err
	}
	if err := g.patiently(ctx, g.openMeta); err != nil {
		return err
	}
	if err := g.guard.measure(ctx); err != nil {
		return err
	}
	if err := g.openOwners(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{g.loadCaches, g.awaitVolatile, g.finishDeletions, g.migrate} {
		if err := g.patiently(ctx, step); err != nil {
			return err
		}
	}
	if g.cfg.Cluster != nil {
		if err := g.refusedBy(); err != nil {
			return err
		}
		g.cfg.Cluster.Waiting("")
	}
	g.loops.Go(g.runSweeper)
	g.loops.Go(g.guard.run)
	return nil
}

// openOwners makes the durable class, whose streams carry the leases, and takes this node's share of it.
func (g *Grid) openOwners(ctx context.Context) error {
	parts, err := g.makeClass(ctx, Durable)
	if err != nil {
		return err
	}
	g.owners = newOwners(g, parts)
	if g.alone() {
		if err := g.owners.takeAll(ctx); err != nil {
			return err
		}
	} else {
		if err := g.owners.listen(); err != nil {
			return err
		}
		g.loops.Go(g.owners.announce)
		g.loops.Go(g.owners.run)
		g.loops.Go(g.relays.run)
	}
	return g.owners.addClass(ctx, parts)
}

// askOver opens the connection of the requester.
func (g *Grid) askOver(r *requester) (link, error) {
	if g.cfg.Cluster != nil {
		r.attempt.Store(int64(attemptTime))
		r.stuck = func(ctx context.Context, subject string) error { return g.lacks(ctx, streamOf(subject)) }
	}
	if g.server != nil {
		return newWireLink(&wireLines{server: g.server, name: g.cfg.Name + " asks"}, r), nil
	}
	return newNATSLink(g.writes, r)
}

func (g *Grid) storage(class Class) jetstream.StorageType {
	if g.cfg.InMemory || class == Volatile {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// tenures returns what this node owns.
func (g *Grid) tenures() []*tenure {
	g.mu.Lock()
	defer g.mu.Unlock()
	var out []*tenure
	for _, parts := range g.classes {
		for _, p := range parts {
			if t := p.tenure(); t != nil {
				out = append(out, t)
			}
		}
	}
	return out
}

// ID tells the grid from all others. A store keeps it with what is stored, whose revisions mean nothing in another grid.
func (g *Grid) ID() string { return g.id }

// ClusterID tells the cluster of nodes that keep the grid from all others, "" where it is no such cluster's. That of a grid in another cluster, which a backup was restored to, is another one,
// where ID is the same.
func (g *Grid) ClusterID() string { return g.clusterID }

// Name is the grid's name among those on one NATS server.
func (g *Grid) Name() string { return g.cfg.Name }

// First returns where the streams of durable caches begin: all revisions below it are of other streams. It is 1 at least.
func (g *Grid) First() Sequence {
	g.mu.Lock()
	defer g.mu.Unlock()
	first := ^Sequence(0)
	for _, p := range g.classes[Durable] {
		first = min(first, max(1, Sequence(p.first.Load())))
	}
	return first
}

// Partitions returns how many partitions the grid has.
func (g *Grid) Partitions() int { return g.partitions }

// Ready returns nil where the grid takes reads and writes and every partition has an owner, else why not.
func (g *Grid) Ready(ctx context.Context) error {
	if g.isClosed() {
		return ErrClosed
	}
	for _, nc := range []*nats.Conn{g.writes, g.reads} {
		if !nc.IsConnected() {
			return fmt.Errorf("%w: no connection to NATS (%s)", ErrUnavailable, nc.Status())
		}
	}
	checking, cancel := context.WithTimeout(ctx, readyWait)
	err := g.feeds.check(checking)
	cancel()
	if err != nil {
		return fmt.Errorf("%w: the connection of the feeds: %w", ErrUnavailable, err)
	}
	if err := g.owners.settled(); err != nil {
		return saidOnce(err, g.lackingNow(ctx), g.NoLeader())
	}
	if err := g.cannotUse(); err != nil {
		return err
	}
	if err := g.othersReady(ctx); err != nil {
		return err
	}
	if err := g.guard.check(Durable); err != nil {
		return err
	}
	return g.guard.check(Volatile)
}

// saidOnce adds reasons to an error, but the parts of them that it says already: which folders are empty is said of a partition as of the cluster.
func saidOnce(err error, reasons ...string) error {
	for _, why := range reasons {
		for part := range strings.SplitSeq(why, "; ") {
			if !strings.Contains(err.Error(), part) {
				err = fmt.Errorf("%w; %s", err, part)
			}
		}
	}
	return err
}

// readyWait is how long the server, and then other owners, may take to answer that they are ready.
const readyWait = time.Second

// othersReady asks the owners of the other partitions whether they read them.
func (g *Grid) othersReady(ctx context.Context) error {
	if g.alone() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	g.mu.Lock()
	classes := maps.Clone(g.classes)
	g.mu.Unlock()
	for class, parts := range classes {
		for _, p := range parts {
			if p.tenure() != nil {
				continue
			}
			if _, err := g.ask(ctx, p, question{Op: askEnd}); err != nil {
				return fmt.Errorf("%s partition %d: %w", class, p.number, err)
			}
		}
	}
	return nil
}

func (g *Grid) isClosed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed
}

func (g *Grid) isDone() bool { return isDone(g.done) }

// Close ends listeners and readers, gives away what this node owns, and stops the server where it is in this process.
// Nothing that was acknowledged is lost. Operations that are under way fail with ErrClosed. The context limits how long the
// positions of readers and idle entries that are over are still written down, or Config.Timeout where it has no deadline; everything
// else ends in any case.
func (g *Grid) Close(ctx context.Context) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	readers := slices.Collect(maps.Keys(g.readers))
	caches := slices.Collect(maps.Values(g.caches))
	g.mu.Unlock()
	for _, c := range caches {
		c.endListeners(fmt.Errorf("grid: %w", ErrClosed))
		c.closeNear()
	}
	ctx, cancel := g.limited(ctx)
	defer cancel()
	var errs []error
	for _, r := range readers {
		errs = append(errs, r.Close(ctx))
	}
	g.sweepOnce(ctx) // an idle entry that is over must not come back
	g.shut(ctx)
	return errors.Join(errs...)
}

func (g *Grid) shut(ctx context.Context) {
	close(g.done)
	g.growing.once.Lock() // it is not on its way any more
	defer g.growing.once.Unlock()
	g.loops.Wait()
	if g.owners != nil {
		g.owners.close(ctx)
	}
	g.running.Wait()
	// Its functions return no error.
	_ = g.asking.Wait()
	_ = g.askingStore.Wait()
	if g.asks != nil {
		g.asks.close()
	}
	g.growing.close()
	for _, nc := range []*nats.Conn{g.writes, g.reads} {
		if nc != nil {
			nc.Close()
		}
	}
	g.peers.close()
	for _, l := range []lines{g.feeds, g.scans} {
		if l != nil {
			l.close()
		}
	}
	if g.server != nil {
		g.server.close()
	}
}

// limited gives an operation the grid's time limit where its context has none.
func (g *Grid) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, g.cfg.Timeout)
}

// counters are a cache's statistics on this node.
type counters struct {
	hits, coldHits, misses, puts, deletes, expired, evicted, nearHits, nearMisses atomic.Uint64
	// live and bytes are what the partitions hold; reserved is what writes under way may add.
	live, bytes, reservedEntries, reservedBytes atomic.Int64
	// damaged is how many keys the partitions have whose entries cannot be read.
	damaged atomic.Int64
}

func (g *Grid) counters(cache string) *counters {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.stats[cache]
	if c == nil {
		c = new(counters)
		g.stats[cache] = c
	}
	return c
}

// apiError maps what JetStream says to our sentinels.
func apiError(err error) error {
	code := codeOf(err)
	switch {
	case code != 0:
		switch code {
		case 10023, 10047, 10028, 10077, 10002: // insufficient resources, storage, memory, store failed, account limits
			return fmt.Errorf("%w: %w", ErrFull, err)
		case 10054: // message size
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		if inElection(err) && !errors.Is(err, ErrUnavailable) {
			return fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
		return err
	case errors.Is(err, context.Canceled), errors.Is(err, ErrUnavailable):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
