// Package oip answers the Open Inference Protocol v2 over REST, with the binary tensor extension, and the :predict of
// its predecessor that KServe's v1 clients send. It turns requests into tensors and back; models and the gathering of
// what comes together are the business of whoever lends sessions, and tokens and connections package serve's.
package oip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/fault"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/tensor"
)

// Models is what the handler needs of *registry.Registry. Version 0 is the one that serves.
type Models interface {
	Acquire(ctx context.Context, name string, version int64) (*registry.Handle, error)
	List(ctx context.Context) ([]registry.Info, error)
}

// runWithin is the default of Config.Timeout.
const runWithin = time.Minute

// Config is what a Handler works with. Models is required.
type Config struct {
	Models Models
	// Ready returns why the node does not take traffic; nothing when it does. Without it the node always does.
	Ready func(ctx context.Context) []string
	// Version of the program, for GET /v2.
	Version string
	// MaxBody bounds a request's body, as it comes and unpacked: 1 KiB to 1 TiB (64 MiB).
	MaxBody int64
	// Timeout bounds a run (60 s).
	Timeout time.Duration
	// Logger gets a line when the node is not ready any more, and when it is again, as far as somebody asks for that. Nil logs nothing.
	Logger *slog.Logger
}

// Validate reports every fault at once, as fault.Errors.
func (c Config) Validate() error {
	var l fault.Errors
	l.Check(c.Models != nil, "models", "is required")
	l.Check(c.MaxBody == 0 || c.MaxBody >= 1<<10 && c.MaxBody <= 1<<40, "max_body", "%d must be from %d to %d", c.MaxBody, 1<<10, int64(1<<40))
	l.Check(c.Timeout >= 0, "timeout", "%v must not be negative", c.Timeout)
	if err := l.Err(); err != nil {
		return fmt.Errorf("oip: %w", err)
	}
	return nil
}

// Prefixes are the paths that a Handler answers, for serve.Routes.
func Prefixes() []string { return []string{"/v2", "/v1/models"} }

// A Handler answers the protocol. It is safe for concurrent use.
type Handler struct {
	cfg  Config
	late error // why a run that takes too long ends
	// unready is what the log said last of the node's readiness.
	unready atomic.Bool
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 64 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = runWithin
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	late := fmt.Errorf("%w: the run took longer than %v (http.timeouts.infer)", context.DeadlineExceeded, cfg.Timeout)
	return &Handler{cfg: cfg, late: late}, nil
}

// ServeHTTP picks by the path as it was sent, so that a name may hold %2F and blanks.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(path, "/v2/models/"); ok {
		h.model(w, r, rest)
		return
	}
	if rest, ok := strings.CutPrefix(path, "/v1/models/"); ok {
		h.modelV1(w, r, rest)
		return
	}
	switch path {
	case "/v2", "/v2/":
		h.server(w, r)
	case "/v2/repository/index":
		h.index(w, r)
	case "/v2/health/live":
		h.live(w, r)
	case "/v2/health/ready":
		h.ready(w, r)
	default:
		serve.WriteError(w, r, serve.NoRoute(r))
	}
}

// target is what a path below /v2/models/ names.
type target struct {
	name    string
	version int64
	verb    string // "", "ready" or "infer"
}

// parseTarget reads NAME[/versions/VERSION][/ready|/infer].
func parseTarget(path string) (target, error) {
	parts := strings.Split(path, "/")
	name, err := url.PathUnescape(parts[0])
	if err != nil {
		return target{}, badRequest("model %q: %v", parts[0], err)
	}
	t := target{name: name}
	parts = parts[1:]
	if len(parts) >= 2 && parts[0] == "versions" {
		version, err := strconv.ParseInt(parts[1], 10, 64)
		if err != nil || version < 1 {
			return t, fmt.Errorf("%w: %q version %q (a version is a whole number from 1)", registry.ErrNoModel, name, parts[1])
		}
		t.version, parts = version, parts[2:]
	}
	switch {
	case len(parts) == 0:
	case len(parts) == 1 && (parts[0] == "ready" || parts[0] == "infer"):
		t.verb = parts[0]
	default:
		return t, serve.ErrRoute
	}
	return t, nil
}

func (h *Handler) model(w http.ResponseWriter, r *http.Request, path string) {
	t, err := parseTarget(path)
	if errors.Is(err, serve.ErrRoute) {
		err = serve.NoRoute(r)
	}
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	switch t.verb {
	case "infer":
		if r.Method != http.MethodPost {
			serve.MethodNotAllowed(w, r, http.MethodPost)
			return
		}
		err = h.infer(w, r, t)
	default:
		if !serve.Reads(w, r) {
			return
		}
		err = h.describe(w, r, t)
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

// infer answers one request. What it read and what it answers share memory that is used again, so that nothing is
// allocated for a body.
func (h *Handler) infer(w http.ResponseWriter, r *http.Request, t target) error {
	lent, err := h.acquire(r.Context(), t.name, t.version)
	if err != nil {
		return err
	}
	defer lent.Release()
	q := newRequest()
	body, err := h.read(w, r, q)
	if err != nil {
		return err
	}
	json, binary, err := split(r.Header, body)
	if err != nil {
		return err
	}
	s := lent.Session()
	if err := q.parse(json, binary, s.Inputs(), s.Outputs()); err != nil {
		return err
	}
	results, err := h.run(r.Context(), lent, q)
	if err != nil {
		return err
	}
	length, err := q.encode(t.name, lent.Model().Version, s.Outputs(), results)
	if err != nil {
		return err
	}
	write(w, r, q.answer, length)
	q.release()
	return nil
}

func (h *Handler) run(ctx context.Context, lent *registry.Handle, q *inferRequest) ([]*tensor.Tensor, error) {
	s := lent.Session()
	if len(q.tensors) == 1 {
		if err := media.CheckCategories(lent.Model().Columns, q.tensors[0]); err != nil {
			return nil, fmt.Errorf("%w: %s", engine.ErrInput, err.Error()) // it came as a tensor: its code is that of one
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, h.cfg.Timeout, h.late)
	defer cancel()
	results := make([]*tensor.Tensor, len(s.Outputs()))
	if err := s.Run(ctx, q.tensors, results); err != nil {
		if errors.Is(err, context.DeadlineExceeded) && errors.Is(context.Cause(ctx), h.late) {
			return nil, h.late
		}
		return nil, err
	}
	return results, checkResults(s.Outputs(), results)
}

func (h *Handler) acquire(ctx context.Context, name string, version int64) (*registry.Handle, error) {
	if err := registry.CheckName(name, version); err != nil {
		return nil, fmt.Errorf("%w: %w", registry.ErrNoModel, err)
	}
	return h.cfg.Models.Acquire(ctx, name, version)
}

// serverInfo is the answer of GET /v2.
type serverInfo struct {
	Name       string   `json:"name"`
	Version    string   `json:"version"`
	Extensions []string `json:"extensions"`
}

func (h *Handler) server(w http.ResponseWriter, r *http.Request) {
	if !serve.Reads(w, r) {
		return
	}
	serve.WriteJSON(w, r, http.StatusOK, serverInfo{"millrace", h.cfg.Version, []string{"binary_tensor_data", "model_repository_index"}})
}

// modelInfo is the answer of GET /v2/models/NAME.
type modelInfo struct {
	Name     string      `json:"name"`
	Versions []string    `json:"versions"`
	Platform string      `json:"platform"`
	Inputs   []valueInfo `json:"inputs"`
	Outputs  []valueInfo `json:"outputs"`
}

type valueInfo struct {
	Name     string  `json:"name"`
	Datatype string  `json:"datatype"`
	Shape    []int64 `json:"shape"`
}

type readyInfo struct {
	Name  string `json:"name"`
	Ready bool   `json:"ready"`
}

// describe answers a model's metadata and its readiness: a model that cannot be run is 503.
func (h *Handler) describe(w http.ResponseWriter, r *http.Request, t target) error {
	lent, err := h.acquire(r.Context(), t.name, t.version)
	if err != nil {
		return err
	}
	defer lent.Release()
	if t.verb == "ready" {
		serve.WriteJSON(w, r, http.StatusOK, readyInfo{t.name, true})
		return nil
	}
	m := modelInfo{Name: t.name, Versions: []string{}, Platform: "onnx", Inputs: valuesOf(lent.Model(), true), Outputs: valuesOf(lent.Model(), false)}
	infos, err := h.cfg.Models.List(r.Context())
	if err != nil {
		return err
	}
	for _, i := range infos { // newest first; the protocol's examples begin with the oldest
		if i.Name == t.name {
			m.Versions = append([]string{strconv.FormatInt(i.Version, 10)}, m.Versions...)
		}
	}
	serve.WriteJSON(w, r, http.StatusOK, m)
	return nil
}

func valuesOf(m *model.Model, inputs bool) []valueInfo {
	vs := m.Outputs()
	if inputs {
		vs = m.Inputs()
	}
	out := make([]valueInfo, len(vs))
	for i, v := range vs {
		out[i] = valueInfo{v.Name, datatypeOf(v.DType), shapeOf(v.Shape)}
	}
	return out
}
