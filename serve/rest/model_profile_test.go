package rest_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
	"github.com/millrace/millrace/tensor"
)

type profiled struct {
	Model, Engine string
	Version       int64
	Runs, Rows    int
	Inputs        []struct{ Shape []int }
	Total         float64 `json:"total_us"`
	Steps         []struct {
		Op    string
		Nodes []int
		Names []string
		Us    float64
	}
}

func TestModelProfile(t *testing.T) {
	g := openCold(t, nil, func() {})
	n := start(t, rest.Config{Grid: g, Models: newRegistry(t, g)}, serve.Config{}, nil)
	n.want(http.StatusCreated, "PUT", "/rest/v2/models/m", blocks(t))
	var p profiled
	if err := json.Unmarshal([]byte(n.want(http.StatusOK, "POST", "/rest/v2/models/m/profile?runs=3&rows=7", "").body), &p); err != nil {
		t.Fatal(err)
	}
	if p.Model != "m" || p.Version != 1 || p.Engine != "few" || p.Runs != 3 || p.Rows != 7 || !slices.Equal(p.Inputs[0].Shape, []int{7, 4}) || p.Total <= 0 {
		t.Errorf("%+v", p)
	}
	var nodes []int
	sum := 0.0
	for _, s := range p.Steps {
		nodes = append(nodes, s.Nodes...)
		sum += s.Us
		if len(s.Names) != len(s.Nodes) || len(s.Names) == 0 || !strings.HasPrefix(s.Names[0], "/") {
			t.Errorf("%+v", s)
		}
	}
	if slices.Sort(nodes); !slices.Equal(nodes, []int{0, 1, 2, 3}) || sum > p.Total+0.01*float64(len(p.Steps)) {
		t.Errorf("%+v", p)
	}
	n.want(http.StatusOK, "POST", "/rest/v2/models/m/versions/1/profile", "")
	for query, says := range map[string]string{"runs=101": "from 1 to 100", "rows=0": "from 1 to 1024", "length=x": "from 1 to 4096", "time=9": "it takes runs, rows and length"} {
		if b := n.want(http.StatusBadRequest, "POST", "/rest/v2/models/m/profile?"+query, ""); !strings.Contains(b.body, says) {
			t.Errorf("%s: %s", query, b.body)
		}
	}
	if b := n.want(http.StatusMethodNotAllowed, "GET", "/rest/v2/models/m/profile", ""); b.header.Get("Allow") != "POST" {
		t.Errorf("%v", b.header)
	}
}

// slow is a session that waits for the test while it is measured, and mute one that cannot be.
type (
	slow struct {
		engine.Session
		began, end chan struct{}
	}
	mute struct{ engine.Session }
)

func (s slow) Profile(ctx context.Context, _ []*tensor.Tensor) (engine.Profile, error) {
	select {
	case s.began <- struct{}{}:
	case <-ctx.Done():
		return engine.Profile{}, ctx.Err()
	}
	<-s.end
	return engine.Profile{}, nil
}

// TestModelProfileLimits: one profile is made at a time, and an engine that cannot tell says so.
func TestModelProfileLimits(t *testing.T) {
	g := openCold(t, nil, func() {})
	began, end := make(chan struct{}), make(chan struct{})
	r, err := registry.Open(t.Context(), g, registry.Config{
		Open: func(_ context.Context, m *model.Model, _ registry.Settings, _ bool) (engine.Session, string, error) {
			s := closing{m}
			if m.Name == "slow" {
				return slow{s, began, end}, "slow", nil
			}
			return mute{s}, "mute", nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	n := start(t, rest.Config{Grid: g, Models: r}, serve.Config{}, nil)
	for _, name := range []string{"slow", "mute"} {
		n.want(http.StatusCreated, "PUT", "/rest/v2/models/"+name, blocks(t))
	}
	if b := n.want(http.StatusNotImplemented, "POST", "/rest/v2/models/mute/profile", ""); b.code(t) != "no_profile" || !strings.Contains(b.body, "on engine mute: the engine does not tell") {
		t.Errorf("%s", b.body)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.want(http.StatusOK, "POST", "/rest/v2/models/slow/profile?runs=1", "")
	}()
	<-began
	if b := n.want(http.StatusServiceUnavailable, "POST", "/rest/v2/models/mute/profile", ""); b.code(t) != "overloaded" {
		t.Errorf("%s", b.body)
	}
	end <- struct{}{} // the warm-up
	<-began
	end <- struct{}{}
	<-done
}

// closing is a session that only says what it takes.
type closing struct{ *model.Model }

func (closing) Run(context.Context, []*tensor.Tensor, []*tensor.Tensor) error {
	return engine.ErrClosed
}
func (closing) Close() error { return nil }
