package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
)

// modelInfo is what was understood of a model's version.
type modelInfo struct {
	Name    string `json:"name"`
	Version int64  `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Latest  bool   `json:"latest"`
	Engine  string `json:"engine,omitempty"`
	Source  string `json:"source"`
	SHA256  string `json:"sha256"`
	Bytes   int64  `json:"bytes"`
	Created string `json:"created"`
	// By is who pushed it, and Trained what it was trained with, as far as that is known.
	By      string `json:"by,omitempty"`
	Trained string `json:"trained,omitempty"`
	// What the file says; absent while the version is not open.
	Inputs     []modelValue     `json:"inputs,omitempty"`
	Outputs    []modelValue     `json:"outputs,omitempty"`
	Opset      map[string]int64 `json:"opset,omitempty"`
	Operators  []string         `json:"operators,omitempty"`
	Parameters int64            `json:"parameters,omitempty"`
	Producer   string           `json:"producer,omitempty"`
	Doc        string           `json:"doc,omitempty"`
	Labels     []string         `json:"labels,omitempty"`
	// Takes says what an entry for the model is.
	Takes *takes `json:"takes,omitempty"`
	// Metadata is there for every version that is open, if only as {}.
	Metadata *model.Metadata `json:"metadata,omitempty"`
	*versions
}

// versions are all of a model's; they are in the answer for a model without version.
type versions struct {
	// Serves is the version that serves where none is named, 0 where none can be run, and Pinned says that it was chosen.
	Serves int64 `json:"serves"`
	Pinned bool  `json:"pinned"`
	// Versions are the newest first.
	Versions []versionInfo `json:"versions"`
}

// versionInfo is what is known of a version without opening it.
type versionInfo struct {
	Version int64  `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason,omitempty"`
	Digest  string `json:"digest"` // SHA-256
	Bytes   int64  `json:"bytes"`
	Source  string `json:"source"`
	Time    string `json:"time"`
	By      string `json:"by,omitempty"`
	Trained string `json:"trained,omitempty"`
}

// modelValue is an input or output; a dimension is a number, a name, or null where nothing is known.
type modelValue struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Shape []any  `json:"shape"`
	Doc   string `json:"doc,omitempty"`
}

func describeModel(i registry.Info) modelInfo {
	m := modelInfo{
		Name: i.Name, Version: i.Version, State: string(i.State), Reason: i.Reason, Latest: i.Latest, Engine: i.Engine,
		Source: i.Source, SHA256: i.Digest, Bytes: i.Bytes, Created: i.Created.UTC().Format(time.RFC3339),
		By: i.By, Trained: i.Trained,
	}
	if i.Model == nil {
		return m
	}
	g := i.Model.Graph
	m.Inputs, m.Outputs = valuesOf(i.Model.Inputs()), valuesOf(i.Model.Outputs())
	m.Opset = map[string]int64{}
	for domain, version := range g.Opset {
		if domain == graph.OnnxDomain {
			domain = "ai.onnx"
		}
		m.Opset[domain] = version
	}
	m.Operators = i.Model.Operators()
	for _, in := range g.Initializers {
		m.Parameters += int64(in.Tensor.Size())
	}
	m.Producer, m.Doc, m.Labels = g.Producer, g.Doc, i.Model.Labels
	m.Takes = takesOf(i.Model)
	m.Metadata = &i.Model.Metadata
	return m
}

func valuesOf(vs []graph.Value) []modelValue {
	out := make([]modelValue, len(vs))
	for i, v := range vs {
		out[i] = modelValue{Name: v.Name, Type: v.DType.String(), Doc: v.Doc}
		if v.Shape == nil {
			continue // null: not even the rank is known
		}
		out[i].Shape = make([]any, len(v.Shape))
		for j, d := range v.Shape {
			switch {
			case d.Known():
				out[i].Shape[j] = d.Size
			case d.Symbol != "":
				out[i].Shape[j] = d.Symbol
			}
		}
	}
	return out
}

// models lists every version of every model.
func (h *Handler) models(w http.ResponseWriter, r *http.Request) {
	if !serve.Reads(w, r) {
		return
	}
	infos, err := h.cfg.Models.List(r.Context())
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	all := make([]modelInfo, len(infos))
	for i, info := range infos {
		all[i] = describeModel(info)
	}
	serve.WriteJSON(w, r, http.StatusOK, all)
}

// model answers what is about one model; path is NAME or NAME/versions/VERSION.
func (h *Handler) model(w http.ResponseWriter, r *http.Request, path string) {
	if name, ok := strings.CutSuffix(path, "/settings"); ok && !strings.Contains(name, "/") {
		h.modelSettings(w, r, name)
		return
	}
	switch of, what := partOf(path); what {
	case "graph":
		if serve.Reads(w, r) {
			answerModel(w, r, of, h.modelGraph)
		}
		return
	case "profile":
		if r.Method != http.MethodPost {
			serve.MethodNotAllowed(w, r, http.MethodPost)
			return
		}
		answerModel(w, r, of, h.modelProfile)
		return
	}
	name, version, err := modelPath(path, r.Method)
	if errors.Is(err, serve.ErrRoute) {
		err = serve.NoRoute(r)
	}
	if err == nil {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			err = h.getModel(w, r, name, version)
		case http.MethodPut:
			err = h.putModel(w, r, name, version)
		case http.MethodDelete:
			err = h.deleteModel(w, r, name, version)
		case http.MethodPost:
			if strings.Contains(path, "/") { // a version does not change
				serve.MethodNotAllowed(w, r, "GET", "HEAD", "PUT", "DELETE")
				return
			}
			err = h.onModel(w, r, name, version)
		default:
			allowed := []string{"GET", "HEAD", "PUT", "POST", "DELETE"}
			if strings.Contains(path, "/") {
				allowed = []string{"GET", "HEAD", "PUT", "DELETE"}
			}
			serve.MethodNotAllowed(w, r, allowed...)
		}
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

// partOf splits NAME/graph, NAME/versions/VERSION/graph and so on; what is "" for every other path.
func partOf(path string) (of, what string) {
	parts := strings.Split(path, "/")
	if n := len(parts); n == 2 || n == 4 && parts[1] == "versions" {
		return strings.Join(parts[:n-1], "/"), parts[n-1]
	}
	return "", ""
}

// answerModel answers what is asked of one version.
func answerModel(w http.ResponseWriter, r *http.Request, path string, answer func(http.ResponseWriter, *http.Request, string) error) {
	err := answer(w, r, path)
	if errors.Is(err, serve.ErrRoute) {
		err = serve.NoRoute(r)
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

// modelPath reads NAME or NAME/versions/VERSION. A version that a miscount made negative can be removed, and nothing else.
func modelPath(path, method string) (name string, version int64, err error) {
	parts := strings.Split(path, "/")
	if len(parts) != 1 && (len(parts) != 3 || parts[1] != "versions") {
		return "", 0, serve.ErrRoute
	}
	if name, err = url.PathUnescape(parts[0]); err != nil {
		return "", 0, fmt.Errorf("%w: model %q: %w", serve.ErrRequest, parts[0], err)
	}
	if len(parts) == 3 {
		if version, err = strconv.ParseInt(parts[2], 10, 64); err != nil || version == 0 || version < 0 && method != http.MethodDelete {
			return "", 0, fmt.Errorf("%w: version %q is no positive number", serve.ErrRequest, parts[2])
		}
	}
	return name, version, registry.CheckName(name, max(version, 0))
}

// getModel describes a version, or gives its file where the caller asks for bytes.
func (h *Handler) getModel(w http.ResponseWriter, r *http.Request, name string, version int64) error {
	wanted, err := wantsFile(r)
	if err != nil {
		return err
	}
	w.Header().Add("Vary", "Accept")
	if wanted {
		return h.download(w, r, name, version)
	}
	info, err := h.cfg.Models.Get(r.Context(), name, version)
	if err != nil {
		return err
	}
	m := describeModel(info)
	if version == 0 {
		serving, err := h.cfg.Models.Serving(r.Context(), name)
		if err != nil {
			return err
		}
		if m.versions, err = h.versionsOf(r.Context(), name, serving); err != nil {
			return err
		}
	}
	serve.WriteJSON(w, r, http.StatusOK, m)
	return nil
}

func (h *Handler) versionsOf(ctx context.Context, name string, s registry.Serving) (*versions, error) {
	all, err := h.cfg.Models.List(ctx)
	if err != nil {
		return nil, err
	}
	v := &versions{Serves: s.Version, Pinned: s.Pinned, Versions: []versionInfo{}}
	for _, i := range all {
		if i.Name == name {
			v.Versions = append(v.Versions, versionInfo{
				Version: i.Version, State: string(i.State), Reason: i.Reason, Digest: i.Digest, Bytes: i.Bytes, Source: i.Source,
				Time: i.Created.UTC().Format(time.RFC3339), By: i.By, Trained: i.Trained,
			})
		}
	}
	return v, nil
}

// onModel does the action that the query names, and answers with the versions as they are then.
func (h *Handler) onModel(w http.ResponseWriter, r *http.Request, name string, version int64) error {
	q := r.URL.Query()
	if action := q.Get("action"); action != "use" || version != 0 {
		return fmt.Errorf("%w: action %q of a model; it takes action=use&version=N, newest or previous", serve.ErrRequest, action)
	}
	var serving registry.Serving
	var err error
	switch choice := q.Get("version"); choice {
	case "previous":
		serving, err = h.cfg.Models.UsePrevious(r.Context(), name)
	case "newest":
		serving, err = h.cfg.Models.Use(r.Context(), name, 0)
	default:
		number, bad := strconv.ParseInt(choice, 10, 64)
		if bad != nil || number < 1 {
			return fmt.Errorf("%w: version %q is no positive number, nor newest or previous", serve.ErrRequest, choice)
		}
		serving, err = h.cfg.Models.Use(r.Context(), name, number)
	}
	if err != nil {
		return err
	}
	v, err := h.versionsOf(r.Context(), name, serving)
	if err != nil {
		return err
	}
	serve.WriteJSON(w, r, http.StatusOK, v)
	return nil
}

func wantsFile(r *http.Request) (bool, error) {
	if q := r.URL.Query(); q.Has("download") {
		return q.Get("download") == "" || q.Get("download") == "true", nil
	}
	for accept := range strings.SplitSeq(r.Header.Get("Accept"), ",") {
		kind, _, _ := strings.Cut(strings.TrimSpace(accept), ";")
		if kind == "application/octet-stream" || kind == "application/onnx" {
			return true, nil
		}
	}
	return false, nil
}

func (h *Handler) download(w http.ResponseWriter, r *http.Request, name string, version int64) error {
	data, info, err := h.cfg.Models.Download(r.Context(), name, version)
	if err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Length", strconv.Itoa(len(data)))
	head.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%d.onnx"`, info.Name, info.Version))
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("ETag", `"`+info.Digest+`"`)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	for part := range slices.Chunk(data, 1<<20) {
		serve.ExtendWrite(w, h.cfg.SlowClient)
		if _, err := w.Write(part); err != nil {
			break // the caller is gone
		}
	}
	return nil
}

// putModel takes a model, and answers with what it understood.
func (h *Handler) putModel(w http.ResponseWriter, r *http.Request, name string, version int64) error {
	if v := r.Header.Get("Content-Encoding"); v != "" && !strings.EqualFold(v, "identity") {
		return fmt.Errorf("%w: %s; send the model plain, or in a .zip or .tar.gz", serve.ErrEncoding, v)
	}
	if r.Body != nil {
		r.Body = slowBody{r.Body, w, h.cfg.SlowClient, time.Now().Add(uploadTime)}
	}
	body, err := serve.ReadBody(w, r, h.cfg.MaxModelBytes, nil)
	if err != nil {
		return serve.NameLimit(err, "http.limits.model_body")
	}
	onnx, err := unpackModel(r.Context(), body, 2*h.cfg.MaxModelBytes, h.cfg.Evaluator)
	if err != nil {
		return err
	}
	serve.ExtendWrite(w, 0) // reading a model and opening it takes as long as it takes
	o, err := pushOptions(r)
	if err != nil {
		return err
	}
	info, err := h.cfg.Models.PushWith(r.Context(), name, version, onnx, o)
	if err != nil {
		return refusal(err)
	}
	serve.ExtendWrite(w, h.cfg.SlowClient)
	if o.DryRun {
		serve.WriteJSON(w, r, http.StatusOK, describeModel(info))
		return nil
	}
	w.Header().Set("Location", fmt.Sprintf("/rest/v2/models/%s/versions/%d", url.PathEscape(name), info.Version))
	serve.WriteJSON(w, r, http.StatusCreated, describeModel(info))
	return nil
}

// caller is who asks, as far as the connection tells.
func caller(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func (h *Handler) deleteModel(w http.ResponseWriter, r *http.Request, name string, version int64) error {
	if r.URL.RawQuery != "" { // ?version=3 would otherwise remove all of them
		return fmt.Errorf("%w: ?%.80s: DELETE takes no parameters; a version is removed by /rest/v2/models/%s/versions/N", serve.ErrRequest, r.URL.RawQuery, url.PathEscape(name))
	}
	if err := h.cfg.Models.Delete(r.Context(), name, version); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// refused is a model that was not taken, with every reason.
type refused struct{ error }

func (e refused) Unwrap() error { return e.error }

// Reasons splits the text: an error that joins others prints one a line.
func (e refused) Reasons() []string {
	var out []string
	for line := range strings.SplitSeq(e.Error(), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			out = append(out, line)
		}
	}
	return out
}

// refusal lets an error that joins several say each.
func refusal(err error) error {
	if strings.Contains(err.Error(), "\n") {
		return refused{err}
	}
	return err
}

// uploadTime is the longest that a model's body may take, however steadily it comes.
const uploadTime = 15 * time.Minute

// slowBody gives a large body time for as long as it comes.
type slowBody struct {
	io.ReadCloser
	w     http.ResponseWriter
	each  time.Duration
	until time.Time
}

func (b slowBody) Read(p []byte) (int, error) {
	serve.ExtendRead(b.w, max(time.Nanosecond, min(b.each, time.Until(b.until))))
	return b.ReadCloser.Read(p)
}
