package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// The errors that protocols themselves find in a request. What the grid, the registry and the engines return is in
// the table beside them.
var (
	ErrRequest      = errors.New("bad request")
	ErrToken        = errors.New("no valid token")
	ErrOrigin       = errors.New("cross-origin request refused")
	ErrHost         = errors.New("this name is not the node's")
	ErrElsewhere    = errors.New("another node answers this")
	ErrRoute        = errors.New("nothing is served here")
	ErrMethod       = errors.New("method not allowed")
	ErrPrecondition = errors.New("precondition failed")
	ErrBodyTooLarge = errors.New("body is too large")
	ErrBodyTimeout  = errors.New("body did not come in time")
	ErrBodyCut      = errors.New("body ended early")
	ErrMediaType    = errors.New("content type is not supported")
	ErrEncoding     = errors.New("content encoding is not supported")
	ErrNotReady     = errors.New("not ready")
	ErrStopping     = errors.New("the server is stopping")
	// errHeaderTimeout is told by the connection itself.
	errHeaderTimeout = errors.New("header did not come in time")
	ErrOverloaded    = errors.New("too much at once")
)

// A Kind is one kind of failure, as every protocol and docs/errors.md name it.
type Kind struct {
	// Code is the fixed name that programs compare.
	Code string
	// HTTP is the status of every protocol that HTTP carries: REST and the Open Inference Protocol's.
	HTTP int
	// GRPC is the status of gRPC's protocols.
	GRPC GRPCCode
	// Cause says when it happens, Remedy what to do; full sentences.
	Cause, Remedy string

	is []error          // sentinels
	as func(error) bool // or a type
}

func (k *Kind) matches(err error) bool {
	for _, target := range k.is {
		if errors.Is(err, target) {
			return true
		}
	}
	return k.as != nil && k.as(err)
}

// Kinds returns the table, in the order of docs/errors.md. The caller must not change it.
func Kinds() []Kind { return kinds }

// KindOf returns the first kind of the table that err is of, and the kind "internal" for every other error.
func KindOf(err error) *Kind {
	for i := range kinds {
		if kinds[i].matches(err) {
			return &kinds[i]
		}
	}
	return &kinds[len(kinds)-1]
}

// ErrorBody is the JSON of an answer that says what failed.
type ErrorBody struct {
	Error     string `json:"error"`
	Code      string `json:"code"`
	RequestID string `json:"request_id,omitempty"`
	// Reasons are all faults, where there is more than one to repair.
	Reasons []string `json:"reasons,omitempty"`
	// Row and Stored are of many entries that came in one request: the row at which it ended, and how many entries were stored.
	Row    *int64 `json:"row,omitempty"`
	Stored *int64 `json:"stored,omitempty"`
}

// Partial is an error of a request of which a part was done.
type Partial interface{ Done() (row, stored int64) }

// Reasoner is an error that lists every fault.
type Reasoner interface{ Reasons() []string }

// WriteError answers r with err's status and an ErrorBody, and notes err for the log. Of an internal error the
// caller sees the id alone. It must come before anything else was written.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	note(w, err)
	kind := KindOf(err)
	body := ErrorBody{Error: Message(w, err), Code: kind.Code, RequestID: RequestID(w)}
	var many Reasoner
	if errors.As(err, &many) {
		body.Reasons = many.Reasons()
	}
	var part Partial
	if errors.As(err, &part) {
		row, stored := part.Done()
		body.Row, body.Stored = &row, &stored
	}
	h := w.Header()
	for _, stale := range []string{"Content-Encoding", "ETag", "Last-Modified"} {
		h.Del(stale)
	}
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if kind.HTTP == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		h.Set("Retry-After", "1")
	}
	data, merr := json.Marshal(body)
	if merr != nil { // strings alone always marshal
		data = []byte(`{"error":"internal error","code":"internal"}`)
	}
	data = append(data, '\n')
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(kind.HTTP)
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the caller is gone when this fails
	}
}

// Message is what a caller is told of err: its text, or for an internal error where to look.
func Message(w http.ResponseWriter, err error) string {
	if KindOf(err).HTTP != http.StatusInternalServerError {
		return strings.ToValidUTF8(err.Error(), "\uFFFD")
	}
	if id := RequestID(w); id != "" {
		return fmt.Sprintf("internal error; the server's log has the reason under request id %s", id)
	}
	return "internal error; the server's log has the reason"
}

// MethodNotAllowed answers 405 with the methods that there are.
func MethodNotAllowed(w http.ResponseWriter, r *http.Request, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	WriteError(w, r, fmt.Errorf("%w: %s; this address takes %s", ErrMethod, r.Method, strings.Join(allowed, ", ")))
}

// Reads reports whether r only reads (GET or HEAD), and answers 405 where it does not.
func Reads(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return true
	}
	MethodNotAllowed(w, r, http.MethodGet, http.MethodHead)
	return false
}

// note keeps err for the log of the request that w answers.
func note(w http.ResponseWriter, err error) {
	if r := responseOf(w); r != nil {
		r.err = err
	}
}

// Quiet keeps what w answers out of the log, but at Debug.
func Quiet(w http.ResponseWriter) {
	if r := responseOf(w); r != nil {
		r.quiet = true
	}
}

// responseOf finds what observe put around w; nil outside a Server.
func responseOf(w http.ResponseWriter) *response {
	for {
		switch t := w.(type) {
		case *response:
			return t
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return nil
		}
	}
}
