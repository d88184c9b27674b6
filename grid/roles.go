package grid

import (
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/fault"
)

// Role is a part of a cluster's work that a node does or leaves to others.
type Role string

const (
	// RoleGrid has replicas, leads and owns partitions. The server of a node without it has no JetStream: it is connected to the others, asks them for everything,
	// and has no voice in the cluster, so that it comes and goes without any of them.
	RoleGrid Role = "grid"
	// RoleCompute opens models and runs pipelines. This package tells the other nodes of it and of RoleDoor, and does nothing else about them.
	RoleCompute Role = "compute"
	// RoleDoor answers clients.
	RoleDoor Role = "door"
)

// Roles returns all roles.
func Roles() []Role { return []Role{RoleGrid, RoleCompute, RoleDoor} }

// CheckRoles adds what is wrong with a node's roles, which are at path. None are all.
func CheckRoles(l *fault.Errors, path string, roles []Role) {
	seen := map[Role]bool{}
	for i, r := range roles {
		l.Check(slices.Contains(Roles(), r), fmt.Sprintf("%s[%d]", path, i), "%q must be one of %s", r, joinRoles(Roles(), ", "))
		l.Check(!seen[r], fmt.Sprintf("%s[%d]", path, i), "%s is there twice", r)
		seen[r] = true
	}
}

func joinRoles(roles []Role, by string) string {
	var names []string
	for _, r := range roles {
		names = append(names, string(r))
	}
	return strings.Join(names, by)
}

// has reports whether the node has a role.
func (c *Cluster) has(r Role) bool { return len(c.Roles) == 0 || slices.Contains(c.Roles, r) }

// keeps reports whether the server in this process keeps entries of the grid.
func (g *Grid) keeps() bool { return g.server != nil && g.grown.Load() == 0 && !g.guest() }

// guest reports whether this node is one of a cluster and keeps nothing of the grid.
func (g *Grid) guest() bool { return g.cfg.Cluster != nil && !g.cfg.Cluster.has(RoleGrid) }

// OthersWith returns those of Others that have a role. A node that has not said has all.
func (g *Grid) OthersWith(role Role) []string {
	return slices.DeleteFunc(g.Others(), func(node string) bool { return !slices.Contains(g.owners.members.rolesOf(node), role) })
}

// NodesWith returns the names of the nodes of a cluster that are there and have a role, in order, this one too where it has it.
func (g *Grid) NodesWith(role Role) []string {
	var names []string
	for _, m := range g.Members(nil) {
		if m.Connected && m.Has(role) {
			names = append(names, m.Name)
		}
	}
	return names
}

// hasRoles notes what a node says of its roles. Those that this program does not know are left out.
func (m *members) hasRoles(node, text string) {
	roles := []Role{}
	for word := range strings.SplitSeq(text, ",") {
		if slices.Contains(Roles(), Role(word)) {
			roles = append(roles, Role(word))
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roles[node] = roles
}

func (m *members) rolesOf(node string) []Role {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rolesNow(node)
}

// rolesNow is rolesOf with the lock held.
func (m *members) rolesNow(node string) []Role {
	if roles, ok := m.roles[node]; ok {
		return slices.Clone(roles)
	}
	return Roles()
}

// tellRoles tells the other nodes this one's roles.
func (o *owners) tellRoles() {
	if c := o.g.cfg.Cluster; c != nil {
		o.members.hasRoles(o.g.node, joinRoles(c.Roles, ","))
		o.publish("roles " + o.g.node + " " + joinRoles(c.Roles, ","))
	}
}

// keepersNow are those of some nodes that may own partitions. Lock is held.
func (m *members) keepersNow(nodes []string) []string {
	return slices.DeleteFunc(nodes, func(node string) bool { return !slices.Contains(m.rolesNow(node), RoleGrid) })
}
