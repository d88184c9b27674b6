package rest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/millrace/millrace/fault/strictjson"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

const (
	// maxEvictBytes bounds the body that names keys.
	maxEvictBytes = 4 << 20
	// evictBatch is how many keys leave together.
	evictBatch = 4096
	// evictTime is how long a batch may take before the answer's connection is cut.
	evictTime = 60 * time.Second
	// maxReasons is how many keys the answer says a reason of.
	maxReasons = 100
)

// evicted is the answer to action=evict.
type evicted struct {
	// Evicted values have left memory, Cold ones were not in it, Missing keys have no entry, and Staying values could not leave.
	Evicted int `json:"evicted"`
	Cold    int `json:"cold"`
	Missing int `json:"missing"`
	Staying int `json:"staying"`
	// Reasons say what stands in the way of those that stay, of 100 of them at most.
	Reasons []evictReason `json:"reasons,omitempty"`
}

type evictReason struct {
	Key   grid.JSONKey `json:"key"`
	Error string       `json:"error"`
}

// evict is POST with action=evict: the values of some keys, or of all, leave memory.
func (h *Handler) evict(w http.ResponseWriter, r *http.Request, escaped string) error {
	keys, err := evictKeys(w, r)
	if err != nil {
		return err
	}
	c, err := h.open(r.Context(), escaped)
	if err != nil {
		return err
	}
	if keys == nil {
		keys = []string{}
		for e, err := range c.List(r.Context(), grid.ListOptions{KeysOnly: true}) {
			if err != nil {
				return err
			}
			keys = append(keys, e.Key)
		}
	}
	var out evicted
	if len(keys) == 0 { // that the cache cannot evict is said all the same
		keys = nil
		if _, err := c.Leave(r.Context(), nil, false); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(keys, evictBatch) {
		serve.ExtendWrite(w, evictTime)
		errs, err := c.Leave(r.Context(), some, out.Staying == 0)
		if err != nil {
			return err
		}
		for i, err := range errs {
			if err := out.add(some[i], err); err != nil {
				return err
			}
		}
	}
	serve.ExtendWrite(w, evictTime)
	serve.WriteJSON(w, r, http.StatusOK, out)
	return nil
}

// add counts what became of a key. It returns what ends the whole request.
func (e *evicted) add(key string, err error) error {
	switch {
	case err == nil:
		e.Evicted++
	case errors.Is(err, grid.ErrCold):
		e.Cold++
	case errors.Is(err, grid.ErrNotFound):
		e.Missing++
	case errors.Is(err, grid.ErrStays):
		e.Staying++
		if len(e.Reasons) < maxReasons {
			e.Reasons = append(e.Reasons, evictReason{grid.JSONKey(key), err.Error()})
		}
	default:
		return err
	}
	return nil
}

// evictKeys reads the keys that the body names; nil for an empty body, which is all keys.
func evictKeys(w http.ResponseWriter, r *http.Request) ([]string, error) {
	body, err := serve.ReadBody(w, r, maxEvictBytes, nil)
	if err != nil || len(body) == 0 {
		return nil, err
	}
	var in struct {
		Keys *[]grid.JSONKey `json:"keys"`
	}
	err = strictjson.Decode(body, &in)
	if err == nil && in.Keys == nil {
		err = errors.New("keys is missing")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the body is {\"keys\": [...]}, or empty for all keys: %w", serve.ErrRequest, err)
	}
	keys := make([]string, len(*in.Keys))
	for i, k := range *in.Keys {
		keys[i] = string(k)
	}
	return keys, nil
}
