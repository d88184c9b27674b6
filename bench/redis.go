package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// The peer of the pipeline rows is what people build of parts: a Redis server in its own process, a worker in its own
// process that reads a stream as a consumer group, runs the same model on the same engine, adds the results to another stream and
// acknowledges its inputs after that, and a client that pipelines (rueidis).
const (
	inputStream  = "inputs"
	resultStream = "results"
	group        = "workers"
	readCount    = 256
)

// redisServer is a Redis server of this run.
type redisServer struct {
	cmd  *exec.Cmd
	addr string
	dir  string
}

// startRedis starts a server on loopback: durable with an append-only file that is synced every second, or without
// persistence.
func startRedis(ctx context.Context, durable bool) (*redisServer, error) {
	program, err := need("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-bench-redis-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	addr := l.Addr().String()
	_, port, err := net.SplitHostPort(addr)
	if err := errors.Join(err, l.Close()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	args := []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--daemonize", "no", "--loglevel", "warning"}
	if durable {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec")
	}
	s := &redisServer{cmd: exec.CommandContext(ctx, program, args...), addr: addr, dir: dir}
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := waitFor(ctx, func() error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *redisServer) stop() error {
	err := s.cmd.Process.Kill()
	_ = s.cmd.Wait() // it was killed
	return errors.Join(err, os.RemoveAll(s.dir))
}

func (s *redisServer) client() (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, DisableCache: true, ForceSingleClient: true})
}

// waitFor calls check until it succeeds, for ten seconds at most.
func waitFor(ctx context.Context, check func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return waitUntil(ctx, check)
}

// waitUntil calls check until it succeeds, or the context ends.
func waitUntil(ctx context.Context, check func() error) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

// redisWay is the peer as the load sees it.
type redisWay struct {
	server         *redisServer
	worker         *exec.Cmd
	writer, reader rueidis.Client
	last           string
	queue          []string
}

// openRedis starts the server and the worker, which is this program again.
func openRedis(ctx context.Context, durable bool, model string) (_ *redisWay, err error) {
	w := &redisWay{last: "0"}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.server, err = startRedis(ctx, durable); err != nil {
		return nil, err
	}
	if w.writer, err = w.server.client(); err != nil {
		return nil, err
	}
	if w.reader, err = w.server.client(); err != nil {
		return nil, err
	}
	if err := w.writer.Do(ctx, w.writer.B().XgroupCreate().Key(inputStream).Group(group).Id("0").Mkstream().Build()).Error(); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w.worker = exec.CommandContext(ctx, self, "-redis-worker", w.server.addr, "-model", model)
	w.worker.Stderr = os.Stderr
	if err := w.worker.Start(); err != nil {
		return nil, err
	}
	return w, nil
}

// Put adds items to the stream, in one pipeline.
func (w *redisWay) Put(ctx context.Context, keys []string, values [][]byte) error {
	commands := make(rueidis.Commands, len(keys))
	for i := range keys {
		commands[i] = w.writer.B().Xadd().Key(inputStream).Id("*").FieldValue().FieldValue("k", keys[i]).FieldValue("v", rueidis.BinaryString(values[i])).Build()
	}
	for _, r := range w.writer.DoMulti(ctx, commands...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// Next waits for the next result.
func (w *redisWay) Next(ctx context.Context) (string, error) {
	for len(w.queue) == 0 {
		streams, err := w.reader.Do(ctx, w.reader.B().Xread().Count(1000).Block(1000).Streams().Key(resultStream).Id(w.last).Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, e := range streams[resultStream] {
			w.queue = append(w.queue, e.FieldValues["k"])
			w.last = e.ID
		}
	}
	key := w.queue[0]
	w.queue = w.queue[1:]
	return key, nil
}

// Batch and Writers are how the load is given under load.
func (w *redisWay) Batch() int   { return 256 }
func (w *redisWay) Writers() int { return 4 }

// Close ends what was started.
func (w *redisWay) Close() {
	if w.worker != nil && w.worker.Process != nil {
		_ = w.worker.Process.Kill() // it may have ended
		_ = w.worker.Wait()
	}
	for _, c := range []rueidis.Client{w.writer, w.reader} {
		if c != nil {
			c.Close()
		}
	}
	if w.server != nil {
		if err := w.server.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stop redis:", err)
		}
	}
}

// tempModel writes the model file that both sides read.
func tempModel(data []byte) (path string, remove func() error, err error) {
	dir, err := os.MkdirTemp("", "millrace-bench-model-")
	if err != nil {
		return "", nil, err
	}
	path = filepath.Join(dir, "dense.onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return path, func() error { return os.RemoveAll(dir) }, nil
}

func itoa(n int) string { return strconv.Itoa(n) }
