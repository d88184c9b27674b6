package grid

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// members are the nodes of the grid that were heard of lately. Nothing depends on it but who gets how many partitions.
type members struct {
	mu   sync.Mutex
	last map[string]time.Time
	// version is what they say of their programs.
	version map[string]string
	// roles are those that have said them.
	roles map[string][]Role
	// stores are the names of those that caches may name there, of nodes that have said so.
	stores map[string][]string
	// clusters are what nodes have said of the id of their cluster, by their names.
	clusters map[string]saidCluster
	// avoided are the names of those that are to get nothing.
	avoided []string
}

const (
	memberEvery = 500 * time.Millisecond
	memberFor   = 3 * memberEvery
)

func (m *members) heard(node string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[node] = now
}

func (m *members) tells(node, version string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.version[node] = version
}

func (m *members) versionOf(node string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.version[node]
}

func (m *members) left(node string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.last, node)
}

// alive returns the nodes, self included, in one order on all of them.
func (m *members) alive(self string, now time.Time) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := []string{self}
	for node, at := range m.last {
		if node == self {
			continue
		}
		if now.Sub(at) > memberFor {
			delete(m.last, node)
			delete(m.version, node)
			delete(m.roles, node)
			delete(m.stores, node)
			continue
		}
		out = append(out, node)
	}
	slices.Sort(out)
	return out
}

func (m *members) avoid(names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.avoided = slices.Clone(names)
}

// takers returns the nodes that may be given partitions, self included where it keeps any: it asks for itself how many others there are.
func (m *members) takers(self string, now time.Time) []string {
	all := m.alive(self, now)
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(m.keepersNow(all), func(node string) bool { return node != self && slices.Contains(m.avoided, nameOf(node)) })
}

// named returns the node with a name, if it is alive.
func (m *members) named(name string, now time.Time) (node string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var latest time.Time
	for n, at := range m.last {
		if nameOf(n) == name && now.Sub(at) <= memberFor && at.After(latest) {
			node, ok, latest = n, true, at
		}
	}
	return node, ok
}

func (o *owners) memberSubject() string { return fmt.Sprintf("millrace.%s.nodes", o.g.cfg.Name) }

// listen hears of other nodes.
func (o *owners) listen() error {
	sub, err := o.g.reads.Subscribe(o.memberSubject(), func(m *nats.Msg) {
		what, node, _ := strings.Cut(string(m.Data), " ")
		switch what {
		case "here":
			o.members.heard(node, time.Now())
			return
		case "version":
			if node, version, ok := strings.Cut(node, " "); ok {
				o.members.tells(node, version)
			}
			return
		case "roles":
			if node, roles, ok := strings.Cut(node, " "); ok {
				o.members.hasRoles(node, roles)
			}
			return
		case "stores":
			if node, stores, ok := strings.Cut(node, " "); ok {
				o.members.hasStores(node, stores)
			}
			return
		case "cluster":
			if node, text, ok := strings.Cut(node, " "); ok {
				o.members.hasCluster(nameOf(node), text, time.Now())
			}
			return
		case "bye":
			o.members.left(node)
		}
		if node != o.g.node {
			o.lookNow()
		}
	})
	if err != nil {
		return fmt.Errorf("hear of other nodes: %w", connError(err))
	}
	o.hint, o.listening = sub, time.Now()
	return nil
}

// lookNow makes the loop look at once.
func (o *owners) lookNow() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// say tells other nodes something: that this one is here, that it leaves, that a lease is free.
func (o *owners) say(what string) {
	if o.g.alone() {
		return
	}
	o.publish(what + " " + o.g.node)
}

func (o *owners) publish(text string) {
	if err := o.g.reads.Publish(o.memberSubject(), []byte(text)); err != nil {
		o.g.cfg.Logger.Debug("tell other nodes", "what", text, "error", err)
	}
}

// announce says that this node is here until the grid is closed.
// A node whose grid has gone over to a cluster does not: nothing is to be given to it.
func (o *owners) announce() {
	ticker := time.NewTicker(memberEvery)
	defer ticker.Stop()
	for {
		o.tellRoles() // first: whoever hears that it is here is to know them
		o.tellStores()
		o.say("here")
		if v := o.g.cfg.Version; v != "" && o.g.cfg.Cluster != nil {
			o.publish("version " + o.g.node + " " + v)
		}
		o.tellCluster()
		select {
		case <-ticker.C:
		case <-o.g.done:
			return
		}
	}
}
