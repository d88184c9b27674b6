package grid

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"
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
	// URL is an external NATS server or cluster with JetStream, as nats://host:4222.
	URL string

	// Name separates grids in one NATS cluster: [A-Za-z0-9_-]{1,32}; "millrace" if empty.
	Name string
	// Partitions is a power of two up to 256, fixed when the grid is made. 0 takes what the grid
	// has, or 8 for a new one.
	Partitions int
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
	// Timeout limits an operation whose context has no deadline; 5 s if 0.
	Timeout time.Duration
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger

	// Now replaces the clock that lifespans and idle times are read by; nil is time.Now. It is
	// for tests: the server's own expiry goes by the real time.
	Now func() time.Time
}

var (
	gridName  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,32}$`)
	cacheName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// Validate reports every fault at once, as one ErrConfig.
func (c Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	places := 0
	for _, set := range []bool{c.Dir != "", c.InMemory, c.URL != ""} {
		if set {
			places++
		}
	}
	if places != 1 {
		fault("exactly one of Dir, InMemory and URL must be set, not %d", places)
	}
	if c.Name != "" && !gridName.MatchString(c.Name) {
		fault("name %q does not match %s", c.Name, gridName)
	}
	if p := c.Partitions; p < 0 || p > 256 || p&(p-1) != 0 {
		fault("partitions %d is not a power of two from 1 to 256", p)
	}
	if c.MaxBytes < 0 || c.MaxMemory < 0 {
		fault("max bytes %d and max memory %d must not be negative", c.MaxBytes, c.MaxMemory)
	}
	if c.MarkerTTL != 0 && (c.MarkerTTL < time.Second || c.MarkerTTL > MaxLifespan) {
		fault("marker ttl %v is not from 1s to %v", c.MarkerTTL, MaxLifespan)
	}
	if c.Timeout < 0 {
		fault("timeout %v is negative", c.Timeout)
	}
	if c.URL != "" && (c.SyncAlways || c.MaxBytes != 0 || c.MaxMemory != 0) {
		fault("sync always, max bytes and max memory are settings of the server at %s, not of its client", c.URL)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrConfig, errors.Join(faults...))
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "millrace"
	}
	if c.MarkerTTL == 0 {
		c.MarkerTTL = time.Hour
	}
	c.MarkerTTL = c.MarkerTTL.Truncate(time.Second)
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
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
	// MaxEntries and MaxBytes (of values) bound the cache; over them, puts get ErrFull.
	MaxEntries int64 `json:"max_entries,omitempty"`
	MaxBytes   int64 `json:"max_bytes,omitempty"`
	// MaxEntryBytes bounds one value; DefaultEntryBytes if 0, at most MaxValueBytes.
	MaxEntryBytes int64 `json:"max_entry_bytes,omitempty"`
	// Lifespan and MaxIdle are those of entries that are put without their own.
	Lifespan time.Duration `json:"lifespan,omitempty"`
	MaxIdle  time.Duration `json:"max_idle,omitempty"`
}

// Validate reports every fault at once.
func (c CacheConfig) Validate() error {
	if !cacheName.MatchString(c.Name) {
		return fmt.Errorf("%w: %q does not match %s", ErrCacheName, c.Name, cacheName)
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Class != "" && c.Class != Durable && c.Class != Volatile {
		fault("class %q is neither %s nor %s", c.Class, Durable, Volatile)
	}
	if c.MaxEntries < 0 || c.MaxBytes < 0 {
		fault("max entries %d and max bytes %d must not be negative", c.MaxEntries, c.MaxBytes)
	}
	if c.MaxEntryBytes < 0 || c.MaxEntryBytes > MaxValueBytes {
		fault("max entry bytes %d is not from 1 to %d", c.MaxEntryBytes, MaxValueBytes)
	}
	if c.Lifespan < 0 || c.Lifespan > MaxLifespan {
		fault("lifespan %v is not from 0 to %v", c.Lifespan, MaxLifespan)
	}
	if c.MaxIdle < 0 || c.MaxIdle > MaxLifespan {
		fault("max idle %v is not from 0 to %v", c.MaxIdle, MaxLifespan)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("cache %s: %w: %w", c.Name, ErrConfig, errors.Join(faults...))
}

func (c CacheConfig) withDefaults() CacheConfig {
	if c.Class == "" {
		c.Class = Durable
	}
	if c.MaxEntryBytes == 0 {
		c.MaxEntryBytes = DefaultEntryBytes
	}
	return c
}
