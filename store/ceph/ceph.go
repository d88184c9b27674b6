//go:build ceph && cgo

package ceph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sys/unix"

	"github.com/millrace/millrace/store"
	"github.com/millrace/millrace/store/internal/gate"
)

// Store is a connection to a cluster.
type Store struct {
	c    Config
	conn *rados.Conn
	gate gate.Gate
	// idle has the contexts of librados that no call uses. A context has the namespace, and the version of the object that it
	// handled last, so that no two calls can share one.
	idle chan *rados.IOContext
	all  []*rados.IOContext
	// page is how many names a list holds.
	page int
}

var (
	_ store.Store = (*Store)(nil)
	_ store.Meter = (*Store)(nil)
)

// Open connects to the cluster. It is store.ErrUnavailable where no monitor lets it in within the timeout (librados goes on asking where its
// key is refused, and cannot be told from one whose cluster is away), and store.ErrDenied where the user or the pool is not there.
func Open(ctx context.Context, c Config) (*Store, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	type result struct {
		s   *Store
		err error
	}
	done := make(chan result, 1)
	// librados connects without a context. Where ours ends first, what comes of it is closed.
	go func() {
		s, err := connect(c)
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		return r.s, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.s != nil {
				_ = r.s.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func connect(c Config) (*Store, error) {
	conn, err := rados.NewConnWithUser(c.User)
	if err != nil {
		return nil, fmt.Errorf("open Ceph as client.%s: %w", c.User, err)
	}
	s := &Store{c: c, conn: conn, idle: make(chan *rados.IOContext, c.Calls), page: pageNames}
	where := c.Conf
	if where == "" {
		where = "the monitors " + strings.Join(c.Monitors, ", ")
	}
	if err := s.configure(); err != nil {
		return nil, err
	}
	if err := conn.Connect(); err != nil {
		err = s.failed(fmt.Sprintf("connect to Ceph at %s as client.%s", where, c.User), err)
		if code(err) == unix.ETIMEDOUT {
			err = fmt.Errorf("%w; no monitor answered, or the key is another user's", err)
		}
		return nil, err
	}
	for range c.Calls {
		io, err := conn.OpenIOContext(c.Pool)
		if err != nil {
			err = s.failed(fmt.Sprintf("open the pool %s of the Ceph cluster at %s", c.Pool, where), err)
			if errors.Is(err, store.ErrNotFound) {
				err = fmt.Errorf("%w: the Ceph cluster at %s has no pool %s: make it with `ceph osd pool create %s`", store.ErrDenied, where, c.Pool, c.Pool)
			}
			return nil, errors.Join(err, s.Close())
		}
		s.all = append(s.all, io)
		s.idle <- io
	}
	return s, nil
}

// configure sets the options of librados, those of ceph.conf first.
func (s *Store) configure() error {
	if s.c.Conf != "" {
		if err := s.conn.ReadConfigFile(s.c.Conf); err != nil {
			return fmt.Errorf("read the Ceph configuration %s: %w", s.c.Conf, err)
		}
	}
	seconds := strconv.Itoa(int(math.Ceil(s.c.Timeout.Seconds())))
	for _, o := range []struct{ name, value string }{
		{"mon_host", strings.Join(s.c.Monitors, ",")}, {"key", s.c.Key}, {"keyring", s.c.Keyring},
		// Without these a call waits for ever for a cluster that is away.
		{"rados_osd_op_timeout", seconds}, {"rados_mon_op_timeout", seconds}, {"client_mount_timeout", seconds},
	} {
		if o.value == "" {
			continue
		}
		if err := s.conn.SetConfigOption(o.name, o.value); err != nil {
			return fmt.Errorf("set the option %s of librados: %w", o.name, err)
		}
	}
	return nil
}

// closeWait is how long Close waits for calls: their callers have left, and the cluster may be away.
const closeWait = 3 * time.Second

// Close implements store.Store. It waits a moment for calls whose context has ended but which are with the cluster still. Where they go
// on for longer, the connection ends after them, within the timeout.
func (s *Store) Close() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if !s.gate.Close() {
			return
		}
		for _, io := range s.all {
			io.Destroy()
		}
		s.conn.Shutdown()
	}()
	timer := time.NewTimer(closeWait)
	defer timer.Stop()
	select {
	case <-closed:
	case <-timer.C:
		s.c.Logger.Warn("the Ceph cluster does not end its calls; the connection is closed when it has", "pool", s.c.Pool)
	}
	return nil
}

// Meter implements store.Meter, by what the cluster's manager says of the pool.
func (s *Store) Meter(ctx context.Context) (store.Amount, error) {
	return call(ctx, s, "", func(io *rados.IOContext) (store.Amount, error) {
		stat, err := io.GetPoolStats()
		if err != nil {
			return store.Amount{}, s.failed("ask how much the pool "+s.c.Pool+" has", err)
		}
		return store.Amount{Copies: int64(stat.Num_objects), Bytes: int64(stat.Num_bytes)}, nil
	})
}

// call runs do with a context of librados in a namespace, when one is free, and returns when do has or ctx ends. In the second case do
// goes on without its caller: librados cannot be interrupted.
func call[T any](ctx context.Context, s *Store, namespace string, do func(io *rados.IOContext) (T, error)) (T, error) {
	var none T
	if err := s.gate.Enter(ctx); err != nil {
		return none, err
	}
	var io *rados.IOContext
	select {
	case io = <-s.idle:
	case <-ctx.Done():
		s.gate.Leave()
		return none, ctx.Err()
	}
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		io.SetNamespace(namespace)
		value, err := do(io)
		s.idle <- io
		s.gate.Leave()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// failed returns an error of librados as one of the contract's.
func (s *Store) failed(what string, err error) error {
	if err == nil {
		return nil
	}
	sentinel := store.ErrUnavailable
	switch code(err) {
	case unix.ENOENT:
		sentinel = store.ErrNotFound
	case unix.EPERM, unix.EACCES:
		sentinel = store.ErrDenied
	case unix.ENOSPC, unix.EDQUOT:
		sentinel = store.ErrFull
	case unix.EINVAL, unix.E2BIG, unix.ENAMETOOLONG, unix.EOPNOTSUPP, unix.EBADF, unix.EFBIG:
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, sentinel, err)
}

// code returns the number of an error of librados, 0 where it has none.
func code(err error) unix.Errno {
	var operation rados.OperationError
	if errors.As(err, &operation) {
		if err = operation.OpError; err == nil {
			return 0
		}
	}
	var coded interface{ ErrorCode() int }
	if errors.As(err, &coded) {
		return unix.Errno(max(coded.ErrorCode(), -coded.ErrorCode()))
	}
	return 0
}

// buffers are of readBytes.
var buffers = sync.Pool{New: func() any { b := make([]byte, readBytes); return &b }}
