package rest

import (
	"fmt"
	"net/http"

	"github.com/millrace/millrace/fault/strictjson"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
)

// modelSettings answers what is about how a model runs: the settings that the grid keeps.
func (h *Handler) modelSettings(w http.ResponseWriter, r *http.Request, escaped string) {
	name, _, err := modelPath(escaped, r.Method)
	if err == nil {
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			s, _ := h.cfg.Models.Settings(r.Context(), name)
			serve.WriteJSON(w, r, http.StatusOK, s)
		case http.MethodPut:
			err = h.putSettings(w, r, name)
		default:
			serve.MethodNotAllowed(w, r, http.MethodGet, http.MethodHead, http.MethodPut)
		}
	}
	if err != nil {
		serve.WriteError(w, r, err)
	}
}

// putSettings replaces them; what the body leaves out is each node's own choice.
func (h *Handler) putSettings(w http.ResponseWriter, r *http.Request, name string) error {
	body, err := serve.ReadBody(w, r, maxConfigBytes, nil)
	if err != nil {
		return err
	}
	s, err := parseSettings(body)
	if err != nil {
		return err
	}
	if err := h.cfg.Models.Configure(r.Context(), name, s); err != nil {
		return err
	}
	serve.WriteJSON(w, r, http.StatusOK, s)
	return nil
}

func parseSettings(data []byte) (registry.Settings, error) {
	var s registry.Settings
	if err := strictjson.Decode(data, &s); err != nil {
		return s, fmt.Errorf("%w: a model's settings: %w", serve.ErrRequest, err)
	}
	return s, nil
}

// pushOptions reads the query of a push.
func pushOptions(r *http.Request) (o registry.PushOptions, err error) {
	q := r.URL.Query()
	o.By = caller(r)
	if o.Replace, err = flag(q, "replace"); err != nil {
		return o, err
	}
	if o.DryRun, err = isDryRun(q); err != nil || !q.Has("settings") {
		return o, err
	}
	s, err := parseSettings([]byte(q.Get("settings")))
	if err == nil && !o.DryRun {
		err = fmt.Errorf("%w: settings are for dry_run=true; PUT .../settings sets them", serve.ErrRequest)
	}
	o.Settings = &s
	return o, err
}
