package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/serve"
)

// Backup writes the whole grid to w, as a tar that ends with its manifest, or with what failed; skipCold leaves the values there that are in a store alone.
type Backup func(ctx context.Context, w io.Writer, skipCold bool) error

// backup is GET /rest/v2/backup. One that fails on the way is cut behind what failed.
func (h *Handler) backup(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet {
		serve.MethodNotAllowed(w, r, "GET")
		return
	}
	withCold := true
	var err error
	if q := r.URL.Query(); q.Has("cold") {
		withCold, err = flag(q, "cold")
	}
	if err == nil && !h.backups.TryAcquire(1) {
		err = fmt.Errorf("%w: a backup is under way", serve.ErrOverloaded)
	}
	if err != nil {
		serve.WriteError(w, r, err)
		return
	}
	defer h.backups.Release(1)
	out := &steadyWriter{w: w, time: h.cfg.SlowClient, format: bulk.Tar}
	err = h.cfg.Backup(r.Context(), out, !withCold)
	if err == nil {
		err = out.flush()
	}
	if err == nil {
		return
	}
	h.cfg.Logger.Error("backup cut", "request_id", serve.RequestID(w), "error", err)
	if out.flush() == nil {
		// What failed is in there; where it does not arrive, that the answer is cut says enough.
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler)
}
