package rest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// listAtOnce is how many bytes of a list go out in one write.
const listAtOnce = 64 << 10

// list streams keys or entries as a JSON array. A list that fails on the way is cut, so that nobody takes it for
// whole.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, c *grid.Cache, q url.Values, entries bool) error {
	o := grid.ListOptions{Prefix: q.Get("prefix"), KeysOnly: !entries}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < -1 {
			return fmt.Errorf("%w: limit=%q is no whole number (0 and -1 are no limit)", serve.ErrRequest, s)
		}
		o.Limit = max(n, 0)
	}
	out := &arrayWriter{h: h, w: w}
	var err error
	for e, fault := range c.List(r.Context(), o) {
		if fault != nil {
			err = fault
			break
		}
		if !out.add(&e, entries) {
			break // the caller is gone
		}
	}
	if err != nil && !out.begun {
		return err
	}
	if err != nil {
		h.cfg.Logger.Error("list cut", "request_id", serve.RequestID(w), "cache", c.Name(), "error", err)
		panic(http.ErrAbortHandler)
	}
	out.end()
	return nil
}

// arrayWriter writes a JSON array in pieces.
type arrayWriter struct {
	h      *Handler
	w      http.ResponseWriter
	buf    []byte
	some   bool // an element was added
	begun  bool // something was written
	failed bool
}

// add appends an entry, or its key alone.
func (a *arrayWriter) add(e *grid.Entry, whole bool) bool {
	sep := byte(',')
	if !a.some {
		sep, a.some = '[', true
	}
	a.buf = append(a.buf, sep)
	if whole {
		a.buf = appendEntry(a.buf, e, true)
	} else {
		a.buf = grid.JSONKey(e.Key).AppendJSON(a.buf)
	}
	if len(a.buf) >= listAtOnce {
		a.flush()
	}
	return !a.failed
}

func (a *arrayWriter) end() {
	if !a.some {
		a.buf = append(a.buf, '[')
	}
	a.buf = append(a.buf, "]\n"...)
	a.flush()
}

func (a *arrayWriter) flush() {
	if !a.begun {
		head := a.w.Header()
		head.Set("Content-Type", "application/json")
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		a.begun = true
	}
	serve.ExtendWrite(a.w, a.h.cfg.SlowClient)
	_, err := a.w.Write(a.buf)
	a.failed = a.failed || err != nil
	a.buf = a.buf[:0]
}
