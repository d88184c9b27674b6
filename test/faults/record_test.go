package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// kind is what an operation does.
type kind string

const (
	get    kind = "get"
	put    kind = "put"
	create kind = "create" // a put where nothing is
	cas    kind = "cas"    // a put where a certain revision is
	remove kind = "remove"
)

// outcome is what a client knows of an operation when it has ended.
type outcome string

const (
	// ok: it was done.
	ok outcome = "ok"
	// absent: there was no entry to get or to remove.
	absent outcome = "absent"
	// refused: its condition did not hold.
	refused outcome = "refused"
	// failed: the node said that it was not done. Of a write, that it may have been done nevertheless.
	failed outcome = "failed"
	// unsent: no node took it, so that it had no effect.
	unsent outcome = "unsent"
	// unknown: no answer came.
	unknown outcome = "unknown"
)

// op is one operation of a client. Times are since the run's beginning.
type op struct {
	Client int `json:"client"`
	Node   int `json:"node"`
	// Life is which of the node's processes, counted from 1, took it; 0 where another one had begun when it ended.
	Life    int           `json:"life,omitempty"`
	Kind    kind          `json:"kind"`
	Cache   string        `json:"cache"`
	Key     string        `json:"key"`
	Value   string        `json:"value,omitempty"` // what was written, or read
	If      uint64        `json:"if,omitempty"`    // of cas, the revision
	Start   time.Duration `json:"start"`
	End     time.Duration `json:"end"`
	Outcome outcome       `json:"outcome"`
	// Revision is that of the entry that was written or read.
	Revision uint64 `json:"revision,omitempty"`
	Status   int    `json:"status,omitempty"`
	Error    string `json:"error,omitempty"`
}

// writes reports whether the operation changes something.
func (o *op) writes() bool { return o.Kind != get }

// answered reports whether the outcome is one by which a client knows what holds.
func (o *op) answered() bool { return o.Outcome == ok || o.Outcome == absent || o.Outcome == refused }

// early reports whether a node answered that had not opened the grid yet, so that nothing was done. While most nodes are away one says so to every client, many times a second.
func (o *op) early() bool {
	return o.Outcome == failed && o.Status == http.StatusServiceUnavailable && strings.Contains(o.Error, `"grid unavailable: the node `)
}

// recorder keeps the operations of all clients in the order of their ends.
type recorder struct {
	began time.Time
	mu    sync.Mutex
	ops   []*op
}

func newRecorder() *recorder { return &recorder{began: time.Now()} }

func (r *recorder) now() time.Duration { return time.Since(r.began) }

func (r *recorder) add(o *op) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, o)
}

// take returns what was recorded, and begins anew.
func (r *recorder) take() []*op {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := r.ops
	r.ops = nil
	return ops
}

// writeHistory keeps operations, or events, as lines of JSON, for whoever looks for the cause of a violation.
func writeHistory[T any](path string, ops []T) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	e := json.NewEncoder(f)
	for _, o := range ops {
		err = errors.Join(err, e.Encode(o))
	}
	return errors.Join(err, f.Close())
}

// target is a node as clients know it.
type target struct {
	base string
	// lives is how often its process was started.
	lives *atomic.Int64
}

// caller does operations at nodes and records them.
type caller struct {
	id      int
	targets []target
	http    *http.Client
	rec     *recorder
}

func newCaller(id int, targets []target, rec *recorder, limit time.Duration) *caller {
	// A connection to a node whose packets are lost is given up soon, as any careful client does.
	transport := &http.Transport{DialContext: (&net.Dialer{Timeout: time.Second}).DialContext, MaxIdleConnsPerHost: 2}
	return &caller{id: id, targets: targets, rec: rec, http: &http.Client{Transport: transport, Timeout: limit}}
}

func (c *caller) close() { c.http.CloseIdleConnections() }

// do does one operation, of which kind, cache, key, value, condition and node are set, and records it.
func (c *caller) do(ctx context.Context, o op) *op {
	lives := c.targets[o.Node].lives
	o.Client, o.Life, o.Start = c.id, int(lives.Load()), c.rec.now()
	c.ask(ctx, &o)
	o.End = c.rec.now()
	if int(lives.Load()) != o.Life {
		o.Life = 0
	}
	c.rec.add(&o)
	return &o
}

var methods = map[kind]string{get: http.MethodGet, put: http.MethodPut, create: http.MethodPost, cas: http.MethodPut, remove: http.MethodDelete}

func (c *caller) ask(ctx context.Context, o *op) {
	var body io.Reader
	if o.writes() && o.Kind != remove {
		body = strings.NewReader(o.Value)
		if o.Cache == "digits" {
			body = bytes.NewReader(picture(o.Value))
		}
	}
	req, err := http.NewRequestWithContext(ctx, methods[o.Kind], c.targets[o.Node].base+"/rest/v2/caches/"+o.Cache+"/"+o.Key, body)
	if err != nil {
		panic(err) // the URL is ours
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	if o.Kind == cas {
		req.Header.Set("If-Match", strconv.Quote(strconv.FormatUint(o.If, 10)))
	}
	resp, err := c.http.Do(req)
	if err != nil {
		o.Outcome, o.Error = unknown, err.Error()
		var dial *net.OpError
		if errors.As(err, &dial) && dial.Op == "dial" {
			o.Outcome = unsent
		}
		return
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	o.Status = resp.StatusCode
	if err != nil {
		o.Outcome, o.Error = unknown, err.Error()
		return
	}
	o.judge(resp.Header.Get("ETag"), answer)
}

// judge says what an answer means.
func (o *op) judge(etag string, answer []byte) {
	switch {
	case o.Status == http.StatusOK || o.Status == http.StatusNoContent:
		o.Outcome = ok
		if o.Kind == remove {
			return
		}
		if o.Kind == get {
			o.Value = string(answer)
		}
		var err error
		if o.Revision, err = strconv.ParseUint(strings.Trim(etag, `"`), 10, 64); err != nil {
			o.Outcome, o.Error = failed, fmt.Sprintf("ETag %q: %v", etag, err)
		}
	case o.Status == http.StatusNotFound && (o.Kind == get || o.Kind == remove) && bytes.Contains(answer, []byte("entry_not_found")):
		o.Outcome = absent
	case o.Status == http.StatusPreconditionFailed && o.Kind == cas, o.Status == http.StatusConflict && o.Kind == create:
		o.Outcome = refused
	default:
		o.Outcome, o.Error = failed, string(answer)
	}
}

// picture is an input of the model that a value stands for.
func picture(value string) []byte {
	p := make([]byte, 28*28)
	for i := range p {
		p[i] = value[i%len(value)]
	}
	return p
}
