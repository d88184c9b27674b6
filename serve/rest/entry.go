package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/serve"
)

// Headers of an entry, beside HTTP's own.
const (
	headerLifespan = "timeToLiveSeconds"
	headerMaxIdle  = "maxIdleTimeSeconds"
	// labelPrefix begins the header of each label; the rest is its name, in lower case.
	labelPrefix = "Millrace-Label-"
)

// Canonical forms of the two headers, for lookups.
var (
	canonicalLifespan = http.CanonicalHeaderKey(headerLifespan)
	canonicalMaxIdle  = http.CanonicalHeaderKey(headerMaxIdle)
)

// decodeKey turns the path after a cache's name into a key.
func decodeKey(escaped string) (string, error) {
	if strings.IndexByte(escaped, '%') < 0 {
		return escaped, nil
	}
	key, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w: key %q: %w", serve.ErrRequest, escaped, err)
	}
	return key, nil
}

// open returns a cache by its escaped name; the system's own do not exist here.
func (h *Handler) open(ctx context.Context, escaped string) (*grid.Cache, error) {
	name, err := cacheName(escaped)
	if err != nil {
		return nil, err
	}
	c, err := h.cfg.Grid.Cache(ctx, name)
	if errors.Is(err, grid.ErrNoCache) {
		return nil, noCache(name)
	}
	return c, err
}

func cacheName(escaped string) (string, error) {
	name, err := url.PathUnescape(escaped)
	if err != nil {
		return "", fmt.Errorf("%w: %q: %w", grid.ErrCacheName, escaped, err)
	}
	return name, grid.CheckPublic(name)
}

func noCache(name string) error {
	return fmt.Errorf("%w: %s; create it with POST /rest/v2/caches/%s, GET /rest/v2/caches lists those that there are",
		grid.ErrNoCache, name, url.PathEscape(name))
}

func (h *Handler) entry(w http.ResponseWriter, r *http.Request, cache, escaped string) {
	var err error
	defer func() {
		if err != nil {
			serve.WriteError(w, r, err)
		}
	}()
	var act func(http.ResponseWriter, *http.Request, *grid.Cache, string) error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		act = h.get
	case http.MethodPut, http.MethodPost:
		act = h.put
	case http.MethodDelete:
		act = h.remove
	default:
		serve.MethodNotAllowed(w, r, "GET", "HEAD", "PUT", "POST", "DELETE")
		return
	}
	key, err := decodeKey(escaped)
	if err != nil {
		return
	}
	if key == "" {
		err = fmt.Errorf("%w: the path ends where the key should be", grid.ErrKey)
		return
	}
	c, err := h.open(r.Context(), cache)
	if err != nil {
		return
	}
	err = act(w, r, c, key)
}

func (h *Handler) get(w http.ResponseWriter, r *http.Request, c *grid.Cache, key string) error {
	cond, err := parseConditions(r.Header)
	if err != nil {
		return err
	}
	peek, err := flag(r.URL.Query(), "peek")
	if err != nil {
		return err
	}
	// The value of a cold entry is not asked of its store where the answer has none.
	wanted := func(i grid.Info) bool {
		e := &i.Entry
		return r.Method != http.MethodHead && cond.forReading().check(e.Revision, e.Created) == nil && !cond.notModified(e.Revision, e.Created)
	}
	i, err := read(r.Context(), c, key, peek, wanted)
	if err != nil {
		return err
	}
	e := &i.Entry
	if err := cond.forReading().check(e.Revision, e.Created); err != nil {
		return err
	}
	head := w.Header()
	describe(head, e)
	if cond.notModified(e.Revision, e.Created) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	head["Content-Length"] = []string{strconv.Itoa(i.Size)}
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(e.Value) // the caller is gone when this fails
	}
	return nil
}

// read reads an entry, with its value if that is wanted or in memory. Peek leaves everything as it is.
func read(ctx context.Context, c *grid.Cache, key string, peek bool, wanted func(grid.Info) bool) (grid.Info, error) {
	if !peek {
		return c.GetIf(ctx, key, wanted)
	}
	i, err := c.Stat(ctx, key)
	if err != nil || !wanted(i) {
		return i, err
	}
	e, err := c.Peek(ctx, key)
	return grid.Info{Entry: e, Size: len(e.Value)}, err
}

// safety keeps a browser from running what somebody stored: an entry is data, on the origin of our own page.
var safety = []string{"sandbox; default-src 'none'; img-src 'self'; style-src 'unsafe-inline'"}

// describe writes an entry's headers.
func describe(head http.Header, e *grid.Entry) {
	head["Etag"] = []string{etag(e.Revision)}
	head["Last-Modified"] = []string{e.Created.UTC().Format(http.TimeFormat)}
	head["Cache-Control"] = []string{"no-cache"}
	head["X-Content-Type-Options"] = []string{"nosniff"}
	head["Content-Security-Policy"] = safety
	contentType := e.ContentType
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	head["Content-Type"] = []string{contentType}
	if !e.Expires.IsZero() {
		head[headerLifespan] = []string{strconv.FormatInt(secondsUp(time.Until(e.Expires)), 10)}
	}
	if e.MaxIdle > 0 {
		head[headerMaxIdle] = []string{strconv.FormatInt(secondsUp(e.MaxIdle), 10)}
	}
	for name, value := range e.Labels {
		if isToken(name) && isHeaderValue(value) { // what a Go caller stored may not fit a header
			head[http.CanonicalHeaderKey(labelPrefix+name)] = []string{value}
		}
	}
}

// secondsUp rounds up, so that an entry that is there never says that it has 0 s left, which would mean for ever.
func secondsUp(d time.Duration) int64 {
	n := int64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return max(1, n)
}

func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}

func isHeaderValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func (h *Handler) put(w http.ResponseWriter, r *http.Request, c *grid.Cache, key string) error {
	cond, err := parseConditions(r.Header)
	if err != nil {
		return err
	}
	opts, err := putOptions(r.Header)
	if err != nil {
		return err
	}
	value, err := serve.ReadBody(w, r, c.Config().MaxEntryBytes, nil)
	if err != nil {
		return serve.NameLimit(err, "max_entry_bytes of cache "+c.Name())
	}
	if opts.ContentType == "" {
		opts.ContentType = recognise(value)
	}
	var revision grid.Revision
	if r.Method == http.MethodPost {
		revision, err = h.create(r.Context(), c, key, value, opts, cond)
	} else {
		revision, err = h.write(r.Context(), c, key, value, opts, cond)
	}
	if err != nil {
		return err
	}
	w.Header()["Etag"] = []string{etag(revision)}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// create is POST: only where there is no entry.
func (h *Handler) create(ctx context.Context, c *grid.Cache, key string, value []byte, opts grid.PutOptions, cond conditions) (grid.Revision, error) {
	if !cond.none() {
		now, err := current(ctx, c, key)
		if err != nil {
			return 0, err
		}
		if err := cond.check(now.Revision, now.Created); err != nil {
			return 0, err
		}
	}
	return c.Create(ctx, key, value, opts)
}

// writeTries is how often a condition that other writers' work keeps from being held together with the write is
// tried again.
const writeTries = 32

// write is PUT, under the request's conditions.
func (h *Handler) write(ctx context.Context, c *grid.Cache, key string, value []byte, opts grid.PutOptions, cond conditions) (grid.Revision, error) {
	if cond.none() {
		return c.Put(ctx, key, value, opts)
	}
	if cond.onlyAbsent() {
		revision, err := c.Create(ctx, key, value, opts)
		if errors.Is(err, grid.ErrExists) {
			err = fmt.Errorf("%w: If-None-Match: %w", serve.ErrPrecondition, err)
		}
		return revision, err
	}
	if revision, ok := cond.onlyRevision(); ok {
		opts.IfRevision = revision
		return c.Put(ctx, key, value, opts)
	}
	for range writeTries {
		now, err := current(ctx, c, key)
		if err != nil {
			return 0, err
		}
		if err := cond.check(now.Revision, now.Created); err != nil {
			return 0, err
		}
		var revision grid.Revision
		if now.Revision == 0 {
			revision, err = c.Create(ctx, key, value, opts)
		} else {
			opts.IfRevision = now.Revision
			revision, err = c.Put(ctx, key, value, opts)
		}
		if !errors.Is(err, grid.ErrExists) && !errors.Is(err, grid.ErrRevision) {
			return revision, err
		}
	}
	return 0, fmt.Errorf("%w: others write %s/%s all the time", serve.ErrOverloaded, c.Name(), key)
}

// current returns the entry without its value, or one of revision 0 where there is none.
func current(ctx context.Context, c *grid.Cache, key string) (grid.Entry, error) {
	i, err := c.Stat(ctx, key)
	if errors.Is(err, grid.ErrNotFound) {
		return grid.Entry{}, nil
	}
	return i.Entry, err
}

func (h *Handler) remove(w http.ResponseWriter, r *http.Request, c *grid.Cache, key string) error {
	cond, err := parseConditions(r.Header)
	if err != nil {
		return err
	}
	if err := h.delete(r.Context(), c, key, cond); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (h *Handler) delete(ctx context.Context, c *grid.Cache, key string, cond conditions) error {
	if cond.none() {
		_, err := c.Delete(ctx, key, grid.DeleteOptions{})
		return err
	}
	for range writeTries {
		i, err := c.Stat(ctx, key)
		if err != nil {
			return err
		}
		now := &i.Entry
		if err := cond.check(now.Revision, now.Created); err != nil {
			return err
		}
		if _, err = c.Delete(ctx, key, grid.DeleteOptions{IfRevision: now.Revision}); !errors.Is(err, grid.ErrRevision) {
			return err
		}
	}
	return fmt.Errorf("%w: others write %s/%s all the time", serve.ErrOverloaded, c.Name(), key)
}

// putOptions reads the headers that describe an entry.
func putOptions(head http.Header) (grid.PutOptions, error) {
	var o grid.PutOptions
	if v := head["Content-Encoding"]; len(v) > 0 && !(len(v) == 1 && strings.EqualFold(v[0], "identity")) {
		return o, fmt.Errorf("%w: %s; an entry is kept as it is sent, so send it plain", serve.ErrEncoding, strings.Join(v, ", "))
	}
	if v := head["Content-Range"]; len(v) > 0 {
		return o, fmt.Errorf("%w: Content-Range: an entry is put whole", serve.ErrRequest)
	}
	if v := head["Content-Type"]; len(v) > 0 {
		o.ContentType = v[0]
	}
	var err error
	if o.Lifespan, err = seconds(head, headerLifespan, canonicalLifespan); err != nil {
		return o, err
	}
	if o.MaxIdle, err = seconds(head, headerMaxIdle, canonicalMaxIdle); err != nil {
		return o, err
	}
	for name, v := range head {
		label, ok := strings.CutPrefix(name, labelPrefix)
		if !ok {
			continue
		}
		if label == "" || len(v) != 1 {
			return o, fmt.Errorf("%w: header %s: one label, one value", serve.ErrRequest, name)
		}
		if o.Labels == nil {
			o.Labels = make(map[string]string)
		}
		o.Labels[strings.ToLower(label)] = v[0]
	}
	return o, nil
}

// seconds reads a number of seconds as Infinispan has it: 0 or no header takes the cache's, and a negative one none.
func seconds(head http.Header, name, canonical string) (time.Duration, error) {
	v := head[canonical]
	if len(v) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseInt(v[0], 10, 64) // out of range is the largest or smallest number
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange) || len(v) > 1:
		return 0, fmt.Errorf("%w: header %s: %q is no whole number of seconds", serve.ErrRequest, name, strings.Join(v, ", "))
	case n > int64(grid.MaxLifespan/time.Second):
		return 0, fmt.Errorf("%w: header %s: %s s; at most %d s (100 years) can be kept, and a negative number is for ever",
			grid.ErrLifespan, name, v[0], int64(grid.MaxLifespan/time.Second))
	case n < 0:
		return -1, nil // none, even where the cache has a default
	}
	return time.Duration(n) * time.Second, nil
}

// recognise returns the content type of a value that came without one, as curl -T sends it; "" where it is unknown.
func recognise(value []byte) string {
	if kind := media.Sniff("", value); media.IsPicture(kind) || kind == "application/x-npy" {
		return kind
	}
	return ""
}
