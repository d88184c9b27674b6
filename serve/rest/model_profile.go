package rest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/serve"
)

// Limits of a profile: it has a run's share of the machine, but not for long, and others wait for none.
const (
	profilesAtOnce  = 1
	profileWithin   = 10 * time.Second
	maxProfileRuns  = 100
	maxProfileRows  = 1024
	maxProfileSizes = 4096
	usualRuns       = 10
	usualLength     = 16
)

// profileAnswer says where the time of a run goes. Times are in microseconds, means of the runs.
type profileAnswer struct {
	Model   string        `json:"model"`
	Version int64         `json:"version"`
	Engine  string        `json:"engine"`
	Runs    int           `json:"runs"`
	Rows    int           `json:"rows"`
	Inputs  []modelValue  `json:"inputs"`
	Total   float64       `json:"total_us"`
	Note    string        `json:"note,omitempty"`
	Steps   []profileStep `json:"steps"`
}

// profileStep is what the engine does as one.
type profileStep struct {
	Op string `json:"op"`
	// Nodes are numbers of the graph's nodes, and Names their names or those of their first outputs.
	Nodes []int    `json:"nodes"`
	Names []string `json:"names"`
	Time  float64  `json:"us"`
}

// modelProfile measures a version on inputs that it makes up.
func (h *Handler) modelProfile(w http.ResponseWriter, r *http.Request, path string) error {
	name, version, err := modelPath(path, r.Method)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	for key := range q {
		if key != "runs" && key != "rows" && key != "length" {
			return fmt.Errorf("%w: a profile has no parameter %.80q; it takes runs, rows and length", serve.ErrRequest, key)
		}
	}
	runs, err := numberOf(q, "runs", usualRuns, maxProfileRuns)
	if err != nil {
		return err
	}
	rows, err := numberOf(q, "rows", 1, maxProfileRows)
	if err != nil {
		return err
	}
	length, err := numberOf(q, "length", usualLength, maxProfileSizes)
	if err != nil {
		return err
	}
	if !h.profiles.TryAcquire(profilesAtOnce) {
		return fmt.Errorf("%w: another profile is being made", serve.ErrOverloaded)
	}
	defer h.profiles.Release(profilesAtOnce)
	info, err := h.cfg.Models.Get(r.Context(), name, version)
	if err != nil {
		return err
	}
	lent, err := h.cfg.Models.Acquire(r.Context(), name, info.Version)
	if err != nil {
		return err
	}
	defer lent.Release()
	if info, err = h.cfg.Models.Get(r.Context(), name, info.Version); err != nil { // open now, so it says the engine
		return err
	}
	in, err := engine.Example(lent.Session().Inputs(), rows, length)
	if err != nil {
		return err
	}
	serve.ExtendWrite(w, profileWithin+h.cfg.SlowClient)
	ctx, cancel := context.WithTimeout(r.Context(), profileWithin)
	defer cancel()
	p, done, err := engine.ProfileRuns(ctx, lent.Session(), in, runs)
	if err != nil {
		return fmt.Errorf("profile of model %s version %d on engine %s: %w", name, info.Version, info.Engine, err)
	}
	a := profileAnswer{
		Model: name, Version: info.Version, Engine: info.Engine, Runs: done, Rows: rows, Inputs: valuesOf(lent.Session().Inputs()), Total: microseconds(p.Total), Note: p.Note, Steps: []profileStep{},
	}
	for i := range a.Inputs {
		a.Inputs[i].Shape = nil
		for _, d := range in[i].Shape() {
			a.Inputs[i].Shape = append(a.Inputs[i].Shape, d)
		}
	}
	g := lent.Model().Graph
	for i, nodes := range engine.StepNodes(g, p.Steps) {
		s := profileStep{Op: p.Steps[i].Op, Nodes: append([]int{}, nodes...), Names: []string{}, Time: microseconds(p.Steps[i].Time)}
		for _, k := range nodes {
			n := g.Nodes[k]
			text := n.Name
			if text == "" {
				text = n.Output(0)
			}
			s.Names = append(s.Names, text)
		}
		a.Steps = append(a.Steps, s)
	}
	serve.WriteJSON(w, r, http.StatusOK, a)
	return nil
}

func microseconds(d time.Duration) float64 { return float64(d.Nanoseconds()/10) / 100 }

// numberOf reads a number from 1 to most of the query.
func numberOf(q url.Values, name string, usual, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, fmt.Errorf("%w: %s %.80q is no number from 1 to %d", serve.ErrRequest, name, text, most)
	}
	return n, nil
}
