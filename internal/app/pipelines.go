package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve/rest"
)

// pipelines tells REST of a node's pipelines.
type pipelines struct{ n *Node }

// openPipelines makes the node's pipelines, which Run runs.
func (n *Node) openPipelines(ctx context.Context) error {
	var fixed []pipeline.Config
	for _, name := range slices.Sorted(maps.Keys(n.cfg.Pipelines)) {
		fixed = append(fixed, n.cfg.Pipelines[name].pipeline(name, n.log))
	}
	settings := pipeline.ManagerConfig{Models: lender{n.registry}, Metrics: pipeline.NewMetrics(n.metrics), Work: n.cfg.work(), Logger: n.log}
	if !n.shared() {
		settings.Fixed = fixed
	}
	if err := n.patiently(ctx, "the pipelines", func() (err error) {
		n.pipelines, err = pipeline.Manage(ctx, n.grid, settings)
		return err
	}); err != nil {
		return err
	}
	if n.shared() {
		return n.seedPipelines(ctx, fixed)
	}
	return nil
}

// standing is a pipeline, and where it stands.
type standing struct {
	pipeline.One
	positions []grid.Position
	lag       int64
	age       time.Duration
}

// now returns the node's pipelines with what is known of them from outside too: what of the grid keeps them from their work.
func (p pipelines) now(ctx context.Context) ([]standing, error) {
	var out []standing
	frozen := p.n.grid.Ready(ctx)
	for _, one := range p.n.pipelines.List() {
		s := standing{One: one}
		var err error
		s.positions, err = p.n.grid.Positions(ctx, one.Config.From, one.Config.Name)
		if err != nil && !errors.Is(err, grid.ErrNoReader) && !errors.Is(err, grid.ErrNoCache) {
			return nil, fmt.Errorf("pipeline %s: %w", one.Config.Name, err)
		}
		for _, at := range s.positions {
			s.lag, s.age = s.lag+at.Changes, max(s.age, at.Age)
		}
		reason := elsewhere(p.n.unread.lasting(one.Config.Name, s.positions, time.Now()), p.n.cfg.Cluster.set())
		if p.n.nobodyComputes() {
			reason = "no node that opens models is there: one with " + string(grid.RoleCompute) + " in node.roles has to run it"
		}
		if frozen != nil {
			reason = "the grid is not ready: " + frozen.Error()
		}
		if reason != "" && (s.Status.State == pipeline.Waiting || s.Status.State == pipeline.Running && frozen != nil) {
			s.Status.State, s.Status.Reason = pipeline.Blocked, reason
		}
		out = append(out, s)
	}
	p.n.unread.keep(out)
	return out, nil
}

// elsewhere says which partitions nobody reads for a pipeline although something has waited in them for takeoverFor: their owners are nodes that do
// not run it. In a cluster every node has the pipeline, and those are the ones that take long to become owners, or cannot open its model.
func elsewhere(unread []grid.Position, clustered bool) string {
	if len(unread) == 0 {
		return ""
	}
	var numbers []string
	for _, at := range unread {
		numbers = append(numbers, strconv.Itoa(at.Partition))
	}
	why := "configure it on every node"
	if clustered {
		why = "they are taking them over, or cannot open its model, which their logs say"
	}
	return "not run by the nodes that own partitions " + strings.Join(numbers, ", ") + ": " + why
}

func (p pipelines) Pipelines(ctx context.Context) ([]rest.Pipeline, error) {
	var out []rest.Pipeline
	all, err := p.now(ctx)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		cfg, status := one.Config, one.Status
		out = append(out, rest.NewPipeline(rest.Pipeline{
			Name: cfg.Name, Origin: string(one.Origin), Hides: one.Hides, State: string(status.State), Reason: status.Reason, RunningSeconds: status.Run.Seconds(),
			Version: status.Version, Settings: rest.SettingsOf(cfg),
		}, one.positions))
	}
	left, err := p.left(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range left {
		positions, err := p.n.grid.Positions(ctx, r.Cache, r.Reader)
		if errors.Is(err, grid.ErrNoReader) || errors.Is(err, grid.ErrNoCache) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("pipeline %s: %w", r.Reader, err)
		}
		out = append(out, rest.NewPipeline(rest.Pipeline{
			Name: r.Reader, State: "not configured", Reason: remains(positions), Settings: rest.Settings{From: r.Cache},
		}, positions))
	}
	return out, nil
}

// remains says what is left of a pipeline that this node does not have.
func remains(positions []grid.Position) string {
	if open(positions) {
		return "another node runs it, whose configuration file has it"
	}
	return "its place in the cache is kept"
}

// open reports whether a node reads with these positions.
func open(positions []grid.Position) bool {
	return slices.ContainsFunc(positions, func(at grid.Position) bool { return at.Open })
}

// left returns the readers in the grid that are none of the node's pipelines.
func (p pipelines) left(ctx context.Context) ([]grid.ReaderName, error) {
	all, err := p.n.grid.Readers(ctx)
	if err != nil {
		return nil, err
	}
	var out []grid.ReaderName
	for _, r := range all {
		if grid.IsSystem(r.Reader) { // what writes behind
			continue
		}
		if one, err := p.n.pipelines.Get(r.Reader); err != nil || one.Config.From != r.Cache {
			out = append(out, r)
		}
	}
	return out, nil
}

func (p pipelines) Put(ctx context.Context, name string, d pipeline.Definition) (bool, error) {
	if d.Model != "" { // without one the definition is refused
		if err := registry.CheckName(d.Model, 0); err != nil {
			return false, fmt.Errorf("pipeline %s: model: %w", name, err)
		}
	}
	return p.n.pipelines.Put(ctx, name, d)
}

func (p pipelines) Pause(ctx context.Context, name string) error {
	return p.n.pipelines.Pause(ctx, name)
}

func (p pipelines) Resume(ctx context.Context, name string) error {
	return p.n.pipelines.Resume(ctx, name)
}

func (p pipelines) Replay(ctx context.Context, name string, to grid.Seek) error {
	one, err := p.n.pipelines.Get(name)
	if err != nil {
		return err
	}
	return p.n.grid.Seek(ctx, one.Config.From, name, to)
}

func (p pipelines) Try(ctx context.Context, name, contentType string, value []byte) (pipeline.Trial, error) {
	return p.n.pipelines.Try(ctx, name, contentType, value)
}

// Delete removes a pipeline that was made at run time, and what is left of one that is not there any more.
func (p pipelines) Delete(ctx context.Context, name string) error {
	kept := p.n.pipelines.Delete(ctx, name)
	if kept != nil && !errors.Is(kept, pipeline.ErrNone) && !errors.Is(kept, pipeline.ErrInFile) {
		return kept
	}
	left, err := p.left(ctx)
	if err != nil {
		return err
	}
	for _, r := range left {
		if r.Reader != name {
			continue
		}
		positions, err := p.n.grid.Positions(ctx, r.Cache, r.Reader)
		switch {
		case errors.Is(err, grid.ErrNoReader) || errors.Is(err, grid.ErrNoCache):
			continue // removed meanwhile
		case err != nil:
			return err
		case !open(positions):
			if err := p.n.grid.DeleteReader(ctx, r.Cache, r.Reader); err != nil {
				return err
			}
			kept = nil
		case errors.Is(kept, pipeline.ErrNone):
			kept = fmt.Errorf("%w of another node, which runs it: %s; take it out there and restart that node", pipeline.ErrInFile, name)
		}
	}
	return kept
}
