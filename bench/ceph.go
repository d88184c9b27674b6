//go:build ceph && cgo

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/ceph/go-ceph/rados"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

const (
	// cephBytes is the size of a value; the object has its header and metadata too, and stays within the blocks of 16 KiB.
	cephBytes = 16<<10 - 256
	// cephCalls is how many calls the store has under way, by its default.
	cephCalls = 32
)

// cephRows are the whole way of a cache over a Ceph cluster on this machine against what librados does alone.
func cephRows(ctx context.Context, o options) (rows []Row, err error) {
	conf, stop, err := cephCluster(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	peer, err := openCephPeer(conf)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, peer.close()) }()
	err = bench.OnNode(ctx, bench.Options{
		Engine: "native", Store: &app.StoreConfig{Type: "ceph", Conf: app.Path(conf), Pool: peer.pool, MaxLagEntries: 1 << 20, MaxLagBytes: 1 << 30},
	}, "durable", func(ctx context.Context, node *app.Node) error {
		drain, err := drainRow(ctx, o, node, peer)
		if err != nil {
			return fmt.Errorf("write-behind: %w", err)
		}
		get, err := coldGetRow(ctx, o, node, peer)
		if err != nil {
			return fmt.Errorf("cold gets: %w", err)
		}
		rows = []Row{drain, get}
		return nil
	})
	return rows, err
}

// cephCluster starts a cluster, or takes the one that MILLRACE_TEST_CEPH names.
func cephCluster(ctx context.Context) (conf string, stop func() error, err error) {
	if dir := os.Getenv("MILLRACE_TEST_CEPH"); dir != "" {
		return filepath.Join(dir, "ceph.conf"), func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "millrace-bench-ceph-")
	if err != nil {
		return "", nil, err
	}
	script := filepath.Join("..", "test", "ceph", "cluster")
	stop = func() error {
		out, err := exec.Command(script, "stop", dir).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("stop the Ceph cluster: %w: %s", err, out)
		}
		return errors.Join(err, os.RemoveAll(dir))
	}
	start := exec.CommandContext(ctx, script, "start", dir)
	start.Env = append(os.Environ(), "PORT=21300") // not that of the tests, which may run as well
	if out, err := start.CombinedOutput(); err != nil {
		return "", nil, errors.Join(fmt.Errorf("start a Ceph cluster: %w: %s", err, out), stop())
	}
	return filepath.Join(dir, "ceph.conf"), stop, nil
}

// cephPeer is librados alone.
type cephPeer struct {
	conf, pool string
	conn       *rados.Conn
}

// openCephPeer makes a pool, of this run alone: a store belongs to one grid.
func openCephPeer(conf string) (*cephPeer, error) {
	conn, err := rados.NewConn()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(conn.ReadConfigFile(conf), conn.Connect()); err != nil {
		return nil, err
	}
	p := &cephPeer{conf: conf, pool: fmt.Sprintf("bench-%d", os.Getpid()), conn: conn}
	if err := conn.MakePool(p.pool); err != nil {
		conn.Shutdown()
		return nil, err
	}
	return p, nil
}

func (p *cephPeer) close() error {
	err := p.conn.DeletePool(p.pool)
	p.conn.Shutdown()
	return err
}

// in calls do in the namespace of a cache.
func (p *cephPeer) in(cache string, do func(*rados.IOContext) error) error {
	io, err := p.conn.OpenIOContext(p.pool)
	if err != nil {
		return err
	}
	defer io.Destroy()
	io.SetNamespace(cache)
	return do(io)
}

// drainRow gives a cache a store when it has many entries already, and tells how many a second the store had until it had all; `rados bench` writes as many
// objects of the same size, as many at a time.
func drainRow(ctx context.Context, o options, node *app.Node, ceph *cephPeer) (r Row, err error) {
	drain := func(name string, n int) (float64, error) {
		c, err := bench.Cache(ctx, node, grid.CacheConfig{Name: name})
		if err != nil {
			return 0, err
		}
		if err := (bench.Puts{Prefix: "k", N: n, Size: cephBytes}).Into(ctx, c); err != nil {
			return 0, err
		}
		began := time.Now()
		if err := node.Grid().UpdateCache(ctx, grid.CacheConfig{Name: name, Store: bench.StoreName}); err != nil {
			return 0, err
		}
		if err := bench.AwaitStored(ctx, node, name); err != nil {
			return 0, err
		}
		return float64(n) / time.Since(began).Seconds(), nil
	}
	// What comes first finds no connections yet.
	if _, err := drain("first", 200); err != nil {
		return r, err
	}
	var size uint64
	if err := ceph.in("first", func(io *rados.IOContext) error {
		stat, err := io.Stat("k0")
		size = stat.Size
		return err
	}); err != nil {
		return r, err
	}
	seconds := 4
	if o.short {
		seconds = 4
	}
	var pairs []pair
	for round := range o.rounds {
		var p pair
		if p.peer, err = radosBench(ctx, ceph, seconds, size); err != nil {
			return r, err
		}
		if p.own, err = drain(fmt.Sprint("drained", round), max(1, int(p.peer)*seconds)); err != nil {
			return r, err
		}
		pairs = append(pairs, p)
	}
	return row(fmt.Sprintf("write-behind to Ceph, entries of 16 KiB, %d calls", cephCalls), "1/s", "rados bench", pairs, 0.8, false), nil
}

var cephRate = regexp.MustCompile(`Average IOPS:\s+(\d+)`)

func radosBench(ctx context.Context, ceph *cephPeer, seconds int, size uint64) (float64, error) {
	out, err := exec.CommandContext(ctx, "rados", "-c", ceph.conf, "-p", ceph.pool, "bench", itoa(seconds), "write", "-b", strconv.FormatUint(size, 10), "-t", itoa(cephCalls)).
		CombinedOutput()
	found := cephRate.FindSubmatch(out)
	if err != nil || found == nil {
		return 0, fmt.Errorf("rados bench: %w: %s", err, out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// coldGetRow reads entries that are in the store alone, one after the other, and other objects of the same kind through librados.
func coldGetRow(ctx context.Context, o options, node *app.Node, ceph *cephPeer) (r Row, err error) {
	const name, keys, limit = "fetched", 400, 40
	n := 400
	if o.short {
		n = 150
	}
	c, err := bench.Cache(ctx, node, grid.CacheConfig{Name: name, Store: bench.StoreName, MaxEntries: limit})
	if err != nil {
		return r, err
	}
	if err := (bench.Puts{Prefix: "k", N: keys, Size: cephBytes, Batch: 10, Writers: 1}).Into(ctx, c); err != nil {
		return r, err
	}
	if err := bench.AwaitStored(ctx, node, name); err != nil {
		return r, err
	}
	var pairs []pair
	err = ceph.in(name, func(io *rados.IOContext) error {
		buffer := make([]byte, 20<<10)
		next := 0
		for range o.rounds {
			var own, peer []float64
			for len(own) < n {
				key := "k" + itoa(next%keys)
				// Another object, which the cluster does not have at hand from the read before.
				other := "k" + itoa((next+keys/2)%keys)
				next++
				if _, hot := c.Resident(key); hot {
					continue
				}
				began := time.Now()
				e, err := c.Get(ctx, key)
				own = append(own, float64(time.Since(began).Microseconds()))
				if err != nil || len(e.Value) != cephBytes {
					return fmt.Errorf("get %s: %d bytes: %w", key, len(e.Value), err)
				}
				began = time.Now()
				size, err := io.Read(other, buffer, 0)
				peer = append(peer, float64(time.Since(began).Microseconds()))
				if err != nil || size <= cephBytes {
					return fmt.Errorf("read %s: %d bytes: %w", other, size, err)
				}
			}
			pairs = append(pairs, pair{median(own), median(peer)})
		}
		return nil
	})
	return row("cache get of an entry that Ceph has, 16 KiB, p50", "us", "librados read", pairs, 1.5, true), err
}
