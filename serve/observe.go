package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"time"
)

// requestIDHeader carries a request's id in both directions.
const requestIDHeader = "X-Request-Id"

// RequestID returns the id of the request that w answers; "" outside a Server.
func RequestID(w http.ResponseWriter) string {
	if v := w.Header()[requestIDHeader]; len(v) == 1 {
		return v[0]
	}
	return ""
}

// newRequestID keeps the caller's id where it is 1 to 64 characters of [A-Za-z0-9._-], so that nothing odd gets into
// logs, and makes one otherwise.
func newRequestID(r *http.Request) string {
	if v := r.Header[requestIDHeader]; len(v) == 1 && isRequestID(v[0]) {
		return v[0]
	}
	const digits = "0123456789abcdef"
	var b [16]byte
	n := rand.Uint64()
	for i := range b {
		b[i] = digits[n&15]
		n >>= 4
	}
	return string(b[:])
}

func isRequestID(s string) bool {
	if len(s) == 0 || len(s) > 64 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// A response notes what was answered, for the log, and whether the request was read when its answer began.
type response struct {
	http.ResponseWriter
	request *http.Request
	body    body
	unread  bool // the body is read after the answer
	status  int
	bytes   int64
	err     error
	quiet   bool
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

// begin notes that an answer begins.
func (w *response) begin(status int) {
	w.status = status
	w.answersUnread()
}

func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Flush is here for handlers that ask for http.Flusher.
func (w *response) Flush() {
	if w.status == 0 {
		w.begin(http.StatusOK)
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// observe gives each request its id, logs it, and turns a panic into a 500.
func observe(h http.Handler, log *slog.Logger, cfg Config) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		start := time.Now()
		w := &response{ResponseWriter: rw, request: r}
		if r.ContentLength != 0 {
			w.body.ReadCloser = r.Body
			w.body.pace = newPace(rw, r, cfg, start)
			r.Body = &w.body
		}
		w.Header()[requestIDHeader] = []string{newRequestID(r)}
		defer func() {
			v := recover()
			if v != nil {
				recovered(w, r, v, log)
			}
			logRequest(w, r, log, cfg.AccessLog, time.Since(start))
			if !aborts(v) {
				w.readUnread()
			}
			if w.body.ReadCloser != nil {
				r.Body = w.body.ReadCloser // net/http looks at its own for what is left
			}
			if v != nil && w.status != 0 && w.err == nil || aborts(v) {
				panic(http.ErrAbortHandler) // the answer had begun: only a cut connection says that it is not whole
			}
		}()
		h.ServeHTTP(w, r)
	})
}

// aborts reports whether a panic is a handler's wish to cut the connection.
func aborts(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

func recovered(w *response, r *http.Request, v any, log *slog.Logger) {
	if aborts(v) {
		return
	}
	log.Error("panic in a request", "request_id", RequestID(w), "method", r.Method, "path", r.URL.EscapedPath(),
		"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.status == 0 {
		w.Header().Set("Connection", "close")
		WriteError(w, r, fmt.Errorf("panic: %v", v))
	}
}

func logRequest(w *response, r *http.Request, log *slog.Logger, all bool, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	level := slog.LevelDebug
	switch {
	case w.quiet:
	case status == http.StatusInternalServerError:
		level = slog.LevelError
	case status > http.StatusInternalServerError:
		level = slog.LevelWarn
	case all:
		level = slog.LevelInfo
	}
	if !log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", RequestID(w)), slog.String("method", r.Method), slog.String("path", r.URL.EscapedPath()),
		slog.Int("status", status), slog.Int64("bytes", w.bytes), slog.Int64("duration_us", took.Microseconds()),
		slog.String("remote", r.RemoteAddr),
	}
	if w.err != nil {
		attrs = append(attrs, slog.String("code", KindOf(w.err).Code), slog.String("error", w.err.Error()))
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
}
