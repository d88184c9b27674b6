package oip

import (
	"net/http"
	"strconv"

	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
)

// maxIndexBody bounds the body of a request for the index.
const maxIndexBody = 64 << 10

type indexEntry struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	State   string `json:"state"`
	Reason  string `json:"reason"`
}

// index answers POST /v2/repository/index with every version of every model, or with {"ready":true} with those that
// can be run. It takes no body, too.
func (h *Handler) index(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		serve.MethodNotAllowed(w, r, http.MethodPost)
		return
	}
	ready, err := h.onlyReady(w, r)
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	infos, err := h.cfg.Models.List(r.Context())
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	index := []indexEntry{}
	for _, i := range infos {
		state := "READY" // one that is not open is opened when it is asked for
		if i.State == registry.Failed {
			state = "UNAVAILABLE"
		}
		if !ready || state == "READY" {
			index = append(index, indexEntry{i.Name, strconv.FormatInt(i.Version, 10), state, i.Reason})
		}
	}
	serve.WriteJSON(w, r, http.StatusOK, index)
}

func (h *Handler) onlyReady(w http.ResponseWriter, r *http.Request) (ready bool, err error) {
	body, err := serve.ReadBody(w, r, maxIndexBody, nil)
	if err != nil {
		return false, err
	}
	s := newScanner(body)
	if s.End() {
		return false, nil
	}
	err = s.Object(func(name string) error {
		if name != "ready" {
			return s.Skip()
		}
		var err error
		ready, err = s.Bool()
		return err
	})
	if err == nil && !s.End() {
		err = s.Fault("something follows the object")
	}
	return ready, err
}
