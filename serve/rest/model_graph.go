package rest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/millrace/millrace/graph/diagram"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/serve"
)

// drawingsAtOnce is how many drawings are made at a time; those beyond get 503.
const drawingsAtOnce = 2

// modelGraph answers with a picture of a version's graph.
func (h *Handler) modelGraph(w http.ResponseWriter, r *http.Request, path string) error {
	name, version, err := modelPath(path, r.Method)
	if err != nil {
		return err
	}
	o, err := drawingOptions(r)
	if err != nil {
		return err
	}
	if !h.drawings.TryAcquire(1) {
		return fmt.Errorf("%w: %d drawings are being made", serve.ErrOverloaded, drawingsAtOnce)
	}
	defer h.drawings.Release(1)
	m, number, err := h.modelOf(r.Context(), name, version)
	if err != nil {
		return err
	}
	o.Name = fmt.Sprintf("%s version %d", name, number)
	d, err := diagram.Draw(m.Graph, o)
	if errors.Is(err, diagram.ErrOptions) {
		return fmt.Errorf("%w: %w", serve.ErrRequest, err)
	}
	if err != nil {
		return err
	}
	var picture bytes.Buffer
	if err := d.WriteSVG(&picture); err != nil {
		return err
	}
	head := w.Header()
	head.Set("Content-Type", "image/svg+xml")
	head.Set("Content-Length", strconv.Itoa(picture.Len()))
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store") // another version may serve in a moment
	serve.ExtendWrite(w, h.cfg.SlowClient)
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(picture.Bytes()) // nobody is left to tell
	return nil
}

// modelOf returns a version's model and its number, and opens the model where it is not open.
func (h *Handler) modelOf(ctx context.Context, name string, version int64) (*model.Model, int64, error) {
	info, err := h.cfg.Models.Get(ctx, name, version)
	if err != nil {
		return nil, 0, err
	}
	if info.Model != nil {
		return info.Model, info.Version, nil
	}
	lent, err := h.cfg.Models.Acquire(ctx, name, info.Version)
	if err != nil {
		return nil, 0, err
	}
	defer lent.Release()
	return lent.Model(), info.Version, nil
}

// drawingOptions reads the query of a drawing.
func drawingOptions(r *http.Request) (o diagram.Options, err error) {
	q := r.URL.Query()
	for name := range q {
		switch name {
		case "depth", "scope", "open", "shut":
		default:
			return o, fmt.Errorf("%w: a drawing has no parameter %.80q; it takes depth, scope, open and shut", serve.ErrRequest, name)
		}
	}
	if text := q.Get("depth"); text != "" {
		if o.Depth, err = strconv.Atoi(text); err != nil || o.Depth < 1 {
			return o, fmt.Errorf("%w: depth %.80q is no number from 1 on", serve.ErrRequest, text)
		}
	}
	o.Scope, o.Open, o.Shut = q.Get("scope"), q["open"], q["shut"]
	return o, nil
}
