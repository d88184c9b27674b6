// Package grid is the data grid: named caches of entries, kept in partitions over NATS JetStream,
// with listeners and with consumers that survive restarts. What is done with the entries (models,
// pipelines, cold stores) and how they are reached from outside is left to other packages.
//
// A grid runs in this process (Config.Dir, Config.InMemory) or in a NATS cluster (Config.URL);
// the code that uses it is the same. All types are safe for concurrent use unless they say
// otherwise.
package grid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"
)

// Grid is an open grid.
type Grid struct {
	cfg        Config
	partitions int
	markerTTL  time.Duration

	server *embedded // nil for an external one
	// Writes and reads have a connection of their own, so that they do not wait behind events.
	writes, reads *nats.Conn
	asks          *requester
	js, events    jetstream.JetStream
	meta          jetstream.KeyValue
	guard         *guard

	mu        sync.Mutex
	caches    map[string]*Cache
	revisions map[string]uint64 // of the cache configurations in caches and of those removed
	stats     map[string]*counters
	classes   map[Class][]*part
	feeds     []*feed
	consumers map[*Consumer]struct{}
	closed    bool

	making  sync.Mutex // held while a class's streams are made
	sweep   chan struct{}
	done    context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
}

// gridState is what is fixed when a grid is made, under the key gridKey of its meta bucket.
type gridState struct {
	Format     int           `json:"format"`
	Partitions int           `json:"partitions"`
	MarkerTTL  time.Duration `json:"marker_ttl"`
}

const (
	gridKey     = "grid"
	cachePrefix = "cache."
	// windowMessages is the memory of message ids, for writes that are repeated.
	duplicateWindow = 2 * time.Minute
)

// Open opens a grid, and makes it where there is none. It returns when every entry can be read.
// The context limits opening alone.
func Open(ctx context.Context, cfg Config) (*Grid, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open grid: %w", err)
	}
	cfg = cfg.withDefaults()
	g := &Grid{
		cfg: cfg, caches: make(map[string]*Cache), revisions: make(map[string]uint64), stats: make(map[string]*counters),
		classes: make(map[Class][]*part), consumers: make(map[*Consumer]struct{}), sweep: make(chan struct{}, 1),
	}
	g.done, g.stop = context.WithCancel(context.Background())
	if err := g.open(ctx); err != nil {
		g.shut()
		return nil, fmt.Errorf("open grid: %w", err)
	}
	return g, nil
}

func (g *Grid) open(ctx context.Context) error {
	g.guard = newGuard(g)
	if g.cfg.URL == "" {
		server, err := startEmbedded(g.cfg, g.guard.froze)
		if err != nil {
			return err
		}
		g.server = server
	}
	var err error
	if g.writes, err = g.connect("writes"); err != nil {
		return err
	}
	if g.reads, err = g.connect("events"); err != nil {
		return err
	}
	if g.asks, err = newRequester(g.writes); err != nil {
		return err
	}
	if g.js, err = jetstream.New(g.writes, jetstream.WithDefaultTimeout(g.cfg.Timeout)); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if g.events, err = jetstream.New(g.reads, jetstream.WithDefaultTimeout(g.cfg.Timeout)); err != nil {
		return fmt.Errorf("use JetStream: %w", err)
	}
	if err := g.openMeta(ctx); err != nil {
		return err
	}
	if err := g.guard.measure(ctx); err != nil {
		return err
	}
	if _, err := g.class(ctx, Durable); err != nil {
		return err
	}
	if err := g.loadCaches(ctx); err != nil {
		return err
	}
	if err := g.purgeOrphans(ctx); err != nil {
		return err
	}
	g.running.Go(g.runSweeper)
	g.running.Go(g.guard.run)
	return nil
}

func (g *Grid) connect(what string) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(g.cfg.Name + " " + what),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(50 * time.Millisecond),
		nats.RetryOnFailedConnect(false),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			g.cfg.Logger.Warn("nats", "connection", what, "error", err)
		}),
	}
	if g.server != nil {
		opts = append(opts, nats.InProcessServer(g.server))
	}
	nc, err := nats.Connect(g.cfg.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("%w: connect to NATS: %w", ErrUnavailable, err)
	}
	if size := nc.MaxPayload(); size < maxPayload {
		nc.Close()
		return nil, fmt.Errorf("%w: the NATS server's max_payload is %d; set it to %d or more", ErrConfig, size, maxPayload)
	}
	return nc, nil
}

func (g *Grid) storage(class Class) jetstream.StorageType {
	if g.cfg.InMemory || class == Volatile {
		return jetstream.MemoryStorage
	}
	return jetstream.FileStorage
}

// openMeta opens the bucket with what describes the grid, and agrees with it.
func (g *Grid) openMeta(ctx context.Context) error {
	kv, err := g.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: g.cfg.Name + "-meta", Description: "Millrace grid", Storage: g.storage(Durable),
	})
	if err != nil {
		return fmt.Errorf("open the grid's description: %w", apiError(err))
	}
	g.meta = kv
	want := gridState{Format: formatVersion, Partitions: g.cfg.Partitions, MarkerTTL: g.cfg.MarkerTTL}
	if want.Partitions == 0 {
		want.Partitions = 8
	}
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("describe the grid: %w", err)
	}
	if _, err = kv.Create(ctx, gridKey, b); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
		return fmt.Errorf("describe the grid: %w", apiError(err))
	}
	entry, err := kv.Get(ctx, gridKey)
	if err != nil {
		return fmt.Errorf("read the grid's description: %w", apiError(err))
	}
	var have gridState
	if err := json.Unmarshal(entry.Value(), &have); err != nil {
		return fmt.Errorf("%w: the grid's description %q: %w", ErrFormat, entry.Value(), err)
	}
	if have.Format > formatVersion {
		return fmt.Errorf("%w: the grid has version %d, this program knows up to %d; use a newer one", ErrFormat, have.Format, formatVersion)
	}
	if g.cfg.Partitions != 0 && have.Partitions != g.cfg.Partitions {
		return fmt.Errorf("%w: the grid was made with %d partitions, which cannot change to %d", ErrConfig, have.Partitions, g.cfg.Partitions)
	}
	if have.Partitions < 1 {
		return fmt.Errorf("%w: the grid's description %q has no partitions", ErrFormat, entry.Value())
	}
	g.partitions, g.markerTTL = have.Partitions, g.cfg.MarkerTTL
	return nil
}

// class returns the partitions of a class; it makes their streams and starts their feeds when it
// is asked first.
func (g *Grid) class(ctx context.Context, class Class) ([]*part, error) {
	g.making.Lock()
	defer g.making.Unlock()
	g.mu.Lock()
	parts, closed := g.classes[class], g.closed
	g.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if parts != nil {
		return parts, nil
	}
	var feeds []*feed
	for i := range g.partitions {
		bucket := Bucket(g.cfg.Name, class, i)
		p := &part{
			class: class, number: i, stream: "KV_" + bucket, prefix: "$KV." + bucket + ".",
			spaces: make(map[string]*keyspace), tidyAt: tidyMin, flight: semaphore.NewWeighted(flightMax),
		}
		if err := g.makeStream(ctx, p, bucket); err != nil {
			return nil, err
		}
		f, err := g.startFeed(ctx, p)
		if err != nil {
			return nil, err
		}
		parts, feeds = append(parts, p), append(feeds, f)
	}
	g.mu.Lock()
	g.feeds = append(g.feeds, feeds...)
	g.mu.Unlock()
	for _, f := range feeds {
		select {
		case <-f.ready:
		case <-ctx.Done():
			return nil, fmt.Errorf("read partition %d: %w", f.p.number, contextError(ctx))
		}
	}
	g.mu.Lock()
	g.classes[class] = parts
	g.mu.Unlock()
	return parts, nil
}

func (g *Grid) makeStream(ctx context.Context, p *part, bucket string) error {
	_, err := g.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:                   p.stream,
		Description:            fmt.Sprintf("Millrace grid, %s partition %d of %d", p.class, p.number, g.partitions),
		Subjects:               []string{"$KV." + bucket + ".>"},
		Storage:                g.storage(p.class),
		MaxMsgsPerSubject:      1,
		Discard:                jetstream.DiscardNew,
		DenyDelete:             true,
		AllowRollup:            true,
		AllowDirect:            true,
		AllowMsgTTL:            true,
		AllowBatchPublish:      true,
		AllowAtomicPublish:     true,
		SubjectDeleteMarkerTTL: g.markerTTL,
		Duplicates:             duplicateWindow,
	})
	if err != nil {
		return fmt.Errorf("make stream %s: %w", p.stream, apiError(err))
	}
	return nil
}

// Partitions returns how many partitions the grid has.
func (g *Grid) Partitions() int { return g.partitions }

// Ready returns nil where the grid takes reads and writes, else why not.
func (g *Grid) Ready(ctx context.Context) error {
	g.mu.Lock()
	closed := g.closed
	g.mu.Unlock()
	if closed {
		return ErrClosed
	}
	for _, nc := range []*nats.Conn{g.writes, g.reads} {
		if !nc.IsConnected() {
			return fmt.Errorf("%w: no connection to NATS (%s)", ErrUnavailable, nc.Status())
		}
	}
	if err := g.guard.check(Durable); err != nil {
		return err
	}
	return g.guard.check(Volatile)
}

// Close ends listeners and consumers, and stops the server where it is in this process. Nothing
// that was acknowledged is lost. Operations that are under way fail with ErrClosed.
func (g *Grid) Close(context.Context) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return nil
	}
	g.closed = true
	consumers := make([]*Consumer, 0, len(g.consumers))
	for c := range g.consumers {
		consumers = append(consumers, c)
	}
	caches := make([]*Cache, 0, len(g.caches))
	for _, c := range g.caches {
		caches = append(caches, c)
	}
	g.mu.Unlock()
	for _, c := range consumers {
		c.Close()
	}
	for _, c := range caches {
		c.endListeners(fmt.Errorf("grid: %w", ErrClosed))
	}
	g.sweepOnce() // an idle entry that is over must not come back
	g.shut()
	return nil
}

func (g *Grid) shut() {
	g.stop()
	g.running.Wait()
	for _, f := range g.feeds {
		f.close()
	}
	if g.asks != nil {
		g.asks.close()
	}
	for _, nc := range []*nats.Conn{g.writes, g.reads} {
		if nc != nil {
			nc.Close()
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
	hits, misses, puts, deletes, expired atomic.Uint64
	// live and bytes are what the partitions hold; reserved is what writes under way may add.
	live, bytes, reservedEntries, reservedBytes atomic.Int64
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
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		switch api.ErrorCode {
		case 10023, 10047, 10028, 10077, 10002: // insufficient resources, storage, memory, store failed, account limits
			return fmt.Errorf("%w: %w", ErrFull, err)
		case 10054: // message size
			return fmt.Errorf("%w: %w", ErrTooLarge, err)
		}
		return err
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	case errors.Is(err, nats.ErrConnectionClosed):
		return fmt.Errorf("%w: %w", ErrClosed, err)
	}
	return err
}
