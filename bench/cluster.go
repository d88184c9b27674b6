package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/grid"
)

// clusterSize is how many nodes the clusters here have, all of them on this machine.
const clusterSize = 3

// clusterRows are three nodes that are a cluster, with three replicas of everything.
func clusterRows(ctx context.Context, o options) ([]Row, error) {
	var rows []Row
	for _, suite := range []func(context.Context, options) ([]Row, error){clusterPutRows, clusterGapRows, clusterFlowRows} {
		more, err := suite(ctx, o)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

// clusterPutRows are puts of one caller, one after the other, into partitions that all three nodes lead; and the same messages into streams of the same
// server with nothing of ours around it.
func clusterPutRows(ctx context.Context, o options) (rows []Row, err error) {
	n := 1000
	if o.short {
		n = 300
	}
	dir, err := os.MkdirTemp("", "millrace-bench-cluster-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	own, closeOwn, err := openGrids(ctx, filepath.Join(dir, "own"))
	if err != nil {
		return nil, fmt.Errorf("open three nodes: %w", err)
	}
	defer func() { err = errors.Join(err, closeOwn()) }()
	peer, closePeer, err := openPlain(ctx, filepath.Join(dir, "peer"))
	if err != nil {
		return nil, fmt.Errorf("open three servers: %w", err)
	}
	defer closePeer()
	value := make([]byte, 784)
	sides := [2]func(i int) error{
		func(i int) error {
			_, err := own.Put(ctx, "k"+itoa(i%n), value, grid.PutOptions{})
			return err
		},
		func(i int) error { return peer(ctx, i%n, value) },
	}
	var p50s, p99s []pair
	for round := range o.rounds + 1 {
		var took [2][]time.Duration
		// In turns of a few, so that both meet the same moments of the machine.
		for i := range n {
			for s, put := range sides {
				began := time.Now()
				if err := put(round*n + i); err != nil {
					return nil, err
				}
				took[s] = append(took[s], time.Since(began))
			}
		}
		if round == 0 {
			continue // the first prepares both
		}
		for s := range took {
			slices.Sort(took[s])
		}
		at := func(s int, q float64) float64 { return took[s][int(q*float64(n-1))].Seconds() * 1e6 }
		p50s, p99s = append(p50s, pair{at(0, 0.5), at(1, 0.5)}), append(p99s, pair{at(0, 0.99), at(1, 0.99)})
	}
	return []Row{
		row("cache put, three replicas, p50, one at a time", "us", "plain JetStream, three replicas", p50s, 1.2, true),
		row("the same, p99", "us", "plain JetStream, three replicas", p99s, 0, true),
	}, nil
}

// openGrids opens three nodes in this process, and a cache through the first.
func openGrids(ctx context.Context, dir string) (c *grid.Cache, closeAll func() error, err error) {
	addresses, err := freeAddresses(clusterSize)
	if err != nil {
		return nil, nil, err
	}
	all := make([]*grid.Grid, clusterSize)
	closeAll = func() error {
		var errs []error
		for _, g := range all {
			if g != nil {
				closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				errs = append(errs, g.Close(closing))
				cancel()
			}
		}
		return errors.Join(errs...)
	}
	var opening errgroup.Group
	for i, addr := range addresses {
		opening.Go(func() (err error) {
			all[i], err = grid.Open(ctx, grid.Config{Dir: filepath.Join(dir, itoa(i)), Partitions: 8, Logger: slog.New(slog.DiscardHandler), Cluster: &grid.Cluster{
				Name: "bench", Node: "n" + itoa(i), Listen: addr, Seeds: []string{addresses[(i+1)%clusterSize]}, Secret: "a secret of the benchmark",
			}})
			return err
		})
	}
	err = opening.Wait()
	if err == nil {
		err = all[0].CreateCache(ctx, grid.CacheConfig{Name: "plain"})
	}
	if err == nil {
		c, err = all[0].Cache(ctx, "plain")
	}
	if err != nil {
		return nil, nil, errors.Join(err, closeAll())
	}
	return c, closeAll, nil
}

// openPlain starts three servers in this process, with as many streams as a grid has partitions, and returns what puts a message over the first.
func openPlain(ctx context.Context, dir string) (put func(ctx context.Context, i int, value []byte) error, closeAll func(), err error) {
	addresses, err := freeAddresses(clusterSize)
	if err != nil {
		return nil, nil, err
	}
	var all []*server.Server
	closeAll = func() {
		for _, s := range all {
			s.Shutdown()
			s.WaitForShutdown()
		}
	}
	defer func() {
		if err != nil {
			closeAll()
		}
	}()
	for i, addr := range addresses {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, nil, err
		}
		number, err := strconv.Atoi(port)
		if err != nil {
			return nil, nil, err
		}
		s, err := server.NewServer(&server.Options{
			ServerName: "p" + itoa(i), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: filepath.Join(dir, itoa(i)),
			Cluster: server.ClusterOpts{Name: "plain", Host: host, Port: number, NoAdvertise: true},
			Routes:  []*url.URL{{Scheme: "nats-route", Host: addresses[(i+1)%clusterSize]}},
		})
		if err != nil {
			return nil, nil, err
		}
		all = append(all, s)
		s.Start()
	}
	if !all[0].ReadyForConnections(10 * time.Second) {
		return nil, nil, errors.New("the servers were not ready within 10 s")
	}
	nc, err := nats.Connect("", nats.InProcessServer(all[0]))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, nil, err
	}
	const streams = 8
	for i := range streams {
		if err := waitFor(ctx, func() error {
			asking, cancel := context.WithTimeout(ctx, 2*time.Second)
			defer cancel()
			_, err := js.CreateStream(asking, jetstream.StreamConfig{
				Name: "S" + itoa(i), Subjects: []string{"s" + itoa(i) + ".>"}, Replicas: clusterSize, MaxMsgsPerSubject: 1, AllowDirect: true,
			})
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				return nil
			}
			return err
		}); err != nil {
			return nil, nil, err
		}
	}
	shut := closeAll
	closeAll = func() {
		nc.Close()
		shut()
	}
	return func(ctx context.Context, i int, value []byte) error {
		_, err := js.Publish(ctx, "s"+itoa(i%streams)+".k"+itoa(i), value)
		return err
	}, closeAll, nil
}

// freeAddresses returns addresses of loopback that nobody listens on.
func freeAddresses(n int) (out []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}
