package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media/jsontensor"
	"github.com/millrace/millrace/serve"
)

const (
	// retryMillis tells a client how soon to come back after a connection ended.
	retryMillis = "1000"
	// eventsAtOnce is how many bytes of events that are there already go out in one write.
	eventsAtOnce = 64 << 10
	// eventsInOne is how many events they are at most.
	eventsInOne = 256
	// farewellTime is how long a reader that is too far behind may take for what is on its way, and for the reason.
	farewellTime = 5 * time.Second
	// sendBuffer is the socket's, so that what waits in the kernel is bounded too. Linux takes twice as much.
	sendBuffer = 64 << 10
	// keptBuffer is the largest buffer that a stream keeps for its next events.
	keptBuffer = 2 * eventsAtOnce
)

// listen answers GET ?action=listen with a cache's events until the caller leaves, the cache is deleted or the
// server stops. A caller that comes back with the last id it saw misses nothing.
func (h *Handler) listen(w http.ResponseWriter, r *http.Request, c *grid.Cache) error {
	q := r.URL.Query()
	values, err := flag(q, "values")
	if err != nil {
		return err
	}
	current, err := flag(q, "includeCurrentState")
	if err != nil {
		return err
	}
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = q.Get("lastEventId")
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	l, err := c.Listen(ctx, grid.ListenOptions{
		From: grid.EventID(from), IncludeCurrent: current, Values: values, Prefix: q.Get("prefix"),
		Budget: h.cfg.Listeners, Fixed: 2*sendBuffer + keptBuffer,
	})
	if err != nil {
		return err
	}
	defer l.Close()
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no") // nginx would hold events back
	if r.ProtoMajor == 1 {
		head.Set("Connection", "close") // the small buffer is not for what would come after the stream
	}
	serve.BoundSend(r, sendBuffer)
	serve.ExtendRead(w, 0)
	s := &eventStream{h: h, w: w, out: http.NewResponseController(w), values: values, last: l.Start()}
	w.WriteHeader(http.StatusOK)
	begin := "retry: " + retryMillis + "\n"
	if s.last != "" { // whoever is cut off before the first event comes back to here
		begin += "id: " + string(s.last) + "\n"
	}
	if !s.send([]byte(begin + "\n")) {
		return nil
	}
	s.run(ctx, cancel, l)
	return nil
}

// flag reads a query parameter that is true, false or absent.
func flag(q url.Values, name string) (bool, error) {
	switch v := q.Get(name); v {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, fmt.Errorf("%w: %s=%q is neither true nor false", serve.ErrRequest, name, v)
	}
}

type eventStream struct {
	h      *Handler
	w      http.ResponseWriter
	out    *http.ResponseController
	values bool
	buf    []byte
	last   grid.EventID // of what was written; before that, where the stream begins

	mu      sync.Mutex
	hurried bool
}

// events are what goes out in one write, and what they take in memory.
type events struct {
	list  []grid.Event
	bytes int
}

// run writes what comes. One goroutine reads the listener, so that keep-alives and the server's stop are seen while
// nothing comes; the listener bounds what waits for a slow reader, with what is under way here.
func (s *eventStream) run(ctx context.Context, cancel context.CancelFunc, l *grid.Listener) {
	next := make(chan events)
	ended := make(chan error, 1)
	go func() {
		defer close(next)
		for {
			some, err := gather(ctx, l)
			if err != nil {
				ended <- err
				return
			}
			select {
			case next <- some:
			case <-l.Overrun():
				s.hurry()
				select {
				case next <- some:
				default:
					l.Hold(-some.bytes) // they are not written: the reader's last id is before them
				}
			case <-ctx.Done():
			}
		}
	}()
	defer func() {
		cancel()
		for range next { // the goroutine may stand at it
		}
	}()
	draining := serve.Draining(ctx)
	quiet := time.NewTicker(s.h.cfg.KeepAlive)
	defer quiet.Stop()
	for {
		select {
		case some, ok := <-next:
			if !ok {
				s.end(ctx, <-ended)
				return
			}
			if !s.sendEvents(some, l) {
				return
			}
			quiet.Reset(s.h.cfg.KeepAlive)
		case <-quiet.C:
			if !s.send([]byte(":\n\n")) {
				return
			}
		case <-draining:
			s.hurry() // the server waits for nobody who takes nothing
			s.end(ctx, grid.ErrClosed)
			return
		case <-ctx.Done():
			return
		}
	}
}

// gather waits for an event, and takes with it what is there already, up to what goes out in one write.
func gather(ctx context.Context, l *grid.Listener) (events, error) {
	e, err := l.Next(ctx)
	if err != nil {
		return events{}, err
	}
	var some events
	for ok := true; ok; e, ok = l.Poll() {
		some.list = append(some.list, e)
		if some.bytes += len(e.Entry.Key) + len(e.Entry.Value); some.bytes >= eventsAtOnce || len(some.list) == eventsInOne {
			break
		}
	}
	l.Hold(some.bytes)
	return some, nil
}

// sendEvents writes some events, and flushes once.
func (s *eventStream) sendEvents(some events, l *grid.Listener) bool {
	s.buf = s.buf[:0]
	for i := range some.list {
		s.buf = s.append(s.buf, &some.list[i])
	}
	s.last = some.list[len(some.list)-1].ID
	l.Hold(cap(s.buf))
	ok := s.send(s.buf)
	l.Hold(-cap(s.buf) - some.bytes)
	if cap(s.buf) > keptBuffer {
		s.buf = nil // one large value does not stay for the stream's life
	}
	return ok
}

func (s *eventStream) send(b []byte) bool {
	s.mu.Lock()
	patience := s.h.cfg.SlowClient
	if s.hurried {
		patience = min(patience, farewellTime)
	}
	serve.ExtendWrite(s.w, patience)
	s.mu.Unlock()
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.out.Flush() == nil
}

// hurry bounds the write that is under way, and those that come: the reader is told why its stream ends, and what holds memory for it goes.
func (s *eventStream) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hurried = true
	serve.ExtendWrite(s.w, min(s.h.cfg.SlowClient, farewellTime))
}

// errStops is what readers are told when the node stops.
var errStops = fmt.Errorf("%w: listen again, to another node or to this one once it is back, with the Last-Event-ID of the last event that came, which loses nothing", serve.ErrStopping)

// end tells a reader why no more comes, where it is not the reader's leaving.
func (s *eventStream) end(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	if errors.Is(err, grid.ErrClosed) {
		err = errStops
	}
	if serve.KindOf(err).HTTP == http.StatusInternalServerError {
		s.h.cfg.Logger.Error("event stream ended", "request_id", serve.RequestID(s.w), "error", err)
	}
	b := append([]byte("event: error\ndata: {\"error\":"), jsontensor.AppendString(nil, serve.Message(s.w, err))...)
	b = jsontensor.AppendString(append(b, `,"code":`...), serve.KindOf(err).Code)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(serve.KindOf(err).HTTP), 10) // below 500 coming back is of no use
	if s.last != "" {
		b = jsontensor.AppendString(append(b, `,"last_id":`...), string(s.last))
	}
	s.send(append(b, "}\n\n"...))
}

// append appends one event in the format of server-sent events (HTML Living Standard, 9.2.6).
func (s *eventStream) append(dst []byte, e *grid.Event) []byte {
	dst = append(append(dst, "id: "...), e.ID...)
	dst = append(append(dst, "\nevent: cache-entry-"...), e.Type.String()...)
	dst = append(dst, "\ndata: "...)
	if s.values {
		dst = appendEntry(dst, &e.Entry, e.Type == grid.Created || e.Type == grid.Updated)
		if e.Reason != "" {
			dst = jsontensor.AppendString(append(dst[:len(dst)-1], `,"reason":`...), e.Reason)
			dst = append(dst, '}')
		}
	} else {
		dst = appendLine(dst, e.Entry.Key)
	}
	return append(dst, "\n\n"...)
}

// appendLine appends a key as it stands in a data line: itself, with % and what a line cannot hold percent-encoded (line ends, NUL,
// a blank at the start, bytes that are no UTF-8). Percent-decoding a line gives its key back, whatever the key is.
func appendLine(dst []byte, key string) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(key); {
		r, size := utf8.DecodeRuneInString(key[i:])
		switch c := key[i]; {
		case c == '%', c == '\r', c == '\n', c == 0, c == ' ' && i == 0, r == utf8.RuneError && size == 1:
			dst = append(dst, '%', hex[c>>4], hex[c&15])
		default:
			dst = append(dst, key[i:i+size]...)
		}
		i += size
	}
	return dst
}
