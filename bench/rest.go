package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// restConnections is how many connections put at a time.
const restConnections = 16

// restRows are the flood of section "pipeline" over REST, puts on kept connections and results as server-sent events, against the same
// flood by Go calls into a node of its own: in batches, and by as many callers as there are connections, who put one at a time as these do. The same
// flood as JSON lines over one connection, which the bulk import takes, is held against that of single puts.
func restRows(ctx context.Context, o options) ([]Row, error) {
	n := 50_000
	if o.short {
		n = 10_000
	}
	sides := []func(context.Context, *app.Node) (bench.Way, error){openREST, bench.OpenDirect, openCallers, openImport}
	var batches, callers, imports []pair
	for range o.rounds {
		var rates [4]float64
		for i, open := range sides {
			if err := bench.OnNode(ctx, bench.Options{Engine: "native"}, "durable", func(ctx context.Context, node *app.Node) error {
				w, err := open(ctx, node)
				if err != nil {
					return err
				}
				defer w.Close()
				if _, err := bench.Latencies(ctx, w, 100, "warm"); err != nil {
					return err
				}
				took, err := bench.Flood(ctx, w, n)
				rates[i] = float64(n) / took.Seconds()
				return err
			}); err != nil {
				return nil, err
			}
		}
		batches, callers = append(batches, pair{rates[0], rates[1]}), append(callers, pair{rates[0], rates[2]})
		imports = append(imports, pair{rates[3], rates[0]})
	}
	const name = "results a second, flood over REST, 16 connections"
	return []Row{
		row(name, "1/s", "the same flood in process, in batches of 256", batches, 0.6, false),
		row(name+", against 16 callers", "1/s", "16 callers in process, one put each", callers, 0.6, false),
		row("results a second, bulk import of JSON lines over REST", "1/s", "the flood over REST, 16 connections", imports, 0.7, false),
	}, nil
}

// callers are as many Go callers as there are connections, who put one at a time.
type callers struct{ bench.Way }

func openCallers(ctx context.Context, n *app.Node) (bench.Way, error) {
	w, err := bench.OpenDirect(ctx, n)
	return callers{w}, err
}

func (callers) Batch() int   { return 1 }
func (callers) Writers() int { return restConnections }

// importer brings items by the bulk import, a chunk of JSON lines a request, as `millrace cache import` does.
type importer struct {
	*rest
	client *http.Client
	url    string
}

func openImport(ctx context.Context, n *app.Node) (bench.Way, error) {
	w, err := openREST(ctx, n)
	if err != nil {
		return nil, err
	}
	return &importer{rest: w.(*rest), client: &http.Client{Transport: &http.Transport{}}, url: "http://" + n.Addr().String() + "/rest/v2/caches/" + bench.Source + "?action=import&format=jsonl"}, nil
}

func (*importer) Batch() int   { return 4096 }
func (*importer) Writers() int { return 1 }

func (i *importer) Close() {
	i.client.CloseIdleConnections()
	i.rest.Close()
}

func (i *importer) Put(ctx context.Context, keys []string, values [][]byte) error {
	var lines []byte
	for k, key := range keys {
		lines = append(bulk.AppendLine(lines, &bulk.Record{Key: key, Value: values[k], ContentType: "application/octet-stream"}), '\n')
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, i.url, bytes.NewReader(lines))
	if err != nil {
		return err
	}
	resp, err := i.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	said, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("import: %s: %s", resp.Status, said)
	}
	return err
}

// rest is the way over HTTP/1.1, written by hand so that the client costs little of the machine that it measures.
type rest struct {
	free   chan *restConn
	events *restConn
	line   []byte
}

type restConn struct {
	net.Conn
	in  *bufio.Reader
	out []byte
}

func openREST(ctx context.Context, n *app.Node) (bench.Way, error) {
	dial := func() (*restConn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.Addr().String())
		if err != nil {
			return nil, err
		}
		return &restConn{Conn: c, in: bufio.NewReaderSize(c, 64<<10)}, nil
	}
	r := &rest{free: make(chan *restConn, restConnections)}
	for range restConnections {
		c, err := dial()
		if err != nil {
			r.Close()
			return nil, err
		}
		r.free <- c
	}
	var err error
	if r.events, err = dial(); err != nil {
		r.Close()
		return nil, err
	}
	if _, err := io.WriteString(r.events, "GET /rest/v2/caches/"+bench.Target+"?action=listen HTTP/1.0\r\n\r\n"); err != nil {
		r.Close()
		return nil, err
	}
	for { // the stream is there when its first field is
		line, err := r.events.in.ReadString('\n')
		if err != nil {
			r.Close()
			return nil, fmt.Errorf("listen: %w", err)
		}
		if strings.HasPrefix(line, "retry:") {
			return r, nil
		}
	}
}

func (r *rest) Batch() int   { return 1 }
func (r *rest) Writers() int { return restConnections }

func (r *rest) Close() {
	for range len(r.free) {
		(<-r.free).Close()
	}
	if r.events != nil {
		r.events.Close()
	}
}

func (r *rest) Put(_ context.Context, keys []string, values [][]byte) error {
	c := <-r.free
	defer func() { r.free <- c }()
	for i, key := range keys {
		c.out = fmt.Appendf(c.out[:0], "PUT /rest/v2/caches/%s/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n",
			bench.Source, key, len(values[i]))
		c.out = append(c.out, values[i]...)
		if _, err := c.Write(c.out); err != nil {
			return err
		}
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(line, []byte("HTTP/1.1 204 ")) {
			return fmt.Errorf("put %s: %s (want %d)", key, bytes.TrimSpace(line), http.StatusNoContent)
		}
		for len(bytes.TrimSpace(line)) > 0 { // 204 has no body
			if line, err = c.in.ReadSlice('\n'); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rest) Next(ctx context.Context) (string, error) {
	if deadline, ok := ctx.Deadline(); ok {
		if err := r.events.SetReadDeadline(deadline); err != nil {
			return "", err
		}
	}
	for {
		line, err := r.events.in.ReadSlice('\n')
		if err != nil {
			return "", fmt.Errorf("events: %w", err)
		}
		if key, ok := bytes.CutPrefix(line, []byte("data: ")); ok {
			return string(bytes.TrimSuffix(key, []byte("\n"))), nil
		}
		if bytes.HasPrefix(line, []byte("event: error")) {
			return "", errors.New("the event stream has ended")
		}
	}
}
