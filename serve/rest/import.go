package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

const (
	// importsAtOnce is how many imports are under way at a time; those beyond get 503.
	importsAtOnce = 16
	// importBatch and importBatchBytes bound what is stored together.
	importBatch      = 1024
	importBatchBytes = 4 << 20
	// importSpool bounds an .npz, which is in a file while it is read.
	importSpool = 16 << 30
)

// imported is the answer to action=import.
type imported struct {
	// Stored entries are in the cache. Rows are those of the body, with the ones that were skipped.
	Stored int64 `json:"stored"`
	Rows   int64 `json:"rows"`
}

// importError is why an import ended before its end.
type importError struct {
	row, stored int64
	err         error
}

func (e *importError) Error() string {
	return fmt.Sprintf("%v; %d entries were stored", e.err, e.stored)
}
func (e *importError) Unwrap() error             { return e.err }
func (e *importError) Done() (row, stored int64) { return e.row, e.stored }

// importInto is POST with action=import: the entries of a body, which is read and stored as it comes.
func (h *Handler) importInto(w http.ResponseWriter, r *http.Request, escaped string) error {
	c, err := h.open(r.Context(), escaped)
	if err != nil {
		return err
	}
	format, o, skip, err := importOptions(r, c.Config().MaxEntryBytes)
	if err != nil {
		return err
	}
	if !h.imports.TryAcquire(1) {
		return fmt.Errorf("%w: %d imports are under way", serve.ErrOverloaded, importsAtOnce)
	}
	defer h.imports.Release(1)
	body := &steadyBody{w: w, from: r.Body, time: h.cfg.SlowClient}
	in, done, err := openImport(body, format, o)
	if err != nil {
		return err
	}
	defer done()
	l := &loader{cache: c}
	caller := r.Context()
	if format != bulk.NPZ { // what came of a body that is read as it comes is stored, also where its end does not come
		caller = context.WithoutCancel(caller)
	}
	err = l.load(caller, in, skip)
	serve.ExtendWrite(w, h.cfg.SlowClient)
	if err != nil {
		return &importError{row: l.failedRow(), stored: l.stored, err: err}
	}
	serve.WriteJSON(w, r, http.StatusOK, imported{Stored: l.stored, Rows: l.rows})
	return nil
}

// importOptions reads how the body is to be understood.
func importOptions(r *http.Request, maxBytes int64) (format bulk.Format, o bulk.Options, skip int64, err error) {
	q := r.URL.Query()
	if v := r.Header.Get("Content-Encoding"); v != "" && !strings.EqualFold(v, "identity") && !strings.EqualFold(v, "gzip") {
		return "", o, 0, fmt.Errorf("%w: %s; send it plain or as gzip", serve.ErrEncoding, v)
	}
	if name := q.Get("format"); name != "" {
		if format, err = bulk.ParseFormat(name); err != nil {
			return "", o, 0, fmt.Errorf("%w: format=%q is none of csv, jsonl, tar, npz", serve.ErrRequest, name)
		}
	} else if format, err = bulk.FormatOfType(r.Header.Get("Content-Type")); err != nil {
		return "", o, 0, fmt.Errorf("%w: %w; or say format=csv, jsonl, tar or npz", serve.ErrMediaType, err)
	}
	o = bulk.Options{Key: q.Get("key"), Prefix: q.Get("prefix"), Array: q.Get("array"), MaxBytes: maxBytes}
	if s := q.Get("separator"); s != "" {
		if s == `\t` || s == "tab" {
			s = "\t"
		}
		separator, size := utf8.DecodeRuneInString(s)
		if size != len(s) || separator == utf8.RuneError {
			return "", o, 0, fmt.Errorf("%w: separator=%q is not one character or tab", serve.ErrRequest, s)
		}
		o.Separator = separator
	}
	switch header := q.Get("header"); header {
	case "", "yes":
	case "no":
		o.NoHeader = true
	default:
		return "", o, 0, fmt.Errorf("%w: header=%q is neither yes nor no", serve.ErrRequest, header)
	}
	if s := q.Get("skip"); s != "" {
		if skip, err = strconv.ParseInt(s, 10, 64); err != nil || skip < 0 {
			return "", o, 0, fmt.Errorf("%w: skip=%q is no number of rows", serve.ErrRequest, s)
		}
	}
	return format, o, skip, nil
}

// openImport returns the reader of a body, and what is to be called when it is not used any more.
func openImport(body io.Reader, format bulk.Format, o bulk.Options) (in bulk.Reader, done func(), err error) {
	if format != bulk.NPZ {
		in, err = bulk.NewReader(body, format, o)
		return in, func() {}, bodyFault(err)
	}
	// A zip's list of files is at its end.
	f, err := os.CreateTemp("", "millrace-import-*.npz")
	if err != nil {
		return nil, nil, fmt.Errorf("keep the .npz while it is read: %w", err)
	}
	done = func() {
		f.Close()
		os.Remove(f.Name())
	}
	size, err := io.Copy(f, io.LimitReader(body, importSpool+1))
	switch {
	case err != nil:
		err = bodyFault(err)
	case size > importSpool:
		err = fmt.Errorf("%w: an .npz has at most %d bytes here", serve.ErrBodyTooLarge, int64(importSpool))
	default:
		in, err = bulk.NewNPZReader(f, size, o)
	}
	if err != nil {
		done()
		return nil, nil, err
	}
	return in, done, nil
}

// bodyFault says in serve's errors what kept a body from being read, where that is not what is in it.
func bodyFault(err error) error {
	var cut *bodyError
	if errors.As(err, &cut) {
		return serve.BodyError(cut.err)
	}
	return err
}

// steadyBody gives each read of a body its time, in place of one time for the whole.
type steadyBody struct {
	w    http.ResponseWriter
	from io.Reader
	time time.Duration
}

// bodyError is a failure to read the body, as against one to understand it.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

func (b *steadyBody) Read(p []byte) (int, error) {
	serve.ExtendRead(b.w, b.time)
	n, err := b.from.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &bodyError{err}
	}
	return n, err
}

// loader stores the records of a reader. While one batch is being stored the next one is read.
type loader struct {
	cache  *grid.Cache
	rows   int64 // that were read
	stored int64
	failed int64 // the first row that was not stored; 0 for none

	batch   []grid.Put
	bytes   int
	running chan error // gets the outcome of the batch that is being stored; nil for none
}

// failedRow is the row that ended the load: the first one that could not be stored, or the one that could not be read.
func (l *loader) failedRow() int64 {
	if l.failed > 0 {
		return l.failed
	}
	return l.rows + 1
}

// load stores everything behind the first skip rows. What was read before a fault is stored. Once the caller has left, nothing more is
// read: a file that was spooled may hold any number of rows.
func (l *loader) load(caller context.Context, in bulk.Reader, skip int64) error {
	ctx := context.WithoutCancel(caller)
	for {
		var r bulk.Record
		err := context.Cause(caller)
		if err == nil {
			r, err = in.Next()
		}
		if err != nil {
			read := bodyFault(err)
			if stored := errors.Join(l.store(ctx), l.wait()); stored != nil {
				return stored
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			return read
		}
		if l.rows++; l.rows <= skip {
			continue
		}
		l.batch = append(l.batch, r.Put())
		if l.bytes += len(r.Value); len(l.batch) < importBatch && l.bytes < importBatchBytes {
			continue
		}
		if err := l.store(ctx); err != nil {
			return err
		}
	}
}

// wait returns what became of the batch that was being stored.
func (l *loader) wait() error {
	if l.running == nil {
		return nil
	}
	err := <-l.running
	l.running = nil
	return err
}

// store begins to store the batch when the one before is stored.
func (l *loader) store(ctx context.Context) error {
	if err := l.wait(); err != nil {
		return err
	}
	if len(l.batch) == 0 {
		return nil
	}
	batch, first := l.batch, l.rows-int64(len(l.batch))+1
	l.batch, l.bytes = nil, 0
	l.running = make(chan error, 1)
	go func() { l.running <- l.put(ctx, batch, first) }()
	return nil
}

// put stores a batch whose first row is first.
func (l *loader) put(ctx context.Context, batch []grid.Put, first int64) error {
	results, err := l.cache.PutBatch(ctx, batch)
	if err != nil {
		l.failed = first
		return err
	}
	var fault error
	for i, r := range results {
		switch {
		case r.Err == nil:
			l.stored++
		case fault == nil:
			l.failed = first + int64(i)
			fault = &bulk.RowError{Row: l.failed, Where: fmt.Sprintf("key %.80q", batch[i].Key), Err: r.Err}
		}
	}
	return fault
}

// export is GET with action=export: the entries as a file has them. One that fails on the way is cut.
func (h *Handler) export(w http.ResponseWriter, r *http.Request, c *grid.Cache, q url.Values) error {
	name := q.Get("format")
	if name == "" {
		name = string(bulk.JSONLines)
	}
	format, err := bulk.ParseFormat(name)
	if err != nil || format == bulk.NPZ {
		return fmt.Errorf("%w: format=%q is none of csv, jsonl, tar (`millrace cache export` writes .npz too)", serve.ErrRequest, name)
	}
	o, _, _, err := listOptions(q, true)
	if err != nil {
		return err
	}
	o.More = func(last string) { w.Header().Set(headerCursor, url.QueryEscape(last)) }
	var columns bulk.Columns
	if format == bulk.CSV {
		if err := exportEach(r.Context(), c, o, columns.Add); err != nil {
			return err
		}
	}
	out := &steadyWriter{w: w, time: h.cfg.SlowClient, format: format}
	to, err := exportWriter(out, format, &columns)
	if err == nil {
		err = exportEach(r.Context(), c, o, to.Write)
	}
	if err == nil {
		err = to.Close()
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil && !out.begun {
		return err
	}
	if err != nil {
		h.cfg.Logger.Error("export cut", "request_id", serve.RequestID(w), "cache", c.Name(), "error", err)
		panic(http.ErrAbortHandler)
	}
	return nil
}

func exportWriter(w io.Writer, format bulk.Format, columns *bulk.Columns) (bulk.Writer, error) {
	if format == bulk.CSV {
		return bulk.NewCSVWriter(w, columns)
	}
	return bulk.NewWriter(w, format)
}

func exportEach(ctx context.Context, c *grid.Cache, o grid.ListOptions, take func(*bulk.Record) error) error {
	config, now := c.Config(), time.Now()
	for e, err := range c.List(ctx, o) {
		if err != nil {
			return err
		}
		r := bulk.RecordOf(&e, config, now)
		if err := take(&r); err != nil {
			return err
		}
	}
	return nil
}

// steadyWriter gathers what is written, and gives each write its time.
type steadyWriter struct {
	w      http.ResponseWriter
	time   time.Duration
	format bulk.Format
	buf    []byte
	begun  bool
}

func (s *steadyWriter) Write(p []byte) (int, error) {
	s.buf = append(s.buf, p...)
	if len(s.buf) < listAtOnce {
		return len(p), nil
	}
	return len(p), s.flush()
}

func (s *steadyWriter) flush() error {
	if !s.begun {
		head := s.w.Header()
		head.Set("Content-Type", s.format.ContentType())
		head.Set("Cache-Control", "no-store")
		head.Set("X-Content-Type-Options", "nosniff")
		s.begun = true
	}
	serve.ExtendWrite(s.w, s.time)
	_, err := s.w.Write(s.buf)
	s.buf = s.buf[:0]
	return err
}
