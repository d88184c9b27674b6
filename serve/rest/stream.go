package rest

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// listAtOnce is how many bytes of a list go out in one write.
const listAtOnce = 64 << 10

// headerCursor is what the next page of a list is asked for with.
const headerCursor = "Millrace-Cursor"

// newestAtOnce is how many entries order=newest gives at most.
const newestAtOnce = 1000

// list streams keys or entries as a JSON array. A list that fails on the way is cut, so that nobody takes it for
// whole.
func (h *Handler) list(w http.ResponseWriter, r *http.Request, c *grid.Cache, q url.Values, entries bool) error {
	o, values, newest, err := listOptions(q, entries)
	if err != nil {
		return err
	}
	// What a list that was cut goes on behind, as a query has it.
	o.More = func(last string) { w.Header().Set(headerCursor, url.QueryEscape(last)) }
	out := &arrayWriter{h: h, w: w}
	switch {
	case newest:
		err = listNewest(r.Context(), out, c, o)
	case entries && !values:
		err = stream(c.ListInfo(r.Context(), o), func(i *grid.Info) bool { return out.add(func(b []byte) []byte { return appendInfo(b, i) }) })
	case entries:
		err = stream(c.List(r.Context(), o), func(e *grid.Entry) bool { return out.add(func(b []byte) []byte { return appendEntry(b, e, true) }) })
	default:
		err = stream(c.List(r.Context(), o), func(e *grid.Entry) bool { return out.add(grid.JSONKey(e.Key).AppendJSON) })
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

// listOptions reads which entries are listed, whether with their values, and whether from the newest.
func listOptions(q url.Values, entries bool) (o grid.ListOptions, values, newest bool, err error) {
	o = grid.ListOptions{Prefix: q.Get("prefix"), After: q.Get("cursor"), KeysOnly: !entries}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < -1 {
			return o, false, false, fmt.Errorf("%w: limit=%q is no whole number (0 and -1 are no limit)", serve.ErrRequest, s)
		}
		o.Limit = max(n, 0)
	}
	values = true
	if q.Has("values") {
		if values, err = flag(q, "values"); err != nil {
			return o, false, false, err
		}
	}
	switch order := q.Get("order"); order {
	case "", "key":
	case "newest":
		newest = true
		if !entries || values || o.Limit == 0 || o.Limit > newestAtOnce {
			return o, false, false, fmt.Errorf("%w: order=newest is of action=entries with values=false and a limit from 1 to %d", serve.ErrRequest, newestAtOnce)
		}
		if o.After != "" {
			return o, false, false, fmt.Errorf("%w: cursor goes on in the order of the keys, not with order=newest", serve.ErrRequest)
		}
	default:
		return o, false, false, fmt.Errorf("%w: order=%q is neither key nor newest", serve.ErrRequest, order)
	}
	return o, values, newest, nil
}

func listNewest(ctx context.Context, out *arrayWriter, c *grid.Cache, o grid.ListOptions) error {
	infos, err := c.Newest(ctx, o.Prefix, o.Limit)
	for i := range infos {
		if !out.add(func(b []byte) []byte { return appendInfo(b, &infos[i]) }) {
			break
		}
	}
	return err
}

// stream adds what is listed until add says that the caller is gone.
func stream[T any](list iter.Seq2[T, error], add func(*T) bool) error {
	for one, err := range list {
		if err != nil {
			return err
		}
		if !add(&one) {
			return nil
		}
	}
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

// add appends an element, and returns false where nobody takes it any more.
func (a *arrayWriter) add(element func([]byte) []byte) bool {
	sep := byte(',')
	if !a.some {
		sep, a.some = '[', true
	}
	a.buf = element(append(a.buf, sep))
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
