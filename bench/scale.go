package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/bench"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/pipeline"
)

// usage is what a cluster of this machine uses.
type usage struct {
	memory   float64 // bytes in use after a collection, of a node in the mean
	resident float64 // bytes that the system counts for a node, in the mean: up to twice that and more, between collections
	cpu      float64 // cores, all nodes together
	network  float64 // bytes a second over loopback, which each byte crosses once
}

// scaleRows are what a partition, a key, a reader and a listener cost a cluster of three nodes that does nothing else: the differences of larger and smaller
// ones. They are what docs/scaling.md plans with. The short form leaves them out.
func scaleRows(ctx context.Context, o options) (rows []Row, err error) {
	if o.short {
		return nil, nil
	}
	dir, program, end, err := programDir(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	const few, many, larger = 8, 128, 5
	base, err := onScale(ctx, program, dir, clusterSize, few, (*nodes).usage)
	if err != nil {
		return nil, err
	}
	split, err := onScale(ctx, program, dir, clusterSize, many, (*nodes).usage)
	if err != nil {
		return nil, err
	}
	wide, err := onScale(ctx, program, dir, larger, few, (*nodes).usage)
	if err != nil {
		return nil, err
	}
	rows = []Row{
		told("three idle nodes, 8 partitions: memory in use of a node", "MB", []float64{base.memory / 1e6}),
		told("the same: resident memory of a node", "MB", []float64{base.resident / 1e6}),
		told("the same: cores, together", "cores", []float64{base.cpu}),
		told("the same: network, together", "kB/s", []float64{base.network / 1e3}),
		told("a partition more: memory in use of each node that has it", "kB", []float64{(split.memory - base.memory) / (many - few) / 1e3}),
		told("a partition more: cores, together", "millicores", []float64{(split.cpu - base.cpu) / (many - few) * 1e3}),
		told("a partition more: network, together", "kB/s", []float64{(split.network - base.network) / (many - few) / 1e3}),
		told("a node more, 8 partitions: cores, together", "millicores", []float64{(wide.cpu - base.cpu) / (larger - clusterSize) * 1e3}),
		told("a node more, 8 partitions: network, together", "kB/s", []float64{(wide.network - base.network) / (larger - clusterSize) / 1e3}),
	}
	more, err := onScale(ctx, program, dir, clusterSize, few, func(c *nodes, ctx context.Context) ([]Row, error) { return c.growth(ctx) })
	return append(rows, more...), err
}

// onScale measures on a cluster of its own.
func onScale[T any](ctx context.Context, program, dir string, size, partitions int, work func(*nodes, context.Context) (T, error)) (out T, err error) {
	if dir, err = os.MkdirTemp(dir, ""); err != nil {
		return out, err
	}
	c, err := startNodes(ctx, program, dir, size, clusterSize, fmt.Sprintf("grid: {partitions: %d}", partitions))
	if err == nil {
		out, err = work(c, ctx)
		err = errors.Join(err, c.close())
	}
	if err != nil {
		err = fmt.Errorf("%d nodes, %d partitions: %w", size, partitions, err)
	}
	return out, err
}

// growth adds pipelines, event streams and keys, and returns what each costs.
func (c *nodes) growth(ctx context.Context) ([]Row, error) {
	const keys, readers, listeners = 300_000, 100, 500
	before, err := c.usage(ctx)
	if err != nil {
		return nil, err
	}
	for i := range readers {
		d := pipeline.Definition{From: "from" + itoa(i), Model: "dense", To: "to" + itoa(i)}
		if _, err := c.clients[0].PutPipeline(ctx, "p"+itoa(i), d); err != nil {
			return nil, err
		}
	}
	read, err := c.usage(ctx)
	if err != nil {
		return nil, err
	}
	stop, err := c.hear(ctx, listeners)
	if err != nil {
		return nil, err
	}
	heard, err := c.usage(ctx)
	stop()
	if err != nil {
		return nil, err
	}
	if err := c.fill(ctx, keys); err != nil {
		return nil, err
	}
	// The server keeps what was just written at hand for some time.
	if err := pause(ctx, time.Minute); err != nil {
		return nil, err
	}
	filled, err := c.usage(ctx)
	if err != nil {
		return nil, err
	}
	return []Row{
		told("a pipeline more: memory in use of a node", "kB", []float64{(read.memory - before.memory) / readers / 1e3}),
		told("a pipeline more: cores, together", "millicores", []float64{(read.cpu - before.cpu) / readers * 1e3}),
		told("an event stream more: memory in use of its node", "kB", []float64{(heard.memory - read.memory) * clusterSize / listeners / 1e3}),
		told("a key more, 9 bytes with a value of 16: memory in use of a node, three replicas", "B", []float64{(filled.memory - read.memory) / keys}),
	}, nil
}

// fill puts keys into a cache that no pipeline reads.
func (c *nodes) fill(ctx context.Context, keys int) error {
	if err := c.clients[0].CreateCache(ctx, "filled", client.CacheConfig{}); err != nil {
		return err
	}
	for at := 0; at < keys; at += 10_000 {
		var body []byte
		for i := at; i < at+10_000; i++ {
			body = append(bulk.AppendLine(body, &bulk.Record{Key: fmt.Sprintf("key%06d", i), Value: make([]byte, 16), ContentType: "application/octet-stream"}), '\n')
		}
		if _, err := c.clients[at/10_000%len(c.clients)].ImportLines(ctx, "filled", body); err != nil {
			return err
		}
	}
	return nil
}

// hear opens event streams of the first node.
func (c *nodes) hear(ctx context.Context, n int) (stop func(), err error) {
	var bodies []io.Closer
	stop = func() {
		for _, b := range bodies {
			_ = b.Close() // the node is stopped next
		}
	}
	for range n {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.urls[0]+"/rest/v2/caches/"+bench.Target+"?action=listen", nil)
		if err != nil {
			return stop, err
		}
		r.Header.Set("Accept", "text/event-stream")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return stop, err
		}
		bodies = append(bodies, resp.Body)
		if resp.StatusCode != http.StatusOK {
			stop()
			return stop, fmt.Errorf("listen: %s", resp.Status)
		}
	}
	return stop, nil
}

// usage measures for a while, after what was begun has come to rest.
func (c *nodes) usage(ctx context.Context) (u usage, err error) {
	const rest, span = 10 * time.Second, 10 * time.Second
	if err := pause(ctx, rest); err != nil {
		return u, err
	}
	cpu, err := c.processorTime()
	if err != nil {
		return u, err
	}
	network, err := loopbackBytes()
	if err != nil {
		return u, err
	}
	began := time.Now()
	if err := pause(ctx, span); err != nil {
		return u, err
	}
	took := time.Since(began).Seconds()
	cpuAfter, err := c.processorTime()
	if err != nil {
		return u, err
	}
	networkAfter, err := loopbackBytes()
	if err != nil {
		return u, err
	}
	u.cpu, u.network = (cpuAfter-cpu).Seconds()/took, (networkAfter-network)/took
	for i, cmd := range c.running {
		megabytes, err := resident(cmd.Process.Pid)
		if err != nil {
			return u, err
		}
		inUse, err := c.inUse(ctx, i)
		if err != nil {
			return u, err
		}
		u.resident += megabytes * 1e6 / float64(len(c.running))
		u.memory += inUse / float64(len(c.running))
	}
	return u, nil
}

// inUse is what Go's heap and stacks of a node have after a collection, in bytes.
func (c *nodes) inUse(ctx context.Context, i int) (float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.urls[i]+"/debug/pprof/heap?gc=1&debug=1", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	var sum float64
	for _, name := range []string{"# HeapInuse = ", "# Stack = "} {
		_, rest, ok := strings.Cut(string(text), name)
		number := strings.FieldsFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if !ok || len(number) == 0 {
			return 0, fmt.Errorf("the heap's profile of n%d has no %q: %s", i, name, resp.Status)
		}
		n, err := strconv.ParseFloat(number[0], 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// processorTime is what all nodes have used.
func (c *nodes) processorTime() (sum time.Duration, err error) {
	const tick = 10 * time.Millisecond // USER_HZ is 100 on Linux
	for _, cmd := range c.running {
		data, err := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/stat")
		if err != nil {
			return 0, err
		}
		// The name in parentheses may have spaces; utime and stime are the 12th and 13th behind it.
		_, rest, _ := bytes.Cut(data, []byte(") "))
		fields := strings.Fields(string(rest))
		if len(fields) < 13 {
			return 0, fmt.Errorf("the system does not tell the processor time of %d", cmd.Process.Pid)
		}
		for _, f := range fields[11:13] {
			n, err := strconv.Atoi(f)
			if err != nil {
				return 0, err
			}
			sum += time.Duration(n) * tick
		}
	}
	return sum, nil
}

// loopbackBytes is what went over loopback since the machine, or this network namespace, was made: in one of its own (`unshare -n`) nobody else's is among it.
func loopbackBytes() (float64, error) {
	data, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "lo:"); ok {
			return strconv.ParseFloat(strings.Fields(rest)[0], 64)
		}
	}
	return 0, errors.New("the system does not tell what goes over loopback")
}
