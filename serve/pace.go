package serve

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// errPace says that a body came more slowly than it may.
var errPace = errors.New("it comes too slowly")

// A pace holds a body to a rate. Only the time in which the server waits for it counts, so that a handler may take its own. The first read, which
// has all of a small body, is left alone. The zero value holds to nothing.
type pace struct {
	w      http.ResponseWriter
	slow   func() // notes a body that did not come in time
	rate   int64
	grace  time.Duration
	until  time.Time // the deadline that the server or the handler set; zero is none
	waited time.Duration
	bytes  int64
	began  bool
}

func newPace(w http.ResponseWriter, r *http.Request, cfg Config, start time.Time) pace {
	p := pace{w: w, slow: func() {}, rate: cfg.MinBodyRate, grace: cfg.ReadHeaderTimeout, until: start.Add(cfg.ReadTimeout)}
	if c, ok := r.Context().Value(connKey{}).(*limitedConn); ok {
		p.slow = c.listener.slowBody
	}
	return p
}

func (p *pace) read(body io.Reader, buf []byte) (int, error) {
	if p.w == nil {
		return body.Read(buf)
	}
	now := time.Now()
	if p.began {
		bound := now.Add(p.left())
		if !p.until.IsZero() && p.until.Before(bound) {
			bound = p.until
		}
		// Without a connection (a test's recorder) there is no deadline to move.
		_ = http.NewResponseController(p.w).SetReadDeadline(bound)
	}
	n, err := body.Read(buf)
	p.waited += time.Since(now)
	p.bytes += int64(n)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		p.slow()
		if p.began && p.left() <= 0 {
			err = fmt.Errorf("%w: %d bytes in %v, of which %d have to come a second (http.limits.body_rate): %w",
				errPace, p.bytes, p.waited.Round(time.Millisecond), p.rate, err)
		}
	case p.began:
		// While the handler works, net/http waits for the connection's end under the same deadline, and cancels the request when it passes.
		_ = http.NewResponseController(p.w).SetReadDeadline(p.until)
	}
	p.began = true
	return n, err
}

// left is how much longer the server may wait.
func (p *pace) left() time.Duration {
	return p.grace + time.Duration(float64(p.bytes)/float64(p.rate)*float64(time.Second)) - p.waited
}
