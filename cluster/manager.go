package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace/millrace/grid"
)

// Config is a Manager's.
type Config struct {
	// Name is the cluster's, and Node this node's.
	Name, Node string
	// Replicas is how many nodes have each partition.
	Replicas int
	// Grace is how long a node that is gone is waited for before its share is built again on others.
	Grace time.Duration
	// Moves is how many replicas are on their way at a time.
	Moves  int
	Logger *slog.Logger
}

// Nodes is what of a grid a Manager works with: *grid.Grid in a cluster.
type Nodes interface {
	Grid
	Groups(ctx context.Context) ([]grid.Group, error)
	Peers() (peers []grid.Peer, ok bool)
	MoveReplica(ctx context.Context, stream, from, to string) error
	CancelMove(ctx context.Context, stream string) error
	RebuildReplica(ctx context.Context, stream, from string) error
	RemovePeer(ctx context.Context, name string) error
	NoLeader() string
	LeadStream(ctx context.Context, stream, to string) error
	LeadCluster(ctx context.Context, to string) error
	Avoid(nodes []string)
	Stored() (file, memory uint64)
	Tell(about string, data []byte) error
	Hear(about string, heard func(data []byte)) (stop func(), err error)
	Decision(ctx context.Context, about string) (value []byte, number uint64, err error)
	Decide(ctx context.Context, about string, value []byte, number uint64) error
}

// Manager is this node's part in giving all nodes even shares of replicas and leaders. One on each node runs; that of the node that leads the
// cluster is the controller, which decides and has the servers move what is to move. The others know what it says. The cluster's leader is elected
// already, it is the one that answers requests to move, and a second one that believes to lead does no harm: each request is checked by the servers, and
// the plan is made anew from what is there.
type Manager struct {
	cfg  Config
	grid Nodes
	wake chan struct{}

	looks looks // shared by all who ask for the status

	mu      sync.Mutex
	heard   report // what the controller said last
	heardAt time.Time
	loads   map[string]heardLoad

	control controller
}

// report is what the controller tells the nodes.
type report struct {
	Rebalancing Rebalancing `json:"rebalancing"`
	Draining    []string    `json:"draining"`
	Drained     []string    `json:"drained"`
	Removing    []string    `json:"removing"`
	Voices      []string    `json:"voices"`
	Health      *Health     `json:"health,omitempty"`
}

type heardLoad struct {
	load Load
	at   time.Time
}

type toldLoad struct {
	Node string `json:"node"`
	Load Load   `json:"load"`
}

const (
	aboutReport = "rebalancing"
	aboutLoad   = "load"
	aboutWake   = "rebalance"
	// stepIdle and stepBusy are how often the controller looks.
	stepIdle = time.Second
	stepBusy = 250 * time.Millisecond
	// loadEvery is how often a node says what it takes, and staleAfter how long what was heard is believed.
	loadEvery  = 2 * time.Second
	staleAfter = 10 * time.Second
)

// New returns a manager, which does nothing until it runs.
func New(cfg Config, nodes Nodes) *Manager {
	m := &Manager{cfg: cfg, grid: nodes, wake: make(chan struct{}, 1), loads: map[string]heardLoad{}, looks: looks{turn: make(chan struct{}, 1)}}
	m.control = controller{m: m, gone: map[string]time.Time{}, moving: map[string]Move{}, known: map[string][]grid.Replica{}}
	return m
}

// Run does this node's part until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	for about, heard := range map[string]func([]byte){aboutReport: m.hearReport, aboutLoad: m.hearLoad, aboutWake: func([]byte) { m.look() }} {
		stop, err := m.grid.Hear(about, heard)
		if err != nil {
			return fmt.Errorf("rebalancing: %w", err)
		}
		defer stop()
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	var meter meter
	var measured time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-m.wake:
		}
		if now := time.Now(); now.Sub(measured) >= loadEvery {
			measured = now
			load := Load{}
			load.CPU, load.Memory = meter.measure(now)
			load.Disk, load.Volatile = m.grid.Stored()
			m.tell(aboutLoad, toldLoad{m.cfg.Node, load})
		}
		busy := m.control.step(ctx)
		if busy {
			timer.Reset(stepBusy)
		} else {
			timer.Reset(stepIdle)
		}
	}
}

func (m *Manager) look() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *Manager) tell(about string, what any) {
	data, err := json.Marshal(what)
	if err == nil {
		err = m.grid.Tell(about, data)
	}
	if err != nil {
		m.cfg.Logger.Debug("tell the other nodes", "about", about, "error", err)
	}
}

func (m *Manager) hearReport(data []byte) {
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		m.cfg.Logger.Warn("a node tells what this one does not understand", "about", aboutReport, "error", err)
		return
	}
	if r.Rebalancing.Current == nil {
		r.Rebalancing.Current = []Move{}
	}
	m.mu.Lock()
	m.heard, m.heardAt = r, time.Now()
	m.mu.Unlock()
	m.grid.Avoid(append(slices.Clone(r.Draining), r.Removing...))
}

func (m *Manager) hearLoad(data []byte) {
	var l toldLoad
	if err := json.Unmarshal(data, &l); err != nil {
		m.cfg.Logger.Warn("a node tells what this one does not understand", "about", aboutLoad, "error", err)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.loads[l.Node] = heardLoad{l.Load, now}
	for node, h := range m.loads {
		if now.Sub(h.at) > staleAfter {
			delete(m.loads, node)
		}
	}
}

// Rebalancing returns what the controller said last.
func (m *Manager) Rebalancing() Rebalancing {
	m.mu.Lock()
	defer m.mu.Unlock()
	if time.Since(m.heardAt) > staleAfter {
		return Rebalancing{State: Unknown, Reason: m.grid.NoLeader(), Current: []Move{}}
	}
	return m.heard.Rebalancing
}

// looks keeps what the partitions' leaders said last, so that all who ask within lookAgain share one look: pages ask once a second, each.
type looks struct {
	turn   chan struct{} // taken by whoever asks them
	states []grid.PartitionState
	when   time.Time
}

// lookAgain is how old what is answered may be. It is below the second in which a page asks again, so that each of its answers is new.
const lookAgain = 900 * time.Millisecond

// at returns what is known of the partitions, and how old that is.
func (l *looks) at(ctx context.Context, g Grid) ([]grid.PartitionState, time.Duration) {
	l.turn <- struct{}{} // a look ends within a second
	defer func() { <-l.turn }()
	if age := time.Since(l.when); l.states != nil && age < lookAgain {
		return l.states, age
	}
	states := g.PartitionStates(ctx)
	if ctx.Err() == nil { // else it says only that nobody waited for it
		l.states, l.when = states, time.Now()
	}
	return states, 0
}

// Status says how the cluster is, by a look that is less than a second old.
func (m *Manager) Status(ctx context.Context) Status {
	states, age := m.looks.at(ctx, m.grid)
	s := read(states, m.grid.Members(states), m.cfg.Name, m.cfg.Node)
	s.ID = m.grid.ClusterID()
	s.Age, s.Rebalancing = age.Seconds(), m.Rebalancing()
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.heard
	for _, name := range r.Voices {
		if !slices.ContainsFunc(s.Nodes, func(n Node) bool { return n.Name == name }) {
			s.Nodes = append(s.Nodes, Node{Name: name})
		}
	}
	slices.SortFunc(s.Nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Draining, n.Drained = slices.Contains(r.Draining, n.Name), slices.Contains(r.Drained, n.Name)
		n.Removing = slices.Contains(r.Removing, n.Name)
		if h, ok := m.loads[n.Name]; ok && n.Connected && time.Since(h.at) <= staleAfter {
			n.Load = &h.load
		}
	}
	return s
}
