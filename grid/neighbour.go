package grid

import (
	"slices"

	"github.com/nats-io/nats-server/v2/server"
)

// neighbour is a node that this one has a connection to. Two clusters may have nodes of one name; the id of its server each has alone.
type neighbour struct{ name, id string }

// namesOf are the names of nodes, in order.
func namesOf(all []neighbour) (names []string) {
	for _, n := range all {
		names = append(names, n.name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// others are the names of the nodes of the cluster that this one has connections to, in order.
func (e *embedded) others() []string { return namesOf(e.neighbours()) }

// neighbours are the nodes that this one has connections to, each once.
func (e *embedded) neighbours() []neighbour {
	srv := e.running()
	if srv == nil {
		return nil
	}
	routes, err := srv.Routez(nil)
	if err != nil {
		return nil // it is being stopped
	}
	var all []neighbour
	for _, r := range routes.Routes {
		n := neighbour{name: r.RemoteName, id: r.RemoteID}
		// One without subscriptions is yet to let this node in, or will not. Each server subscribes to something at once.
		if r.NumSubs > 0 && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	return all
}

// markSeeds marks the terms of those that this node reaches by its own seeds.
func (e *embedded) markSeeds(all []terms) {
	srv := e.running()
	if srv == nil {
		return
	}
	routes, err := srv.Routez(nil)
	if err != nil {
		return // it is being stopped
	}
	for i := range all {
		all[i].seed = slices.ContainsFunc(routes.Routes, func(r *server.RouteInfo) bool {
			return r.IsConfigured && (r.RemoteID == all[i].Server || all[i].Server == "" && r.RemoteName == all[i].Node)
		})
	}
}
