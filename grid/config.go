package grid

import (
	"fmt"
	"log/slog"
	"math/bits"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/fault"
)

// The limits that no configuration raises.
const (
	// MaxKeyBytes is the longest key, before it is escaped.
	MaxKeyBytes = 1024
	// MaxValueBytes is the largest value of an entry.
	MaxValueBytes = 8 << 20
	// DefaultEntryBytes is a cache's limit for a value where its configuration has none.
	DefaultEntryBytes = 1 << 20
	// MaxLabelBytes is the room for an entry's labels, encoded.
	MaxLabelBytes = 16 << 10
	// MaxTypeBytes is the longest content type.
	MaxTypeBytes = 255

	// MaxLifespan is the longest lifespan, max idle and marker time: a hundred years. Times are counted in nanoseconds, of which 64 bits
	// hold 292 years.
	MaxLifespan = 100 * 365 * 24 * time.Hour

	maxPayload = MaxValueBytes + 64<<10
)

// Config says where a grid lives and what it may use. Exactly one of Dir, InMemory and URL is set.
type Config struct {
	// Dir is the folder of a durable grid in this process. It is made if missing and locked.
	Dir string
	// InMemory keeps a grid in this process, in memory: for tests. Its temporary folder holds
	// no entry and is removed by Close.
	InMemory bool
	// URL is an external NATS server with JetStream, as nats://host:4222, or several of one cluster with commas between.
	URL string
	// Cluster, with Dir, makes the node one of several that keep the grid together; nil is a node alone.
	Cluster *Cluster

	// Access is how the node shows that server who it is.
	Access Access

	// Name separates grids in one NATS cluster: [A-Za-z0-9_-]{1,32}; "millrace" if empty.
	Name string
	// Partitions is a power of two up to 256, fixed when the grid is made. 0 takes what the grid
	// has, or 8 for a new one.
	Partitions int
	// Replicas is how many servers of a cluster have each stream: 1, 3 or 5. 0 leaves it as it is, 1 for a new grid. Changing it has the servers copy, or
	// drop, what there is. With URL only.
	Replicas int
	// SyncAlways makes every acknowledged write of a durable cache survive a power cut, at the
	// price of an fsync a write. Without it, a killed process loses nothing, a power cut up to
	// two minutes. In this process only: an external server has its own setting.
	SyncAlways bool
	// MaxBytes limits the files of durable caches and MaxMemory the volatile ones, in this
	// process; 0 is no limit but the disk. Over it, puts get ErrFull.
	MaxBytes, MaxMemory int64
	// MarkerTTL is how long a removal or expiry is remembered, for listeners that resume and for
	// stores; 1 s to MaxLifespan, 1 h if 0.
	MarkerTTL time.Duration
	// Timeout limits an operation whose context has no deadline; if 0 it is 5 s, in a cluster 15 s: a leader that died is replaced within it.
	Timeout time.Duration
	// Tiers makes what caches have behind them: package cold. Without it nothing is evicted, and what is in a store cannot be read.
	Tiers Tiers
	// Taking says which backup a new grid is to take in; nil for none. It is ErrNotNew where there is a grid, and for other openings ErrUnfinished
	// until all is there.
	Taking *Taking
	// Resolve, where a folder says that its grid was about to go over to a cluster when the node died, is asked whether it did.
	Resolve Resolve
	// Version is that of the program, which other nodes of a cluster are told.
	Version string
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger

	// Now replaces the clock that lifespans and idle times are read by; nil is time.Now. It is
	// for tests: the server's own expiry goes by the real time.
	Now func() time.Time

	lease time.Duration // how long a lease holds; leaseTime if 0
}

var (
	gridName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	cacheName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	storeName = gridName // with a prefix it is the name of a reader
)

// Validate reports every fault at once, as an ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	places := 0
	for _, set := range []bool{c.Dir != "", c.InMemory, c.URL != ""} {
		if set {
			places++
		}
	}
	l.Check(places == 1, "", "exactly one of Dir, InMemory and URL must be set, not %d", places)
	for server := range strings.SplitSeq(c.URL, ",") {
		l.Check(c.URL == "" || isServer(server), "url", "%s is not an address such as nats://host:4222", redacted(server))
	}
	l.Check(c.Name == "" || gridName.MatchString(c.Name), "name", "%q: it has 1 to 32 letters, digits, _ and -", c.Name)
	l.Check(c.Partitions >= 0 && c.Partitions <= 256 && bits.OnesCount(uint(c.Partitions)) <= 1,
		"partitions", "%d must be a power of two from 1 to 256, or 0", c.Partitions)
	c.Access.check(&l, c.URL)
	l.Check(slices.Contains([]int{0, 1, 3, 5}, c.Replicas), "replicas", "%d must be 1, 3 or 5, or 0", c.Replicas)
	l.Check(c.URL != "" || c.Replicas <= 1, "replicas", "%d needs the url of a cluster", c.Replicas)
	if c.Cluster != nil {
		l.Check(c.Dir != "", "cluster", "needs a folder of the node's own")
		c.Cluster.validate(&l)
	}
	l.Check(c.URL == "" || !c.SyncAlways, "sync", "is a setting of the server at %s", redacted(c.URL))
	for _, limit := range []struct {
		name  string
		bytes int64
	}{{"max_bytes", c.MaxBytes}, {"max_memory", c.MaxMemory}} {
		l.Check(limit.bytes >= 0, limit.name, "%d must not be negative", limit.bytes)
		l.Check(c.URL == "" || limit.bytes == 0, limit.name, "is a setting of the server at %s", redacted(c.URL))
	}
	l.Check(c.MarkerTTL == 0 || c.MarkerTTL >= time.Second && c.MarkerTTL <= MaxLifespan,
		"marker_ttl", "%v must be from 1s to %v", c.MarkerTTL, MaxLifespan)
	l.Check(c.Timeout >= 0, "timeout", "%v must not be negative", c.Timeout)
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	return nil
}

// isServer reports whether s is the address of a NATS server.
func isServer(s string) bool {
	u, err := url.Parse(strings.TrimSpace(s))
	return err == nil && slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) && u.Hostname() != ""
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "millrace"
	}
	if c.MarkerTTL == 0 {
		c.MarkerTTL = time.Hour
	}
	c.MarkerTTL = c.MarkerTTL.Truncate(time.Second)
	if c.Cluster = c.Cluster.withDefaults(); c.Cluster != nil {
		c.Replicas = c.Cluster.Replicas
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
		if c.Cluster != nil {
			c.Timeout = clusterTimeout
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.lease == 0 {
		c.lease = leaseTime
	}
	return c
}

// Class is where a cache's entries live.
type Class string

const (
	// Durable entries are in files and survive restarts; the default.
	Durable Class = "durable"
	// Volatile entries are in memory: gone after a restart of the node.
	Volatile Class = "volatile"
)

// CacheConfig describes a cache. It is kept in the grid itself. Zero limits are no limits.
type CacheConfig struct {
	Name  string `json:"name"`
	Class Class  `json:"class,omitempty"`
	// MaxEntries and MaxBytes (of values) bound what the cache has in memory; over them, Evict says what happens.
	MaxEntries int64 `json:"max_entries,omitempty"`
	MaxBytes   int64 `json:"max_bytes,omitempty"`
	// Evict is EvictStore where there is a store, EvictRefuse where there is none.
	Evict Evict `json:"evict,omitempty"`
	// Policy chooses what leaves memory; PolicyTinyLFU if empty.
	Policy Policy `json:"policy,omitempty"`
	// Store is the name of the store that has everything of the cache; empty for none. Write says when it has it.
	Store string `json:"store,omitempty"`
	Write Write  `json:"write,omitempty"`
	// Preload is what a cache with a store has at a start: PreloadNone, PreloadKeys, PreloadAll, or a number, of the newest entries whose values
	// come into memory. PreloadNone if empty, PreloadAll of a volatile cache.
	Preload string `json:"preload,omitempty"`
	// MaxEntryBytes bounds one value; DefaultEntryBytes if 0, at most MaxValueBytes.
	MaxEntryBytes int64 `json:"max_entry_bytes,omitempty"`
	// Lifespan and MaxIdle are those of entries that are put without their own.
	Lifespan time.Duration `json:"lifespan,omitempty"`
	MaxIdle  time.Duration `json:"max_idle,omitempty"`
	// Near is what each node keeps of the cache beside itself.
	Near NearConfig `json:"near,omitzero"`
	// Consistency is what gets see where partitions have replicas; ConsistencySession if empty.
	Consistency Consistency `json:"consistency,omitempty"`
}

// Evict is what happens when a cache is full.
type Evict string

const (
	// EvictStore keeps entries in the store alone that nobody needed lately.
	EvictStore Evict = "store"
	// EvictDrop ends them, with an expired event.
	EvictDrop Evict = "drop"
	// EvictRefuse refuses puts with ErrFull.
	EvictRefuse Evict = "refuse"
)

// Policy is how it is told which entries nobody needed lately.
type Policy string

const (
	// PolicyTinyLFU goes by how often an entry was used lately, and is not disturbed by many that are used once.
	PolicyTinyLFU Policy = "tinylfu"
	// PolicyS3FIFO is alike with less work a use.
	PolicyS3FIFO Policy = "s3fifo"
	// PolicyLRU goes by the last use alone.
	PolicyLRU Policy = "lru"
)

// Write is when the store has what is put.
type Write string

const (
	// WriteBehind answers puts at once; the store has them soon after.
	WriteBehind Write = "behind"
	// WriteThrough answers when the store has them.
	WriteThrough Write = "through"
)

// What a cache with a store has at a start. The keys of a durable one are there in any case, but those that a store has of a grid that is lost,
// or of an import.
const (
	// PreloadNone leaves what the store has where it is; a volatile cache begins empty.
	PreloadNone = "none"
	// PreloadKeys makes entries of what the store has, whose values come when they are asked for.
	PreloadKeys = "keys"
	// PreloadAll brings values into memory, the newest first, as many as there is room for.
	PreloadAll = "all"
)

// minLifespan is the shortest lifespan and max idle of a cache: entries that are gone before they can be read are a mistake of the unit.
const minLifespan = time.Millisecond

// Validate reports every fault at once, as an ErrConfig, or an ErrCacheName where the name is one of them, that holds fault.Errors.
func (c CacheConfig) Validate() error {
	var l fault.Errors
	sentinel := ErrConfig
	if !cacheName.MatchString(c.Name) {
		sentinel = ErrCacheName
		l.Add("name", "%q: a name has 1 to 64 letters, digits, _ and -", c.Name)
	}
	l.Check(c.Class == "" || c.Class == Durable || c.Class == Volatile, "class", "%q must be one of %s, %s", c.Class, Durable, Volatile)
	l.Check(c.MaxEntries >= 0, "max_entries", "%d must be at least 0", c.MaxEntries)
	l.Check(c.MaxBytes >= 0, "max_bytes", "%d must be at least 0", c.MaxBytes)
	l.Check(c.MaxEntryBytes >= 0 && c.MaxEntryBytes <= MaxValueBytes, "max_entry_bytes", "%d must be from 1 to %d", c.MaxEntryBytes, MaxValueBytes)
	l.Check(slices.Contains([]Consistency{"", ConsistencySession, ConsistencyLeader, ConsistencyLocal}, c.Consistency), "consistency",
		"%q must be one of %s, %s, %s", c.Consistency, ConsistencySession, ConsistencyLeader, ConsistencyLocal)
	c.Near.check(&l)
	c.checkTier(&l)
	for _, span := range []struct {
		name string
		d    time.Duration
	}{{"lifespan", c.Lifespan}, {"max_idle", c.MaxIdle}} {
		l.Check(span.d == 0 || span.d >= minLifespan && span.d <= MaxLifespan, span.name, "%v must be from %v to %v, or 0", span.d, minLifespan, MaxLifespan)
	}
	if err := l.Err(); err != nil {
		return fmt.Errorf("cache %s: %w: %w", c.Name, sentinel, err)
	}
	return nil
}

func (c CacheConfig) checkTier(l *fault.Errors) {
	l.Check(slices.Contains([]Evict{"", EvictStore, EvictDrop, EvictRefuse}, c.Evict), "evict", "%q must be one of %s, %s, %s", c.Evict, EvictStore, EvictDrop, EvictRefuse)
	l.Check(slices.Contains([]Policy{"", PolicyTinyLFU, PolicyS3FIFO, PolicyLRU}, c.Policy), "policy", "%q must be one of %s, %s, %s", c.Policy, PolicyTinyLFU, PolicyS3FIFO, PolicyLRU)
	l.Check(slices.Contains([]Write{"", WriteBehind, WriteThrough}, c.Write), "write", "%q must be one of %s, %s", c.Write, WriteBehind, WriteThrough)
	l.Check(c.Store == "" || storeName.MatchString(c.Store), "store", "%q: a name has 1 to 32 letters, digits, _ and -", c.Store)
	l.Check(c.Store == "" || !IsSystem(c.Name), "store", "%s: a name that begins with %s cannot have a store", c.Name, systemPrefix)
	l.Check(preloads(c.Preload), "preload", "%q must be %s, %s, %s, or how many of the newest entries, from 1", c.Preload, PreloadNone, PreloadKeys, PreloadAll)
	l.Check(c.Preload == "" || c.Preload == PreloadNone || c.Store != "", "preload", "%s needs a store", c.Preload)
	l.Check(c.Evict != EvictStore || c.Store != "", "evict", "%s needs a store", EvictStore)
	l.Check(c.Write == "" || c.Store != "", "write", "%s needs a store", c.Write)
}

// preloads reports whether a word says what is loaded at a start.
func preloads(word string) bool {
	if slices.Contains([]string{"", PreloadNone, PreloadKeys, PreloadAll}, word) {
		return true
	}
	n, err := strconv.ParseInt(word, 10, 64)
	return err == nil && n > 0 && strconv.FormatInt(n, 10) == word
}

func (c CacheConfig) withDefaults() CacheConfig {
	if c.Class == "" {
		c.Class = Durable
	}
	if c.Store != "" && c.Preload == "" {
		c.Preload = PreloadNone
		if c.Class == Volatile {
			c.Preload = PreloadAll
		}
	}
	if c.Store != "" && c.Write == "" {
		c.Write = WriteBehind
	}
	if c.Store != "" && c.Evict == "" {
		c.Evict = EvictStore
	}
	c.Near = c.Near.withDefaults()
	if c.Consistency == "" {
		c.Consistency = ConsistencySession
	}
	if c.MaxEntryBytes == 0 {
		c.MaxEntryBytes = DefaultEntryBytes
	}
	return c
}
