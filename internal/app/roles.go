package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/pipeline"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve"
	"github.com/millrace/millrace/serve/oip"
)

// Roles of a node: grid has replicas and owns partitions, compute opens models and runs pipelines, and door answers clients.

// allRoles are the roles of a node whose configuration names none.
func allRoles() []string {
	var all []string
	for _, r := range grid.Roles() {
		all = append(all, string(r))
	}
	return all
}

func (c Config) roles() []grid.Role {
	var all []grid.Role
	for _, r := range c.Node.Roles {
		all = append(all, grid.Role(r))
	}
	return all
}

func (c Config) has(r grid.Role) bool { return slices.Contains(c.Node.Roles, string(r)) }

func (v *validator) roles(c *Config) {
	v.Check(len(c.Node.Roles) > 0, "node.roles", "must have one at least of %s", strings.Join(allRoles(), ", "))
	grid.CheckRoles(&v.Errors, "node.roles", c.roles())
	all := !slices.ContainsFunc(grid.Roles(), func(r grid.Role) bool { return !c.has(r) })
	v.Check(all || c.Cluster.set() || len(c.Node.Roles) == 0, "node.roles", "%s: roles are for the nodes of a cluster; one without the section cluster has all",
		strings.Join(c.Node.Roles, ", "))
}

// work is what the node does of its pipelines.
func (c Config) work() pipeline.Work {
	switch {
	case c.has(grid.RoleCompute):
		return pipeline.WorkHere
	case c.has(grid.RoleGrid):
		return pipeline.WorkElsewhere
	}
	return pipeline.WorkNone
}

// withoutDoor are the paths that a node without the role door answers too: what says how it does, and what those who run the cluster ask. What is below a path is its.
var withoutDoor = []string{"/metrics", "/rest/v2/stats", "/rest/v2/cluster", "/debug/pprof", "/openapi.yaml"}

// admits returns why this node does not answer a request of a client, since it has no door.
func (n *Node) admits(r *http.Request) error {
	path := r.URL.EscapedPath()
	if n.cfg.has(grid.RoleDoor) || oip.IsHealth(r) {
		return nil
	}
	for _, open := range withoutDoor {
		if path == open || strings.HasPrefix(path, open+"/") {
			return nil
		}
	}
	return fmt.Errorf("%w: node %s has no %s in node.roles; %s", serve.ErrElsewhere, n.cfg.Node.Name, grid.RoleDoor, n.whoHas(grid.RoleDoor))
}

// nobodyComputes reports whether no node is there that opens models.
func (n *Node) nobodyComputes() bool {
	return !n.cfg.has(grid.RoleCompute) && len(n.grid.OthersWith(grid.RoleCompute)) == 0
}

// whoHas says which nodes have a role.
func (n *Node) whoHas(role grid.Role) string {
	names := n.grid.NodesWith(role)
	if len(names) == 0 {
		return "no node that has it is there"
	}
	return "ask one of " + strings.Join(names, ", ")
}

// direct lends models to those who ask for a run themselves.
type direct struct {
	*registry.Registry
	n *Node
}

// Acquire is the registry's, whose error on a node that opens no models says which nodes do.
func (d direct) Acquire(ctx context.Context, name string, version int64) (*registry.Handle, error) {
	h, err := d.Registry.Acquire(ctx, name, version)
	if errors.Is(err, registry.ErrElsewhere) {
		err = fmt.Errorf("%w: node %s has no %s in node.roles; %s, where it has %s too, or put the input into a cache that a pipeline reads",
			err, d.n.cfg.Node.Name, grid.RoleCompute, d.n.whoHas(grid.RoleCompute), grid.RoleDoor)
	}
	return h, err
}

// checker opens models to see that they can be run, on a node that runs none: on the engine that they are to have, or where that is not here on one that is.
func checker(cfg Config, engines *Engines) registry.Opener {
	return func(ctx context.Context, m *model.Model, inGrid registry.Settings, set bool) (engine.Session, string, error) {
		s, name, err := engines.Open(ctx, m, cfg.runs(m.Name, inGrid, set))
		if errors.Is(err, engine.ErrUnavailable) {
			return engines.Open(ctx, m, ModelConfig{Engine: "auto", Device: "cpu"})
		}
		return s, name, err
	}
}
