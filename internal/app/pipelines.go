package app

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/rest"
)

// pipelines tells REST of a node's pipelines.
type pipelines struct{ n *Node }

// state is "running", or what a pipeline waits for.
func state(s pipeline.Status) string {
	if s.Running && s.Reason == "" {
		return "running"
	}
	return s.Reason
}

// elsewhere says which partitions nobody reads for a pipeline although something waits in them: their owners are nodes that do
// not run it.
func elsewhere(positions []grid.Position) string {
	var numbers []string
	for _, at := range positions {
		if !at.Open && at.Changes > 0 {
			numbers = append(numbers, strconv.Itoa(at.Partition))
		}
	}
	if len(numbers) == 0 {
		return ""
	}
	return "; not run by the nodes that own partitions " + strings.Join(numbers, ", ") + ": configure it on every node"
}

func (p pipelines) Pipelines(ctx context.Context) ([]rest.Pipeline, error) {
	var out []rest.Pipeline
	for _, one := range p.n.pipelines {
		cfg, status := one.Config(), one.Status()
		positions, err := p.n.grid.Positions(ctx, cfg.From, cfg.Name)
		if err != nil && !errors.Is(err, grid.ErrNoReader) {
			return nil, fmt.Errorf("pipeline %s: %w", cfg.Name, err)
		}
		out = append(out, rest.NewPipeline(rest.Pipeline{
			Name: cfg.Name, From: cfg.From, To: cfg.To, ErrorsTo: cfg.Errors, Model: cfg.Model, Version: status.Version, State: state(status) + elsewhere(positions),
		}, positions))
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
		out = append(out, rest.NewPipeline(rest.Pipeline{Name: r.Reader, From: r.Cache, State: "not configured"}, positions))
	}
	return out, nil
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
		if one := p.find(r.Reader); one == nil || one.Config().From != r.Cache {
			out = append(out, r)
		}
	}
	return out, nil
}

func (p pipelines) find(name string) *pipeline.Pipeline {
	for _, one := range p.n.pipelines {
		if one.Config().Name == name {
			return one
		}
	}
	return nil
}

func (p pipelines) Replay(ctx context.Context, name string, to grid.Seek) error {
	one := p.find(name)
	if one == nil {
		return fmt.Errorf("%w: %s", serve.ErrNoPipeline, name)
	}
	return p.n.grid.Seek(ctx, one.Config().From, name, to)
}

func (p pipelines) Forget(ctx context.Context, name string) error {
	left, err := p.left(ctx)
	if err != nil {
		return err
	}
	found := false
	for _, r := range left {
		if r.Reader == name {
			found = true
			if err := p.n.grid.DeleteReader(ctx, r.Cache, r.Reader); err != nil {
				return err
			}
		}
	}
	switch {
	case found:
		return nil
	case p.find(name) != nil:
		return fmt.Errorf("%w: %s", serve.ErrPipelineInUse, name)
	}
	return fmt.Errorf("%w: %s", serve.ErrNoPipeline, name)
}
