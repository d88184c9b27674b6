package app

import (
	"context"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/model"
)

// auto is "auto" as an engine: each model opens on the one that Engines.Open takes.
type auto struct{ all *Engines }

// Auto returns an engine that opens each model as Open does where no engine is named. Its capabilities are the preferred
// engine's.
func (e *Engines) Auto() engine.Engine { return auto{e} }

func (auto) Name() string { return "auto" }

func (a auto) Capabilities() engine.Capabilities { return a.all.list[0].Capabilities() }

func (a auto) Open(ctx context.Context, g *graph.Graph, o engine.Options) (engine.Session, error) {
	s, _, err := a.all.Open(ctx, &model.Model{Name: g.Name, Graph: g}, ModelConfig{Engine: "auto"}.WithOptions(o))
	return s, err
}
