package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/millrace/millrace/cold"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/ceph"
	"github.com/millrace/millrace/store/disk"
	"github.com/millrace/millrace/store/retry"
	"github.com/millrace/millrace/store/s3"
)

// The types of stores.
const (
	storeDisk = "disk"
	storeS3   = "s3"
	storeCeph = "ceph"
)

func (s StoreConfig) disk(log *slog.Logger) disk.Config {
	return disk.Config{Dir: string(s.Dir), Logger: log}
}

func (s StoreConfig) s3(log *slog.Logger) s3.Config {
	return s3.Config{
		Endpoint: s.Endpoint, Bucket: s.Bucket, Prefix: s.Prefix, Region: s.Region, AccessKey: s.AccessKey, SecretKey: s.SecretKey, Logger: log,
	}
}

func (s StoreConfig) ceph(log *slog.Logger) ceph.Config {
	return ceph.Config{
		Conf: string(s.Conf), Monitors: s.Monitors, User: s.User, Key: s.Key, Keyring: string(s.Keyring), Pool: s.Pool, Logger: log,
	}
}

// validate reports what is wrong with one store.
func (s StoreConfig) validate() error {
	var l fault.Errors
	same := func(path string) (string, bool) { return path, true }
	switch s.Type {
	case storeDisk:
		l.Check(s.Dir != "", "dir", "must name the folder of a store of type %s", storeDisk)
		if s.Dir != "" {
			l.Take(s.disk(nil).Validate(), same)
		}
	case storeS3:
		l.Take(s.s3(nil).Validate(), same)
	case storeCeph:
		l.Take(s.ceph(nil).Validate(), same)
	default:
		l.Add("type", "%q must be one of %s, %s, %s", s.Type, storeDisk, storeS3, storeCeph)
	}
	for _, key := range []struct {
		name, of string
		set      bool
	}{
		{"dir", storeDisk, s.Dir != ""},
		{"endpoint", storeS3, s.Endpoint != ""}, {"bucket", storeS3, s.Bucket != ""}, {"prefix", storeS3, s.Prefix != ""},
		{"region", storeS3, s.Region != ""}, {"access_key", storeS3, s.AccessKey != ""}, {"secret_key", storeS3, s.SecretKey != ""},
		{"conf", storeCeph, s.Conf != ""}, {"monitors", storeCeph, len(s.Monitors) > 0}, {"user", storeCeph, s.User != ""},
		{"key", storeCeph, s.Key != ""}, {"keyring", storeCeph, s.Keyring != ""}, {"pool", storeCeph, s.Pool != ""},
	} {
		l.Check(!key.set || key.of == s.Type || s.Type == "", key.name, "is a setting of stores of type %s", key.of)
	}
	l.Check(s.MaxLagEntries > 0, "max_lag_entries", "must be more than 0")
	l.Check(s.MaxLagBytes > 0, "max_lag_bytes", "must be more than 0")
	return l.Err()
}

func (s StoreConfig) open(ctx context.Context, log *slog.Logger) (store.Store, error) {
	var under store.Store
	var err error
	switch s.Type {
	case storeDisk:
		under, err = disk.Open(s.disk(log))
	case storeS3:
		under, err = s3.Open(ctx, s.s3(log))
	case storeCeph:
		under, err = ceph.Open(ctx, s.ceph(log))
	}
	if err != nil {
		return nil, err
	}
	log.Info("store is open", append([]any{"type", s.Type, "at", s.place()}, holds(ctx, under, log)...)...)
	again, err := retry.New(under, retry.Config{Attempts: 3})
	if err != nil {
		return nil, errors.Join(err, under.Close())
	}
	return again, nil
}

// OpenStore opens a store outside a node. Where it is a folder that is not there it is made only if fresh.
func OpenStore(ctx context.Context, s StoreConfig, fresh bool, log *slog.Logger) (store.Store, error) {
	setDefault(&s.MaxLagEntries, cold.DefaultLagEntries)
	setDefault(&s.MaxLagBytes, cold.DefaultLagBytes)
	if err := s.validate(); err != nil {
		return nil, err
	}
	if s.Type == storeDisk && !fresh {
		if err := disk.Check(string(s.Dir)); err != nil {
			return nil, err
		}
		if _, err := os.Stat(filepath.Join(string(s.Dir), "FORMAT")); err != nil {
			return nil, fmt.Errorf("the folder %s is no store's: %w", s.Dir, err)
		}
	}
	return s.open(ctx, log)
}

// place says where the store is, for people.
func (s StoreConfig) place() string {
	switch s.Type {
	case storeS3:
		return strings.TrimSuffix(s.Endpoint, "/") + "/" + path.Join(s.Bucket, s.Prefix)
	case storeCeph:
		return "pool " + cmp.Or(s.Pool, ceph.DefaultPool) + " of " + cmp.Or(string(s.Conf), strings.Join(s.Monitors, ", "))
	}
	return string(s.Dir)
}

// holds says how much a store has, where it knows.
func holds(ctx context.Context, s store.Store, log *slog.Logger) []any {
	meter, ok := s.(store.Meter)
	if !ok {
		return nil
	}
	has, err := meter.Meter(ctx)
	if err != nil {
		log.Warn("the store does not say how much it has", "error", err)
		return nil
	}
	if has.Copies < 0 {
		return []any{"bytes", has.Bytes}
	}
	return []any{"entries", has.Copies, "bytes", has.Bytes}
}

// openStores opens the stores, and makes what decides about them. On an error nothing is left open.
func (n *Node) openStores(ctx context.Context) error {
	cfg := cold.Config{
		Stores: make(map[string]cold.Store), MaxEntries: n.cfg.Grid.CacheEntries, MaxBytes: int64(n.cfg.Grid.CacheBytes), Logger: n.log,
	}
	for _, name := range slices.Sorted(maps.Keys(n.cfg.Stores)) {
		c := n.cfg.Stores[name]
		s, err := c.open(ctx, n.log.With("store", name))
		if err != nil {
			return fmt.Errorf("stores.%s: %w", name, err)
		}
		n.stores = append(n.stores, s)
		cfg.Stores[name] = cold.Store{
			Store: s, MaxLagEntries: c.MaxLagEntries, MaxLagBytes: int64(c.MaxLagBytes), MaxLag: time.Duration(c.MaxLag),
		}
	}
	var err error
	n.cold, err = cold.New(cfg)
	return err
}

// absent says which stores have lost what they keep while they are open.
func (n *Node) absent() (reasons []string) {
	for i, name := range slices.Sorted(maps.Keys(n.cfg.Stores)) {
		if s, ok := n.stores[i].(interface{ Present() error }); ok {
			if err := s.Present(); err != nil {
				reasons = append(reasons, fmt.Sprintf("store %s: %v", name, err))
			}
		}
	}
	return reasons
}

// closeStores comes after the grid is closed.
func (n *Node) closeStores() error {
	var errs []error
	for _, s := range slices.Backward(n.stores) {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}
