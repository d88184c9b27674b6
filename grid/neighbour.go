package grid

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
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

// heardTerms are the terms of the others, by the ids of their servers; of programs that do not say these, by their names.
type heardTerms struct {
	mu   sync.Mutex
	of   map[string]terms
	seen map[string]time.Time // since when a server is connected, by its id
}

func (h *heardTerms) hear(m *nats.Msg) {
	var t terms
	if json.Unmarshal(m.Data, &t) != nil || t.Node == "" {
		return // of a program that is not of this kind
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of[cmp.Or(t.Server, t.Node)] = t
}

// all returns the terms of the nodes that are connected, whether all have told them that are to, and since when one is connected that has not.
func (h *heardTerms) all(connected []neighbour, now time.Time) (all []terms, complete bool, silent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	maps.DeleteFunc(h.seen, func(id string, _ time.Time) bool {
		return !slices.ContainsFunc(connected, func(n neighbour) bool { return n.id == id })
	})
	maps.DeleteFunc(h.of, func(key string, _ terms) bool {
		return !slices.ContainsFunc(connected, func(n neighbour) bool { return key == n.id || key == n.name })
	})
	complete = true
	for _, n := range connected {
		if _, ok := h.seen[n.id]; !ok {
			h.seen[n.id] = now
		}
		t, told := h.of[n.id]
		if !told {
			t, told = h.of[n.name]
		}
		if told {
			all = append(all, t)
			continue
		}
		if now.Sub(h.seen[n.id]) < termsWait {
			complete = false
		}
		if silent.Before(h.seen[n.id]) {
			silent = h.seen[n.id]
		}
	}
	return all, complete, silent
}
