package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
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
	})
	if err != nil {
		return err
	}
	defer l.Close()
	head := w.Header()
	head.Set("Content-Type", "text/event-stream")
	head.Set("Cache-Control", "no-store")
	head.Set("X-Accel-Buffering", "no") // nginx would hold events back
	serve.ExtendRead(w, 0)
	s := &eventStream{h: h, w: w, out: http.NewResponseController(w), values: values}
	w.WriteHeader(http.StatusOK)
	if !s.send([]byte("retry: " + retryMillis + "\n\n")) {
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
}

// run writes what comes. One goroutine reads the listener, so that keep-alives and the server's stop are seen while
// nothing comes; the listener itself bounds what waits for a slow reader.
func (s *eventStream) run(ctx context.Context, cancel context.CancelFunc, l *grid.Listener) {
	events := make(chan grid.Event, 256)
	ended := make(chan error, 1)
	go func() {
		for {
			e, err := l.Next(ctx)
			if err == nil {
				select {
				case events <- e:
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			close(events)
			ended <- err
			return
		}
	}()
	defer func() {
		cancel()
		for range events { // the reader may stand at a full channel
		}
	}()
	draining := serve.Draining(ctx)
	quiet := time.NewTicker(s.h.cfg.KeepAlive)
	defer quiet.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				s.end(ctx, <-ended)
				return
			}
			if !s.sendEvents(e, events) {
				return
			}
			quiet.Reset(s.h.cfg.KeepAlive)
		case <-quiet.C:
			if !s.send([]byte(":\n\n")) {
				return
			}
		case <-draining:
			return
		case <-ctx.Done():
			return
		}
	}
}

// sendEvents writes e and what waits behind it, and flushes once.
func (s *eventStream) sendEvents(e grid.Event, more <-chan grid.Event) bool {
	s.buf = s.append(s.buf[:0], &e)
	for len(s.buf) < eventsAtOnce {
		select {
		case e, ok := <-more:
			if ok {
				s.buf = s.append(s.buf, &e)
				continue
			}
		default:
		}
		break
	}
	ok := s.send(s.buf)
	if cap(s.buf) > 4*eventsAtOnce {
		s.buf = nil // one large value does not stay for the stream's life
	}
	return ok
}

func (s *eventStream) send(b []byte) bool {
	serve.ExtendWrite(s.w, s.h.cfg.SlowClient)
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.out.Flush() == nil
}

// end tells a reader why no more comes, where it is not the reader's or the server's leaving.
func (s *eventStream) end(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, grid.ErrClosed) {
		return
	}
	if serve.KindOf(err).HTTP == http.StatusInternalServerError {
		s.h.cfg.Logger.Error("event stream ended", "request_id", serve.RequestID(s.w), "error", err)
	}
	b := append([]byte("event: error\ndata: {\"error\":"), jsontensor.AppendString(nil, serve.Message(s.w, err))...)
	b = jsontensor.AppendString(append(b, `,"code":`...), serve.KindOf(err).Code)
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
