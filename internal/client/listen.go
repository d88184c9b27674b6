package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/bulk"
)

// ListenOptions say which events come.
type ListenOptions struct {
	// Values asks for the entries, not the keys alone.
	Values bool
	// Current begins with the entries that are there.
	Current bool
	// Prefix limits the events to keys that begin with it.
	Prefix string
	// From is the id of the last event that was seen; what came after it comes first.
	From string
	// Retry is told why the connection is made again; nil is silent.
	Retry func(error)
}

// An Event is a change of one key.
type Event struct {
	// ID resumes after this event.
	ID string
	// Type is "created", "updated", "removed" or "expired".
	Type string
	// Entry has the key; with Values also the revision and, where there is one, the value.
	Entry Entry
	// Raw is the event's data as it came.
	Raw []byte
}

// Backoff between connections: the node's own wish first, then twice as long each time.
const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
	maxEvent   = 32 << 20
)

// Listen yields a cache's events until ctx ends or the node refuses. When the connection breaks it is made again and goes on
// after the last event, so that nothing is missed while the node remembers it.
func (c *Client) Listen(ctx context.Context, cache string, o ListenOptions) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := &stream{client: c, cache: cache, o: o, wait: firstRetry, yield: yield}
		for {
			err := s.run(ctx)
			var refused *Error
			switch {
			case s.stopped:
				return
			case ctx.Err() != nil:
				yield(Event{}, ctx.Err())
				return
			case errors.As(err, &refused) && refused.Status < http.StatusInternalServerError && refused.Status != http.StatusTooManyRequests,
				!s.opened && !errors.As(err, &refused): // the first connection must succeed
				yield(Event{}, err)
				return
			}
			if o.Retry != nil {
				o.Retry(err)
			}
			select {
			case <-time.After(s.wait):
			case <-ctx.Done():
				yield(Event{}, ctx.Err())
				return
			}
			s.wait = min(2*s.wait, lastRetry)
		}
	}
}

// stream is one listening over all its connections.
type stream struct {
	client  *Client
	cache   string
	o       ListenOptions
	wait    time.Duration
	yield   func(Event, error) bool
	opened  bool // a connection was made once
	stopped bool // the caller wants no more
}

// run reads one connection until it ends, and says why it did.
func (s *stream) run(ctx context.Context) error {
	q := url.Values{"action": {"listen"}}
	if s.o.Values {
		q.Set("values", "true")
	}
	if s.o.Current && s.o.From == "" {
		q.Set("includeCurrentState", "true")
	}
	if s.o.Prefix != "" {
		q.Set("prefix", s.o.Prefix)
	}
	head := http.Header{"Accept": {"text/event-stream"}}
	if s.o.From != "" {
		head.Set("Last-Event-ID", s.o.From)
	}
	resp, err := s.client.do(ctx, http.MethodGet, cachePath(s.cache)+"?"+q.Encode(), nil, head)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	s.opened = true
	return readEvents(resp.Body, s.field)
}

// field takes one whole event of the stream.
func (s *stream) field(e sse) error {
	if e.retry > 0 {
		s.wait = e.retry
	}
	if e.event == "error" {
		refused := &Error{Status: http.StatusGone}
		if err := json.Unmarshal(e.data, refused); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
		return refused
	}
	kind, ok := strings.CutPrefix(e.event, "cache-entry-")
	if !ok { // where the stream begins, or a kind that this client does not know
		s.resumeAt(e.id)
		return nil
	}
	event := Event{ID: e.id, Type: kind, Raw: e.data}
	if s.o.Values {
		if err := event.Entry.decode(e.data); err != nil {
			return fmt.Errorf("read an event: %w", err)
		}
	} else {
		key, err := url.PathUnescape(string(e.data)) // the key, percent-encoded where a line cannot hold it
		if err != nil {
			return fmt.Errorf("read an event's key: %w", err)
		}
		event.Entry.Key = Key(key)
	}
	s.resumeAt(e.id)
	if !s.yield(event, nil) {
		s.stopped = true
		return io.EOF
	}
	return nil
}

// resumeAt says where the next connection goes on.
func (s *stream) resumeAt(id string) {
	if id != "" {
		s.o.From = id
	}
}

// decode reads an entry of a list or an event.
func (e *Entry) decode(data []byte) error {
	var in struct {
		Key         Key               `json:"key"`
		Revision    uint64            `json:"revision"`
		Created     time.Time         `json:"created"`
		ContentType string            `json:"contentType"`
		Labels      map[string]string `json:"labels"`
		Value       json.RawMessage   `json:"value"`
		ValueBase64 []byte            `json:"valueBase64"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*e = Entry{Key: in.Key, Revision: in.Revision, Created: in.Created, ContentType: in.ContentType, Labels: in.Labels, Value: in.ValueBase64}
	if in.Value != nil {
		var err error
		if e.Value, err = bulk.ParseValue(in.ContentType, in.Value); err != nil {
			return err
		}
	}
	return nil
}

// sse is one event of a stream (HTML Living Standard, 9.2.6).
type sse struct {
	id, event string
	data      []byte
	retry     time.Duration
}

// readEvents calls take with each event of r until r ends (io.ErrUnexpectedEOF), it fails, or take returns an error. The data is
// take's to keep.
func readEvents(r io.Reader, take func(sse) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	var e sse
	for lines.Scan() {
		line := lines.Bytes()
		if len(line) == 0 {
			if e.data != nil || e.retry > 0 {
				if err := take(e); err != nil {
					return err
				}
			}
			e = sse{}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			e.id = string(value)
		case "event":
			e.event = string(value)
		case "data":
			if e.data != nil {
				e.data = append(e.data, '\n')
			}
			e.data = append(e.data, value...)
			if e.data == nil {
				e.data = []byte{}
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				e.retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return io.ErrUnexpectedEOF
}
