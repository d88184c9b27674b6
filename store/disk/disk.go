// Package disk keeps a store in a folder of this machine, in the embedded key-value store Pebble. Keeping the folder on more than one
// machine is left to the stores that are made for it.
//
// One process has the folder open at a time. What was acknowledged is on the disk: each call, or each batch, ends with a sync of the
// write-ahead log, which concurrent calls share. A call looks at its context between its steps, and not while the disk is at work.
package disk

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/internal/lockfile"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/gate"
)

// Config says where a store is and what it may use.
type Config struct {
	// Dir is the folder. It is made where it is missing.
	Dir string
	// CacheBytes is the memory for blocks that were read; 16 MiB if 0.
	CacheBytes int64
	// BufferBytes is the memory that writes are gathered in before they become a file; up to four of these are in use. 8 MiB if 0.
	BufferBytes int64
	// MinFree is how much of the disk is left free: with less, writes get store.ErrFull. 256 MiB if 0.
	MinFree int64
	// Logger gets what an operator should know; nil discards it.
	Logger *slog.Logger
	// Now replaces the clock, for tests; nil is time.Now.
	Now func() time.Time
}

const (
	defaultCache   = 16 << 20
	defaultBuffer  = 8 << 20
	defaultMinFree = 256 << 20
	minBuffer      = 1 << 20
	maxBuffer      = 1 << 30
)

// Validate reports every fault at once, as a store.ErrConfig that holds fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.Dir != "", "dir", "is missing: it is the folder to keep the store in")
	l.Check(c.CacheBytes >= 0, "cache_bytes", "%d must not be negative", c.CacheBytes)
	l.Check(c.BufferBytes == 0 || c.BufferBytes >= minBuffer && c.BufferBytes <= maxBuffer, "buffer_bytes",
		"%d must be from %d to %d, or 0 for %d", c.BufferBytes, minBuffer, maxBuffer, defaultBuffer)
	l.Check(c.MinFree >= 0, "min_free", "%d must not be negative", c.MinFree)
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrConfig, err)
	}
	return nil
}

func (c Config) withDefaults() Config {
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCache
	}
	if c.BufferBytes == 0 {
		c.BufferBytes = defaultBuffer
	}
	if c.MinFree == 0 {
		c.MinFree = defaultMinFree
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// Store is a folder that is open.
type Store struct {
	c      Config
	folder *folder
	db     *pebble.DB
	gate   gate.Gate
	// broken is why the store cannot be used any more.
	broken atomic.Pointer[error]

	// stripes serialize the writes of a key, from the look at its copy until the batch is in.
	seed    maphash.Seed
	stripes [256]sync.Mutex
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Meter = (*Store)(nil)
)

// Open opens the store in a folder, which no other process may have open: then the error is a store.ErrLocked.
func Open(c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	f, err := openFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{c: c, folder: f, seed: maphash.MakeSeed()}
	cache := pebble.NewCache(c.CacheBytes)
	defer cache.Unref()
	s.db, err = pebble.Open(filepath.Join(c.Dir, "db"), &pebble.Options{
		Cache:              cache,
		MemTableSize:       uint64(c.BufferBytes),
		MaxOpenFiles:       500,
		FormatMajorVersion: pebble.FormatTableFormatV6,
		Logger:             logger{s},
		EventListener:      s.events(),
	})
	if err != nil {
		return nil, errors.Join(s.failed("open "+c.Dir, err), f.close())
	}
	return s, nil
}

// Close implements store.Store.
func (s *Store) Close() error {
	if !s.gate.Close() {
		return nil
	}
	return errors.Join(s.db.Close(), s.folder.close())
}

// Meter implements store.Meter: it knows the bytes on the disk.
func (s *Store) Meter(ctx context.Context) (store.Amount, error) {
	if err := s.enter(ctx); err != nil {
		return store.Amount{}, err
	}
	defer s.gate.Leave()
	return store.Amount{Copies: -1, Bytes: int64(s.db.Metrics().DiskSpaceUsage())}, nil
}

// enter begins a call.
func (s *Store) enter(ctx context.Context) error {
	if err := s.gate.Enter(ctx); err != nil {
		return err
	}
	if broken := s.broken.Load(); broken != nil {
		s.gate.Leave()
		return *broken
	}
	return nil
}

// Present returns a store.ErrUnavailable where the store's files are there no more: somebody removed or replaced them while the store is open. What is
// written then is lost.
func (s *Store) Present() error {
	err := s.folder.lock.Check()
	if _, statErr := os.Stat(filepath.Join(s.c.Dir, "db", "LOCK")); err == nil && errors.Is(statErr, fs.ErrNotExist) {
		err = fmt.Errorf("%w: %s was removed or emptied", lockfile.ErrGone, filepath.Join(s.c.Dir, "db"))
	}
	if err != nil {
		return fmt.Errorf("%w: %w while the store is open; put it back, or stop the node and restore a backup", store.ErrUnavailable, err)
	}
	return nil
}

// failed returns an error of Pebble as one of the contract's.
func (s *Store) failed(what string, err error) error {
	switch {
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("%s: %w: %w; its folder is %s", what, store.ErrCorrupt, err, s.c.Dir)
	case vfs.IsNoSpaceError(err):
		return fmt.Errorf("%s: %w: %w", what, store.ErrFull, err)
	}
	return fmt.Errorf("%s: %w; its folder is %s", what, err, s.c.Dir)
}

// hasRoom says, as a store.ErrFull, that the disk has too little room for this many bytes. Pebble cannot go on when the disk is full, so
// that what is left has to be enough for its files to be rewritten.
func (s *Store) hasRoom(bytes int) error {
	usage, err := vfs.Default.GetDiskUsage(s.c.Dir)
	if err != nil {
		return fmt.Errorf("ask for the free space at %s: %w", s.c.Dir, err)
	}
	if need := uint64(s.c.MinFree) + 2*uint64(bytes); usage.AvailBytes < need {
		return fmt.Errorf("%w: the disk of %s has %d bytes left, and %d are needed", store.ErrFull, s.c.Dir, usage.AvailBytes, need)
	}
	return nil
}

func (s *Store) events() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: func(err error) {
			s.c.Logger.Error("store: work in the background failed", "dir", s.c.Dir, "error", err)
		},
		// By default this ends the process. The reads that come upon it get an ErrCorrupt, and the others go on.
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			s.c.Logger.Error("store: a file is damaged", "dir", s.c.Dir, "file", info.Path, "error", info.Details)
		},
	}
}

// logger passes on what Pebble says of errors.
type logger struct{ s *Store }

func (l logger) Infof(string, ...any) {}

func (l logger) Errorf(format string, args ...any) {
	l.s.c.Logger.Error("store: "+fmt.Sprintf(format, args...), "dir", l.s.c.Dir)
}

// Fatalf is called where Pebble cannot know any more what is on the disk. It must not return: going on could acknowledge what is not
// kept. Where a server catches the panic, every later call still gets the error.
func (l logger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the store in %s cannot go on, start the program anew when this is mended: %s", l.s.c.Dir, fmt.Sprintf(format, args...))
	l.s.broken.Store(&err)
	l.s.c.Logger.Error(err.Error())
	panic(err)
}
